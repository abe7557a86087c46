//! `callgate instrument`: a profile whose denials ask an agent.

use std::path::PathBuf;
use std::process::ExitCode;

use callgate::compiler::instrument::{self, Instrumented, Left};
use callgate::compiler::profile::Format;
use clap::Args;

use crate::context::ContextOptions;
use crate::diagnostics::{self, Document};
use crate::failure::Failure;
use crate::input::Input;
use crate::output;

/// Turn a profile's denials into notifications, which `agent` answers and logs
///
/// The container runtime sends the container's listener to the agent at the socket, with the original profile; the agent answers each
/// call as that says, so the container sees the errnos that it would have seen. A config.json stays one, with its
/// profile replaced; of anything else comes an OCI seccomp object. What can't ask is said on standard error: KILL,
/// TRAP and TRACE, which no agent can answer; `write`, by which listeners are handed over; and calls newer than the profile.
/// Names that the runtime's libseccomp doesn't know are denied by it as ever, unseen.
#[derive(Args)]
#[command(after_help = "Examples:
  callgate instrument profile.json --listener /run/callgate.sock -o instrumented.json
  callgate instrument config.json --listener /run/callgate.sock -o config.json
  callgate agent --socket /run/callgate.sock --log denials.jsonl

Exit status: 0; 2 if there is no such profile.")]
pub(crate) struct Options {
    /// Profile: a path, `-`, or `default`
    profile: String,

    /// The agent's socket, as an absolute path
    #[arg(long, value_name = "PATH")]
    listener: PathBuf,

    /// Leave calls of this name as they are; repeated
    #[arg(long, value_name = "NAME")]
    except: Vec<String>,

    /// Where to write it: a file that appears complete or not at all [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    context: ContextOptions,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let listener = options
        .listener
        .to_str()
        .filter(|path| path.starts_with('/'));
    let listener = listener.ok_or_else(|| {
        let path = options.listener.display();
        Failure::new(format!(
            "--listener {path}: it must be an absolute path, in UTF-8"
        ))
    })?;
    let context = options.context.context()?;
    let input = Input::read(&options.profile)?;
    let profile = input.profile()?;
    let instrumented = instrument::profile(&profile, &context, listener, &options.except);
    let instrumented = instrumented.map_err(|error| {
        diagnostics::show_error(&input.source(), &error);
        Failure::said()
    })?;
    let seccomp = instrumented.profile.to_oci_json(&context);
    let document = Document::new(&input.source());
    let text = match document.value(&profile.path) {
        Some(place) if profile.format == Format::OciConfig => {
            let text = document.text();
            [&text[..place.start], seccomp.trim_end(), &text[place.end..]].concat()
        }
        _ => seccomp,
    };
    output::write(options.output.as_deref(), text.as_bytes())?;
    tell(&instrumented);
    Ok(ExitCode::SUCCESS)
}

fn tell(instrumented: &Instrumented) {
    anstream::eprintln!(
        "callgate: {} names ask the agent",
        instrumented.asking.len()
    );
    let reasons = [
        (Left::Action, "no agent can kill, trap or trace"),
        (Left::Handover, "listeners are handed over by it"),
        (
            Left::Newer,
            "newer than the profile, so the runtime answers ENOSYS",
        ),
        (Left::Excepted, "excepted"),
    ];
    for (reason, words) in reasons {
        let names = instrumented.left.iter();
        let names: Vec<_> = names
            .filter(|(_, why)| *why == reason)
            .map(|(name, _)| name.as_str())
            .collect();
        match names.len() {
            0 => {}
            1..=8 => anstream::eprintln!("callgate: unseen: {}: {words}", names.join(", ")),
            more => anstream::eprintln!("callgate: unseen: {more} names: {words}"),
        }
    }
}
