//! `callgate run`: a command under a profile.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::thread::JoinHandle;

use callgate::compiler::filter::compile;
use callgate::compiler::proof::{ProofError, prove};
use callgate::compiler::{instrument, syscalls};
use callgate::load::Options as LoadOptions;
use callgate::notify::{Handler, Listener, spawn};
use callgate::{Action, Call, Context, Filter, Prepared, SpawnError, probe};
use clap::Args;

use crate::answerer::{Answerer, Log};
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
  callgate run -p profile.json --log denied.jsonl -- make test

Exit status: the command's own; 128+N if signal N ended it; 125 if callgate itself failed, 126 if the
command can't be executed, 127 if it isn't found.")]
pub(crate) struct Options {
    /// Profile to run it under
    #[arg(short, long, default_value = "default")]
    profile: String,

    /// Say nothing about what is odd about the profile
    #[arg(short, long)]
    quiet: bool,

    /// File to append each denied call to, as a JSON object on a line of its own; those that kill or trap aren't among them
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    #[command(flatten)]
    context: ContextOptions,

    /// Command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(crate) fn run(options: Options) -> Result<ExitCode, Failure> {
    let own = |failure: Failure| failure.with_status(WRAPPER);
    let context = options.context.context().map_err(own)?;
    let input = Input::read(&options.profile).map_err(own)?;
    let profile = input.profile().map_err(own)?;
    let filter = input
        .compile_profile(&profile, &context, !options.quiet)
        .map_err(own)?;
    let Some((program, args)) = options.command.split_first() else {
        return Err(own(Failure::new("no command")));
    };
    let mut command = Command::new(program);
    command.args(args);
    let prepared = prepare(&filter, &context, options.log.is_some()).map_err(own)?;
    let log = options.log.as_deref().map(|path| Log::open(Some(path)));
    let log = log.transpose().map_err(own)?;
    let forwarder = Forwarder::new().map_err(own)?;
    let (spawned, supervisor) = match log {
        None => (prepared.spawn(&mut command), None),
        Some(log) => {
            let compiled = input.compiled(profile, filter.clone(), context.clone());
            let answerer = Answerer::new(Arc::new(compiled), Arc::new(log), None);
            let supervised = spawn(prepared, &mut command, move |listener| {
                answer_all(listener, &answerer);
            });
            match supervised {
                Ok(supervised) => (Ok(supervised.child), Some(supervised.supervisor)),
                Err(error) => (Err(error), None),
            }
        }
    };
    let mut child = spawned.map_err(|error| not_started(program, error, &filter, &context))?;
    forwarder.to(child.id());
    let status = child
        .wait()
        .map_err(|error| own(Failure::new(format!("waiting for the command: {error}"))))?;
    // What it has started and left behind would get other answers without this process.
    let ended = supervisor.map_or(Ok(()), JoinHandle::join);
    ended.map_err(|_| own(Failure::new("the supervisor has failed")))?;
    Ok(ExitCode::from(status_of(program, status)))
}

fn answer_all(listener: &Listener, answerer: &Answerer) {
    while let Ok(Some(notification)) = listener.receive() {
        if let Err(error) = answerer.handle(notification) {
            anstream::eprintln!("callgate: a call got ENOSYS: {error}");
        }
    }
    answerer.ended();
}

/// The filter, or for a log the one of which each denial notifies.
fn prepare(filter: &Filter, context: &Context, logged: bool) -> Result<Prepared, Failure> {
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
    if !logged {
        return Prepared::new(filter, no_new_privs).map_err(Failure::new);
    }
    let policy = instrument::policy(filter.policy()).map_err(Failure::new)?;
    let program = compile(&policy).map_err(Failure::new)?;
    match prove(&policy, &program) {
        Ok(_) | Err(ProofError::TooLarge) => {}
        Err(error) => return Err(Failure::new(error)),
    }
    let options = LoadOptions {
        flags: filter.flags().to_vec(),
        listener: true,
        no_new_privs,
    };
    Prepared::program(&program, &options).map_err(Failure::new)
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
