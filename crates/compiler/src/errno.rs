//! Errno names and numbers, which differ on mips and parisc.
//!
//! A stand-in until the generated table arrives.

use crate::arch::Arch;

/// The number of an errno name (`EPERM`) on an architecture.
#[must_use]
pub fn number(arch: Arch, name: &str) -> Option<u16> {
    Some(match name {
        "EPERM" => 1,
        "EACCES" => 13,
        "EINVAL" => 22,
        "ENOSYS" => enosys(arch),
        _ => return None,
    })
}

/// The name of an errno number on an architecture.
#[must_use]
pub fn name(arch: Arch, number: u16) -> Option<&'static str> {
    Some(match number {
        1 => "EPERM",
        13 => "EACCES",
        22 => "EINVAL",
        n if n == enosys(arch) => "ENOSYS",
        _ => return None,
    })
}

/// ENOSYS on an architecture.
#[must_use]
pub fn enosys(arch: Arch) -> u16 {
    use Arch::*;
    match arch {
        Mips | Mips64 | Mips64N32 | Mipsel | Mipsel64 | Mipsel64N32 => 89,
        Parisc | Parisc64 => 251,
        _ => 38,
    }
}
