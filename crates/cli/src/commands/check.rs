//! `callgate check`: what the author of a profile may not expect.

use std::path::Path;
use std::process::ExitCode;

use callgate::compiler::findings::findings;
use callgate::compiler::findings::portability::{Target, portability};
use callgate::compiler::notice::{Code, JsonPath, Place};
use callgate::compiler::profile;
use callgate::{CompileError, Context, Filter, Notice, Profile};
use clap::{Args, ValueEnum};

use crate::context::ContextOptions;
use crate::diagnostics::machine::{self, Checked};
use crate::diagnostics::{self, Diagnostic, Document, Severity, Source};
use crate::failure::{Failure, USAGE};
use crate::fix;
use crate::input::Input;
use crate::output;
use crate::tolerant::{self, Tolerated};

/// Say what is wrong with profiles, and what is odd about them
///
/// Errors are what no filter can be made of. Warnings are what comes to something else than one may think; each has a code
/// that `callgate help` explains. Comments and trailing commas are read, with a warning.
#[derive(Args)]
#[command(after_help = "Examples:
  callgate check profile.json
  callgate check -D warnings -A CG0110 profiles/*.json     in a test
  callgate check --target aarch64,linux-5.10,runc-1.1 profile.json
  callgate check --fix --diff profile.json                 what has one safe fix
  callgate check --format sarif profile.json > check.sarif
  callgate check --format github profile.json              in a workflow of GitHub
  callgate help CG0107                                     what a code means

Exit status: 0 if there are no errors, and no warnings that -D denies; 1 if there are such warnings, or with --diff if
anything would be changed; 2 if a profile has errors or can't be read.")]
pub(crate) struct Options {
    /// Profiles: paths, `-`, or `default`
    #[arg(required = true, value_name = "PROFILE")]
    profiles: Vec<String>,

    /// Fail on warnings: on all (`warnings`) or those of a code
    #[arg(short = 'D', long = "deny", value_name = "WHICH")]
    denied: Vec<Which>,

    /// Say nothing of a code
    #[arg(short = 'A', long = "allow", value_name = "CODE")]
    allowed: Vec<Code>,

    /// Say also where the profile doesn't hold there: an architecture, linux-X.Y, runc-X.Y, crun-X.Y, libseccomp-X.Y
    #[arg(long = "target", value_name = "TARGET", value_delimiter = ',')]
    targets: Vec<Target>,

    /// Form of what is found
    #[arg(long, value_enum, default_value_t = Format::Human, conflicts_with = "json")]
    format: Format,

    /// Mend what has one safe fix, in place, and check what comes of it
    #[arg(long)]
    fix: bool,

    /// With --fix: print what would be changed, and change nothing
    #[arg(long, requires = "fix")]
    diff: bool,

    /// The same as --format json
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    context: ContextOptions,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    Sarif,
    Github,
}

/// The warnings that are to fail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Code(Code),
}

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Which, String> {
        match text {
            "warnings" => Ok(Which::All),
            code => code
                .parse()
                .map(Which::Code)
                .map_err(|error| format!("{error}, or `warnings`")),
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let context = options.context.context()?;
    let mut inputs = Vec::new();
    let mut unread = false;
    for name in &options.profiles {
        let input = Input::read(name);
        let input = match options.fix && !options.diff {
            true => input.and_then(|input| mended(name, input, options, &context)),
            false => input,
        };
        match input {
            Ok(input) => inputs.push(input),
            // The others are checked all the same.
            Err(failure) => {
                failure.report();
                unread = true;
            }
        }
    }
    if options.diff {
        return diffs(&inputs, options, &context, unread);
    }
    let checked: Vec<Checked<'_>> = inputs
        .iter()
        .map(|input| check(&input.source(), &context, options))
        .collect();
    output::print_coloured(&text(&checked, options))?;
    let errors: usize = checked.iter().map(|c| c.count(Severity::Error)).sum();
    let warnings: usize = checked.iter().map(|c| c.count(Severity::Warning)).sum();
    if options.format == Format::Human && !options.json && !inputs.is_empty() {
        anstream::eprintln!("{}", summary(inputs.len(), errors, warnings));
    }
    let denied = checked
        .iter()
        .flat_map(|checked| &checked.diagnostics)
        .any(|diagnostic| is_denied(diagnostic, &options.denied));
    Ok(match (errors > 0 || unread, denied) {
        (true, _) => ExitCode::from(USAGE),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    })
}

/// The input with what can be mended, which is written where it came from.
fn mended(
    name: &str,
    input: Input,
    options: &Options,
    context: &Context,
) -> Result<Input, Failure> {
    let Some((fixed, count)) = fixed(&input, options, context) else {
        return Ok(input);
    };
    if name == "-" || name == "default" {
        return Err(Failure::new(format!(
            "{name}: there is no file to mend: say --diff to see what would be changed"
        )));
    }
    output::write(Some(Path::new(name)), fixed.as_bytes())?;
    let places = if count == 1 { "place" } else { "places" };
    anstream::eprintln!("{name}: {count} {places} mended");
    Ok(input.with_bytes(fixed.into_bytes()))
}

/// The text of an input with what can be mended, and in how many places; nothing if nothing can.
fn fixed(input: &Input, options: &Options, context: &Context) -> Option<(String, usize)> {
    let source = input.source();
    let text = std::str::from_utf8(source.bytes).ok()?;
    let said = |text: &str| {
        let source = Source {
            name: source.name,
            bytes: text.as_bytes(),
        };
        check(&source, context, options).diagnostics
    };
    let (fixed, count) = fix::fix(text, context, said);
    (count > 0).then_some((fixed, count))
}

/// Prints what would be mended, as `patch` takes it.
fn diffs(
    inputs: &[Input],
    options: &Options,
    context: &Context,
    unread: bool,
) -> Result<ExitCode, Failure> {
    let mut text = String::new();
    for input in inputs {
        let source = input.source();
        if let Some((fixed, _)) = fixed(input, options, context) {
            let old = String::from_utf8_lossy(source.bytes);
            let diff = similar::TextDiff::from_lines(&*old, &fixed);
            let mut diff = diff.unified_diff();
            text.push_str(&diff.header(source.name, source.name).to_string());
        }
    }
    output::print(&text)?;
    Ok(match (unread, text.is_empty()) {
        (true, _) => ExitCode::from(USAGE),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

fn is_denied(diagnostic: &Diagnostic, denied: &[Which]) -> bool {
    denied
        .iter()
        .any(|which| *which == Which::All || *which == Which::Code(diagnostic.code))
}

fn text(checked: &[Checked<'_>], options: &Options) -> String {
    match options.format {
        _ if options.json => format!("{:#}\n", machine::to_json(checked)),
        Format::Json => format!("{:#}\n", machine::to_json(checked)),
        Format::Sarif => format!("{:#}\n", machine::to_sarif(checked)),
        Format::Github => machine::to_github(checked),
        Format::Human => {
            let each = checked.iter().flat_map(|checked| {
                let diagnostics = checked.diagnostics.iter();
                diagnostics
                    .map(|diagnostic| diagnostics::render(&checked.document, diagnostic) + "\n\n")
            });
            each.collect()
        }
    }
}

fn summary(profiles: usize, errors: usize, warnings: usize) -> String {
    let many = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    let found = match (errors, warnings) {
        (0, 0) => return format!("{}: nothing to say", many(profiles, "profile")),
        (0, warnings) => many(warnings, "warning"),
        (errors, 0) => many(errors, "error"),
        (errors, warnings) => format!("{}, {}", many(errors, "error"), many(warnings, "warning")),
    };
    format!(
        "{}: {found} (`callgate help CODE` explains a code)",
        many(profiles, "profile")
    )
}

fn check<'a>(source: &Source<'a>, context: &Context, options: &Options) -> Checked<'a> {
    checked(source, context, &options.targets, &options.allowed)
}

/// All that there is to say about a document, but for some codes.
pub(crate) fn checked<'a>(
    source: &Source<'a>,
    context: &Context,
    targets: &[Target],
    allowed: &[Code],
) -> Checked<'a> {
    let tolerated = tolerant::tolerate(source.bytes);
    let document = Document::new(source);
    let mut diagnostics = tolerated_diagnostics(&tolerated, &document);
    match Profile::parse(&tolerated.bytes).map_err(CompileError::from) {
        Ok(profile) => match Filter::compile(&profile, context) {
            Ok(filter) => {
                let mut found = findings(&profile, context, filter.resolved());
                found.extend(portability(&profile, context, targets));
                let notices = filter.notices().iter().chain(&found);
                let notices = notices.filter(|notice| is_meant(notice, &profile, context));
                diagnostics.extend(notices.map(|n| Diagnostic::of_notice(n, context.arch)));
            }
            Err(error) => {
                let notices = profile.notices.iter();
                diagnostics.extend(notices.map(|n| Diagnostic::of_notice(n, context.arch)));
                diagnostics.push(of_compile_error(&error));
            }
        },
        Err(error) => diagnostics.push(of_compile_error(&error)),
    }
    diagnostics.retain(|d| d.severity == Severity::Error || !allowed.contains(&d.code));
    diagnostics.sort_by_key(|diagnostic| document.start(diagnostic));
    Checked {
        document,
        diagnostics,
    }
}

/// Whether a notice is about the profile, and not about this context alone.
fn is_meant(notice: &Notice, profile: &Profile, context: &Context) -> bool {
    let about_context = matches!(notice.code, Code::DeadRule | Code::RedundantRule)
        && profile.format == profile::Format::Docker;
    !about_context || fix::is_idle_everywhere(profile, context, &notice.path)
}

fn of_compile_error(error: &CompileError) -> Diagnostic {
    match error {
        CompileError::Profile(error) => error.into(),
        other => Diagnostic {
            severity: Severity::Error,
            code: match other {
                CompileError::TooLong(_) => Code::FilterTooLong,
                _ => Code::NotProved,
            },
            message: other.to_string(),
            place: Place::Path(JsonPath::root()),
            related: Vec::new(),
            witness: None,
            help: None,
        },
    }
}

/// What was passed over, each kind where it is met first.
fn tolerated_diagnostics(tolerated: &Tolerated, document: &Document<'_>) -> Vec<Diagnostic> {
    let diagnostic = |places: &[usize], what: &str, help: &str| {
        let (line, column) = document.line_and_byte(*places.first()?);
        let further = match places.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        Some(Diagnostic {
            severity: Severity::Warning,
            code: Code::Tolerated,
            message: format!("{what}, which no container runtime reads{further}"),
            place: Place::Position { line, column },
            related: Vec::new(),
            witness: None,
            help: Some(help.to_owned()),
        })
    };
    let comment = "entries of Docker's format may have a `comment` member";
    [
        diagnostic(&tolerated.comments, "JSON has no comments", comment),
        diagnostic(
            &tolerated.commas,
            "JSON has no comma behind the last element",
            "remove it",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}
