//! Changes to the text of a profile that leave all else as it stands.

use callgate::Profile;
use callgate::compiler::notice::{JsonPath, Segment};

use crate::diagnostics::{Document, Source};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// One more entry, as JSON.
    Add(String),
    /// The name at a path is taken out, and its entry with it if it was the only one.
    Remove(JsonPath),
    /// An element is taken out of its array.
    Drop(JsonPath),
    /// A member is taken out of its object, where it isn't the first.
    DropMember(JsonPath),
    /// A value gives way to another, as JSON.
    Replace(JsonPath, String),
}

/// The text of a profile with a change made; `None` if it has no such place.
pub(crate) fn apply(text: &str, profile: &Profile, edit: &Edit) -> Option<String> {
    let bytes = text.as_bytes();
    let document = Document::new(&Source { name: "", bytes });
    match edit {
        Edit::Add(entry) => add(&document, &profile.path, entry),
        Edit::Drop(path) => {
            let (array, index) = parent(path);
            remove(&document, &array, index?)
        }
        Edit::DropMember(path) => {
            // From the comma before its name to its end.
            let value = document.value(path)?;
            let before = text[..value.start].trim_end().strip_suffix(':')?.trim_end();
            let name = before.strip_suffix('"')?.rfind('"')?;
            let comma = text[..name].trim_end().strip_suffix(',')?.len();
            Some(spliced(text, comma..value.end, ""))
        }
        Edit::Replace(path, with) => Some(spliced(text, document.value(path)?, with)),
        Edit::Remove(name) => {
            let (array, index) = parent(name);
            match index {
                Some(index) if document.value(&array.index(1)).is_some() => {
                    remove(&document, &array, index)
                }
                _ => {
                    let (entry, _) = parent(name);
                    let entry = if index.is_some() {
                        parent(&entry).0
                    } else {
                        entry
                    };
                    let (array, index) = parent(&entry);
                    remove(&document, &array, index?)
                }
            }
        }
    }
}

/// Appends to `syscalls`, in a line of its own if the others have theirs.
fn add(document: &Document<'_>, profile: &JsonPath, entry: &str) -> Option<String> {
    let text = document.text();
    let array = profile.member("syscalls");
    let Some(range) = document.value(&array) else {
        // The first member of the object.
        let start = document.value(profile)?.start + 1;
        let comma = if text[start..].trim_start().starts_with('}') {
            ""
        } else {
            ","
        };
        let member = format!("\n  \"syscalls\": [{entry}]{comma}");
        return Some(spliced(text, start..start, &member));
    };
    let last = (0..)
        .map(|index| document.value(&array.index(index)))
        .take_while(Option::is_some)
        .last()
        .flatten();
    let Some(last) = last else {
        return Some(spliced(text, range, &format!("[{entry}]")));
    };
    let line = text[..last.start]
        .rfind('\n')
        .map(|at| &text[at..last.start]);
    let gap = match line {
        Some(indent) if indent.trim().is_empty() => indent,
        _ => " ",
    };
    let added = format!(",{gap}{entry}");
    Some(spliced(text, last.end..last.end, &added))
}

/// Takes an element out of an array, with a comma beside it.
fn remove(document: &Document<'_>, array: &JsonPath, index: usize) -> Option<String> {
    let element = |index| document.value(&array.index(index));
    let range = element(index)?;
    let before = index.checked_sub(1).and_then(element);
    let range = match (before, element(index + 1)) {
        (Some(before), _) => before.end..range.end,
        (None, Some(next)) => range.start..next.start,
        (None, None) => range,
    };
    Some(spliced(document.text(), range, ""))
}

fn spliced(text: &str, range: std::ops::Range<usize>, with: &str) -> String {
    [&text[..range.start], with, &text[range.end..]].concat()
}

