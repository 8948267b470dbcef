//! Changing the mapping while keeping everything else in it: comments, order, line ends.

use super::{Line, MAX_LINE, parse_line, trim};
use crate::TokenId;
use alloc::collections::BTreeMap;
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
    let mut edits = Edits::new(text);
    edits.add(user, ids)?;
    Ok(edits.text())
}

/// The text with `user` listed: without a token, on a new line at the end, if no line lists them yet.
///
/// # Errors
/// A mapping cannot contain the name.
pub fn list(text: &[u8], user: &[u8]) -> Result<Vec<u8>, BadUserName> {
    let mut edits = Edits::new(text);
    edits.list(user)?;
    Ok(edits.text())
}

/// Many edits of one mapping: it is read once, whatever their number.
#[derive(Debug, Clone)]
pub struct Edits {
    /// Each with its end. One that was removed is empty.
    lines: Vec<Vec<u8>>,
    /// The lines of each user.
    of: BTreeMap<Vec<u8>, Vec<usize>>,
}

impl Edits {
    /// Of the mapping with this text.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let mut of = BTreeMap::<Vec<u8>, Vec<usize>>::new();
        for (at, line) in lines.iter().enumerate() {
            if let Some(user) = user_of(line) {
                of.entry(user.to_vec()).or_default().push(at);
            }
        }
        Self { lines, of }
    }

    /// The text with all edits.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        self.lines.concat()
    }

    /// As [`add`].
    ///
    /// # Errors
    /// A mapping cannot contain the name.
    pub fn add(&mut self, user: &[u8], ids: &[TokenId]) -> Result<(), BadUserName> {
        check_name(user)?;
        for id in ids {
            let field = [b":".as_slice(), id.to_string().as_bytes()].concat();
            let own = self.of.get(user).into_iter().flatten().rev();
            let room = |line: &Vec<u8>| content(line).len().saturating_add(field.len()) <= MAX_LINE;
            let at = own.copied().find(|at| self.lines.get(*at).is_some_and(room));
            match at.and_then(|at| self.lines.get_mut(at)) {
                Some(line) => {
                    let (body, end) = line.split_at(content(line).len());
                    *line = [body.strip_suffix(b":").unwrap_or(body), &field, end].concat();
                }
                None => self.append(user, &[user, &field].concat()),
            }
        }
        Ok(())
    }

    /// As [`list`].
    ///
    /// # Errors
    /// A mapping cannot contain the name.
    pub fn list(&mut self, user: &[u8]) -> Result<(), BadUserName> {
        check_name(user)?;
        if !self.of.contains_key(user) {
            self.append(user, &[user, b":"].concat());
        }
        Ok(())
    }

    /// As [`remove`]. Returns how many fields or lines went, and whether the user is still listed, now without any token.
    pub fn remove(&mut self, user: &[u8], id: Option<&TokenId>) -> (usize, bool) {
        let (mut count, mut tokens_left) = (0_usize, false);
        let own = match id {
            Some(_) => self.of.get(user).cloned(),
            None => self.of.remove(user),
        };
        for at in own.unwrap_or_default() {
            let Some(line) = self.lines.get_mut(at) else { continue };
            match id {
                Some(id) => {
                    let (new, went, has_others) = without(line, id);
                    *line = new;
                    count = count.saturating_add(went);
                    tokens_left |= has_others;
                }
                None => {
                    line.clear();
                    count = count.saturating_add(1);
                }
            }
        }
        (count, id.is_some() && count > 0 && !tokens_left)
    }

    /// Adds a line of this user at the end, with the line end of the first line.
    fn append(&mut self, user: &[u8], line: &[u8]) {
        let is_there = |line: &&Vec<u8>| !line.is_empty();
        let first = self.lines.iter().find(is_there);
        let end: &[u8] = if first.is_some_and(|line| line.ends_with(b"\r\n")) { b"\r\n" } else { b"\n" };
        if let Some(last) = self.lines.iter_mut().rfind(|line| !line.is_empty())
            && !last.ends_with(b"\n")
        {
            // A carriage return at the very end is half of a line end already.
            last.extend_from_slice(if last.ends_with(b"\r") { b"\n" } else { end });
        }
        self.of.entry(user.to_vec()).or_default().push(self.lines.len());
        self.lines.push([line, end].concat());
    }
}

/// A line without an id, how often it had it, and whether it has others.
fn without(line: &[u8], id: &TokenId) -> (Vec<u8>, usize, bool) {
    let (mut new, mut count, mut kept, mut has_others) =
        (Vec::with_capacity(line.len()), 0_usize, false, false);
    let (body, end) = line.split_at(content(line).len());
    let mut fields = body.split(|byte| *byte == b':');
    new.extend_from_slice(fields.next().unwrap_or_default());
    for field in fields {
        if TokenId::parse(trim(field)).as_ref() == Ok(id) {
            count = count.saturating_add(1);
        } else {
            new.push(b':');
            new.extend_from_slice(field);
            kept = true;
            has_others |= !trim(field).is_empty();
        }
    }
    if !kept {
        new.push(b':');
    }
    new.extend_from_slice(end);
    (new, count, has_others)
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

/// The text without one id of `user`, or, for `None`, without the user.
///
/// Taking the last id leaves `user:`, which lists the user without a token: they stay refused, where a missing line
/// would let them in wherever a line has `nullok`.
#[must_use]
pub fn remove(text: &[u8], user: &[u8], id: Option<&TokenId>) -> Removed {
    let mut edits = Edits::new(text);
    let (count, listed_without) = edits.remove(user, id);
    Removed { text: edits.text(), count, listed_without }
}

/// Whose line it is.
fn user_of(line: &[u8]) -> Option<&[u8]> {
    match parse_line(line.strip_suffix(b"\n").unwrap_or(line)) {
        Ok(Line::Entry { user, .. }) => Some(user),
        _ => None,
    }
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
        /// Many edits at once come to the same as one after another.
        #[test]
        fn many_edits_are_the_edits(
            lines in proptest::collection::vec("(#[ -~]{0,8}|[ab]{1,2}(:v[vcb]){0,3}:?|[ -~]{0,6})\r?", 0..6),
            edits in proptest::collection::vec((0..3_u8, "[ab]{1,2}", "v[vcb]"), 0..8),
        ) {
            let text = lines.join("\n").into_bytes();
            let (mut one_by_one, mut at_once) = (text.clone(), Edits::new(&text));
            for (what, user, token) in edits {
                let (user, token) = (user.as_bytes(), id(&(token + "vv")));
                match what {
                    0 => {
                        one_by_one = add(&one_by_one, user, &[token]).unwrap();
                        at_once.add(user, &[token]).unwrap();
                    }
                    1 => {
                        one_by_one = list(&one_by_one, user).unwrap();
                        at_once.list(user).unwrap();
                    }
                    _ => {
                        let token = (token.to_string() != "vbvv").then_some(token);
                        let removed = remove(&one_by_one, user, token.as_ref());
                        let said = at_once.remove(user, token.as_ref());
                        prop_assert_eq!(said, (removed.count, removed.listed_without));
                        one_by_one = removed.text;
                    }
                }
            }
            prop_assert_eq!(at_once.text(), one_by_one);
        }

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
