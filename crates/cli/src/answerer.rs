//! Answers the notifications of one filter as its original policy says, and writes each down before.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use callgate::Action;
use callgate::compiler::policy::Verdict;
use callgate::notify::{Failure, Handler, HandlerError, Notification};
use serde_json::{Value, json};

use crate::denials::{self, CallFailure, Denials};
use crate::failure;
use crate::report::{Compiled, Report};
use crate::strings;

/// Where the lines go, each whole: as one JSON object.
pub(crate) struct Log {
    to: Mutex<Box<dyn Write + Send>>,
}

/// What answers for one filter.
pub(crate) struct Answerer {
    compiled: Arc<Compiled>,
    log: Arc<Log>,
    /// The container, if it is one.
    container: Option<String>,
    denials: Mutex<Denials>,
}

impl Log {
    /// Appends to a file; to standard output where there is none.
    pub(crate) fn open(path: Option<&Path>) -> Result<Log, failure::Failure> {
        let to: Box<dyn Write + Send> =
            match path {
                Some(path) => Box::new(append(path).map_err(|error| {
                    failure::Failure::new(format!("{}: {error}", path.display()))
                })?),
                None => Box::new(io::stdout()),
            };
        Ok(Log { to: Mutex::new(to) })
    }

    /// Writes a line in one piece, with the time in it. A failure is said, and delays nobody.
    pub(crate) fn write(&self, mut line: Value) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        line["time"] = now.as_secs_f64().into();
        let line = format!("{line}\n");
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = to.write_all(line.as_bytes()).and_then(|()| to.flush()) {
            anstream::eprintln!(
                "callgate: the log: {error}; not written: {}",
                line.trim_end()
            );
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Answerer {
    pub(crate) fn new(
        compiled: Arc<Compiled>,
        log: Arc<Log>,
        container: Option<String>,
    ) -> Answerer {
        Answerer {
            compiled,
            log,
            container,
            denials: Mutex::default(),
        }
    }

    fn write_down(&self, notification: &Notification, verdict: Verdict) {
        let (call, pid) = (notification.call(), notification.pid());
        let arch = self.compiled.context.arch;
        let memory = notification.memory().ok();
        let read = |address: u64, limit: usize| {
            let text = memory.as_ref()?.c_string(address, limit).ok()?;
            Some(text.into_bytes())
        };
        let text = strings::display(call, arch, read);
        let Compiled {
            filter, profile, ..
        } = &*self.compiled;
        self.log.write(json!({
            "event": "denied",
            "container": self.container,
            "pid": pid,
            "process": denials::name_of(pid),
            "call": text,
            "audit_arch": call.audit,
            "nr": call.nr,
            "args": call.args,
            "verdict": denials::verdict_json(filter, &profile.path, verdict, arch),
        }));
        let failure = CallFailure::Denied(verdict);
        self.denials().count(filter, call, failure, pid, || text);
    }

    fn denials(&self) -> MutexGuard<'_, Denials> {
        self.denials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Answerer {
    fn handle(&self, notification: Notification) -> Result<(), HandlerError> {
        let verdict = self.compiled.filter.policy().decide(notification.call());
        // First, so that whatever was answered is in the log.
        if !matches!(verdict.action, Action::Allow | Action::Log) {
            self.write_down(&notification, verdict);
        }
        // A caller that is gone needs no answer.
        let _ = notification.answer(verdict.action)?;
        Ok(())
    }

    fn failed(&self, failure: Failure) {
        self.log.write(json!({
            "event": "failed",
            "container": self.container,
            "error": failure.to_string(),
        }));
    }

    /// The whole of it once more, each kind of call with its remedies.
    fn ended(&self) {
        let denials = self.denials();
        self.log.write(json!({
            "event": "ended",
            "container": self.container,
            "calls": Report::new(&self.compiled, &denials).to_json(),
            "beyond": denials.beyond,
        }));
    }
}
