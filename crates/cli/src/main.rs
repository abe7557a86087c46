//! `callgate`: run, compile, simulate and understand seccomp profiles.
//!
//! This file is the table of commands. Each has a file of its own in `commands`, with its options, what it does, and
//! examples; what several share lies beside it.

mod answerer;
mod call;
mod commands;
mod context;
mod denials;
mod diagnostics;
mod edit;
mod failure;
mod fix;
mod input;
mod layout;
mod output;
mod remedy;
mod report;
mod signals;
mod strings;
mod tolerant;
mod workload;

use std::process::ExitCode;

use clap::{ColorChoice, Parser, Subcommand};

use commands::{
    agent, assemble, check, compile, completions, cost, diff, disassemble, doctor, explain, help,
    instrument, man, prove, resolve, run, simulate, syscalls, why,
};
use failure::Failure;

/// Run, compile, simulate and understand seccomp profiles.
///
/// A PROFILE is a Docker seccomp profile, an OCI seccomp object or an OCI config.json: a path, `-` for standard
/// input, or `default` for the built-in baseline.
#[derive(Parser)]
#[command(name = "callgate", version, max_term_width = 100, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Options {
    /// When to colour
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        help = "When to colour: auto, always or never"
    )]
    color: ColorChoice,

    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  callgate run -- sh -c 'id; unshare -r true'     a denied call under the built-in profile
  callgate simulate default 'socket(AF_ALG)'      what a profile says of a call
  callgate explain default                        a profile as one would write it down
  callgate explain default 'socket(AF_ALG)'       why a call is denied, and what would allow it
  callgate check profile.json                     what its author may not expect
  callgate diff old.json new.json                 every kind of call on which two profiles differ
  callgate compile profile.json -o filter.bpf     a filter for bwrap --seccomp
  callgate disassemble profile.json               what the kernel will execute";

#[derive(Subcommand)]
enum Command {
    Run(run::Options),
    Why(why::Options),
    Compile(compile::Options),
    Resolve(resolve::Options),
    Check(check::Options),
    Explain(explain::Options),
    Simulate(simulate::Options),
    Diff(diff::Options),
    Disassemble(disassemble::Options),
    Assemble(assemble::Options),
    Prove(prove::Options),
    Cost(cost::Options),
    Report(commands::report::Options),
    Syscalls(syscalls::Options),
    Doctor(doctor::Options),
    Instrument(instrument::Options),
    Agent(agent::Options),
    Completions(completions::Options),
    Man(man::Options),
    Help(help::Options),
}

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => return usage(&error),
    };
    match options.color {
        ColorChoice::Auto => {}
        ColorChoice::Always => anstream::ColorChoice::Always.write_global(),
        ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
    }
    let status = match options.command {
        Command::Run(options) => run::run(options),
        Command::Why(options) => why::run(&options),
        Command::Compile(options) => compile::run(&options),
        Command::Resolve(options) => resolve::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Diff(options) => diff::run(&options),
        Command::Disassemble(options) => disassemble::run(&options),
        Command::Assemble(options) => assemble::run(&options),
        Command::Prove(options) => prove::run(&options),
        Command::Cost(options) => cost::run(&options),
        Command::Report(options) => commands::report::run(&options),
        Command::Syscalls(options) => syscalls::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Instrument(options) => instrument::run(&options),
        Command::Agent(options) => agent::run(&options),
        Command::Completions(options) => completions::run(&options),
        Command::Man(options) => man::run(&options),
        Command::Help(options) => help::run(&options),
    };
    status.unwrap_or_else(Failure::report)
}

/// Prints help, a version or a usage error. `run` and `why` stand in for another program, so their own failures end with 125.
fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    ExitCode::from(
        if is_wrapper(std::env::args_os().skip(1)) || printed.is_err() {
            failure::WRAPPER
        } else {
            failure::USAGE
        },
    )
}

/// Whether the command line names one of them, be it right otherwise or not.
fn is_wrapper(args: impl Iterator<Item = std::ffi::OsString>) -> bool {
    // `--color WHEN` is the one option that may stand before the command.
    let mut words = args.skip_while(|arg| arg.as_encoded_bytes().starts_with(b"--color="));
    let first = words.next();
    if first.as_ref().is_some_and(|first| first == "--color") {
        return words
            .nth(1)
            .is_some_and(|command| command == "run" || command == "why");
    }
    first.is_some_and(|command| command == "run" || command == "why")
}
