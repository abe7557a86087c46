//! Notifications of the live kernel. A filter is a thread's, so the caller is a thread of the test, and the supervisor another.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)] // A test throughout.

#[allow(dead_code)]
mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use callgate::Action;
use callgate::notify::{
    Listener, MemoryError, Notification, NotifyError, OpenHow, Outcome, Received, SocketAddress,
};
use common::caller_of;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

fn caller<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> (Listener, JoinHandle<T>) {
    let (listener, caller) = caller_of(name, body);
    (Listener::new(listener).unwrap(), caller)
}

fn next(listener: &Listener) -> Notification {
    match listener.receive_within(Duration::from_secs(20)).unwrap() {
        Received::Notification(notification) => notification,
        other => panic!("{other:?}"),
    }
}

/// Asks for its process group, with a result that tells all that can be answered.
fn process_group() -> Result<i32, Errno> {
    rustix::process::getpgid(None).map(|pid| pid.as_raw_nonzero().get())
}

fn answered(answer: impl FnOnce(Notification)) -> Result<i32, Errno> {
    let (listener, caller) = caller("getpgid", process_group);
    answer(next(&listener));
    caller.join().unwrap()
}

#[test]
fn an_errno_is_returned() {
    let failed = answered(|call| assert_eq!(call.fail_with(13), Ok(Outcome::Done(()))));
    assert_eq!(failed, Err(Errno::ACCESS));
    let largest = answered(|call| assert_eq!(call.fail_with(4095), Ok(Outcome::Done(()))));
    assert_eq!(largest, Err(Errno::from_raw_os_error(4095)));
}

#[test]
fn an_errno_out_of_range_is_refused_and_the_caller_answered() {
    for errno in [0, 4096, u16::MAX] {
        let failed =
            answered(|call| assert_eq!(call.fail_with(errno), Err(NotifyError::Errno(errno))));
        assert_eq!(failed, Err(Errno::NOSYS));
    }
}

#[test]
fn a_value_is_returned() {
    let value = answered(|call| assert_eq!(call.return_value(4242), Ok(Outcome::Done(()))));
    assert_eq!(value, Ok(4242));
}

#[test]
fn an_allowed_call_is_made() {
    let group = answered(|call| assert_eq!(call.allow_unchecked(), Ok(Outcome::Done(()))));
    assert_eq!(group, process_group());
}

#[test]
fn without_an_answer_the_call_is_enosys() {
    assert_eq!(answered(drop), Err(Errno::NOSYS));
}

#[test]
fn a_panic_answers_too() {
    let failed = answered(|call| {
        let supervisor = thread::spawn(move || {
            let _held = call;
            panic!("as it should");
        });
        assert!(supervisor.join().is_err());
    });
    assert_eq!(failed, Err(Errno::NOSYS));
}

#[test]
fn a_notification_tells_the_call() {
    let path = c"/some/path";
    let (listener, caller) = caller("openat", move || {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        let opened = rustix::fs::openat(rustix::fs::CWD, path, OFlags::RDONLY, Mode::empty());
        (tid, opened.map(drop))
    });
    let call = next(&listener);
    assert_eq!(call.name(), Some("openat"));
    assert_eq!(call.arch(), callgate::probe::native_arch());
    assert!(call.is_alive());
    let memory = call.memory().unwrap();
    assert_eq!(
        memory
            .c_string(call.call().args[1], 4096)
            .unwrap()
            .as_c_str(),
        path
    );
    assert!(matches!(
        memory.c_string(call.call().args[1], 10),
        Err(MemoryError::TooLong(10))
    ));
    assert!(matches!(memory.bytes(8, 1), Err(MemoryError::Unmapped(8))));
    assert!(matches!(
        memory.bytes(u64::MAX, 1),
        Err(MemoryError::Unmapped(u64::MAX))
    ));
    drop(memory);
    let pid = call.pid();
    assert_eq!(call.fail_with(2), Ok(Outcome::Done(())));
    let (tid, opened) = caller.join().unwrap();
    assert_eq!((u32::try_from(tid), opened), (Ok(pid), Err(Errno::NOENT)));
}

