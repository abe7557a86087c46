//! System calls by name and by number, for every ABI.
//!
//! Numbers are as a filter sees them: those of x32 have bit 30 set, those of mips begin at 4000, 5000 or
//! 6000 by ABI. Names are the kernel's own, calls that no longer do anything included, since profiles have them.

mod generated;

use crate::arch::{Arch, X32_BIT};
use crate::similar::most_similar;
use generated::{BY_NUMBER, ROWS};

/// The kernel through which the tables go, as `MAJOR.MINOR`. What newer calls come to depends on it: it
/// belongs into the key of a cache of filters.
pub const TABLE_VERSION: &str = generated::VERSION;

/// Where arm's private calls begin (`__ARM_NR_BASE`), and what stands for it in the table.
const ARM_PRIVATE: u32 = 0xf_0000;
const ARM_PRIVATE_PACKED: u16 = 0xff00;

/// The number of a call on an ABI, or `None` if there is no call of that name.
///
/// ```
/// use callgate_compiler::{Arch, syscalls};
/// assert_eq!(syscalls::number(Arch::X86_64, "clone3"), Some(435));
/// assert_eq!(syscalls::number(Arch::X32, "clone3"), Some(0x4000_0000 + 435));
/// assert_eq!(syscalls::number(Arch::Aarch64, "open"), None);
/// ```
#[must_use]
pub fn number(arch: Arch, name: &str) -> Option<u32> {
    numbers(name)?.on(arch)
}

/// The numbers of a call on all ABIs, or `None` if no ABI has a call of that name. For who asks for several.
#[must_use]
pub fn numbers(name: &str) -> Option<Numbers> {
    let mut slot = first_slot(name);
    loop {
        let row = usize::from(SLOTS[slot]);
        if ROWS.get(row)?.0 == name {
            return Some(Numbers { row });
        }
        slot = (slot + 1) % SLOTS.len();
    }
}

/// One call, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Numbers {
    row: usize,
}

impl Numbers {
    /// The number on an ABI.
    #[must_use]
    pub fn on(self, arch: Arch) -> Option<u32> {
        match ROWS[self.row].1[column(arch)] {
            u16::MAX => None,
            packed if packed >= ARM_PRIVATE_PACKED => {
                Some(ARM_PRIVATE + u32::from(packed - ARM_PRIVATE_PACKED))
            }
            number if arch == Arch::X32 => Some(X32_BIT | u32::from(number)),
            number => Some(number.into()),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        ROWS[self.row].0
    }
}

/// The name of a number on an ABI.
///
/// ```
/// use callgate_compiler::{Arch, syscalls};
/// assert_eq!(syscalls::name(Arch::S390x, 4), Some("write"));
/// assert_eq!(syscalls::name(Arch::X86_64, 0x4000_0001), None);
/// ```
#[must_use]
pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
    let rows = BY_NUMBER[column(arch)];
    let at = |row: &u16| {
        Numbers {
            row: usize::from(*row),
        }
        .on(arch)
    };
    let found = rows.binary_search_by_key(&Some(number), at).ok()?;
    Some(ROWS[usize::from(rows[found])].0)
}

/// The kernel that first had a call on some ABI, as major and minor; `None` if that isn't known.
///
/// ```
/// use callgate_compiler::syscalls;
/// assert_eq!(syscalls::since("clone3"), Some((5, 3)));
/// assert_eq!(syscalls::since("tuxcall"), None);
/// ```
#[must_use]
pub fn since(name: &str) -> Option<(u16, u16)> {
    let lines = include_str!("since.txt").lines();
    let mut found = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let (major, minor) = found.next()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// All calls of an ABI, by number.
pub fn table(arch: Arch) -> impl Iterator<Item = (u32, &'static str)> {
    BY_NUMBER[column(arch)].iter().filter_map(move |row| {
        let call = Numbers {
            row: usize::from(*row),
        };
        Some((call.on(arch)?, call.name()))
    })
}

/// All names, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|(name, _)| *name)
}

/// The known name that looks most like a misspelt one, if one does.
///
/// ```
/// use callgate_compiler::syscalls;
/// assert_eq!(syscalls::similar("epol_wait"), Some("epoll_wait"));
/// assert_eq!(syscalls::similar("frobnicate"), None);
/// ```
#[must_use]
pub fn similar(name: &str) -> Option<&'static str> {
    most_similar(name, names())
}

