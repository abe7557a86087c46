//! JSON in which it is marked where a member occurs twice, as that is refused only in what is read.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The member that an object has in which another one occurs twice.
pub(super) const TWICE: &str = "\u{fdd0} a member occurs twice";

/// Reads a document, and marks objects that have a member twice.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let document: Marked = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(document.0)
}

struct Marked(Value);

impl<'de> Deserialize<'de> for Marked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Marked, D::Error> {
        deserializer.deserialize_any(MarkedVisitor).map(Marked)
    }
}

struct MarkedVisitor;

impl<'de> Visitor<'de> for MarkedVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(Marked(element)) = sequence.next_element()? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Marked(value))) = map.next_entry::<String, Marked>()? {
            if members.insert(name, value).is_some() {
                members.insert(TWICE.to_owned(), Value::Null);
            }
        }
        Ok(Value::Object(members))
    }
}
