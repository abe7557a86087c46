//! What is said about a profile: codes that stay, places in the document, notices.
//!
//! An error ends the reading of a profile. A notice says what is odd but legal, and what it comes to; it never changes
//! the filter. Both have a [`Code`] that scripts can rely on, and a [`JsonPath`] to the place.

use std::fmt;

use crate::call::Call;

/// Identifies a kind of error or notice for good: `CG0007`. Numbers below 100 are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The document is not JSON, or nested too deep.
    Syntax = 1,
    /// A value has another type than it must have.
    WrongType = 2,
    /// A member occurs twice.
    DuplicateMember = 3,
    /// A member differs from a known one only in case.
    MemberCase = 4,
    /// An entry, argument or condition has a member that is not known.
    UnknownMember = 5,
    /// A member is missing.
    MissingMember = 6,
    /// A name of an action, operator, flag, architecture, capability or errno is not known.
    UnknownName = 7,
    /// A number is out of range.
    OutOfRange = 8,
    /// Two things exclude each other.
    NotTogether = 9,
    /// A configuration has no seccomp part.
    NoSeccomp = 10,
    /// NOTIFY is not possible there.
    NotifyRefused = 11,
    /// Two rules have the same conditions and different actions.
    Conflict = 12,
    /// A system call is not known, and strictness was asked for.
    StrictSyscall = 13,
    /// The document is larger than any profile.
    TooLarge = 14,
    /// The filter is longer than the kernel takes.
    FilterTooLong = 15,

    /// A member at the top level is not known.
    IgnoredMember = 101,
    /// A system call is not known on any architecture.
    UnknownSyscall = 102,
    /// An entry names no system call.
    NoNames = 103,
    /// An architecture can't occur under the kernel that the filter is for.
    ForeignArchitecture = 104,
    /// A masked comparison has datum bits that the mask doesn't.
    DatumOutsideMask = 105,
    /// A datum has more bits than the arguments of a 32-bit ABI.
    DatumTooWide = 106,
    /// An entry has several conditions on one argument, which makes each of them a rule.
    RepeatedArgument = 107,
    /// A rule can decide no call.
    DeadRule = 108,
    /// A condition is lost where the call goes through a multiplexer.
    LostCondition = 109,
    /// A rule says what the default action says.
    RedundantRule = 110,
    /// A second value is given to an operator that takes one.
    IgnoredValue = 111,
    /// A flag has no effect without NOTIFY.
    IgnoredFlag = 112,
    /// A rule comes before another one that stands earlier in the document, and takes all its calls.
    PrefixRule = 113,
    /// The order of the rules in the document would give another verdict.
    OrderDependent = 114,
    /// The filter is too intricate to be proved within bounds. It is compiled and checked all the same.
    NotProved = 115,
}

impl Code {
    /// All of them, by number.
    pub const ALL: [Code; 30] = {
        use Code::*;
        [
            Syntax,
            WrongType,
            DuplicateMember,
            MemberCase,
            UnknownMember,
            MissingMember,
            UnknownName,
            OutOfRange,
            NotTogether,
            NoSeccomp,
            NotifyRefused,
            Conflict,
            StrictSyscall,
            TooLarge,
            FilterTooLong,
            IgnoredMember,
            UnknownSyscall,
            NoNames,
            ForeignArchitecture,
            DatumOutsideMask,
            DatumTooWide,
            RepeatedArgument,
            DeadRule,
            LostCondition,
            RedundantRule,
            IgnoredValue,
            IgnoredFlag,
            PrefixRule,
            OrderDependent,
            NotProved,
        ]
    };

    /// What it is about, in a line.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Code::Syntax => "the document is not JSON, or nested too deep",
            Code::WrongType => "a value of another type than its member has",
            Code::DuplicateMember => "a member that occurs twice",
            Code::MemberCase => "a member that differs from a known one only in case",
            Code::UnknownMember => "an unknown member where it could change what is meant",
            Code::MissingMember => "a member that must be there is missing",
            Code::UnknownName => {
                "an unknown action, operator, flag, architecture, capability or errno"
            }
            Code::OutOfRange => "a value out of range",
            Code::NotTogether => "two things that exclude each other",
            Code::NoSeccomp => "a configuration without a seccomp part",
            Code::NotifyRefused => "NOTIFY where it can't be",
            Code::Conflict => "rules with the same conditions and different actions",
            Code::StrictSyscall => "an unknown system call, in strict mode",
            Code::TooLarge => "a document larger than any profile",
            Code::FilterTooLong => "a filter longer than the kernel takes",
            Code::IgnoredMember => "an unknown member at the top level",
            Code::UnknownSyscall => "a system call that no architecture has",
            Code::NoNames => "an entry without a system call",
            Code::ForeignArchitecture => "an architecture that can't occur under the kernel",
            Code::DatumOutsideMask => "bits to compare that the mask leaves out",
            Code::DatumTooWide => "a value that 32-bit arguments can't have",
            Code::RepeatedArgument => "conditions on one argument, any of which suffices",
            Code::DeadRule => "a rule that decides nothing",
            Code::LostCondition => "a condition that a multiplexed call loses",
            Code::RedundantRule => "a rule that does what the default action does",
            Code::IgnoredValue => "a second value for an operator that takes one",
            Code::IgnoredFlag => "a flag without effect",
            Code::PrefixRule => "a rule behind a shorter one that stands later",
            Code::OrderDependent => "rules whose order in the document would give another verdict",
            Code::NotProved => "a filter too intricate to be proved",
        }
    }

    /// Whether it ends the reading.
    #[must_use]
    pub fn is_error(self) -> bool {
        self.number() < 100
    }

    /// Its number, as in `CG0007`.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }
}

/// `CG0007`
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CG{:04}", self.number())
    }
}

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
    fn codes_are_listed_by_number() {
        assert!(Code::ALL.is_sorted_by_key(|code| code.number()));
        let errors = Code::ALL.iter().filter(|code| code.is_error()).count();
        assert_eq!((errors, Code::ALL.len() - errors), (15, 15));
        let titles: std::collections::BTreeSet<_> = Code::ALL.map(Code::title).into();
        assert_eq!(titles.len(), Code::ALL.len());
    }

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
