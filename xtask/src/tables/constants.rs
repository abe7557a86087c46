//! Constants of arguments by name: `AF_INET`, `CLONE_NEWUSER`, `TIOCSTI`.
//!
//! `linux-raw-sys` has them for most ABIs, from the kernel's headers. A few values differ by ABI, mostly flags of `open` and
//! requests of `ioctl`; where an ABI is not covered, it only has those from headers that all ABIs share.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use super::COLUMNS;
use super::fetch::Sources;

/// Constants that one argument takes.
struct Set {
    /// What the table calls it.
    name: &'static str,
    from: Source,
    /// Whether all ABIs share the header that has them. Of the others nothing is known where an ABI isn't covered.
    shared: bool,
    /// Names by their beginning.
    prefixes: &'static [&'static str],
    /// Names that begin so and don't belong to it.
    except: &'static [&'static str],
}

/// Where the constants of a set are.
enum Source {
    /// A file of `linux-raw-sys`.
    Raw(&'static str),
    /// A header of Debian's packages, the same for all ABIs.
    Header(&'static str),
}

const fn set(
    name: &'static str,
    from: Source,
    prefixes: &'static [&'static str],
    except: &'static [&'static str],
) -> Set {
    Set {
        name,
        from,
        shared: true,
        prefixes,
        except,
    }
}

/// A set of `asm/`, where ABIs may differ.
const fn own(
    name: &'static str,
    file: &'static str,
    prefixes: &'static [&'static str],
    except: &'static [&'static str],
) -> Set {
    Set {
        shared: false,
        ..set(name, Source::Raw(file), prefixes, except)
    }
}

