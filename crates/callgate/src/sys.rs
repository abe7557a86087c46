//! The calls into the kernel that no safe library has: the only `unsafe` of the workspace's crates.
//!
//! One operation a block, each with the reason why it is sound. What installs a filter allocates nothing, so that it can be used
//! between fork and exec.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::ptr;
use std::sync::atomic::AtomicU32;

use crate::abi::{
    NotificationSizes, Roomy, SeccompNotif, SeccompNotifAddfd, SeccompNotifResp, SockFilter,
    SockFprog, SyscallInfo,
};

/// An errno, as the kernel returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

/// What `SECCOMP_SET_MODE_FILTER` came to.
#[derive(Debug)]
pub(crate) enum SetFilter {
    Installed,
    Listener(OwnedFd),
    /// The filter could not be put into this thread, so it is in none (TSYNC without TSYNC_ESRCH).
    ThreadDiffers(i32),
}

/// `seccomp(SECCOMP_SET_MODE_FILTER)`: puts a filter on top of the calling thread's (`seccomp(2)`).
pub(crate) fn set_filter(flags: u64, insns: &[SockFilter]) -> Result<SetFilter, Errno> {
    let len = u16::try_from(insns.len()).map_err(|_| Errno(libc::EINVAL))?;
    let program = SockFprog {
        len,
        filter: insns.as_ptr(),
    };
    // SAFETY: the program points to `len` instructions that outlive the call, and the kernel only reads them.
    let result = unsafe {
        seccomp(
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            (&raw const program).cast(),
        )
    }?;
    if flags & crate::abi::NEW_LISTENER != 0 {
        // SAFETY: with NEW_LISTENER a result that is no error is a new descriptor, which nobody else has.
        return Ok(SetFilter::Listener(unsafe { OwnedFd::from_raw_fd(result) }));
    }
    Ok(if result == 0 {
        SetFilter::Installed
    } else {
        SetFilter::ThreadDiffers(result)
    })
}

/// Whether the kernel knows these flags: with no filter to read it fails with EFAULT if so, with EINVAL if not.
pub(crate) fn knows_flags(flags: u64) -> bool {
    // SAFETY: the kernel checks the null pointer itself; no filter can come of it.
    let result = unsafe { seccomp(libc::SECCOMP_SET_MODE_FILTER, flags, ptr::null()) };
    result == Err(Errno(libc::EFAULT))
}

/// `seccomp(SECCOMP_GET_ACTION_AVAIL)`: whether the kernel knows an action (since 4.14).
pub(crate) fn knows_action(ret: u32) -> Result<(), Errno> {
    // SAFETY: the kernel reads one 32-bit value, which outlives the call.
    unsafe { seccomp(libc::SECCOMP_GET_ACTION_AVAIL, 0, (&raw const ret).cast()) }.map(|_| ())
}

/// `seccomp(SECCOMP_GET_NOTIF_SIZES)` (since 5.0).
pub(crate) fn notification_sizes() -> Result<NotificationSizes, Errno> {
    let mut sizes = NotificationSizes::default();
    // SAFETY: the kernel writes a structure of this layout, into one that outlives the call.
    unsafe {
        seccomp(
            libc::SECCOMP_GET_NOTIF_SIZES,
            0,
            (&raw mut sizes).cast_const().cast(),
        )
    }?;
    Ok(sizes)
}

/// # Safety
/// `argument` must be what the operation takes, or null.
unsafe fn seccomp(operation: u32, flags: u64, argument: *const libc::c_void) -> Result<i32, Errno> {
    // The kernel takes flags as an unsigned int, of which all there are fit into 32 bits.
    let flags = libc::c_ulong::try_from(flags).map_err(|_| Errno(libc::EINVAL))?;
    // SAFETY: the caller vouches for the argument.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, argument) };
    if result < 0 {
        let errno = io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO);
        return Err(Errno(errno));
    }
    i32::try_from(result).map_err(|_| Errno(libc::EOVERFLOW))
}

/// `SECCOMP_IOCTL_NOTIF_RECV`: the next notification. It waits for one, so it is to be polled for first.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> Result<SeccompNotif, Errno> {
    // The kernel refuses a structure that isn't zero.
    let mut notification = Roomy::new(SeccompNotif::default());
    let pointer: *mut Roomy<SeccompNotif> = &raw mut notification;
    // SAFETY: the kernel writes its structure, which is at most as long as this one: `Listener::new` has looked.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            pointer,
        )
    };
    checked(result.into())?;
    Ok(notification.known)
}

/// `SECCOMP_IOCTL_NOTIF_SEND`: an answer.
pub(crate) fn respond(listener: BorrowedFd<'_>, response: SeccompNotifResp) -> Result<(), Errno> {
    let response = Roomy::new(response);
    let pointer: *const Roomy<SeccompNotifResp> = &raw const response;
    // SAFETY: the kernel reads its structure, which is at most as long as this one: `Listener::new` has looked.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            pointer,
        )
    };
    checked(result.into()).map(|_| ())
}

