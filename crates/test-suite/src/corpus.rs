//! The filters that the proof is tried with: real profiles, profiles of the suite, random ones.
//!
//! All for fixed contexts and seeds, so that a trial can be repeated.

use std::fs;

use callgate::compiler::profile;
use callgate::{Arch, Capabilities, Context, Filter, KernelVersion, Profile};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::{case, generate};

/// A filter with what to call it.
#[derive(Debug)]
pub struct Subject {
    /// Where it is from, and for what.
    pub name: String,
    /// It.
    pub filter: Filter,
}

/// How many random profiles there are in the corpus.
const RANDOM: usize = 24;

/// Of the suite's cases, every how many-th is in the corpus.
const SHARE_OF_SUITE: usize = 12;

/// The whole corpus, and what is missing from it, with the reason.
#[must_use]
pub fn all() -> (Vec<Subject>, Vec<String>) {
    let (real, missing) = real();
    let subjects = built_in().into_iter().chain(real).chain(suite());
    (subjects.chain(random(RANDOM)).collect(), missing)
}

/// The built-in profile, for kernels that differ in ABIs, byte order and age.
#[must_use]
pub fn built_in() -> Vec<Subject> {
    let json = profile::DEFAULT.as_bytes();
    let with = |arch, (major, minor), capabilities| {
        let context = Context {
            capabilities,
            ..Context::new(arch, KernelVersion { major, minor })
        };
        subject("default", json, &context)
    };
    let subjects = [
        with(Arch::X86_64, (6, 18), Capabilities::default()),
        with(Arch::X86_64, (4, 8), Capabilities::none()),
        with(Arch::Aarch64, (6, 18), Capabilities::all()),
        with(Arch::S390x, (6, 18), Capabilities::default()),
    ];
    subjects.into_iter().flatten().collect()
}

/// Profiles that others publish, as far as they are here; and which aren't.
#[must_use]
pub fn real() -> (Vec<Subject>, Vec<String>) {
    let (mut subjects, mut missing) = (Vec::new(), Vec::new());
    for name in ["moby-default", "containers-common-default"] {
        let path = case::workspace().join(format!("../shared/data/profiles/{name}.json"));
        let Ok(json) = fs::read(&path) else {
            missing.push(format!("skipped: {name}: no {}", path.display()));
            continue;
        };
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let context = Context::new(arch, NEWEST);
            subjects.extend(subject(name, &json, &context));
        }
    }
    (subjects, missing)
}

const NEWEST: KernelVersion = KernelVersion {
    major: 6,
    minor: 18,
};

/// Every so many-th profile of the suite that can be compiled.
fn suite() -> impl Iterator<Item = Subject> {
    let cases = case::all().into_iter().filter(|case| case.error.is_none());
    let share = cases.step_by(SHARE_OF_SUITE);
    share.filter_map(|case| subject(&case.name, &case.json(), &case.context()))
}

/// So many random profiles with rules, each for a random kernel: always the same ones.
///
/// # Panics
/// If the generator can make none.
pub fn random(count: usize) -> impl Iterator<Item = Subject> {
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let profiles = generate::context().prop_flat_map(|context| {
        let profile = generate::profile(context.arch).boxed();
        let docker = generate::docker_profile(context.arch).boxed();
        (
            proptest::prop_oneof![profile, docker],
            proptest::prelude::Just(context),
        )
    });
    let made = std::iter::repeat_with(move || {
        let tree = profiles.new_tree(&mut runner);
        tree.expect("nothing is rejected").current()
    });
    let subjects = made.filter_map(|(profile, context)| {
        subject("random", profile.to_string().as_bytes(), &context)
            // Most are refused, or little comes of them.
            .filter(|subject| subject.filter.program().insns().len() >= 20)
    });
    let numbered = subjects.enumerate().map(|(i, subject)| Subject {
        name: format!("{} {}", subject.name, i + 1),
        ..subject
    });
    numbered.take(count)
}

/// What comes of a profile, unless it is refused.
fn subject(name: &str, json: &[u8], context: &Context) -> Option<Subject> {
    let profile = Profile::parse(json).ok()?;
    let filter = Filter::compile(&profile, context).ok()?;
    let KernelVersion { major, minor } = context.kernel;
    let name = format!("{name}, {} {major}.{minor}", context.arch);
    Some(Subject { name, filter })
}
