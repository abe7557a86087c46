//! `callgate report`: a page for a review.

mod html;
mod rows;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use callgate::compiler::bpf::Program;
use callgate::compiler::proof::compare;
use callgate::compiler::summary::ProgramSummary;
use callgate::{Arch, Context, Filter};
use clap::Args;

use super::check;
use crate::call;
use crate::context::ContextOptions;
use crate::diagnostics::machine::Checked;
use crate::failure::Failure;
use crate::input::AnyFilter;
use crate::layout::listed;
use crate::output;
use html::{escaped, facts};
use rows::{Row, rows};

/// Write a page on a filter for a review
///
/// One HTML file that needs nothing else: every call with its verdict and condition, to be searched and filtered; what `check` finds; how
/// the filter finds its way to a number, drawn; and with --against, the calls on which another filter says something else.
#[derive(Args)]
#[command(after_help = "Examples:
  callgate report profile.json -o report.html
  callgate report new.json --against old.json -o change.html
  callgate report filter.bpf -o report.html

Exit status: 0; 2 if there is no such filter, or it can't be written down.")]
pub(crate) struct Options {
    /// Profile (a path, `-`, or `default`), raw filter, or pid:N for a process with one filter
    filter: String,

    /// Where to write it
    #[arg(short, long, value_name = "FILE.html")]
    output: PathBuf,

    /// Another filter to compare it with
    #[arg(long, value_name = "FILTER")]
    against: Option<String>,

    #[command(flatten)]
    context: ContextOptions,
}

