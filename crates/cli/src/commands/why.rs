//! `callgate why`: which calls of a command fail under a profile, and what would let them pass.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};

use callgate::compiler::policy::Ground;
use callgate::load::Options as LoadOptions;
use callgate::trace::{Event, trace};
use callgate::{Action, Call, Context, Filter, Prepared, Profile, SpawnError, probe};
use clap::Args;
use serde_json::{Value, json};

use super::run::{not_started, status_of};
use crate::context::ContextOptions;
use crate::denials::{self, CallFailure, Denials, Kind};
use crate::diagnostics::Document;
use crate::failure::{Failure, WRAPPER};
use crate::input::Input;
use crate::output;
use crate::remedy::{self, Remedy};
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
    let mut denials = Denials::new(&filter);
    let ended = trace(prepared, &mut command, |event| {
        watch(event, &filter, &context, &mut denials, &mut forwarder);
    });
    let report = Report {
        document: Document::new(&input.source()),
        profile: &profile,
        filter: &filter,
        context: &context,
        denials: &denials,
    };
    report.write(options, ended.as_ref().ok()).map_err(own)?;
    match ended {
        Ok(status) => Ok(ExitCode::from(status_of(program, status))),
        Err(error @ SpawnError::Trace(_)) => {
            let hint = "is it being traced already, or is tracing forbidden here (kernel.yama.ptrace_scope)?";
            Err(own(Failure::new(format!("{error}: {hint}"))))
        }
        Err(error) => Err(not_started(program, error, &filter, &context)),
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
    denials: &mut Denials<'_>,
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
            let first = denials.count(call, failure, caller.tid, || text(call, caller.tid));
            if first && matches!(verdict.action, Action::KillProcess | Action::KillThread) {
                let name = denials::name_of(caller.tid);
                let shown = text(call, caller.tid);
                let comes_to = denials::came_to(verdict.action, context.arch);
                anstream::eprintln!("callgate: {shown} {comes_to}: {name}[{}]", caller.tid);
            }
        }
        Event::Left(caller, call, Err(EPERM)) if allowed(filter.policy().decide(call).action) => {
            let failure = CallFailure::Refused(EPERM);
            denials.count(call, failure, caller.tid, || text(call, caller.tid));
        }
        _ => {}
    }
}

/// What there is to say in the end.
struct Report<'a> {
    document: Document<'a>,
    profile: &'a Profile,
    filter: &'a Filter,
    context: &'a Context,
    denials: &'a Denials<'a>,
}

