//! Errors and notices about a profile, with the lines that they are about.
//!
//! What there is to say is a [`Diagnostic`], where it stands is found in a [`Document`]. Here they are shown to people;
//! [`machine`] writes them for programs.

mod document;
pub(crate) mod machine;

use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use callgate::compiler::notice::{Code, JsonPath, Place};
use callgate::{Arch, Notice, ProfileError};

use crate::call;
pub(crate) use document::Document;

/// A document, and what to call it.
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) bytes: &'a [u8],
}

/// Something to say about a place in a document.
#[derive(Clone, Debug)]
pub(crate) struct Diagnostic {
    pub(crate) severity: Severity,
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) place: Place,
    /// Other places that have to do with it, and how.
    pub(crate) related: Vec<(JsonPath, String)>,
    /// A call that shows it, as it is written.
    pub(crate) witness: Option<String>,
    pub(crate) help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Warning,
}

impl From<&ProfileError> for Diagnostic {
    fn from(error: &ProfileError) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code: error.code,
            message: error.message.clone(),
            place: error.place.clone(),
            related: error.related.clone(),
            witness: None,
            help: error.help.clone(),
        }
    }
}

impl Diagnostic {
    /// Of a notice, whose witness is written for who thinks of `arch`.
    pub(crate) fn of_notice(notice: &Notice, arch: Arch) -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            code: notice.code,
            message: notice.message.clone(),
            place: Place::Path(notice.path.clone()),
            related: Vec::new(),
            witness: notice.witness.map(|witness| call::display(&witness, arch)),
            help: notice.help.clone(),
        }
    }

    /// The note on its witness.
    fn note(&self) -> Option<String> {
        let witness = self.witness.as_ref();
        witness.map(|witness| format!("shown by the call {witness}"))
    }
}

pub(crate) fn show_error(source: &Source<'_>, error: &ProfileError) {
    show(&Document::new(source), &error.into());
}

pub(crate) fn show_notices(source: &Source<'_>, notices: &[Notice], arch: Arch) {
    let document = Document::new(source);
    for notice in notices {
        show(&document, &Diagnostic::of_notice(notice, arch));
    }
}

fn show(document: &Document<'_>, diagnostic: &Diagnostic) {
    anstream::eprintln!("{}\n", render(document, diagnostic));
}

/// As rustc would show it, with colours.
pub(crate) fn render(document: &Document<'_>, diagnostic: &Diagnostic) -> String {
    let code = diagnostic.code.to_string();
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level
        .primary_title(diagnostic.message.as_str())
        .id(code.as_str());
    let where_it_is = format!("{}: {}", document.name, diagnostic.place);
    let mut group = match document.place(&diagnostic.place, diagnostic.code) {
        Some(range) => Group::with_title(title).element(snippet(document, range, diagnostic)),
        None => Group::with_title(title).element(Level::NOTE.message(where_it_is.as_str())),
    };
    let note = diagnostic.note();
    if let Some(note) = &note {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    Renderer::styled().render(&[group])
}

/// The lines of a place, and of those that have to do with it.
fn snippet<'a>(
    document: &'a Document<'_>,
    range: Range<usize>,
    diagnostic: &'a Diagnostic,
) -> Snippet<'a, Annotation<'a>> {
    let related = diagnostic.related.iter().filter_map(|(path, how)| {
        let range = document.place(&Place::Path(path.clone()), diagnostic.code)?;
        Some((range, how))
    });
    let related: Vec<_> = related.collect();
    let ranges = || std::iter::once(&range).chain(related.iter().map(|(range, _)| range));
    let first = ranges().map(|range| range.start).min().unwrap_or_default();
    let last = ranges().map(|range| range.end).max().unwrap_or_default();
    let (lines, number) = document.lines(&(first..last));
    let within = |range: &Range<usize>| range.start - lines.start..range.end - lines.start;
    let label = path_label(&diagnostic.place);
    let snippet = Snippet::source(&document.text[lines.clone()])
        .path(document.name)
        .line_start(number)
        .annotation(AnnotationKind::Primary.span(within(&range)).label(label));
    related.iter().fold(snippet, |snippet, (range, how)| {
        let annotation = AnnotationKind::Context.span(within(range));
        snippet.annotation(annotation.label(how.as_str()))
    })
}

fn path_label(place: &Place) -> String {
    match place {
        Place::Path(path) => path.to_string(),
        Place::Position { .. } => String::new(),
    }
}
