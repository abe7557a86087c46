//! Every system call of a command and of all that it starts, as a tracer sees them: before the filter judges them, and with what
//! came of them.
//!
//! A filter tells nobody what it denies, and answers nothing about a call that it lets through and the kernel refuses. A
//! tracer (`ptrace(2)`) sees both, and the filter stays as it is, so that its KILLs kill and its TRAPs trap. The price is
//! that of `strace`: two stops a call; and what is traced can't itself trace.

use std::collections::HashMap;
use std::hint;
use std::io;
use std::mem;
use std::os::unix::process::ExitStatusExt;
use std::panic;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread;
use std::time::Duration;

use callgate_compiler::call::low_half;
use callgate_compiler::{Arch, Call, syscalls};
use rustix::process::getpid;

use crate::abi::{SYSCALL_ENTRY, SYSCALL_EXIT, SyscallInfo};
use crate::load::{Prepared, SpawnError};
use crate::sys::{self, Errno, Resume, SharedWords};

/// What a tracer sees.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The command's process is there, and will be executed.
    Started(u32),
    /// A call is about to be judged by the filter. The thread is stopped while this is looked at.
    Entered(Caller, &'a Call),
    /// A call has returned a value, or failed with an errno (`Err`). If the filter traps it or kills for it, this means nothing.
    Left(Caller, &'a Call, Result<i64, i32>),
    /// The command has ended. Others that it has started may go on.
    Ended(ExitStatus),
}

/// A thread that is stopped at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Its id, in the pid namespace of the tracer.
    pub tid: u32,
}

/// Runs a command with the filter installed just before it is executed, and shows its calls and those of all its
/// descendants to `observe`, in a thread of their own. Returns how the command ended, when the last of them has.
///
/// No other thread of this process may wait for just any child meanwhile, since it would take the stops of these.
///
/// The filter should have no listener, for nobody would serve it: a call with the action NOTIFY returns ENOSYS then.
///
/// ```no_run
/// use callgate::trace::{Event, trace};
/// # fn prepared() -> callgate::Prepared { unimplemented!() }
/// let status = trace(prepared(), &mut std::process::Command::new("true"), |event| {
///     if let Event::Left(caller, call, Err(1)) = event {
///         println!("{} got EPERM for call {}", caller.tid, call.nr);
///     }
/// })?;
/// # Ok::<(), callgate::SpawnError>(())
/// ```
///
/// # Errors
/// [`SpawnError`]: among them [`SpawnError::Trace`] if this process may not trace its child (`ptrace(2)`, "Ptrace access mode
/// checking"), or the kernel is older than 5.3.
pub fn trace(
    prepared: Prepared,
    command: &mut Command,
    observe: impl FnMut(Event<'_>) + Send,
) -> Result<ExitStatus, SpawnError> {
    let shared = Arc::new(SharedWords::new().map_err(SpawnError::Trace)?);
    let shared_by_child = Arc::clone(&shared);
    thread::scope(|scope| {
        let tracing = thread::Builder::new().spawn_scoped(scope, || {
            let mut tracer = Tracer {
                command: seize(&shared)?,
                inside: HashMap::new(),
                status: None,
                observe,
            };
            tracer.follow()
        });
        let tracing = tracing.map_err(SpawnError::Trace)?;
        let child = sys::spawn_with(command, move || install(&prepared, &shared_by_child));
        // If there was no child, or it was killed before it got so far, the thread waits for nothing.
        let state = &shared.words()[STATE];
        let _ = state.compare_exchange(0, FAILED, Release, Relaxed);
        let traced = tracing
            .join()
            .unwrap_or_else(|panicked| panic::resume_unwind(panicked));
        outcome(child, traced)
    })
}

/// Which of the shared words is the state; the child's id follows.
const STATE: usize = 0;

/// What the state is: at first none of these.
const INSTALLED: u32 = 1;
const TRACED: u32 = 2;
const FAILED: u32 = 3;

/// For how many rounds a child spins: some ten seconds. Only a parent that was killed lets it wait so long.
const ROUNDS: u32 = 1 << 29;

fn outcome(
    child: io::Result<Child>,
    traced: io::Result<Option<ExitStatus>>,
) -> Result<ExitStatus, SpawnError> {
    match (child, traced) {
        (Ok(_), Ok(Some(status))) => Ok(status),
        // Ended before it was executed, as by a filter that kills for that.
        (Ok(mut child), Ok(None)) => child.wait().map_err(SpawnError::Trace),
        (Ok(mut child), Err(error)) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(SpawnError::Trace(error))
        }
        (Err(spawning), Err(tracing)) => Err(match SpawnError::from_raw(spawning) {
            // What the child was told.
            SpawnError::Exec(error) if error.raw_os_error() == Some(libc::ECANCELED) => {
                SpawnError::Trace(tracing)
            }
            other => other,
        }),
        (Err(error), Ok(_)) => Err(SpawnError::from_raw(error)),
    }
}

/// In the child: installs the filter, and waits without a system call until it is traced, so that its own calls aren't taken
/// for the command's.
fn install(prepared: &Prepared, shared: &SharedWords) -> io::Result<()> {
    let [state, pid, ..] = shared.words();
    pid.store(getpid().as_raw_nonzero().get().unsigned_abs(), Relaxed);
    match prepared.install() {
        // To be closed by the exec, not by a call that the filter may catch.
        Ok(listener) => mem::forget(listener),
        Err(error) => {
            state.store(FAILED, Release);
            return Err(error.into_raw());
        }
    }
    state.store(INSTALLED, Release);
    for _ in 0..ROUNDS {
        match state.load(Acquire) {
            TRACED => return Ok(()),
            FAILED => return Err(io::Error::from_raw_os_error(libc::ECANCELED)),
            _ => hint::spin_loop(),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ECANCELED))
}