/// A filter with what is written down of it.
struct Subject {
    name: String,
    filter: AnyFilter,
    summary: ProgramSummary,
    rows: Vec<Row>,
    /// What `check` says, as text.
    findings: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let context = options.context.context()?;
    let subject = Subject::read(&options.filter, &context)?;
    let other = options.against.as_ref();
    let other = other
        .map(|name| Subject::read(name, &context))
        .transpose()?;
    let page = include_str!("page.html")
        .replace(
            "{{title}}",
            &escaped(&format!("callgate: {}", subject.name)),
        )
        .replace("{{body}}", &body(&subject, other.as_ref(), &context));
    output::write(Some(&options.output), page.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

impl Subject {
    fn read(name: &str, context: &Context) -> Result<Subject, Failure> {
        let (filter, input) = AnyFilter::read_with_source(name, context)?;
        let [program] = filter.programs() else {
            return Err(Failure::new(format!(
                "{name}: the process has several filters, which answer together"
            )));
        };
        let summary = ProgramSummary::of(program)
            .map_err(|error| Failure::new(format!("{name}: {error}")))?;
        let compiled = compiled(&filter);
        let rows = rows(&summary, compiled, context.arch);
        let findings = match (&input, compiled) {
            (Some(input), Some(_)) => {
                finding_lines(&check::checked(&input.source(), context, &[], &[]))
            }
            _ => Vec::new(),
        };
        let name = input.map_or_else(|| name.to_owned(), |input| input.source().name.to_owned());
        Ok(Subject {
            name,
            summary,
            rows,
            findings,
            filter,
        })
    }

    fn program(&self) -> &Program {
        &self.filter.programs()[0]
    }
}

fn compiled(filter: &AnyFilter) -> Option<&Filter> {
    match filter {
        AnyFilter::Compiled(filter) => Some(filter),
        AnyFilter::Bare(_) => None,
    }
}

fn finding_lines(checked: &Checked<'_>) -> Vec<String> {
    let lines = checked.diagnostics.iter().map(|diagnostic| {
        let line = checked.document.line(&diagnostic.place, diagnostic.code);
        let line = line
            .map(|line| format!(", line {line}"))
            .unwrap_or_default();
        let witness = diagnostic
            .witness
            .as_ref()
            .map(|call| format!("; shown by {call}"));
        let help = diagnostic.help.as_ref().map(|help| format!("; {help}"));
        format!(
            "{} ({}{line}): {}{}{}",
            diagnostic.code,
            diagnostic.place,
            diagnostic.message,
            witness.unwrap_or_default(),
            help.unwrap_or_default()
        )
    });
    lines.collect()
}

fn body(subject: &Subject, other: Option<&Subject>, context: &Context) -> String {
    let mut body = format!(
        "<h1>{}</h1>\n{}",
        escaped(&subject.name),
        facts(&overview(subject, context))
    );
    if let Some(other) = other {
        body.push_str(&comparison(subject, other, context));
    }
    if compiled(&subject.filter).is_some() {
        body.push_str("<h2 id=\"findings\">Findings</h2>\n");
        body.push_str(&match subject.findings[..] {
            [] => "<p>None.</p>\n".to_owned(),
            _ => {
                let items = subject
                    .findings
                    .iter()
                    .map(|finding| format!("<li>{}</li>\n", escaped(finding)));
                format!("<ul>\n{}</ul>\n", items.collect::<String>())
            }
        });
    }
    body.push_str(&calls(&subject.rows));
    body.push_str(&unnamed(subject, context));
    for arch in &subject.summary.archs {
        if let Some(drawing) = tree::drawing(subject.program(), *arch) {
            body.push_str(&format!(
                "<h2>How it finds a number of {arch}</h2>\n<p>From left to right; a dashed line is taken if not.</p>\n<div class=\"drawing\">{drawing}</div>\n"
            ));
        }
    }
    body
}

fn overview(subject: &Subject, context: &Context) -> Vec<(&'static str, String)> {
    let program = subject.program();
    let paths = program.paths();
    let native = context.arch;
    let mut facts = vec![
        ("Architectures", listed(&subject.summary.archs)),
        (
            "A call of any other",
            subject.summary.other_archs.map_or_else(
                || "depends on the call".to_owned(),
                |action| action.display(native).to_string(),
            ),
        ),
    ];
    if let Some(filter) = compiled(&subject.filter) {
        let policy = filter.policy();
        let capabilities: Vec<&str> = context.capabilities.iter().collect();
        facts.push((
            "Default action",
            policy.default_action().display(native).to_string(),
        ));
        if let Some(action) = policy.newer_call() {
            facts.push((
                "Calls newer than the profile",
                action.display(native).to_string(),
            ));
        }
        facts.push((
            "Read for",
            format!(
                "Linux {} on {native}; capabilities: {}",
                context.kernel,
                capabilities.join(" ")
            ),
        ));
        facts.push((
            "Proved to mean the profile",
            match filter.proof().nodes {
                Some(nodes) => format!("yes, by a diagram of {nodes} nodes"),
                None => "yes, rule by rule".to_owned(),
            },
        ));
    }
    facts.push(("Instructions", program.insns().len().to_string()));
    facts.push((
        "Executed for a call",
        format!("{} to {}", paths.shortest, paths.longest),
    ));
    facts
}

fn calls(rows: &[Row]) -> String {
    let kinds: BTreeSet<&str> = rows.iter().map(Row::kind).collect();
    let boxes = kinds.iter().map(|kind| {
        let count = rows.iter().filter(|row| row.kind() == *kind).count();
        let kind = escaped(kind);
        format!(
            "<label><input type=\"checkbox\" value=\"{kind}\" checked> {kind} ({count})</label>\n"
        )
    });
    format!(
        "<h2>Calls</h2>\n<div class=\"controls\"><input type=\"search\" id=\"search\" placeholder=\"Search calls, conditions, places\" aria-label=\"Search\">\n{}<span id=\"shown\" role=\"status\"></span></div>\n<table id=\"calls\">\n<thead><tr><th scope=\"col\">call</th><th scope=\"col\">on</th><th scope=\"col\">verdict</th><th scope=\"col\">by</th></tr></thead>\n<tbody>\n{}</tbody>\n</table>\n",
        boxes.collect::<String>(),
        rows.iter().map(Row::html).collect::<String>()
    )
}

fn unnamed(subject: &Subject, context: &Context) -> String {
    let rows = subject.summary.unnamed.iter().map(|numbers| {
        (
            format!("{} {:#x} to {:#x}", numbers.arch, numbers.from, numbers.to),
            numbers.action.display(context.arch).to_string(),
        )
    });
    let rows: Vec<(String, String)> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let rows: Vec<(&str, String)> = rows
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    format!("<h2>Numbers without a name</h2>\n{}", facts(&rows))
}

/// The calls on which two filters differ, side by side.
fn comparison(subject: &Subject, other: &Subject, context: &Context) -> String {
    let title = format!("<h2 id=\"against\">Against {}</h2>\n", escaped(&other.name));
    let verdict = match compare(subject.program(), other.program()) {
        Ok(None) => return title + "<p>Proved: both answer alike on every call.</p>\n",
        Ok(Some(witness)) => {
            let answer = |subject: &Subject| {
                let action = subject.program().simulate(&witness).action;
                action.display(context.arch).to_string()
            };
            format!(
                "They differ, as on {}, which gets {} here and {} there.",
                call::display(&witness, context.arch),
                answer(subject),
                answer(other)
            )
        }
        Err(error) => format!("Whether they differ can't be told: {error}."),
    };
    let (here, there) = (said(subject), said(other));
    // By call and what is said of it: the ABIs on which it is.
    let mut differing: BTreeMap<(&str, &str, &str), Vec<Arch>> = BTreeMap::new();
    let keys: BTreeSet<&(String, Arch)> = here.keys().chain(there.keys()).collect();
    for key in keys {
        let (a, b) = (here.get(key), there.get(key));
        if a != b {
            let [a, b] = [a, b].map(|said| said.map_or("not in it", String::as_str));
            differing.entry((&key.0, a, b)).or_default().push(key.1);
        }
    }
    let rows = differing.iter().map(|((call, a, b), archs)| {
        format!(
            "<tr><td class=\"code\">{}</td><td>{}</td><td class=\"code\">{}</td><td class=\"code\">{}</td></tr>\n",
            escaped(call),
            escaped(&listed(archs)),
            escaped(a),
            escaped(b)
        )
    });
    format!(
        "{title}<p>{}</p>\n<table id=\"differences\">\n<thead><tr><th scope=\"col\">call</th><th scope=\"col\">on</th><th scope=\"col\">here</th><th scope=\"col\">there</th></tr></thead>\n<tbody>\n{}</tbody>\n</table>\n",
        escaped(&verdict),
        rows.collect::<String>()
    )
}

/// What is said of each call on each ABI.
fn said(subject: &Subject) -> BTreeMap<(String, Arch), String> {
    let each = subject.rows.iter().flat_map(|row| {
        let said = match row.verdict.as_str() {
            "by arguments" => row.detail.as_str(),
            verdict => verdict,
        };
        row.archs
            .iter()
            .map(move |arch| ((row.call.clone(), *arch), said.to_owned()))
    });
    each.collect()
}
