//! The lines of a service file, and the words of a line, as libpam takes them.

/// The first line that older versions of libpam cut in two, counted from 1: they read 1,023 bytes at a time, of lines
/// that a backslash joins together.
pub(super) fn cut_off(text: &[u8]) -> Option<usize> {
    const PIECE: usize = 1023;
    let physical = (1..).zip(text.split(|byte| *byte == b'\n')).find(|(_, line)| line.len() >= PIECE);
    let joined = lines(text)
        .into_iter()
        .find(|(_, line)| line.as_ref().is_some_and(|line| line.len() >= PIECE))
        .map(|(number, _)| number);
    physical.map(|(number, _)| number).into_iter().chain(joined).min()
}

/// The lines of a service file with their numbers: without comments, without empty ones, put together where a backslash
/// ends one. `None` for one that never ends.
pub(crate) fn lines(text: &[u8]) -> Vec<(usize, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
        let before = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let content = before.trim_ascii();
        if content.is_empty() {
            continue;
        }
        let (number, mut whole) = open.take().unwrap_or((index.saturating_add(1), Vec::new()));
        // A comment ends the line, whatever is before it.
        let commented = before.len() < line.len();
        match content.strip_suffix(b"\\").filter(|_| !commented) {
            Some(part) => {
                whole.extend_from_slice(part);
                whole.push(b' ');
                open = Some((number, whole));
            }
            None => {
                whole.extend_from_slice(content);
                found.push((number, Some(whole)));
            }
        }
    }
    found.extend(open.map(|(number, _)| (number, None)));
    found
}

/// The words of a line. Brackets hold one together; in them `\]` is a bracket.
pub(crate) struct Words<'a>(pub(crate) &'a [u8]);

impl Iterator for Words<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n');
        let start = self.0.iter().position(|byte| !blank(byte))?;
        let rest = self.0.get(start..)?;
        let Some(mut rest) = rest.strip_prefix(b"[") else {
            let end = rest.iter().position(blank).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            // The character that ends a word is skipped.
            self.0 = behind.get(1..).unwrap_or_default();
            return Some(word.to_vec());
        };
        let mut word = Vec::new();
        loop {
            match rest {
                [] => break,
                [b']', behind @ ..] => {
                    rest = behind;
                    break;
                }
                [b'\\', b']', behind @ ..] => {
                    word.push(b']');
                    rest = behind;
                }
                [byte, behind @ ..] => {
                    word.push(*byte);
                    rest = behind;
                }
            }
        }
        self.0 = rest;
        Some(word)
    }
}

pub(crate) fn lossy(word: Vec<u8>) -> String {
    String::from_utf8_lossy(&word).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        Words(line.as_bytes()).map(lossy).collect()
    }

    #[test]
    fn words_as_libpam_takes_them() {
        assert_eq!(
            words("auth\t[success=1 default=ignore]  m.so [prompt=two words] a=[b"),
            ["auth", "success=1 default=ignore", "m.so", "prompt=two words", "a=[b"]
        );
        assert_eq!(words(r"[a\]b][c"), ["a]b", "c"]);
        assert_eq!(words("[]x"), ["", "x"]);
    }

    #[test]
    fn lines_as_libpam_puts_them_together() {
        let text = b"# c\n\n auth required \\\n# between\n  m.so # end\nb \\# no\nlast \\";
        let found: Vec<_> = lines(text).into_iter().map(|(number, line)| (number, line.map(lossy))).collect();
        let expected = [(3, Some("auth required  m.so".to_owned())), (6, Some("b \\".to_owned())), (7, None)];
        assert_eq!(found, expected);
    }
}
