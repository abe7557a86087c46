//! Calls that do what a denied one does.
//!
//! Which calls do the same is written down here; that one of them is restricted and another open is asked of the policy. The lists are
//! of calls that reach the same end by themselves: not of everything that could be made of other calls.

use super::{Subject, is_open};
use crate::arch::Arch;
use crate::notice::{Code, Notice};
use crate::policy::{Multiplexed, Rule};
use crate::syscalls;

pub(super) fn findings(subject: &Subject<'_>) -> Vec<Notice> {
    let mut found = Vec::new();
    let names: Vec<&str> = subject
        .entries()
        .flat_map(|entry| &entry.names)
        .map(String::as_str)
        .collect();
    for arch in subject.archs() {
        for name in &names {
            found.extend(multiplexed(subject, arch, name));
            found.extend(twin(subject, arch, name));
        }
        found.extend(rings(subject, arch));
    }
    found.extend(unseen(subject));
    found
}

/// A call under conditions that is open through a multiplexer.
fn multiplexed(subject: &Subject<'_>, arch: Arch, name: &str) -> Option<Notice> {
    let through = Multiplexed::of(syscalls::numbers(name)?)?;
    let multiplexer = through.by.name();
    let mut witness = subject.open(arch, multiplexer)?;
    witness.args[0] = through.selector;
    let path = match syscalls::number(arch, name) {
        Some(_) => subject.restricted(arch, name)?,
        // The ABI has it by the multiplexer alone: what the profile says of others shows what is meant.
        None => subject.restricted(subject.context.arch, name)?,
    };
    let message = format!(
        "on {arch} `{multiplexer}` is open, by which `{name}` can be made with any arguments: they lie in memory, where no filter sees them"
    );
    let notice = Notice::new(Code::OpenMultiplexer, path, message).witness(witness);
    Some(match arch == subject.context.arch {
        true => notice.help(format!(
            "deny `{multiplexer}`: C libraries of today make the calls directly"
        )),
        false => notice.help(format!(
            "leave {} out of the architectures, or deny `{multiplexer}`",
            arch.oci_name()
        )),
    })
}

/// A restricted call whose work another one does that is open.
fn twin(subject: &Subject<'_>, arch: Arch, name: &str) -> Option<Notice> {
    let path = subject.restricted(arch, name)?;
    let variants = [
        format!("{name}32"),
        format!("{name}64"),
        format!("{name}_time64"),
    ];
    let of_this = |(call, _): &&(&str, _)| *call == name;
    let listed = WAYS_AROUND
        .iter()
        .filter(of_this)
        .flat_map(|(_, around)| *around)
        .copied();
    let mut around = listed.chain(variants.iter().map(String::as_str));
    let (around, witness) = around.find_map(|call| Some((call, subject.open(arch, call)?)))?;
    let message =
        format!("on {arch} `{around}` is open, which does what is denied here of `{name}`");
    let notice = Notice::new(Code::WayAround, path, message).witness(witness);
    Some(match (name, around) {
        ("clone", "clone3") => notice.help("deny `clone3` with ENOSYS: its flags lie in memory, and C libraries fall back to `clone`"),
        _ => notice.help(format!("treat `{around}` alike")),
    })
}

