//! Constants of arguments: values by name, and names by value.

use super::generated;
use crate::arch::Arch;
use crate::similar::most_similar;
use crate::syscalls::column;

/// A name and what it stands for.
#[derive(Debug)]
pub(super) struct Constant {
    pub(super) name: &'static str,
    pub(super) value: u64,
    /// The columns of ABIs that have it so, as bits.
    pub(super) columns: u32,
    /// Other columns with their values.
    pub(super) others: &'static [(u32, u64)],
}

impl Constant {
    fn on(&self, arch: Arch) -> Option<u64> {
        let here = |columns: u32| columns >> column(arch) & 1 == 1;
        if here(self.columns) {
            return Some(self.value);
        }
        let other = self.others.iter().find(|(columns, _)| here(*columns));
        other.map(|(_, value)| *value)
    }
}

/// Constants that one argument takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // They are called as the arguments are.
#[non_exhaustive]
pub enum Set {
    AddressFamily,
    SocketType,
    SocketLevel,
    Socketcall,
    CloneFlags,
    Namespaces,
    Signal,
    Protection,
    Map,
    Open,
    Fcntl,
    Futex,
    Madvise,
    Resource,
    Clock,
    Mount,
    Umount,
    At,
    Memfd,
    Getrandom,
    Rename,
    WaitFor,
    Policy,
    EpollCtl,
    Prctl,
    Ptrace,
    Seccomp,
    Ioctl,
    Personality,
    Keyctl,
}

/// How the values of a set are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One constant.
    One,
    /// Any of them, in the lowest bits one of their own: the mask of those bits.
    Flags(u64),
}

impl Set {
    /// All of them.
    pub const ALL: [Set; 30] = {
        use Set::*;
        [
            AddressFamily,
            SocketType,
            SocketLevel,
            Socketcall,
            CloneFlags,
            Namespaces,
            Signal,
            Protection,
            Map,
            Open,
            Fcntl,
            Futex,
            Madvise,
            Resource,
            Clock,
            Mount,
            Umount,
            At,
            Memfd,
            Getrandom,
            Rename,
            WaitFor,
            Policy,
            EpollCtl,
            Prctl,
            Ptrace,
            Seccomp,
            Ioctl,
            Personality,
            Keyctl,
        ]
    };

