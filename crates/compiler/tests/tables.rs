//! The syscall tables beside a second source: a published list of numbers that was made from the kernel's own
//! tables by another project.
//!
//! The list is data of the workshop and not part of this repository; without it the test says that it skips. Its
//! mips columns leave out the ABI's base, and its x32 column bit 30.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use callgate_compiler::arch::X32_BIT;
use callgate_compiler::{Arch, syscalls};

/// A difference that is right: the ABI, the name, our number, theirs, and why.
type Accepted = (Arch, &'static str, Option<u32>, Option<u32>, &'static str);

const ACCEPTED: [Accepted; 3] = [
    (
        Arch::Arm,
        "sync_file_range2",
        Some(341),
        None,
        "arch/arm/include/uapi/asm/unistd.h makes it a second name of arm_sync_file_range, which both have",
    ),
    (
        Arch::Loongarch64,
        "memfd_secret",
        Some(447),
        None,
        "wired by arch/loongarch/kernel/Makefile.syscalls: absent in 6.19's table, there from 7.0 on",
    ),
    (
        Arch::Parisc64,
        "_llseek",
        Some(140),
        None,
        "for 32-bit callers alone in 7.2's table, for both up to 7.0's: kernels that have it are in use",
    ),
];

/// The columns of the list, what they are here, and what their numbers leave out.
const COLUMNS: [(&str, Arch, u32); 18] = [
    ("x86", Arch::X86, 0),
    ("x86_64", Arch::X86_64, 0),
    ("x32", Arch::X32, X32_BIT),
    ("arm", Arch::Arm, 0),
    ("aarch64", Arch::Aarch64, 0),
    ("loongarch64", Arch::Loongarch64, 0),
    ("m68k", Arch::M68k, 0),
    ("mips", Arch::Mips, 4000),
    ("mips64", Arch::Mips64, 5000),
    ("mips64n32", Arch::Mips64N32, 6000),
    ("parisc", Arch::Parisc, 0),
    ("parisc64", Arch::Parisc64, 0),
    ("ppc", Arch::Ppc, 0),
    ("ppc64", Arch::Ppc64, 0),
    ("riscv64", Arch::Riscv64, 0),
    ("s390", Arch::S390, 0),
    ("s390x", Arch::S390x, 0),
    ("sh", Arch::Sh, 0),
];

#[test]
fn numbers_are_those_of_the_published_list() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/syscalls.csv");
    let Ok(text) = fs::read_to_string(&path) else {
        println!(
            "skipped: numbers_are_those_of_the_published_list: no {}",
            path.display()
        );
        return;
    };
    let list = Numbers::read(&text);
    assert!(list.0.len() > 7000, "only {} numbers", list.0.len());

    let accepted: BTreeSet<Difference> = ACCEPTED
        .into_iter()
        .map(|(arch, name, ours, theirs, _)| (arch, name.to_owned(), ours, theirs))
        .collect();
    let found = list.differences();
    let new: Vec<_> = found.difference(&accepted).collect();
    assert!(new.is_empty(), "not accounted for: {new:#?}");
    let gone: Vec<_> = accepted.difference(&found).collect();
    assert!(gone.is_empty(), "accounted for, and not there: {gone:#?}");
}

#[test]
fn endian_twins_have_the_same_numbers() {
    for (one, other) in [
        (Arch::Mips, Arch::Mipsel),
        (Arch::Mips64, Arch::Mipsel64),
        (Arch::Mips64N32, Arch::Mipsel64N32),
        (Arch::Ppc64, Arch::Ppc64le),
        (Arch::Sh, Arch::Sheb),
    ] {
        assert!(syscalls::table(one).eq(syscalls::table(other)), "{one}");
    }
}

/// From 424 on, a call has one number on every ABI that has it (`scripts/syscall.tbl`), but for the base of mips.
#[test]
fn newer_numbers_are_common_to_all_abis() {
    for (_, arch, base) in COLUMNS {
        for (nr, name) in syscalls::table(arch) {
            let common = nr - base;
            // x32's own calls, for structures that differ, are 512 to 547; arm's private ones lie far above.
            let own = arch == Arch::X32 && (512..548).contains(&common);
            if common < 424 || own || common >= 0xf_0000 {
                continue;
            }
            assert_eq!(
                syscalls::number(Arch::Ppc64, name)
                    .or(syscalls::number(Arch::Ppc, name))
                    .or(syscalls::number(Arch::X86_64, name)),
                Some(common),
                "{arch} {name}"
            );
        }
    }
}

