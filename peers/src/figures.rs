//! Prints what filters cost, callgate's beside the others' in the same run, as Markdown.
//!
//! Sizes and paths are counted, and are the same on every machine. Times are medians of interleaved rounds, and what
//! counts of them is the ratio of a round to callgate's in the same round.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use callgate::compiler::arch::X32_BIT;
use callgate::compiler::bpf::Program;
use callgate::compiler::{profile, syscalls};
use callgate::{Arch, Call, Context};

use crate::children::{self, Measured};
use crate::libseccomp::{self, Optimize, Outcome};
use crate::rules::Rules;
use crate::{ours, real, seccompiler, sys};

/// Options of the subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Do everything once, quickly: the times mean nothing then
    #[arg(long)]
    smoke: bool,
}

/// Prints all tables.
pub(crate) fn run(options: &Options) -> Result<()> {
    let rounds = if options.smoke {
        Rounds::SMOKE
    } else {
        Rounds::FULL
    };
    println!(
        "# callgate beside libseccomp {} and seccompiler 0.5\n",
        sys::version()
    );
    let subjects = subjects()?;
    sizes(&subjects)?;
    for subject in subjects
        .iter()
        .filter(|s| s.rules.archs().is_ok_and(|a| a[0] == Arch::X86_64))
    {
        println!("## {}\n", subject.name);
        let programs = programs(subject)?;
        paths(&subject.rules, &programs)?;
        build_times(subject, &rounds)?;
        live(&programs, &rounds)?;
    }
    Ok(())
}

/// How often things are done.
struct Rounds {
    builds: usize,
    loads: usize,
    calls: u32,
}

impl Rounds {
    const FULL: Rounds = Rounds {
        builds: 31,
        loads: 121,
        calls: 20_000,
    };
    const SMOKE: Rounds = Rounds {
        builds: 1,
        loads: 1,
        calls: 10,
    };
}

/// A profile for some architectures.
struct Subject {
    name: String,
    /// The bytes that callgate begins with.
    json: Vec<u8>,
    context: Context,
    /// What the others begin with.
    rules: Rules,
}

/// A program, and whose it is.
type Named = (&'static str, Program);

const CALLGATE: &str = "callgate";

/// The first of them is callgate's.
fn programs(subject: &Subject) -> Result<Vec<Named>> {
    let filter = ours::compile_json(&subject.json, &subject.context)?;
    let mut programs = vec![(CALLGATE, filter.program().clone())];
    for optimize in Optimize::ALL {
        match libseccomp::build(&subject.rules, optimize)? {
            Outcome::Built(program) => programs.push((name(optimize), program)),
            outcome => bail!("{}: {}: {outcome:?}", subject.name, name(optimize)),
        }
    }
    if subject.rules.archs()?.len() == 1 {
        programs
            .extend(seccompiler::build(&subject.rules)?.map(|program| ("seccompiler", program)));
    }
    Ok(programs)
}

fn name(optimize: Optimize) -> &'static str {
    match optimize {
        Optimize::List => "libseccomp, optimize 1",
        Optimize::Tree => "libseccomp, optimize 2",
    }
}

fn subjects() -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    let builtin = ("callgate's default", profile::DEFAULT.as_bytes().to_vec());
    let real = real::profiles()
        .into_iter()
        .map(|(file, json)| (file.trim_end_matches(".json"), json));
    for (file, json) in real.chain([builtin]) {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let rules = ours::resolve(&json, &ours::context(arch))?;
            for alone in [false, true] {
                subjects.push(subject(file, &json, &rules, alone)?);
            }
        }
    }
    Ok(subjects)
}

/// A profile with all of its architectures, or with the native one alone.
fn subject(file: &str, json: &[u8], rules: &Rules, alone: bool) -> Result<Subject> {
    let archs = rules.archs()?;
    let native = *archs.first().context("no architecture")?;
    let context = ours::context(native);
    let mut rules = rules.clone();
    if !alone {
        let archs: Vec<&str> = archs.iter().map(|arch| arch.name()).collect();
        let name = format!("{file}, {}", archs.join(" + "));
        return Ok(Subject {
            name,
            json: json.to_vec(),
            context,
            rules,
        });
    }
    rules.architectures.truncate(1);
    let name = format!("{file}, {native} alone");
    Ok(Subject {
        name,
        json: rules.to_json()?,
        context,
        rules,
    })
}

