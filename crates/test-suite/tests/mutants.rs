//! A share of `cargo xtask mutate`, which tries every mutant of every filter of the corpus.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use callgate::Arch;
use callgate::compiler::filter::compile;
use callgate_test_suite::trial::{self, Extent, Outcome};
use callgate_test_suite::{corpus, growth};

/// A part of what is to be tried; a shorter one of what has more mutants.
fn extent(one_in: usize) -> Extent {
    Extent {
        one_in,
        one_far_in: 4,
        samples: 2000,
        one_refuted_in: 10,
        seed: 0xca11,
    }
}

#[test]
fn the_proof_is_right_about_mutants() {
    let mut subjects = corpus::built_in();
    let (real, missing) = corpus::real();
    missing.iter().for_each(|line| eprintln!("{line}"));
    subjects.extend(real);
    let long = subjects.into_iter().map(|subject| (subject, 400));
    let random = corpus::random(24).map(|subject| (subject, 50));
    let mut outcome = Outcome::default();
    for (subject, one_in) in long.chain(random) {
        let (policy, program) = (subject.filter.policy(), subject.filter.program());
        let mut came = trial::run(policy, program, extent(one_in));
        for failure in &mut came.failures {
            *failure = format!("{}: {failure}", subject.name);
        }
        outcome += came;
    }
    let total = outcome.total();
    println!("{total}");
    assert!(outcome.failures.is_empty(), "{:#?}", outcome.failures);
    assert!(
        total.refuted >= 500 && total.equal >= 20,
        "too little was tried: {total}"
    );
    assert_eq!(total.too_large, 0, "{total}");
    let (seen, sampled) = (total.seen_by_samples, total.sampled);
    assert!(
        2 * seen > sampled,
        "samples are no good: {seen} of {sampled}"
    );
}

/// Rules that are proved one by one: what says something else is never proved, even where no call is found that shows it.
#[test]
fn the_proof_is_right_about_mutants_of_a_hundred_rules() {
    let policy = growth::pairs(Arch::X86_64, 100, 2, 0xca11);
    let outcome = trial::run(&policy, &compile(&policy).unwrap(), extent(20_000));
    let total = outcome.total();
    println!("{total}");
    assert!(outcome.failures.is_empty(), "{:#?}", outcome.failures);
    assert!(total.refuted >= 1, "too little was tried: {total}");
}
