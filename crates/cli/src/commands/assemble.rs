//! `callgate assemble`: instructions as people write them, and as `disassemble` prints them, to a filter.

use std::path::PathBuf;
use std::process::ExitCode;

use callgate::compiler::bpf::assemble::assemble;
use callgate::{Arch, probe};
use clap::Args;

use super::compile::{Format, formatted, refuse_terminal};
use crate::failure::Failure;
use crate::input::Input;
use crate::output;

/// Make a filter of instructions as text
///
/// Takes what `disassemble` prints, and what one writes: an instruction a line, jumps to labels or places, comments behind
/// `;`. What comes out is checked by the kernel's rules.
#[derive(Args)]
#[command(
    after_help = "Example, a filter that denies ptrace (101 on x86_64) and kills calls of other architectures:
          ld [4]                    ; the architecture
          jeq #0xc000003e, number, kill
  number: ld [0]
          jeq #101, deny, allow
  deny:   ret 0x00050001            ; ERRNO(EPERM)
  allow:  ret 0x7fff0000
  kill:   ret 0

  callgate assemble filter.txt -o filter.bpf
  callgate disassemble default | callgate assemble - --format base64

Exit status: 0; 2 if the text can't be read, or the kernel would not take the instructions."
)]
pub(crate) struct Options {
    /// Text: a path, or `-`
    text: String,

    /// Where to write it [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Form of the filter
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    format: Format,

    /// Architecture of the kernel, for the byte order [default: this machine's]
    #[arg(long, value_name = "NAME")]
    arch: Option<Arch>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    refuse_terminal(options.format, options.output.as_deref())?;
    let arch = options.arch.or_else(probe::native_arch);
    let arch = arch.ok_or_else(|| {
        Failure::new("this machine's architecture is not one of the runtime-spec: say --arch")
    })?;
    let input = Input::read(&options.text)?;
    let source = input.source();
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", source.name));
    let text = std::str::from_utf8(source.bytes).map_err(|error| failed(&error))?;
    let program = assemble(text, arch.byte_order()).map_err(|error| failed(&error))?;
    output::write(
        options.output.as_deref(),
        &formatted(&program, options.format),
    )?;
    Ok(ExitCode::SUCCESS)
}
