//! Errors and notices about a profile, with the lines that they are about.

use std::cell::OnceCell;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
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
        &Document::new(source),
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

pub(crate) fn show_notices(source: &Source<'_>, notices: &[Notice], arch: Arch) {
    let document = Document::new(source);
    for notice in notices {
        show_notice(&document, notice, arch);
    }
}

fn show_notice(document: &Document<'_>, notice: &Notice, arch: Arch) {
    let witness = notice.witness.map(|witness| call::display(&witness, arch));
    show(
        document,
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

fn show(document: &Document<'_>, diagnostic: &Diagnostic<'_>) {
    anstream::eprintln!("{}\n", render(document, diagnostic));
}

fn render(document: &Document<'_>, diagnostic: &Diagnostic<'_>) -> String {
    let code = diagnostic.code.to_string();
    let title = diagnostic
        .level
        .clone()
        .primary_title(diagnostic.message)
        .id(code.as_str());
    let where_it_is = format!("{}: {}", document.name, diagnostic.place);
    let mut group = match document.place(&diagnostic.place, diagnostic.code) {
        Some(range) => Group::with_title(title).element(snippet(document, range, diagnostic)),
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

/// The lines of a place, and of those that have to do with it.
fn snippet<'a>(
    document: &'a Document<'_>,
    range: Range<usize>,
    diagnostic: &'a Diagnostic<'_>,
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

/// A JSON text in which places can be found: many at the price of one, for a profile may be all mistakes.
struct Document<'a> {
    name: &'a str,
    text: &'a str,
    /// Where each line begins; no lines if the bytes are no text, in which no place can be shown.
    line_starts: Vec<usize>,
    /// Read when a path is first looked for: a text that isn't JSON is never put to a parser that recurses.
    root: OnceCell<Option<Value<'a>>>,
}

impl<'a> Document<'a> {
    fn new(source: &Source<'a>) -> Document<'a> {
        let text = std::str::from_utf8(source.bytes);
        let line_starts = text.map(|text| {
            let behind_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(behind_breaks).collect()
        });
        Document {
            name: source.name,
            text: text.unwrap_or(""),
            line_starts: line_starts.unwrap_or_default(),
            root: OnceCell::new(),
        }
    }

    /// The bytes of the lines that a range touches, and the number of the first.
    fn lines(&self, range: &Range<usize>) -> (Range<usize>, usize) {
        let number = self
            .line_starts
            .partition_point(|start| *start <= range.start);
        let start = self.line_starts[number - 1];
        let rest = &self.text[range.end..];
        let end = rest
            .find('\n')
            .map_or(self.text.len(), |length| range.end + length);
        (start..end, number)
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
        let before = *self.line_starts.get(line.saturating_sub(1))?;
        let mut start = (before + column.saturating_sub(1)).min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let width = self.text[start..].chars().next().map_or(0, char::len_utf8);
        Some(start..start + width)
    }

    fn root(&self) -> Option<&Value<'a>> {
        let parse = || {
            let (collect, options) = (CollectOptions::default(), ParseOptions::default());
            parse_to_ast(self.text, &collect, &options).ok()?.value
        };
        self.root.get_or_init(parse).as_ref()
    }

    fn find(&self, path: &JsonPath, code: Code) -> Option<Range<usize>> {
        let mut value = self.root()?;
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
