//! Listeners over a Unix socket, as they should be sent and as they shouldn't.
#![cfg(feature = "oci-spec")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)] // A test throughout.

#[allow(dead_code)]
mod common;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use callgate::handoff::{self, HandoffError, MAX_DESCRIPTORS, MAX_STATE_BYTES, bind, receive};
use common::{caller_of, passes_in_child};
use oci_spec::runtime::{ContainerProcessState, ContainerState, State};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

const LONG: Duration = Duration::from_secs(20);

fn state(annotation: &str) -> ContainerProcessState {
    let mut container = State::default();
    container
        .set_version("1.2.0".to_owned())
        .set_id("one".to_owned())
        .set_status(ContainerState::Creating)
        .set_pid(Some(77))
        .set_bundle("/bundle".into())
        .set_annotations(Some(HashMap::from([(
            "a".to_owned(),
            annotation.to_owned(),
        )])));
    let mut state = ContainerProcessState::default();
    state
        .set_version("1.2.0".to_owned())
        .set_pid(77)
        .set_metadata(Some("what it wants".to_owned()))
        .set_state(container);
    state
}

#[test]
fn a_listener_goes_through_the_socket_and_serves() {
    // The longer one doesn't fit into one message.
    for annotation in ["short", &"x".repeat(600_000)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let agent = bind(&path).unwrap();
        let (listener, caller) = caller_of("getpgid", || rustix::process::getpgid(None));
        let sent = state(annotation);
        let mut expected = sent.clone();
        expected.set_fds(vec!["seccompFd".to_owned()]);
        let runtime = thread::spawn(move || {
            handoff::send(&path, &sent, listener.as_fd(), LONG).unwrap();
        });
        let container = receive(agent.accept().unwrap().0, LONG).unwrap();
        runtime.join().unwrap();
        assert_eq!(container.state, expected);
        assert!(container.others.is_empty());
        assert_eq!(
            container.peer.pid.unsigned_abs(),
            std::process::id(),
            "{:?}",
            container.peer
        );
        let call = container.listener.receive().unwrap().unwrap();
        assert_eq!(call.name(), Some("getpgid"));
        assert!(call.fail_with(1).unwrap().done().is_some());
        assert_eq!(caller.join().unwrap(), Err(rustix::io::Errno::PERM));
    }
}

#[test]
fn only_the_owner_may_connect() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    let _agent = bind(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn only_what_nobody_listens_at_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    let in_use = |bound: Result<_, HandoffError>| match bound {
        Err(HandoffError::Socket { error, .. }) => error.kind() == std::io::ErrorKind::AddrInUse,
        _ => false,
    };
    let agent = bind(&path).unwrap();
    assert!(in_use(bind(&path)));
    drop(agent);
    drop(bind(&path).unwrap());
    fs::remove_file(&path).unwrap();
    fs::write(&path, "a file").unwrap();
    assert!(in_use(bind(&path)));
    assert_eq!(fs::read(&path).unwrap(), b"a file");
}

#[test]
fn nobody_listening_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let null = File::open("/dev/null").unwrap();
    let sent = handoff::send(
        &directory.path().join("none"),
        &state(""),
        null.as_fd(),
        LONG,
    );
    assert!(matches!(
        sent,
        Err(HandoffError::Socket {
            call: "connect",
            ..
        })
    ));
}

/// What `receive` says to one message, with descriptors, that is all.
fn answer(json: &str, descriptors: &[BorrowedFd<'_>]) -> HandoffError {
    let (runtime, agent) = UnixStream::pair().unwrap();
    let json = json.to_owned();
    // More than fits into the socket is written from another thread, which may be hung up on.
    thread::scope(|scope| {
        scope.spawn(move || {
            let sent = send_with(&runtime, json.as_bytes(), descriptors);
            let _ = (&runtime).write_all(&json.as_bytes()[sent..]);
        });
        receive(agent, LONG).unwrap_err()
    })
}

fn send_with(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> usize {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS + 9))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    let bytes = [IoSlice::new(bytes)];
    rustix::net::sendmsg(stream, &bytes, &mut control, SendFlags::NOSIGNAL).unwrap()
}

