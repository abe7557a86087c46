//! Device nodes for who may not make them: each `mknod` of the command is answered by making an empty file in its place.
//!
//! ```sh
//! cargo run -p callgate --example answer_mknod -- mknod /tmp/null c 1 3
//! ```
//!
//! Installers want device nodes that an unprivileged container can't have. The supervisor makes the file itself, where the
//! caller would have: relative to the caller's own working directory and root, which it looks up by the caller's id, and it looks
//! whether the caller still waits *after* it has opened them.

use std::error::Error;
use std::fs::File;
use std::process::{Command, ExitCode};

use callgate::compiler::call::low_half;
use callgate::compiler::filter::compile;
use callgate::compiler::policy::{PolicyBuilder, RuleId};
use callgate::compiler::syscalls;
use callgate::load::Options;
use callgate::notify::{Handler, HandlerError, Listener, Notification, Supervised, spawn};
use callgate::{Action, Prepared, probe};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let mut command = Command::new(words.next().ok_or("usage: answer_mknod COMMAND…")?);
    command.args(words);
    let supervise = |listener: &Listener| {
        while let Ok(Some(notification)) = listener.receive() {
            if let Err(error) = Mknod.handle(notification) {
                eprintln!("answer_mknod: {error}");
            }
        }
    };
    let Supervised { mut child, .. } = spawn(mknod_asks()?, &mut command, supervise)?;
    let status = child
        .wait()?
        .code()
        .and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(status.unwrap_or(1)))
}

struct Mknod;

/// -100, the working directory in place of a descriptor (`openat(2)`).
const AT_FDCWD: u64 = 100_u64.wrapping_neg();

impl Handler for Mknod {
    fn handle(&self, notification: Notification) -> Result<(), HandlerError> {
        let [first, second, third, ..] = notification.call().args;
        let (folder, path, mode) = match notification.name() {
            Some("mknod") => (AT_FDCWD, first, second),
            _ => (first, second, third),
        };
        let path = notification.memory()?.c_string(path, 4096)?;
        let is_here = low_half(folder) == low_half(AT_FDCWD) || path.as_bytes().starts_with(b"/");
        let made = match is_here {
            true => make(&notification, path.as_bytes(), mode),
            // Other directories this sample doesn't know.
            false => Err(rustix::io::Errno::NOSYS),
        };
        let _ = match made {
            Ok(()) => notification.return_value(0)?,
            Err(errno) => notification.fail_with(errno.raw_os_error().try_into()?)?,
        };
        Ok(())
    }
}

fn make(notification: &Notification, path: &[u8], mode: u64) -> Result<(), rustix::io::Errno> {
    let place = match path {
        [b'/', ..] => "root",
        _ => "cwd",
    };
    let place = File::open(format!("/proc/{}/{place}", notification.pid()));
    let place = place.map_err(|_| rustix::io::Errno::NOENT)?;
    if !notification.is_alive() {
        // Whose directory this is isn't known, then.
        return Err(rustix::io::Errno::SRCH);
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let mode = Mode::from_bits_truncate(u32::try_from(mode & 0o777).unwrap_or(0));
    // No link leads out of the caller's root.
    openat2(&place, path, flags, mode, ResolveFlags::IN_ROOT)?;
    Ok(())
}

/// A filter that asks about the calls that make nodes.
fn mknod_asks() -> Result<Prepared, Box<dyn Error>> {
    let arch = probe::native_arch().ok_or("an unknown architecture")?;
    let mut builder = PolicyBuilder::new(arch, Action::Allow);
    for (id, name) in ["mknod", "mknodat"].into_iter().enumerate() {
        // Newer architectures have one of them.
        if let Some(number) = syscalls::number(arch, name) {
            builder.rule(
                arch,
                number,
                RuleId(u32::try_from(id)?),
                Action::Notify,
                &[],
            )?;
        }
    }
    let options = Options {
        listener: true,
        no_new_privs: true,
        ..Options::default()
    };
    Ok(Prepared::program(&compile(&builder.build())?, &options)?)
}
