//! A program to load, and a process to load it in.

use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use callgate::compiler::bpf::Program;
use callgate::compiler::filter::compile;
use callgate::compiler::policy::{PolicyBuilder, RuleId};
use callgate::compiler::syscalls;
use callgate::load::Options;
use callgate::{Action, Prepared, probe};

const CHILD: &str = "CALLGATE_TEST_CHILD";

/// Runs a test's body in a process of its own, since a filter is for good.
///
/// In the parent: runs the test of this name again in a child, and returns how that ended. In the child: runs the
/// body, and ends with 0, or with 101 if it panics.
pub fn in_child(test: &str, body: impl FnOnce()) -> ExitStatus {
    if std::env::var_os(CHILD).is_some_and(|name| name == test) {
        body();
        std::process::exit(0);
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, test);
    command.status().unwrap()
}

/// Asserts that the body runs to its end in a child.
pub fn passes_in_child(test: &str, body: impl FnOnce()) {
    let status = in_child(test, body);
    assert!(status.success(), "{test} in a child: {status}");
}

/// Allows everything but `name`.
pub fn all_but(name: &str, action: Action) -> Program {
    let arch = probe::native_arch().unwrap();
    let mut builder = PolicyBuilder::new(arch, Action::Allow);
    builder
        .rule(
            arch,
            syscalls::number(arch, name).unwrap(),
            RuleId(0),
            action,
            &[],
        )
        .unwrap();
    compile(&builder.build()).unwrap()
}

/// A thread whose calls of `name` notify, the listener, and what the thread comes to.
pub fn caller_of<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> (OwnedFd, JoinHandle<T>) {
    let options = Options {
        listener: true,
        no_new_privs: true,
        ..Options::default()
    };
    let prepared = Prepared::program(&all_but(name, Action::Notify), &options).unwrap();
    let (sender, receiver) = mpsc::channel();
    let caller = thread::spawn(move || {
        sender.send(prepared.install().unwrap().unwrap()).unwrap();
        body()
    });
    (receiver.recv().unwrap(), caller)
}
