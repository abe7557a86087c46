//! Random profiles mean the same to everyone who reads them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use callgate::compiler::decision::lower::lower;
use callgate::compiler::notice::Code;
use callgate::compiler::policy::RuleOrder;
use callgate::{Call, CompileError, Context, Filter, Profile, probe};
use callgate_test_suite::naive::Naive;
use callgate_test_suite::{generate, live};
use proptest::prelude::*;
use serde_json::{Value, json};

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(count)
    }
}

fn profile_in_context() -> impl Strategy<Value = (Value, Context)> {
    generate::context().prop_flat_map(|context| {
        let profile = prop_oneof![
            3 => generate::profile(context.arch).boxed(),
            2 => generate::docker_profile(context.arch).boxed(),
        ];
        (profile, Just(context))
    })
}

fn compile(json: &[u8], context: &Context) -> Result<Filter, CompileError> {
    Filter::compile(&Profile::parse(json)?, context)
}

/// Both readings of a document: `None` if both refuse it.
fn both<'a>(
    json: &[u8],
    context: &'a Context,
) -> Result<Option<(Naive<'a>, Filter)>, TestCaseError> {
    match (Naive::read(json, context), compile(json, context)) {
        (Ok(naive), Ok(filter)) => Ok(Some((naive, filter))),
        (Err(_), Err(_)) => Ok(None),
        (naive, filter) => {
            let (naive, filter) = (naive.err(), filter.err().map(|error| error.to_string()));
            let text = String::from_utf8_lossy(json);
            let message = format!("refusals differ: naive {naive:?}, compiler {filter:?}: {text}");
            Err(TestCaseError::fail(message))
        }
    }
}

fn other_order(order: RuleOrder) -> RuleOrder {
    match order {
        RuleOrder::Runtime => RuleOrder::Document,
        RuleOrder::Document => RuleOrder::Runtime,
    }
}

fn all_agree(naive: &Naive<'_>, filter: &Filter, calls: &[Call]) -> Result<(), TestCaseError> {
    let graph = lower(filter.policy());
    for call in calls {
        let expected = naive.verdict(call);
        prop_assert_eq!(
            filter.policy().decide(call).action,
            expected,
            "policy: {:x?}",
            call
        );
        prop_assert_eq!(graph.evaluate(call), expected, "graph: {:x?}", call);
        prop_assert_eq!(
            filter.program().simulate(call).action,
            expected,
            "program: {:x?}",
            call
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn all_answerers_agree((profile, context) in profile_in_context(), seed in any::<u64>()) {
        if let Some((naive, filter)) = both(profile.to_string().as_bytes(), &context)? {
            all_agree(&naive, &filter, &generate::calls(&profile, context.arch, seed, 200))?;
        }
    }

    /// What one reading refuses the other does; what both take, they take for the same.
    #[test]
    fn both_readings_refuse_the_same((profile, context) in profile_in_context(), seed in any::<u64>(), within in any::<bool>()) {
        let mut document = generate::damaged(&profile, seed);
        if within {
            document = json!({ "ociVersion": "1.2.0", "linux": { "seccomp": document } });
        }
        if let Some((naive, filter)) = both(document.to_string().as_bytes(), &context)? {
            all_agree(&naive, &filter, &generate::calls(&profile, context.arch, seed, 20))?;
        }
    }
}

proptest! {
    #![proptest_config(cases(512))]

    /// What is said to depend on the order of the rules does, and where it does, it is said.
    #[test]
    fn order_dependence_is_said_where_it_is((profile, context) in profile_in_context(), seed in any::<u64>()) {
        let json = profile.to_string();
        let turned = Context { rule_order: other_order(context.rule_order), ..context.clone() };
        let (Ok(one), Ok(other)) = (Naive::read(json.as_bytes(), &context), Naive::read(json.as_bytes(), &turned)) else {
            return Ok(());
        };
        let filter = compile(json.as_bytes(), &context).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let differs = |call: &Call| one.verdict(call) != other.verdict(call);
        let mut said = filter.notices().iter().filter(|notice| notice.code == Code::OrderDependent).peekable();
        let is_said = said.peek().is_some();
        for notice in said {
            prop_assert!(notice.witness.as_ref().is_some_and(differs), "{:?}", notice);
        }
        let calls = generate::calls(&profile, context.arch, seed, 100);
        let missed = calls.iter().find(|call| differs(call) && !is_said);
        prop_assert_eq!(missed, None);
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn the_kernel_agrees_with_the_simulator((profile, context) in profile_in_context(), seed in any::<u64>()) {
        if Some(context.arch) != probe::native_arch() || !probe::has_filters() {
            return Ok(());
        }
        let Ok(filter) = compile(profile.to_string().as_bytes(), &context) else {
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
