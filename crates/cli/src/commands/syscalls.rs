//! `callgate syscalls`: the tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use callgate::Arch;
use callgate::compiler::{signatures, syscalls};
use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::output;

/// Print system calls, their numbers on each ABI, and their arguments
#[derive(Args)]
#[command(after_help = "Examples:
  callgate syscalls clone3
  callgate syscalls 'sched_*'
  callgate syscalls --abi x86_64            the whole table, by number
  callgate syscalls --abi aarch64 221       which call has that number

Exit status: 0; 1 if nothing fits; 2 on a mistake.")]
pub(crate) struct Options {
    /// Name, part of a name, name with `*` for anything, or number
    pattern: Option<String>,

    /// This ABI alone, by number
    #[arg(long, value_name = "NAME")]
    abi: Option<Arch>,

    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let calls = found(options);
    if options.json {
        output::print(&format!("{:#}\n", to_json(&calls)))?;
        return Ok(ExitCode::from(u8::from(calls.is_empty())));
    }
    if calls.is_empty() {
        let pattern = options.pattern.as_deref().unwrap_or("");
        let similar = syscalls::similar(pattern).map(|name| format!(": did you mean `{name}`?"));
        return Err(Failure::new(format!(
            "no system call fits `{pattern}`{}",
            similar.unwrap_or_default()
        ))
        .with_status(1));
    }
    let mut text = String::new();
    for Found { name, numbers } in &calls {
        let _ = match options.abi {
            Some(_) => writeln!(text, "{:>10}  {name}", numbers[0].1),
            None => writeln!(text, "{name:<28}  {}", grouped(numbers)),
        };
        if options.abi.is_none() && calls.len() <= FEW {
            if let Some((major, minor)) = syscalls::since(name) {
                let _ = writeln!(text, "    since Linux {major}.{minor}");
            }
            let arguments = signatures::arguments(Arch::X86_64, name);
            let names: Vec<&str> = arguments.iter().map(|argument| argument.name).collect();
            if !names.is_empty() {
                let _ = writeln!(text, "    {name}({})", names.join(", "));
            }
        }
    }
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Of more calls than this the arguments would be in the way.
const FEW: usize = 8;

/// A call, and its numbers.
struct Found {
    name: &'static str,
    numbers: Vec<(Arch, u32)>,
}

fn found(options: &Options) -> Vec<Found> {
    let archs = options
        .abi
        .map_or_else(|| Arch::ALL.to_vec(), |arch| vec![arch]);
    let mut calls: Vec<Found> = syscalls::names()
        .map(|name| {
            let numbers = archs
                .iter()
                .filter_map(|arch| Some((*arch, syscalls::number(*arch, name)?)));
            Found {
                name,
                numbers: numbers.collect(),
            }
        })
        .filter(|found| !found.numbers.is_empty())
        .filter(|found| {
            options
                .pattern
                .as_deref()
                .is_none_or(|pattern| fits(found, pattern))
        })
        .collect();
    if options.abi.is_some() {
        calls.sort_by_key(|found| found.numbers[0].1);
    }
    calls
}

fn fits(found: &Found, pattern: &str) -> bool {
    let hex = pattern
        .strip_prefix("0x")
        .map(|hex| u32::from_str_radix(hex, 16));
    if let Ok(number) = hex.unwrap_or_else(|| pattern.parse()) {
        return found.numbers.iter().any(|(_, nr)| *nr == number);
    }
    if !pattern.contains('*') {
        return found.name.contains(pattern);
    }
    let mut rest = found.name;
    let parts: Vec<&str> = pattern.split('*').collect();
    let (first, last) = (parts[0], parts[parts.len() - 1]);
    if !rest.starts_with(first) || !rest.ends_with(last) || rest.len() < first.len() + last.len() {
        return false;
    }
    rest = &rest[first.len()..rest.len() - last.len()];
    parts[1..parts.len() - 1]
        .iter()
        .all(|part| match rest.split_once(part) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
}

/// `435 x86 x86_64 …; 4435 mips mipsel`
fn grouped(numbers: &[(Arch, u32)]) -> String {
    let mut groups: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for (arch, nr) in numbers {
        groups.entry(*nr).or_default().push(arch.name());
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(nr, archs)| (usize::MAX - archs.len(), *nr));
    let texts = groups.into_iter().map(|(nr, archs)| match nr {
        0..0x1_0000 => format!("{nr} {}", archs.join(" ")),
        _ => format!("{nr:#x} {}", archs.join(" ")),
    });
    texts.collect::<Vec<_>>().join("; ")
}

fn to_json(calls: &[Found]) -> serde_json::Value {
    let calls = calls.iter().map(|found| {
        let numbers = found
            .numbers
            .iter()
            .map(|(arch, nr)| (arch.name().to_owned(), json!(nr)));
        // On a 64-bit ABI, where none is split over two registers.
        let arguments = signatures::arguments(Arch::X86_64, found.name);
        let arguments = arguments.iter().map(
            |argument| json!({ "name": argument.name, "bits": argument.width.mask().count_ones() }),
        );
        json!({
            "name": found.name,
            "numbers": numbers.collect::<serde_json::Map<_, _>>(),
            "since": syscalls::since(found.name).map(|(major, minor)| format!("{major}.{minor}")),
            "arguments": arguments.collect::<Vec<_>>(),
        })
    });
    json!({
        "schema": "callgate.syscalls.v1",
        "kernel": syscalls::TABLE_VERSION,
        "syscalls": calls.collect::<Vec<_>>(),
    })
}
