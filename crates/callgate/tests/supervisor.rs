//! Supervisors: many listeners, handlers that fail, callers that die.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)] // A test throughout.

#[allow(dead_code)]
mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use callgate::notify::{Failure, Handler, HandlerError, Listener, Notification, Supervisor};
use common::caller_of;
use rustix::process::getpgid;

fn listener_of<T: Send + 'static>(
    body: impl FnOnce() -> T + Send + 'static,
) -> (Listener, thread::JoinHandle<T>) {
    let (fd, caller) = caller_of("getpgid", body);
    (Listener::new(fd).unwrap(), caller)
}

/// What `getpgid` returns, or the errno with which it fails.
fn ask() -> Result<i32, i32> {
    let group = getpgid(None).map(|group| group.as_raw_nonzero().get());
    group.map_err(|errno| errno.raw_os_error())
}

fn answering(value: i64) -> impl Fn(Notification) -> Result<(), HandlerError> + Send + Sync {
    move |notification| {
        let _ = notification.return_value(value)?;
        Ok(())
    }
}

#[test]
fn each_listener_has_its_own_handler_and_the_loop_ends_with_the_last() {
    for threads in [0, 3] {
        let supervisor = Supervisor::with_threads(threads).unwrap();
        let callers: Vec<_> = (1..=20_i32)
            .map(|value| {
                let (listener, caller) = listener_of(move || (0..10).all(|_| ask() == Ok(value)));
                supervisor.add(listener, answering(value.into())).unwrap();
                caller
            })
            .collect::<Vec<thread::JoinHandle<bool>>>();
        assert_eq!(supervisor.listeners(), 20);
        supervisor.serve().unwrap();
        assert_eq!(supervisor.listeners(), 0);
        assert!(callers.into_iter().all(|caller| caller.join().unwrap()));
    }
}

/// Fails in every way, in turn, and writes down what it hears.
#[derive(Default)]
struct Failing {
    calls: AtomicU64,
    heard: Mutex<Vec<String>>,
}

struct Shared(Arc<Failing>);

impl Handler for Shared {
    fn handle(&self, notification: Notification) -> Result<(), HandlerError> {
        match self.0.calls.fetch_add(1, Ordering::Relaxed) {
            0 => Err("an error".into()),
            1 => panic!("a panic"),
            2 => std::panic::panic_any(3),
            3 => Ok(notification.fail_with(0).map(|_| ())?),
            4 => Ok(()),
            _ => Ok(notification.return_value(5).map(|_| ())?),
        }
    }

    fn failed(&self, failure: Failure) {
        self.0.heard.lock().unwrap().push(failure.to_string());
        panic!("not here either");
    }

    fn ended(&self) {
        self.0.heard.lock().unwrap().push("ended".to_owned());
        panic!("nor here");
    }
}

#[test]
fn whatever_a_handler_does_the_caller_has_an_answer() {
    for threads in [0, 1] {
        let failing = Arc::new(Failing::default());
        let supervisor = Supervisor::with_threads(threads).unwrap();
        let (listener, caller) = listener_of(|| (0..6).map(|_| ask()).collect::<Vec<_>>());
        supervisor
            .add(listener, Shared(Arc::clone(&failing)))
            .unwrap();
        supervisor.serve().unwrap();
        let enosys = Err(38);
        let expected = [enosys, enosys, enosys, enosys, enosys, Ok(5)];
        assert_eq!(caller.join().unwrap(), expected);
        let heard = failing.heard.lock().unwrap();
        let expected = [
            "an error",
            "the handler panicked: a panic",
            "the handler panicked: with no message",
            "an errno is 1 to 4095, not 0",
            "ended",
        ];
        assert_eq!(*heard, expected);
    }
}

#[test]
fn when_all_threads_are_busy_callers_wait_in_the_kernel() {
    const THREADS: u64 = 2;
    let busy = Arc::new(AtomicU64::new(0));
    let most = Arc::new(AtomicU64::new(0));
    let (counted, highest) = (Arc::clone(&busy), Arc::clone(&most));
    let handler = move |notification: Notification| -> Result<(), HandlerError> {
        let now = counted.fetch_add(1, Ordering::SeqCst) + 1;
        highest.fetch_max(now, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(1));
        counted.fetch_sub(1, Ordering::SeqCst);
        let _ = notification.return_value(1)?;
        Ok(())
    };
    let (listener, callers) = listener_of(|| {
        let callers: Vec<_> = (0..30).map(|_| thread::spawn(ask)).collect();
        callers
            .into_iter()
            .all(|caller| caller.join().unwrap() == Ok(1))
    });
    let supervisor = Supervisor::with_threads(THREADS.try_into().unwrap()).unwrap();
    supervisor.add(listener, handler).unwrap();
    supervisor.serve().unwrap();
    assert!(callers.join().unwrap());
    assert_eq!(most.load(Ordering::SeqCst), THREADS);
}