/// In the parent: begins to trace a child that has its filter.
fn seize(shared: &SharedWords) -> io::Result<i32> {
    let [state, pid, ..] = shared.words();
    loop {
        match state.load(Acquire) {
            INSTALLED => break,
            FAILED => return Err(io::Error::from_raw_os_error(libc::ECHILD)),
            _ => thread::sleep(Duration::from_micros(50)),
        }
    }
    let pid = i32::try_from(pid.load(Relaxed)).map_err(io::Error::other)?;
    let traced = sys::trace(pid).map_err(os_error);
    let news = if traced.is_ok() { TRACED } else { FAILED };
    state.store(news, Release);
    traced.map(|()| pid)
}

struct Tracer<F> {
    command: i32,
    /// The threads that are in a call, and which.
    inside: HashMap<i32, Call>,
    status: Option<ExitStatus>,
    observe: F,
}

/// `PTRACE_EVENT_STOP`: a new thread's first stop, or that of a process that a signal has stopped.
const EVENT_STOP: i32 = 128;

impl<F: FnMut(Event<'_>)> Tracer<F> {
    /// Follows the command and its descendants to their ends. `None`: it ends before it was executed, and is to be waited for.
    fn follow(&mut self) -> io::Result<Option<ExitStatus>> {
        (self.observe)(Event::Started(self.command.unsigned_abs()));
        loop {
            let (tid, status) = sys::wait_for_traced(self.command).map_err(os_error)?;
            if !libc::WIFSTOPPED(status) {
                self.ended(tid, ExitStatus::from_raw(status));
                return Ok(self.status);
            }
            if is_call(status) && self.has_failed_to_execute(tid)? {
                unless_gone(sys::detach(tid))?;
                return Ok(None);
            }
            self.stopped(tid, status)?;
            if event_of(status) == libc::PTRACE_EVENT_EXEC {
                break;
            }
        }
        loop {
            match sys::wait_for_traced(-1) {
                Ok((tid, status)) if libc::WIFSTOPPED(status) => self.stopped(tid, status)?,
                Ok((tid, status)) => self.ended(tid, ExitStatus::from_raw(status)),
                Err(Errno(libc::ECHILD)) => return Ok(self.status),
                Err(errno) => return Err(os_error(errno)),
            }
        }
    }

    /// Whether it is about to tell the thread that spawns it why it couldn't be executed. That one waits for its end then, and would
    /// take its stops for that.
    fn has_failed_to_execute(&self, tid: i32) -> io::Result<bool> {
        let info = unless_gone(sys::syscall_info(tid))?;
        let entered = info.filter(|info| info.op == SYSCALL_ENTRY);
        Ok(entered.is_some_and(|info| name(&call_of(&info)) != Some("execve")))
    }

    fn ended(&mut self, tid: i32, status: ExitStatus) {
        self.inside.remove(&tid);
        if tid == self.command {
            self.status = Some(status);
            (self.observe)(Event::Ended(status));
        }
    }

    fn stopped(&mut self, tid: i32, status: i32) -> io::Result<()> {
        let signal = libc::WSTOPSIG(status);
        let how = match event_of(status) {
            0 if is_call(status) => {
                self.at_call(tid)?;
                Resume::Run(0)
            }
            // Whoever had the id before, another thread has it now, and returns from its execve.
            libc::PTRACE_EVENT_EXEC => {
                self.inside.remove(&tid);
                Resume::Run(0)
            }
            0 => Resume::Run(signal),
            EVENT_STOP if signal != libc::SIGTRAP => Resume::StayStopped,
            _ => Resume::Run(0),
        };
        unless_gone(sys::resume(tid, how)).map(|_| ())
    }

    fn at_call(&mut self, tid: i32) -> io::Result<()> {
        let Some(info) = unless_gone(sys::syscall_info(tid))? else {
            return Ok(());
        };
        let caller = Caller {
            tid: tid.unsigned_abs(),
        };
        match info.op {
            SYSCALL_ENTRY => {
                let call = call_of(&info);
                (self.observe)(Event::Entered(caller, &call));
                self.inside.insert(tid, call);
            }
            SYSCALL_EXIT => {
                // None where it executes a program.
                if let Some(call) = self.inside.remove(&tid) {
                    (self.observe)(Event::Left(caller, &call, result_of(&info)));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn is_call(status: i32) -> bool {
    event_of(status) == 0 && libc::WSTOPSIG(status) == libc::SIGTRAP | 0x80
}

fn name(call: &Call) -> Option<&'static str> {
    syscalls::name(Arch::of_call(call.audit, call.nr)?, call.nr)
}

fn event_of(status: i32) -> i32 {
    status >> 16
}

fn call_of(info: &SyscallInfo) -> Call {
    let [nr, args @ .., _] = info.words;
    Call {
        nr: low_half(nr),
        audit: info.arch,
        instruction_pointer: info.instruction_pointer,
        args,
    }
}

fn result_of(info: &SyscallInfo) -> Result<i64, i32> {
    let [value, is_error, ..] = info.words;
    let value = i64::from_ne_bytes(value.to_ne_bytes());
    match is_error.to_ne_bytes()[0] {
        0 => Ok(value),
        _ => Err(i32::try_from(value.wrapping_neg()).unwrap_or(i32::MAX)),
    }
}

/// That a thread was killed while it was stopped is no error.
fn unless_gone<T>(result: Result<T, Errno>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno(libc::ESRCH)) => Ok(None),
        Err(errno) => Err(os_error(errno)),
    }
}

fn os_error(Errno(errno): Errno) -> io::Error {
    io::Error::from_raw_os_error(errno)
}
