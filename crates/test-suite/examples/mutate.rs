//! `cargo xtask mutate`: every mutant of every filter of the corpus, put to the proof, and all that the proof claims of them
//! put to the test. It takes a quarter of an hour of a processor, so `cargo test` does a share of it only.

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use callgate_test_suite::corpus::{self, Subject};
use callgate_test_suite::mutate::Mistake;
use callgate_test_suite::trial::{self, Extent, Outcome, Tally};

/// All mutants but for most far jumps, and 100,000 calls for each that is called equal.
const WHOLE: Extent = Extent {
    one_in: 1,
    one_far_in: 16,
    samples: 100_000,
    one_refuted_in: 100,
    seed: 0x5eed,
};

fn main() -> ExitCode {
    let start = Instant::now();
    // Far jumps as well, all of them; and what the names of the filters to take contain.
    let (all, only): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|a| a == "--all");
    let extent = Extent {
        one_far_in: if all.is_empty() { WHOLE.one_far_in } else { 1 },
        ..WHOLE
    };
    let (mut subjects, missing) = corpus::all();
    let taken = |subject: &Subject| only.iter().all(|text| subject.name.contains(text));
    subjects.retain(taken);
    for line in &missing {
        println!("{line}");
    }
    let filters = subjects.len();
    let outcome = run_all(subjects, extent);
    println!("\n| mistake | mutants | rejected | unsupported | too large | refuted | equal |");
    println!("|---|---|---|---|---|---|---|");
    for (mistake, tally) in Mistake::ALL.iter().zip(outcome.tallies) {
        row(mistake.name(), tally);
    }
    let total = outcome.total();
    row("all", total);
    let (seen, sampled) = (total.seen_by_samples, total.sampled);
    println!(
        "\n{filters} filters, {} s; each mutant called equal agreed with the policy on {} calls, and such calls gave away {seen} of \
         {sampled} refuted ones",
        start.elapsed().as_secs(),
        extent.samples,
    );
    if outcome.failures.is_empty() && total.refuted > 0 {
        return ExitCode::SUCCESS;
    }
    println!("{} claims don't hold", outcome.failures.len());
    ExitCode::FAILURE
}

/// Each filter's trial, on all processors.
fn run_all(subjects: Vec<Subject>, extent: Extent) -> Outcome {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let open = Mutex::new(subjects.into_iter());
    let outcome = Mutex::new(Outcome::default());
    let work = || {
        while let Some(subject) = open.lock().ok().and_then(|mut open| open.next()) {
            let start = Instant::now();
            let (policy, program) = (subject.filter.policy(), subject.filter.program());
            let mut came = trial::run(policy, program, extent);
            let insns = program.insns().len();
            println!(
                "{} ({insns} instructions): {}; {:.1} s",
                subject.name,
                came.total(),
                start.elapsed().as_secs_f64()
            );
            for failure in &mut came.failures {
                *failure = format!("{}: {failure}", subject.name);
                println!("FAILED: {failure}");
            }
            if let Ok(mut outcome) = outcome.lock() {
                *outcome += came;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    outcome.into_inner().unwrap_or_default()
}

fn row(name: &str, tally: Tally) {
    let Tally {
        mutants,
        rejected,
        unsupported,
        too_large,
        refuted,
        equal,
        ..
    } = tally;
    println!(
        "| {name} | {mutants} | {rejected} | {unsupported} | {too_large} | {refuted} | {equal} |"
    );
}
