//! How filters and their building grow with the number of rules.

use std::hint::black_box;

use anyhow::Result;
use callgate::compiler::bpf::Program;
use callgate::{Arch, CompileError};

use crate::libseccomp::{self, Optimize, Outcome};
use crate::ours;
use crate::rules::{Arg, Entry, Operator, Rules};
use crate::timing::{least_of, micros, paired, ratios};

/// Prints the tables, for this many rounds and up to this many rules.
pub(crate) fn print(rounds: usize, most: u64) -> Result<()> {
    println!("## Growth\n");
    println!(
        "One call (ioctl) with so many rules on one argument, each allowing one value; x86_64.\n"
    );
    table([10, 100, 1_000, 10_000], rounds, most, |count| {
        rules(&["ioctl"], &[Arch::X86_64], count)
    })?;
    println!("So many calls with one rule each; x86_64 + x86 + x32.\n");
    let names: Vec<&str> = callgate::compiler::syscalls::table(Arch::X86_64)
        .map(|(_, name)| name)
        .collect();
    table([10, 30, 100, 300], rounds, most, |count| {
        let count = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(names.len());
        rules(&names[..count], &[Arch::X86_64, Arch::X86, Arch::X32], 1)
    })
}

/// Every name with rules on its second argument.
fn rules(names: &[&str], archs: &[Arch], count: u64) -> Rules {
    let entry = |value| Entry {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: "SCMP_ACT_ALLOW".to_owned(),
        errno_ret: None,
        args: vec![Arg {
            index: 1,
            // Not in a row: that would be a range.
            value: 0x5401 + 3 * value,
            value_two: 0,
            op: Operator::Eq,
        }],
    };
    Rules {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        default_errno_ret: None,
        architectures: archs.iter().map(|arch| arch.oci_name()).collect(),
        syscalls: (0..count).map(entry).collect(),
    }
}

fn table(counts: [u64; 4], rounds: usize, most: u64, rules: impl Fn(u64) -> Rules) -> Result<()> {
    println!("| rules | | callgate | libseccomp 1 | libseccomp 2 |\n|---|---|---|---|---|");
    for count in counts.into_iter().filter(|count| *count <= most) {
        let rules = rules(count);
        let (length, ours) = match ours::compile(&rules)? {
            Ok(filter) => (filter.program().insns().len(), true),
            Err(CompileError::TooLong(error)) => (error.length, false),
            Err(error) => return Err(error.into()),
        };
        let theirs = [Optimize::List, Optimize::Tree].map(|optimize| length_of(&rules, optimize));
        let [first, second] = theirs;
        let lengths = [Some(length), first?, second?];
        println!(
            "| {count} | instructions |{}",
            ratios(&lengths.map(|l| l.map(|l| l as f64)))
        );
        let note = if ours {
            "build, µs"
        } else {
            "build (too long for a filter), µs"
        };
        println!("| {count} | {note} |{}", builds(&rules, rounds, &lengths)?);
    }
    println!();
    Ok(())
}

/// `None` if the library refuses the rules, is not done in time, or its program is longer than the kernel takes.
fn length_of(rules: &Rules, optimize: Optimize) -> Result<Option<usize>> {
    Ok(match libseccomp::build(rules, optimize)? {
        Outcome::Built(program) => Some(Program::insns(&program).len()),
        _ => None,
    })
}

fn builds(rules: &Rules, rounds: usize, lengths: &[Option<usize>; 3]) -> Result<String> {
    let json = rules.to_json()?;
    let context = ours::context(Arch::X86_64);
    let mut times = Vec::new();
    for _ in 0..rounds {
        let ours = least_of(3, || {
            // An error for what is too long: the work is done by then.
            let _ = black_box(ours::compile_json(black_box(&json), &context));
            Ok(())
        })?;
        let mut round = vec![Some(micros(ours))];
        for (optimize, length) in Optimize::ALL.into_iter().zip(&lengths[1..]) {
            let build = |_| libseccomp::time_builds(rules, optimize, 1);
            let taken = length.map(build).transpose()?;
            round.push(taken.and_then(|times| times.first().copied()).map(micros));
        }
        times.push(round);
    }
    Ok(paired(&times))
}
