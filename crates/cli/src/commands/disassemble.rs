//! `callgate disassemble`: a filter as text, with names.

use std::fmt::{self, Write as _};
use std::process::ExitCode;

use callgate::Arch;
use callgate::compiler::bpf::disassemble::{Line, disassemble};
use callgate::compiler::bpf::{Operand, Operation, Program};
use callgate::compiler::syscalls;
use clap::Args;
use serde_json::json;

use crate::context::ContextOptions;
use crate::failure::Failure;
use crate::input::AnyFilter;
use crate::output;

/// Print a filter's instructions, with jump targets and what its constants are
#[derive(Args)]
#[command(after_help = "Examples:
  callgate disassemble profile.json
  callgate disassemble filter.bpf
  callgate disassemble pid:1234                 needs CAP_SYS_ADMIN

Exit status: 0; 2 if there is no filter.")]
pub(crate) struct Options {
    /// Profile (a path, `-`, or `default`), raw filter, or pid:N for those of a process
    filter: String,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    context: ContextOptions,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let context = options.context.context()?;
    let filter = AnyFilter::read(&options.filter, &context)?;
    let programs = filter.programs();
    let mut text = String::new();
    if options.json {
        let filters: Vec<_> = programs.iter().map(to_json).collect();
        let document = json!({ "schema": "callgate.disassemble.v1", "filters": filters });
        let _ = writeln!(text, "{document:#}");
    } else {
        for (index, program) in programs.iter().enumerate() {
            if programs.len() > 1 {
                let (number, of) = (index + 1, programs.len());
                let _ = writeln!(text, "; filter {number} of {of}, the newest first");
            }
            text.push_str(&listing(program));
        }
    }
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A program as text, a line an instruction.
pub(crate) fn listing(program: &Program) -> String {
    let lines = lines(program).into_iter();
    lines.map(|line| format!("{line}\n")).collect()
}

/// The lines of a program that a run executes, by their places.
pub(crate) fn path(program: &Program, path: &[usize]) -> Vec<String> {
    let lines = lines(program);
    let executed = path.iter().filter_map(|at| lines.get(*at));
    executed.map(Named::to_string).collect()
}

/// A line, and the system calls that its constant may stand for.
struct Named {
    line: Line,
    comment: Option<String>,
}

/// The lines of a program, with names of system calls where numbers are compared.
fn lines(program: &Program) -> Vec<Named> {
    let archs = abi_at(program);
    let lines = disassemble(program).into_iter().zip(archs);
    let named = lines.map(|(line, audit)| {
        let comment = line.comment().or_else(|| syscall_name(&line, audit?));
        Named { line, comment }
    });
    named.collect()
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, text) = (self.line.index, self.line.text());
        match &self.comment {
            Some(comment) => write!(f, "{index:>4}  {text:<32} ; {comment}"),
            None => write!(f, "{index:>4}  {text}"),
        }
    }
}

/// The name of a number that is compared with, on the ABI that is known at the line.
fn syscall_name(line: &Line, audit: u32) -> Option<String> {
    match line.insn.operation()? {
        Operation::JumpIf {
            operand: Operand::Constant(k),
            ..
        } if line.word == Some(0) => {
            let arch = Arch::of_call(audit, k)?;
            let name = syscalls::name(arch, k)?;
            // The one ABI that shares its architecture value with another.
            let prefix = if arch == Arch::X32 { "x32:" } else { "" };
            Some(format!("{prefix}{name}"))
        }
        _ => None,
    }
}

/// For each instruction the architecture value of the calls that reach it, if all have the same.
fn abi_at(program: &Program) -> Vec<Option<u32>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Known {
        Nothing,
        Audit(Option<u32>),
    }
    let lines = disassemble(program);
    let mut known = vec![Known::Nothing; lines.len()];
    known[0] = Known::Audit(None);
    for (index, line) in lines.iter().enumerate() {
        let Known::Audit(audit) = known[index] else {
            continue;
        };
        let mut to = |skip: u32, audit: Option<u32>| {
            let at =
                usize::try_from(skip).map_or(usize::MAX, |skip| skip.saturating_add(index + 1));
            if let Some(there) = known.get_mut(at) {
                let same = *there == Known::Nothing || *there == Known::Audit(audit);
                *there = Known::Audit(if same { audit } else { None });
            }
        };
        match line.insn.operation() {
            Some(Operation::Return(_) | Operation::ReturnAccumulator) | None => {}
            Some(Operation::Jump(k)) => to(k, audit),
            Some(Operation::JumpIf {
                operand: Operand::Constant(k),
                yes,
                no,
                ..
            }) if line.word == Some(4) => {
                to(yes.into(), Some(k));
                to(no.into(), audit);
            }
            Some(Operation::JumpIf { yes, no, .. }) => {
                to(yes.into(), audit);
                to(no.into(), audit);
            }
            Some(_) => to(0, audit),
        }
    }
    let audit = |known| match known {
        Known::Audit(audit) => audit,
        Known::Nothing => None,
    };
    known.into_iter().map(audit).collect()
}

fn to_json(program: &Program) -> serde_json::Value {
    let instructions = lines(program).into_iter().map(|Named { line, comment }| {
        let insn = line.insn;
        json!({ "index": line.index, "code": insn.code, "jt": insn.jt, "jf": insn.jf, "k": insn.k, "text": line.text(), "comment": comment })
    });
    json!({ "instructions": instructions.collect::<Vec<_>>() })
}
