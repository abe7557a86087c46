//! The strings that a caller's arguments point to, for the calls that are denied most and say little without them.

use std::fs::File;
use std::os::unix::fs::FileExt;

use callgate::compiler::{signatures, syscalls};
use callgate::{Arch, Call};

use crate::call;

/// Which arguments are strings.
const STRINGS: &[(&str, &[usize])] = &[
    ("chdir", &[0]),
    ("chroot", &[0]),
    ("execve", &[0]),
    ("execveat", &[1]),
    ("fsopen", &[0]),
    ("memfd_create", &[0]),
    ("mkdir", &[0]),
    ("mkdirat", &[1]),
    ("mknod", &[0]),
    ("mknodat", &[1]),
    ("mount", &[0, 1, 2]),
    ("move_mount", &[1, 3]),
    ("open", &[0]),
    ("open_tree", &[1]),
    ("openat", &[1]),
    ("openat2", &[1]),
    ("pivot_root", &[0, 1]),
    ("setdomainname", &[0]),
    ("sethostname", &[0]),
    ("swapoff", &[0]),
    ("swapon", &[0]),
    ("umount", &[0]),
    ("umount2", &[0]),
    ("unlink", &[0]),
    ("unlinkat", &[1]),
];

/// So much of a string is shown.
const LONGEST: usize = 60;

/// A call as it is written, with the strings in place of their addresses where `read` can read them: it gives the bytes up to
/// a zero, or up to some limit.
pub(crate) fn display(
    shown: &Call,
    native: Arch,
    read: impl Fn(u64, usize) -> Option<Vec<u8>>,
) -> String {
    let Some(arch) = Arch::of_call(shown.audit, shown.nr) else {
        return call::display(shown, native);
    };
    let name = syscalls::name(arch, shown.nr).unwrap_or_default();
    let text = call::display(&without_leftovers(shown, arch, name), native);
    let Some((_, positions)) = STRINGS.iter().find(|(known, _)| *known == name) else {
        return text;
    };
    let Some((head, args)) = text.split_once('(') else {
        return text;
    };
    let mut args: Vec<String> = args
        .trim_end_matches(')')
        .split(", ")
        .map(str::to_owned)
        .collect();
    for position in *positions {
        let address = shown.args[*position];
        if let (Some(arg), Some(bytes)) = (args.get_mut(*position), read(address, LONGEST + 1)) {
            *arg = quoted(&bytes);
        }
    }
    format!("{head}({})", args.join(", "))
}

/// Without what is in the registers of arguments that the call doesn't have.
fn without_leftovers(shown: &Call, arch: Arch, name: &str) -> Call {
    let mut call = *shown;
    let count = match signatures::arguments(arch, name).len() {
        // Not known.
        0 => call.args.len(),
        count => count,
    };
    call.args.iter_mut().skip(count).for_each(|arg| *arg = 0);
    call
}

/// The bytes up to a zero at an address in a stopped process.
pub(crate) fn of_stopped(tid: u32) -> impl Fn(u64, usize) -> Option<Vec<u8>> {
    let memory = File::open(format!("/proc/{tid}/mem")).ok();
    move |address, limit| {
        let memory = memory.as_ref()?;
        let mut bytes = vec![0; limit];
        // What is behind the end of a mapping isn't read.
        let count = memory.read_at(&mut bytes, address).ok()?;
        let end = bytes[..count].iter().position(|byte| *byte == 0);
        bytes.truncate(end.unwrap_or(count));
        Some(bytes)
    }
}

fn quoted(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(LONGEST)];
    let more = if bytes.len() > LONGEST { "…" } else { "" };
    format!("\"{}\"{more}", shown.escape_ascii())
}
