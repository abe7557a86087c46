//! Errno names and numbers, which differ on mips, on parisc and, for one name, on powerpc.

mod generated;

use crate::arch::Arch;
use generated::ROWS;

/// Second names, and the ones that are printed instead.
const ALIASES: [(&str, &str); 3] = [
    ("EWOULDBLOCK", "EAGAIN"),
    ("EDEADLOCK", "EDEADLK"),
    ("ENOTSUP", "EOPNOTSUPP"),
];

/// The number of an errno name, as `EPERM`, on an architecture.
///
/// ```
/// use callgate_compiler::{Arch, errno};
/// assert_eq!(errno::number(Arch::X86_64, "ENOSYS"), Some(38));
/// assert_eq!(errno::number(Arch::Mips, "ENOSYS"), Some(89));
/// assert_eq!(errno::number(Arch::X86_64, "ENOTSUP"), Some(95));
/// ```
#[must_use]
pub fn number(arch: Arch, name: &str) -> Option<u16> {
    let find = |name: &str| {
        let row = ROWS.binary_search_by_key(&name, |(name, _)| name).ok()?;
        Some(ROWS[row].1[column(arch)]).filter(|number| *number != 0)
    };
    let alias = || ALIASES.into_iter().find(|(alias, _)| *alias == name);
    find(name).or_else(|| find(alias()?.1))
}

/// The name of an errno number on an architecture. Where there are two, the one that the kernel's own code uses.
#[must_use]
pub fn name(arch: Arch, number: u16) -> Option<&'static str> {
    let is_alias = |name: &str| ALIASES.iter().any(|(alias, _)| *alias == name);
    let has_number =
        |(_, numbers): &&(&str, [u16; 4])| number != 0 && numbers[column(arch)] == number;
    let mut names = ROWS.iter().filter(has_number).map(|(name, _)| *name);
    let first = names.next()?;
    if is_alias(first) {
        names.next().or(Some(first))
    } else {
        Some(first)
    }
}

/// ENOSYS on an architecture: what a kernel answers to a call that it doesn't have.
#[must_use]
pub fn enosys(arch: Arch) -> u16 {
    number(arch, "ENOSYS").unwrap_or(38)
}

/// All names, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|(name, _)| *name)
}

fn column(arch: Arch) -> usize {
    use Arch::*;
    match arch {
        Mips | Mips64 | Mips64N32 | Mipsel | Mipsel64 | Mipsel64N32 => 1,
        Parisc | Parisc64 => 2,
        Ppc | Ppc64 | Ppc64le => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_read_back() {
        assert!(names().collect::<Vec<_>>().is_sorted());
        for arch in Arch::ALL {
            for printed in (1..=4095).filter_map(|n| Some((n, name(arch, n)?))) {
                assert_eq!(number(arch, printed.1), Some(printed.0), "{arch}");
            }
        }
    }

    #[test]
    fn the_kernels_own_names_are_printed() {
        assert_eq!(name(Arch::X86_64, 11), Some("EAGAIN"));
        assert_eq!(name(Arch::X86_64, 35), Some("EDEADLK"));
        assert_eq!(name(Arch::Mips, 56), Some("EDEADLOCK"));
        assert_eq!(enosys(Arch::Parisc), 251);
        assert_eq!(name(Arch::X86_64, 0), None);
    }
}
