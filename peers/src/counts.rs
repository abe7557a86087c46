//! What can be counted of programs: instructions, and those that a call executes.

use anyhow::Result;
use callgate::compiler::arch::X32_BIT;
use callgate::compiler::bpf::Program;
use callgate::compiler::syscalls;
use callgate::{Arch, Call};

use crate::subject::Subject;
use crate::timing::{header, ratios};

/// Prints the lengths of all programs.
pub(crate) fn sizes(subjects: &[Subject]) -> Result<()> {
    println!("## Instructions\n");
    header("profile", 4);
    for subject in subjects {
        let programs = subject.programs()?;
        let mut lengths: Vec<_> = programs
            .iter()
            .map(|p| Some(float(p.insns().len())))
            .collect();
        lengths.resize(4, None);
        println!("| {} |{}", subject.name, ratios(&lengths));
    }
    println!();
    Ok(())
}

/// Prints how many instructions are executed for some calls that reach the filter each time, and for all numbers, as
/// the kernel does when it loads a filter.
pub(crate) fn paths(subject: &Subject, programs: &[Program]) -> Result<()> {
    println!("Instructions executed:\n");
    header("call", programs.len());
    let archs = subject.rules.archs()?;
    let is_in =
        |call: &Call| Arch::of_call(call.audit, call.nr).is_some_and(|a| archs.contains(&a));
    let samples: Vec<_> = samples()
        .into_iter()
        .filter(|(_, call)| is_in(call))
        .collect();
    for (name, call) in &samples {
        println!(
            "| {name} |{}",
            row(programs, |program| executed(program, call))
        );
    }
    let each = |program: &Program| -> Vec<f64> {
        samples
            .iter()
            .map(|(_, call)| executed(program, call))
            .collect()
    };
    println!(
        "| **mean of these** |{}",
        row(programs, |program| mean(&each(program)))
    );
    println!(
        "| **worst of these** |{}",
        row(programs, |program| each(program)
            .into_iter()
            .fold(0.0, f64::max))
    );
    let all = |program: &Program| -> Vec<f64> {
        let calls = syscalls::table(archs[0]).map(|(nr, _)| Call::new(archs[0], nr, [0; 6]));
        calls.map(|call| executed(program, &call)).collect()
    };
    println!(
        "| mean over all native numbers |{}\n",
        row(programs, |program| mean(&all(program)))
    );
    Ok(())
}

/// Calls that a container profile answers by their arguments, or not with ALLOW, or of an ABI without a cache: the
/// kernel can answer none of them without the filter.
fn samples() -> Vec<(&'static str, Call)> {
    let number = |arch, name| syscalls::number(arch, name).unwrap_or(u32::MAX);
    let call = |arch, name, arg: u64| Call::new(arch, number(arch, name), [arg, 0, 0, 0, 0, 0]);
    let [native, x32, x86] = [Arch::X86_64, Arch::X32, Arch::X86];
    vec![
        ("clone(SIGCHLD)", call(native, "clone", 17)),
        ("clone(CLONE_NEWUSER)", call(native, "clone", 0x1000_0000)),
        ("clone3", call(native, "clone3", 0)),
        ("socket(AF_INET)", call(native, "socket", 2)),
        ("socket(AF_VSOCK)", call(native, "socket", 40)),
        ("personality(PER_LINUX)", call(native, "personality", 0)),
        (
            "personality(ADDR_NO_RANDOMIZE)",
            call(native, "personality", 0x4_0000),
        ),
        ("number 1000", Call::new(native, 1000, [0; 6])),
        ("x32 read", call(x32, "read", 0)),
        ("x32 number 1000", Call::new(x32, X32_BIT | 1000, [0; 6])),
        ("x86 clone(SIGCHLD)", call(x86, "clone", 17)),
        ("x86 number 1000", Call::new(x86, 1000, [0; 6])),
    ]
}

fn row(programs: &[Program], figure: impl Fn(&Program) -> f64) -> String {
    let figures: Vec<_> = programs
        .iter()
        .map(|program| Some(figure(program)))
        .collect();
    ratios(&figures)
}

fn executed(program: &Program, call: &Call) -> f64 {
    float(program.simulate(call).executed)
}

fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / float(figures.len())
}

/// Counts are far below 2⁵³.
fn float(count: usize) -> f64 {
    count as f64
}
