//! Answers the notifications of one filter as its original policy says, and writes each down before.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use callgate::compiler::notice::JsonPath;
use callgate::notify::{Failure, Handler, HandlerError, Notification};
use callgate::{Arch, Filter};
use serde_json::{Value, json};

use crate::denials;
use crate::failure;
use crate::strings;

/// Where the lines go, each whole: as one JSON object.
pub(crate) struct Log {
    to: Mutex<Box<dyn Write + Send>>,
}

/// What answers for one filter.
pub(crate) struct Answerer {
    pub(crate) filter: Arc<Filter>,
    /// Where the profile stands in its document.
    pub(crate) profile: JsonPath,
    pub(crate) arch: Arch,
    pub(crate) log: Arc<Log>,
    /// The container, if it is one.
    pub(crate) container: Option<String>,
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
    fn line(&self, notification: &Notification) -> Option<Value> {
        let call = notification.call();
        let verdict = self.filter.policy().decide(call);
        if matches!(
            verdict.action,
            callgate::Action::Allow | callgate::Action::Log
        ) {
            return None;
        }
        let memory = notification.memory().ok();
        let read = |address: u64, limit: usize| {
            let text = memory.as_ref()?.c_string(address, limit).ok()?;
            Some(text.into_bytes())
        };
        Some(json!({
            "event": "denied",
            "container": self.container,
            "pid": notification.pid(),
            "process": denials::name_of(notification.pid()),
            "call": strings::display(call, self.arch, read),
            "audit_arch": call.audit,
            "nr": call.nr,
            "args": call.args,
            "verdict": denials::verdict_json(&self.filter, &self.profile, verdict, self.arch),
        }))
    }
}

impl Handler for Answerer {
    fn handle(&self, notification: Notification) -> Result<(), HandlerError> {
        if let Some(line) = self.line(&notification) {
            self.log.write(line);
        }
        let action = self.filter.policy().decide(notification.call()).action;
        // A caller that is gone needs none.
        let _ = notification.answer(action)?;
        Ok(())
    }

    fn failed(&self, failure: Failure) {
        self.log.write(json!({
            "event": "failed",
            "container": self.container,
            "error": failure.to_string(),
        }));
    }

    fn ended(&self) {
        if let Some(container) = &self.container {
            self.log
                .write(json!({ "event": "ended", "container": container }));
        }
    }
}
