//! `callgate man`: the manual pages.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use crate::failure::Failure;
use crate::output;

/// Print the manual page, or write those of all commands
#[derive(Args)]
#[command(after_help = "Examples:
  callgate man | man -l -
  callgate man --folder /usr/local/share/man/man1")]
pub(crate) struct Options {
    /// Write callgate.1, callgate-run.1 and so on into this folder
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let mut command = crate::Options::command();
    command.build();
    let Some(folder) = &options.folder else {
        output::write(None, &page(command)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    for subcommand in command.get_subcommands() {
        let name = format!("callgate-{}", subcommand.get_name());
        let page = page(subcommand.clone())?;
        output::write(Some(&folder.join(format!("{name}.1"))), &page)?;
    }
    output::write(Some(&folder.join("callgate.1")), &page(command)?)?;
    Ok(ExitCode::SUCCESS)
}

fn page(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let rendered = Man::new(command).render(&mut page);
    rendered.map_err(|error| Failure::new(format!("the manual page: {error}")))?;
    Ok(page)
}
