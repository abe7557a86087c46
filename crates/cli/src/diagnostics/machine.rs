//! Diagnostics for programs: JSON of our own, SARIF 2.1.0, and the annotations of GitHub's workflows.
//!
//! Lines and columns count from 1, columns in characters; an end is the first character behind.

use callgate::compiler::notice::{Code, Place};
use serde_json::{Value, json};

use super::{Diagnostic, Document, Severity};

/// What was found in one document.
pub(crate) struct Checked<'a> {
    pub(crate) document: Document<'a>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Checked<'_> {
    pub(crate) fn count(&self, severity: Severity) -> usize {
        let counted = self.diagnostics.iter().filter(|d| d.severity == severity);
        counted.count()
    }
}

/// A stretch of a document.
struct Region {
    start: (usize, usize),
    end: (usize, usize),
}

fn region(document: &Document<'_>, place: &Place, code: Code) -> Option<Region> {
    let range = document.place(place, code)?;
    Some(Region {
        start: document.line_and_column(range.start),
        end: document.line_and_column(range.end),
    })
}

/// A document of our own form.
pub(crate) fn to_json(all: &[Checked<'_>]) -> Value {
    let profiles = all.iter().map(|checked| {
        let diagnostics = checked.diagnostics.iter();
        json!({
            "profile": checked.document.name,
            "errors": checked.count(Severity::Error),
            "warnings": checked.count(Severity::Warning),
            "diagnostics": diagnostics.map(|d| diagnostic_json(&checked.document, d)).collect::<Vec<_>>(),
        })
    });
    json!({ "schema": "callgate.check.v1", "profiles": profiles.collect::<Vec<_>>() })
}

fn diagnostic_json(document: &Document<'_>, diagnostic: &Diagnostic) -> Value {
    let related = diagnostic.related.iter().map(|(path, how)| {
        let region = region(document, &Place::Path(path.clone()), diagnostic.code);
        json!({ "path": path.to_string(), "message": how, "line": region.map(|r| r.start.0) })
    });
    let mut value = json!({
        "level": level(diagnostic.severity),
        "code": diagnostic.code.to_string(),
        "message": diagnostic.message,
        "path": path_of(&diagnostic.place),
        "related": related.collect::<Vec<_>>(),
        "witness": diagnostic.witness,
        "help": diagnostic.help,
    });
    if let Some(Region { start, end }) = region(document, &diagnostic.place, diagnostic.code) {
        let members = [
            ("line", start.0),
            ("column", start.1),
            ("end_line", end.0),
            ("end_column", end.1),
        ];
        for (name, number) in members {
            value[name] = number.into();
        }
    }
    value
}

/// A log as code scanners exchange them (SARIF 2.1.0, an OASIS standard).
pub(crate) fn to_sarif(all: &[Checked<'_>]) -> Value {
    let rules = Code::ALL.iter().map(|code| {
        json!({
            "id": code.to_string(),
            "shortDescription": { "text": code.title() },
            "fullDescription": { "text": code.explanation() },
            "help": { "text": code.explanation(), "markdown": code.explanation() },
            "defaultConfiguration": { "level": if code.is_error() { "error" } else { "warning" } },
        })
    });
    let results = all.iter().flat_map(|checked| {
        let diagnostics = checked.diagnostics.iter();
        diagnostics.map(|diagnostic| sarif_result(&checked.document, diagnostic))
    });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "callgate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": results.collect::<Vec<_>>(),
        }],
    })
}

fn sarif_result(document: &Document<'_>, diagnostic: &Diagnostic) -> Value {
    let rule = Code::ALL.iter().position(|code| *code == diagnostic.code);
    let location = |place: &Place| {
        let mut physical = json!({ "artifactLocation": { "uri": uri(document.name) } });
        if let Some(Region { start, end }) = region(document, place, diagnostic.code) {
            physical["region"] = json!({
                "startLine": start.0, "startColumn": start.1, "endLine": end.0, "endColumn": end.1,
            });
        }
        let mut location = json!({ "physicalLocation": physical });
        if let Some(path) = path_of(place) {
            location["logicalLocations"] = json!([{ "fullyQualifiedName": path }]);
        }
        location
    };
    let mut result = json!({
        "ruleId": diagnostic.code.to_string(),
        "ruleIndex": rule,
        "level": level(diagnostic.severity),
        "message": { "text": sentences(diagnostic) },
        "locations": [location(&diagnostic.place)],
    });
    if !diagnostic.related.is_empty() {
        let related = diagnostic.related.iter().map(|(path, how)| {
            let mut location = location(&Place::Path(path.clone()));
            location["message"] = json!({ "text": how });
            location
        });
        result["relatedLocations"] = related.collect();
    }
    result
}

/// Commands to a workflow of GitHub, one a line, by which it marks lines of a change.
pub(crate) fn to_github(all: &[Checked<'_>]) -> String {
    let lines = all.iter().flat_map(|checked| {
        let diagnostics = checked.diagnostics.iter();
        diagnostics.map(|diagnostic| github_line(&checked.document, diagnostic))
    });
    lines.collect()
}

fn github_line(document: &Document<'_>, diagnostic: &Diagnostic) -> String {
    let data = |text: &str| {
        let text = text.replace('%', "%25");
        text.replace('\r', "%0D").replace('\n', "%0A")
    };
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let region = region(document, &diagnostic.place, diagnostic.code);
    let position = region.map(|Region { start, end }| {
        let ((line, column), (end_line, end_column)) = (start, end);
        format!(",line={line},endLine={end_line},col={column},endColumn={end_column}")
    });
    format!(
        "::{} file={}{},title={}::{}\n",
        level(diagnostic.severity),
        property(document.name),
        position.unwrap_or_default(),
        diagnostic.code,
        data(&sentences(diagnostic))
    )
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn path_of(place: &Place) -> Option<String> {
    match place {
        Place::Path(path) => Some(path.to_string()),
        Place::Position { .. } => None,
    }
}

/// The message with its note and help, a line each.
fn sentences(diagnostic: &Diagnostic) -> String {
    let place = path_of(&diagnostic.place).map(|path| format!(" ({path})"));
    let note = diagnostic.note().map(|note| format!("\nnote: {note}"));
    let help = diagnostic.help.as_ref();
    let help = help.map(|help| format!("\nhelp: {help}"));
    let parts = [place, note, help].map(Option::unwrap_or_default);
    format!("{}{}", diagnostic.message, parts.concat())
}

/// A path as a relative reference (RFC 3986), or an absolute one.
fn uri(path: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    let encoded: String = path
        .bytes()
        .map(|byte| match plain(&byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect();
    if encoded.starts_with('/') {
        format!("file://{encoded}")
    } else {
        encoded
    }
}
