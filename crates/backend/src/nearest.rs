//! Finds a name for 'Did you mean …?'.

use alloc::vec::Vec;

/// The known name that an unknown word probably means. Returns `None` if the nearest name is too different, or if two names
/// are equally near.
pub fn nearest<'names>(word: &str, names: &[&'names str]) -> Option<&'names str> {
    let mut near: Vec<(usize, &str)> = names.iter().map(|name| (distance(word, name), *name)).collect();
    near.sort_unstable();
    let &(best, name) = near.first()?;
    let is_only_one = near.get(1).is_none_or(|(next, _)| *next > best);
    (is_only_one && best <= name.len() / 3).then_some(name)
}

/// Number of letters to insert, delete or change to make `other` from `one` (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.bytes().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (at, its) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != its);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_pen_is_known_and_another_word_is_not() {
        let backends = ["default", "jemalloc", "mimalloc", "snmalloc", "rust"];
        for (word, meant) in [
            ("jemaloc", Some("jemalloc")),
            ("mimallco", Some("mimalloc")),
            ("Snmalloc", Some("snmalloc")),
            ("rest", Some("rust")),
            // Equally near to three names.
            ("tcmalloc", None),
            ("node", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &backends), meant, "{word}");
        }
        assert_eq!(nearest("anything", &[]), None);
    }
}
