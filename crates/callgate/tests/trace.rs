//! Traced commands: what is seen of their calls, and that they don't notice.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)] // A test throughout.

#[allow(dead_code)]
mod common;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use callgate::compiler::syscalls;
use callgate::load::Options;
use callgate::trace::{Event, trace};
use callgate::{Action, Arch, Prepared, SpawnError, probe};
use common::all_but;

fn denying(name: &str, action: Action) -> Prepared {
    let options = Options {
        no_new_privs: true,
        ..Options::default()
    };
    Prepared::program(&all_but(name, action), &options).unwrap()
}

/// How a command ended, and what its calls of `name` came to, each with how often. A call that doesn't return has no outcome.
type Outcomes = BTreeMap<Option<Result<i64, i32>>, u32>;

fn calls_of(
    name: &str,
    prepared: Prepared,
    command: &[&str],
) -> Result<(ExitStatus, Outcomes), SpawnError> {
    let arch = probe::native_arch().unwrap();
    let number = syscalls::number(arch, name).unwrap();
    let (mut entered, mut outcomes) = (0, Outcomes::new());
    let mut command_line = Command::new(command[0]);
    let status = trace(
        prepared,
        command_line.args(&command[1..]),
        |event| match event {
            Event::Entered(_, call) if call.nr == number => {
                assert_eq!(Arch::of_call(call.audit, call.nr), Some(arch));
                entered += 1;
            }
            Event::Left(_, call, result) if call.nr == number => {
                *outcomes.entry(Some(result)).or_default() += 1;
            }
            _ => {}
        },
    )?;
    let left: u32 = outcomes.values().sum();
    if entered > left {
        outcomes.insert(None, entered - left);
    }
    Ok((status, outcomes))
}

#[test]
fn denied_calls_are_seen_and_stay_denied() {
    let denied = denying("mkdirat", Action::Errno(7));
    let script = "import os
for i in range(3):
    try: os.mkdir('/no/such/place', dir_fd=0)
    except OSError as e: assert e.errno == 7
raise SystemExit(5)";
    let (status, outcomes) = calls_of("mkdirat", denied, &["python3", "-c", script]).unwrap();
    assert_eq!(status.code(), Some(5));
    assert_eq!(outcomes, Outcomes::from([(Some(Err(7)), 3)]));
}

#[test]
fn what_the_kernel_refuses_is_seen_too() {
    let denied = denying("mkdirat", Action::Errno(7));
    let script = "import os
try: os.close(-1)
except OSError: pass
r, w = os.pipe()
assert r > 2";
    let (status, outcomes) = calls_of("close", denied, &["python3", "-c", script]).unwrap();
    assert!(status.success());
    assert!(outcomes.contains_key(&Some(Err(9))), "{outcomes:?}");
}

#[test]
fn a_call_that_kills_is_seen_before_it_does() {
    for action in [Action::KillProcess, Action::KillThread, Action::Trap] {
        let killing = denying("mkdirat", action);
        let script = "import os; os.mkdir('x', dir_fd=0)";
        let (status, outcomes) = calls_of("mkdirat", killing, &["python3", "-c", script]).unwrap();
        assert_eq!(status.signal(), Some(31));
        assert_eq!(outcomes.values().sum::<u32>(), 1, "{outcomes:?}");
    }
}

#[test]
fn threads_and_grandchildren_are_followed() {
    let denied = denying("mkdirat", Action::Errno(7));
    let script = "import os, threading
def denied():
    try: os.mkdir('x', dir_fd=0)
    except OSError as e: assert e.errno == 7
def grandchild():
    if (child := os.fork()) == 0:
        if os.fork() == 0: denied()
        os._exit(0)
    os.waitpid(child, 0)
work = [denied, grandchild] * 10
threads = [threading.Thread(target=one) for one in work]
for thread in threads: thread.start()
for thread in threads: thread.join()
os.execvp('sh', ['sh', '-c', '(exit 3)'])";
    let (status, outcomes) = calls_of("mkdirat", denied, &["python3", "-c", script]).unwrap();
    assert_eq!(status.code(), Some(3));
    assert_eq!(outcomes, Outcomes::from([(Some(Err(7)), 20)]));
}

#[test]
fn signals_stop_and_continue_it_as_ever() {
    let denied = denying("mkdirat", Action::Errno(7));
    let script = "import os, signal, subprocess
child = subprocess.Popen(['sh', '-c', 'kill -STOP $$; exit 4']).pid
_, status = os.waitpid(child, os.WUNTRACED)
assert os.WIFSTOPPED(status)
os.kill(child, signal.SIGCONT)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 4
signal.signal(signal.SIGUSR1, lambda *_: os._exit(6))
os.kill(os.getpid(), signal.SIGUSR1)
signal.pause()";
    let (status, _) = calls_of("kill", denied, &["python3", "-c", script]).unwrap();
    assert_eq!(status.code(), Some(6));
}

#[test]
fn how_it_ends_is_told() {
    let run = |command: &[&str]| calls_of("exit_group", denying("mkdirat", Action::Log), command);
    assert_eq!(run(&["sh", "-c", "exit 42"]).unwrap().0.code(), Some(42));
    let killed = run(&["sh", "-c", "kill -TERM $$"]).unwrap().0;
    assert_eq!(killed.signal(), Some(15));
    let missing = run(&["/no/such/command"]);
    assert!(matches!(missing, Err(SpawnError::Exec(_))), "{missing:?}");
}

#[test]
fn a_denied_start_is_seen() {
    let execve = |action| calls_of("execve", denying("execve", action), &["/bin/true"]);
    let denied = execve(Action::Errno(13));
    assert!(matches!(denied, Err(SpawnError::Exec(error)) if error.raw_os_error() == Some(13)));
    let (status, outcomes) = execve(Action::KillProcess).unwrap();
    assert_eq!(status.signal(), Some(31));
    assert_eq!(outcomes.values().sum::<u32>(), 1);
}

#[test]
fn an_observer_that_panics_ends_nothing_but_itself() {
    let outcome = std::panic::catch_unwind(|| {
        trace(
            denying("mkdirat", Action::Log),
            &mut Command::new("true"),
            |event| {
                assert!(!matches!(event, Event::Entered(..)), "as it should");
            },
        )
    });
    assert!(outcome.is_err());
}