#[test]
fn structures_are_read() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let Ok(SocketAddr::V4(address)) = server.local_addr() else {
        panic!("an address of the other family");
    };
    let (listener, connecting) = caller("connect", move || TcpStream::connect(address).map(drop));
    let call = next(&listener);
    let [_, pointer, length, ..] = call.call().args;
    let read = |length| call.memory().unwrap().socket_address(pointer, length);
    let expected: SocketAddrV4 = address;
    assert_eq!(read(length).unwrap(), SocketAddress::V4(expected));
    assert!(matches!(read(15), Err(MemoryError::Length(15))));
    assert!(matches!(read(129), Err(MemoryError::Length(129))));
    assert_eq!(call.allow_unchecked(), Ok(Outcome::Done(())));
    connecting.join().unwrap().unwrap();

    let (listener, opening) = caller("openat2", || {
        rustix::fs::openat2(
            rustix::fs::CWD,
            "/",
            OFlags::PATH,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS,
        )
        .map(drop)
    });
    let call = next(&listener);
    let [_, _, pointer, size, ..] = call.call().args;
    let how = call.memory().unwrap().open_how(pointer, size).unwrap();
    let expected = OpenHow {
        flags: OFlags::PATH.bits().into(),
        mode: 0,
        resolve: ResolveFlags::NO_SYMLINKS.bits(),
    };
    // The libraries add O_LARGEFILE where files would be small without it.
    let large = u64::from(OFlags::LARGEFILE.bits());
    assert_eq!((how.flags & !large, how.mode), (expected.flags, 0));
    assert_eq!(how.resolve, expected.resolve);
    drop(call);
    assert_eq!(opening.join().unwrap(), Err(Errno::NOSYS));
}

/// A file with something in it to know it by.
fn marked() -> OwnedFd {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.write_all(b"mark").unwrap();
    reader.into()
}

