//! The mapping, `authorized_yubikeys`: which tokens a user has.
//!
//! The grammar is pam_yubico's, read strictly. A line is `user:id:id…`; lines of one user add up; a line that begins
//! with `#` is a comment; empty fields and blanks around fields do not count, nor does a carriage return at the end
//! of a line, nor a byte order mark before it; `user:` without an ID lists a user without a token. Beside public IDs there
//! are `oath-SERIAL` and `rec-SET` ([`TokenId`]), which pam_yubico does not know. Anything else is an error of that line,
//! and a line with an error says nothing about anybody.

mod diagnostic;
mod edit;
mod spelling;

pub use edit::{BadUserName, Edits, Removed, add, check_name, list, remove};
pub use spelling::Unlisted;

use crate::{BadTokenId, TokenId};
use alloc::vec::Vec;
use memchr::{memchr, memchr_iter, memmem, memrchr};

/// The longest line, in bytes, without its line end.
pub const MAX_LINE: usize = 4096;

/// The entry of one user in the mapping.
#[derive(Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// No line is about them.
    NotListed,
    /// Their tokens, each once, in the order of the file. None if they are listed without.
    Listed(Vec<TokenId>),
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// Blank, or a comment.
    Nothing,
    /// `user:id:id…`
    Entry {
        /// The user's name, not empty. Bytes: names need not be UTF-8.
        user: &'a [u8],
        /// The fields behind it, checked.
        fields: Fields<'a>,
    },
}

/// The ids of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields<'a>(&'a [u8]);

/// The mistake in a line, and what to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLine {
    /// Longer than [`MAX_LINE`].
    TooLong,
    /// A NUL byte.
    Nul,
    /// A control character in the name.
    Control,
    /// No colon.
    NoColon,
    /// Nothing before the first colon.
    NoUser,
    /// It may mean the user who was looked for, and not found, in another spelling.
    OtherSpelling,
    /// A field is no token.
    Id {
        /// Counted from 1, the user.
        field: usize,
        /// The mistake in it.
        why: BadTokenId,
    },
}

/// A line with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// The mistake in it.
    pub why: BadLine,
}

/// Reads one line, without its newline.
///
/// # Errors
/// The mistake in it.
pub fn parse_line(line: &[u8]) -> Result<Line<'_>, BadLine> {
    if line.len() > MAX_LINE {
        return Err(BadLine::TooLong);
    }
    if memchr(0, line).is_some() {
        return Err(BadLine::Nul);
    }
    let line = trim(unmarked(line.strip_suffix(b"\r").unwrap_or(line)));
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(Line::Nothing);
    }
    let (user, fields) =
        memchr(b':', line).and_then(|colon| line.split_at_checked(colon)).ok_or(BadLine::NoColon)?;
    let user = trim(user);
    if user.is_empty() {
        return Err(BadLine::NoUser);
    }
    if user.iter().any(u8::is_ascii_control) {
        return Err(BadLine::Control);
    }
    for (field, text) in (1..).zip(fields.split(|byte| *byte == b':').map(trim)) {
        if !text.is_empty() {
            TokenId::parse(text).map_err(|why| BadLine::Id { field, why })?;
        }
    }
    Ok(Line::Entry { user, fields: Fields(fields) })
}

impl Fields<'_> {
    /// The tokens, in the order of the line.
    pub fn tokens(&self) -> impl Iterator<Item = TokenId> {
        self.0.split(|byte| *byte == b':').filter_map(|text| TokenId::parse(trim(text)).ok())
    }
}

/// A line without the byte order mark that some editors put, unseen, before the first.
fn unmarked(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

/// Blanks and tabs around a field do not count. Nothing else is blank: a form feed is somebody's mistake.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Looks for one user, at memory speed: only lines that begin with their name are read.
pub struct Search<'u> {
    finder: memmem::Finder<'u>,
    found: Found<'u>,
}

struct Found<'u> {
    user: &'u [u8],
    tokens: Option<Vec<TokenId>>,
    problem: Option<Problem>,
    lines_before: usize,
}

