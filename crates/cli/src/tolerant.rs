//! Profiles as people keep them: with comments, and commas behind the last element.
//!
//! Neither is JSON, and no container runtime reads them, so only `check` does, and says so. Both are replaced by spaces, so
//! that every place stays where it was.

/// What was passed over, as the first byte of each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tolerated {
    /// The document without it.
    pub(crate) bytes: Vec<u8>,
    pub(crate) comments: Vec<usize>,
    pub(crate) commas: Vec<usize>,
}

/// Replaces comments (`// …` and `/* … */`) and trailing commas by spaces. Line breaks stay.
pub(crate) fn tolerate(document: &[u8]) -> Tolerated {
    let mut bytes = document.to_vec();
    let (mut comments, mut commas) = (Vec::new(), Vec::new());
    // The last comma, if nothing but space and comments came behind it.
    let mut open_comma = None;
    let mut at = 0;
    while at < document.len() {
        let length = match &document[at..] {
            [b'"', ..] => string_length(&document[at..]),
            rest @ [b'/', b'/' | b'*', ..] => {
                let length = comment_length(rest);
                comments.push(at);
                blank(&mut bytes[at..at + length]);
                at += length;
                continue;
            }
            _ => 1,
        };
        match document[at] {
            b',' => open_comma = Some(at),
            b']' | b'}' => {
                if let Some(comma) = open_comma.take() {
                    commas.push(comma);
                    bytes[comma] = b' ';
                }
            }
            byte if byte.is_ascii_whitespace() => {}
            _ => open_comma = None,
        }
        at += length;
    }
    Tolerated {
        bytes,
        comments,
        commas,
    }
}

/// How long a string is, its quotes included. One that doesn't end goes to the end.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn comment_length(text: &[u8]) -> usize {
    let end = match text[1] {
        b'/' => text.iter().position(|byte| *byte == b'\n'),
        _ => {
            let mut pairs = text[2..].windows(2);
            pairs.position(|pair| pair == b"*/").map(|at| at + 4)
        }
    };
    end.unwrap_or(text.len())
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(document: &str) -> String {
        String::from_utf8(tolerate(document.as_bytes()).bytes).unwrap()
    }

    #[test]
    fn comments_and_last_commas_become_spaces() {
        assert_eq!(text("[1, // one\n2,]"), "[1,       \n2 ]");
        assert_eq!(text("{\"a\":1,/*\nx*/}"), "{\"a\":1   \n   }");
        assert_eq!(text("[1] // end"), "[1]       ");
        assert_eq!(text("[1, /* for ever"), "[1,            ");
    }

    #[test]
    fn what_is_json_stays() {
        for json in [r#"["//", "/*", ",]", "\"//"]"#, "[1, 2]", "/", "\"", "[,1]"] {
            assert_eq!(text(json), json);
        }
    }

    #[test]
    fn a_comma_too_many_is_one() {
        let tolerated = tolerate(b"[1,,]");
        assert_eq!(
            (tolerated.bytes, tolerated.commas),
            (b"[1, ]".to_vec(), vec![3])
        );
    }
}
