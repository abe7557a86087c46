//! What the running kernel has: asked for, never guessed from its version.

use std::fs;

use callgate_compiler::profile::Flag;
use callgate_compiler::{Action, Arch, Context, KernelVersion};

use crate::abi::{NEW_LISTENER, NotificationSizes, flag_bit};
use crate::sys;

/// Whether the kernel has an action (`SECCOMP_GET_ACTION_AVAIL`, since 4.14; older kernels say no to all).
#[must_use]
pub fn has_action(action: Action) -> bool {
    sys::knows_action(action.to_ret() & 0xffff_0000).is_ok()
}

/// Whether the kernel has a flag.
#[must_use]
pub fn has_flag(flag: Flag) -> bool {
    // Alone, WAIT_KILLABLE_RECV is refused even where it is known.
    let with = if flag == Flag::WaitKillableRecv {
        NEW_LISTENER
    } else {
        0
    };
    sys::knows_flags(flag_bit(flag) | with)
}

/// Whether the kernel hands out listeners (since 5.0).
#[must_use]
pub fn has_listener() -> bool {
    sys::knows_flags(NEW_LISTENER)
}

/// Whether the kernel lets processes filter their calls at all (`CONFIG_SECCOMP_FILTER`).
#[must_use]
pub fn has_filters() -> bool {
    sys::knows_flags(0)
}

/// Whether the calling thread may load a filter without `no_new_privs`: it holds CAP_SYS_ADMIN (in its user namespace, which
/// is where the kernel looks).
#[must_use]
pub fn may_load_without_no_new_privs() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// How large the kernel's notification structures are, if it has them.
#[must_use]
pub fn notification_sizes() -> Option<NotificationSizes> {
    sys::notification_sizes().ok()
}

/// Whether the kernel compiles filters to machine code, if it says so (`net.core.bpf_jit_enable`; a kernel that can't
/// do otherwise has no such setting).
#[must_use]
pub fn jit() -> Option<bool> {
    let setting = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok()?;
    Some(setting.trim() != "0")
}

/// The architecture of the kernel, by its `uname`, or `None` if the runtime-spec has no name for it. A 64-bit
/// program knows better than a `uname` that a 32-bit personality colours.
#[must_use]
pub fn native_arch() -> Option<Arch> {
    let own = match std::env::consts::ARCH {
        "loongarch64" => Some(Arch::Loongarch64),
        "powerpc64" if cfg!(target_endian = "little") => Some(Arch::Ppc64le),
        "powerpc64" => Some(Arch::Ppc64),
        name @ ("x86_64" | "aarch64" | "riscv64" | "s390x") => name.parse().ok(),
        _ => None,
    };
    own.or_else(|| Arch::of_machine(rustix::system::uname().machine().to_str().ok()?))
}

/// The version of the kernel, as far as its `uname` begins with one.
#[must_use]
pub fn kernel_version() -> Option<KernelVersion> {
    let uname = rustix::system::uname();
    let release = uname.release().to_str().ok()?;
    let digits = |part: &str| part.bytes().take_while(u8::is_ascii_digit).count();
    let mut parts = release.splitn(3, '.');
    let (major, minor) = (parts.next()?, parts.next()?);
    format!("{major}.{}", &minor[..digits(minor)]).parse().ok()
}

/// The context of the running kernel, with Docker's default capabilities, or `None` if the kernel isn't one that the
/// runtime-spec has a name for.
#[must_use]
pub fn context() -> Option<Context> {
    Some(Context::new(native_arch()?, kernel_version()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_is_known() {
        let context = context().unwrap();
        assert!(context.kernel.major >= 3);
        assert!(context.arch.is_native());
    }

    #[test]
    fn probing_leaves_no_filter_behind() {
        let filters = || {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            status
                .lines()
                .filter(|line| line.starts_with("Seccomp"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let before = filters();
        let known = Flag::ALL.map(has_flag);
        assert_eq!(filters(), before, "{known:?} {}", has_listener());
    }
}
