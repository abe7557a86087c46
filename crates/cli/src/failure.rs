//! What ends a command early, and with which status.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

/// Usage, input or output, or a profile that can't be taken.
pub(crate) const USAGE: u8 = 2;
/// A failure of our own where the status is that of another program.
pub(crate) const WRAPPER: u8 = 125;

/// What ended a command. It is reported by `main`.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something is wrong; what, has been said if the message is empty.
    Because { message: String, status: u8 },
    /// Nobody reads on, which is the reader's good right.
    ClosedPipe,
}

impl Failure {
    pub(crate) fn new(message: impl Display) -> Failure {
        Failure::Because {
            message: message.to_string(),
            status: USAGE,
        }
    }

    /// What was wrong has been said already.
    pub(crate) fn said() -> Failure {
        Failure::new("")
    }

    pub(crate) fn with_status(self, status: u8) -> Failure {
        match self {
            Failure::Because { message, .. } => Failure::Because { message, status },
            Failure::ClosedPipe => self,
        }
    }

    pub(crate) fn report(self) -> ExitCode {
        match self {
            Failure::Because { message, status } => {
                if !message.is_empty() {
                    anstream::eprintln!("callgate: {message}");
                }
                ExitCode::from(status)
            }
            Failure::ClosedPipe => ExitCode::SUCCESS,
        }
    }
}

/// Of writing to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::new(format!("standard output: {error}")),
        }
    }
}
