//! What arguments are called, how wide they are, and which constants they take.
//!
//! A profile says `index: 0, value: 40`; its reader wants `family == AF_VSOCK`. Names and widths of arguments come from the
//! kernel's prototypes (`prototypes.txt`), values of constants from its headers (`generated.rs`); which constants an argument takes is
//! written down here, as no header says so.

pub mod constants;
mod generated;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::arch::Arch;
pub use constants::Set;

/// An argument of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What the kernel calls it.
    pub name: &'static str,
    /// How much of it the kernel looks at.
    pub width: Width,
    /// The constants that it takes, where it takes such.
    pub set: Option<Set>,
}

/// How much of an argument's register the kernel looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// The lowest 16 bits, of 64 or 32.
    Half,
    /// The lower 32 bits.
    Int,
    /// All of it: a `long`, a size, a pointer.
    Register,
    /// 64 bits, on 32-bit ABIs in two registers.
    Wide,
}

impl Width {
    /// The bits that the kernel looks at.
    ///
    /// ```
    /// use callgate_compiler::signatures::Width;
    /// assert_eq!(Width::Int.mask(), 0xffff_ffff);
    /// ```
    #[must_use]
    pub fn mask(self) -> u64 {
        match self {
            Width::Half => 0xffff,
            Width::Int => 0xffff_ffff,
            Width::Register | Width::Wide => u64::MAX,
        }
    }
}

/// The arguments of a call on an ABI, as far as they are known: none of what comes behind a 64-bit one that a 32-bit ABI hands over
/// in two registers.
///
/// ```
/// use callgate_compiler::{Arch, signatures};
/// let socket = signatures::arguments(Arch::X86_64, "socket");
/// assert_eq!(socket[0].name, "family");
/// // On s390x the first two arguments of clone are swapped.
/// assert_eq!(signatures::arguments(Arch::S390x, "clone")[1].name, "flags");
/// ```
#[must_use]
pub fn arguments(arch: Arch, call: &str) -> Vec<Argument> {
    let mut arguments = SIGNATURES.get(call).cloned().unwrap_or_default();
    if call == "clone" && matches!(arch, Arch::S390 | Arch::S390x) {
        // CONFIG_CLONE_BACKWARDS2, kernel/fork.c.
        arguments.swap(0, 1);
    }
    // x32 and n32 have 64-bit registers, of which a filter sees all.
    let splits = !arch.has_64bit_arguments()
        && !matches!(arch, Arch::X32 | Arch::Mips64N32 | Arch::Mipsel64N32);
    if splits {
        let whole = arguments
            .iter()
            .position(|argument| argument.width == Width::Wide);
        arguments.truncate(whole.unwrap_or(arguments.len()));
    }
    arguments
}

/// One argument of a call on an ABI, from 0, if it is known.
#[must_use]
pub fn argument(arch: Arch, call: &str, index: u8) -> Option<Argument> {
    arguments(arch, call).get(usize::from(index)).copied()
}

/// By name of the call.
static SIGNATURES: LazyLock<HashMap<&'static str, Vec<Argument>>> = LazyLock::new(|| {
    let lines = include_str!("prototypes.txt").lines();
    let signatures = lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split(' ');
            let call = words.next()?;
            let arguments = words.filter_map(|word| word.split_once(':'));
            let arguments = arguments.map(|(name, width)| Argument {
                name,
                width: match width {
                    "h" => Width::Half,
                    "i" => Width::Int,
                    "w" => Width::Wide,
                    _ => Width::Register,
                },
                set: set(call, name),
            });
            Some((call, arguments.collect()))
        });
    signatures.collect()
});

