//! Which spellings may mean one account.

use alloc::string::String;
use alloc::vec;

/// A user whose name is not listed in this spelling, and the rule that says whether that excuses them.
///
/// Lists are compared to the letter. A directory is not: for it, `Alice`, `EX\alice`, `EX+alice` and
/// `alice@example.org` are one account, and the user who logs in chooses the spelling. So not being listed excuses a
/// user only if both hold:
///
/// 1. Their name [is plain](Self::is_plain): printable ASCII without blanks.
/// 2. It [cannot mean](Self::may_mean) any name that is listed.
///
/// The first rule is there because nobody can foresee what a directory makes of other characters: SSSD lowercases
/// U+212A to `k`, LDAP takes full-width letters for narrow ones and drops invisible ones, Active Directory and MySQL
/// drop accents, and `ü` is one character or two. With it, the second rule has only spellings in ASCII to catch, also
/// of listed names that are not plain themselves.
///
/// Not caught are aliases that no rule of spelling connects, such as a mail address with another name in it.
#[derive(Debug, Clone, Copy)]
pub struct Unlisted<'u>(&'u [u8]);

impl<'u> Unlisted<'u> {
    /// The rule for `user`.
    #[must_use]
    pub const fn new(user: &'u [u8]) -> Self {
        Self(user)
    }

    /// Whether the name is printable ASCII without blanks.
    #[must_use]
    pub fn is_plain(self) -> bool {
        !self.0.is_empty() && is_plain(self.0)
    }

    /// Whether `listed` may be the same account.
    ///
    /// A domain is a part of the name that a sign sets apart: behind `@`, or before `\`, `+`, `/` or any other ASCII
    /// sign but `.`, `-` and `_` (winbind's separator can be set to any). Which domain it is does not count: `EX` and
    /// `ex.example.org` may be one. A name without a domain may be any part of one that has a domain, for a directory
    /// can be configured to put it on either side.
    ///
    /// The rest is compared by Unicode lower case. A plain name may also be what a directory makes of one that is
    /// not plain: `juergen` or `jurgen` of `jürgen`.
    #[must_use]
    pub fn may_mean(self, listed: &[u8]) -> bool {
        let user = self.0;
        if !listed.iter().any(is_mark) {
            user.split(is_mark).any(|part| are_alike(listed, part))
        } else if !user.iter().any(is_mark) {
            listed.split(is_mark).any(|part| are_alike(part, user))
        } else {
            are_alike(without_domain(listed), without_domain(user))
        }
    }
}

