//! Reads the members of objects fail-closed: each known, each once, each of its type.

use std::borrow::Cow;
use std::collections::HashSet;

use super::json::{Json, Member};
use crate::notice::{Code, JsonPath, ProfileError, quoted};
use crate::similar::most_similar;

type Result<T> = std::result::Result<T, ProfileError>;

/// A value and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    json: &'a Json<'a>,
    trail: Trail<'a>,
}

/// An object none of whose members occurs twice or differs from a known one only in case.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    members: &'a [Member<'a>],
    trail: Trail<'a>,
}

/// A path that is passed down by value, since only what is odd needs one to keep.
#[derive(Clone, Copy, Debug)]
struct Trail<'a> {
    steps: [Step<'a>; DEEPEST],
    length: usize,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Member(&'a str),
    Index(usize),
}

/// As deep as a profile is read: `linux.seccomp.syscalls[0].includes.caps[0]` has seven steps. Of deeper values the
/// beginning of the path would be told.
const DEEPEST: usize = 8;

impl<'a> At<'a> {
    pub(super) fn document(json: &'a Json<'a>) -> At<'a> {
        let trail = Trail {
            steps: [Step::Index(0); DEEPEST],
            length: 0,
        };
        At { json, trail }
    }

    pub(super) fn path(&self) -> JsonPath {
        self.trail.path()
    }

    /// Whether it is an object with such a member.
    pub(super) fn has(&self, name: &str) -> bool {
        match self.json {
            Json::Object(members) => member(members, name).is_some(),
            _ => false,
        }
    }

    pub(super) fn object(&self, known: &[&str]) -> Result<Object<'a>> {
        let Json::Object(members) = self.json else {
            return Err(self.wrong_type("an object"));
        };
        let trail = self.trail;
        let object = Object { members, trail };
        object.check_names(known)?;
        Ok(object)
    }

    pub(super) fn array(&self) -> Result<impl Iterator<Item = At<'a>> + use<'a>> {
        let Json::Array(elements) = self.json else {
            return Err(self.wrong_type("an array"));
        };
        let trail = self.trail;
        let element = move |(i, json)| At {
            json,
            trail: trail.with(Step::Index(i)),
        };
        Ok(elements.iter().enumerate().map(element))
    }

    pub(super) fn string(&self) -> Result<&'a str> {
        match self.json {
            Json::String(text) => Ok(text),
            _ => Err(self.wrong_type("a string")),
        }
    }

    pub(super) fn unsigned(&self) -> Result<u64> {
        match self.json {
            Json::Unsigned(number) => Ok(*number),
            Json::OtherNumber(text) => {
                let message = format!("{text} is not a whole number from 0 to 2^64 - 1");
                Err(self.error(Code::OutOfRange, message))
            }
            _ => Err(self.wrong_type("a number")),
        }
    }

    /// What an argument is compared with: all 64 bits of it.
    pub(super) fn datum(&self) -> Result<u64> {
        self.unsigned().map_err(|error| match self.json {
            Json::OtherNumber(text) => match twos_complement(text) {
                Some(number) => error.help(format!("as a 64-bit argument it is written {number}")),
                None => error,
            },
            Json::String(text) => match number_in(text) {
                Some(number) => error.help(format!("write {number}, without quotes")),
                None => error,
            },
            _ => error,
        })
    }

    pub(super) fn error(&self, code: Code, message: impl Into<String>) -> ProfileError {
        ProfileError::new(code, self.path(), message)
    }

    /// Looks a name up in a list of those there are.
    pub(super) fn one_of<T: Copy>(&self, what: &str, names: &[(&'static str, T)]) -> Result<T> {
        let text = self.string()?;
        if let Some((_, value)) = names.iter().find(|(name, _)| *name == text) {
            return Ok(*value);
        }
        let names = || names.iter().map(|(name, _)| *name);
        let without_prefix = |name: &&str| {
            let prefix = name.strip_suffix(text.to_ascii_uppercase().as_str());
            prefix.is_some_and(|prefix| prefix.ends_with('_'))
        };
        let similar = names()
            .find(without_prefix)
            .or_else(|| most_similar(text, names()));
        Err(self.unknown_name(what, similar))
    }

    /// Says that a string is none of the names there are.
    pub(super) fn unknown_name(&self, what: &str, similar: Option<&str>) -> ProfileError {
        let text = self.string().map(quoted).unwrap_or_default();
        let error = self.error(Code::UnknownName, format!("unknown {what} {text}"));
        error.did_you_mean(similar)
    }

    fn wrong_type(&self, expected: &str) -> ProfileError {
        let message = format!("expected {expected}, found {}", self.json.kind());
        self.error(Code::WrongType, message)
    }
}

/// The number that a string was meant as: decimal or hexadecimal.
fn number_in(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A negative number as the argument register that it would be.
fn twos_complement(text: &str) -> Option<u64> {
    text.parse::<i64>()
        .ok()
        .map(|number| u64::from_ne_bytes(number.to_ne_bytes()))
}

impl<'a> Object<'a> {
    /// The member of a name; null counts as absent.
    pub(super) fn optional(&self, name: &'a str) -> Option<At<'a>> {
        member(self.members, name).map(|json| At {
            json,
            trail: self.trail.with(Step::Member(name)),
        })
    }

    pub(super) fn required(&self, name: &'a str) -> Result<At<'a>> {
        self.optional(name).ok_or_else(|| {
            let message = format!("`{name}` is missing");
            ProfileError::new(Code::MissingMember, self.path(), message)
        })
    }

    pub(super) fn array(&self, name: &'a str) -> Result<impl Iterator<Item = At<'a>> + use<'a>> {
        let member = self.optional(name).map(|member| member.array());
        Ok(member.transpose()?.into_iter().flatten())
    }

    pub(super) fn string(&self, name: &'a str) -> Result<Option<String>> {
        let text = self
            .optional(name)
            .map(|member| member.string().map(str::to_owned));
        text.transpose()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        member(self.members, name).is_some()
    }

    pub(super) fn path(&self) -> JsonPath {
        self.trail.path()
    }

    /// The members that are none of those there are; null counts as absent.
    pub(super) fn unknown(&self, known: &[&str]) -> impl Iterator<Item = (&'a str, JsonPath)> {
        let unknown = self
            .members
            .iter()
            .filter(|(name, json)| !known.contains(&&**name) && *json != Json::Null);
        unknown.map(|(name, _)| (&**name, self.path().member(name)))
    }

    /// Refuses members that are none of those there are.
    pub(super) fn only(&self, known: &[&str]) -> Result<()> {
        let Some((name, path)) = self.unknown(known).next() else {
            return Ok(());
        };
        let error = ProfileError::new(
            Code::UnknownMember,
            path,
            format!("unknown member {}", quoted(name)),
        );
        Err(error.did_you_mean(most_similar(name, known.iter().copied())))
    }

    fn check_names(&self, known: &[&str]) -> Result<()> {
        let twice = self.twice();
        for (i, (name, _)) in self.members.iter().enumerate() {
            let path = || self.path().member(name);
            if twice == Some(i) {
                let message = format!("{} occurs twice", quoted(name));
                return Err(ProfileError::new(Code::DuplicateMember, path(), message));
            }
            let only_case = |known: &&&str| differ_in_case_only(known, name);
            if let Some(known) = known.iter().find(only_case) {
                let message = format!("`{name}` differs from `{known}` only in case");
                let error = ProfileError::new(Code::MemberCase, path(), message);
                return Err(error.help(format!(
                    "write `{known}`: some readers take both for the same"
                )));
            }
        }
        Ok(())
    }

    /// The first member whose name an earlier one has.
    fn twice(&self) -> Option<usize> {
        let names = || self.members.iter().map(|(name, _)| name);
        if self.members.len() <= FEW {
            let is_twice =
                |(i, name): (usize, &Cow<'_, str>)| names().take(i).any(|earlier| earlier == name);
            return (0..).zip(names()).position(is_twice);
        }
        let mut seen = HashSet::new();
        names().position(|name| !seen.insert(name))
    }
}

fn member<'a>(members: &'a [Member<'a>], name: &str) -> Option<&'a Json<'a>> {
    let is_there = |(n, json): &&Member<'_>| n == name && *json != Json::Null;
    members.iter().find(is_there).map(|(_, json)| json)
}

/// Whether two names are one to Go's JSON reader, which folds case beyond ASCII: U+017F is a small `s` to it, and U+212A
/// a capital `K`.
fn differ_in_case_only(known: &str, name: &str) -> bool {
    let folded = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => c.to_ascii_lowercase(),
    };
    known != name && known.chars().map(folded).eq(name.chars().map(folded))
}

/// So few members that comparing each with each takes no time.
const FEW: usize = 16;

impl<'a> Trail<'a> {
    fn with(mut self, step: Step<'a>) -> Trail<'a> {
        if let Some(next) = self.steps.get_mut(self.length) {
            *next = step;
            self.length += 1;
        }
        self
    }

    fn path(&self) -> JsonPath {
        let steps = self.steps.iter().take(self.length);
        steps.fold(JsonPath::root(), |path, step| match step {
            Step::Member(name) => path.member(name),
            Step::Index(index) => path.index(*index),
        })
    }
}
