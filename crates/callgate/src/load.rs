//! Filter → kernel, in two steps: [`Prepared`] is made where there is time and memory, in a parent; it is
//! [installed](Prepared::install) where there is neither, in a child between fork and exec.
//!
//! What the kernel lacks is an error when it is prepared, and names what is lacking. Nothing is ever left out.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use callgate_compiler::bpf::{Operation, Program};
use callgate_compiler::profile::Flag;
use callgate_compiler::{Action, ByteOrder, Filter};

use crate::abi::{NEW_LISTENER, SockFilter, TSYNC_ESRCH, flag_bit};
use crate::probe;
use crate::sys::{self, Errno, SetFilter};

/// How to load a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The flags.
    pub flags: Vec<Flag>,
    /// Whether to ask for a listener.
    pub listener: bool,
    /// Whether to set `no_new_privs` first. Without it the thread must have it already, or hold CAP_SYS_ADMIN in its
    /// user namespace.
    pub no_new_privs: bool,
}

/// A program that this kernel will take, with all that goes into the call. It is `Send` and `Sync`, and can be
/// installed any number of times.
#[derive(Clone, Debug)]
pub struct Prepared {
    insns: Box<[SockFilter]>,
    flags: u64,
    no_new_privs: bool,
}

/// This kernel lacks what the filter needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// It has no seccomp filters.
    #[error("this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)")]
    NoFilters,
    /// It lacks a flag.
    #[error("this kernel has no {}", .0.oci_name())]
    Flag(Flag),
    /// It lacks an action.
    #[error("this kernel has no {}", .0.oci_name())]
    Action(Action),
    /// It hands out no listeners.
    #[error("this kernel has no seccomp listeners, which SCMP_ACT_NOTIFY needs (Linux 5.0)")]
    Listener,
    /// The program is for kernels of the other byte order.
    #[error("the filter is for kernels of the other byte order")]
    ByteOrder,
}

/// The kernel refused a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// `prctl(PR_SET_NO_NEW_PRIVS)` failed with an errno.
    NoNewPrivs(i32),
    /// `seccomp(SECCOMP_SET_MODE_FILTER)` failed with an errno.
    Seccomp(i32),
    /// The filter can't be put into this thread, which has filters of its own; so it is in none.
    Thread(i32),
}

impl Prepared {
    /// Prepares a filter as its profile says.
    ///
    /// # Errors
    /// What this kernel lacks.
    pub fn new(filter: &Filter, no_new_privs: bool) -> Result<Prepared, PrepareError> {
        let options = Options {
            flags: filter.flags().to_vec(),
            listener: filter.needs_listener(),
            no_new_privs,
        };
        Prepared::program(filter.program(), &options)
    }

    /// Prepares a bare program.
    ///
    /// # Errors
    /// What this kernel lacks.
    pub fn program(program: &Program, options: &Options) -> Result<Prepared, PrepareError> {
        if program.byte_order() != ByteOrder::native() {
            return Err(PrepareError::ByteOrder);
        }
        if !probe::has_filters() {
            return Err(PrepareError::NoFilters);
        }
        if options.listener && !probe::has_listener() {
            return Err(PrepareError::Listener);
        }
        if let Some(flag) = options.flags.iter().find(|flag| !probe::has_flag(**flag)) {
            return Err(PrepareError::Flag(*flag));
        }
        if let Some(action) = actions(program).find(|action| !probe::has_action(*action)) {
            return Err(PrepareError::Action(action));
        }
        let insns = program.insns().iter().map(|insn| SockFilter::from(*insn));
        Ok(Prepared {
            insns: insns.collect(),
            flags: flag_bits(options),
            no_new_privs: options.no_new_privs,
        })
    }

    /// Puts the filter on top of those of the calling thread (of all threads, with TSYNC), for good. Returns the
    /// listener, close-on-exec, if one was asked for.
    ///
    /// It makes two system calls at most, allocates nothing and takes no lock, so it may be called between fork and
    /// exec. From then on the filter judges the caller's own calls: what still has to be done must be allowed by it.
    ///
    /// # Errors
    /// What the kernel says; no filter is installed then.
    pub fn install(&self) -> Result<Option<OwnedFd>, LoadError> {
        if self.no_new_privs {
            let set = rustix::thread::set_no_new_privs(true);
            set.map_err(|errno| LoadError::NoNewPrivs(errno.raw_os_error()))?;
        }
        match sys::set_filter(self.flags, &self.insns) {
            Ok(SetFilter::Installed) => Ok(None),
            Ok(SetFilter::Listener(fd)) => Ok(Some(fd)),
            Ok(SetFilter::ThreadDiffers(tid)) => Err(LoadError::Thread(tid)),
            Err(Errno(errno)) => Err(LoadError::Seccomp(errno)),
        }
    }

