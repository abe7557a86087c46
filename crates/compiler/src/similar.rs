//! "Did you mean …?": the known word that a misspelt one looks most like.

/// The most similar of the known words: at most a third of the letters, and at least one, may be wrong,
/// missing, too many or swapped with their neighbours. Case counts for nothing.
pub(crate) fn most_similar<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let word: Vec<char> = letters(word).collect();
    let allowed = (word.len() / 3).max(1);
    let distances = known
        .into_iter()
        .filter(|known| known.len() <= LONGEST)
        .map(|known| (distance(&word, known, allowed), known));
    let near = distances.filter(|(distance, _)| *distance <= allowed);
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// In bytes. No name there is has more.
const LONGEST: usize = 64;

fn letters(word: &str) -> impl Iterator<Item = char> {
    word.chars().map(|letter| letter.to_ascii_lowercase())
}

/// How many letters must be replaced, inserted, deleted, or swapped with the next, to make one of the other; more
/// than `enough` may be told as any such number.
fn distance(a: &[char], b: &str, enough: usize) -> usize {
    if a.len().abs_diff(b.chars().count()) > enough {
        return enough + 1;
    }
    // Row by row: `last` has the distances from each beginning of `a` to the letters of `b` so far.
    let mut before_last = [0; LONGEST + 1];
    let mut last = [0; LONGEST + 1];
    for (i, distance) in last.iter_mut().enumerate() {
        *distance = i;
    }
    let mut previous = None;
    for (j, b) in letters(b).enumerate() {
        let mut row = [0; LONGEST + 1];
        row[0] = j + 1;
        for i in 0..a.len() {
            let differs = usize::from(a[i] != b);
            let mut best = (row[i] + 1).min(last[i + 1] + 1).min(last[i] + differs);
            if i > 0 && previous == Some(a[i]) && a[i - 1] == b {
                best = best.min(before_last[i - 1] + 1);
            }
            row[i + 1] = best;
        }
        before_last = last;
        last = row;
        previous = Some(b);
    }
    last[a.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_one_step() {
        for slip in ["opne", "ope", "opens", "opem", "OPEN", "poen"] {
            assert_eq!(
                most_similar(slip, ["close", "open"]),
                Some("open"),
                "{slip}"
            );
        }
        assert_eq!(most_similar("xyz", ["close", "open"]), None);
        assert_eq!(most_similar("", ["close"]), None);
        assert_eq!(most_similar(&"a".repeat(100_000), ["close"]), None);
        assert_eq!(most_similar("öpen", ["close", "open"]), Some("open"));
    }

    #[test]
    fn distances_are_those_of_words() {
        let between = |a: &str, b| distance(&letters(a).collect::<Vec<_>>(), b, 9);
        assert_eq!(between("", "abc"), 3);
        assert_eq!(between("abc", ""), 3);
        assert_eq!(between("kitten", "sitting"), 3);
        assert_eq!(between("abcd", "badc"), 2);
        let long = "x".repeat(LONGEST);
        assert_eq!(between(&long, &long), 0);
    }
}
