//! A path that isn't there, served by a supervisor: whoever opens it in the command gets the descriptor of another file.
//!
//! ```sh
//! cargo run -p callgate --example serve_file -- /no/such/file /etc/os-release cat /no/such/file
//! ```
//!
//! The supervisor does the work itself and returns what comes of it, so it doesn't matter that other threads of the caller can
//! change the path meanwhile. What it lets pass it lets pass *unchecked*: this is no way to keep paths from anybody.

use std::error::Error;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use callgate::compiler::filter::compile;
use callgate::compiler::policy::{PolicyBuilder, RuleId};
use callgate::compiler::syscalls;
use callgate::load::Options;
use callgate::notify::{Listener, Notification, Supervised, spawn};
use callgate::{Action, Prepared, probe};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let (Some(path), Some(file), Some(program)) = (words.next(), words.next(), words.next()) else {
        return Err("usage: serve_file PATH FILE COMMAND…".into());
    };
    let served = Served {
        path: CString::new(path.as_bytes())?,
        file: file.into(),
    };
    let mut command = Command::new(program);
    command.args(words);
    let supervise = move |listener: &Listener| {
        // An error ends it, and `spawn` answers what comes then with ENOSYS.
        while let Ok(Some(notification)) = listener.receive() {
            if let Err(error) = served.answer(notification) {
                eprintln!("serve_file: {error}");
            }
        }
    };
    let Supervised { mut child, .. } = spawn(openat_asks()?, &mut command, supervise)?;
    let status = child
        .wait()?
        .code()
        .and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(status.unwrap_or(1)))
}

/// A path, and the file behind it.
struct Served {
    path: CString,
    file: PathBuf,
}

impl Served {
    fn answer(&self, notification: Notification) -> Result<(), Box<dyn Error>> {
        let path = notification.call().args[1];
        let asked = notification.memory()?.c_string(path, 4096);
        if asked.is_ok_and(|asked| asked == self.path) {
            let file = File::open(&self.file)?;
            let _ = notification.return_fd(file.as_fd(), true)?;
        } else {
            let _ = notification.allow_unchecked()?;
        }
        Ok(())
    }
}

/// A filter that asks about `openat` alone.
fn openat_asks() -> Result<Prepared, Box<dyn Error>> {
    let arch = probe::native_arch().ok_or("an unknown architecture")?;
    let openat = syscalls::number(arch, "openat").ok_or("no openat")?;
    let mut builder = PolicyBuilder::new(arch, Action::Allow);
    builder.rule(arch, openat, RuleId(0), Action::Notify, &[])?;
    let options = Options {
        listener: true,
        no_new_privs: true,
        ..Options::default()
    };
    Ok(Prepared::program(&compile(&builder.build())?, &options)?)
}