const SETS: &[Set] = &[
    set("ADDRESS_FAMILY", Source::Raw("net"), &["AF_"], &["AF_MAX"]),
    own(
        "SOCKET_TYPE",
        "net",
        &["SOCK_"],
        &["SOCK_SNDBUF", "SOCK_RCVBUF", "SOCK_BUF", "SOCK_TXREHASH"],
    ),
    own("SOCKET_LEVEL", "net", &["SOL_"], &[]),
    set(
        "SOCKETCALL",
        Source::Raw("net"),
        &["SYS_"],
        &["SYS_SECCOMP", "SYS_USER"],
    ),
    set(
        "CLONE",
        Source::Raw("general"),
        &["CLONE_"],
        &["CLONE_ARGS"],
    ),
    own(
        "SIGNAL",
        "general",
        &["SIG"],
        &["SIG_", "SIGEV", "SIGSTKSZ", "SIGRTM"],
    ),
    own("PROTECTION", "general", &["PROT_"], &[]),
    own(
        "MAP",
        "general",
        &["MAP_"],
        &["MAP_TYPE", "MAP_FILE", "MAP_HUGE_"],
    ),
    own("OPEN", "general", &["O_"], &["O_ACCMODE", "O_NDELAY"]),
    own(
        "FCNTL",
        "general",
        &["F_"],
        &[
            "F_OK", "F_OWNER", "F_RDLCK", "F_WRLCK", "F_UNLCK", "F_EXLCK", "F_SHLCK", "F_SEAL",
            "F_LINUX",
        ],
    ),
    set(
        "FUTEX",
        Source::Raw("general"),
        &["FUTEX_"],
        &[
            "FUTEX_WAITERS",
            "FUTEX_OWNER",
            "FUTEX_TID",
            "FUTEX_BITSET",
            "FUTEX_OP_",
            "FUTEX2",
            "FUTEX_WAITV",
            "FUTEX_CMD",
        ],
    ),
    own("MADVISE", "general", &["MADV_"], &[]),
    own("RESOURCE", "general", &["RLIMIT_"], &[]),
    set("CLOCK", Source::Raw("general"), &["CLOCK_"], &["CLOCK_SGI"]),
    set(
        "MOUNT",
        Source::Raw("general"),
        &["MS_"],
        &["MS_ASYNC", "MS_SYNC", "MS_INVALIDATE", "MS_RMT", "MS_MGC"],
    ),
    set(
        "UMOUNT",
        Source::Raw("general"),
        &["MNT_", "UMOUNT_"],
        &["UMOUNT_UNUSED", "MNT_ID"],
    ),
    set(
        "AT",
        Source::Raw("general"),
        &[
            "AT_FDCWD",
            "AT_SYMLINK",
            "AT_EACCESS",
            "AT_REMOVEDIR",
            "AT_NO_",
            "AT_EMPTY",
            "AT_RECURSIVE",
        ],
        &[],
    ),
    set("MEMFD", Source::Raw("general"), &["MFD_"], &["MFD_HUGE_"]),
    set("GETRANDOM", Source::Raw("general"), &["GRND_"], &[]),
    set("RENAME", Source::Raw("general"), &["RENAME_"], &[]),
    set("WAIT_FOR", Source::Raw("general"), &["P_"], &[]),
    set(
        "POLICY",
        Source::Raw("general"),
        &["SCHED_"],
        &["SCHED_FLAG"],
    ),
    set("EPOLL_CTL", Source::Raw("general"), &["EPOLL_CTL_"], &[]),
    set("PRCTL", Source::Raw("prctl"), &["PR_"], &[]),
    own(
        "PTRACE",
        "ptrace",
        &["PTRACE_"],
        &[
            "PTRACE_O_",
            "PTRACE_EVENT",
            "PTRACE_PEEKSIGINFO_",
            "PTRACE_SYSCALL_INFO",
        ],
    ),
    set(
        "SECCOMP",
        Source::Raw("ptrace"),
        &["SECCOMP_SET", "SECCOMP_GET"],
        &[],
    ),
    own(
        "IOCTL",
        "ioctl",
        &[
            "TIOC",
            "TC",
            "FIO",
            "SIOC",
            "FS_IOC_",
            "BLK",
            "TUN",
            "LOOP_",
            "RND",
            "NS_GET",
            "SECCOMP_IOCTL",
            "UFFDIO_",
        ],
        &[],
    ),
    set(
        "PERSONALITY",
        Source::Header("personality.h"),
        &[
            "PER_",
            "ADDR_",
            "UNAME26",
            "FDPIC",
            "MMAP_PAGE",
            "READ_IMPLIES",
            "SHORT_INODE",
            "WHOLE_SECONDS",
            "STICKY",
        ],
        &["PER_MASK"],
    ),
    set(
        "KEYCTL",
        Source::Header("keyctl.h"),
        &["KEYCTL_"],
        &["KEYCTL_CAPS", "KEYCTL_SUPPORTS", "KEYCTL_MOVE_EXCL"],
    ),
];

impl Set {
    fn has(&self, name: &str) -> bool {
        let begins = |with: &&str| name.starts_with(*with);
        self.prefixes.iter().any(begins) && !self.except.iter().any(begins)
    }
}

/// A constant's value in each column that has it.
type Values = BTreeMap<usize, u64>;

/// The constants as Rust source.
pub(super) fn generate(sources: &Sources, head: &str) -> Result<String> {
    let mut text = head.to_owned();
    text.push_str(
        "//!
//! A constant has its value, the columns that have it so, and the other values with theirs. Columns are bits, in the order of the
//! tables of system calls.

use super::constants::Constant;

#[rustfmt::skip]
const fn c(name: &'static str, value: u64, columns: u32, others: &'static [(u32, u64)]) -> Constant {
    Constant { name, value, columns, others }
}

/// All columns.
const A: u32 = u32::MAX;
",
    );
    for set in SETS {
        let constants = constants(sources, set).with_context(|| format!("the set {}", set.name))?;
        ensure!(!constants.is_empty(), "the set {} is empty", set.name);
        let _ = write!(
            text,
            "\n#[rustfmt::skip]\npub(super) static {}: [Constant; {}] = [\n",
            set.name,
            constants.len()
        );
        for (name, values) in &constants {
            let _ = writeln!(text, "    {},", rendered(name, values, set.shared));
        }
        text.push_str("];\n");
    }
    Ok(text)
}