fn contents(fd: OwnedFd) -> String {
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_descriptor_is_returned_in_one_step() {
    let (listener, caller) = caller("openat", || {
        let fd = rustix::fs::openat(
            rustix::fs::CWD,
            "/no/such/file",
            OFlags::RDONLY,
            Mode::empty(),
        );
        fd.map(|fd| {
            let flags = rustix::io::fcntl_getfd(&fd).unwrap();
            (flags.contains(rustix::io::FdFlags::CLOEXEC), contents(fd))
        })
    });
    let outcome = next(&listener).return_fd(marked().as_fd(), true).unwrap();
    assert!(outcome.done().is_some());
    assert_eq!(caller.join().unwrap(), Ok((true, "mark".to_owned())));
}

#[test]
fn descriptors_are_added_while_the_caller_waits() {
    let (listener, caller) = caller("getpgid", process_group);
    let call = next(&listener);
    // The caller is a thread of this process, so its descriptors are seen here.
    let added = call
        .add_fd(marked().as_fd(), false)
        .unwrap()
        .done()
        .unwrap();
    let there = |number: i32| Path::new(&format!("/proc/self/fd/{number}")).exists();
    assert!(there(added));
    let at = call.add_fd_at(marked().as_fd(), 700, true).unwrap();
    assert_eq!((at, there(700)), (Outcome::Done(700), true));
    let beyond = call.add_fd_at(marked().as_fd(), i32::MAX.unsigned_abs(), true);
    assert!(matches!(beyond, Err(NotifyError::Kernel { errno: 9, .. })));
    assert!(call.is_alive());
    assert_eq!(call.return_value(5), Ok(Outcome::Done(())));
    assert_eq!(caller.join().unwrap(), Ok(5));
}

#[test]
fn other_descriptors_are_no_listeners() {
    let others: [OwnedFd; 3] = [
        File::open("/dev/null").unwrap().into(),
        marked(),
        TcpListener::bind("127.0.0.1:0").unwrap().into(),
    ];
    for other in others {
        assert_eq!(Listener::new(other).unwrap_err(), NotifyError::NotAListener);
    }
}

#[test]
fn the_end_is_told() {
    let (sender, receiver) = mpsc::channel::<()>();
    let (listener, caller) = caller("getpgid", move || receiver.recv());
    let now = |listener: &Listener| listener.receive_within(Duration::ZERO).unwrap();
    assert!(matches!(now(&listener), Received::Nothing));
    let short = listener.receive_within(Duration::from_millis(20)).unwrap();
    assert!(matches!(short, Received::Nothing));
    sender.send(()).unwrap();
    caller.join().unwrap().unwrap();
    assert!(listener.receive().unwrap().is_none());
    assert!(matches!(now(&listener), Received::Ended));
}

#[test]
fn actions_are_answered_as_the_kernel_would() {
    let answers = [
        (Action::Errno(7), Err(7)),
        (Action::Notify, Err(38)),
        (Action::Trace(3), Err(38)),
    ];
    for (action, expected) in answers {
        let (listener, caller) = caller("getpgid", process_group);
        assert_eq!(next(&listener).answer(action), Ok(Outcome::Done(())));
        let found = caller.join().unwrap();
        assert_eq!(found.map_err(|errno| errno.raw_os_error()), expected);
    }
    let (listener, niceness) = caller("getpriority", || rustix::process::getpriority_process(None));
    assert_eq!(
        next(&listener).answer(Action::Errno(0)),
        Ok(Outcome::Done(()))
    );
    // The kernel counts downwards from 20.
    assert_eq!(niceness.join().unwrap(), Ok(20));
    for action in [Action::Allow, Action::Log] {
        let (listener, caller) = caller("getpgid", process_group);
        assert_eq!(next(&listener).answer(action), Ok(Outcome::Done(())));
        assert!(caller.join().unwrap().unwrap() > 0);
    }
    if !has_python() {
        return;
    }
    for action in [Action::Trap, Action::KillThread, Action::KillProcess] {
        let (_listener, call, mut child) = waiting_process();
        assert!(call.answer(action).is_ok());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}

/// A process that waits for the answer to its `mkdir`, made by a thread that has the filter.
fn waiting_process() -> (Listener, Notification, Child) {
    let (listener, spawning) = caller("mkdirat", || {
        Command::new("python3")
            .args(["-c", "import os; os.mkdir('x', dir_fd=0)"])
            .spawn()
            .unwrap()
    });
    let call = next(&listener);
    (listener, call, spawning.join().unwrap())
}

fn has_python() -> bool {
    let has = Command::new("python3").arg("--version").output().is_ok();
    if !has {
        eprintln!("skipped: a process that is killed: needs python3");
    }
    has
}

#[test]
fn a_killed_caller_is_an_ordinary_event() {
    if !has_python() {
        return;
    }
    type Answer = fn(Notification) -> Result<bool, NotifyError>;
    let answers: [Answer; 5] = [
        |call| call.fail_with(1).map(|outcome| outcome.done().is_none()),
        |call| call.return_value(1).map(|outcome| outcome.done().is_none()),
        |call| {
            call.allow_unchecked()
                .map(|outcome| outcome.done().is_none())
        },
        |call| {
            let outcome = call.return_fd(std::io::stdin().as_fd(), true)?;
            Ok(outcome.done().is_none())
        },
        |call| {
            let outcome = call.add_fd(std::io::stdin().as_fd(), true)?;
            Ok(outcome.done().is_none())
        },
    ];
    for answer in answers {
        let (listener, call, mut child) = waiting_process();
        let (memory, pointer) = (call.memory().unwrap(), call.call().args[1]);
        assert_eq!(memory.c_string(pointer, 9).unwrap().as_c_str(), c"x");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!call.is_alive());
        let read = memory.c_string(pointer, 9);
        assert!(matches!(read, Err(MemoryError::CallerGone)), "{read:?}");
        drop(memory);
        assert!(matches!(call.memory(), Err(MemoryError::CallerGone)));
        assert_eq!(answer(call), Ok(true));
        assert!(listener.receive().unwrap().is_none());
    }
}

#[test]
fn a_caller_that_dies_before_it_is_received_is_never_seen() {
    if !has_python() {
        return;
    }
    let (listener, spawning) = caller("mkdirat", || {
        Command::new("python3")
            .args(["-c", "import os; os.mkdir('x', dir_fd=0)"])
            .spawn()
            .unwrap()
    });
    let mut child = spawning.join().unwrap();
    let mut polled = [rustix::event::PollFd::new(
        &listener,
        rustix::event::PollFlags::IN,
    )];
    assert_eq!(rustix::event::poll(&mut polled, None), Ok(1));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(listener.receive().unwrap().is_none());
}

#[test]
fn many_callers_and_many_receivers_get_each_their_own() {
    const CALLS: u64 = 100;
    let (listener, callers) = caller("getpriority", || {
        // Threads inherit the filter.
        let callers: Vec<_> = (0..8)
            .map(|_| {
                thread::spawn(|| {
                    let wrong = |_: &u64| {
                        let tid = rustix::thread::gettid();
                        let answer = rustix::process::getpriority_process(Some(tid));
                        // The kernel counts priorities downwards from 20.
                        answer != Ok(20 - 7)
                    };
                    (0..CALLS).filter(wrong).count()
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .sum::<usize>()
    });
    listener.wake_synchronously();
    let receivers: Vec<_> = (0..4)
        .map(|_| {
            let listener = listener.clone();
            thread::spawn(move || {
                let mut served = 0;
                while let Some(call) = listener.receive().unwrap() {
                    // Of the caller's own process, by its own id.
                    assert_eq!(u64::from(call.pid()), call.call().args[1]);
                    assert_eq!(call.return_value(7), Ok(Outcome::Done(())));
                    served += 1;
                }
                served
            })
        })
        .collect();
    assert_eq!(callers.join().unwrap(), 0);
    let served: u64 = receivers
        .into_iter()
        .map(|receiver| receiver.join().unwrap())
        .sum();
    assert_eq!(served, 8 * CALLS);
}

#[test]
fn a_listener_is_a_descriptor() {
    let (listener, caller) = caller("getpgid", || ());
    assert!(listener.as_fd().as_raw_fd() > 2);
    caller.join().unwrap();
}
