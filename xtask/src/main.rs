//! `cargo xtask`: the workshop's commands.

use std::process::ExitCode;

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
    }
    Ok(ExitCode::SUCCESS)
}