fn is_plain(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

/// A sign that may set a domain apart.
fn is_mark(byte: &u8) -> bool {
    byte.is_ascii_punctuation() && !matches!(byte, b'.' | b'-' | b'_')
}

fn without_domain(name: &[u8]) -> &[u8] {
    let name = name.split(|byte| *byte == b'@').next().unwrap_or_default();
    name.rsplit(is_mark).next().unwrap_or_default()
}

fn are_alike(one: &[u8], other: &[u8]) -> bool {
    match (is_plain(one), is_plain(other)) {
        (true, true) => one.eq_ignore_ascii_case(other),
        (true, false) => may_become(other, one),
        (false, true) => may_become(one, other),
        (false, false) => folded(&String::from_utf8_lossy(one)).eq(folded(&String::from_utf8_lossy(other))),
    }
}

/// The lower case of a text, whatever the language. Capitals come between: only they tell that `ſ` is an `s`, `ß` is
/// `ss`, and `ı` is an `i` in Turkish; and `ẞ` must become `ß` before.
fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Whether a directory may make `plain` of `name`, which is not plain.
///
/// The tables for this fill libraries, and each directory has its own. So any character that is not plain is taken for
/// up to two of any other: `ü` for `u` or `ue`, `ｋ` for `k`, a combining accent for nothing, a blank for `_`. That
/// finds too much rather than too little: a user who is rejected by mistake can be listed.
fn may_become(name: &[u8], plain: &[u8]) -> bool {
    const MOST: usize = 2;
    // How much of `plain` may match the part of `name` that was read so far.
    let mut reached = vec![0];
    for letter in folded(&String::from_utf8_lossy(name)) {
        if letter.is_ascii_graphic() {
            let is_next = |at: &usize| {
                plain.get(*at).is_some_and(|byte| char::from(byte.to_ascii_lowercase()) == letter)
            };
            reached = reached.into_iter().filter(is_next).map(|at| at.saturating_add(1)).collect();
        } else if is_of_another_script(letter) {
            return false;
        } else {
            let on = |at: usize| at..=plain.len().min(at.saturating_add(MOST));
            reached = reached.into_iter().flat_map(on).collect();
            reached.sort_unstable();
            reached.dedup();
        }
        if reached.is_empty() {
            return false;
        }
    }
    reached.contains(&plain.len())
}

/// A letter of Greek, Cyrillic, Hebrew, Arabic, Chinese and so on. No directory writes these in Latin letters.
fn is_of_another_script(letter: char) -> bool {
    letter.is_alphabetic()
        && matches!(letter, '\u{370}'..='\u{1cff}' | '\u{2e80}'..='\u{a71f}' | '\u{ac00}'..='\u{d7ff}' | '\u{20000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn may_mean(user: &str, listed: &str) -> bool {
        Unlisted::new(user.as_bytes()).may_mean(listed.as_bytes())
    }

    #[test]
    fn spellings_of_one_account() {
        for spellings in [
            &["kate", "KATE", "\u{212a}ate", "ｋａｔｅ", "kate ", "k\u{ad}ate"][..],
            &["kate", "EX\\Kate", "EX+kate", "EX/kate", "kate@ex.org", "EX+kate@ex.org", "EX#kate"],
            &["kate", "kate+EX", "kate/EX", "kate@EX@ex.org"],
            &["jürgen", "JÜRGEN", "EX+jÜrgen", "jurgen", "juergen@ex.org"],
            &["ju\u{308}rgen", "JU\u{308}RGEN", "jurgen", "juergen"],
            &["straße", "STRAẞE", "strasse", "STRASSE"],
            &["ıvan", "ivan", "IVAN"],
            &["İbrahim", "i\u{307}brahim", "ibrahim"],
            &["ſam", "sam", "SAM"],
            &["мария", "МАРИЯ", "ex+мария", "мария@ex.org"],
            &["john smith", "john_smith", "johnsmith"],
        ] {
            let [first, others @ ..] = spellings else { continue };
            for other in others {
                assert!(may_mean(first, other) && may_mean(other, first), "{first} {other}");
            }
        }
    }

    #[test]
    fn different_accounts() {
        for (one, other) in [
            ("kate", "kat"),
            ("kate", "svc-kate"),
            ("kate", "k.ate"),
            ("EX+kate", "EX+carol"),
            ("kate@ex.org", "carol@ex.org"),
            ("joseph", "josé"),
            ("jürgen", "bürgen"),
            ("ivan", "иван"),
            ("tanaka", "田中"),
            ("first.last", "мария.иванова"),
        ] {
            assert!(!may_mean(one, other) && !may_mean(other, one), "{one} {other}");
        }
    }

    #[test]
    fn plain_names() {
        for (name, plain) in
            [("kate", true), ("EX\\Kate", true), ("a b", false), ("", false), ("é", false), ("a\t", false)]
        {
            assert_eq!(Unlisted::new(name.as_bytes()).is_plain(), plain, "{name:?}");
        }
    }

    proptest! {
        /// Whatever case or domain does to a plain name, and whatever core's case tables make of any.
        #[test]
        fn no_spelling_is_missed(name in "[a-z0-9._-]{1,12}|\\PC{1,6}", domain in "[A-Za-z.]{0,8}") {
            let bare = name.split(|c: char| c.is_ascii() && is_mark(&(c as u8))).next().unwrap();
            prop_assume!(!bare.is_empty());
            for spelling in [bare.to_lowercase(), bare.to_uppercase(), bare.to_owned()] {
                prop_assert!(may_mean(&spelling, bare), "{} {}", spelling, bare);
                for sign in ["\\", "+", "/"] {
                    let with_domain = alloc::format!("{domain}{sign}{spelling}");
                    prop_assert!(may_mean(&with_domain, bare) && may_mean(bare, &with_domain));
                    let upn = alloc::format!("{bare}@{domain}");
                    prop_assert!(may_mean(&with_domain, &upn) && may_mean(&upn, &with_domain));
                }
            }
        }

        #[test]
        fn the_same_both_ways(one: Vec<u8>, other: Vec<u8>) {
            prop_assert_eq!(Unlisted::new(&one).may_mean(&other), Unlisted::new(&other).may_mean(&one));
        }
    }
}
