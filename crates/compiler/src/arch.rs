//! The 23 architectures of the OCI runtime-spec, and what a filter must know of each.
//!
//! A kernel tells a filter the *audit architecture* of a call (`AUDIT_ARCH_*` in
//! `include/uapi/linux/audit.h`), which fixes the byte order, whether arguments are 64 bits wide, and
//! which table the number belongs to. One pair shares its value: x86_64 and x32, told apart by bit 30 of
//! the number. An [`Arch`] is therefore an ABI: a table of numbers and a width.

use std::fmt;
use std::str::FromStr;

/// Bit 30 of a number: set in every x32 call (`__X32_SYSCALL_BIT`, `arch/x86/include/uapi/asm/unistd.h`).
pub const X32_BIT: u32 = 0x4000_0000;

/// `__AUDIT_ARCH_LE`: set in the audit value of each little-endian architecture.
const LITTLE_ENDIAN: u32 = 0x4000_0000;
/// `__AUDIT_ARCH_64BIT`.
const WIDE: u32 = 0x8000_0000;
/// `__AUDIT_ARCH_CONVENTION_MIPS64_N32`.
const N32: u32 = 0x2000_0000;

/// One of the ABIs that the OCI runtime-spec names (`config-linux.md`, "Seccomp", `architectures`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // The names are the field's own.
pub enum Arch {
    X86,
    X86_64,
    X32,
    Arm,
    Aarch64,
    Mips,
    Mips64,
    Mips64N32,
    Mipsel,
    Mipsel64,
    Mipsel64N32,
    Ppc,
    Ppc64,
    Ppc64le,
    S390,
    S390x,
    Parisc,
    Parisc64,
    Riscv64,
    Loongarch64,
    M68k,
    Sh,
    Sheb,
}

/// In which order the bytes of a word, and the halves of an argument, lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant first.
    Little,
    /// Most significant first.
    Big,
}

impl ByteOrder {
    /// That of this machine.
    #[must_use]
    pub const fn native() -> ByteOrder {
        if cfg!(target_endian = "little") {
            ByteOrder::Little
        } else {
            ByteOrder::Big
        }
    }
}

/// What is fixed about one architecture.
struct Facts {
    arch: Arch,
    /// The lower-case name, as in `SCMP_ARCH_` + upper case.
    name: &'static str,
    /// What Docker's profiles call it in `includes.arches` (the names of Go's `GOARCH`).
    docker: &'static str,
    audit: u32,
    /// The architecture whose kernel runs it beside its own, if it is a second ABI there.
    host: Option<Arch>,
}

const fn facts(
    arch: Arch,
    name: &'static str,
    docker: &'static str,
    audit: u32,
    host: Option<Arch>,
) -> Facts {
    Facts {
        arch,
        name,
        docker,
        audit,
        host,
    }
}

/// In the order of the enumeration; the ELF machine numbers are those of `include/uapi/linux/elf-em.h`.
const FACTS: [Facts; 23] = {
    use Arch::*;
    const LE: u32 = LITTLE_ENDIAN;
    [
        facts(X86, "x86", "x86", 3 | LE, Some(X86_64)),
        facts(X86_64, "x86_64", "amd64", 62 | WIDE | LE, None),
        facts(X32, "x32", "x32", 62 | WIDE | LE, Some(X86_64)),
        facts(Arm, "arm", "arm", 40 | LE, Some(Aarch64)),
        facts(Aarch64, "aarch64", "arm64", 183 | WIDE | LE, None),
        facts(Mips, "mips", "mips", 8, Some(Mips64)),
        facts(Mips64, "mips64", "mips64", 8 | WIDE, None),
        facts(
            Mips64N32,
            "mips64n32",
            "mips64n32",
            8 | WIDE | N32,
            Some(Mips64),
        ),
        facts(Mipsel, "mipsel", "mipsel", 8 | LE, Some(Mipsel64)),
        facts(Mipsel64, "mipsel64", "mipsel64", 8 | WIDE | LE, None),
        facts(
            Mipsel64N32,
            "mipsel64n32",
            "mipsel64n32",
            8 | WIDE | LE | N32,
            Some(Mipsel64),
        ),
        facts(Ppc, "ppc", "ppc", 20, Some(Ppc64)),
        facts(Ppc64, "ppc64", "ppc64", 21 | WIDE, None),
        facts(Ppc64le, "ppc64le", "ppc64le", 21 | WIDE | LE, None),
        facts(S390, "s390", "s390", 22, Some(S390x)),
        facts(S390x, "s390x", "s390x", 22 | WIDE, None),
        facts(Parisc, "parisc", "parisc", 15, Some(Parisc64)),
        facts(Parisc64, "parisc64", "parisc64", 15 | WIDE, None),
        facts(Riscv64, "riscv64", "riscv64", 243 | WIDE | LE, None),
        facts(Loongarch64, "loongarch64", "loong64", 258 | WIDE | LE, None),
        facts(M68k, "m68k", "m68k", 4, None),
        facts(Sh, "sh", "sh", 42 | LE, None),
        facts(Sheb, "sheb", "sheb", 42, None),
    ]
};

impl Arch {
    /// All of them, in the order of the enumeration.
    pub const ALL: [Arch; 23] = {
        let mut all = [Arch::X86; 23];
        let mut i = 0;
        while i < all.len() {
            all[i] = FACTS[i].arch;
            i += 1;
        }
        all
    };

    /// The lower-case name: `x86_64`, `mips64n32`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The runtime-spec's name: `SCMP_ARCH_X86_64`.
    #[must_use]
    pub fn oci_name(self) -> String {
        format!("SCMP_ARCH_{}", self.name().to_uppercase())
    }