/// `SECCOMP_IOCTL_NOTIF_ID_VALID`: whether a notification still waits for its answer.
pub(crate) fn check_id(listener: BorrowedFd<'_>, id: u64) -> Result<(), Errno> {
    // Kernels before 5.8 know the number only with the direction the wrong way round.
    let numbers = [
        libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
        libc::_IOR::<u64>(u32::from(b'!'), 2),
    ];
    let mut last = Ok(());
    for number in numbers {
        // SAFETY: the kernel reads one 64-bit value, which outlives the call.
        let result = unsafe { libc::ioctl(listener.as_raw_fd(), number, &raw const id) };
        last = checked(result.into()).map(|_| ());
        if last != Err(Errno(libc::EINVAL)) {
            break;
        }
    }
    last
}

/// `SECCOMP_IOCTL_NOTIF_ADDFD` (since 5.9): gives the caller a descriptor, and returns its number there.
pub(crate) fn add_fd(listener: BorrowedFd<'_>, request: SeccompNotifAddfd) -> Result<i32, Errno> {
    // SAFETY: the kernel reads a structure of the size that the number tells.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ADDFD,
            &raw const request,
        )
    };
    checked(result.into())?;
    Ok(result)
}

/// `SECCOMP_IOCTL_NOTIF_SET_FLAGS` (since 6.6).
pub(crate) fn set_listener_flags(listener: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    // Told by value, in a long.
    let flags = libc::c_ulong::try_from(flags).map_err(|_| Errno(libc::EINVAL))?;
    // SAFETY: the request takes no pointer.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
            flags,
        )
    };
    checked(result.into()).map(|_| ())
}

/// Who is at the other end of a Unix socket (`SO_PEERCRED`). Its id may be 0, for which `rustix` has no value.
#[cfg(feature = "oci-spec")]
pub(crate) fn peer(socket: BorrowedFd<'_>) -> Result<crate::handoff::Peer, Errno> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length =
        libc::socklen_t::try_from(size_of::<libc::ucred>()).map_err(|_| Errno(libc::EINVAL))?;
    // SAFETY: the kernel writes at most `length` bytes to a structure of that size, and how many it wrote to a local.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    checked(result.into())?;
    let libc::ucred { pid, uid, gid } = peer;
    Ok(crate::handoff::Peer { pid, uid, gid })
}

/// Spawns a command that runs `before_exec` in the child, between fork and exec. A failure there comes back as the
/// raw OS error that it returned.
///
/// `before_exec` must do nothing but make system calls: another thread may have held any lock at the fork.
pub(crate) fn spawn_with(
    command: &mut Command,
    before_exec: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<Child> {
    // SAFETY: this crate's callers pass `Prepared::install`, which makes system calls on memory that was there before
    // the fork, and takes no lock and allocates nothing; and what hands its listener on, which does no more.
    unsafe { command.pre_exec(before_exec) };
    command.spawn()
}

/// Words that are shared with the children which are forked while it lasts.
#[derive(Debug)]
pub(crate) struct SharedWords {
    words: ptr::NonNull<[AtomicU32; 4]>,
}

// SAFETY: the mapping belongs to the value, and atomics may be used from any thread.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    const SIZE: usize = size_of::<[AtomicU32; 4]>();

    /// All zero.
    pub(crate) fn new() -> io::Result<SharedWords> {
        // SAFETY: a new mapping, in place of nothing.
        let mapped = unsafe {
            libc::mmap(
                ptr::null_mut(),
                SharedWords::SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = ptr::NonNull::new(mapped.cast());
        let words = words.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(SharedWords { words })
    }

    pub(crate) fn words(&self) -> &[AtomicU32; 4] {
        // SAFETY: the mapping is as large, aligned to a page, zero at first, and lasts as long as the value.
        unsafe { self.words.as_ref() }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the mapping any more.
        unsafe { libc::munmap(self.words.as_ptr().cast(), SharedWords::SIZE) };
    }
}

/// A process that is stopped and traced by this thread, until it is dropped.
#[derive(Debug)]
pub(crate) struct Stopped {
    pid: libc::pid_t,
}

/// `PTRACE_SECCOMP_GET_FILTER` (since 4.4, `ptrace(2)`).
///
/// C libraries differ in the type of a request; this converts to each.
const GET_FILTER: u16 = 0x420c;

impl Stopped {
    /// Stops a process by `PTRACE_SEIZE` and `PTRACE_INTERRUPT`.
    pub(crate) fn seize(pid: libc::pid_t) -> Result<Stopped, Errno> {
        // SAFETY: the request takes no pointer.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0_usize, 0_usize) };
        checked(seized)?;
        let stopped = Stopped { pid };
        // SAFETY: as above.
        checked(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0_usize, 0_usize) })?;
        let mut status = 0;
        // SAFETY: the status is a local.
        checked(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }.into())?;
        Ok(stopped)
    }

    /// The filter at an index, 0 being the oldest; `None` behind the last.
    pub(crate) fn filter(&self, index: usize) -> Result<Option<Vec<SockFilter>>, Errno> {
        // SAFETY: without a buffer only the length is returned.
        let length = checked(unsafe { libc::ptrace(GET_FILTER.into(), self.pid, index, 0_usize) });
        let length = match length {
            Err(Errno(libc::ENOENT)) => return Ok(None),
            other => usize::try_from(other?).map_err(|_| Errno(libc::EOVERFLOW))?,
        };
        let empty = SockFilter {
            code: 0,
            jt: 0,
            jf: 0,
            k: 0,
        };
        let mut insns = vec![empty; length];
        // SAFETY: the buffer has room for the length that the kernel has just said, and the process is stopped.
        checked(unsafe { libc::ptrace(GET_FILTER.into(), self.pid, index, insns.as_mut_ptr()) })?;
        Ok(Some(insns))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = detach(self.pid);
    }
}

