//! `callgate run`: a command under a profile.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};

use callgate::compiler::syscalls;
use callgate::{Action, Call, Context, Filter, Prepared, SpawnError, probe};
use clap::Args;

use crate::context::ContextOptions;
use crate::failure::{Failure, WRAPPER};
use crate::input::Input;
use crate::signals::Forwarder;

/// Run a command under a profile
///
/// The filter is installed in the new process just before it executes the command, so the profile must allow
/// execve. no_new_privs is set unless the filter may be loaded without it (CAP_SYS_ADMIN). Signals that another process
/// sends to callgate are passed on to the command.
#[derive(Args)]
#[command(after_help = "Examples:
  callgate run -- ls -la /
  callgate run -p profile.json -- sh -c 'mount -t tmpfs none /mnt'
  callgate run --cap CAP_SYS_ADMIN -- unshare -r true

Exit status: the command's own; 128+N if signal N ended it; 125 if callgate itself failed, 126 if the
command can't be executed, 127 if it isn't found.")]
pub(crate) struct Options {
    /// Profile to run it under
    #[arg(short, long, default_value = "default")]
    profile: String,

    /// Say nothing about what is odd about the profile
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    context: ContextOptions,

    /// Command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(crate) fn run(options: Options) -> Result<ExitCode, Failure> {
    let own = |failure: Failure| failure.with_status(WRAPPER);
    let context = options.context.context().map_err(own)?;
    let filter = Input::read(&options.profile)
        .and_then(|input| input.compile(&context, !options.quiet))
        .map_err(own)?;
    let prepared = prepare(&filter, &context).map_err(own)?;
    let Some((program, args)) = options.command.split_first() else {
        return Err(own(Failure::new("no command")));
    };
    let mut command = Command::new(program);
    command.args(args);
    let forwarder = Forwarder::new().map_err(own)?;
    let mut child = prepared
        .spawn(&mut command)
        .map_err(|error| not_started(program, error, &filter, &context))?;
    forwarder.to(child.id());
    let status = child
        .wait()
        .map_err(|error| own(Failure::new(format!("waiting for the command: {error}"))))?;
    Ok(ExitCode::from(status_of(program, status)))
}

fn prepare(filter: &Filter, context: &Context) -> Result<Prepared, Failure> {
    if Some(context.arch) != probe::native_arch() {
        return Err(Failure::new(format!(
            "a filter for {} can't be loaded into this kernel",
            context.arch
        )));
    }
    if filter.needs_listener() {
        let message = "the profile notifies a supervisor, which `run` doesn't provide: calls with that action would hang or fail";
        return Err(Failure::new(message));
    }
    let no_new_privs = !probe::may_load_without_no_new_privs();
    Prepared::new(filter, no_new_privs).map_err(Failure::new)
}

pub(super) fn not_started(
    program: &OsString,
    error: SpawnError,
    filter: &Filter,
    context: &Context,
) -> Failure {
    let program = program.to_string_lossy();
    let error = match error {
        SpawnError::Exec(error) => error,
        other => return Failure::new(other).with_status(WRAPPER),
    };
    let denied = syscalls::number(context.arch, "execve")
        .map(|nr| filter.policy().decide(&Call::new(context.arch, nr, [0; 6])));
    let hint = match denied {
        Some(verdict) if !matches!(verdict.action, Action::Allow | Action::Log) => {
            format!(
                " (the profile says {} of execve, by which the command is started)",
                verdict.action
            )
        }
        _ => String::new(),
    };
    let status = if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    Failure::new(format!("{program}: {error}{hint}")).with_status(status)
}

pub(super) fn status_of(program: &OsString, status: ExitStatus) -> u8 {
    let signal = status.signal();
    if signal == Some(libc::SIGSYS) {
        let program = program.to_string_lossy();
        anstream::eprintln!(
            "callgate: {program} was ended by SIGSYS: the profile kills or traps a call that it made"
        );
    }
    let code = signal.map(|signal| 128 + signal).or(status.code());
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(WRAPPER)
}
