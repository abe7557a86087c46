//! Calls that a filter's NOTIFY has stopped, and the answers to them (`seccomp_unotify(2)`).
//!
//! The [`Listener`] is what [`install`](crate::Prepared::install) returned, or what a container runtime sent. It gives
//! [`Notification`]s, one for each call. The caller sleeps until its notification is answered; one that is dropped without an
//! answer is answered with ENOSYS, so a supervisor that fails (or panics) leaves nobody waiting. What the call's pointers point to
//! is read through [`Notification::memory`].
//!
//! ```no_run
//! use callgate::notify::Listener;
//! # fn listener() -> std::os::fd::OwnedFd { unimplemented!() }
//! let listener = Listener::new(listener())?;
//! while let Some(notification) = listener.receive()? {
//!     match notification.name() {
//!         Some("mkdir") => {
//!             let path = notification.memory()?.c_string(notification.call().args[0], 4096)?;
//!             println!("{} may not make {path:?}", notification.pid());
//!             notification.fail_with(13)?; // EACCES
//!         }
//!         // Anything else: dropped, and answered with ENOSYS.
//!         _ => {}
//!     }
//! }
//! // The last process that had the filter is gone.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Many listeners
//! A [`Supervisor`] serves any number in one loop, each by its own [`Handler`], whose errors and panics answer the caller, too. With the
//! feature `tokio`, `AsyncListener` is a stream of notifications.
//!
//! # Who supervises
//! A process can't hand its own listener on: the calls that it takes may be the very ones that wait for an answer. [`spawn`] runs a
//! command with a supervisor that has the listener before the command is executed.
//!
//! # Examples
//! `examples/serve_file.rs` serves `openat` of one path by a descriptor, `examples/answer_mknod.rs` makes files where device nodes were
//! asked for.
//!
//! # What a supervisor can't do
//! It can't let a call pass *because of what a pointer points to*: another thread of the caller may change that between
//! the look and the call. A decision on memory is sound only if the supervisor then does the caller's work itself, and
//! returns the result ([`return_value`](Notification::return_value), [`return_fd`](Notification::return_fd)).

mod listener;
mod memory;
mod notification;
mod spawn;
#[cfg(feature = "tokio")]
mod stream;
mod supervisor;

use std::io;

pub use listener::{Listener, Received};
pub use memory::{Memory, MemoryError, OpenHow, SocketAddress};
pub use notification::{Notification, Outcome};
pub use spawn::{Supervised, spawn};
#[cfg(feature = "tokio")]
pub use stream::AsyncListener;
pub use supervisor::{Failure, Handler, HandlerError, Supervisor};

use crate::sys::Errno;

/// An operation on a listener failed. That a caller died is none of these: it is an [`Outcome`], or no notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// The descriptor isn't a seccomp listener.
    #[error("the descriptor is not a seccomp listener")]
    NotAListener,
    /// The kernel's structures are longer than this library has room for.
    #[error("this kernel's notifications are longer than this library can take")]
    Size,
    /// The errno to answer with is none: it must be 1 to 4095.
    #[error("an errno is 1 to 4095, not {0}")]
    Errno(u16),
    /// Another holder of the listener has answered already.
    #[error("the notification has been answered by another holder of the listener")]
    AlreadyAnswered,
    /// A system call on the listener failed with an errno.
    #[error("{call}: {}", io::Error::from_raw_os_error(*.errno))]
    Kernel {
        /// The call.
        call: &'static str,
        /// The errno.
        errno: i32,
    },
}

impl NotifyError {
    fn kernel(call: &'static str, Errno(errno): Errno) -> NotifyError {
        match errno {
            libc::ENOTTY => NotifyError::NotAListener,
            _ => NotifyError::Kernel { call, errno },
        }
    }
}
