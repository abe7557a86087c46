//! What ends a command early, and with which status.

use std::fmt::Display;
use std::process::ExitCode;

/// Usage, input or output, or a profile that can't be taken.
pub(crate) const USAGE: u8 = 2;
/// A failure of our own where the status is that of another program.
pub(crate) const WRAPPER: u8 = 125;

/// What ended a command. It is reported by `main`.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What is wrong; if empty, it has been said.
    message: String,
    status: u8,
}

impl Failure {
    pub(crate) fn new(message: impl Display) -> Failure {
        Failure {
            message: message.to_string(),
            status: USAGE,
        }
    }

    /// What was wrong has been said already.
    pub(crate) fn said() -> Failure {
        Failure::new("")
    }

    pub(crate) fn with_status(self, status: u8) -> Failure {
        Failure { status, ..self }
    }

    pub(crate) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            anstream::eprintln!("callgate: {}", self.message);
        }
        ExitCode::from(self.status)
    }
}
