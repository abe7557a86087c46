//! Holds callgate beside other seccomp compilers: verdicts, sizes, times.
//!
//! `cargo run -p peers --release -- differential` compares verdicts with libseccomp's, and `-- figures` prints
//! what the two (and seccompiler, where it can express a profile) cost, as ratios. `-- notifications` measures how fast
//! supervisors answer.

mod children;
mod classes;
mod counts;
mod differential;
mod figures;
mod generate;
mod growth;
mod libseccomp;
mod notifications;
mod ours;
mod process;
mod real;
mod reference;
mod rules;
mod seccompiler;
mod shrink;
mod subject;
mod sys;
mod tally;
mod times;
mod timing;
mod words;

use clap::{Parser, Subcommand};

/// Compares callgate with other seccomp compilers.
#[derive(Debug, Parser)]
#[command(name = "peers")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare verdicts on random profiles and calls
    Differential(differential::Options),
    /// Measure sizes and times, and print them as Markdown tables
    Figures(figures::Options),
    /// Measure how many notifications are answered on one CPU
    Notifications(notifications::Options),
    /// Build a filter with libseccomp in this process
    #[command(name = libseccomp::CHILD, hide = true)]
    LibseccompChild { request: Vec<String> },
    /// Load a filter into this process and measure
    #[command(name = children::CHILD, hide = true)]
    MeasureChild { times: u32 },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Differential(options) => differential::run(&options),
        Command::Figures(options) => figures::run(&options),
        Command::Notifications(options) => notifications::run(&options),
        Command::MeasureChild { times } => children::child(times),
        Command::LibseccompChild { request } => libseccomp::child(&request),
    }
}
