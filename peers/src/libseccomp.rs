//! Builds a filter with libseccomp as OCI runtimes do, in a process of its own.
//!
//! The default action, the architectures, then a rule for each name and condition list of each entry: entries
//! whose action is the default one are left out, and so are names that the library doesn't know. The library
//! runs in a child of this program, under a time limit, so that whatever becomes of it is an [`Outcome`].

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use callgate::compiler::bpf::{Program, encode};
use callgate::compiler::{Arch, ByteOrder};

use crate::process::{self, Ended, run};
use crate::rules::{Arg, Rules};
use crate::sys::{self, Attribute, Comparison, Context, Failed};

/// The name of the hidden subcommand that a child is started with.
pub(crate) const CHILD: &str = "libseccomp-child";

/// In which form the library puts its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Optimize {
    /// Level 1, the library's default: a list by priority.
    List,
    /// Level 2: a binary tree of numbers.
    Tree,
}

impl Optimize {
    /// Both.
    pub(crate) const ALL: [Optimize; 2] = [Optimize::List, Optimize::Tree];

    /// The library's number for it.
    pub(crate) fn level(self) -> u32 {
        match self {
            Optimize::List => 1,
            Optimize::Tree => 2,
        }
    }

    fn of_level(level: u32) -> Result<Optimize> {
        let found = Optimize::ALL.into_iter().find(|o| o.level() == level);
        found.context("there are levels 1 and 2")
    }
}

/// What came of a build in a child.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// A program that the kernel would take.
    Built(Program),
    /// The library returned an error: which.
    Refused(String),
    /// The child was still running at the time limit.
    TimedOut,
    /// The child died, or wrote what is no program: how.
    Broken(String),
}

/// Builds the filter of a profile in a child.
pub(crate) fn build(rules: &Rules, optimize: Optimize) -> Result<Outcome> {
    let byte_order = byte_order(rules)?;
    let level = optimize.level().to_string();
    Ok(match run(&[CHILD, "build", &level], &rules.to_json()?)? {
        Ended::Output(bytes) => match encode::decode(&bytes, byte_order) {
            Ok(program) => Outcome::Built(program),
            Err(error) => Outcome::Broken(error.to_string()),
        },
        Ended::Refused(why) => Outcome::Refused(why),
        Ended::TimedOut => Outcome::TimedOut,
        Ended::Broken(how) => Outcome::Broken(how),
    })
}

/// How long builds of a profile take, from the resolved rules to the exported program: one time each.
pub(crate) fn time_builds(
    rules: &Rules,
    optimize: Optimize,
    times: usize,
) -> Result<Vec<Duration>> {
    let (level, times) = (optimize.level().to_string(), times.to_string());
    match run(&[CHILD, "time", &level, &times], &rules.to_json()?)? {
        Ended::Output(json) => Ok(serde_json::from_slice(&json)?),
        ended => bail!("libseccomp at level {level}: {ended:?}"),
    }
}

/// The number that the library has for a name on an architecture.
pub(crate) fn number(arch: Arch, name: &str) -> Option<u32> {
    sys::number(token(arch), name)
}

/// The body of the child: reads a profile from standard input, writes what it was asked for.
pub(crate) fn child(request: &[String]) -> Result<()> {
    let mut json = Vec::new();
    std::io::stdin().read_to_end(&mut json)?;
    let rules: Rules = serde_json::from_slice(&json)?;
    let request: Vec<&str> = request.iter().map(String::as_str).collect();
    let output = match request[..] {
        ["build", level] => export(&rules, Optimize::of_level(level.parse()?)?),
        ["time", level, times] => {
            let (optimize, times) = (Optimize::of_level(level.parse()?)?, times.parse()?);
            time_exports(&rules, optimize, times)
        }
        _ => bail!("unknown request {request:?}"),
    };
    match output {
        Ok(bytes) => std::io::stdout().write_all(&bytes)?,
        Err(error) if error.is::<Failed>() => {
            eprint!("{error}");
            std::process::exit(process::REFUSED);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn time_exports(rules: &Rules, optimize: Optimize, times: usize) -> Result<Vec<u8>> {
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let start = Instant::now();
        export(rules, optimize)?;
        taken.push(start.elapsed());
    }
    Ok(serde_json::to_vec(&taken)?)
}

/// The program's bytes, made here and now.
fn export(rules: &Rules, optimize: Optimize) -> Result<Vec<u8>> {
    let mut context = Context::new(rules.default()?.to_ret())?;
    context.set(Attribute::NoNewPrivileges, 0)?;
    context.set(Attribute::Optimize, optimize.level())?;
    add_archs(&mut context, &rules.archs()?)?;
    add_rules(&mut context, rules)?;
    let mut file = File::from(rustix::fs::memfd_create(
        "filter",
        rustix::fs::MemfdFlags::CLOEXEC,
    )?);
    context.export(file.as_fd())?;
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A new context has the architecture of this machine, which stays only if it is in the set.
fn add_archs(context: &mut Context, archs: &[Arch]) -> Result<(), Failed> {
    let native = sys::native_arch();
    let tokens: Vec<u32> = archs.iter().map(|arch| token(*arch)).collect();
    if !tokens.contains(&native) {
        context.remove_arch(native)?;
    }
    for token in tokens.into_iter().filter(|token| *token != native) {
        context.add_arch(token)?;
    }
    Ok(())
}

fn add_rules(context: &mut Context, rules: &Rules) -> Result<()> {
    let default = rules.default()?;
    for entry in &rules.syscalls {
        let action = entry.action()?;
        if action == default {
            continue;
        }
        let alternatives: Vec<Vec<Comparison>> = entry
            .alternatives()
            .into_iter()
            .map(|args| args.iter().map(comparison).collect())
            .collect();
        for syscall in entry.names.iter().filter_map(|name| sys::resolve(name)) {
            for comparisons in &alternatives {
                context.add_rule(action.to_ret(), syscall, comparisons)?;
            }
        }
    }
    Ok(())
}

fn comparison(arg: &Arg) -> Comparison {
    Comparison {
        arg: arg.index.into(),
        op: arg.op as u32,
        datum_a: arg.value,
        datum_b: arg.value_two,
    }
}

/// The library's name of an architecture: its audit value, but for x32, which has one of its own.
fn token(arch: Arch) -> u32 {
    match arch {
        Arch::X32 => Arch::X86_64.audit() & !0x8000_0000,
        other => other.audit(),
    }
}

fn byte_order(rules: &Rules) -> Result<ByteOrder> {
    let archs = rules.archs()?;
    let native = archs.first().context("a profile names its architecture")?;
    Ok(native.byte_order())
}
