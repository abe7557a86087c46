//! `callgate completions`: for the shell.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output;

/// Print a completion script
#[derive(Args)]
#[command(after_help = "Examples:
  callgate completions bash > /etc/bash_completion.d/callgate
  callgate completions fish > ~/.config/fish/completions/callgate.fish")]
pub(crate) struct Options {
    /// Shell that it is for
    shell: Shell,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        options.shell,
        &mut crate::Options::command(),
        "callgate",
        &mut script,
    );
    output::write(None, &script)?;
    Ok(ExitCode::SUCCESS)
}
