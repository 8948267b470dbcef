//! The mapping, `authorized_yubikeys`: found, checked and edited, against a second reading of its grammar.
//!
//! The search agrees with reading every line, in whatever pieces the file comes. A user who is not listed is excused only
//! if every line can be read and none may mean them in another spelling. An edit changes only the lines of its user, and
//! keeps every other byte.
//!
//! Input: a line with the user's name, and the mapping.
#![no_main]

#[path = "mapping/model.rs"]
mod model;

use libfuzzer_sys::fuzz_target;
use model::{Line, lines, tokens};
use yubiotp::mapping::{Check, Enrolment, Search, add, remove};
use yubiotp::{TokenId, modhex};

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (user, text) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    found(user, text);
    checked(user, text);
    edited(user, text);
});

fn search(user: &[u8], pieces: &[&[u8]]) -> Result<Enrolment, usize> {
    let mut search = Search::new(user);
    pieces.iter().for_each(|piece| search.lines(piece));
    search.finish().map_err(|problem| problem.line)
}

fn written(token: &TokenId) -> Vec<u8> {
    match token {
        TokenId::YubiKey(id) => modhex::encode(id.as_bytes()).into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

fn found(user: &[u8], text: &[u8]) {
    let lines = lines(text);
    let found = search(user, &[text]);
    let pieces: Vec<_> = lines.iter().map(|(line, _)| *line).collect();
    assert_eq!(search(user, &pieces), found, "in pieces");
    if user.is_empty() {
        assert!(!matches!(found, Ok(Enrolment::Listed(_))));
        return;
    }
    match (found, tokens(&lines, user), model::bad_line_of(&lines, user)) {
        (Err(line), _, expected) => assert_eq!(Some(line), expected),
        (Ok(Enrolment::Listed(ids)), expected, None) => {
            assert_eq!(Some(ids.iter().map(written).collect()), expected);
        }
        (Ok(Enrolment::NotListed), expected, None) => assert_eq!(expected, None),
        (Ok(_), _, Some(line)) => panic!("line {line} may be theirs and cannot be read"),
    }
}

fn checked(user: &[u8], text: &[u8]) {
    let lines = lines(text);
    let expected = model::in_the_way(&lines, user);
    let mut check = Check::not_found(user);
    check.lines(text);
    assert_eq!(check.finish().err().map(|problem| problem.line), expected);
    let mut check = Check::not_found(user);
    lines.iter().for_each(|(line, _)| check.lines(line));
    assert_eq!(check.finish().err().map(|problem| problem.line), expected, "in pieces");
}

fn edited(user: &[u8], text: &[u8]) {
    let before = lines(text);
    let (one, two) = (TokenId::parse(b"oath-1").unwrap(), TokenId::parse(b"-").unwrap());
    if let Ok(added) = add(text, user, &[one, two]) {
        let after = lines(&added);
        assert_eq!(
            others(&before, user),
            others(&after, user),
            "the others' lines, and those that say nothing"
        );
        let mut expected = tokens(&before, user).unwrap_or_default();
        let now = tokens(&after, user).unwrap();
        for id in [one, two].iter().map(written) {
            assert!(now.contains(&id));
            if !expected.contains(&id) {
                expected.push(id);
            }
        }
        expected.sort_unstable();
        let mut now = now;
        now.sort_unstable();
        assert_eq!(now, expected);
    }
    let removed = remove(text, user, Some(&one));
    let after = lines(&removed.text);
    assert_eq!(others(&before, user), others(&after, user));
    let expected =
        tokens(&before, user).map(|ids| ids.into_iter().filter(|id| *id != written(&one)).collect());
    let left: Option<Vec<_>> = tokens(&after, user);
    assert_eq!(left, expected, "the user stays listed");
    assert_eq!(removed.count == 0, removed.text == text);
    assert_eq!(removed.listed_without, removed.count > 0 && left.is_some_and(|ids| ids.is_empty()));

    let gone = remove(text, user, None);
    assert_eq!(others(&before, user), others(&lines(&gone.text), user));
    assert_eq!(tokens(&lines(&gone.text), user), None);
}

/// Every line that is not this user's. The last may have got the line end that it lacked.
fn others<'a>(lines: &[(&'a [u8], Line)], user: &[u8]) -> Vec<&'a [u8]> {
    let theirs = |line: &Line| matches!(line, Line::Entry { user: name, .. } if name == user);
    lines
        .iter()
        .filter(|(_, line)| !theirs(line))
        .map(|(text, _)| text.strip_suffix(b"\n").unwrap_or(text))
        .map(|text| text.strip_suffix(b"\r").unwrap_or(text))
        .collect()
}
