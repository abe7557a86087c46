//! Supervised commands, under filters that stop nearly every call.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)] // A test throughout.

#[allow(dead_code)]
mod common;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use callgate::compiler::filter::compile;
use callgate::compiler::policy::{PolicyBuilder, RuleId};
use callgate::compiler::syscalls;
use callgate::load::Options;
use callgate::notify::{Listener, Supervised, spawn};
use callgate::{Action, LoadError, Prepared, SpawnError, probe};
use common::{all_but, caller_of};

fn listening() -> Options {
    Options {
        listener: true,
        no_new_privs: true,
        ..Options::default()
    }
}

/// Stops every call but `write`, which profiles can't have stopped either.
fn all_stopped() -> Prepared {
    let arch = probe::native_arch().unwrap();
    let mut builder = PolicyBuilder::new(arch, Action::Notify);
    builder.newer_calls(false);
    let write = syscalls::number(arch, "write").unwrap();
    builder
        .rule(arch, write, RuleId(0), Action::Allow, &[])
        .unwrap();
    Prepared::program(&compile(&builder.build()).unwrap(), &listening()).unwrap()
}

/// Lets everything pass, and counts it.
fn let_pass(count: &Arc<AtomicU64>) -> impl FnOnce(&Listener) + Send + 'static {
    let count = Arc::clone(count);
    move |listener: &Listener| {
        while let Some(call) = listener.receive().unwrap() {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = call.allow_unchecked().unwrap();
        }
    }
}

fn counter() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(0))
}

#[test]
fn every_call_of_a_command_waits_for_its_supervisor() {
    let count = counter();
    let mut command = Command::new("sh");
    command.args(["-c", "(exit 3); exit $(($? + 4))"]);
    let supervised = spawn(all_stopped(), &mut command, let_pass(&count)).unwrap();
    let Supervised {
        mut child,
        supervisor,
    } = supervised;
    assert_eq!(child.wait().unwrap().code(), Some(7));
    supervisor.join().unwrap();
    // execve, exit_group and all between, of two processes.
    assert!(count.load(Ordering::Relaxed) > 20);
}

#[test]
fn a_command_that_is_not_there_says_so() {
    let missing = spawn(
        all_stopped(),
        &mut Command::new("/no/such/command"),
        let_pass(&counter()),
    );
    let Err(SpawnError::Exec(error)) = missing else {
        panic!("{missing:?}");
    };
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn without_a_supervisor_calls_fail_and_nothing_hangs() {
    // The execve itself fails, which std reports by a `write`.
    let supervisors: [fn(&Listener); 2] = [|_| {}, |_| panic!("as it should")];
    for supervisor in supervisors {
        let spawned = spawn(all_stopped(), &mut Command::new("true"), supervisor);
        let Err(SpawnError::Exec(error)) = spawned else {
            panic!("{spawned:?}");
        };
        assert_eq!(error.raw_os_error(), Some(38));
    }
}

#[test]
fn a_filter_without_a_listener_is_refused() {
    let options = Options {
        listener: false,
        ..listening()
    };
    let prepared = Prepared::program(&all_but("getpgid", Action::Log), &options).unwrap();
    let refused = spawn(prepared, &mut Command::new("true"), |_| unreachable!());
    assert!(matches!(refused, Err(SpawnError::NoListener)));
}

#[test]
fn a_second_listener_is_refused_by_the_kernel() {
    let (_listener, caller) = caller_of("getpgid", || {
        spawn(all_stopped(), &mut Command::new("true"), |_| unreachable!())
    });
    let refused = caller.join().unwrap();
    let busy = LoadError::Seccomp(16);
    assert!(
        matches!(refused, Err(SpawnError::Load(error)) if error == busy),
        "{refused:?}"
    );
}

#[test]
fn a_child_killed_at_any_moment_leaves_nobody_waiting() {
    for i in 0..60_u64 {
        let count = counter();
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do (:); done"]);
        let supervised = spawn(all_stopped(), &mut command, let_pass(&count)).unwrap();
        let Supervised {
            mut child,
            supervisor,
        } = supervised;
        // A prime, so that the moments differ.
        thread::sleep(Duration::from_micros(i * 211 % 5003));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        supervisor.join().unwrap();
    }
}