    /// Spawns a command with the filter installed in it just before it is executed. The filter must allow `execve`. A
    /// listener is closed by the exec, since nobody could serve it.
    ///
    /// # Errors
    /// [`SpawnError::Load`] if the filter could not be installed, [`SpawnError::Exec`] if the command could not be run.
    pub fn spawn(self, command: &mut Command) -> Result<Child, SpawnError> {
        let install = move || match self.install() {
            Ok(listener) => {
                // To be closed by the exec, not by a call that the filter may catch.
                std::mem::forget(listener);
                Ok(())
            }
            Err(error) => Err(error.into_raw()),
        };
        sys::spawn_with(command, install).map_err(SpawnError::from_raw)
    }

    /// Whether [`install`](Self::install) returns a listener.
    #[must_use]
    pub fn has_listener(&self) -> bool {
        self.flags & NEW_LISTENER != 0
    }
}

/// A filtered command could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The filter could not be installed; nothing was run.
    #[error(transparent)]
    Load(LoadError),
    /// The command could not be executed.
    #[error(transparent)]
    Exec(io::Error),
    /// The filter that was to be supervised asks for no listener.
    #[error("the filter has no listener to be supervised by")]
    NoListener,
    /// The listener could not be taken out of the child, which was killed; nothing was run.
    #[error("taking the listener from the child: {0}")]
    Listener(io::Error),
    /// The command could not be traced; if it ran already, it was killed.
    #[error("tracing the command: {0}")]
    Trace(io::Error),
}

impl SpawnError {
    /// From the one number that comes out of a child that didn't exec.
    pub(crate) fn from_raw(error: io::Error) -> SpawnError {
        let load = error.raw_os_error().and_then(LoadError::from_raw);
        load.map_or(SpawnError::Exec(error), SpawnError::Load)
    }
}

/// All actions that a program can return, as far as its constants tell.
fn actions(program: &Program) -> impl Iterator<Item = Action> {
    program
        .insns()
        .iter()
        .filter_map(|insn| match insn.operation() {
            Some(Operation::Return(ret)) => Some(Action::from_ret(ret)),
            _ => None,
        })
}

fn flag_bits(options: &Options) -> u64 {
    let mut bits = options
        .flags
        .iter()
        .fold(0, |bits, flag| bits | flag_bit(*flag));
    if options.listener {
        bits |= NEW_LISTENER;
        if options.flags.contains(&Flag::Tsync) {
            bits |= TSYNC_ESRCH;
        }
    }
    bits
}

impl LoadError {
    /// Above any errno: the stage in which it failed, for the one number that comes out of a child that didn't exec.
    const STAGE: i32 = 1 << 16;

    pub(crate) fn into_raw(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            LoadError::NoNewPrivs(errno) => LoadError::STAGE + errno,
            LoadError::Seccomp(errno) => 2 * LoadError::STAGE + errno,
            // Of the thread only that there is one comes through.
            LoadError::Thread(_) => 3 * LoadError::STAGE,
        })
    }

    fn from_raw(raw: i32) -> Option<LoadError> {
        let errno = raw % LoadError::STAGE;
        match raw / LoadError::STAGE {
            1 => Some(LoadError::NoNewPrivs(errno)),
            2 => Some(LoadError::Seccomp(errno)),
            3 => Some(LoadError::Thread(errno)),
            _ => None,
        }
    }

    /// The likely cause, where one is known.
    #[must_use]
    pub fn cause(self) -> Option<&'static str> {
        let LoadError::Seccomp(errno) = self else {
            return None;
        };
        Some(match errno {
            libc::EACCES => "the thread has neither no_new_privs nor CAP_SYS_ADMIN",
            libc::EINVAL => {
                "the kernel doesn't know a flag or an action, or it has no seccomp filters"
            }
            libc::EBUSY => {
                "a filter with a listener is installed already, and there can be one only"
            }
            libc::ENOMEM => {
                "no memory, or the filters of the thread together are longer than 32768 instructions"
            }
            libc::ESRCH => "another thread has filters of its own, so TSYNC can't give it this one",
            libc::EMFILE | libc::ENFILE => "no descriptor is left for the listener",
            libc::ENOSYS => {
                "the kernel has no seccomp, or a filter of the container around hides it"
            }
            libc::EPERM => "a filter that is installed already doesn't allow it",
            _ => return None,
        })
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (call, errno) = match *self {
            LoadError::NoNewPrivs(errno) => ("prctl(PR_SET_NO_NEW_PRIVS)", errno),
            LoadError::Seccomp(errno) => ("seccomp(SECCOMP_SET_MODE_FILTER)", errno),
            LoadError::Thread(0) => {
                return f.write_str(
                    "another thread has filters of its own, so TSYNC can't give it this one",
                );
            }
            LoadError::Thread(tid) => {
                return write!(
                    f,
                    "thread {tid} has filters of its own, so TSYNC can't give it this one"
                );
            }
        };
        write!(f, "{call}: {}", io::Error::from_raw_os_error(errno))?;
        match self.cause() {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LoadError {}
