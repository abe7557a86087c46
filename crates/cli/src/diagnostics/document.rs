//! A JSON text in which places can be found.

use std::cell::OnceCell;
use std::ops::Range;

use callgate::compiler::notice::{Code, JsonPath, Place, Segment};
use jsonc_parser::ast::{ObjectProp, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::{Diagnostic, Source};

/// A JSON text in which places can be found: many at the price of one, for a profile may be all mistakes.
pub(crate) struct Document<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    /// Where each line begins; no lines if the bytes are no text, in which no place can be shown.
    line_starts: Vec<usize>,
    /// Read when a path is first looked for: a text that isn't JSON is never put to a parser that recurses.
    root: OnceCell<Option<Value<'a>>>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(source: &Source<'a>) -> Document<'a> {
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
    pub(super) fn lines(&self, range: &Range<usize>) -> (Range<usize>, usize) {
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
    pub(super) fn place(&self, place: &Place, code: Code) -> Option<Range<usize>> {
        let range = match place {
            Place::Position { line, column } => self.position(*line, *column)?,
            Place::Path(path) => self.find(path, code)?,
        };
        let line = self.text[range.start..range.end].find('\n');
        Some(range.start..line.map_or(range.end, |length| range.start + length))
    }

    /// The line of a byte and its column in characters, both from 1.
    pub(super) fn line_and_column(&self, at: usize) -> (usize, usize) {
        let (line, byte) = self.line_and_byte(at);
        let before = &self.text[at + 1 - byte..at];
        (line, before.chars().count() + 1)
    }

    /// The line of a byte and its column in bytes, both from 1: a [`Place::Position`].
    pub(crate) fn line_and_byte(&self, at: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= at);
        let start = line.checked_sub(1).map_or(0, |line| self.line_starts[line]);
        (line.max(1), at - start + 1)
    }

    /// The line on which a place begins.
    pub(crate) fn line(&self, place: &Place, code: Code) -> Option<usize> {
        let range = self.place(place, code)?;
        Some(self.line_and_byte(range.start).0)
    }

    /// Where something that is said begins, so that it can be said in the order of the document.
    pub(crate) fn start(&self, diagnostic: &Diagnostic) -> usize {
        let range = self.place(&diagnostic.place, diagnostic.code);
        range.map_or(0, |range| range.start)
    }

    /// The text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The bytes of the value at a path.
    pub(crate) fn value(&self, path: &JsonPath) -> Option<Range<usize>> {
        self.find(path, Code::NotProved)
    }

    /// `FILE:LINE:COLUMN` of the value at a path, as editors take it; the file alone if the path leads nowhere.
    pub(crate) fn locate(&self, path: &JsonPath) -> String {
        match self.value(path) {
            Some(range) => {
                let (line, column) = self.line_and_column(range.start);
                format!("{}:{line}:{column}", self.name)
            }
            None => self.name.to_owned(),
        }
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