/// Calls, and those that reach the same end on their own.
const WAYS_AROUND: &[(&str, &[&str])] = &[
    ("open", &["openat", "openat2"]),
    ("openat", &["open", "openat2"]),
    ("openat2", &["openat", "open"]),
    ("creat", &["openat", "open"]),
    ("clone", &["clone3"]),
    ("unshare", &["clone", "clone3"]),
    ("execve", &["execveat"]),
    ("execveat", &["execve"]),
    ("mount", &["move_mount"]),
    ("umount", &["umount2"]),
    ("umount2", &["umount"]),
    ("unlink", &["unlinkat"]),
    ("unlinkat", &["unlink"]),
    ("rmdir", &["unlinkat"]),
    ("rename", &["renameat", "renameat2"]),
    ("renameat", &["renameat2", "rename"]),
    ("renameat2", &["renameat", "rename"]),
    ("link", &["linkat"]),
    ("linkat", &["link"]),
    ("symlink", &["symlinkat"]),
    ("symlinkat", &["symlink"]),
    ("mkdir", &["mkdirat"]),
    ("mkdirat", &["mkdir"]),
    ("mknod", &["mknodat"]),
    ("mknodat", &["mknod"]),
    ("chmod", &["fchmodat", "fchmodat2"]),
    ("fchmodat", &["fchmodat2", "chmod"]),
    ("fchmodat2", &["fchmodat", "chmod"]),
    ("chown", &["fchownat", "lchown"]),
    ("lchown", &["fchownat", "chown"]),
    ("fchownat", &["chown", "lchown"]),
    ("accept", &["accept4"]),
    ("accept4", &["accept"]),
    ("sendto", &["sendmsg", "sendmmsg", "send"]),
    ("sendmsg", &["sendmmsg", "sendto"]),
    ("sendmmsg", &["sendmsg", "sendto"]),
    (
        "kill",
        &["tgkill", "tkill", "pidfd_send_signal", "rt_sigqueueinfo"],
    ),
    ("tkill", &["tgkill", "kill"]),
    ("tgkill", &["tkill", "kill"]),
    ("ptrace", &["process_vm_writev", "process_vm_readv"]),
    ("process_vm_readv", &["ptrace"]),
    ("process_vm_writev", &["ptrace"]),
    ("init_module", &["finit_module"]),
    ("finit_module", &["init_module"]),
    ("kexec_load", &["kexec_file_load"]),
    ("kexec_file_load", &["kexec_load"]),
    ("clock_settime", &["settimeofday", "stime"]),
    ("settimeofday", &["clock_settime", "stime"]),
    ("stime", &["clock_settime", "settimeofday"]),
    ("mmap", &["mmap2"]),
    ("mmap2", &["mmap"]),
    ("mprotect", &["pkey_mprotect"]),
    ("pkey_mprotect", &["mprotect"]),
    ("read", &["readv", "pread64", "preadv", "preadv2"]),
    ("write", &["writev", "pwrite64", "pwritev", "pwritev2"]),
    ("setrlimit", &["prlimit64"]),
    ("prlimit64", &["setrlimit"]),
];

/// What the kernel does for a ring without asking any filter.
const BY_RING: &[&str] = &[
    "openat",
    "openat2",
    "socket",
    "connect",
    "bind",
    "listen",
    "accept4",
    "sendto",
    "sendmsg",
    "recvmsg",
    "unlinkat",
    "renameat2",
    "mkdirat",
    "symlinkat",
    "linkat",
    "read",
    "write",
    "statx",
    "setxattr",
];

/// `io_uring` beside calls that are denied and can be asked for through it.
fn rings(subject: &Subject<'_>, arch: Arch) -> Option<Notice> {
    let witness = subject.open(arch, "io_uring_setup")?;
    subject.open(arch, "io_uring_enter")?;
    let closed = |call: &&&str| {
        let Some((plain, action)) = subject.plainly(arch, call) else {
            return false;
        };
        let rules = subject.policy().rules(arch, plain.nr);
        !is_open(action) || rules.iter().any(|rule: &Rule| !is_open(rule.action))
    };
    let closed: Vec<&str> = BY_RING.iter().filter(closed).copied().collect();
    if closed.is_empty() {
        return None;
    }
    let named = subject
        .naming("io_uring_setup")
        .map(|(_, path)| path)
        .next();
    let path = named.unwrap_or_else(|| subject.profile.path.member("defaultAction"));
    let message = format!(
        "on {arch} `io_uring` is open: through it the kernel does {} without asking the filter",
        closed
            .iter()
            .take(5)
            .map(|call| format!("`{call}`"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let notice = Notice::new(Code::OpenRing, path, message).witness(witness);
    Some(notice.help("deny `io_uring_setup`, `io_uring_enter` and `io_uring_register`; programs fall back to older calls"))
}

/// Rules on calls that the kernel never shows to a filter.
fn unseen(subject: &Subject<'_>) -> Vec<Notice> {
    let unseen = ["uretprobe", "uprobe"].iter().filter_map(|call| {
        let arch = subject.archs().into_iter().find(|arch| *arch == Arch::X86_64)?;
        let (_, path) = subject.naming(call).find(|(entry, _)| !is_open(entry.action.on(subject.context.arch)))?;
        let message = format!(
            "a kernel that has `{call}` doesn't ask a filter about it on {arch}, so this decides nothing there"
        );
        Some(Notice::new(Code::UnseenCall, path, message))
    });
    unseen.collect()
}