/// How a traced thread that has stopped goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resume {
    /// To its next system call, or its return from one, with this signal (0 is none).
    Run(i32),
    /// Not at all, until SIGCONT: another signal has stopped its process.
    StayStopped,
}

/// Traces a child of this process, by this thread, and what comes of the child; it goes on from its first stop.
///
/// `PTRACE_SEIZE` and `PTRACE_INTERRUPT` (`ptrace(2)`).
pub(crate) fn trace(pid: libc::pid_t) -> Result<(), Errno> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC;
    // SAFETY: the request takes no pointer.
    checked(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0_usize, options) })?;
    // SAFETY: as above.
    checked(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0_usize, 0_usize) })?;
    let _ = wait_for_traced(pid)?;
    resume(pid, Resume::Run(0))
}

/// Resumes a traced thread that has stopped. Fails with ESRCH if it was killed.
pub(crate) fn resume(tid: libc::pid_t, how: Resume) -> Result<(), Errno> {
    let (request, signal) = match how {
        Resume::Run(signal) => (libc::PTRACE_SYSCALL, signal),
        Resume::StayStopped => (libc::PTRACE_LISTEN, 0),
    };
    // SAFETY: the requests take no pointer.
    checked(unsafe { libc::ptrace(request, tid, 0_usize, signal) }).map(|_| ())
}

/// Waits for a thread that this thread traces (-1 is any) to stop or end: which one, and its status as of `wait(2)`.
/// Fails with ECHILD if none is left.
pub(crate) fn wait_for_traced(pid: libc::pid_t) -> Result<(libc::pid_t, i32), Errno> {
    loop {
        let mut status = 0;
        let flags = libc::__WALL | libc::__WNOTHREAD;
        // SAFETY: the status is a local.
        match checked(unsafe { libc::waitpid(pid, &raw mut status, flags) }.into()) {
            Err(Errno(libc::EINTR)) => {}
            other => {
                let pid = libc::pid_t::try_from(other?).map_err(|_| Errno(libc::EOVERFLOW))?;
                return Ok((pid, status));
            }
        }
    }
}

/// Lets a traced thread that has stopped go on untraced.
pub(crate) fn detach(tid: libc::pid_t) -> Result<(), Errno> {
    // SAFETY: the request takes no pointer.
    checked(unsafe { libc::ptrace(libc::PTRACE_DETACH, tid, 0_usize, 0_usize) }).map(|_| ())
}

/// `PTRACE_GET_SYSCALL_INFO` (since 5.3). C libraries differ in the type of a request; this converts to each.
const GET_SYSCALL_INFO: u16 = 0x420e;

/// The system call at whose entry or return a traced thread has stopped.
pub(crate) fn syscall_info(tid: libc::pid_t) -> Result<SyscallInfo, Errno> {
    let mut info = SyscallInfo::default();
    let pointer: *mut SyscallInfo = &raw mut info;
    let size = size_of::<SyscallInfo>();
    // SAFETY: the kernel writes at most `size` bytes, into a local of that size.
    checked(unsafe { libc::ptrace(GET_SYSCALL_INFO.into(), tid, size, pointer) })?;
    Ok(info)
}

/// `kill(2)`: to one process, by a number above 0.
pub(crate) fn kill(pid: libc::pid_t, signal: i32) -> Result<(), Errno> {
    if pid <= 0 {
        return Err(Errno(libc::ESRCH));
    }
    // SAFETY: it takes no pointer.
    checked(unsafe { libc::kill(pid, signal) }.into()).map(|_| ())
}

fn checked(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 {
        let errno = io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO);
        return Err(Errno(errno));
    }
    Ok(result)
}
