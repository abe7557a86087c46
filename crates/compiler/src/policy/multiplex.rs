//! Calls that also go through another one: `socketcall` and `ipc`.
//!
//! Older ABIs reach socket calls and System V IPC by one call each, whose first argument selects what is meant
//! (`include/uapi/linux/net.h`, `SYS_*`; `include/uapi/linux/ipc.h`). Their other arguments lie in memory,
//! out of a filter's sight, or one place further.

use crate::arch::Arch;
use crate::syscalls;

/// How a call is reached through a multiplexer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Multiplexed {
    /// The number of `socketcall` or `ipc`.
    pub(super) nr: u32,
    /// What its argument 0 must be.
    pub(super) selector: u64,
}

/// How a call is reached through a multiplexer of an ABI, if it is.
pub(super) fn multiplexed(arch: Arch, name: &str) -> Option<Multiplexed> {
    let through = |calls: &[(&str, u64)], multiplexer: &str| {
        let (_, selector) = *calls.iter().find(|(call, _)| *call == name)?;
        let nr = syscalls::number(arch, multiplexer)?;
        Some(Multiplexed { nr, selector })
    };
    through(&SOCKETCALL, "socketcall").or_else(|| through(&IPC, "ipc"))
}

const SOCKETCALL: [(&str, u64); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

const IPC: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_abis_that_have_the_multiplexer_use_it() {
        let socket = |arch| multiplexed(arch, "socket");
        assert_eq!(
            socket(Arch::X86),
            Some(Multiplexed {
                nr: 102,
                selector: 1
            })
        );
        assert_eq!(
            socket(Arch::S390x),
            Some(Multiplexed {
                nr: 102,
                selector: 1
            })
        );
        for arch in [
            Arch::X86_64,
            Arch::X32,
            Arch::Arm,
            Arch::Aarch64,
            Arch::Mips64,
            Arch::Parisc,
            Arch::Riscv64,
        ] {
            assert_eq!(socket(arch), None, "{arch}");
        }
        let ipc = [
            Arch::X86,
            Arch::S390,
            Arch::S390x,
            Arch::Ppc,
            Arch::Ppc64le,
            Arch::Mips,
            Arch::Sh,
            Arch::M68k,
        ];
        for arch in ipc {
            assert!(multiplexed(arch, "shmat").is_some(), "{arch}");
        }
    }
}
