//! `callgate why`: which calls of a command fail under a profile, and what would let them pass.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};

use callgate::load::Options as LoadOptions;
use callgate::trace::{Event, trace};
use callgate::{Action, Call, Context, Filter, Prepared, SpawnError, probe};
use clap::Args;
use serde_json::json;

use super::run::{not_started, status_of};
use crate::context::ContextOptions;
use crate::denials::{self, CallFailure, Denials};
use crate::failure::{Failure, WRAPPER};
use crate::input::Input;
use crate::output;
use crate::report::{Compiled, Report};
use crate::signals::Forwarder;
use crate::strings;

/// Run a command, and say which of its calls the profile denies, and why
///
/// The command and all that it starts are traced, as by strace: they run under the very filter that `run` would load, only
/// slower, and can't trace others. Reported are the calls that the filter denies, and those that it allows and the kernel
/// then refuses with EPERM, for which the profile is not to blame. Each comes with the place in the profile that decides, and the
/// least changes, each tried out, that would let it pass. The report comes last, on standard error. Root
/// isn't needed.
#[derive(Args)]
#[command(after_help = "Examples:
  callgate why -- unshare -r true
  callgate why -p profile.json -- mount -t tmpfs none /mnt
  callgate why -p profile.json --write fixed.json -- make test
  callgate why --json -o report.json -- python3 script.py

Exit status: the command's own; 128+N if signal N ended it; 125 if callgate itself failed, 126 if the
command can't be executed, 127 if it isn't found.")]
pub(crate) struct Options {
    /// Profile to run it under
    #[arg(short, long, default_value = "default")]
    profile: String,

    /// Where to write the report [default: standard error]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Report as one JSON document
    #[arg(long)]
    json: bool,

    /// Write the profile with the least changes that allow what was denied, but for ENOSYS
    #[arg(long, value_name = "FIX.json")]
    write: Option<PathBuf>,

    #[command(flatten)]
    context: ContextOptions,

    /// Command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// EPERM is 1 on every architecture.
const EPERM: i32 = 1;

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let own = |failure: Failure| failure.with_status(WRAPPER);
    let context = options.context.context().map_err(own)?;
    let input = Input::read(&options.profile).map_err(own)?;
    let profile = input.profile().map_err(own)?;
    let filter = input
        .compile_profile(&profile, &context, true)
        .map_err(own)?;
    let prepared = prepare(&filter, &context).map_err(own)?;
    let Some((program, args)) = options.command.split_first() else {
        return Err(own(Failure::new("no command")));
    };
    let mut command = Command::new(program);
    command.args(args);
    let mut forwarder = Some(Forwarder::new().map_err(own)?);
    let mut denials = Denials::default();
    let ended = trace(prepared, &mut command, |event| {
        watch(event, &filter, &context, &mut denials, &mut forwarder);
    });
    let compiled = input.compiled(profile, filter, context);
    report(options, &compiled, &denials, ended.as_ref().ok()).map_err(own)?;
    match ended {
        Ok(status) => Ok(ExitCode::from(status_of(program, status))),
        Err(error @ SpawnError::Trace(_)) => {
            let hint = "is it being traced already, or is tracing forbidden here (kernel.yama.ptrace_scope)?";
            Err(own(Failure::new(format!("{error}: {hint}"))))
        }
        Err(error) => Err(not_started(
            program,
            error,
            &compiled.filter,
            &compiled.context,
        )),
    }
}

/// With no listener: nobody supervises, and calls that notify fail with ENOSYS, as they would without an agent.
fn prepare(filter: &Filter, context: &Context) -> Result<Prepared, Failure> {
    if Some(context.arch) != probe::native_arch() {
        return Err(Failure::new(format!(
            "a filter for {} can't be loaded into this kernel",
            context.arch
        )));
    }
    let wanted = filter.flags().iter().copied();
    let options = LoadOptions {
        // A flag for listeners alone.
        flags: wanted
            .filter(|flag| *flag != callgate::compiler::profile::Flag::WaitKillableRecv)
            .collect(),
        listener: false,
        no_new_privs: !probe::may_load_without_no_new_privs(),
    };
    Prepared::program(filter.program(), &options).map_err(Failure::new)
}

fn watch(
    event: Event<'_>,
    filter: &Filter,
    context: &Context,
    denials: &mut Denials,
    forwarder: &mut Option<Forwarder>,
) {
    let allowed = |action| matches!(action, Action::Allow | Action::Log);
    let text = |call: &Call, tid| strings::display(call, context.arch, strings::of_stopped(tid));
    match event {
        Event::Started(pid) => {
            if let Some(forwarder) = forwarder.take() {
                forwarder.to(pid);
            }
        }
        Event::Entered(caller, call) => {
            let verdict = filter.policy().decide(call);
            if allowed(verdict.action) {
                return;
            }
            let failure = CallFailure::Denied(verdict);
            let first = denials.count(filter, call, failure, caller.tid, || text(call, caller.tid));
            if first && matches!(verdict.action, Action::KillProcess | Action::KillThread) {
                let name = denials::name_of(caller.tid);
                let shown = text(call, caller.tid);
                let comes_to = denials::came_to(verdict.action, context.arch);
                anstream::eprintln!("callgate: {shown} {comes_to}: {name}[{}]", caller.tid);
            }
        }
        Event::Left(caller, call, Err(EPERM)) if allowed(filter.policy().decide(call).action) => {
            let failure = CallFailure::Refused(EPERM);
            denials.count(filter, call, failure, caller.tid, || text(call, caller.tid));
        }
        _ => {}
    }
}

fn report(
    options: &Options,
    compiled: &Compiled,
    denials: &Denials,
    ended: Option<&ExitStatus>,
) -> Result<(), Failure> {
    let report = Report::new(compiled, denials);
    let text = if options.json {
        let words = options.command.iter().map(|word| word.to_string_lossy());
        let document = json!({
            "schema": "callgate.why.v1",
            "command": words.collect::<Vec<_>>(),
            "status": ended.map(ToString::to_string),
            "calls": report.to_json(),
            "beyond": denials.beyond,
        });
        format!("{document:#}\n")
    } else {
        report.to_text()
    };
    match &options.output {
        Some(path) => output::write(Some(path), text.as_bytes())?,
        None => anstream::eprint!("{text}"),
    }
    match &options.write {
        Some(path) => output::write(Some(path), report.fixed().as_bytes()),
        None => Ok(()),
    }
}
