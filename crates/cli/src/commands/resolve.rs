//! `callgate resolve`: the plain OCI profile that a Docker profile comes to.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::context::ContextOptions;
use crate::failure::Failure;
use crate::input::Input;
use crate::output;

/// Print the plain OCI seccomp object that a profile comes to in a context
#[derive(Args)]
#[command(after_help = "Examples:
  callgate resolve docker-profile.json
  callgate resolve default --cap CAP_SYS_ADMIN --kernel 5.10 --arch s390x

Exit status: 0; 2 if the profile can't be taken.")]
pub(crate) struct Options {
    /// Profile: a path, `-`, or `default`
    profile: String,

    /// Where to write it [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    context: ContextOptions,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let context = options.context.context()?;
    let input = Input::read(&options.profile)?;
    let profile = input.profile()?;
    // What can't be compiled is not printed either: it would be taken for a profile that works.
    input.compile_profile(&profile, &context, true)?;
    let json = profile.to_oci_json(&context);
    output::write(options.output.as_deref(), json.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
