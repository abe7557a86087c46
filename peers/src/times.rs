//! What takes time: building a program, loading it, and making calls under it.

use std::hint::black_box;

use anyhow::Result;
use callgate::Profile;
use callgate::compiler::bpf::{Program, check, emit};
use callgate::compiler::decision::lower;
use callgate::compiler::policy::resolve;

use crate::children::{self, Measured};
use crate::figures::Rounds;
use crate::libseccomp::{self, Optimize};
use crate::subject::Subject;
use crate::timing::{header, least_of, micros, paired};
use crate::{ours, seccompiler};

/// How often something is built in each round; the least time counts.
const RUNS: usize = 3;

/// Prints how long it takes from the bytes of the profile to the program, and for the others from the resolved rules
/// to the program.
pub(crate) fn builds(subject: &Subject, rounds: &Rounds) -> Result<()> {
    let mut times = Vec::new();
    let mut stages = Vec::new();
    for _ in 0..rounds.builds {
        let ours = least_of(RUNS, || {
            let filter = ours::compile_json(black_box(&subject.json), &subject.context);
            black_box(filter?);
            Ok(())
        })?;
        let mut round = vec![Some(micros(ours))];
        for optimize in Optimize::ALL {
            let taken = libseccomp::time_builds(&subject.rules, optimize, RUNS)?;
            round.push(taken.into_iter().min().map(micros));
        }
        if subject.has_seccompiler() {
            let taken = least_of(RUNS, || {
                black_box(seccompiler::build(black_box(&subject.rules))?);
                Ok(())
            })?;
            round.push(Some(micros(taken)));
        }
        times.push(round);
        stages.push(stage_times(subject)?);
    }
    println!(
        "Build in µs; callgate begins with the bytes of the profile, the others with its resolved rules:\n"
    );
    header("", times.first().map_or(0, Vec::len));
    println!("| build |{}\n", paired(&times));
    println!("Of that in callgate, in µs; in brackets, in parts of the first:\n");
    println!(
        "| parse | resolve | lower | emit and check |\n|---|---|---|---|\n|{}\n",
        paired(&stages)
    );
    Ok(())
}

/// What each stage takes.
fn stage_times(subject: &Subject) -> Result<Vec<Option<f64>>> {
    let profile = Profile::parse(&subject.json)?;
    let policy = resolve(&profile, &subject.context)?.policy;
    let graph = lower::lower(&policy);
    let parse = least_of(RUNS, || {
        black_box(Profile::parse(black_box(&subject.json))?);
        Ok(())
    })?;
    let resolve = least_of(RUNS, || {
        black_box(resolve(black_box(&profile), &subject.context)?);
        Ok(())
    })?;
    let lower = least_of(RUNS, || {
        black_box(lower::lower(black_box(&policy)));
        Ok(())
    })?;
    let emit = least_of(RUNS, || {
        let insns = emit::emit(black_box(&graph), policy.byte_order());
        black_box(check::check(insns, policy.byte_order())?);
        Ok(())
    })?;
    Ok([parse, resolve, lower, emit]
        .map(|t| Some(micros(t)))
        .to_vec())
}

/// Prints what the kernel takes to load each program, and what calls take under it.
pub(crate) fn live(programs: &[Program], rounds: &Rounds) -> Result<()> {
    let loads = measure(programs, rounds.loads, 0)?;
    let calls = measure(programs, rounds.runs, rounds.calls)?;
    println!("Load in µs, and what a call costs more than without a filter, in ns:\n");
    header("", programs.len());
    let row = |rounds: &[Vec<Measured>], figure: &dyn Fn(&Measured) -> f64| {
        let figures = |round: &Vec<Measured>| round.iter().map(|m| Some(figure(m))).collect();
        paired(&rounds.iter().map(figures).collect::<Vec<_>>())
    };
    println!("| load |{}", row(&loads, &|m| micros(m.load)));
    for (i, (name, _, _)) in children::CALLS.iter().enumerate() {
        println!("| {name} |{}", row(&calls, &|m| m.calls[i]));
    }
    println!();
    Ok(())
}

/// Rounds of one child for each program.
fn measure(programs: &[Program], rounds: usize, calls: u32) -> Result<Vec<Vec<Measured>>> {
    let round = || {
        programs
            .iter()
            .map(|program| children::measure(program, calls))
            .collect()
    };
    (0..rounds).map(|_| round()).collect()
}