impl<'u> Search<'u> {
    /// A search for `user`.
    #[must_use]
    pub fn new(user: &'u [u8]) -> Self {
        let found = Found { user, tokens: None, problem: None, lines_before: 0 };
        Self { finder: memmem::Finder::new(user), found }
    }

    /// Reads on. `text` is whole lines; only the last of a file may lack its newline.
    pub fn lines(&mut self, text: &[u8]) {
        let mut read_to = 0;
        for hit in self.finder.find_iter(text) {
            if hit < read_to {
                continue;
            }
            let begins = text
                .get(..hit)
                .and_then(|before| memrchr(b'\n', before))
                .map_or(0, |at| at.saturating_add(1));
            if !trim(unmarked(text.get(begins..hit).unwrap_or_default())).is_empty() {
                continue;
            }
            let line = text.get(begins..).unwrap_or_default();
            let line = memchr(b'\n', line).and_then(|end| line.get(..end)).unwrap_or(line);
            read_to = begins.saturating_add(line.len());
            self.found.line(line, text.get(..begins).unwrap_or_default());
        }
        self.found.lines_before = self.found.lines_before.saturating_add(newlines(text));
    }

    /// The result, once every line was given. If it is [`Enrolment::NotListed`], the user is not listed only if
    /// [`Check`] finds nothing wrong with any line: the one that cannot be read might be theirs.
    ///
    /// # Errors
    /// The first line that begins with the user's name and cannot be read.
    pub fn finish(self) -> Result<Enrolment, Problem> {
        match (self.found.problem, self.found.tokens) {
            (Some(problem), _) => Err(problem),
            (None, None) => Ok(Enrolment::NotListed),
            (None, Some(tokens)) => Ok(Enrolment::Listed(tokens)),
        }
    }
}

impl Found<'_> {
    fn line(&mut self, line: &[u8], before: &[u8]) {
        match parse_line(line) {
            Ok(Line::Entry { user, fields }) if user == self.user => {
                let found = self.tokens.get_or_insert_default();
                for id in fields.tokens() {
                    if !found.contains(&id) {
                        found.push(id);
                    }
                }
            }
            Ok(Line::Entry { .. } | Line::Nothing) => {}
            Err(why) => {
                let line = newlines(before).saturating_add(self.lines_before).saturating_add(1);
                self.problem.get_or_insert(Problem { line, why });
            }
        }
    }
}

fn newlines(text: &[u8]) -> usize {
    memchr_iter(b'\n', text).count()
}

/// Reads every line, for errors and for other spellings of a user who was not found.
#[derive(Default)]
pub struct Check<'u> {
    /// `None` to look for errors only.
    user: Option<Unlisted<'u>>,
    lines: usize,
    problem: Option<Problem>,
}

impl<'u> Check<'u> {
    /// Reads for errors, and for lines that may mean `user`, who was not found.
    #[must_use]
    pub fn not_found(user: &'u [u8]) -> Self {
        Self { user: Some(Unlisted::new(user)), ..Self::default() }
    }

    /// Reads on. `text` is whole lines; only the last of a file may lack its newline.
    pub fn lines(&mut self, text: &[u8]) {
        if self.problem.is_some() {
            return;
        }
        for line in split(text) {
            self.lines = self.lines.saturating_add(1);
            if let Err(why) = self.line(line) {
                self.problem = Some(Problem { line: self.lines, why });
                return;
            }
        }
    }

    fn line(&self, line: &[u8]) -> Result<(), BadLine> {
        match (parse_line(line)?, self.user) {
            (Line::Entry { user: listed, .. }, Some(user)) if user.may_mean(listed) => {
                Err(BadLine::OtherSpelling)
            }
            _ => Ok(()),
        }
    }

    /// Whether every line can be read, and none may mean the user.
    ///
    /// # Errors
    /// The first line that cannot, or may.
    pub fn finish(self) -> Result<(), Problem> {
        self.problem.map_or(Ok(()), Err)
    }
}

