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
