//! What a filter answers: one of eight actions, two of them with a 16-bit datum.
//!
//! A classic-BPF seccomp filter returns a 32-bit value, the action in its upper half and the datum in its
//! lower (`include/uapi/linux/seccomp.h`, `seccomp(2)`). An [`Action`] is such a value by name.

use std::fmt;

use crate::arch::Arch;
use crate::errno;

/// The largest errno the kernel returns from a filter: bigger ones are cut down to it (`MAX_ERRNO`,
/// `kernel/seccomp.c`).
pub const MAX_ERRNO: u16 = 4095;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The whole process ends with SIGSYS.
    KillProcess,
    /// The calling thread ends with SIGSYS.
    KillThread,
    /// The thread gets a SIGSYS it may catch.
    Trap,
    /// The call is not made and returns this errno, 0 to 4095; 0 means "returns 0".
    Errno(u16),
    /// A supervisor that holds the listener answers.
    Notify,
    /// A tracer decides; it gets this datum. Without a tracer the call returns ENOSYS.
    Trace(u16),
    /// The call is made, and logged.
    Log,
    /// The call is made.
    Allow,
}

impl Action {
    /// The value a filter returns for it: `SECCOMP_RET_*` and the datum.
    ///
    /// ```
    /// use callgate_compiler::Action;
    /// assert_eq!(Action::Allow.to_ret(), 0x7fff_0000);
    /// assert_eq!(Action::Errno(1).to_ret(), 0x0005_0001);
    /// ```
    #[must_use]
    pub fn to_ret(self) -> u32 {
        match self {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Notify => 0x7fc0_0000,
            Action::Trace(datum) => 0x7ff0_0000 | u32::from(datum),
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        }
    }

    /// What the kernel does on this returned value: the datum counts for ERRNO (capped at 4095) and TRACE
    /// alone, and a value of no known action kills the process, as `kernel/seccomp.c` has it.
    ///
    /// TRAP's datum reaches the signal handler in `si_errno`; it doesn't change what happens to the call, and
    /// is dropped here.
    #[must_use]
    pub fn from_ret(ret: u32) -> Action {
        let datum = u16::try_from(ret & 0xffff).unwrap_or(u16::MAX);
        match ret & 0xffff_0000 {
            0 => Action::KillThread,
            0x0003_0000 => Action::Trap,
            0x0005_0000 => Action::Errno(datum.min(MAX_ERRNO)),
            0x7fc0_0000 => Action::Notify,
            0x7ff0_0000 => Action::Trace(datum),
            0x7ffc_0000 => Action::Log,
            0x7fff_0000 => Action::Allow,
            _ => Action::KillProcess,
        }
    }

    /// How severe it is, 0 the most: where several filters run, the lowest wins (`seccomp(2)`).
    #[must_use]
    pub fn severity(self) -> u8 {
        match self {
            Action::KillProcess => 0,
            Action::KillThread => 1,
            Action::Trap => 2,
            Action::Errno(_) => 3,
            Action::Notify => 4,
            Action::Trace(_) => 5,
            Action::Log => 6,
            Action::Allow => 7,
        }
    }

    /// The runtime-spec's name, without the datum: `SCMP_ACT_ERRNO`.
    #[must_use]
    pub fn oci_name(self) -> &'static str {
        match self {
            Action::KillProcess => "SCMP_ACT_KILL_PROCESS",
            Action::KillThread => "SCMP_ACT_KILL_THREAD",
            Action::Trap => "SCMP_ACT_TRAP",
            Action::Errno(_) => "SCMP_ACT_ERRNO",
            Action::Notify => "SCMP_ACT_NOTIFY",
            Action::Trace(_) => "SCMP_ACT_TRACE",
            Action::Log => "SCMP_ACT_LOG",
            Action::Allow => "SCMP_ACT_ALLOW",
        }
    }

    /// Reads the written form, `ALLOW`, `TRACE(7)`, `ERRNO(EPERM)` or `ERRNO(1)`; names of errnos are
    /// those of `arch`. `None` if the text is no action or the datum is out of range.
    ///
    /// ```
    /// use callgate_compiler::{Action, Arch};
    /// assert_eq!(Action::parse("ERRNO(ENOSYS)", Arch::Mips), Some(Action::Errno(89)));
    /// assert_eq!(Action::parse("ERRNO(4096)", Arch::X86_64), None);
    /// ```
    #[must_use]
    pub fn parse(text: &str, arch: Arch) -> Option<Action> {
        let plain = match text {
            "KILL_PROCESS" => Action::KillProcess,
            "KILL_THREAD" | "KILL" => Action::KillThread,
            "TRAP" => Action::Trap,
            "NOTIFY" => Action::Notify,
            "LOG" => Action::Log,
            "ALLOW" => Action::Allow,
            _ => return Action::parse_with_datum(text, arch),
        };
        Some(plain)
    }

    fn parse_with_datum(text: &str, arch: Arch) -> Option<Action> {
        let (name, datum) = text.strip_suffix(')')?.split_once('(')?;
        match name {
            "TRACE" => datum.parse().ok().map(Action::Trace),
            "ERRNO" => {
                let number = errno::number(arch, datum).or_else(|| datum.parse().ok())?;
                (number <= MAX_ERRNO).then_some(Action::Errno(number))
            }
            _ => None,
        }
    }

    /// The written form, errnos by their name on `arch` where they have one.
    #[must_use]
    pub fn display(self, arch: Arch) -> String {
        match self {
            Action::Errno(number) => match errno::name(arch, number) {
                Some(name) => format!("ERRNO({name})"),
                None => format!("ERRNO({number})"),
            },
            Action::Trace(datum) => format!("TRACE({datum})"),
            plain => plain.oci_name().trim_start_matches("SCMP_ACT_").to_owned(),
        }
    }
}

/// As [`Action::display`] for the architectures that share the common errno numbers (all but mips and parisc).
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display(Arch::X86_64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returned_values_are_read_back() {
        let actions = [
            Action::KillProcess,
            Action::KillThread,
            Action::Trap,
            Action::Errno(0),
            Action::Errno(4095),
            Action::Notify,
            Action::Trace(65535),
            Action::Log,
            Action::Allow,
        ];
        for action in actions {
            assert_eq!(Action::from_ret(action.to_ret()), action);
            for arch in Arch::ALL {
                assert_eq!(Action::parse(&action.display(arch), arch), Some(action));
            }
        }
        assert!(actions.is_sorted_by_key(|a| a.severity()));
    }

    #[test]
    fn the_kernel_reads_odd_values_so() {
        assert_eq!(Action::from_ret(0x0005_ffff), Action::Errno(4095));
        assert_eq!(Action::from_ret(0x1234_0000), Action::KillProcess);
        assert_eq!(Action::from_ret(0x8000_0001), Action::KillProcess);
    }
}
