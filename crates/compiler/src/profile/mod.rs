//! A profile as it stands in its document: names and symbols, no numbers of system calls.
//!
//! [`Profile::parse`] reads any of the three forms. A Docker profile still has its conditions on architecture,
//! capabilities and kernel; [`docker`] says what it comes to in a [`Context`](crate::Context), and
//! [`Profile::to_oci_json`] writes that down.

pub mod docker;
mod json;
mod parse;
mod read;
mod write;

use crate::action::Action;
use crate::arch::Arch;
use crate::context::KernelVersion;
use crate::errno;
use crate::notice::{JsonPath, Notice};

/// The built-in profile: a baseline for containers, in Docker's format.
pub const DEFAULT: &str = include_str!("default.json");

/// A profile of any form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Which form it has.
    pub format: Format,
    /// Where it stands in its document.
    pub path: JsonPath,
    /// What happens where no entry says otherwise.
    pub default_action: ActionSpec,
    /// The architectures beside the native one.
    pub architectures: Vec<ArchSpec>,
    /// Docker's map from native architectures to those beside them.
    pub arch_map: Vec<ArchMapEntry>,
    /// What to load the filter with, as far as it is asked for.
    pub flags: Vec<Flag>,
    /// The socket that the listener goes to.
    pub listener_path: Option<String>,
    /// What goes to the socket with it.
    pub listener_metadata: Option<String>,
    /// The entries, in the order of the document.
    pub entries: Vec<Entry>,
    /// What was odd about the document.
    pub notices: Vec<Notice>,
}

/// The form of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The `linux.seccomp` object of the OCI runtime-spec.
    OciSeccomp,
    /// An OCI `config.json`.
    OciConfig,
    /// Docker's superset, or Podman's.
    Docker,
}

/// An action as a profile writes it: names of errnos have no number yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionSpec {
    /// An action that is settled.
    Plain(Action),
    /// ERRNO or TRACE with the number of an errno name on the target architecture.
    Named {
        /// Whether it is TRACE.
        trace: bool,
        /// A name that [`errno::number`] knows on every architecture.
        errno: String,
    },
}

impl ActionSpec {
    /// The action on an architecture.
    #[must_use]
    pub fn on(&self, arch: Arch) -> Action {
        match self {
            ActionSpec::Plain(action) => *action,
            ActionSpec::Named { trace, errno } => {
                let number = errno::number(arch, errno).unwrap_or(EPERM);
                if *trace {
                    Action::Trace(number)
                } else {
                    Action::Errno(number)
                }
            }
        }
    }
}

/// What ERRNO and TRACE carry where the profile says nothing.
pub(crate) const EPERM: u16 = 1;

/// An architecture as a profile writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchSpec {
    /// `None` stands for the native one.
    pub arch: Option<Arch>,
    /// Where it is written.
    pub path: JsonPath,
}

/// One entry of Docker's `archMap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchMapEntry {
    /// The native architecture that it is for.
    pub architecture: ArchSpec,
    /// Those beside it.
    pub sub_architectures: Vec<ArchSpec>,
}

/// How a filter is loaded (`seccomp(2)`, `SECCOMP_FILTER_FLAG_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// Into all threads of the process.
    Tsync,
    /// Actions other than ALLOW are logged.
    Log,
    /// Without mitigations of speculative store bypass.
    SpecAllow,
    /// A caller that waits for a supervisor can only be killed.
    WaitKillableRecv,
}

impl Flag {
    /// All of them.
    pub const ALL: [Flag; 4] = [
        Flag::Tsync,
        Flag::Log,
        Flag::SpecAllow,
        Flag::WaitKillableRecv,
    ];

    /// The runtime-spec's name.
    #[must_use]
    pub fn oci_name(self) -> &'static str {
        match self {
            Flag::Tsync => "SECCOMP_FILTER_FLAG_TSYNC",
            Flag::Log => "SECCOMP_FILTER_FLAG_LOG",
            Flag::SpecAllow => "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            Flag::WaitKillableRecv => "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        }
    }
}

/// One entry of `syscalls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub path: JsonPath,
    /// The names, in order, none empty.
    pub names: Vec<String>,
    /// Whether they are written as Docker's single `name`.
    pub single_name: bool,
    /// What happens to those calls.
    pub action: ActionSpec,
    /// The conditions, in order.
    pub args: Vec<Arg>,
    /// Where a Docker profile has the entry.
    pub includes: Selector,
    /// Where a Docker profile leaves it out.
    pub excludes: Selector,
}

impl Entry {
    /// Where one of its names stands.
    #[must_use]
    pub fn name_path(&self, index: usize) -> JsonPath {
        if self.single_name {
            self.path.member("name")
        } else {
            self.path.member("names").index(index)
        }
    }

    /// Where one of its conditions stands.
    #[must_use]
    pub fn arg_path(&self, index: usize) -> JsonPath {
        self.path.member("args").index(index)
    }
}

/// One condition of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    /// Which argument, 0 to 5.
    pub index: u8,
    /// What it is compared with; of [`Operator::MaskedEq`] the mask.
    pub value: u64,
    /// What a masked argument must be; else without meaning.
    pub value_two: u64,
    /// How it is compared.
    pub op: Operator,
}

/// A comparison, `SCMP_CMP_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names say it.
pub enum Operator {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    MaskedEq,
}

impl Operator {
    /// All of them.
    pub const ALL: [Operator; 7] = {
        use Operator::*;
        [Ne, Lt, Le, Eq, Ge, Gt, MaskedEq]
    };

    /// The runtime-spec's name.
    #[must_use]
    pub fn oci_name(self) -> &'static str {
        match self {
            Operator::Ne => "SCMP_CMP_NE",
            Operator::Lt => "SCMP_CMP_LT",
            Operator::Le => "SCMP_CMP_LE",
            Operator::Eq => "SCMP_CMP_EQ",
            Operator::Ge => "SCMP_CMP_GE",
            Operator::Gt => "SCMP_CMP_GT",
            Operator::MaskedEq => "SCMP_CMP_MASKED_EQ",
        }
    }
}

/// Docker's `includes` and `excludes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Architectures.
    pub arches: Vec<Arch>,
    /// Names of capabilities.
    pub caps: Vec<&'static str>,
    /// A kernel version from which on it applies.
    pub min_kernel: Option<KernelVersion>,
}
