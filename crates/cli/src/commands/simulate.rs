//! `callgate simulate`: what a filter says of calls.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use callgate::compiler::bpf::Run;
use callgate::compiler::policy::Ground;
use callgate::{Action, Arch, Call, Filter};
use clap::Args;
use serde_json::json;

use crate::call::{self, Written};
use crate::context::ContextOptions;
use crate::failure::Failure;
use crate::input::AnyFilter;
use crate::output;

/// Say what a filter answers to calls
///
/// A CALL is written as strace writes it: socket(AF_INET, SOCK_STREAM, 0). Arguments are numbers (decimal, 0x…, octal with a
/// leading 0; negative ones are sign-extended) and constants, several joined by `|`; missing ones are 0. ABI:name(…) and
/// ABI:number(…) name another ABI or a bare number.
#[derive(Args)]
#[command(after_help = "Examples:
  callgate simulate default 'socket(AF_ALG, SOCK_SEQPACKET, 0)' 'unshare(CLONE_NEWUSER)'
  callgate simulate filter.bpf 'x86:socketcall(SYS_SOCKET)' 'x86_64:0x40000001()'
  callgate simulate default 'mount()' --expect 'ERRNO(EPERM)'
  callgate simulate profile.json -f calls.txt --json
  callgate simulate pid:1234 'ptrace()'         needs CAP_SYS_ADMIN

Exit status: 0; with --expect, 1 if a call gets another action; 2 on a mistake.")]
pub(crate) struct Options {
    /// Profile (a path, `-`, or `default`), raw filter, or pid:N for those of a process
    filter: String,

    /// Calls
    #[arg(value_name = "CALL", required_unless_present = "file")]
    calls: Vec<String>,

    /// Read more calls from a file, one a line; `#` begins a comment
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Action that every call must get, as ALLOW or ERRNO(EPERM)
    #[arg(long, value_name = "ACTION")]
    expect: Option<String>,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    context: ContextOptions,
}

/// A call and what came of it.
struct Outcome {
    written: Written,
    run: Run,
    because: Option<Because>,
}

/// Why a profile says so.
struct Because {
    /// A word for it.
    ground: &'static str,
    /// The rule, if one decided.
    rule: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let context = options.context.context()?;
    let expected = options
        .expect
        .as_deref()
        .map(|text| expected(text, context.arch))
        .transpose()?;
    let calls = calls(options, context.arch)?;
    let filter = AnyFilter::read(&options.filter, &context)?;
    let outcomes: Vec<Outcome> = calls
        .into_iter()
        .map(|written| outcome(&filter, written))
        .collect();
    let text = if options.json {
        format!("{:#}\n", to_json(&outcomes, context.arch))
    } else {
        let lines = outcomes.iter().map(|outcome| line(outcome, context.arch));
        lines.map(|line| line + "\n").collect()
    };
    output::print(&text)?;
    let as_expected =
        |outcome: &Outcome| expected.is_none_or(|action| outcome.run.action == action);
    Ok(ExitCode::from(u8::from(!outcomes.iter().all(as_expected))))
}

fn expected(text: &str, arch: Arch) -> Result<Action, Failure> {
    Action::parse(text, arch).ok_or_else(|| {
        Failure::new(format!(
            "--expect {text}: not an action: ALLOW, LOG, NOTIFY, TRACE(7), ERRNO(EPERM), TRAP, KILL_THREAD or KILL_PROCESS"
        ))
    })
}

fn calls(options: &Options, arch: Arch) -> Result<Vec<Written>, Failure> {
    let mut calls = Vec::new();
    for text in &options.calls {
        calls.push(call::parse(text, arch).map_err(Failure::new)?);
    }
    if let Some(path) = &options.file {
        let name = path.display();
        let mut text = String::new();
        let read = if path.as_os_str() == "-" {
            io::stdin().lock().read_to_string(&mut text).map(|_| ())
        } else {
            fs::read_to_string(path).map(|content| text = content)
        };
        read.map_err(|error| Failure::new(format!("{name}: {error}")))?;
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if !line.is_empty() {
                let call = call::parse(line, arch);
                calls.push(
                    call.map_err(|error| Failure::new(format!("{name}:{}: {error}", number + 1)))?,
                );
            }
        }
        // An expectation that nothing was held against would seem to be met.
        if calls.is_empty() {
            return Err(Failure::new(format!("{name}: no calls in it")));
        }
    }
    Ok(calls)
}

fn outcome(filter: &AnyFilter, written: Written) -> Outcome {
    let run = filter.simulate(&written.call);
    let because = match filter {
        AnyFilter::Compiled(filter) => Some(because(filter, &written.call)),
        AnyFilter::Bare(_) => None,
    };
    Outcome {
        written,
        run,
        because,
    }
}

fn because(filter: &Filter, call: &Call) -> Because {
    let verdict = filter.policy().decide(call);
    let ground = match verdict.ground {
        Ground::Rule(_) => "rule",
        Ground::Default => "default action",
        Ground::NewerCall => "newer than the profile",
        Ground::ForeignArch => "architecture outside the profile",
        Ground::X32Disabled => "x32 outside the profile",
    };
    let rule = verdict.rule().and_then(|id| filter.resolved().source(id));
    Because {
        ground,
        rule: rule.map(|source| source.name.to_string()),
    }
}

fn line(outcome: &Outcome, arch: Arch) -> String {
    let action = outcome.run.action.display(arch);
    let because = outcome.because.as_ref().map(|because| match &because.rule {
        Some(rule) => format!("  {rule}"),
        None => format!("  {}", because.ground),
    });
    let executed = outcome.run.executed;
    format!(
        "{:<32}  {action:<14}{}  ({executed} instructions)",
        outcome.written.text,
        because.unwrap_or_default()
    )
}

fn to_json(outcomes: &[Outcome], arch: Arch) -> serde_json::Value {
    let calls = outcomes.iter().map(|outcome| {
        json!({
            "call": outcome.written.text,
            "audit_arch": outcome.written.call.audit,
            "nr": outcome.written.call.nr,
            "args": outcome.written.call.args,
            "action": outcome.run.action.display(arch),
            "ret": outcome.run.ret,
            "instructions": outcome.run.executed,
            "ground": outcome.because.as_ref().map(|because| because.ground),
            "rule": outcome.because.as_ref().and_then(|because| because.rule.as_deref()),
        })
    });
    json!({ "schema": "callgate.simulate.v1", "calls": calls.collect::<Vec<_>>() })
}
