//! Why calls come to what they do.

use std::fmt::Write as _;

use callgate::compiler::findings::change::{Change, What, least_changes};
use callgate::compiler::notice::{Code, JsonPath, Place};
use callgate::compiler::policy::Ground;
use callgate::compiler::summary::{Conditional, Summary};
use callgate::compiler::syscalls;
use callgate::{Arch, Context, Filter, Profile};
use serde_json::{Value, json};

use crate::call;
use crate::commands::disassemble;
use crate::diagnostics::{Document, Source};
use crate::input::AnyFilter;
use crate::layout::{WIDTH, wrapped};

/// A profile, for calls that a filter made of it is asked about.
pub(super) struct Written<'a> {
    pub(super) filter: &'a Filter,
    pub(super) profile: Profile,
    pub(super) source: Source<'a>,
    pub(super) context: &'a Context,
}

/// What there is to say of one call.
struct Explanation {
    call: String,
    action: String,
    ground: Option<&'static str>,
    /// The place of the deciding name, and its line if the document has lines.
    entry: Option<(String, Option<usize>)>,
    /// The rules on the call, where some of them ask for arguments.
    rules: Vec<String>,
    /// What is executed, of each filter.
    paths: Vec<Vec<String>>,
    changes: Vec<(String, String)>,
}

pub(super) fn explain(
    filter: &AnyFilter,
    written: Option<&Written<'_>>,
    calls: &[call::Written],
    arch: Arch,
    as_json: bool,
) -> String {
    let summary = written.map(|written| Summary::of(written.filter.policy()));
    let document = written.map(|written| Document::new(&written.source));
    let explanations = calls.iter().map(|call| {
        let profile = written.zip(summary.as_ref()).zip(document.as_ref());
        explanation(filter, profile, call, arch)
    });
    if as_json {
        let calls: Vec<Value> = explanations
            .map(|explanation| to_json(&explanation))
            .collect();
        let document = json!({ "schema": "callgate.explain.v1", "calls": calls });
        return format!("{document:#}\n");
    }
    let texts: Vec<String> = explanations.map(|explanation| text(&explanation)).collect();
    texts.join("\n")
}

fn explanation(
    filter: &AnyFilter,
    profile: Option<((&Written<'_>, &Summary), &Document<'_>)>,
    written: &call::Written,
    arch: Arch,
) -> Explanation {
    let run = filter.simulate(&written.call);
    let paths = filter
        .programs()
        .iter()
        .map(|program| disassemble::path(program, &program.path(&written.call)));
    let mut explanation = Explanation {
        call: written.text.clone(),
        action: run.action.display(arch).to_string(),
        ground: None,
        entry: None,
        rules: Vec::new(),
        paths: paths.collect(),
        changes: Vec::new(),
    };
    let Some(((of, summary), document)) = profile else {
        return explanation;
    };
    let policy = of.filter.policy();
    let verdict = policy.decide(&written.call);
    explanation.ground = Some(match verdict.ground {
        Ground::Rule(_) => "an entry",
        Ground::Default => "the default action",
        Ground::NewerCall => "the number is above all that the profile names",
        Ground::ForeignArch => "the architecture is outside the profile",
        Ground::X32Disabled => "x32 is outside the profile",
    });
    let source = verdict
        .rule()
        .and_then(|id| of.filter.resolved().source(id));
    explanation.entry =
        source.map(|source| (source.name.to_string(), line(document, &source.name)));
    let on = policy.abi_of(written.call.audit, written.call.nr);
    let name = on.and_then(|arch| syscalls::name(arch, written.call.nr));
    let concerned = |conditional: &&Conditional| {
        let here =
            conditional.archs.is_empty() || on.is_some_and(|on| conditional.archs.contains(&on));
        here && Some(conditional.call.as_str()) == name
    };
    for conditional in summary.conditional.iter().filter(concerned) {
        let cases = conditional.cases.iter();
        let cases =
            cases.map(|case| format!("{} if {}", case.action.display(arch), case.condition));
        explanation.rules.extend(cases);
    }
    let changes = least_changes(&of.profile, of.context, of.filter.resolved(), &written.call);
    let changes = changes.iter().map(|change| {
        (
            sentence(change, document),
            change.becomes.display(arch).to_string(),
        )
    });
    explanation.changes = changes.collect();
    explanation
}

fn line(document: &Document<'_>, path: &JsonPath) -> Option<usize> {
    document.line(&Place::Path(path.clone()), Code::DeadRule)
}

fn sentence(change: &Change, document: &Document<'_>) -> String {
    let place = |path: &JsonPath| match line(document, path) {
        Some(line) => format!("{path} (line {line})"),
        None => path.to_string(),
    };
    let places = |paths: &[JsonPath]| {
        let places: Vec<String> = paths.iter().map(place).collect();
        crate::layout::listed(&places)
    };
    match &change.what {
        What::AddEntry(entry) => format!("add to `syscalls`: {entry}"),
        What::RemoveNames(paths) => format!("remove {}", places(paths)),
        What::Replace(paths, entry) => {
            format!("remove {}, and add to `syscalls`: {entry}", places(paths))
        }
        What::GiveCapability(capability, path) => {
            format!(
                "give the container {capability}, for which there is {}",
                place(path)
            )
        }
        What::AddArchitecture(name) => format!("add {name} to the architectures"),
        other => format!("{other:?}"),
    }
}

fn text(explanation: &Explanation) -> String {
    let mut text = format!("{}: {}\n", explanation.call, explanation.action);
    let mut fact = |label: &str, words: &str| {
        text.push_str(&wrapped(&format!("  {label:<8} "), words.split(' '), WIDTH));
    };
    match (&explanation.entry, explanation.ground) {
        (Some((path, Some(line))), _) => fact("because", &format!("{path}, line {line}")),
        (Some((path, None)), _) => fact("because", path),
        (None, Some(ground)) => fact("because", ground),
        (None, None) => {}
    }
    for (index, rule) in explanation.rules.iter().enumerate() {
        fact(if index == 0 { "rules" } else { "" }, rule);
    }
    for (change, becomes) in &explanation.changes {
        fact("change", &format!("{change} → {becomes}"));
    }
    for (index, path) in explanation.paths.iter().enumerate() {
        let of = match explanation.paths.len() {
            1 => String::new(),
            several => format!(" of filter {} of {several}", index + 1),
        };
        let _ = writeln!(text, "  path{of}, {} instructions:", path.len());
        for line in path {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

fn to_json(explanation: &Explanation) -> Value {
    let changes = explanation.changes.iter();
    let changes = changes.map(|(change, becomes)| json!({ "change": change, "becomes": becomes }));
    json!({
        "call": explanation.call,
        "action": explanation.action,
        "ground": explanation.ground,
        "entry": explanation.entry.as_ref().map(|(path, _)| path),
        "line": explanation.entry.as_ref().and_then(|(_, line)| *line),
        "rules": explanation.rules,
        "changes": changes.collect::<Vec<_>>(),
        "paths": explanation.paths,
    })
}
