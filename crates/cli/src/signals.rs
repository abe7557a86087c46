//! Signals to a command that stands in for another one: they are meant for that.

use std::fs;
use std::io;
use std::thread;

use callgate::process::send_signal;
use signal_hook::consts::signal::{
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;

use crate::failure::Failure;

/// Signals that came from now on; those that were ignored still are, as under `nohup`.
pub(crate) struct Forwarder(SignalsInfo<WithOrigin>);

const FORWARDED: [i32; 9] = [
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
];

impl Forwarder {
    pub(crate) fn new() -> Result<Forwarder, Failure> {
        let ignored = ignored().unwrap_or(0);
        let signals = FORWARDED
            .into_iter()
            .filter(|signal| ignored >> (signal - 1) & 1 == 0);
        SignalsInfo::<WithOrigin>::new(signals)
            .map(Forwarder)
            .map_err(|error| Failure::new(format!("signals: {error}")))
    }

    /// Passes on to a process what came and comes. What the terminal sends reaches it anyway.
    pub(crate) fn to(mut self, pid: u32) {
        thread::spawn(move || {
            for origin in self.0.forever() {
                if origin.process.is_some() {
                    // That it has ended is no matter.
                    let _ = send_signal(pid, origin.signal);
                }
            }
        });
    }
}

/// The signals that this process ignores, a bit each from 1 on (`proc_pid_status(5)`).
fn ignored() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}
