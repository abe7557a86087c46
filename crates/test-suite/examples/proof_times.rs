//! `cargo xtask proof-times`: what proofs take, beside the compilation that they belong to.
//!
//! Each row is measured in a process of its own, so that the peak of its memory is its own, too.

use std::fs;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::Duration;

use callgate::compiler::filter::compile;
use callgate::compiler::policy::{Policy, resolve};
use callgate::compiler::profile;
use callgate::compiler::proof::prove;
use callgate::{Arch, Context, Profile};
use callgate_test_suite::{case, growth};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

type Row = (&'static str, fn() -> Result<Policy, String>);

/// What is measured.
const ROWS: [Row; 9] = [
    ("default, x86_64 + x86 + x32", || {
        of_profile(profile::DEFAULT.as_bytes())
    }),
    ("Moby's default, x86_64 + x86 + x32", || {
        of_profile(&read("moby-default")?)
    }),
    ("Moby's default, x86_64", || {
        let json = read("moby-default")?;
        let mut json: Value = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
        json["archMap"] = Value::Null;
        of_profile(json.to_string().as_bytes())
    }),
    ("containers-common's default, x86_64 + x86 + x32", || {
        of_profile(&read("containers-common-default")?)
    }),
    ("400 values of ioctl's second argument", || {
        Ok(growth::values(400))
    }),
    ("200 ranges of 64 bits", || Ok(growth::ranges(200))),
    ("64 masks", || Ok(growth::masks(64))),
    (
        "100 rules over pairs of six arguments: values and masks",
        || Ok(growth::pairs(Arch::X86_64, 100, 2, 0xca11)),
    ),
    ("100 rules over pairs of six arguments: all tests", || {
        Ok(growth::pairs(Arch::X86_64, 100, 7, 0xca11))
    }),
];

fn main() -> ExitCode {
    let row = std::env::args()
        .nth(1)
        .and_then(|row| row.parse::<usize>().ok());
    if let Some((name, policy)) = row.and_then(|row| ROWS.get(row)) {
        match policy() {
            Ok(policy) => println!("| {name} {}", measured(&policy)),
            Err(error) => println!("skipped: {name}: {error}"),
        }
        return ExitCode::SUCCESS;
    }
    println!(
        "Medians; compile is lower, emit and check. Peak is the process's, of which some 3 MiB are there at first.\n"
    );
    println!(
        "| policy | instructions | compile, µs | proof, µs | proof ÷ compile | nodes | peak, MiB |"
    );
    println!("|---|---|---|---|---|---|---|");
    for row in 0..ROWS.len() {
        let this = std::env::current_exe();
        let ran = this.and_then(|this| Command::new(this).arg(row.to_string()).status());
        if !ran.is_ok_and(|status| status.success()) {
            println!("row {row} could not be measured");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn read(name: &str) -> Result<Vec<u8>, String> {
    let path = case::workspace().join(format!("../shared/data/profiles/{name}.json"));
    fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
}

fn of_profile(json: &[u8]) -> Result<Policy, String> {
    let context = Context::new(Arch::X86_64, "6.18".parse().map_err(|_| "no version")?);
    let profile = Profile::parse(json).map_err(|error| error.to_string())?;
    let resolved = resolve(&profile, &context).map_err(|error| error.to_string())?;
    Ok(resolved.policy)
}

fn measured(policy: &Policy) -> String {
    let program = match compile(policy) {
        Ok(program) => program,
        Err(error) => return format!("| {error} | | | | | |"),
    };
    let proof = prove(policy, &program);
    let peak = peak_memory().map_or("–".to_owned(), |mib| format!("{mib:.1}"));
    let compiling = median(|| {
        let _ = black_box(compile(black_box(policy)));
    });
    let proving = median(|| {
        let _ = black_box(prove(black_box(policy), black_box(&program)));
    });
    let nodes = match proof {
        Ok(proof) => proof
            .nodes
            .map_or("rule by rule".to_owned(), |nodes| nodes.to_string()),
        Err(error) => error.to_string(),
    };
    format!(
        "| {} | {:.0} | {:.0} | {:.2} | {nodes} | {peak} |",
        program.insns().len(),
        compiling.as_secs_f64() * 1e6,
        proving.as_secs_f64() * 1e6,
        proving.as_secs_f64() / compiling.as_secs_f64(),
    )
}

/// Of 101 runs, or as many as take two seconds, but at least three.
fn median(mut work: impl FnMut()) -> Duration {
    let start = processor_time();
    let mut times = Vec::new();
    while times.len() < 3 || times.len() < 101 && processor_time() - start < Duration::from_secs(2)
    {
        let start = processor_time();
        work();
        times.push(processor_time() - start);
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// What this process has had of a processor, so that others which are busy at the time don't count.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The most memory that this process has had, in MiB, as the kernel counts it (`VmHWM` in proc(5)).
fn peak_memory() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
