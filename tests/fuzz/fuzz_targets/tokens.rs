//! Text files with token secrets, as an administrator imports them from wherever.
//!
//! Each token is on the line that is named, with its serial, and its secret is a word of that line. Problems name lines that
//! exist, and contain nothing of them that could be a secret.
//!
//! Input: how secrets are written (nobody says it, hex, base32), and a file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use ykseeds::{Encoding, MAX_PROBLEMS, Options, text};

fuzz_target!(|input: (u8, &[u8])| {
    let (said, file) = input;
    let encoding = [None, Some(Encoding::Hex), Some(Encoding::Base32)][usize::from(said % 3)];
    let lines: Vec<_> = file.split(|byte| *byte == b'\n').collect();
    match text::read(file, &Options { encoding, ..Options::default() }) {
        Ok(seeds) => {
            let read = seeds.encoding.or(encoding);
            let serials: BTreeSet<_> = seeds.tokens.iter().map(|token| &token.serial).collect();
            assert_eq!(serials.len(), seeds.tokens.len(), "each token once");
            for token in &seeds.tokens {
                let line = lines[token.place.line.expect("a line") - 1];
                let line = str::from_utf8(line).expect("text");
                assert!(line.contains(&token.serial));
                let is_secret = |word: &str| {
                    let bytes = read.and_then(|encoding| encoding.decode(word));
                    bytes.is_some_and(|bytes| **bytes == *token.secret.expose())
                };
                assert!(
                    line.split([',', ';', '\t', '"', '\r', ' ']).any(is_secret) || line.contains(['-', ' ']),
                    "{line}"
                );
            }
            assert!(seeds.tokens.len() + seeds.passed_over.len() <= lines.len());
        }
        Err(problems) => {
            assert!((1..=MAX_PROBLEMS).contains(&problems.list.len()));
            assert!(problems.list.is_sorted_by_key(|problem| problem.place.line));
            for problem in &problems.list {
                let Some(number) = problem.place.line else { continue };
                let line = lines.get(number - 1).expect("a line that is there");
                let said = problem.why.diagnostic().to_string();
                let words = line.split(|byte| !byte.is_ascii_alphanumeric()).filter(|word| word.len() >= 16);
                for word in words.filter_map(|word| str::from_utf8(word).ok()) {
                    assert!(!said.contains(word), "{said}");
                }
            }
        }
    }
});