/// The lines of a text, without their newlines.
fn split(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let end = memchr(b'\n', text).unwrap_or(text.len());
        let line = if text.is_empty() { None } else { text.get(..end) };
        text = text.get(end.saturating_add(1)..).unwrap_or_default();
        line
    })
}

/// Every line of a text with its number, counted from 1.
pub fn entries(text: &[u8]) -> impl Iterator<Item = (usize, Result<Line<'_>, BadLine>)> {
    (1..).zip(split(text)).map(|(number, line)| (number, parse_line(line)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BadPublicId, modhex};
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;
    use proptest::prelude::*;

    fn id(text: &str) -> TokenId {
        TokenId::parse(text.as_bytes()).unwrap()
    }

    fn search(text: &[u8], user: &str) -> Result<Enrolment, Problem> {
        let mut search = Search::new(user.as_bytes());
        search.lines(text);
        search.finish()
    }

    #[test]
    fn pam_yubicos_grammar() {
        let text = b"# tokens\nalice:ccccccdbjrgf:vvcb\n\nbob::-:\n alice : vvcb :\tvvcd \r\ncarol:\n#dave:vvcb\nalicette:vvcb";
        for (user, tokens) in [
            ("alice", Some(vec![id("ccccccdbjrgf"), id("vvcb"), id("vvcd")])),
            ("bob", Some(vec![id("-")])),
            ("carol", Some(vec![])),
            ("alicette", Some(vec![id("vvcb")])),
            ("dave", None),
            ("ali", None),
            ("vvcb", None),
        ] {
            let expected = tokens.map_or(Enrolment::NotListed, Enrolment::Listed);
            assert_eq!(search(text, user), Ok(expected), "{user}");
        }
    }

    #[test]
    fn a_line_with_an_error_says_nothing() {
        let long = format!("alice:{}", "vvcb:".repeat(900));
        for (line, why) in [
            ("alice vvcb", BadLine::NoColon),
            ("alice", BadLine::NoColon),
            ("alice:vvc\0b", BadLine::Nul),
            (
                "alice:vvcb:al:vvcb",
                BadLine::Id { field: 3, why: BadPublicId::Modhex(modhex::BadModhex::NotModhex(0)).into() },
            ),
            (
                "alice:vvcb # hers",
                BadLine::Id { field: 2, why: BadPublicId::Modhex(modhex::BadModhex::NotModhex(4)).into() },
            ),
            (&long, BadLine::TooLong),
        ] {
            let text = format!("bob:vvcd\n{line}\nalice:vvcb\n");
            assert_eq!(search(text.as_bytes(), "alice"), Err(Problem { line: 2, why }), "{line:.40}");
            assert_eq!(search(text.as_bytes(), "bob"), Ok(Enrolment::Listed(vec![id("vvcd")])), "{line:.40}");
            let mut check = Check::default();
            check.lines(b"carol:\n");
            check.lines(text.as_bytes());
            assert_eq!(check.finish(), Err(Problem { line: 3, why }), "{line:.40}");
        }
        assert_eq!(parse_line(b":vvcb"), Err(BadLine::NoUser));
        assert_eq!(parse_line(b"a\x07:vvcb"), Err(BadLine::Control));
    }

    #[test]
    fn a_long_line_does_not_name_another_user() {
        // pam_yubico reads everything past 1,023 bytes as a new line.
        let text = format!("bob:{}alice:vvcb\n", "c".repeat(1020));
        assert_eq!(search(text.as_bytes(), "alice"), Ok(Enrolment::NotListed));
    }

    #[test]
    fn a_line_that_may_mean_the_user_is_named() {
        for (user, line) in [
            ("Alice", Some(2)),
            ("EXAMPLE+alice", Some(2)),
            ("bob@x", Some(3)),
            ("dave", Some(4)),
            ("example\\Dave", Some(4)),
            ("Eve", Some(5)),
            ("kate", Some(6)),
            ("jurgen", Some(7)),
            ("carol", None),
            ("EXAMPLE\\carol", None),
            ("alicia", None),
            ("vvcb", None),
        ] {
            let mut check = Check::not_found(user.as_bytes());
            check.lines("# people\nalice:vvcb\n Bob : vvcd\ndave@example.org:\n".as_bytes());
            check.lines("EXAMPLE\\eve:\n\u{212a}ate:\njürgen:\n".as_bytes());
            let expected = line.map_or(Ok(()), |line| Err(Problem { line, why: BadLine::OtherSpelling }));
            assert_eq!(check.finish(), expected, "{user}");
        }
    }

    /// Lines as they are, mostly, and with whatever could be wrong with one; long ones among them.
    fn checked_line() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            8 => "([aAx][+/\\\\])?[aAb]{1,2}(@x?)?",
            1 => "[a-c#éſK \t\0\\\\@!\x7f\u{feff}.]{0,12}",
            1 => "a{4070,4100}",
        ];
        let ids = "(:(vv|cb){6}|(:(vv|CB|c|-){0,6}){0,3}|:(vv){16,18}|(:(v|cb| |\r|\0|é){0,8}){0,4})";
        (name, ids, "\r?").prop_map(|(name, ids, end)| name + &ids + &end)
    }

    proptest! {
        /// The search agrees with reading every line, however the file is cut into pieces.
        #[test]
        fn search_agrees_with_reading_every_line(
            lines in proptest::collection::vec("[ \t]?[ab]{0,2}[ \t]?[:#\0]?(v[vcb]{0,3}:?){0,3}\r?", 0..12),
            cut in 0usize..12,
            user in "[ab]{1,2}",
        ) {
            let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
            let mut expected = None;
            for (_, line) in entries(text.as_bytes()) {
                if let Ok(Line::Entry { user: name, fields }) = line && name == user.as_bytes() {
                    let found: &mut Vec<_> = expected.get_or_insert_default();
                    found.extend(fields.tokens());
                }
            }
            let mut search = Search::new(user.as_bytes());
            let cut = lines.iter().take(cut).map(|line| line.len() + 1).sum::<usize>();
            search.lines(&text.as_bytes()[..cut]);
            search.lines(&text.as_bytes()[cut..]);
            match search.finish() {
                Ok(Enrolment::NotListed) => prop_assert_eq!(expected, None),
                Ok(Enrolment::Listed(tokens)) => {
                    let all = expected.unwrap();
                    prop_assert!(all.iter().all(|id| tokens.contains(id)) && tokens.iter().all(|id| all.contains(id)));
                }
                Err(problem) => {
                    let (_, line) = entries(text.as_bytes()).nth(problem.line - 1).unwrap();
                    prop_assert_eq!(line, Err(problem.why));
                }
            }
        }

        /// Checking agrees with reading every line, and comparing every name, however the file is cut into pieces.
        #[test]
        fn check_agrees_with_reading_every_line(
            lines in proptest::collection::vec(checked_line(), 0..10),
            cut in 0usize..10,
            user in "|([aAx][+/\\\\])?[aAbKé]{1,2}(@x?)?",
            ends in any::<bool>(),
        ) {
            let mut text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
            let cut = lines.iter().take(cut).map(|line| line.len() + 1).sum::<usize>();
            if ends && cut < text.len() {
                text.pop();
            }
            let user = user.as_bytes();
            let expected = (1..).zip(text.strip_suffix('\n').unwrap_or(&text).split('\n')).find_map(|(line, read)| {
                match parse_line(read.as_bytes()) {
                    Err(why) => Some(Problem { line, why }),
                    Ok(Line::Entry { user: name, .. }) if Unlisted::new(user).may_mean(name) => {
                        Some(Problem { line, why: BadLine::OtherSpelling })
                    }
                    Ok(_) => None,
                }
            });
            let mut check = Check::not_found(user);
            check.lines(&text.as_bytes()[..cut]);
            check.lines(&text.as_bytes()[cut..]);
            prop_assert_eq!(check.finish(), expected.map_or(Ok(()), Err));
        }

        #[test]
        fn never_panics(text: Vec<u8>, user: Vec<u8>) {
            let mut search = Search::new(&user);
            search.lines(&text);
            let _ = search.finish();
        }
    }
}
