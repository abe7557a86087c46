//! The filters of a live process, as the kernel has them.

use std::io;

use callgate_compiler::ByteOrder;
use callgate_compiler::bpf::check::{CheckError, check};
use callgate_compiler::bpf::{Insn, Program};

use crate::sys::{self, Errno, Stopped};

/// The filters of a process could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// A call of `ptrace` failed with an errno.
    #[error("ptrace: {}{}", io::Error::from_raw_os_error(*.0), cause(*.0))]
    Ptrace(i32),
    /// What the kernel handed out is no filter that it would take.
    #[error("filter {index}: {error}")]
    Check {
        /// Which one, 0 being the oldest.
        index: usize,
        /// What is wrong with it.
        error: CheckError,
    },
}

/// The filters of a process, the newest first; none if it has none. The process is stopped while they are read
/// (`PTRACE_SECCOMP_GET_FILTER`, `ptrace(2)`), which takes CAP_SYS_ADMIN, and a caller without filters of its own.
///
/// # Errors
/// [`ProcessError`]: EPERM without the right to, ESRCH if there is no such process, EACCES if the caller is filtered.
pub fn filters(pid: i32) -> Result<Vec<Program>, ProcessError> {
    let failed = |Errno(errno)| ProcessError::Ptrace(errno);
    let process = Stopped::seize(pid).map_err(failed)?;
    let mut programs = Vec::new();
    loop {
        let index = programs.len();
        let insns = match process.filter(index) {
            Ok(Some(insns)) => insns,
            Ok(None) => break,
            // A process in no seccomp mode has none.
            Err(Errno(libc::EINVAL)) if index == 0 => break,
            Err(errno) => return Err(failed(errno)),
        };
        let insns = insns.into_iter().map(Insn::from).collect();
        let program = check(insns, ByteOrder::native());
        programs.push(program.map_err(|error| ProcessError::Check { index, error })?);
    }
    // The kernel counts from the oldest (`get_nth_filter`, `kernel/seccomp.c`).
    programs.reverse();
    Ok(programs)
}

/// Sends a signal to a process (`kill(2)`), by its id or that of any of its threads.
///
/// # Errors
/// ESRCH if there is no such process, EPERM without the right to.
pub fn send_signal(pid: u32, signal: i32) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    sys::kill(pid, signal).map_err(|Errno(errno)| io::Error::from_raw_os_error(errno))
}

fn cause(errno: i32) -> &'static str {
    match errno {
        libc::EPERM => ": it takes the right to trace the process, and nobody else may trace it",
        libc::EACCES => ": it takes CAP_SYS_ADMIN, and no filters of one's own",
        libc::EIO => ": the kernel has no PTRACE_SECCOMP_GET_FILTER (CONFIG_CHECKPOINT_RESTORE)",
        _ => "",
    }
}
