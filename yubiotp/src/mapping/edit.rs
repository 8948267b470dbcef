//! Changing the mapping while keeping everything else in it: comments, order, line ends.

use super::{Line, MAX_LINE, parse_line, trim};
use crate::TokenId;
use alloc::string::ToString;
use alloc::vec::Vec;

/// A mapping cannot contain the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a user's name in the mapping cannot be empty, longer than 256 bytes, begin with # or hold a colon, blanks around it or control characters"
)]
pub struct BadUserName;

/// The longest name of a user, in bytes: as long as Linux has them anywhere.
const MAX_NAME: usize = 256;

/// The result of [`remove`].
#[derive(Debug, PartialEq, Eq)]
pub struct Removed {
    /// The new text.
    pub text: Vec<u8>,
    /// How many fields or lines went.
    pub count: usize,
    /// The user is still listed, now without any token.
    pub listed_without: bool,
}

/// The text with `ids` added for `user`: behind the last of the user's lines that has room, or on a new line at the
/// end. Ids that the user has already are the caller's to leave out.
///
/// # Errors
/// A mapping cannot contain the name.
pub fn add(text: &[u8], user: &[u8], ids: &[TokenId]) -> Result<Vec<u8>, BadUserName> {
    check_name(user)?;
    let mut lines = lines_of(text);
    for id in ids {
        let field = [b":".as_slice(), id.to_string().as_bytes()].concat();
        let room =
            |line: &Vec<u8>| is_of(line, user) && content(line).len().saturating_add(field.len()) <= MAX_LINE;
        if let Some(line) = lines.iter_mut().rfind(|line| room(line)) {
            let (body, end) = line.split_at(content(line).len());
            *line = [body.strip_suffix(b":").unwrap_or(body), &field, end].concat();
        } else {
            append(&mut lines, &[user, &field].concat());
        }
    }
    Ok(lines.concat())
}

/// The text with `user` listed: without a token, on a new line at the end, if no line lists them yet.
///
/// # Errors
/// A mapping cannot contain the name.
pub fn list(text: &[u8], user: &[u8]) -> Result<Vec<u8>, BadUserName> {
    check_name(user)?;
    let mut lines = lines_of(text);
    if !lines.iter().any(|line| is_of(line, user)) {
        append(&mut lines, &[user, b":"].concat());
    }
    Ok(lines.concat())
}

/// Whether a mapping can contain the name of a user.
///
/// # Errors
/// It cannot.
pub fn check_name(user: &[u8]) -> Result<(), BadUserName> {
    let named =
        matches!(parse_line(&[user, b":"].concat()), Ok(Line::Entry { user: name, .. }) if name == user);
    if !named || user.len() > MAX_NAME || user.contains(&b':') || user.contains(&b'\n') {
        return Err(BadUserName);
    }
    Ok(())
}

fn lines_of(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Adds a line at the end, with the line end of the first line.
fn append(lines: &mut Vec<Vec<u8>>, line: &[u8]) {
    let end: &[u8] = if lines.first().is_some_and(|line| line.ends_with(b"\r\n")) { b"\r\n" } else { b"\n" };
    if let Some(last) = lines.last_mut().filter(|last| !last.ends_with(b"\n")) {
        // A carriage return at the very end is half of a line end already.
        last.extend_from_slice(if last.ends_with(b"\r") { b"\n" } else { end });
    }
    lines.push([line, end].concat());
}

/// The text without one id of `user`, or, for `None`, without the user.
///
/// Taking the last id leaves `user:`, which lists the user without a token: they stay refused, where a missing line
/// would let them in wherever a line has `nullok`.
#[must_use]
pub fn remove(text: &[u8], user: &[u8], id: Option<&TokenId>) -> Removed {
    let mut removed = Removed { text: Vec::with_capacity(text.len()), count: 0, listed_without: false };
    let mut tokens_left = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if !is_of(line, user) {
            removed.text.extend_from_slice(line);
        } else if let Some(id) = id {
            let (body, end) = line.split_at(content(line).len());
            let mut fields = body.split(|byte| *byte == b':');
            removed.text.extend_from_slice(fields.next().unwrap_or_default());
            let mut kept = false;
            for field in fields {
                if TokenId::parse(trim(field)).as_ref() == Ok(id) {
                    removed.count = removed.count.saturating_add(1);
                } else {
                    removed.text.push(b':');
                    removed.text.extend_from_slice(field);
                    kept = true;
                    tokens_left |= !trim(field).is_empty();
                }
            }
            if !kept {
                removed.text.push(b':');
            }
            removed.text.extend_from_slice(end);
        } else {
            removed.count = removed.count.saturating_add(1);
        }
    }
    removed.listed_without = id.is_some() && removed.count > 0 && !tokens_left;
    removed
}