impl Report<'_> {
    fn write(&self, options: &Options, ended: Option<&ExitStatus>) -> Result<(), Failure> {
        let remedies: Vec<Vec<Remedy>> = self.kinds().map(|kind| self.remedies(kind)).collect();
        let text = if options.json {
            format!("{:#}\n", self.to_json(options, ended, &remedies))
        } else {
            self.to_text(&remedies)
        };
        match &options.output {
            Some(path) => output::write(Some(path), text.as_bytes())?,
            None => anstream::eprint!("{text}"),
        }
        match &options.write {
            Some(path) => output::write(Some(path), self.fixed(&remedies)?.as_bytes()),
            None => Ok(()),
        }
    }

    fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.denials.kinds().iter()
    }

    fn remedies(&self, kind: &Kind) -> Vec<Remedy> {
        let CallFailure::Denied(verdict) = kind.failure else {
            return Vec::new();
        };
        if matches!(verdict.ground, Ground::ForeignArch | Ground::X32Disabled) {
            let text = remedy::foreign(&kind.call, self.context);
            let edits = Vec::new();
            return vec![Remedy { text, edits }];
        }
        remedy::remedies(
            self.document.text(),
            self.profile,
            self.filter,
            self.context,
            &kind.call,
            verdict,
        )
    }

    fn to_text(&self, remedies: &[Vec<Remedy>]) -> String {
        let is_denied = |kind: &&Kind| matches!(kind.failure, CallFailure::Denied(_));
        let denied = self.kinds().filter(is_denied).count();
        let refused = self.kinds().count() - denied;
        let mut text = match (denied, refused) {
            (0, 0) => "callgate: no call was denied\n".to_owned(),
            (0, _) => "callgate: no call was denied by the filter\n".to_owned(),
            (1, _) => "callgate: one kind of call was denied\n".to_owned(),
            (denied, _) => format!("callgate: {denied} kinds of calls were denied\n"),
        };
        for (kind, remedies) in self.kinds().zip(remedies) {
            self.describe(kind, remedies, &mut text);
        }
        if self.denials.beyond > 0 {
            let beyond = self.denials.beyond;
            let _ = writeln!(
                text,
                "\nand {beyond} calls more, of too many kinds to tell apart"
            );
        }
        text
    }

    fn describe(&self, kind: &Kind, remedies: &[Remedy], text: &mut String) {
        let came_to = kind.came_to(self.context.arch);
        let _ = writeln!(text, "\n{}  {came_to}  {}", kind.text, kind.by());
        let CallFailure::Denied(verdict) = kind.failure else {
            let _ = writeln!(
                text,
                "  allowed by the filter: the kernel itself refused it, as for want of a capability"
            );
            return;
        };
        let ground = denials::ground(verdict.ground);
        let place = denials::place(self.filter, &self.profile.path, verdict.ground);
        let place = place.map(|path| format!(": {} {path}", self.document.locate(&path)));
        let _ = writeln!(text, "  denied by {ground}{}", place.unwrap_or_default());
        if kind.is_fallback(self.context.arch) {
            let _ = writeln!(
                text,
                "  as a kernel answers that lacks the call; most programs then use an older one"
            );
        }
        for (number, remedy) in remedies.iter().enumerate() {
            let _ = writeln!(text, "  {}. {}", number + 1, remedy.text);
            for edit in &remedy.edits {
                if let crate::edit::Edit::Add(entry) = edit {
                    let _ = writeln!(text, "       {entry}");
                }
            }
        }
    }

    /// The profile with the first remedy of each kind, as far as it is one of the profile. What programs fall back from stays.
    fn fixed(&self, remedies: &[Vec<Remedy>]) -> Result<String, Failure> {
        let mut text = self.document.text().to_owned();
        for (kind, remedies) in self.kinds().zip(remedies) {
            let denied = matches!(kind.failure, CallFailure::Denied(_));
            let left = !denied || kind.is_fallback(self.context.arch);
            if left || remedy::allows(&text, self.context, &kind.call) {
                continue;
            }
            let fixes = remedies.iter().filter(|remedy| !remedy.edits.is_empty());
            let mut fixed = fixes.filter_map(|remedy| remedy::edited(&text, &remedy.edits));
            match fixed.find(|text| remedy::allows(text, self.context, &kind.call)) {
                Some(fixed) => text = fixed,
                None => anstream::eprintln!(
                    "callgate: --write: no change of the profile is known that allows {}",
                    kind.text
                ),
            }
        }
        Ok(text)
    }

    fn to_json(
        &self,
        options: &Options,
        ended: Option<&ExitStatus>,
        remedies: &[Vec<Remedy>],
    ) -> Value {
        let kinds = self.kinds().zip(remedies);
        let kinds = kinds.map(|(kind, remedies)| self.kind_to_json(kind, remedies));
        let words = options.command.iter().map(|word| word.to_string_lossy());
        json!({
            "schema": "callgate.why.v1",
            "command": words.collect::<Vec<_>>(),
            "status": ended.map(ToString::to_string),
            "calls": kinds.collect::<Vec<_>>(),
            "beyond": self.denials.beyond,
        })
    }

    fn kind_to_json(&self, kind: &Kind, remedies: &[Remedy]) -> Value {
        let (tid, name) = &kind.first;
        let mut document = json!({
            "call": kind.text,
            "audit_arch": kind.call.audit,
            "nr": kind.call.nr,
            "args": kind.call.args,
            "outcome": kind.came_to(self.context.arch),
            "count": kind.count,
            "callers": kind.callers(),
            "first": { "tid": tid, "name": name },
            "allowed_by_filter": true,
        });
        if let CallFailure::Denied(verdict) = kind.failure {
            let path = &self.profile.path;
            document["allowed_by_filter"] = false.into();
            document["verdict"] =
                denials::verdict_json(self.filter, path, verdict, self.context.arch);
            let place = denials::place(self.filter, path, verdict.ground);
            document["place"] = place.map(|path| self.document.locate(&path)).into();
            let remedies = remedies.iter().map(|remedy| {
                let entries = remedy.edits.iter().filter_map(|edit| match edit {
                    crate::edit::Edit::Add(entry) => serde_json::from_str::<Value>(entry).ok(),
                    _ => None,
                });
                json!({ "change": remedy.text, "entries": entries.collect::<Vec<_>>() })
            });
            document["remedies"] = remedies.collect();
        }
        document
    }
}
