//! What takes time: building a program, loading it, and making calls under it.

use std::hint::black_box;

use anyhow::Result;
use callgate::Profile;
use callgate::compiler::bpf::{Program, check, emit};
use callgate::compiler::decision::lower;
use callgate::compiler::policy::resolve;
use callgate::compiler::proof::prove;

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
    let [mut plain, mut proved, mut stages] = [const { Vec::new() }; 3];
    for _ in 0..rounds.builds {
        let stage = stage_times(subject)?;
        let whole = least_of(RUNS, || {
            let filter = ours::compile_json(black_box(&subject.json), &subject.context);
            black_box(filter?);
            Ok(())
        })?;
        let without_proof = stage[..PROOF].iter().sum::<f64>();
        let others = other_times(subject)?;
        let beside = |ours| [vec![ours], others.clone()].concat();
        plain.push(beside(Some(without_proof)));
        proved.push(beside(Some(micros(whole))));
        stages.push(stage.map(Some).to_vec());
    }
    println!(
        "Build in µs; callgate begins with the bytes of the profile, the others with its resolved rules:\n"
    );
    header("", plain.first().map_or(0, Vec::len));
    println!("| build |{}", paired(&plain));
    println!("| with callgate's proof |{}\n", paired(&proved));
    println!("In callgate, in µs; in brackets, in parts of the first:\n");
    println!("| parse | resolve | lower | emit and check | prove |\n|---|---|---|---|---|");
    println!("|{}\n", paired(&stages));
    Ok(())
}

/// What the others take, in the order of the columns.
fn other_times(subject: &Subject) -> Result<Vec<Option<f64>>> {
    let mut times = Vec::new();
    for optimize in Optimize::ALL {
        let taken = libseccomp::time_builds(&subject.rules, optimize, RUNS)?;
        times.push(taken.into_iter().min().map(micros));
    }
    if subject.has_seccompiler() {
        let taken = least_of(RUNS, || {
            black_box(seccompiler::build(black_box(&subject.rules))?);
            Ok(())
        })?;
        times.push(Some(micros(taken)));
    }
    Ok(times)
}

/// Where the proof stands among the stages.
const PROOF: usize = 4;

/// What each stage takes, in µs.
fn stage_times(subject: &Subject) -> Result<[f64; PROOF + 1]> {
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
    let program = check::check(emit::emit(&graph, policy.byte_order()), policy.byte_order())?;
    let proof = least_of(RUNS, || {
        // Whether it succeeds is not the question here; a filter that can't be proved never comes this far.
        let _ = black_box(prove(black_box(&policy), black_box(&program)));
        Ok(())
    })?;
    Ok([parse, resolve, lower, emit, proof].map(micros))
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