/// Which constants an argument takes: by its call and name, or for many calls by its name alone.
fn set(call: &str, argument: &str) -> Option<Set> {
    Some(match (call, argument) {
        ("clone", "flags") => Set::CloneFlags,
        ("unshare", "unshare_flags") | ("setns", "nstype" | "flags") => Set::Namespaces,
        ("socket" | "socketpair", "family") => Set::AddressFamily,
        ("socket" | "socketpair", "type") | ("accept4", "flags") => Set::SocketType,
        ("setsockopt" | "getsockopt", "level") => Set::SocketLevel,
        ("socketcall", "call") => Set::Socketcall,
        ("mmap" | "mmap2" | "mprotect" | "pkey_mprotect", "prot") => Set::Protection,
        ("mmap" | "mmap2", "flags") => Set::Map,
        (
            "open" | "openat" | "pipe2" | "dup3" | "open_by_handle_at" | "mq_open",
            "flags" | "oflag",
        ) => Set::Open,
        ("prctl", "option") => Set::Prctl,
        ("futex" | "futex_time64", "op") => Set::Futex,
        ("ioctl", "cmd") => Set::Ioctl,
        ("fcntl" | "fcntl64", "cmd") => Set::Fcntl,
        ("madvise" | "process_madvise", "behavior") => Set::Madvise,
        ("ptrace", "request") => Set::Ptrace,
        ("seccomp", "op") => Set::Seccomp,
        ("personality", "personality") => Set::Personality,
        ("keyctl", "cmd" | "option") => Set::Keyctl,
        ("mount", "flags") => Set::Mount,
        ("umount2", "flags") => Set::Umount,
        ("memfd_create", "flags") => Set::Memfd,
        ("getrandom", "flags") => Set::Getrandom,
        ("renameat2", "flags") => Set::Rename,
        ("waitid", "which") => Set::WaitFor,
        ("epoll_ctl", "op") => Set::EpollCtl,
        ("sched_setscheduler", "policy") => Set::Policy,
        ("kill" | "tkill" | "tgkill", "sig") => Set::Signal,
        ("prlimit64" | "getrlimit" | "setrlimit" | "ugetrlimit", "resource") => Set::Resource,
        (_, "which_clock" | "clockid" | "clock") => Set::Clock,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls;

    #[test]
    fn prototypes_are_of_calls_that_there_are() {
        assert!(SIGNATURES.len() > 430);
        for (call, arguments) in SIGNATURES.iter() {
            assert!(syscalls::numbers(call).is_some(), "{call}");
            assert!(arguments.len() <= 6, "{call}");
        }
        let text = include_str!("prototypes.txt")
            .lines()
            .filter(|line| !line.starts_with('#'));
        let lines: Vec<&str> = text.collect();
        assert!(lines.is_sorted() && lines.len() == SIGNATURES.len());
        let widths = lines.iter().flat_map(|line| line.split(' ').skip(1));
        for word in widths {
            let (_, width) = word.split_once(':').unwrap();
            assert!(["h", "i", "l", "w"].contains(&width), "{word}");
        }
    }

    #[test]
    fn well_known_arguments() {
        let names = |arch, call| {
            let arguments = arguments(arch, call);
            arguments
                .iter()
                .map(|argument| argument.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(Arch::X86_64, "socket"),
            ["family", "type", "protocol"]
        );
        assert_eq!(
            names(Arch::X86_64, "pread64"),
            ["fd", "buf", "count", "pos"]
        );
        assert_eq!(names(Arch::X32, "pread64"), ["fd", "buf", "count", "pos"]);
        assert_eq!(names(Arch::X86, "pread64"), ["fd", "buf", "count"]);
        assert_eq!(
            argument(Arch::X86_64, "clone", 0).unwrap().set,
            Some(Set::CloneFlags)
        );
        assert_eq!(argument(Arch::S390x, "clone", 0).unwrap().set, None);
        assert_eq!(
            argument(Arch::X86_64, "ioctl", 1).unwrap().width,
            Width::Int
        );
        assert_eq!(
            argument(Arch::X86_64, "chmod", 1).unwrap().width,
            Width::Half
        );
        assert_eq!(argument(Arch::X86_64, "close", 1), None);
    }

    #[test]
    fn every_set_belongs_to_an_argument() {
        let mut used: Vec<Set> = Vec::new();
        for arguments in SIGNATURES.values() {
            used.extend(arguments.iter().filter_map(|argument| argument.set));
        }
        for set in Set::ALL {
            assert!(set == Set::At || used.contains(&set), "{set:?}");
        }
    }
}
