//! One call that waits for its answer.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use callgate_compiler::{Action, Arch, Call, syscalls};

use super::listener::Shared;
use super::{Memory, MemoryError, NotifyError};
use crate::abi::{
    ADDFD_SEND, ADDFD_SETFD, CONTINUE, SeccompNotif, SeccompNotifAddfd, SeccompNotifResp,
};
use crate::process;
use crate::sys::{self, Errno};

/// A call that sleeps in the kernel until it is answered. It can be sent to another thread. Dropped without an answer, it is
/// answered with ENOSYS; an exit is let pass.
#[derive(Debug)]
pub struct Notification {
    listener: Arc<Shared>,
    id: u64,
    pid: u32,
    call: Call,
    answered: bool,
}

/// As a `u16`; all architectures have it below 4096.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const ENOSYS: u16 = libc::ENOSYS as u16;

/// What came of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the caller may be gone"]
pub enum Outcome<T = ()> {
    /// The caller has it.
    Done(T),
    /// The caller was killed, or a signal took it out of its call, so nobody waits any more. An ordinary event.
    CallerGone,
}

impl<T> Outcome<T> {
    /// The value, if the caller was there to take it.
    #[must_use]
    pub fn done(self) -> Option<T> {
        match self {
            Outcome::Done(value) => Some(value),
            Outcome::CallerGone => None,
        }
    }
}

impl Notification {
    pub(super) fn new(listener: &Arc<Shared>, received: &SeccompNotif) -> Notification {
        let data = &received.data;
        Notification {
            listener: Arc::clone(listener),
            id: received.id,
            pid: received.pid,
            call: Call {
                nr: data.nr,
                audit: data.arch,
                instruction_pointer: data.instruction_pointer,
                args: data.args,
            },
            answered: false,
        }
    }

    /// The kernel's number for it: unique for the listener, while it lasts.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The calling *thread*, by its id in the supervisor's pid namespace; 0 if it has none there. The id may be another
    /// thread's once the caller is gone: what is found by it holds only if [`is_alive`](Self::is_alive) says so afterwards.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The call: number, calling convention and arguments.
    #[must_use]
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The ABI of the call, if it is one that the runtime-spec has a name for.
    #[must_use]
    pub fn arch(&self) -> Option<Arch> {
        Arch::of_call(self.call.audit, self.call.nr)
    }