    fn constants(self) -> &'static [Constant] {
        match self {
            Set::AddressFamily => &generated::ADDRESS_FAMILY,
            Set::SocketType => &generated::SOCKET_TYPE,
            Set::SocketLevel => &generated::SOCKET_LEVEL,
            Set::Socketcall => &generated::SOCKETCALL,
            Set::CloneFlags | Set::Namespaces => &generated::CLONE,
            Set::Signal => &generated::SIGNAL,
            Set::Protection => &generated::PROTECTION,
            Set::Map => &generated::MAP,
            Set::Open => &generated::OPEN,
            Set::Fcntl => &generated::FCNTL,
            Set::Futex => &generated::FUTEX,
            Set::Madvise => &generated::MADVISE,
            Set::Resource => &generated::RESOURCE,
            Set::Clock => &generated::CLOCK,
            Set::Mount => &generated::MOUNT,
            Set::Umount => &generated::UMOUNT,
            Set::At => &generated::AT,
            Set::Memfd => &generated::MEMFD,
            Set::Getrandom => &generated::GETRANDOM,
            Set::Rename => &generated::RENAME,
            Set::WaitFor => &generated::WAIT_FOR,
            Set::Policy => &generated::POLICY,
            Set::EpollCtl => &generated::EPOLL_CTL,
            Set::Prctl => &generated::PRCTL,
            Set::Ptrace => &generated::PTRACE,
            Set::Seccomp => &generated::SECCOMP,
            Set::Ioctl => &generated::IOCTL,
            Set::Personality => &generated::PERSONALITY,
            Set::Keyctl => &generated::KEYCTL,
        }
    }

    fn shape(self) -> Shape {
        match self {
            Set::SocketType => Shape::Flags(0xf),
            // The signal on exit, CSIGNAL.
            Set::CloneFlags => Shape::Flags(0xff),
            Set::Map => Shape::Flags(0xf),
            Set::Open => Shape::Flags(0x3),
            Set::Futex => Shape::Flags(0x7f),
            Set::Personality => Shape::Flags(0xff),
            Set::Namespaces | Set::Protection | Set::Mount | Set::Umount | Set::At => {
                Shape::Flags(0)
            }
            Set::Memfd | Set::Getrandom | Set::Rename => Shape::Flags(0),
            _ => Shape::One,
        }
    }

    /// A value as the constants of the set, as far as they make it up; the rest, and what has no name, as a number. What
    /// comes out is read back by [`value`], part by part.
    ///
    /// ```
    /// use callgate_compiler::Arch;
    /// use callgate_compiler::signatures::Set;
    /// assert_eq!(Set::AddressFamily.display(Arch::X86_64, 40), "AF_VSOCK");
    /// assert_eq!(Set::Open.display(Arch::X86_64, 0x80241), "O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC");
    /// assert_eq!(Set::AddressFamily.display(Arch::X86_64, 99), "99");
    /// ```
    #[must_use]
    pub fn display(self, arch: Arch, value: u64) -> String {
        let whole = |value: u64| {
            let named = self
                .constants()
                .iter()
                .find(|constant| constant.on(arch) == Some(value));
            named.map(|constant| constant.name)
        };
        match self.shape() {
            Shape::One => {
                // A family with other high bits is still that family to the kernel.
                let low = value & u64::from(u32::MAX);
                match (whole(value), whole(low)) {
                    (Some(name), _) => name.to_owned(),
                    (None, Some(name)) if low != 0 => format!("{name}|{:#x}", value - low),
                    _ => number(value),
                }
            }
            // Some other number: its bits would mean nothing.
            Shape::Flags(base) if self.base_name(arch, value & base).is_none() => number(value),
            Shape::Flags(base) => {
                let mut parts = Vec::new();
                if base != 0 && (value & base != 0 || self != Set::CloneFlags) {
                    parts.extend(self.base_name(arch, value & base));
                }
                parts.extend(self.flags(arch, value & !base));
                // Of most arguments the lowest bits say something even if none is set; a personality is then the usual one.
                let usual = self == Set::Personality && value & base == 0;
                let nothing = parts.len() > 1 && (parts[0] == "0" || usual);
                parts.drain(..usize::from(nothing));
                if parts.is_empty() {
                    parts.push(whole(0).unwrap_or("0").to_owned());
                }
                parts.join("|")
            }
        }
    }

    /// A mask of bits of such values: as its flags alone, so that no bit seems to be a value of its own.
    ///
    /// ```
    /// use callgate_compiler::Arch;
    /// use callgate_compiler::signatures::Set;
    /// assert_eq!(Set::CloneFlags.display_mask(Arch::X86_64, 0x1002_0000), "CLONE_NEWNS|CLONE_NEWUSER");
    /// ```
    #[must_use]
    pub fn display_mask(self, arch: Arch, mask: u64) -> String {
        match self.shape() {
            Shape::One => format!("{mask:#x}"),
            Shape::Flags(base) => {
                let mut parts = self.flags(arch, mask & !base);
                if mask & base != 0 {
                    parts.push(format!("{:#x}", mask & base));
                }
                if parts.is_empty() {
                    "0".to_owned()
                } else {
                    parts.join("|")
                }
            }
        }
    }

    /// The name of the value in the lowest bits, which for `clone` is a signal; "0" has none.
    fn base_name(self, arch: Arch, value: u64) -> Option<String> {
        let set = if self == Set::CloneFlags {
            Set::Signal
        } else {
            self
        };
        let constants = set.constants().iter();
        let mut named = constants.filter(|constant| constant.on(arch) == Some(value));
        let name = named.next().map(|constant| constant.name.to_owned());
        name.or_else(|| (value == 0).then(|| "0".to_owned()))
    }

    /// The flags that make up some bits, of several ways that with the fewest, and what is left as a number.
    fn flags(self, arch: Arch, bits: u64) -> Vec<String> {
        let base = match self.shape() {
            Shape::Flags(base) => base,
            Shape::One => 0,
        };
        let with_values = self.constants().iter().enumerate();
        let mut flags: Vec<(usize, u64, &str)> = with_values
            .filter_map(|(place, constant)| Some((place, constant.on(arch)?, constant.name)))
            .filter(|(_, value, _)| *value != 0 && value & base == 0)
            .collect();
        flags.sort_by_key(|(place, value, _)| (64 - value.count_ones(), *place));
        let mut rest = bits;
        let mut found = Vec::new();
        for (_, value, name) in flags {
            if rest & value == value {
                rest &= !value;
                found.push((value, name.to_owned()));
            }
        }
        found.sort_by_key(|(value, _)| *value);
        let mut parts: Vec<String> = found.into_iter().map(|(_, name)| name).collect();
        if rest != 0 {
            parts.push(format!("{rest:#x}"));
        }
        parts
    }
}

/// The value of a constant on an ABI, as an argument has it; `None` if it has none there, or isn't known.
///
/// ```
/// use callgate_compiler::Arch;
/// use callgate_compiler::signatures::constants::value;
/// assert_eq!(value(Arch::X86_64, "SOCK_STREAM"), Some(1));
/// assert_eq!(value(Arch::Mips, "SOCK_STREAM"), Some(2));
/// ```
#[must_use]
pub fn value(arch: Arch, name: &str) -> Option<u64> {
    all().find(|constant| constant.name == name)?.on(arch)
}

