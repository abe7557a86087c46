//! What a profile is read for: a kernel, a container, and how strictly.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::arch::Arch;
use crate::policy::RuleOrder;
use crate::similar::most_similar;

/// All that a filter depends on beside its profile. The tables' version
/// ([`TABLE_VERSION`](crate::syscalls::TABLE_VERSION)) is the rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Context {
    /// The architecture of the kernel.
    pub arch: Arch,
    /// The version of the kernel.
    pub kernel: KernelVersion,
    /// What the container holds.
    pub capabilities: Capabilities,
    /// In which order rules of one call are tried.
    pub rule_order: RuleOrder,
    /// Whether calls newer than the profile return ENOSYS.
    pub newer_calls: bool,
    /// Whether names that no architecture knows are errors.
    pub strict: bool,
}

impl Context {
    /// For a kernel, with Docker's default capabilities, the runtimes' rule order, ENOSYS for newer calls, and
    /// unknown names skipped.
    #[must_use]
    pub fn new(arch: Arch, kernel: KernelVersion) -> Context {
        Context {
            arch,
            kernel,
            capabilities: Capabilities::default(),
            rule_order: RuleOrder::Runtime,
            newer_calls: true,
            strict: false,
        }
    }
}

/// A kernel's version, as far as profiles go into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// The 6 of 6.18.
    pub major: u32,
    /// The 18 of 6.18.
    pub minor: u32,
}

/// The text is not `MAJOR.MINOR`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kernel version: it is written MAJOR.MINOR, as 6.18")]
pub struct NotAVersion(pub String);

impl FromStr for KernelVersion {
    type Err = NotAVersion;

    /// Takes `MAJOR.MINOR`, digits only.
    fn from_str(text: &str) -> Result<KernelVersion, NotAVersion> {
        let digits = |part: &str| {
            let all = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            part.parse().ok().filter(|_| all)
        };
        let parts = text.split_once('.');
        let version = parts.and_then(|(major, minor)| {
            Some(KernelVersion {
                major: digits(major)?,
                minor: digits(minor)?,
            })
        });
        version.ok_or_else(|| NotAVersion(text.to_owned()))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A set of capabilities, by name (`capabilities(7)`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Capabilities(BTreeSet<&'static str>);

/// The name is of no capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability `{name}`")]
pub struct UnknownCapability {
    /// What was given.
    pub name: String,
    /// What may have been meant.
    pub similar: Option<&'static str>,
}

impl Default for Capabilities {
    /// The fourteen that Docker gives a container that asks for nothing.
    fn default() -> Capabilities {
        Capabilities(DOCKER_DEFAULT.into_iter().collect())
    }
}

impl Capabilities {
    /// None at all.
    #[must_use]
    pub fn none() -> Capabilities {
        Capabilities(BTreeSet::new())
    }

    /// Every one there is.
    #[must_use]
    pub fn all() -> Capabilities {
        Capabilities(CAPABILITIES.into_iter().collect())
    }

    /// The named ones.
    ///
    /// # Errors
    /// If there is no capability of a name.
    pub fn named<'a>(
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Capabilities, UnknownCapability> {
        names
            .into_iter()
            .map(find_capability)
            .collect::<Result<_, _>>()
            .map(Capabilities)
    }

    /// Whether the set has it.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The names in the set, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }
}

/// The known capability of that name, `CAP_SYS_ADMIN`.
pub(crate) fn find_capability(name: &str) -> Result<&'static str, UnknownCapability> {
    let named = |name: &str| CAPABILITIES.into_iter().find(|known| *known == name);
    let meant = || named(&format!("CAP_{}", name.to_ascii_uppercase()));
    named(name).ok_or_else(|| UnknownCapability {
        name: name.to_owned(),
        similar: meant().or_else(|| most_similar(name, CAPABILITIES)),
    })
}

const DOCKER_DEFAULT: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// In the order of their numbers (`include/uapi/linux/capability.h`).
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_digits_and_a_dot() {
        assert_eq!(
            "6.18".parse(),
            Ok(KernelVersion {
                major: 6,
                minor: 18
            })
        );
        for bad in [
            "6",
            "6.",
            ".6",
            "6.1.2",
            "v6.1",
            "6.1-rc1",
            "+6.1",
            "",
            "6.99999999999",
        ] {
            assert!(bad.parse::<KernelVersion>().is_err(), "{bad}");
        }
        let (old, new): (KernelVersion, KernelVersion) =
            ("4.8".parse().unwrap(), "4.18".parse().unwrap());
        assert!(old < new);
    }

    #[test]
    fn capabilities_go_by_their_names() {
        assert_eq!(Capabilities::default().iter().count(), 14);
        assert!(Capabilities::all().contains("CAP_BPF"));
        let unknown = Capabilities::named(["CAP_SYS_ADMN"]).unwrap_err();
        assert_eq!(unknown.similar, Some("CAP_SYS_ADMIN"));
    }
}
