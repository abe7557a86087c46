//! Errors and notices about a profile, with the lines that they are about.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use callgate::compiler::notice::{Code, JsonPath, Place, Segment};
use callgate::{Arch, Notice, ProfileError};
use jsonc_parser::ast::{ObjectProp, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use crate::call;

/// A document, and what to call it.
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) bytes: &'a [u8],
}

/// Something to say about a place in a document.
struct Diagnostic<'a> {
    level: Level<'static>,
    code: Code,
    message: &'a str,
    place: Place,
    related: &'a [(JsonPath, String)],
    note: Option<String>,
    help: Option<&'a str>,
}

pub(crate) fn show_error(source: &Source<'_>, error: &ProfileError) {
    show(
        source,
        &Diagnostic {
            level: Level::ERROR,
            code: error.code,
            message: &error.message,
            place: error.place.clone(),
            related: &error.related,
            note: None,
            help: error.help.as_deref(),
        },
    );
}

pub(crate) fn show_notice(source: &Source<'_>, notice: &Notice, arch: Arch) {
    let witness = notice.witness.map(|witness| call::display(&witness, arch));
    show(
        source,
        &Diagnostic {
            level: Level::WARNING,
            code: notice.code,
            message: &notice.message,
            place: Place::Path(notice.path.clone()),
            related: &[],
            note: witness.map(|witness| format!("shown by the call {witness}")),
            help: notice.help.as_deref(),
        },
    );
}

fn show(source: &Source<'_>, diagnostic: &Diagnostic<'_>) {
    anstream::eprintln!("{}\n", render(source, diagnostic));
}

fn render(source: &Source<'_>, diagnostic: &Diagnostic<'_>) -> String {
    let code = diagnostic.code.to_string();
    let title = diagnostic
        .level
        .clone()
        .primary_title(diagnostic.message)
        .id(code.as_str());
    let text = std::str::from_utf8(source.bytes).ok();
    let document = Document::new(text.unwrap_or(""));
    let place = text.and_then(|_| document.place(&diagnostic.place, diagnostic.code));
    let where_it_is = format!("{}: {}", source.name, diagnostic.place);
    let mut group = match place {
        Some(range) => {
            let mut snippet = Snippet::source(document.text).path(source.name);
            snippet = snippet.annotation(
                AnnotationKind::Primary
                    .span(range)
                    .label(path_label(&diagnostic.place)),
            );
            for (path, how) in diagnostic.related {
                if let Some(range) = document.place(&Place::Path(path.clone()), diagnostic.code) {
                    snippet =
                        snippet.annotation(AnnotationKind::Context.span(range).label(how.as_str()));
                }
            }
            Group::with_title(title).element(snippet)
        }
        None => Group::with_title(title).element(Level::NOTE.message(where_it_is.as_str())),
    };
    if let Some(note) = &diagnostic.note {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    if let Some(help) = diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    Renderer::styled().render(&[group])
}

fn path_label(place: &Place) -> String {
    match place {
        Place::Path(path) => path.to_string(),
        Place::Position { .. } => String::new(),
    }
}

/// A JSON text in which places can be found.
struct Document<'a> {
    text: &'a str,
}

impl<'a> Document<'a> {
    fn new(text: &'a str) -> Document<'a> {
        Document { text }
    }

    /// The bytes of a place, on one line.
    fn place(&self, place: &Place, code: Code) -> Option<Range<usize>> {
        let range = match place {
            Place::Position { line, column } => self.position(*line, *column)?,
            Place::Path(path) => self.find(path, code)?,
        };
        let line = self.text[range.start..range.end].find('\n');
        Some(range.start..line.map_or(range.end, |length| range.start + length))
    }

    fn position(&self, line: usize, column: usize) -> Option<Range<usize>> {
        let before: usize = self
            .text
            .split_inclusive('\n')
            .take(line - 1)
            .map(str::len)
            .sum();
        let mut start = (before + column - 1).min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let width = self.text[start..].chars().next().map_or(0, char::len_utf8);
        Some(start..start + width)
    }

    fn find(&self, path: &JsonPath, code: Code) -> Option<Range<usize>> {
        let (collect, parse) = (CollectOptions::default(), ParseOptions::default());
        let root = parse_to_ast(self.text, &collect, &parse).ok()?.value?;
        let mut value = &root;
        let segments = path.segments();
        for (depth, segment) in segments.iter().enumerate() {
            let last = depth + 1 == segments.len();
            match (segment, value) {
                (Segment::Index(index), Value::Array(array)) => {
                    value = array.elements.get(*index)?
                }
                (Segment::Member(name), Value::Object(object)) => {
                    let mut named = object
                        .properties
                        .iter()
                        .filter(|property| property.name.as_str() == name);
                    let twice = last && code == Code::DuplicateMember;
                    let property = if twice {
                        named.next_back()
                    } else {
                        named.next()
                    }?;
                    if last && is_about_the_name(code) {
                        return Some(name_range(property));
                    }
                    value = &property.value;
                }
                _ => return None,
            }
        }
        let range = value.range();
        Some(range.start..range.end)
    }
}

/// Whether a member's name is what it is about, and not its value.
fn is_about_the_name(code: Code) -> bool {
    matches!(
        code,
        Code::DuplicateMember
            | Code::MemberCase
            | Code::UnknownMember
            | Code::IgnoredMember
            | Code::NotTogether
    )
}

fn name_range(property: &ObjectProp<'_>) -> Range<usize> {
    let start = property.range.start;
    start..start + property.name.as_str().len() + 2
}
