//! `callgate compile`: the filter of a profile.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use callgate::Filter;
use callgate::compiler::bpf::Program;
use callgate::compiler::bpf::encode::{encode, to_c, to_rust};
use callgate::compiler::decision::workload::Workload;
use callgate::compiler::filter::compile_for;
use callgate::compiler::proof::prove;
use clap::{Args, ValueEnum};

use super::disassemble;
use crate::context::ContextOptions;
use crate::failure::Failure;
use crate::input::Input;
use crate::output;
use crate::workload;

/// Compile a profile to a filter
///
/// What is odd about the profile is said on standard error; it doesn't change the filter.
#[derive(Args)]
#[command(after_help = "Examples:
  callgate compile profile.json -o filter.bpf
  bwrap --seccomp 3 --ro-bind / / ls 3<filter.bpf
  callgate compile default --arch aarch64 --format c
  callgate compile default --format base64      for crun's run.oci.seccomp_bpf_data
  strace -c -f -o counted make && callgate compile default --workload counted -o filter.bpf

Exit status: 0; 2 if there is no filter.")]
pub(crate) struct Options {
    /// Profile: a path, `-`, or `default`
    profile: String,

    /// Where to write it: a file that appears complete or not at all [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// raw: an array of struct sock_filter in the kernel's byte order; base64 of it; c, rust: source text; asm: for reading
    #[arg(long, value_enum, default_value = "raw")]
    format: Format,

    /// How often which calls are made, `NAME COUNT` a line or what `strace -c` prints: their paths become short
    #[arg(long, value_name = "FILE")]
    workload: Option<PathBuf>,

    /// Say nothing about what is odd
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    context: ContextOptions,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Raw,
    Base64,
    C,
    Rust,
    Asm,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    refuse_terminal(options.format, options.output.as_deref())?;
    let context = options.context.context()?;
    let filter = Input::read(&options.profile)?.compile(&context, !options.quiet)?;
    let laid_out = match &options.workload {
        Some(path) => Some(laid_out_for(&filter, &workload::read(path, context.arch)?)?),
        None => None,
    };
    let program = laid_out.as_ref().unwrap_or(filter.program());
    output::write(
        options.output.as_deref(),
        &formatted(program, options.format),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The filter again, with short paths for the calls of a workload; proved, as the first one was.
fn laid_out_for(filter: &Filter, workload: &Workload) -> Result<Program, Failure> {
    let program = compile_for(filter.policy(), workload).map_err(Failure::new)?;
    prove(filter.policy(), &program).map_err(Failure::new)?;
    Ok(program)
}

/// A raw filter on a terminal would only upset that.
pub(crate) fn refuse_terminal(format: Format, output: Option<&Path>) -> Result<(), Failure> {
    if format == Format::Raw && output.is_none() && io::stdout().is_terminal() {
        let hint =
            "a raw filter is nothing for a terminal: say -o FILE, or --format asm to read it";
        return Err(Failure::new(hint));
    }
    Ok(())
}

/// A filter in a form.
pub(crate) fn formatted(program: &Program, format: Format) -> Vec<u8> {
    match format {
        Format::Raw => encode(program),
        Format::Base64 => (STANDARD.encode(encode(program)) + "\n").into_bytes(),
        Format::C => to_c(program).into_bytes(),
        Format::Rust => to_rust(program).into_bytes(),
        Format::Asm => disassemble::listing(program).into_bytes(),
    }
}
