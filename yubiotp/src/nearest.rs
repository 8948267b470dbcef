//! Which name a misspelt one means.

use alloc::vec;
use alloc::vec::Vec;

/// Which of these names is meant by one that is misspelt: the nearest, if no more than two letters are wrong, and not
/// half of them. A `=` at the end of a name does not count.
#[must_use]
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &str| distance(word.as_bytes(), name.trim_end_matches('=').as_bytes());
    let close = |(wrong, name): &(usize, &str)| *wrong <= 2 && wrong.saturating_mul(2) < name.len();
    names
        .into_iter()
        .map(|name| (near(name), name))
        .filter(close)
        .min_by_key(|(wrong, _)| *wrong)
        .map(|(_, name)| name)
}

/// How many letters must be added, taken out or replaced to make one of the other.
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (done, letter) in one.iter().enumerate() {
        let mut left = done.saturating_add(1);
        let mut next = vec![left];
        for ((kept, above), own) in row.iter().zip(row.iter().skip(1)).zip(other) {
            let kept = kept.saturating_add(usize::from(letter != own));
            left = kept.min(above.saturating_add(1)).min(left.saturating_add(1));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_found() {
        let names = ["tries=", "nullok", "echo"];
        for (word, name) in [
            ("tires", Some("tries=")),
            ("nulok", Some("nullok")),
            ("ehco", None),
            ("", None),
            ("nullok", Some("nullok")),
        ] {
            assert_eq!(nearest(word, names), name, "{word}");
        }
    }
}