/// The known constant that looks most like a misspelt one.
#[must_use]
pub fn similar(name: &str) -> Option<&'static str> {
    most_similar(name, all().map(|constant| constant.name))
}

fn all() -> impl Iterator<Item = &'static Constant> {
    Set::ALL.into_iter().flat_map(|set| set.constants().iter())
}

/// Small ones decimal, others hexadecimal, negative ones with their sign.
fn number(value: u64) -> String {
    if value < 1024 {
        value.to_string()
    } else if value > u64::MAX - 1024 {
        format!("-{}", value.wrapping_neg())
    } else {
        format!("{value:#x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`Set::display`] wrote, as a number.
    fn read(arch: Arch, text: &str) -> u64 {
        let part = |part: &str| {
            let hex = part
                .strip_prefix("0x")
                .map(|hex| u64::from_str_radix(hex, 16).unwrap());
            let negative = || {
                part.strip_prefix('-')
                    .map(|n| n.parse::<u64>().unwrap().wrapping_neg())
            };
            hex.or_else(negative)
                .or_else(|| part.parse().ok())
                .or_else(|| value(arch, part))
                .unwrap_or_else(|| panic!("{part}"))
        };
        text.split('|').map(part).fold(0, |all, part| all | part)
    }

    #[test]
    fn what_is_written_is_read_back() {
        for arch in Arch::ALL {
            for set in Set::ALL {
                let own = set
                    .constants()
                    .iter()
                    .filter_map(|constant| constant.on(arch));
                let pairs = own.clone().zip(own.clone().skip(1)).map(|(a, b)| a | b);
                let odd = [
                    0,
                    1,
                    3,
                    7,
                    40,
                    0x7e02_0000,
                    0xffff_ffff,
                    1 << 40 | 2,
                    u64::MAX,
                ];
                for value in own.clone().chain(pairs).chain(odd) {
                    assert_eq!(
                        read(arch, &set.display(arch, value)),
                        value,
                        "{arch} {set:?}"
                    );
                    assert_eq!(
                        read(arch, &set.display_mask(arch, value)),
                        value,
                        "{arch} {set:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_name_has_one_value_on_an_abi() {
        let mut seen = std::collections::BTreeMap::new();
        for constant in all() {
            let known = seen.entry(constant.name).or_insert(constant.value);
            assert_eq!(*known, constant.value, "{}", constant.name);
        }
    }

    #[test]
    fn values_have_the_names_that_one_expects() {
        let x86_64 = |set: Set, value| set.display(Arch::X86_64, value);
        assert_eq!(
            x86_64(Set::SocketType, 0x80801),
            "SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC"
        );
        assert_eq!(
            Set::SocketType.display(Arch::Mips, 0x80082),
            "SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC"
        );
        assert_eq!(
            x86_64(Set::CloneFlags, 0x1000_0011),
            "SIGCHLD|CLONE_NEWUSER"
        );
        assert_eq!(x86_64(Set::CloneFlags, 0), "0");
        assert_eq!(x86_64(Set::Open, 0), "O_RDONLY");
        assert_eq!(x86_64(Set::Open, 0x10_1001), "O_WRONLY|O_SYNC");
        assert_eq!(x86_64(Set::Protection, 0), "PROT_NONE");
        assert_eq!(x86_64(Set::Protection, 6), "PROT_WRITE|PROT_EXEC");
        assert_eq!(x86_64(Set::Prctl, 22), "PR_SET_SECCOMP");
        assert_eq!(x86_64(Set::Futex, 0x80), "FUTEX_WAIT|FUTEX_PRIVATE_FLAG");
        assert_eq!(x86_64(Set::Ioctl, 0x5412), "TIOCSTI");
        assert_eq!(Set::Ioctl.display(Arch::Mips, 0x5472), "TIOCSTI");
        assert_eq!(x86_64(Set::Personality, 0x2_0008), "PER_LINUX32|UNAME26");
        assert_eq!(x86_64(Set::Personality, 8), "PER_LINUX32");
        assert_eq!(x86_64(Set::Personality, 0), "PER_LINUX");
        assert_eq!(x86_64(Set::Personality, 0x2_0000), "UNAME26");
        assert_eq!(x86_64(Set::Personality, 0xffff_ffff), "0xffffffff");
        assert_eq!(
            x86_64(Set::AddressFamily, 1 << 32 | 40),
            "AF_VSOCK|0x100000000"
        );
        assert_eq!(x86_64(Set::Ptrace, 0), "PTRACE_TRACEME");
        assert_eq!(x86_64(Set::Fcntl, 2), "F_SETFD");
        assert_eq!(similar("AF_VSOK"), Some("AF_VSOCK"));
    }
}
