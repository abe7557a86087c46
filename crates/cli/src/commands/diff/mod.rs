//! `callgate diff`: every kind of call on which two filters differ.

mod kinds;

use std::process::ExitCode;

use callgate::compiler::proof::{Difference, Side, differences};
use callgate::{Arch, Context};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::call;
use crate::context::ContextOptions;
use crate::failure::Failure;
use crate::input::AnyFilter;
use crate::output;
use kinds::{Kind, kinds};

/// Compare two filters exactly: every kind of call on which they differ, each with an example
///
/// Both are compared on every call of every architecture, by what they mean and not by how they are written: profiles of either
/// format, raw filters whoever compiled them, and the filters of processes can be put side by side.
#[derive(Args)]
#[command(after_help = "Examples:
  callgate diff docker.json default
  callgate diff old.json new.json --require stricter
  callgate diff profile.json pid:1234
  callgate diff filter.bpf other.bpf

Exit status: 0 if they answer every call alike (or, with --require stricter, if B makes no call that A wouldn't); 1 if not; 2 if
that can't be told.")]
pub(crate) struct Options {
    /// Profile (a path, `-`, or `default`), raw filter, or pid:N for those of a process
    #[arg(value_name = "A")]
    from: String,

    /// What it is compared with
    #[arg(value_name = "B")]
    to: String,

    /// What must hold for an exit status of 0
    #[arg(long, value_enum, default_value = "equal")]
    require: Requirement,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    context: ContextOptions,
}

/// What must hold between two filters.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Requirement {
    /// They give the same answer to every call
    Equal,
    /// B's answer is at least as severe as A's on every call
    Stricter,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let context = options.context.context()?;
    if options.from == "-" && options.to == "-" {
        return Err(Failure::new(
            "both are standard input, which can be read once".to_owned(),
        ));
    }
    let from = AnyFilter::read(&options.from, &context)?;
    let to = AnyFilter::read(&options.to, &context)?;
    let found = differences(side(&from), side(&to)).map_err(|error| {
        Failure::new(format!(
            "{} and {} can't be compared: {error}",
            options.from, options.to
        ))
    })?;
    let holds = match options.require {
        Requirement::Equal => found.is_empty(),
        Requirement::Stricter => found.iter().all(Difference::is_stricter),
    };
    let text = match options.json {
        true => format!("{:#}\n", to_json(options, &found, &context)),
        false => to_text(options, &found, &context),
    };
    output::print(&text)?;
    Ok(ExitCode::from(u8::from(!holds)))
}

fn side(filter: &AnyFilter) -> Side<'_> {
    match filter {
        AnyFilter::Compiled(filter) => Side::Policy(filter.policy()),
        AnyFilter::Bare(programs) => Side::Programs(programs),
    }
}

fn to_text(options: &Options, found: &[Difference], context: &Context) -> String {
    let (from, to) = (&options.from, &options.to);
    if found.is_empty() {
        return format!("{from} and {to} answer every call alike\n");
    }
    let mut text = String::new();
    let mut change = None;
    for kind in kinds(found, context) {
        if change != Some((kind.from, kind.to)) {
            change = Some((kind.from, kind.to));
            text += &heading(&kind, context.arch);
        }
        text += &kind.text(context.arch);
    }
    let verdict = match found.iter().all(Difference::is_stricter) {
        true => format!("{to} is stricter than {from}"),
        false if found.iter().all(|d| d.from.severity() <= d.to.severity()) => {
            format!("{from} is stricter than {to}")
        }
        false => "neither is stricter than the other".to_owned(),
    };
    text + "\n" + &verdict + "\n"
}

/// `ALLOW → ERRNO(EPERM), stricter`
fn heading(kind: &Kind, arch: Arch) -> String {
    let (from, to) = (kind.from.display(arch), kind.to.display(arch));
    format!("{from} → {to} ({})\n", kind.change())
}

fn to_json(options: &Options, found: &[Difference], context: &Context) -> Value {
    let kinds = kinds(found, context);
    let differences: Vec<Value> = kinds
        .iter()
        .map(|kind| {
            json!({
                "from": kind.from.display(context.arch),
                "to": kind.to.display(context.arch),
                "change": kind.change(),
                "calls": kind.calls,
                "abis": kind.abis,
                "when": kind.when,
                "witness": {
                    "call": call::display(&kind.witness, context.arch),
                    "audit_arch": kind.witness.audit,
                    "nr": kind.witness.nr,
                    "args": kind.witness.args,
                    "instruction_pointer": kind.witness.instruction_pointer,
                },
            })
        })
        .collect();
    json!({
        "schema": "callgate.diff.v1",
        "a": options.from,
        "b": options.to,
        "equal": found.is_empty(),
        "b_is_stricter": found.iter().all(Difference::is_stricter),
        "differences": differences,
    })
}
