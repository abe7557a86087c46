//! Prints what filters cost, callgate's beside the others' in the same run, as Markdown.
//!
//! Sizes and paths are counted, and are the same on every machine. Times are medians of interleaved rounds, and what
//! counts of them is the ratio of a round to callgate's in the same round.

use anyhow::Result;
use callgate::Arch;

use crate::{counts, growth, subject, sys, times};

/// Options of the subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Do everything once, quickly: the times mean nothing then
    #[arg(long)]
    smoke: bool,
    /// Only the profiles whose heading contains this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// How often things are done.
#[derive(Debug)]
pub(crate) struct Rounds {
    /// Builds of each compiler.
    pub(crate) builds: usize,
    /// Loads of each program.
    pub(crate) loads: usize,
    /// Runs that time calls, of each program.
    pub(crate) runs: usize,
    /// Calls in each part of a run.
    pub(crate) calls: u32,
    /// The most rules that are built.
    pub(crate) rules: u64,
}

impl Rounds {
    const FULL: Rounds = Rounds {
        builds: 31,
        loads: 121,
        runs: 31,
        calls: 20_000,
        rules: 10_000,
    };
    const SMOKE: Rounds = Rounds {
        builds: 1,
        loads: 1,
        runs: 1,
        calls: 10,
        rules: 100,
    };
}

/// Prints all tables.
pub(crate) fn run(options: &Options) -> Result<()> {
    let rounds = if options.smoke {
        Rounds::SMOKE
    } else {
        Rounds::FULL
    };
    let version = sys::version();
    println!("# callgate beside libseccomp {version} and seccompiler\n");
    println!(
        "In brackets: how many times callgate's figure. libseccomp 1 and 2 are its levels of optimisation; seccompiler \
         is given what it can express, the ALLOW rules of one architecture.\n"
    );
    let mut subjects = subject::all()?;
    subjects.retain(|subject| subject.name.contains(&options.only));
    counts::sizes(&subjects)?;
    for subject in subjects.iter().filter(|s| s.context.arch == Arch::X86_64) {
        println!("## {}\n", subject.name);
        let programs = subject.programs()?;
        counts::paths(subject, &programs)?;
        times::builds(subject, &rounds)?;
        times::live(&programs, &rounds)?;
    }
    growth::print(rounds.builds.min(5), rounds.rules)
}
