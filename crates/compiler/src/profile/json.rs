//! JSON with nothing lost: members in their order, and twice if they are there twice.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::limits::MAX_PROFILE_BYTES;
use crate::notice::{Code, JsonPath, Place, ProfileError};

/// A name and a value.
pub(super) type Member<'a> = (Cow<'a, str>, Json<'a>);

/// A JSON value. Strings without escapes are those of the document.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// A whole number from 0 to 2^64 - 1.
    Unsigned(u64),
    /// Any other number, as it may be printed. The document may have written it otherwise.
    OtherNumber(String),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Vec<Member<'a>>),
}

impl<'a> Json<'a> {
    /// Reads a document.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Json<'a>, ProfileError> {
        if bytes.len() > MAX_PROFILE_BYTES {
            let message = format!(
                "{} bytes are more than any profile has; at most {MAX_PROFILE_BYTES} are read",
                bytes.len()
            );
            return Err(ProfileError::new(Code::TooLarge, JsonPath::root(), message));
        }
        // Checked at once, the text is read sooner than string by string; where it isn't text, that tells the place.
        let read = match std::str::from_utf8(bytes) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(bytes),
        };
        read.map_err(|error| syntax_error(bytes, &error))
    }

    /// What it is, for a sentence.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Unsigned(_) | Json::OtherNumber(_) => "a number",
            Json::String(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }
}

fn syntax_error(bytes: &[u8], error: &serde_json::Error) -> ProfileError {
    let (line, column) = (error.line().max(1), error.column().max(1));
    let text = error.to_string();
    let message = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(message, _)| message);
    let (message, help) = explanation(bytes, line, column, message);
    ProfileError {
        code: Code::Syntax,
        place: Place::Position { line, column },
        message: format!("not JSON: {message}"),
        help: help.map(str::to_owned),
        related: Vec::new(),
    }
}

/// What is wrong where the reader stopped, and what would mend it, for what people and tools get wrong.
fn explanation<'a>(
    bytes: &[u8],
    line: usize,
    column: usize,
    message: &'a str,
) -> (&'a str, Option<&'static str>) {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return ("the document is empty", None);
    }
    if message == "recursion limit exceeded" {
        return ("nested deeper than any profile", None);
    }
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
    if marks.iter().any(|mark| bytes.starts_with(mark)) {
        let help = "save it as UTF-8 without a byte order mark";
        return ("there is a byte order mark at the beginning", Some(help));
    }
    let line = bytes.split(|byte| *byte == b'\n').nth(line - 1);
    let here = line.and_then(|line| line.get(column - 1..));
    let help = match here.unwrap_or_default() {
        [b'/' | b'#', ..] => Some("JSON has no comments; an entry may have a `comment` member"),
        [b'\'', ..] => Some("strings stand in double quotes"),
        [b'x' | b'X', ..] => Some("numbers are decimal"),
        _ => None,
    };
    (message, help)
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(u64::try_from(value)
            .map_or_else(|_| Json::OtherNumber(value.to_string()), Json::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        // 1.0 is not 1 here.
        Ok(Json::OtherNumber(format!("{value:?}")))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json<'de>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key()? {
            let Json::String(name) = name else {
                return Err(A::Error::custom("the name of a member is a string"));
            };
            members.push((name, map.next_value()?));
        }
        Ok(Json::Object(members))
    }
}