fn with_fds(fds: &str) -> String {
    format!(
        r#"{{"ociVersion":"1.2.0","fds":{fds},"pid":7,"state":{{"ociVersion":"1.2.0","id":"one","status":"creating","bundle":"/"}}}}"#
    )
}

fn descriptors_open() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn hostile_peers_are_refused_and_leave_nothing() {
    passes_in_child("hostile_peers_are_refused_and_leave_nothing", || {
        let null: OwnedFd = File::open("/dev/null").unwrap().into();
        let null = null.as_fd();
        let before = descriptors_open();
        let one = with_fds(r#"["seccompFd"]"#);
        let refused = |json: &str, descriptors: &[BorrowedFd<'_>], with: &str| {
            let said = answer(json, descriptors).to_string();
            assert!(said.contains(with), "{said:?} should say {with:?}");
            assert_eq!(descriptors_open(), before, "after {said}");
        };
        refused(&one, &[null], "not a seccomp listener");
        refused(&one, &[], "1 descriptors are named, and 0 came");
        refused(&one, &[null, null], "1 descriptors are named, and 2 came");
        refused(&with_fds(r#"["x"]"#), &[null], "0 descriptors are named");
        let twice = with_fds(r#"["seccompFd","seccompFd"]"#);
        refused(&twice, &[null, null], "2 descriptors are named");
        refused(&one, &[null; MAX_DESCRIPTORS + 1], "more than 16");
        refused(&one, &[null; MAX_DESCRIPTORS + 9], "more than 16");
        refused("", &[], "EOF");
        refused(&one[..40], &[null], "EOF");
        refused(&format!("{one}{one}"), &[null], "trailing");
        refused("\u{0}\u{1}", &[null], "expected value");
        refused("[[[[", &[null], "expected");
        refused(&"[".repeat(100_000), &[null], "expected");
        refused(&one.replace('7', "0"), &[null], "no pid");
        refused(&one.replace('7', "\"7\""), &[null], "invalid type");
        refused(&one.replace("\"one\"", "\"\""), &[null], "no state.id");
        let unversioned = one.replacen("1.2.0", "", 1);
        refused(&unversioned, &[null], "no ociVersion");
        refused(&" ".repeat(MAX_STATE_BYTES + 1), &[null], "longer than");
    });
}

#[test]
fn a_runtime_may_leave_the_connection_open() {
    let (runtime, agent) = UnixStream::pair().unwrap();
    let json = with_fds("[\"}{\\\"}\"]");
    let (head, tail) = json.split_at(json.len() - 1);
    let fd = File::open("/dev/null").unwrap();
    send_with(&runtime, head.as_bytes(), &[fd.as_fd()]);
    send_with(&runtime, tail.as_bytes(), &[]);
    let refused = receive(agent, Duration::from_secs(60)).unwrap_err();
    // As far as that.
    assert!(matches!(refused, HandoffError::Listeners(0)), "{refused}");
}

#[test]
fn descriptors_come_at_the_beginning_or_not_at_all() {
    let null = File::open("/dev/null").unwrap();
    let (runtime, agent) = UnixStream::pair().unwrap();
    send_with(&runtime, b"{", &[]);
    send_with(&runtime, b"}", &[null.as_fd()]);
    let refused = receive(agent, LONG).unwrap_err();
    assert!(matches!(refused, HandoffError::LateDescriptors));
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    for beginning in ["", "{"] {
        let (mut runtime, agent) = UnixStream::pair().unwrap();
        runtime.write_all(beginning.as_bytes()).unwrap();
        let begun = Instant::now();
        let refused = receive(agent, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(refused, HandoffError::TimedOut), "{refused}");
        assert!(begun.elapsed() < LONG);
    }
}

#[test]
fn nobody_can_drip_for_ever() {
    let (mut runtime, agent) = UnixStream::pair().unwrap();
    let dripping = thread::spawn(move || {
        while runtime.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    let refused = receive(agent, Duration::from_millis(100)).unwrap_err();
    assert!(matches!(refused, HandoffError::TimedOut), "{refused}");
    dripping.join().unwrap();
}
