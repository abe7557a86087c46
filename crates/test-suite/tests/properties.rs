//! Random profiles mean the same to everyone who reads them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use callgate::compiler::decision::lower::lower;
use callgate::{Filter, Profile, probe};
use callgate_test_suite::naive::Naive;
use callgate_test_suite::{generate, live};
use proptest::prelude::*;

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(count)
    }
}

fn profile_in_context() -> impl Strategy<Value = (serde_json::Value, callgate::Context)> {
    generate::context().prop_flat_map(|context| (generate::profile(context.arch), Just(context)))
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn all_answerers_agree((profile, context) in profile_in_context(), seed in any::<u64>()) {
        let json = profile.to_string();
        let naive = Naive::read(json.as_bytes(), &context);
        let filter = Profile::parse(json.as_bytes()).map_err(Into::into).and_then(|p| Filter::compile(&p, &context));
        let (naive, filter) = match (naive, filter) {
            (Ok(naive), Ok(filter)) => (naive, filter),
            (Err(_), Err(_)) => return Ok(()),
            (naive, filter) => {
                let (naive, filter) = (naive.err(), filter.err().map(|error| error.to_string()));
                return Err(TestCaseError::fail(format!("refusals differ: naive {naive:?}, compiler {filter:?}")));
            }
        };
        let graph = lower(filter.policy());
        for call in generate::calls(&profile, context.arch, seed, 200) {
            let expected = naive.verdict(&call);
            prop_assert_eq!(filter.policy().decide(&call).action, expected, "policy: {:x?}", call);
            prop_assert_eq!(graph.evaluate(&call), expected, "graph: {:x?}", call);
            prop_assert_eq!(filter.program().simulate(&call).action, expected, "program: {:x?}", call);
        }
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn the_kernel_agrees_with_the_simulator((profile, context) in profile_in_context(), seed in any::<u64>()) {
        if Some(context.arch) != probe::native_arch() || !probe::has_filters() {
            return Ok(());
        }
        let json = profile.to_string();
        let filter = Profile::parse(json.as_bytes()).map_err(Into::into).and_then(|p| Filter::compile(&p, &context));
        let Ok(filter) = filter else {
            return Ok(());
        };
        let calls = generate::calls(&profile, context.arch, seed, 200);
        let answers = live::answers(filter.program(), &calls).map_err(TestCaseError::fail)?;
        for (call, answer) in calls.iter().zip(answers) {
            if let Some(action) = answer {
                prop_assert_eq!(action, filter.program().simulate(call).action, "kernel: {:x?}", call);
            }
        }
    }
}
