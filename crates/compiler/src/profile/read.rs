//! Reads the members of objects fail-closed: each known, each once, each of its type.

use super::json::Json;
use crate::notice::{Code, JsonPath, ProfileError};
use crate::similar::most_similar;

type Result<T> = std::result::Result<T, ProfileError>;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    pub(super) json: &'a Json,
    pub(super) path: JsonPath,
}

/// An object none of whose members occurs twice or differs from a known one only in case.
pub(super) struct Object<'a> {
    members: &'a [(String, Json)],
    path: JsonPath,
}

impl<'a> At<'a> {
    pub(super) fn object(&self, known: &[&str]) -> Result<Object<'a>> {
        let Json::Object(members) = self.json else {
            return Err(self.wrong_type("an object"));
        };
        let object = Object {
            members,
            path: self.path.clone(),
        };
        object.check_names(known)?;
        Ok(object)
    }

    pub(super) fn array(&self) -> Result<Vec<At<'a>>> {
        let Json::Array(elements) = self.json else {
            return Err(self.wrong_type("an array"));
        };
        let element = |(i, json)| At {
            json,
            path: self.path.index(i),
        };
        Ok(elements.iter().enumerate().map(element).collect())
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
                let error = self.error(Code::OutOfRange, message);
                Err(match twos_complement(text) {
                    Some(number) => {
                        error.help(format!("as a 64-bit argument it is written {number}"))
                    }
                    None => error,
                })
            }
            _ => Err(self.wrong_type("a number")),
        }
    }

    pub(super) fn error(&self, code: Code, message: impl Into<String>) -> ProfileError {
        ProfileError::new(code, self.path.clone(), message)
    }

    /// Looks a name up in a list of those there are.
    pub(super) fn one_of<T: Copy>(&self, what: &str, names: &[(&'static str, T)]) -> Result<T> {
        let text = self.string()?;
        if let Some((_, value)) = names.iter().find(|(name, _)| *name == text) {
            return Ok(*value);
        }
        let similar = most_similar(text, names.iter().map(|(name, _)| *name));
        let error = self.error(Code::UnknownName, format!("unknown {what} `{text}`"));
        Err(error.did_you_mean(similar))
    }

    fn wrong_type(&self, expected: &str) -> ProfileError {
        let message = format!("expected {expected}, found {}", self.json.kind());
        self.error(Code::WrongType, message)
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
    pub(super) fn optional(&self, name: &str) -> Option<At<'a>> {
        let mut named = self
            .members
            .iter()
            .filter(|(member, json)| member == name && *json != Json::Null);
        named.next().map(|(_, json)| At {
            json,
            path: self.path.member(name),
        })
    }

    pub(super) fn required(&self, name: &str) -> Result<At<'a>> {
        self.optional(name).ok_or_else(|| {
            let message = format!("`{name}` is missing");
            ProfileError::new(Code::MissingMember, self.path.clone(), message)
        })
    }

    pub(super) fn array(&self, name: &str) -> Result<Vec<At<'a>>> {
        self.optional(name)
            .map_or(Ok(Vec::new()), |member| member.array())
    }

    pub(super) fn string(&self, name: &str) -> Result<Option<String>> {
        let text = self
            .optional(name)
            .map(|member| member.string().map(str::to_owned));
        text.transpose()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.optional(name).is_some()
    }

    pub(super) fn path(&self) -> &JsonPath {
        &self.path
    }

    /// The members that are none of those there are.
    pub(super) fn unknown(&self, known: &[&str]) -> impl Iterator<Item = (&'a str, JsonPath)> {
        let unknown = self
            .members
            .iter()
            .filter(|(name, _)| !known.contains(&name.as_str()));
        unknown.map(|(name, _)| (name.as_str(), self.path.member(name)))
    }

    /// Refuses members that are none of those there are.
    pub(super) fn only(&self, known: &[&str]) -> Result<()> {
        let Some((name, path)) = self.unknown(known).next() else {
            return Ok(());
        };
        let error = ProfileError::new(
            Code::UnknownMember,
            path,
            format!("unknown member `{name}`"),
        );
        Err(error.did_you_mean(most_similar(name, known.iter().copied())))
    }

    fn check_names(&self, known: &[&str]) -> Result<()> {
        for (i, (name, _)) in self.members.iter().enumerate() {
            let path = || self.path.member(name);
            if self.members[..i].iter().any(|(earlier, _)| earlier == name) {
                let message = format!("`{name}` occurs twice");
                return Err(ProfileError::new(Code::DuplicateMember, path(), message));
            }
            let only_case = |known: &&&str| known.eq_ignore_ascii_case(name) && **known != name;
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
}