fn sizes(subjects: &[Subject]) -> Result<()> {
    println!("## Instructions\n");
    println!(
        "| profile | callgate | libseccomp 1 | libseccomp 2 | seccompiler |\n|---|---|---|---|---|"
    );
    for subject in subjects {
        let lengths: Vec<usize> = programs(subject)?
            .iter()
            .map(|(_, p)| p.insns().len())
            .collect();
        println!(
            "| {} |{}",
            subject.name,
            ratios(&lengths.iter().map(|l| *l as f64).collect::<Vec<_>>(), 4)
        );
    }
    println!();
    Ok(())
}

/// A row of figures, each beside its ratio to the first.
fn ratios(figures: &[f64], columns: usize) -> String {
    let first = figures.first().copied().unwrap_or(f64::NAN);
    let mut row = format!(" {} |", short(first));
    for figure in figures.iter().skip(1) {
        row += &format!(" {} (× {:.2}) |", short(*figure), figure / first);
    }
    for _ in figures.len()..columns {
        row += " – |";
    }
    row
}

fn short(figure: f64) -> String {
    if figure.fract() == 0.0 {
        format!("{figure}")
    } else {
        format!("{figure:.1}")
    }
}

/// Calls that the kernel can't answer from its cache.
fn samples() -> Vec<(&'static str, Call)> {
    let number = |arch, name| syscalls::number(arch, name).unwrap_or(u32::MAX);
    let call = |arch, name, arg: u64| Call::new(arch, number(arch, name), [arg, 0, 0, 0, 0, 0]);
    let [native, x32, x86] = [Arch::X86_64, Arch::X32, Arch::X86];
    vec![
        ("clone(SIGCHLD)", call(native, "clone", 17)),
        ("clone(CLONE_NEWUSER)", call(native, "clone", 0x1000_0000)),
        ("clone3", call(native, "clone3", 0)),
        ("socket(AF_INET)", call(native, "socket", 2)),
        ("socket(AF_VSOCK)", call(native, "socket", 40)),
        ("personality(PER_LINUX)", call(native, "personality", 0)),
        (
            "personality(PER_LINUX32 \\| ADDR_NO_RANDOMIZE)",
            call(native, "personality", 0x4_0008),
        ),
        ("mount", call(native, "mount", 0)),
        ("number 1000", Call::new(native, 1000, [0; 6])),
        ("x32 read", call(x32, "read", 0)),
        ("x32 number 1000", Call::new(x32, X32_BIT | 1000, [0; 6])),
        ("x86 clone(SIGCHLD)", call(x86, "clone", 17)),
        ("x86 number 1000", Call::new(x86, 1000, [0; 6])),
    ]
}

/// How many instructions are executed.
fn paths(rules: &Rules, programs: &[Named]) -> Result<()> {
    let archs = rules.archs()?;
    let executed = |call: &Call| -> Vec<usize> {
        programs
            .iter()
            .map(|(_, program)| program.simulate(call).executed)
            .collect()
    };
    println!("Instructions executed:\n");
    header("call", programs);
    let of_set =
        |call: &Call| Arch::of_call(call.audit, call.nr).is_some_and(|a| archs.contains(&a));
    let samples: Vec<_> = samples()
        .into_iter()
        .filter(|(_, call)| of_set(call))
        .collect();
    let mut all = Vec::new();
    for (name, call) in &samples {
        let figures = floats(&executed(call));
        println!("| {name} |{}", ratios(&figures, 0));
        all.push(figures);
    }
    let column = |i: usize| all.iter().map(move |row| row[i]);
    let columns = 0..programs.len();
    let mean = columns
        .clone()
        .map(|i| column(i).sum::<f64>() / all.len() as f64);
    println!(
        "| **mean of these** |{}",
        ratios(&mean.collect::<Vec<_>>(), 0)
    );
    let worst = columns.map(|i| column(i).fold(0.0, f64::max));
    println!(
        "| **worst of these** |{}",
        ratios(&worst.collect::<Vec<_>>(), 0)
    );
    let numbers: Vec<_> = (0..470)
        .map(|nr| executed(&Call::new(archs[0], nr, [0; 6])))
        .collect();
    let mean =
        (0..programs.len()).map(|i| numbers.iter().map(|row| row[i]).sum::<usize>() as f64 / 470.0);
    println!(
        "| mean over all native numbers |{}",
        ratios(&mean.collect::<Vec<_>>(), 0)
    );
    println!();
    Ok(())
}

