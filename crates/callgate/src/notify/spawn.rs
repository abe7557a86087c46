//! A command and its supervisor, started so that neither waits for the other.
//!
//! From the moment its filter is installed, every call of the child may wait for an answer: the ones that would send the listener
//! away, the exec, the exit. So the child makes none. It writes the listener's number into memory that it shares with a thread of the
//! parent, and spins until that thread has taken a copy with `pidfd_getfd(2)` (since 5.6). The thread is the
//! supervisor from then on, since the parent waits for the exec, which may be the first call to be answered.

use std::hint;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, getpid, kill_process, pidfd_getfd, pidfd_open,
};

use super::Listener;
use crate::load::{Prepared, SpawnError};
use crate::sys::{self, SharedWords};

/// A command that runs, and the thread that supervises it.
#[derive(Debug)]
pub struct Supervised {
    /// The command.
    pub child: Child,
    /// The thread; it ends with the last process that has the filter.
    pub supervisor: JoinHandle<()>,
}

/// Which of the shared words is the state; the child's id and the number of its listener follow.
const STATE: usize = 0;

/// What the state is: at first none of these.
const INSTALLED: u32 = 1;
const TAKEN: u32 = 2;
const FAILED: u32 = 3;

/// For how many rounds a child spins: some ten seconds. Only a parent that was killed lets it wait so long.
const ROUNDS: u32 = 1 << 29;

/// Spawns a command with the filter installed just before it is executed, and `supervise` running in a thread of its own with the
/// listener of the filter. When `supervise` returns or panics, the thread goes on and answers what is left with ENOSYS (but lets
/// exits pass), until the last process that has the filter is gone.
///
/// The child must be one that this process may trace (`pidfd_getfd(2)`), as a child is that changes neither its user nor
/// its group; else CAP_SYS_PTRACE is needed.
///
/// ```no_run
/// use callgate::notify::{Listener, spawn};
/// # fn prepared() -> callgate::Prepared { unimplemented!() }
/// let mut command = std::process::Command::new("true");
/// let mut supervised = spawn(prepared(), &mut command, |listener: &Listener| {
///     while let Ok(Some(notification)) = listener.receive() {
///         let _ = notification.allow_unchecked();
///     }
/// })?;
/// let status = supervised.child.wait();
/// # Ok::<(), callgate::SpawnError>(())
/// ```
///
/// # Errors
/// [`SpawnError`]; nothing is run then, and `supervise` has seen the end of its listener, or was not called.
pub fn spawn(
    prepared: Prepared,
    command: &mut Command,
    supervise: impl FnOnce(&Listener) + Send + 'static,
) -> Result<Supervised, SpawnError> {
    if !prepared.has_listener() {
        return Err(SpawnError::NoListener);
    }
    let shared = Arc::new(SharedWords::new().map_err(SpawnError::Listener)?);
    let (sender, taken) = mpsc::sync_channel(1);
    let shared_by_supervisor = Arc::clone(&shared);
    let supervisor = thread::Builder::new().spawn(move || {
        let (result, listener) = match take(&shared_by_supervisor) {
            Ok(listener) => (Ok(()), Some(listener)),
            Err(error) => (Err(error), None),
        };
        // Nobody may be there to hear it, if the command could not be executed.
        let _ = sender.send(result);
        if let Some(listener) = listener {
            let rest = Rest(listener);
            supervise(&rest.0);
        }
    });
    let supervisor = supervisor.map_err(SpawnError::Listener)?;
    let shared_by_child = Arc::clone(&shared);
    let child = sys::spawn_with(command, move || install(&prepared, &shared_by_child));
    // If there was no child, or it was killed before it got so far, the thread waits for nothing.
    let state = &shared.words()[STATE];
    let _ = state.compare_exchange(0, FAILED, Release, Relaxed);
    let mut child = child.map_err(SpawnError::from_raw)?;
    let ended = || io::Error::other("the thread that takes it has ended");
    if let Err(error) = taken.recv().unwrap_or_else(|_| Err(ended())) {
        let _ = child.wait();
        return Err(SpawnError::Listener(error));
    }
    Ok(Supervised { child, supervisor })
}

/// Answers what its supervisor leaves, by dropping it. To close the listener wouldn't do: until it has executed its command the
/// child has a copy, and would wait for itself.
struct Rest(Listener);

impl Drop for Rest {
    fn drop(&mut self) {
        while let Ok(Some(_)) = self.0.receive() {}
    }
}

/// In the child: installs the filter, and waits without a system call until its listener is taken.
fn install(prepared: &Prepared, shared: &SharedWords) -> io::Result<()> {
    let [state, pid, number, _] = shared.words();
    pid.store(getpid().as_raw_nonzero().get().unsigned_abs(), Relaxed);
    let listener = match prepared.install() {
        Ok(Some(listener)) => listener,
        Ok(None) => return Err(io::Error::from_raw_os_error(libc::EBADF)),
        Err(error) => {
            state.store(FAILED, Release);
            return Err(error.into_raw());
        }
    };
    number.store(listener.as_raw_fd().unsigned_abs(), Relaxed);
    // To be closed by the exec, not by a call that the filter may catch.
    mem::forget(listener);
    state.store(INSTALLED, Release);
    for _ in 0..ROUNDS {
        if state.load(Acquire) == TAKEN {
            return Ok(());
        }
        hint::spin_loop();
    }
    Err(io::Error::from_raw_os_error(libc::ETIMEDOUT))
}

/// In the parent: the listener that a child has installed. If it can't be taken, the child is killed, since its next
/// call may never end.
fn take(shared: &SharedWords) -> io::Result<Listener> {
    let [state, pid, number, _] = shared.words();
    loop {
        match state.load(Acquire) {
            INSTALLED => break,
            FAILED => return Err(io::Error::from_raw_os_error(libc::ECHILD)),
            _ => thread::sleep(Duration::from_micros(50)),
        }
    }
    let raw = |word: &AtomicU32| i32::try_from(word.load(Relaxed)).ok();
    let (Some(pid), Some(number)) = (raw(pid).and_then(Pid::from_raw), raw(number)) else {
        return Err(io::Error::from_raw_os_error(libc::ECHILD));
    };
    let listener = copy(pid, number)
        .and_then(|fd| Listener::new(fd).map_err(io::Error::other))
        .inspect_err(|_| {
            // It is a child that nobody has waited for, so the id is its own still.
            let _ = kill_process(pid, Signal::KILL);
        })?;
    state.store(TAKEN, Release);
    Ok(listener)
}

fn copy(pid: Pid, number: i32) -> io::Result<OwnedFd> {
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    Ok(pidfd_getfd(process, number, PidfdGetfdFlags::empty())?)
}