fn is_of(line: &[u8], user: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    matches!(parse_line(line), Ok(Line::Entry { user: name, .. }) if name == user)
}

/// A line without its end and the blanks before that.
fn content(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Enrolment, Search};
    use alloc::string::String;
    use alloc::vec;
    use proptest::prelude::*;

    fn id(text: &str) -> TokenId {
        TokenId::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn added_where_a_person_would() {
        for (before, after) in [
            ("", "alice:vvcd\n"),
            ("# who\nalice:vvcb\nbob:vvcb\n", "# who\nalice:vvcb:vvcd\nbob:vvcb\n"),
            ("alice:\n", "alice:vvcd\n"),
            ("alice:vvcb:\r\n", "alice:vvcb:vvcd\r\n"),
            ("bob:vvcb", "bob:vvcb\nalice:vvcd\n"),
            ("bob:vvcb\r\n", "bob:vvcb\r\nalice:vvcd\r\n"),
            ("#\nbob:vvcb\r", "#\nbob:vvcb\r\nalice:vvcd\n"),
            ("#\r\nbob:vvcb\r", "#\r\nbob:vvcb\r\nalice:vvcd\r\n"), // found by fuzzing
        ] {
            let text = add(before.as_bytes(), b"alice", &[id("vvcd")]).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), after);
        }
        for name in ["", "#a", "a:b", " a", "a\nb", "a\0", &"a".repeat(257)] {
            assert_eq!(add(b"", name.as_bytes(), &[id("vvcd")]), Err(BadUserName), "{name:?}");
        }
    }

    #[test]
    fn listed_without_a_token_once() {
        for (before, after) in [
            ("", "alice:\n"),
            ("# who\r\nbob:vvcb", "# who\r\nbob:vvcb\r\nalice:\r\n"),
            ("alice:vvcb\n", "alice:vvcb\n"),
            ("alice:\n", "alice:\n"),
        ] {
            assert_eq!(String::from_utf8(list(before.as_bytes(), b"alice").unwrap()).unwrap(), after);
        }
        assert_eq!(list(b"", b"a:b"), Err(BadUserName));
    }

    #[test]
    fn removed_and_the_rest_kept() {
        let text = b"# who\n alice : vvcb : vvcd\r\nbob:vvcb\nalice:vvcb\n";
        let one = remove(text, b"alice", Some(&id("vvcb")));
        assert_eq!(one.text, b"# who\n alice : vvcd\r\nbob:vvcb\nalice:\n");
        assert_eq!((one.count, one.listed_without), (2, false));
        let both = remove(&one.text, b"alice", Some(&id("vvcd")));
        assert_eq!(
            (both.text.as_slice(), both.listed_without),
            (&b"# who\n alice :\r\nbob:vvcb\nalice:\n"[..], true)
        );
        assert_eq!(remove(text, b"alice", None).text, b"# who\nbob:vvcb\n");
    }

    proptest! {
        /// Adding and removing again changes nothing for anybody else, and keeps every other byte.
        #[test]
        fn edits_keep_everything_else(
            lines in proptest::collection::vec("(#[ -~]{0,8}|[ab]{1,2}(:v[vcb]){0,3}:?|[ -~]{0,6})\r?", 0..8),
        ) {
            let text = lines.join("\n");
            let added = add(text.as_bytes(), b"zoe", &[id("vvvv")]).unwrap();
            let prefix = text.trim_end_matches('\n').trim_end_matches('\r').as_bytes();
            prop_assert!(added.starts_with(prefix));
            let mut search = Search::new(b"zoe");
            search.lines(&added);
            prop_assert_eq!(search.finish(), Ok(Enrolment::Listed(vec![id("vvvv")])));
            let removed = remove(&added, b"zoe", None);
            prop_assert!(removed.text.starts_with(text.as_bytes()));
            prop_assert!(removed.text.len() <= text.len() + 2);
        }
    }
}
