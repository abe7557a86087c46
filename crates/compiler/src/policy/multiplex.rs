//! Calls that also go through another one: `socketcall` and `ipc`.
//!
//! Older ABIs reach socket calls and System V IPC by one call each, whose first argument selects what is meant
//! (`include/uapi/linux/net.h`, `SYS_*`; `include/uapi/linux/ipc.h`). Their other arguments lie in memory,
//! out of a filter's sight, or one place further.

use crate::arch::Arch;
use crate::syscalls::{Numbers, numbers};

/// How a call is reached through a multiplexer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Multiplexed {
    /// `socketcall` or `ipc`.
    pub(crate) by: Numbers,
    /// What its argument 0 must be.
    pub(crate) selector: u64,
}

impl Multiplexed {
    /// How a call is reached through a multiplexer, if it is: on the ABIs that have that one.
    pub(crate) fn of(call: Numbers) -> Option<Multiplexed> {
        let through = |calls: &[(&str, u64)], multiplexer: &str| {
            let (_, selector) = *calls.iter().find(|(name, _)| *name == call.name())?;
            let by = numbers(multiplexer)?;
            Some(Multiplexed { by, selector })
        };
        through(&SOCKETCALL, "socketcall").or_else(|| through(&IPC, "ipc"))
    }

    /// The number of the multiplexer on an ABI, if that has it.
    pub(crate) fn on(self, arch: Arch) -> Option<u32> {
        self.by.on(arch)
    }
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

    /// The number and selector of a call on an ABI.
    fn multiplexed(arch: Arch, name: &str) -> Option<(u32, u64)> {
        let through = Multiplexed::of(numbers(name).unwrap())?;
        Some((through.on(arch)?, through.selector))
    }

    #[test]
    fn only_abis_that_have_the_multiplexer_use_it() {
        use Arch::*;
        let have = [
            X86, Mips, Mipsel, Ppc, Ppc64, Ppc64le, S390, S390x, M68k, Sh, Sheb,
        ];
        for arch in Arch::ALL {
            let has = have.contains(&arch);
            assert_eq!(multiplexed(arch, "socket").is_some(), has, "{arch}");
            assert_eq!(multiplexed(arch, "shmat").is_some(), has, "{arch}");
            assert_eq!(multiplexed(arch, "read"), None, "{arch}");
        }
        assert_eq!(multiplexed(X86, "socket"), Some((102, 1)));
        assert_eq!(multiplexed(S390x, "sendmmsg"), Some((102, 20)));
        assert_eq!(multiplexed(X86, "shmctl"), Some((117, 24)));
        assert_eq!(multiplexed(Mips, "semtimedop"), Some((4117, 4)));
    }
}