#[test]
fn a_thousand_tasks_at_once_have_each_their_answer() {
    const TASKS: usize = 1000;
    let (listener, callers) = listener_of(|| {
        let together = Arc::new(Barrier::new(TASKS));
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let together = Arc::clone(&together);
                let small = thread::Builder::new().stack_size(64 << 10);
                let task = small.spawn(move || {
                    together.wait();
                    let me = rustix::process::Pid::as_raw(Some(rustix::thread::gettid()));
                    // Each is told its own id.
                    ask() == Ok(me)
                });
                task.unwrap()
            })
            .collect();
        tasks
            .into_iter()
            .filter_map(|task| task.join().ok())
            .filter(|right| *right)
            .count()
    });
    let supervisor = Supervisor::with_threads(2).unwrap();
    let handler = |notification: Notification| -> Result<(), HandlerError> {
        let pid = notification.pid();
        let _ = notification.return_value(pid.into())?;
        Ok(())
    };
    supervisor.add(listener, handler).unwrap();
    supervisor.serve().unwrap();
    assert_eq!(callers.join().unwrap(), TASKS);
}

#[test]
fn it_can_be_stopped_and_dropping_it_answers_who_waits() {
    let supervisor = Arc::new(Supervisor::new().unwrap());
    let looping = Arc::clone(&supervisor);
    let serving = thread::spawn(move || looping.serve_until_stopped().unwrap());
    let (listener, caller) = listener_of(ask);
    supervisor.add(listener, answering(7)).unwrap();
    assert_eq!(caller.join().unwrap(), Ok(7));
    supervisor.stop();
    serving.join().unwrap();
    let (listener, caller) = listener_of(ask);
    supervisor.add(listener, answering(7)).unwrap();
    supervisor.serve().unwrap();
    drop(supervisor);
    assert_eq!(caller.join().unwrap(), Err(38));
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Kills processes at whatever stage of the exchange they are, and looks for what is left. Alone in its process, since it counts
/// descriptors.
#[test]
fn a_caller_killed_at_any_stage_leaves_nothing_behind() {
    let test = "a_caller_killed_at_any_stage_leaves_nothing_behind";
    const CALLER: &str = "CALLGATE_TEST_CALLER";
    if std::env::var_os(CALLER).is_some() {
        loop {
            let _ = ask();
        }
    }
    let kills = std::env::var("CALLGATE_KILLS").ok();
    let kills: u64 = kills.map_or(100, |kills| kills.parse().unwrap());
    if kills < 1000 {
        eprintln!(
            "skipped: {} of 1000 kills: CALLGATE_KILLS=1000 makes all",
            1000 - kills
        );
    }
    common::passes_in_child(test, move || {
        let before = descriptors();
        let (listener, killer) = listener_of(move || {
            let mut seed = 1_u64;
            let mut random = move |below: u64| {
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) % below
            };
            let mut children = Vec::new();
            for _ in 0..kills {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(["--exact", test]).env(CALLER, "1");
                command.stdout(Stdio::null()).stderr(Stdio::null());
                children.push(command.spawn().unwrap());
                if children.len() == 4 {
                    // Some are not yet as far, most are within a call.
                    thread::sleep(Duration::from_micros(random(15_000)));
                    for mut child in children.drain(..) {
                        thread::sleep(Duration::from_micros(random(200)));
                        child.kill().unwrap();
                        child.wait().unwrap();
                    }
                }
            }
            children.into_iter().for_each(|mut child| {
                child.kill().unwrap();
                child.wait().unwrap();
            });
        });
        let supervisor = Supervisor::with_threads(2).unwrap();
        let answers = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&answers);
        let handler = move |notification: Notification| -> Result<(), HandlerError> {
            // In every way, each of which may come too late.
            match counted.fetch_add(1, Ordering::Relaxed) % 5 {
                0 => drop(notification.memory()),
                1 => drop(notification.add_fd(std::os::fd::AsFd::as_fd(&std::io::stdin()), true)?),
                2 => return Ok(notification.return_value(1).map(|_| ())?),
                3 => return Ok(notification.allow_unchecked().map(|_| ())?),
                _ => return Ok(notification.fail_with(1).map(|_| ())?),
            }
            Ok(())
        };
        supervisor.add(listener, handler).unwrap();
        supervisor.serve().unwrap();
        killer.join().unwrap();
        drop(supervisor);
        let answered = answers.load(Ordering::Relaxed);
        eprintln!("{kills} kills, {answered} notifications");
        assert!(answered > kills);
        assert_eq!(descriptors(), before);
        let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        assert_eq!(children.trim(), "");
    });
}

#[cfg(feature = "tokio")]
#[test]
fn a_tokio_task_serves_until_the_end() {
    use callgate::notify::AsyncListener;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (listener, caller) = listener_of(|| (0..50).all(|_| ask() == Ok(9)));
    let served = runtime.block_on(async {
        let listener = AsyncListener::new(listener).unwrap();
        let mut served = 0;
        while let Some(notification) = listener.receive().await.unwrap() {
            let _ = notification.return_value(9).unwrap();
            served += 1;
        }
        served
    });
    assert!(caller.join().unwrap());
    assert_eq!(served, 50);
}
