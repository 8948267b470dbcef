//! Key files, as an administrator imports them from wherever.
//!
//! Tokens that are read are written as an export, which reads back as the same tokens. Each token is on the line that is
//! named, with its ID. Problems name lines that exist, and contain nothing of them that could be a secret.
//!
//! Input: a key file.
#![no_main]

use data_encoding::{BASE64, HEXLOWER};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use yubiotp::keyfile::{
    Entry, Format, KeyFile, MAX_PROBLEMS, PassedOver, Secret, read, write_plain, write_sealed,
};

fuzz_target!(|text: &[u8]| {
    let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
    match read(text) {
        Ok(file) => taken(text, &lines, &file),
        Err(problems) => {
            assert!((1..=MAX_PROBLEMS).contains(&problems.len()));
            assert!(problems.is_sorted_by_key(|problem| problem.line));
            for problem in &problems {
                let line = lines.get(problem.line - 1).expect("a line that is there");
                let said = problem.to_string();
                let hex = line.split(|byte| !byte.is_ascii_hexdigit()).filter(|word| word.len() >= 12);
                for word in hex.filter_map(|word| str::from_utf8(word).ok()) {
                    assert!(!said.contains(word), "{said}");
                }
            }
        }
    }
});

fn taken(text: &[u8], lines: &[&[u8]], file: &KeyFile) {
    let ids: BTreeSet<_> = file.entries.iter().map(|entry| entry.public_id).collect();
    assert_eq!(ids.len(), file.entries.len(), "each token once");
    for entry in &file.entries {
        assert!(stands_on(lines[entry.line - 1], entry), "{}", entry.public_id);
        assert!(matches!(entry.secret, Secret::Plain(_)) || file.format == Format::Export);
    }
    for (line, why) in &file.passed_over {
        let text = lines.get(line - 1).expect("a line that is there");
        if let PassedOver::Repetition { first } = why {
            let entry = file.entries.iter().find(|entry| entry.line == *first).expect("an entry");
            assert!(first < line && stands_on(text, entry), "{why}");
        }
    }
    assert!(file.entries.len() + file.passed_over.len() <= lines.len());
    again(&file.entries);
    // What a login's host may be sent has no order of its own: with and without a byte order mark it is the same.
    let marked = [b"\xef\xbb\xbf", text].concat();
    if !text.starts_with(b"\xef\xbb\xbf") {
        assert!(read(&marked).is_ok_and(|marked| same(&marked.entries, &file.entries)));
    }
}

/// Whether a line has the id of a token and its secrets.
fn stands_on(line: &[u8], entry: &Entry) -> bool {
    let small = line.to_ascii_lowercase();
    let secrets = match &entry.secret {
        Secret::Plain(credential) => {
            let [id, key] = [&credential.private_id.expose()[..], credential.aes_key.expose()];
            has(&small, HEXLOWER.encode(id).as_bytes()) && has(&small, HEXLOWER.encode(key).as_bytes())
        }
        Secret::Sealed { sealed, .. } => has(line, BASE64.encode(sealed.as_bytes()).as_bytes()),
    };
    secrets && has(&small, entry.public_id.to_string().as_bytes())
}

fn has(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

/// Written and read again.
fn again(entries: &[Entry]) {
    let plain = entries.iter().filter_map(|entry| match &entry.secret {
        Secret::Plain(credential) => Some((entry.public_id, credential)),
        Secret::Sealed { .. } => None,
    });
    let plain = write_plain(plain);
    let sealed = entries.iter().filter_map(|entry| match &entry.secret {
        Secret::Sealed { under, sealed } => Some((entry.public_id, *under, sealed)),
        Secret::Plain(_) => None,
    });
    let sealed = write_sealed(sealed);
    let body = sealed.strip_prefix("# yubiotp keys 1\n").expect("its header");
    let both = format!("{}{body}", &*plain);
    let read = read(both.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut expected: Vec<_> = entries.iter().map(shown).collect();
    let mut found: Vec<_> = read.entries.iter().map(shown).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

fn same(one: &[Entry], other: &[Entry]) -> bool {
    one.iter().map(shown).eq(other.iter().map(shown))
}

/// All that a token is.
fn shown(entry: &Entry) -> (String, Vec<u8>) {
    let secret = match &entry.secret {
        Secret::Plain(credential) => {
            [&credential.private_id.expose()[..], credential.aes_key.expose()].concat()
        }
        Secret::Sealed { under, sealed } => [&under.0[..], sealed.as_bytes()].concat(),
    };
    (entry.public_id.to_string(), secret)
}
