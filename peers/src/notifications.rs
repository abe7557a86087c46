//! How many notifications a second are answered on one CPU, beside the least that any supervisor can do: two ioctls each.

use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use callgate::compiler::filter::compile;
use callgate::compiler::policy::{PolicyBuilder, RuleId};
use callgate::compiler::syscalls;
use callgate::load::Options as LoadOptions;
use callgate::notify::{HandlerError, Listener, Notification, Supervisor};
use callgate::{Action, Prepared, probe};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// What to measure.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Notifications in a measurement
    #[arg(long, default_value_t = 50_000)]
    calls: u32,

    /// Measurements of each way, in turn; their median counts
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

/// How they are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The two ioctls and nothing else, as a C program would have them.
    Bare,
    Listener,
    Supervisor,
}

const WAYS: [(Way, &str); 3] = [
    (Way::Bare, "two ioctls"),
    (Way::Listener, "`Listener::receive`"),
    (Way::Supervisor, "`Supervisor::serve`"),
];

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(probe::has_listener(), "this kernel has no listeners");
    let all = sched_getaffinity(None)?;
    let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu));
    let mut one = CpuSet::new();
    one.set(first.context("no CPU")?);
    // The threads that are started from here on inherit it.
    sched_setaffinity(None, &one)?;
    let mut times = [const { Vec::new() }; WAYS.len()];
    for _ in 0..options.rounds {
        for ((way, _), times) in WAYS.iter().zip(&mut times) {
            times.push(measure(*way, options.calls)?);
        }
    }
    let medians = times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64() / f64::from(options.calls)
    });
    println!("| answered by, on one CPU | a second | time, beside two ioctls |");
    println!("|---|---|---|");
    for ((_, name), median) in WAYS.iter().zip(medians) {
        println!(
            "| {name} | {:.0} | × {:.2} |",
            1.0 / median,
            median / medians[0]
        );
    }
    Ok(())
}

/// The time that a thread takes for so many calls that are answered in some way.
fn measure(way: Way, calls: u32) -> anyhow::Result<Duration> {
    let prepared = prepared()?;
    let (sender, receiver) = mpsc::sync_channel(1);
    let caller = thread::spawn(move || -> anyhow::Result<Duration> {
        sender.send(prepared.install()?.context("no listener")?)?;
        let begun = Instant::now();
        for _ in 0..calls {
            let group = rustix::process::getpgid(None).map(|group| group.as_raw_nonzero().get());
            ensure!(group == Ok(7), "getpgid: {group:?}");
        }
        Ok(begun.elapsed())
    });
    let listener = Listener::new(receiver.recv()?)?;
    listener.wake_synchronously();
    match way {
        Way::Bare => answer_barely(&listener, calls)?,
        Way::Listener => {
            while let Some(notification) = listener.receive()? {
                let _ = notification.return_value(7)?;
            }
        }
        Way::Supervisor => {
            let supervisor = Supervisor::new()?;
            let handler = |notification: Notification| -> Result<(), HandlerError> {
                let _ = notification.return_value(7)?;
                Ok(())
            };
            supervisor.add(listener, handler)?;
            supervisor.serve()?;
        }
    }
    match caller.join() {
        Ok(taken) => taken,
        Err(_) => bail!("the caller panicked"),
    }
}

fn answer_barely(listener: &Listener, calls: u32) -> anyhow::Result<()> {
    let fd = listener.as_fd().as_raw_fd();
    for _ in 0..calls {
        // SAFETY: a structure of integers, for which zeroes are a value.
        let mut notification: libc::seccomp_notif = unsafe { mem::zeroed() };
        // SAFETY: the kernel writes a structure of this layout, into a local.
        let received =
            unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification) };
        ensure!(received == 0, "SECCOMP_IOCTL_NOTIF_RECV");
        let mut response = libc::seccomp_notif_resp {
            id: notification.id,
            val: 7,
            error: 0,
            flags: 0,
        };
        // SAFETY: the kernel reads a structure of this layout, from a local.
        let sent = unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response) };
        ensure!(sent == 0, "SECCOMP_IOCTL_NOTIF_SEND");
    }
    Ok(())
}

/// A filter that notifies of `getpgid` alone.
fn prepared() -> anyhow::Result<Prepared> {
    let arch = probe::native_arch().context("an unknown architecture")?;
    let getpgid = syscalls::number(arch, "getpgid").context("no getpgid")?;
    let mut builder = PolicyBuilder::new(arch, Action::Allow);
    builder.rule(arch, getpgid, RuleId(0), Action::Notify, &[])?;
    let options = LoadOptions {
        listener: true,
        no_new_privs: true,
        ..LoadOptions::default()
    };
    Ok(Prepared::program(&compile(&builder.build())?, &options)?)
}
