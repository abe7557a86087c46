//! `cargo xtask`: the workshop's commands.

use std::process::{self, ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use xtask::{tables, tidy, workspace_root};

/// The workshop of callgate.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the syscall and errno tables anew, from packages that anyone can fetch (needs python3 with pip,
    /// and Debian's apt-get and dpkg-deb)
    Tables {
        /// Compare with what is there instead of writing; skips, and says so, where the sources are out of reach
        #[arg(long)]
        check: bool,
    },
    /// Check the house rules: who uses whom, what stands where, how long a file is; exit status 1 if any is broken
    Tidy,
    /// Put every mutant of every filter of a corpus to the proof, and what the proof claims of them to the test; takes a
    /// quarter of an hour of a processor; exit status 1 if any claim doesn't hold
    Mutate {
        /// Jumps to everywhere, not only to where is near and to a share of the rest; takes an hour
        #[arg(long)]
        all: bool,
        /// Only the filters whose names contain this text, as `random`
        #[arg(value_name = "TEXT", default_value = "")]
        only: String,
    },
    /// Print what proofs take, beside the compilations that they belong to, as a Markdown table
    ProofTimes,
}

fn main() -> anyhow::Result<ExitCode> {
    let root = workspace_root();
    match Options::parse().command {
        Command::Tables { check: true } => tables::check(&root)?,
        Command::Tables { check: false } => tables::write(&root)?,
        Command::Tidy => {
            let findings = tidy::tidy(&root)?;
            for finding in &findings {
                println!("{finding}");
            }
            if !findings.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
            println!("tidy: all well");
        }
        Command::Mutate { all, only } => {
            let all = all.then_some("--all").into_iter();
            return example("mutate", all.chain([only.as_str()]));
        }
        Command::ProofTimes => return example("proof_times", std::iter::empty()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs an example of the test suite, optimised. It isn't linked to this program, as that is also needed where the compiler's tables
/// are broken.
fn example<'a>(name: &str, arguments: impl Iterator<Item = &'a str>) -> anyhow::Result<ExitCode> {
    let mut cargo = process::Command::new(env!("CARGO"));
    cargo.args(["run", "--release", "--quiet", "--package"]);
    cargo.args(["callgate-test-suite", "--example", name, "--"]);
    cargo.args(arguments);
    let status = cargo.current_dir(workspace_root()).status();
    let status = status.context("running cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
