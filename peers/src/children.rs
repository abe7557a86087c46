//! Measurements that need a process of their own, since a filter stays for good once it is loaded.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use callgate::ByteOrder;
use callgate::Prepared;
use callgate::compiler::bpf::{Program, encode};
use callgate::load::Options;
use serde::{Deserialize, Serialize};

use crate::process::{Ended, run};
use crate::sys;

/// The name of the hidden subcommand that a child is started with.
pub(crate) const CHILD: &str = "measure-child";

/// Calls whose cost is measured, as (name, number, arguments): one that the kernel answers from its cache, and three
/// that run the filter and do next to nothing after it.
pub(crate) const CALLS: [(&str, libc::c_long, [libc::c_long; 3]); 4] = [
    ("getppid: always allowed", libc::SYS_getppid, [0; 3]),
    (
        "personality(0xffffffff): allowed by its argument",
        libc::SYS_personality,
        [0xffff_ffff, 0, 0],
    ),
    (
        "socket(1000, 0, 0): allowed by its argument",
        libc::SYS_socket,
        [1000, 0, 0],
    ),
    ("clone3(0, 0): ENOSYS", libc::SYS_clone3, [0; 3]),
];

/// What one child found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// How long the kernel took to load the filter.
    pub(crate) load: Duration,
    /// By how many nanoseconds each of [`CALLS`] is slower with the filter than without.
    pub(crate) calls: Vec<f64>,
}

/// Loads a program in a child, and there makes each of [`CALLS`] so many times.
pub(crate) fn measure(program: &Program, times: u32) -> Result<Measured> {
    match run(&[CHILD, &times.to_string()], &encode::encode(program))? {
        Ended::Output(json) => Ok(serde_json::from_slice(&json)?),
        ended => bail!("a measuring child: {ended:?}"),
    }
}

/// The body of the child.
pub(crate) fn child(times: u32) -> Result<()> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let program = encode::decode(&bytes, ByteOrder::native())?;
    let options = Options::default();
    let prepared = Prepared::program(&program, &options)?;
    rustix::thread::set_no_new_privs(true)?;
    let without = CALLS.map(|(_, number, args)| cost(number, args, times));
    let start = Instant::now();
    prepared
        .install()
        .ok()
        .context("the kernel refused the filter")?;
    let load = start.elapsed();
    let with = CALLS.map(|(_, number, args)| cost(number, args, times));
    let calls = with
        .iter()
        .zip(without)
        .map(|(with, without)| with - without)
        .collect();
    let json = serde_json::to_vec(&Measured { load, calls })?;
    std::io::stdout().write_all(&json)?;
    Ok(())
}

/// Nanoseconds for one call: the least of eight runs, as whatever disturbs a run makes it longer.
fn cost(number: libc::c_long, args: [libc::c_long; 3], times: u32) -> f64 {
    let run = || {
        let start = Instant::now();
        for _ in 0..times {
            sys::system_call(number, args);
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(times.max(1))
    };
    (0..8).map(|_| run()).fold(f64::INFINITY, f64::min)
}
