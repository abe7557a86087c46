//! `cargo xtask`: the workshop's commands.

use clap::{Parser, Subcommand};
use xtask::{tables, workspace_root};

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
        /// Compare with what is there instead of writing
        #[arg(long)]
        check: bool,
    },
}

fn main() -> anyhow::Result<()> {
    let root = workspace_root();
    match Options::parse().command {
        Command::Tables { check: true } => tables::check(&root),
        Command::Tables { check: false } => tables::write(&root),
    }
}
