//! "Did you mean …?": the known word that a misspelt one looks most like.

/// The most similar of the known words: at most a third of the letters, and at least one, may be wrong,
/// missing, too many or swapped with their neighbours. Case counts for nothing.
pub(crate) fn most_similar<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    if word.len() > LONGEST {
        return None;
    }
    let allowed = (word.chars().count() / 3).max(1);
    let distances = known
        .into_iter()
        .map(|k| (distance(&word, &k.to_ascii_lowercase()), k));
    let near = distances.filter(|(distance, _)| *distance <= allowed);
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Longer than any name there is.
const LONGEST: usize = 64;

/// How many letters must be replaced, inserted, deleted, or swapped with the next, to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_one_step() {
        for slip in ["opne", "ope", "opens", "opem", "OPEN"] {
            assert_eq!(
                most_similar(slip, ["close", "open"]),
                Some("open"),
                "{slip}"
            );
        }
        assert_eq!(most_similar("xyz", ["close", "open"]), None);
        assert_eq!(most_similar("", ["close"]), None);
        assert_eq!(most_similar(&"a".repeat(100_000), ["close"]), None);
    }
}
