//! `callgate explain`: a whole policy as one would write it down, or why a call comes to what it does.

mod calls;
mod overview;

use std::process::ExitCode;

use callgate::compiler::summary::ProgramSummary;
use clap::Args;

use crate::call;
use crate::context::ContextOptions;
use crate::failure::Failure;
use crate::input::AnyFilter;
use crate::output;

/// Say what a policy says: all of it, or why calls come to what they do
///
/// Without a CALL the policy is written down: names of calls by action, and conditions with names of arguments and constants. With
/// calls: the verdict, the entry that decides with its line, the instructions that are executed, and the least change of
/// the profile that would turn it, tried out.
#[derive(Args)]
#[command(after_help = "Examples:
  callgate explain default
  callgate explain docker.json --cap CAP_SYS_ADMIN --arch aarch64
  callgate explain default 'socket(AF_ALG)' 'unshare(CLONE_NEWUSER)'
  callgate explain filter.bpf                   instructions of any origin
  callgate explain filter.bpf 'x86:socketcall(SYS_SOCKET)'

Exit status: 0; 2 if there is no such filter or call.")]
pub(crate) struct Options {
    /// Profile (a path, `-`, or `default`), raw filter, or pid:N for those of a process
    filter: String,

    /// Calls, written as strace writes them
    #[arg(value_name = "CALL")]
    calls: Vec<String>,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    context: ContextOptions,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let context = options.context.context()?;
    let calls = options.calls.iter();
    let calls = calls.map(|text| call::parse(text, context.arch).map_err(Failure::new));
    let calls = calls.collect::<Result<Vec<_>, _>>()?;
    let (filter, input) = AnyFilter::read_with_source(&options.filter, &context)?;
    let text = match (&filter, calls.is_empty()) {
        (AnyFilter::Compiled(compiled), true) => {
            overview::overview(compiled.policy(), options.json)
        }
        (AnyFilter::Bare(programs), true) => {
            let summaries = programs.iter().map(|program| {
                ProgramSummary::of(program)
                    .map_err(|error| Failure::new(format!("{}: {error}", options.filter)))
            });
            let summaries = summaries.collect::<Result<Vec<_>, _>>()?;
            overview::of_programs(&summaries, context.arch, options.json)
        }
        (_, false) => {
            let profile = match (&filter, &input) {
                (AnyFilter::Compiled(compiled), Some(input)) => Some(calls::Written {
                    filter: compiled,
                    profile: input.profile()?,
                    source: input.source(),
                    context: &context,
                }),
                _ => None,
            };
            calls::explain(
                &filter,
                profile.as_ref(),
                &calls,
                context.arch,
                options.json,
            )
        }
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