    /// The name of the call, if the tables have it.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        syscalls::name(self.arch()?, self.call.nr)
    }

    /// Whether the caller still waits for the answer.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        sys::check_id(self.listener.fd.as_fd(), self.id).is_ok()
    }

    /// The caller's memory.
    ///
    /// # Errors
    /// [`MemoryError`]: the caller is gone, is in a pid namespace that isn't visible, or may not be looked into.
    pub fn memory(&self) -> Result<Memory<'_>, MemoryError> {
        Memory::open(self)
    }

    /// Lets the kernel make the call (since 5.5). **Unchecked**: whatever the supervisor saw, the kernel reads the
    /// caller's registers and memory again, and memory may have changed since (`SECCOMP_USER_NOTIF_FLAG_CONTINUE`,
    /// `seccomp_unotify(2)`). It is no means to enforce anything by the things that pointers point to.
    ///
    /// # Errors
    /// [`NotifyError`].
    pub fn allow_unchecked(mut self) -> Result<Outcome, NotifyError> {
        self.respond(0, 0, CONTINUE)
    }

    /// Makes the call return a value without being made.
    ///
    /// # Errors
    /// [`NotifyError`].
    pub fn return_value(mut self, value: i64) -> Result<Outcome, NotifyError> {
        self.respond(value, 0, 0)
    }

    /// Makes the call fail with an errno of the caller's kernel, 1 to 4095.
    ///
    /// # Errors
    /// [`NotifyError::Errno`] if it is out of range; the call fails with ENOSYS then.
    pub fn fail_with(mut self, errno: u16) -> Result<Outcome, NotifyError> {
        if !(1..=4095).contains(&errno) {
            return Err(NotifyError::Errno(errno));
        }
        self.respond(0, -i32::from(errno), 0)
    }

    /// Answers as the kernel would act for an action: with the errno, or by letting the call pass (LOG logs nothing then), or with ENOSYS
    /// for NOTIFY and TRACE, as without a supervisor or a tracer. No answer can trap or kill, so for those the
    /// process is killed by SIGKILL, and the call denied in any case.
    ///
    /// # Errors
    /// [`NotifyError`].
    pub fn answer(self, action: Action) -> Result<Outcome, NotifyError> {
        match action {
            Action::Allow | Action::Log => self.allow_unchecked(),
            Action::Errno(0) => self.return_value(0),
            Action::Errno(errno) => self.fail_with(errno),
            Action::Notify | Action::Trace(_) => self.fail_with(ENOSYS),
            Action::Trap | Action::KillThread | Action::KillProcess => {
                if self.is_alive() {
                    // Who can't be seen from here gets away with an errno.
                    let _ = process::send_signal(self.pid, libc::SIGKILL);
                }
                self.fail_with(ENOSYS)
            }
        }
    }

    /// Gives the caller a copy of a descriptor, close-on-exec if asked, and returns its number there (since 5.9). The
    /// caller goes on waiting.
    ///
    /// # Errors
    /// [`NotifyError::Kernel`], with EMFILE if the caller has no number left.
    pub fn add_fd(
        &self,
        fd: BorrowedFd<'_>,
        close_on_exec: bool,
    ) -> Result<Outcome<RawFd>, NotifyError> {
        self.inject(fd, close_on_exec, 0, 0)
    }

    /// As [`add_fd`](Self::add_fd), at a number, in place of what the caller has there.
    ///
    /// # Errors
    /// [`NotifyError::Kernel`], with EBADF if the caller may not have that number.
    pub fn add_fd_at(
        &self,
        fd: BorrowedFd<'_>,
        number: u32,
        close_on_exec: bool,
    ) -> Result<Outcome<RawFd>, NotifyError> {
        self.inject(fd, close_on_exec, ADDFD_SETFD, number)
    }

    /// Gives the caller a copy of a descriptor and makes the call return its number, in one step (since 5.14): a caller
    /// that dies between leaves nothing behind.
    ///
    /// # Errors
    /// [`NotifyError::Kernel`]; the call fails with ENOSYS then.
    pub fn return_fd(
        mut self,
        fd: BorrowedFd<'_>,
        close_on_exec: bool,
    ) -> Result<Outcome<RawFd>, NotifyError> {
        let outcome = self.inject(fd, close_on_exec, ADDFD_SEND, 0)?;
        self.answered = true;
        Ok(outcome)
    }

    fn inject(
        &self,
        fd: BorrowedFd<'_>,
        close_on_exec: bool,
        flags: u32,
        number: u32,
    ) -> Result<Outcome<RawFd>, NotifyError> {
        let request = SeccompNotifAddfd {
            id: self.id,
            flags,
            srcfd: fd.as_raw_fd().unsigned_abs(),
            newfd: number,
            newfd_flags: if close_on_exec {
                libc::O_CLOEXEC.unsigned_abs()
            } else {
                0
            },
        };
        loop {
            match sys::add_fd(self.listener.fd.as_fd(), request) {
                Ok(number) => return Ok(Outcome::Done(number)),
                Err(Errno(libc::EINTR)) => {}
                Err(errno) => return gone_or(errno, "ioctl(SECCOMP_IOCTL_NOTIF_ADDFD)"),
            }
        }
    }

    fn respond(&mut self, val: i64, error: i32, flags: u32) -> Result<Outcome, NotifyError> {
        let response = SeccompNotifResp {
            id: self.id,
            val,
            error,
            flags,
        };
        loop {
            match sys::respond(self.listener.fd.as_fd(), response) {
                Ok(()) => {
                    self.answered = true;
                    return Ok(Outcome::Done(()));
                }
                // A signal came before the kernel took it.
                Err(Errno(libc::EINTR)) => {}
                Err(errno) => {
                    let gone = gone_or(errno, "ioctl(SECCOMP_IOCTL_NOTIF_SEND)");
                    self.answered = gone.is_ok();
                    return gone;
                }
            }
        }
    }
}

impl Drop for Notification {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let (error, flags) = match self.name() {
            // C libraries try to exit until they can.
            Some("exit" | "exit_group") => (0, CONTINUE),
            _ => (-libc::ENOSYS, 0),
        };
        // If this fails, too, nobody waits.
        let _ = self.respond(0, error, flags);
    }
}

fn gone_or<T>(errno: Errno, call: &'static str) -> Result<Outcome<T>, NotifyError> {
    match errno {
        Errno(libc::ENOENT) => Ok(Outcome::CallerGone),
        Errno(libc::EINPROGRESS) => Err(NotifyError::AlreadyAnswered),
        errno => Err(NotifyError::kernel(call, errno)),
    }
}