/// The path of what a value stands in, and its index if that is an array.
fn parent(path: &JsonPath) -> (JsonPath, Option<usize>) {
    let Some((last, segments)) = path.segments().split_last() else {
        return (JsonPath::root(), None);
    };
    let joined = segments
        .iter()
        .fold(JsonPath::root(), |path, segment| match segment {
            Segment::Member(name) => path.member(name),
            Segment::Index(index) => path.index(*index),
        });
    match last {
        Segment::Index(index) => (joined, Some(*index)),
        Segment::Member(_) => (joined, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, edit: &Edit) -> String {
        let profile = Profile::parse(text.as_bytes()).unwrap();
        let edited = apply(text, &profile, edit).unwrap();
        Profile::parse(edited.as_bytes()).unwrap();
        edited
    }

    const ENTRY: &str = r#"{"names":["b"],"action":"SCMP_ACT_ALLOW"}"#;

    #[test]
    fn entries_are_added_at_the_end() {
        let add = Edit::Add(ENTRY.to_owned());
        let text = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[\n\t{\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\"}\n]}";
        let expected = text.replace("}\n]", &format!("}},\n\t{ENTRY}\n]"));
        assert_eq!(edited(text, &add), expected);
        let one_line = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["a"],"action":"SCMP_ACT_ALLOW"}]}"#;
        let expected = one_line.replace("}]", &format!("}}, {ENTRY}]"));
        assert_eq!(edited(one_line, &add), expected);
        let empty = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[ ]}"#;
        let expected = empty.replace("[ ]", &format!("[{ENTRY}]"));
        assert_eq!(edited(empty, &add), expected);
        let none = r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#;
        let expected = format!("{{\n  \"syscalls\": [{ENTRY}],{}", &none[1..]);
        assert_eq!(edited(none, &add), expected);
        let config = format!(r#"{{"ociVersion":"1.0.2","linux":{{"seccomp":{one_line}}}}}"#);
        let expected = config.replace("}]", &format!("}}, {ENTRY}]"));
        assert_eq!(edited(&config, &add), expected);
    }

    #[test]
    fn elements_members_and_values_are_changed_in_place() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","flags":["SECCOMP_FILTER_FLAG_LOG"],"syscalls":[{"names":["a"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":1, "valueTwo" : 2,"op":"SCMP_CMP_EQ"}]}]}"#;
        let flag = Edit::Drop(JsonPath::root().member("flags").index(0));
        assert_eq!(
            edited(text, &flag),
            text.replace("\"SECCOMP_FILTER_FLAG_LOG\"", "")
        );
        let entry = JsonPath::root().member("syscalls").index(0);
        let arg = entry.member("args").index(0);
        let member = Edit::DropMember(arg.member("valueTwo"));
        assert_eq!(
            edited(text, &member),
            text.replace(", \"valueTwo\" : 2", "")
        );
        let value = Edit::Replace(arg.member("value"), "7".to_owned());
        assert_eq!(
            edited(text, &value),
            text.replace("\"value\":1", "\"value\":7")
        );
    }

    #[test]
    fn names_are_removed_with_an_entry_that_has_no_other() {
        let entry = |names: &str| format!(r#"{{"names":[{names}],"action":"SCMP_ACT_LOG"}}"#);
        let profile = |entries: &[String]| {
            let entries = entries.join(", ");
            format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{entries}]}}"#)
        };
        let name = |entry, name| {
            let entries = JsonPath::root().member("syscalls");
            Edit::Remove(entries.index(entry).member("names").index(name))
        };
        let text = profile(&[entry(r#""a", "b""#), entry(r#""c""#)]);
        let expected = profile(&[entry(r#""b""#), entry(r#""c""#)]);
        assert_eq!(edited(&text, &name(0, 0)), expected);
        let expected = profile(&[entry(r#""a""#), entry(r#""c""#)]);
        assert_eq!(edited(&text, &name(0, 1)), expected);
        let expected = profile(&[entry(r#""a", "b""#)]);
        assert_eq!(edited(&text, &name(1, 0)), expected);
        assert_eq!(
            edited(&profile(&[entry(r#""c""#)]), &name(0, 0)),
            profile(&[])
        );
    }
}
