//! Structures and constants that are shared with the kernel, laid out as it has them.

use callgate_compiler::bpf::Insn;
use callgate_compiler::profile::Flag;

/// `struct sock_filter` (`include/uapi/linux/filter.h`), in this machine's byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SockFilter {
    /// The operation.
    pub code: u16,
    /// Jump if true.
    pub jt: u8,
    /// Jump if false.
    pub jf: u8,
    /// The constant.
    pub k: u32,
}

const _: () = {
    assert!(size_of::<SockFilter>() == 8);
    assert!(align_of::<SockFilter>() == 4);
};

impl From<Insn> for SockFilter {
    fn from(Insn { code, jt, jf, k }: Insn) -> SockFilter {
        SockFilter { code, jt, jf, k }
    }
}

impl From<SockFilter> for Insn {
    fn from(SockFilter { code, jt, jf, k }: SockFilter) -> Insn {
        Insn { code, jt, jf, k }
    }
}

/// `struct sock_fprog`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SockFprog {
    pub(crate) len: u16,
    pub(crate) filter: *const SockFilter,
}

/// `struct seccomp_notif_sizes`: how large the kernel's notification structures are, in bytes. Newer kernels may
/// have larger ones.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotificationSizes {
    /// `struct seccomp_notif`, what a supervisor receives.
    pub notification: u16,
    /// `struct seccomp_notif_resp`, what it answers.
    pub response: u16,
    /// `struct seccomp_data`, the call in it.
    pub data: u16,
}

const _: () = assert!(size_of::<NotificationSizes>() == 6);

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER` (since 5.0).
pub(crate) const NEW_LISTENER: u64 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_TSYNC_ESRCH` (since 5.7): TSYNC together with a listener, where a positive result is a
/// descriptor and can't be a thread.
pub(crate) const TSYNC_ESRCH: u64 = 1 << 4;

/// The bit of a flag (`SECCOMP_FILTER_FLAG_*`, `include/uapi/linux/seccomp.h`).
#[must_use]
pub const fn flag_bit(flag: Flag) -> u64 {
    match flag {
        Flag::Tsync => 1,
        Flag::Log => 1 << 1,
        Flag::SpecAllow => 1 << 2,
        Flag::WaitKillableRecv => 1 << 5,
    }
}

/// `struct seccomp_data`: a call, as a filter and a supervisor see it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SeccompData {
    pub(crate) nr: u32,
    pub(crate) arch: u32,
    pub(crate) instruction_pointer: u64,
    pub(crate) args: [u64; 6],
}

/// `struct seccomp_notif`: what a supervisor receives.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SeccompNotif {
    pub(crate) id: u64,
    pub(crate) pid: u32,
    pub(crate) flags: u32,
    pub(crate) data: SeccompData,
}

/// `struct seccomp_notif_resp`: what it answers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SeccompNotifResp {
    pub(crate) id: u64,
    pub(crate) val: i64,
    pub(crate) error: i32,
    pub(crate) flags: u32,
}

/// `struct seccomp_notif_addfd` (since 5.9): a descriptor for the caller.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SeccompNotifAddfd {
    pub(crate) id: u64,
    pub(crate) flags: u32,
    pub(crate) srcfd: u32,
    pub(crate) newfd: u32,
    pub(crate) newfd_flags: u32,
}

/// `struct ptrace_syscall_info` (`include/uapi/linux/ptrace.h`, since 5.3), its union as words.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SyscallInfo {
    pub(crate) op: u8,
    pad: [u8; 3],
    pub(crate) arch: u32,
    pub(crate) instruction_pointer: u64,
    pub(crate) stack_pointer: u64,
    /// At an entry the number and six arguments; at a return the value, and whether it is an error.
    pub(crate) words: [u64; 8],
}

/// `PTRACE_SYSCALL_INFO_ENTRY`.
pub(crate) const SYSCALL_ENTRY: u8 = 1;
/// `PTRACE_SYSCALL_INFO_EXIT`.
pub(crate) const SYSCALL_EXIT: u8 = 2;

const _: () = {
    assert!(size_of::<SyscallInfo>() == 88);
    assert!(size_of::<SeccompData>() == 64);
    assert!(size_of::<SeccompNotif>() == 80);
    assert!(size_of::<SeccompNotifResp>() == 24);
    assert!(size_of::<SeccompNotifAddfd>() == 24);
    // The numbers of the ioctls have the sizes in them.
    assert!(size_of::<SeccompNotif>() == size_of::<libc::seccomp_notif>());
    assert!(size_of::<SeccompNotifResp>() == size_of::<libc::seccomp_notif_resp>());
    assert!(size_of::<SeccompNotifAddfd>() == size_of::<libc::seccomp_notif_addfd>());
};

/// A structure with room behind it, since the kernel's may be longer than the one this was written for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Roomy<T> {
    pub(crate) known: T,
    room: [u64; 16],
}

impl<T> Roomy<T> {
    pub(crate) fn new(known: T) -> Roomy<T> {
        Roomy {
            known,
            room: [0; 16],
        }
    }
}

/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE` (since 5.5): let the call be made.
pub(crate) const CONTINUE: u32 = 1;
/// `SECCOMP_ADDFD_FLAG_SETFD`: at this number, in place of what is there.
pub(crate) const ADDFD_SETFD: u32 = 1;
/// `SECCOMP_ADDFD_FLAG_SEND` (since 5.14): and answer with the number.
pub(crate) const ADDFD_SEND: u32 = 1 << 1;
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (since 6.6): caller and supervisor take turns on one CPU.
pub(crate) const SYNC_WAKE_UP: u64 = 1;