/// The constants of a set in the order of the source, with their values.
fn constants(sources: &Sources, set: &Set) -> Result<Vec<(String, Values)>> {
    let mut by_column = Vec::new();
    for (index, column) in COLUMNS.iter().enumerate() {
        let all = match set.from {
            Source::Header(header) => sources.debian_enumeration(header)?,
            Source::Raw(file) => match raw_folder(column.name).or(column.raw) {
                Some(folder) => raw(sources, folder, file, set)?,
                None => continue,
            },
        };
        by_column.push((index, all));
    }
    let common = by_column
        .iter()
        .find(|(index, _)| COLUMNS[*index].name == "x86_64");
    let (_, common) = common.context("no x86_64")?;
    let names = common
        .iter()
        .map(|(name, _)| name)
        .filter(|name| set.has(name));
    let with_values = names.map(|name| {
        let values = by_column.iter().filter_map(|(index, all)| {
            let value = all.iter().find(|(known, _)| known == name)?.1;
            Some((*index, value))
        });
        (name.clone(), values.collect())
    });
    let mut constants: Vec<(String, Values)> = with_values.collect();
    let mut seen = std::collections::BTreeSet::new();
    constants.retain(|(name, _)| seen.insert(name.clone()));
    Ok(constants)
}

/// Where an ABI's constants are that has none of its own: it shares the headers of another.
fn raw_folder(column: &str) -> Option<&'static str> {
    match column {
        "mips64n32" => Some("mips64"),
        "s390" => Some("s390x"),
        _ => None,
    }
}

/// The constants of a file, and those that the kernel defines by others.
fn raw(sources: &Sources, folder: &str, file: &str, set: &Set) -> Result<Vec<(String, u64)>> {
    let mut constants = sources.raw_constants(folder, file)?;
    if set.name == "SOCKET_TYPE" {
        // include/linux/net.h: flags of a socket's type are those of its descriptor.
        let general = sources.raw_constants(folder, "general")?;
        for (name, of) in [
            ("SOCK_CLOEXEC", "O_CLOEXEC"),
            ("SOCK_NONBLOCK", "O_NONBLOCK"),
        ] {
            let value = general.iter().find(|(known, _)| known == of);
            let value = value.with_context(|| format!("no {of} in {folder}"))?.1;
            constants.push((name.to_owned(), value));
        }
    }
    Ok(constants)
}

/// `c("O_DIRECTORY", 0x10000, 0x3ff, &[(0xc00, 0x4000)])`
fn rendered(name: &str, values: &Values, shared: bool) -> String {
    let mut by_value: BTreeMap<u64, u32> = BTreeMap::new();
    for (column, value) in values {
        *by_value.entry(*value).or_default() |= 1 << column;
    }
    let covered = COLUMNS
        .iter()
        .filter(|column| column.raw.is_some() || raw_folder(column.name).is_some())
        .count();
    if shared && by_value.len() == 1 && values.len() >= covered {
        let value = values.values().next().copied().unwrap_or_default();
        return format!("c(\"{name}\", {value:#x}, A, &[])");
    }
    let x86_64 = COLUMNS.iter().position(|column| column.name == "x86_64");
    let value = x86_64
        .and_then(|column| values.get(&column))
        .copied()
        .unwrap_or_default();
    let columns = by_value.remove(&value).unwrap_or_default();
    let others: Vec<String> = by_value
        .iter()
        .map(|(value, columns)| format!("({columns:#x}, {value:#x})"))
        .collect();
    format!(
        "c(\"{name}\", {value:#x}, {columns:#x}, &[{}])",
        others.join(", ")
    )
}