/// Spellings that profiles have, with their numbers in the headers named.
#[test]
fn names_of_profiles_resolve_where_the_kernel_has_them() {
    let known = [
        // umount takes flags only as umount2: arch/*/entry/syscalls/*.tbl.
        (Arch::X86, "umount", Some(22)),
        (Arch::X86, "umount2", Some(52)),
        (Arch::X86_64, "umount", None),
        (Arch::X86_64, "umount2", Some(166)),
        // The order of arguments differs, and so does the name: arch/{arm,powerpc,sh}.
        (Arch::Arm, "sync_file_range", None),
        (Arch::Arm, "arm_sync_file_range", Some(341)),
        (Arch::Ppc64le, "sync_file_range2", Some(308)),
        (Arch::Arm, "arm_fadvise64_64", Some(270)),
        (Arch::Arm, "breakpoint", Some(0xf_0001)),
        (Arch::Arm, "cacheflush", Some(0xf_0002)),
        (Arch::Arm, "usr26", Some(0xf_0003)),
        (Arch::Arm, "usr32", Some(0xf_0004)),
        (Arch::Arm, "set_tls", Some(0xf_0005)),
        (Arch::Arm, "get_tls", Some(0xf_0006)),
        (Arch::Mips, "cacheflush", Some(4147)),
        // 32-bit ids got new names where there had been 16-bit ones.
        (Arch::X86, "chown", Some(182)),
        (Arch::X86, "chown32", Some(212)),
        (Arch::X86_64, "chown32", None),
        (Arch::X86, "fadvise64_64", Some(272)),
        (Arch::S390x, "mmap", Some(90)),
        (Arch::S390, "mmap2", Some(192)),
        (Arch::X86, "fstatat64", Some(300)),
        (Arch::X86_64, "newfstatat", Some(262)),
        (Arch::Riscv64, "riscv_flush_icache", Some(259)),
        (Arch::S390x, "s390_sthyi", Some(380)),
        (Arch::X86, "vm86", Some(166)),
        (Arch::X86_64, "uretprobe", Some(335)),
        (Arch::X86_64, "map_shadow_stack", Some(453)),
        // x32's own.
        (Arch::X32, "ioctl", Some(X32_BIT | 514)),
        (Arch::X32, "pwritev2", Some(X32_BIT | 547)),
        (Arch::X86_64, "_llseek", None),
        (Arch::Mips64N32, "_newselect", Some(6022)),
    ];
    for (arch, name, number) in known {
        assert_eq!(syscalls::number(arch, name), number, "{arch} {name}");
    }
}

type Difference = (Arch, String, Option<u32>, Option<u32>);

/// The list's numbers, as a filter sees them.
struct Numbers(BTreeMap<(Arch, String), u32>);

impl Numbers {
    /// A name a line; for each ABI two columns, the number (`PNR` if it has none) and the kernel that added it.
    fn read(text: &str) -> Numbers {
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let head = lines.next().expect("a first line");
        let place = |column| head.iter().position(|title| *title == column);
        let columns = COLUMNS.map(|(column, arch, left_out)| {
            let place = place(column).expect(column);
            (place, arch, left_out)
        });
        let mut numbers = BTreeMap::new();
        for fields in lines {
            for (place, arch, left_out) in columns {
                match fields[place] {
                    "PNR" => continue,
                    number => {
                        let number: u32 = number.parse().expect("a number");
                        numbers.insert((arch, fields[0].to_owned()), number + left_out);
                    }
                }
            }
        }
        Numbers(numbers)
    }

    /// Every entry that only one of the two has, or that they have otherwise.
    fn differences(&self) -> BTreeSet<Difference> {
        let mut names: BTreeSet<&str> = self.0.keys().map(|(_, name)| name.as_str()).collect();
        for name in syscalls::names() {
            names.insert(name);
        }
        let entry = |arch, name: &str| {
            let theirs = self.0.get(&(arch, name.to_owned())).copied();
            let ours = syscalls::number(arch, name);
            (ours != theirs).then(|| (arch, name.to_owned(), ours, theirs))
        };
        names
            .into_iter()
            .flat_map(|name| {
                COLUMNS
                    .iter()
                    .filter_map(move |(_, arch, _)| entry(*arch, name))
            })
            .collect()
    }
}
