//! Text in lines.

/// How wide lines get.
pub(crate) const WIDTH: usize = 100;

/// Words in lines of at most `width` columns, as far as they are short enough; a word may break behind a `|`. The first line
/// begins with `first`, the others with as many spaces as that is wide.
pub(crate) fn wrapped<'a>(
    first: &str,
    words: impl IntoIterator<Item = &'a str>,
    width: usize,
) -> String {
    let indent = first.chars().count();
    let mut text = first.to_owned();
    let mut column = indent;
    let pieces = words.into_iter().flat_map(|word| {
        let pieces = word.split_inclusive('|').enumerate();
        pieces.map(|(index, piece)| (piece, usize::from(index == 0)))
    });
    for (word, space) in pieces {
        let length = word.chars().count();
        if column > indent && column + space + length > width {
            text.truncate(text.trim_end().len());
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent && space == 1 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// `a`, `a and b`, `a, b and c`
pub(crate) fn listed<T: ToString>(items: &[T]) -> String {
    let texts: Vec<String> = items.iter().map(T::to_string).collect();
    match &texts[..] {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_laid_out() {
        let words = ["one", "two", "three"];
        assert_eq!(wrapped("  ", words, 9), "  one two\n  three\n");
        assert_eq!(
            wrapped("- ", ["much-too-long", "b"], 4),
            "- much-too-long\n  b\n"
        );
        assert_eq!(
            wrapped("", ["one|two|three", "four"], 8),
            "one|two|\nthree\nfour\n"
        );
        assert_eq!(wrapped("", [], 4), "\n");
        assert_eq!(listed(&[1, 2, 3]), "1, 2 and 3");
    }
}
