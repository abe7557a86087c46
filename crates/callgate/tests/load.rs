//! Filters in the live kernel: every action, every refusal, in processes of their own.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)] // A test throughout.

#[allow(dead_code)]
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::mpsc;

use callgate::compiler::bpf::{Insn, check::check, op};
use callgate::compiler::profile::Flag;
use callgate::load::Options;
use callgate::{Action, ByteOrder, LoadError, PrepareError, Prepared, SpawnError, probe};
use common::{all_but, in_child, passes_in_child};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// Counts what the calling thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all is left to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn options() -> Options {
    Options {
        no_new_privs: true,
        ..Options::default()
    }
}

fn prepared(name: &str, action: Action) -> Prepared {
    Prepared::program(&all_but(name, action), &options()).unwrap()
}

fn error_of_getcwd() -> Option<i32> {
    std::env::current_dir()
        .err()
        .and_then(|error| error.raw_os_error())
}

#[test]
fn errno_is_returned() {
    passes_in_child("errno_is_returned", || {
        assert!(
            prepared("getcwd", Action::Errno(77))
                .install()
                .unwrap()
                .is_none()
        );
        assert_eq!(error_of_getcwd(), Some(77));
    });
}

#[test]
fn log_lets_the_call_pass() {
    passes_in_child("log_lets_the_call_pass", || {
        prepared("getcwd", Action::Log).install().unwrap();
        assert_eq!(error_of_getcwd(), None);
    });
}

#[test]
fn trace_without_a_tracer_is_enosys() {
    passes_in_child("trace_without_a_tracer_is_enosys", || {
        prepared("getcwd", Action::Trace(7)).install().unwrap();
        assert_eq!(error_of_getcwd(), Some(38));
    });
}

#[test]
fn kill_and_trap_end_with_sigsys() {
    for action in [Action::KillProcess, Action::KillThread, Action::Trap] {
        // KILL_THREAD ends a process whose last thread it is: a spawned command has one.
        let mut command = Command::new("pwd");
        let child = prepared("getcwd", action).spawn(command.arg("-P"));
        let status = child.unwrap().wait().unwrap();
        assert_eq!(status.signal(), Some(31), "{action}");
    }
}

#[test]
fn notify_hands_out_a_listener() {
    use std::os::fd::AsFd;
    passes_in_child("notify_hands_out_a_listener", || {
        let options = Options {
            listener: true,
            ..options()
        };
        let prepared = Prepared::program(&all_but("getcwd", Action::Notify), &options).unwrap();
        let listener = prepared.install().unwrap().unwrap();
        let flags = rustix::io::fcntl_getfd(listener.as_fd()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        // A caller waits, so the listener has something to read.
        std::thread::spawn(error_of_getcwd);
        let mut polled = [rustix::event::PollFd::new(
            &listener,
            rustix::event::PollFlags::IN,
        )];
        let second = rustix::event::Timespec {
            tv_sec: 5,
            tv_nsec: 0,
        };
        assert_eq!(rustix::event::poll(&mut polled, Some(&second)), Ok(1));
        // Without its listener the kernel answers ENOSYS.
        drop(listener);
        assert_eq!(error_of_getcwd(), Some(38));
    });
}

#[test]
fn a_second_listener_is_refused_with_ebusy() {
    passes_in_child("a_second_listener_is_refused_with_ebusy", || {
        let options = Options {
            listener: true,
            ..options()
        };
        let prepared = Prepared::program(&all_but("getcwd", Action::Notify), &options).unwrap();
        let _first = prepared.install().unwrap();
        let second = prepared.install().unwrap_err();
        assert_eq!(second, LoadError::Seccomp(16));
        assert!(
            second.to_string().contains("there can be one only"),
            "{second}"
        );
    });
}

#[test]
fn without_no_new_privs_it_takes_cap_sys_admin() {
    if !probe::may_load_without_no_new_privs() {
        eprintln!(
            "skipped: without_no_new_privs_it_takes_cap_sys_admin: needs CAP_SYS_ADMIN to give up"
        );
        return;
    }
    passes_in_child("without_no_new_privs_it_takes_cap_sys_admin", || {
        let options = Options::default();
        let prepared = Prepared::program(&all_but("getcwd", Action::Errno(77)), &options).unwrap();
        let none = CapabilitySet::empty();
        set_capabilities(
            None,
            CapabilitySets {
                effective: none,
                permitted: none,
                inheritable: none,
            },
        )
        .unwrap();
        let refused = prepared.install().unwrap_err();
        assert_eq!(refused, LoadError::Seccomp(13));
        assert!(
            refused
                .to_string()
                .contains("neither no_new_privs nor CAP_SYS_ADMIN"),
            "{refused}"
        );
        assert_eq!(error_of_getcwd(), None);
    });
}

#[test]
fn no_new_privs_is_set_only_when_asked_for() {
    if !probe::may_load_without_no_new_privs() {
        eprintln!("skipped: no_new_privs_is_set_only_when_asked_for: needs CAP_SYS_ADMIN");
        return;
    }
    passes_in_child("no_new_privs_is_set_only_when_asked_for", || {
        let program = all_but("getcwd", Action::Errno(77));
        Prepared::program(&program, &Options::default())
            .unwrap()
            .install()
            .unwrap();
        assert!(!rustix::thread::no_new_privs().unwrap());
        Prepared::program(&program, &options())
            .unwrap()
            .install()
            .unwrap();
        assert!(rustix::thread::no_new_privs().unwrap());
    });
}

/// A thread with a filter of its own, until the sender is dropped.
fn diverging_thread() -> mpsc::Sender<()> {
    let (done, installed) = mpsc::channel();
    let (keep, gone) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        prepared("getcwd", Action::Errno(77)).install().unwrap();
        done.send(()).unwrap();
        let _ = gone.recv();
    });
    installed.recv().unwrap();
    keep
}

