//! What is said about a profile: codes that stay, places in the document, notices.
//!
//! An error ends the reading of a profile. A notice says what is odd but legal, and what it comes to; it never changes
//! the filter. Both have a [`Code`] that scripts can rely on, and a [`JsonPath`] to the place.

mod code;

use std::fmt;

use crate::call::Call;

pub use code::{Code, NotACode};

/// A place in a JSON document: `syscalls[12].names[3]`. The whole document is `.`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JsonPath(Vec<Segment>);

/// A step into a JSON value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// To a member of an object.
    Member(String),
    /// To an element of an array, from 0.
    Index(usize),
}

impl JsonPath {
    /// The whole document.
    #[must_use]
    pub fn root() -> JsonPath {
        JsonPath::default()
    }

    /// The place of a member of the object here.
    #[must_use]
    pub fn member(&self, name: &str) -> JsonPath {
        self.with(Segment::Member(name.to_owned()))
    }

    /// The place of an element of the array here.
    #[must_use]
    pub fn index(&self, index: usize) -> JsonPath {
        self.with(Segment::Index(index))
    }

    /// The steps from the document to here.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn with(&self, segment: Segment) -> JsonPath {
        let mut path = self.clone();
        path.0.push(segment);
        path
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Member(name) if i == 0 => f.write_str(name)?,
                Segment::Member(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Something odd but legal about a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which kind.
    pub code: Code,
    /// Where.
    pub path: JsonPath,
    /// What it comes to: a sentence without capital and full stop.
    pub message: String,
    /// The least change that would end it, if there is one to name.
    pub help: Option<String>,
    /// A call that shows the difference, where there is a difference to show.
    pub witness: Option<Call>,
}

impl Notice {
    pub(crate) fn new(code: Code, path: JsonPath, message: impl Into<String>) -> Notice {
        Notice {
            code,
            path,
            message: message.into(),
            help: None,
            witness: None,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Notice {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn witness(mut self, witness: Call) -> Notice {
        self.witness = Some(witness);
        self
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.code, self.path, self.message)
    }
}

/// A profile that can't be taken: what is wrong, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileError {
    /// Which kind.
    pub code: Code,
    /// Where.
    pub place: Place,
    /// What is wrong: a sentence without capital and full stop.
    pub message: String,
    /// The least change that would mend it, if there is one to name.
    pub help: Option<String>,
    /// Other places that have to do with it, each with a word on how.
    pub related: Vec<(JsonPath, String)>,
}

/// A place in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A value.
    Path(JsonPath),
    /// A character, where the document is not JSON: line and column, from 1.
    Position {
        /// The line.
        line: usize,
        /// The column, in bytes.
        column: usize,
    },
}

impl ProfileError {
    pub(crate) fn new(code: Code, path: JsonPath, message: impl Into<String>) -> ProfileError {
        ProfileError {
            code,
            place: Place::Path(path),
            message: message.into(),
            help: None,
            related: Vec::new(),
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> ProfileError {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn related(mut self, path: JsonPath, how: impl Into<String>) -> ProfileError {
        self.related.push((path, how.into()));
        self
    }

    /// "did you mean …?", if there is a word to mean.
    pub(crate) fn did_you_mean(self, word: Option<&str>) -> ProfileError {
        match word {
            Some(word) => self.help(format!("did you mean `{word}`?")),
            None => self,
        }
    }
}

/// A text of the document in a sentence: in backquotes, and cut where it is longer than any name.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

/// In characters.
const LONGEST_QUOTE: usize = 80;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Path(path) => path.fmt(f),
            Place::Position { line, column } => write!(f, "line {line}, column {column}"),
        }
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.code, self.place, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ProfileError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_in_a_program() {
        let path = JsonPath::root()
            .member("syscalls")
            .index(12)
            .member("names")
            .index(3);
        assert_eq!(path.to_string(), "syscalls[12].names[3]");
        assert_eq!(JsonPath::root().to_string(), ".");
        assert_eq!(Code::UnknownName.to_string(), "CG0007");
    }
}