/// The rows by their names' hashes: a profile looks up hundreds of names, and a search among the sorted ones would
/// take ten times as long. A row is in its name's first slot, or in the next one that is free; most are.
static SLOTS: [u16; 2048] = {
    let mut slots = [FREE; 2048];
    let mut row = 0;
    while (row as usize) < ROWS.len() {
        let mut slot = first_slot(ROWS[row as usize].0);
        while slots[slot] != FREE {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = row;
        row += 1;
    }
    slots
};

/// No row.
const FREE: u16 = u16::MAX;

/// FNV-1a of a name, which is short and known in advance.
const fn first_slot(name: &str) -> usize {
    let name = name.as_bytes();
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 16)) as usize % 2048
}

/// The column of an ABI. Byte order makes no difference to numbers, nor to constants.
pub(crate) fn column(arch: Arch) -> usize {
    match arch {
        Arch::X86 => 0,
        Arch::X86_64 => 1,
        Arch::X32 => 2,
        Arch::Arm => 3,
        Arch::Aarch64 => 4,
        Arch::Mips | Arch::Mipsel => 5,
        Arch::Mips64 | Arch::Mipsel64 => 6,
        Arch::Mips64N32 | Arch::Mipsel64N32 => 7,
        Arch::Ppc => 8,
        Arch::Ppc64 | Arch::Ppc64le => 9,
        Arch::S390 => 10,
        Arch::S390x => 11,
        Arch::Parisc => 12,
        Arch::Parisc64 => 13,
        Arch::Riscv64 => 14,
        Arch::Loongarch64 => 15,
        Arch::M68k => 16,
        Arch::Sh | Arch::Sheb => 17,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found() {
        assert!(names().collect::<Vec<_>>().is_sorted());
        assert!(names().all(|name| numbers(name).is_some_and(|call| call.name() == name)));
        // What is near a name, in letters or in its slot, is none.
        for name in names() {
            let near =
                [&name[1..], &name[..name.len() - 1], &format!("{name}_")].map(str::to_owned);
            let unknown = near.iter().filter(|near| names().all(|name| name != *near));
            assert!(
                unknown.clone().all(|near| numbers(near).is_none()),
                "{name}"
            );
        }
        assert_eq!(numbers(""), None);
    }

    #[test]
    fn every_number_is_read_back() {
        for arch in Arch::ALL {
            let calls: Vec<_> = table(arch).collect();
            assert!(
                calls.len() > 250 && calls.is_sorted_by(|a, b| a.0 < b.0),
                "{arch}"
            );
            for (nr, call) in calls {
                assert_eq!(name(arch, nr), Some(call), "{arch} {nr}");
                assert_eq!(number(arch, call), Some(nr), "{arch} {call}");
            }
            // A second name of a number leads to it as well.
            for (call, nr) in names().filter_map(|call| Some((call, number(arch, call)?))) {
                assert!(name(arch, nr).is_some(), "{arch} {call}");
            }
        }
    }

    #[test]
    fn versions_are_of_calls_and_ascend_with_the_numbers_that_all_share() {
        let lines: Vec<&str> = include_str!("since.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert!(lines.is_sorted() && lines.len() > 450);
        for line in lines {
            let (name, _) = line.split_once(' ').unwrap();
            assert!(numbers(name).is_some() && since(name).is_some(), "{line}");
        }
        // From 424 on a call has the same number on all ABIs, and they are given out as they come.
        let shared = table(Arch::X86_64).filter(|(nr, _)| (424..X32_BIT).contains(nr));
        let versions: Vec<_> = shared
            .filter_map(|(_, name)| Some((since(name)?, name)))
            .collect();
        for pair in versions.windows(2) {
            // close_range, openat2 and memfd_secret waited for their release.
            let waited = ["close_range", "quotactl_fd"].contains(&pair[0].1);
            assert!(waited || pair[0].0 <= pair[1].0, "{pair:?}");
        }
    }

    #[test]
    fn well_known_numbers() {
        let known = [
            (Arch::X86_64, "execve", 59),
            (Arch::X32, "execve", 0x4000_0000 + 520),
            (Arch::X86, "socketcall", 102),
            (Arch::Arm, "set_tls", 0xf_0005),
            (Arch::Mips, "socketcall", 4102),
            (Arch::Mipsel64N32, "read", 6000),
            (Arch::S390, "ipc", 117),
            (Arch::Parisc64, "clone3", 435),
        ];
        for (arch, name, nr) in known {
            assert_eq!(number(arch, name), Some(nr), "{arch} {name}");
        }
    }
}
