//! `initialize_seccomp` as a runtime calls it: in a child, with the types of `oci-spec`.
#![cfg(feature = "oci-spec")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)] // A test throughout.

#[allow(dead_code)]
mod common;

use callgate::{SeccompError, initialize_seccomp, is_notify};
use common::passes_in_child;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompFilterFlag, LinuxSeccompOperator as Operator, LinuxSyscall, LinuxSyscallBuilder,
};

fn profile(default: Action, syscalls: Vec<LinuxSyscall>) -> LinuxSeccomp {
    let builder = LinuxSeccompBuilder::default()
        .default_action(default)
        .architectures(vec![Arch::ScmpArchNative]);
    builder.syscalls(syscalls).build().unwrap()
}

fn entry(name: &str, action: Action) -> LinuxSyscall {
    LinuxSyscallBuilder::default()
        .names(vec![name.to_owned()])
        .action(action)
        .build()
        .unwrap()
}

fn errno_entry(name: &str, errno: u32) -> LinuxSyscall {
    let mut entry = entry(name, Action::ScmpActErrno);
    entry.set_errno_ret(Some(errno));
    entry
}

fn error_of_getcwd() -> Option<i32> {
    std::env::current_dir()
        .err()
        .and_then(|error| error.raw_os_error())
}

fn no_new_privs() {
    rustix::thread::set_no_new_privs(true).unwrap();
}

#[test]
fn a_denied_call_returns_its_errno() {
    passes_in_child("a_denied_call_returns_its_errno", || {
        no_new_privs();
        let profile = profile(
            Action::ScmpActAllow,
            vec![
                errno_entry("getcwd", 11),
                entry("no_such_call", Action::ScmpActKill),
            ],
        );
        assert!(!is_notify(&profile));
        assert_eq!(initialize_seccomp(&profile).unwrap(), None);
        assert_eq!(error_of_getcwd(), Some(11));
    });
}

#[test]
fn no_new_privs_is_left_alone() {
    passes_in_child("no_new_privs_is_left_alone", || {
        let had_it = rustix::thread::no_new_privs().unwrap();
        let loaded = initialize_seccomp(&profile(Action::ScmpActAllow, vec![]));
        let may = callgate::probe::may_load_without_no_new_privs() || had_it;
        assert_eq!(loaded.is_ok(), may, "{loaded:?}");
        assert_eq!(rustix::thread::no_new_privs().unwrap(), had_it);
    });
}

#[test]
fn a_notifying_profile_returns_its_listener() {
    passes_in_child("a_notifying_profile_returns_its_listener", || {
        no_new_privs();
        let profile = profile(
            Action::ScmpActAllow,
            vec![entry("getcwd", Action::ScmpActNotify)],
        );
        assert!(is_notify(&profile));
        let fd = initialize_seccomp(&profile).unwrap().unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        assert_eq!(link.to_str(), Some("anon_inode:seccomp notify"));
    });
}

#[test]
fn a_listener_is_returned_even_if_no_name_is_known() {
    passes_in_child("a_listener_is_returned_even_if_no_name_is_known", || {
        no_new_privs();
        let profile = profile(
            Action::ScmpActAllow,
            vec![entry("no_such_call", Action::ScmpActNotify)],
        );
        assert!(initialize_seccomp(&profile).unwrap().is_some());
    });
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    let index = LinuxSeccompArgBuilder::default()
        .index(6_usize)
        .value(1_u64)
        .op(Operator::ScmpCmpEq)
        .build()
        .unwrap();
    let mut six = entry("getcwd", Action::ScmpActErrno);
    six.set_args(Some(vec![index]));
    let cases = [
        (profile(Action::ScmpActNotify, vec![]), "defaultAction"),
        (
            profile(
                Action::ScmpActAllow,
                vec![entry("write", Action::ScmpActNotify)],
            ),
            "syscalls[0].names[0]",
        ),
        (
            profile(Action::ScmpActAllow, vec![errno_entry("getcwd", 70000)]),
            "syscalls[0].errnoRet",
        ),
        (
            profile(Action::ScmpActAllow, vec![six]),
            "syscalls[0].args[0].index",
        ),
    ];
    for (profile, place) in cases {
        let refused = initialize_seccomp(&profile).unwrap_err();
        assert!(matches!(refused, SeccompError::Compile(_)));
        assert!(refused.to_string().contains(place), "{refused}");
    }
}

#[test]
fn every_name_of_the_types_is_read() {
    let mut every = profile(Action::ScmpActLog, vec![]);
    every.set_flags(Some(vec![
        LinuxSeccompFilterFlag::SeccompFilterFlagLog,
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv,
    ]));
    every.set_architectures(callgate::features().archs().clone());
    let actions = callgate::features().actions().clone().unwrap();
    let names = [
        "read", "open", "close", "stat", "poll", "lseek", "mmap", "brk", "ioctl",
    ];
    every.set_syscalls(Some(
        actions
            .into_iter()
            .zip(names)
            .map(|(action, name)| entry(name, action))
            .collect(),
    ));
    let context = callgate::probe::context().unwrap();
    let filter = callgate::oci::compile(&every, &context).unwrap();
    assert_eq!((filter.flags().len(), filter.needs_listener()), (4, true));
}