fn floats(figures: &[usize]) -> Vec<f64> {
    figures.iter().map(|figure| *figure as f64).collect()
}

fn header(what: &str, programs: &[Named]) {
    let names: Vec<&str> = programs.iter().map(|(name, _)| *name).collect();
    println!(
        "| {what} | {} |\n|---|{}",
        names.join(" | "),
        "---|".repeat(names.len())
    );
}

/// Profile bytes → program; for the others from the resolved rules to the program.
fn build_times(subject: &Subject, rounds: &Rounds) -> Result<()> {
    let mut times: Vec<Vec<f64>> = Vec::new();
    let with_seccompiler = subject.rules.archs()?.len() == 1;
    for _ in 0..rounds.builds {
        let mut round = vec![micros(time(|| {
            black_box(ours::compile_json(
                black_box(&subject.json),
                &subject.context,
            )?);
            Ok(())
        })?)];
        for optimize in Optimize::ALL {
            let taken = libseccomp::time_builds(&subject.rules, optimize, 3)?;
            round.push(micros(taken.iter().copied().min().unwrap_or_default()));
        }
        if with_seccompiler {
            round.push(micros(time(|| {
                black_box(seccompiler::build(black_box(&subject.rules))?);
                Ok(())
            })?));
        }
        times.push(round);
    }
    println!(
        "Build, in µs: callgate from the bytes of the profile, the others from its resolved rules.\n"
    );
    let names = [
        CALLGATE,
        name(Optimize::List),
        name(Optimize::Tree),
        "seccompiler",
    ];
    let count = times.first().map_or(0, Vec::len);
    println!(
        "| | {} |\n|---|{}",
        names[..count].join(" | "),
        "---|".repeat(count)
    );
    println!("| build |{}\n", paired(&times));
    Ok(())
}

/// The least of three, as for the others.
fn time(mut work: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        work()?;
        least = least.min(start.elapsed());
    }
    Ok(least)
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// What the kernel takes to load a program, and what calls take under it.
fn live(programs: &[Named], rounds: &Rounds) -> Result<()> {
    let mut loads = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..rounds.loads {
        let round = round(programs, 0)?;
        loads.push(round.iter().map(|m| micros(m.load)).collect::<Vec<_>>());
    }
    for _ in 0..rounds.loads / 4 + 1 {
        calls.push(round(programs, rounds.calls)?);
    }
    println!("Load, in µs, and what a call costs more than without a filter, in ns:\n");
    header("", programs);
    println!("| load |{}", paired(&loads));
    for (i, (name, _, _)) in children::CALLS.iter().enumerate() {
        let rounds: Vec<Vec<f64>> = calls
            .iter()
            .map(|r| r.iter().map(|m| m.calls[i]).collect())
            .collect();
        println!("| {name} |{}", paired(&rounds));
    }
    println!();
    Ok(())
}

/// One child for each program.
fn round(programs: &[Named], calls: u32) -> Result<Vec<Measured>> {
    programs
        .iter()
        .map(|(_, program)| children::measure(program, calls))
        .collect()
}

/// A row of medians over rounds, each beside the median of the rounds' ratios to the first.
fn paired(rounds: &[Vec<f64>]) -> String {
    let columns = rounds.first().map_or(0, Vec::len);
    let mut row = String::new();
    for i in 0..columns {
        let middle = median(rounds.iter().map(|round| round[i]).collect());
        let ratio = median(rounds.iter().map(|round| round[i] / round[0]).collect());
        row += &if i == 0 {
            format!(" {middle:.1} |")
        } else {
            format!(" {middle:.1} (× {ratio:.2}) |")
        };
    }
    row
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