#[test]
fn tsync_reaches_all_threads_or_none() {
    passes_in_child("tsync_reaches_all_threads_or_none", || {
        let tsync = Options {
            flags: vec![Flag::Tsync],
            ..options()
        };
        let prepared = Prepared::program(&all_but("getcwd", Action::Errno(78)), &tsync).unwrap();
        let (ask, asked) = mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            let _ = asked.recv();
            error_of_getcwd()
        });
        prepared.install().unwrap();
        drop(ask);
        assert_eq!(other.join().unwrap(), Some(78));

        let keep = diverging_thread();
        let refused = prepared.install().unwrap_err();
        assert!(
            matches!(refused, LoadError::Thread(tid) if tid > 0),
            "{refused}"
        );
        drop(keep);
    });
}

#[test]
fn tsync_with_a_listener_tells_of_the_thread_by_esrch() {
    passes_in_child("tsync_with_a_listener_tells_of_the_thread_by_esrch", || {
        let _keep = diverging_thread();
        let options = Options {
            flags: vec![Flag::Tsync],
            listener: true,
            ..options()
        };
        let prepared = Prepared::program(&all_but("getcwd", Action::Notify), &options).unwrap();
        assert_eq!(prepared.install().unwrap_err(), LoadError::Seccomp(3));
    });
}

#[test]
fn the_chains_budget_ends_with_enomem() {
    passes_in_child("the_chains_budget_ends_with_enomem", || {
        let mut insns = vec![
            Insn {
                code: op::LD_W_ABS,
                jt: 0,
                jf: 0,
                k: 0
            };
            4095
        ];
        insns.push(Insn {
            code: op::RET_K,
            jt: 0,
            jf: 0,
            k: Action::Allow.to_ret(),
        });
        let program = check(insns, ByteOrder::native()).unwrap();
        let prepared = Prepared::program(&program, &options()).unwrap();
        let refused = (0..16).find_map(|_| prepared.install().err());
        assert_eq!(refused, Some(LoadError::Seccomp(12)));
    });
}

#[test]
fn a_flag_that_cannot_be_is_refused_with_einval() {
    passes_in_child("a_flag_that_cannot_be_is_refused_with_einval", || {
        // The kernel takes WAIT_KILLABLE_RECV with a listener only.
        let options = Options {
            flags: vec![Flag::WaitKillableRecv],
            ..options()
        };
        if !probe::has_flag(Flag::WaitKillableRecv) {
            return;
        }
        let prepared = Prepared::program(&all_but("getcwd", Action::Log), &options).unwrap();
        let refused = prepared.install().unwrap_err();
        assert_eq!(refused, LoadError::Seccomp(22));
        assert!(
            refused.to_string().contains("doesn't know a flag"),
            "{refused}"
        );
    });
}

#[test]
fn installing_allocates_nothing() {
    passes_in_child("installing_allocates_nothing", || {
        let prepared = prepared("getcwd", Action::Errno(77));
        let before = ALLOCATIONS.get();
        let installed = prepared.install();
        assert_eq!(ALLOCATIONS.get(), before);
        installed.unwrap();
        let boxed = Box::new(error_of_getcwd());
        assert!(ALLOCATIONS.get() > before, "the counter counts: {boxed:?}");
    });
}

#[test]
fn all_flags_of_this_kernel_are_taken() {
    passes_in_child("all_flags_of_this_kernel_are_taken", || {
        for flag in Flag::ALL.into_iter().filter(|flag| probe::has_flag(*flag)) {
            let options = Options {
                flags: vec![flag],
                listener: flag == Flag::WaitKillableRecv,
                ..options()
            };
            let program = all_but("getcwd", Action::Errno(77));
            Prepared::program(&program, &options)
                .unwrap()
                .install()
                .unwrap();
        }
        assert_eq!(error_of_getcwd(), Some(77));
    });
}

#[test]
fn a_filter_for_the_other_byte_order_is_refused() {
    let other = match ByteOrder::native() {
        ByteOrder::Little => ByteOrder::Big,
        ByteOrder::Big => ByteOrder::Little,
    };
    let program = check(all_but("getcwd", Action::Log).insns().to_vec(), other).unwrap();
    let refused = Prepared::program(&program, &options()).unwrap_err();
    assert_eq!(refused, PrepareError::ByteOrder);
}

#[test]
fn a_command_that_cannot_be_executed_is_told_from_a_filter_that_cannot_be_loaded() {
    let spawn = |prepared: Prepared, program: &str| prepared.spawn(&mut Command::new(program));
    let missing = spawn(prepared("getcwd", Action::Log), "/nonexistent/command").unwrap_err();
    assert!(matches!(missing, SpawnError::Exec(error) if error.raw_os_error() == Some(2)));

    let denied = spawn(prepared("execve", Action::Errno(77)), "true").unwrap_err();
    assert!(matches!(denied, SpawnError::Exec(error) if error.raw_os_error() == Some(77)));

    let status = in_child(
        "a_command_that_cannot_be_executed_is_told_from_a_filter_that_cannot_be_loaded",
        || {
            prepared("seccomp", Action::Errno(77)).install().unwrap();
            let refused = Prepared::program(&all_but("getcwd", Action::Log), &options());
            assert_eq!(refused.unwrap_err(), PrepareError::NoFilters);
        },
    );
    assert!(status.success());
    assert!(fs::metadata("/proc/self").is_ok());
}
