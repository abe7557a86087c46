//! `callgate help`: of a command, or of a code.

use std::process::ExitCode;

use callgate::compiler::notice::Code;
use clap::{Args, CommandFactory};

use crate::failure::Failure;
use crate::layout::wrapped;
use crate::output;

/// Explain a code such as CG0107, or a command
#[derive(Args)]
#[command(after_help = "Examples:
  callgate help                 the commands
  callgate help check           one command
  callgate help CG0107          what an error or notice means
  callgate help codes           all codes, a line each

Exit status: 0; 2 if there is no such command or code.")]
pub(crate) struct Options {
    /// Command, code, or `codes`
    topic: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let text = match options.topic.as_deref() {
        None => crate::Options::command()
            .render_long_help()
            .ansi()
            .to_string(),
        Some("codes") => codes(),
        Some(topic) => match topic.parse::<Code>() {
            Ok(code) => explanation(code),
            Err(_) => command_help(topic)?,
        },
    };
    output::print_coloured(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn command_help(topic: &str) -> Result<String, Failure> {
    let mut root = crate::Options::command();
    root.build();
    match root.find_subcommand_mut(topic) {
        Some(command) => Ok(command.render_long_help().ansi().to_string()),
        None => Err(Failure::new(format!(
            "there is no command and no code `{topic}`: `callgate help` lists the commands, `callgate help codes` the codes"
        ))),
    }
}

fn codes() -> String {
    let lines = Code::ALL.iter().map(|code| {
        let kind = if code.is_error() { "error" } else { "warning" };
        format!("{code}  {kind:<8} {}\n", code.title())
    });
    lines.collect()
}

/// The story of a code, for a terminal.
fn explanation(code: Code) -> String {
    let mut text = format!("{code}: {}\n", code.title());
    let mut in_example = false;
    for paragraph in code.explanation().split("\n\n") {
        text.push('\n');
        if paragraph.starts_with("```") || in_example {
            let lines = paragraph.lines().filter(|line| !line.starts_with("```"));
            text.extend(lines.map(|line| format!("    {line}\n")));
            in_example = paragraph.matches("```").count() % 2 == 1 && !in_example;
        } else {
            text.push_str(&wrapped("", paragraph.split_whitespace(), 80));
        }
    }
    text
}