    /// The name that Docker profiles use in `includes.arches` and `excludes.arches`: `amd64`.
    #[must_use]
    pub fn docker_name(self) -> &'static str {
        self.facts().docker
    }

    /// Its `AUDIT_ARCH_*` value, what `seccomp_data.arch` holds; x86_64 and x32 have the same.
    ///
    /// ```
    /// use callgate_compiler::Arch;
    /// assert_eq!(Arch::X86_64.audit(), 0xc000_003e);
    /// assert_eq!(Arch::X32.audit(), Arch::X86_64.audit());
    /// ```
    #[must_use]
    pub fn audit(self) -> u32 {
        self.facts().audit
    }

    /// Whether all 64 bits of an argument count. x32 and mips n32 say no: their kernels pass 64-bit
    /// registers, of which callers own the low halves.
    #[must_use]
    pub fn has_64bit_arguments(self) -> bool {
        self.audit() & WIDE != 0 && !matches!(self, Arch::X32 | Arch::Mips64N32 | Arch::Mipsel64N32)
    }

    /// The bits of an argument that count: all 64, or the low 32.
    #[must_use]
    pub fn argument_mask(self) -> u64 {
        if self.has_64bit_arguments() {
            u64::MAX
        } else {
            u64::from(u32::MAX)
        }
    }

    /// The byte order of `seccomp_data` on it.
    #[must_use]
    pub fn byte_order(self) -> ByteOrder {
        byte_order_of(self.audit())
    }

    /// Whether a kernel built for `self` can pass calls of `other` to a filter: its own, and those of its
    /// compatibility ABIs. False for kernels that don't exist (`x32`, `mips64n32` as a native one).
    ///
    /// ```
    /// use callgate_compiler::Arch;
    /// assert!(Arch::X86_64.runs(Arch::X32));
    /// assert!(!Arch::X86.runs(Arch::X86_64));
    /// ```
    #[must_use]
    pub fn runs(self, other: Arch) -> bool {
        self.is_native() && (self == other || other.facts().host == Some(self))
    }

    /// Whether a kernel can be built for it; x32 and n32 live only beside a 64-bit one.
    #[must_use]
    pub fn is_native(self) -> bool {
        !matches!(self, Arch::X32 | Arch::Mips64N32 | Arch::Mipsel64N32)
    }

    /// The ABI of a call with this audit architecture and number, or `None` if the runtime-spec has no name for it.
    /// Bit 30 of the number tells x32 from x86_64.
    #[must_use]
    pub fn of_call(audit: u32, nr: u32) -> Option<Arch> {
        let found = Arch::ALL.into_iter().find(|a| a.audit() == audit)?;
        Some(match found {
            Arch::X86_64 if nr & X32_BIT != 0 => Arch::X32,
            other => other,
        })
    }

    /// The architecture of a kernel by what `uname -m` prints (a 32-bit personality prints its own).
    #[must_use]
    pub fn of_machine(machine: &str) -> Option<Arch> {
        let little = ByteOrder::native() == ByteOrder::Little;
        Some(match machine {
            "i386" | "i486" | "i586" | "i686" => Arch::X86,
            "mips" if little => Arch::Mipsel,
            "mips64" if little => Arch::Mipsel64,
            "sh2" | "sh3" | "sh4" | "sh4a" | "sh2a" if little => Arch::Sh,
            "sh2" | "sh3" | "sh4" | "sh4a" | "sh2a" => Arch::Sheb,
            name if name.starts_with("arm") => Arch::Arm,
            name => {
                return Arch::ALL
                    .into_iter()
                    .find(|a| a.is_native() && a.name() == name);
            }
        })
    }

    fn facts(self) -> &'static Facts {
        &FACTS[self as usize]
    }
}

/// The byte order that an `AUDIT_ARCH_*` value stands for.
#[must_use]
pub fn byte_order_of(audit: u32) -> ByteOrder {
    if audit & LITTLE_ENDIAN != 0 {
        ByteOrder::Little
    } else {
        ByteOrder::Big
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is of no architecture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture `{0}`")]
pub struct UnknownArch(pub String);

impl FromStr for Arch {
    type Err = UnknownArch;

    /// Takes `SCMP_ARCH_X86_64`, the bare lower-case `x86_64`, and Docker's `amd64`.
    fn from_str(text: &str) -> Result<Arch, UnknownArch> {
        let named = |a: &Arch| a.name() == text || a.docker_name() == text || a.oci_name() == text;
        Arch::ALL
            .into_iter()
            .find(named)
            .ok_or_else(|| UnknownArch(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_stand_in_the_order_of_the_enumeration() {
        for (i, facts) in FACTS.iter().enumerate() {
            assert_eq!(facts.arch as usize, i);
        }
    }

    #[test]
    fn names_are_read_back() {
        for arch in Arch::ALL {
            assert_eq!(arch.name().parse(), Ok(arch));
            assert_eq!(arch.oci_name().parse(), Ok(arch));
            assert_eq!(arch.docker_name().parse(), Ok(arch));
        }
        assert!("X86_64".parse::<Arch>().is_err());
    }

    #[test]
    fn a_host_shares_the_byte_order_of_its_guests() {
        for host in Arch::ALL {
            for guest in Arch::ALL.into_iter().filter(|g| host.runs(*g)) {
                assert_eq!(host.byte_order(), guest.byte_order(), "{host} {guest}");
            }
        }
    }

    #[test]
    fn audit_values_are_distinct_but_for_x32() {
        for a in Arch::ALL {
            for nr in [0, X32_BIT] {
                let expected = if a.audit() == Arch::X86_64.audit() {
                    if nr == 0 { Arch::X86_64 } else { Arch::X32 }
                } else {
                    a
                };
                assert_eq!(Arch::of_call(a.audit(), nr), Some(expected));
            }
        }
    }
}
