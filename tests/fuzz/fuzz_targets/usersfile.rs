//! The users file of pam_oath.
//!
//! A TOTP token that was used accepts nothing of now or before, and every user of the file has a token. Problems name lines
//! that exist, and contain nothing of them that could be a secret.
//!
//! Input: a file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use ykseeds::MAX_PROBLEMS;
use ykseeds::usersfile::read;
use yubiotp::Position;
use yubiotp::oath::Kind;

/// 2026-11-29T19:50:53 UTC.
const NOW: u64 = 1_795_981_853;

fuzz_target!(|file: &[u8]| {
    let lines: Vec<_> = file.split(|byte| *byte == b'\n').collect();
    match read(file, NOW) {
        Ok(tokens) => {
            let secrets: BTreeSet<_> = tokens.iter().map(|token| token.secret.expose()).collect();
            assert_eq!(secrets.len(), tokens.len(), "each secret once");
            for token in &tokens {
                let next = token.progress.next.map(Position::to_stored);
                if let (Kind::Totp { period }, Some(next)) = (token.parameters.kind, next) {
                    assert!(next > period.step_at(NOW));
                }
                for user in &token.users {
                    let line = str::from_utf8(lines[user.line - 1]).expect("text");
                    assert!(line.contains(&user.name));
                }
            }
            let users: usize = tokens.iter().map(|token| token.users.len()).sum();
            let full = |line: &&&[u8]| !line.trim_ascii().is_empty() && !line.trim_ascii().starts_with(b"#");
            assert!(users <= lines.iter().filter(full).count());
        }
        Err(problems) => {
            assert!((1..=MAX_PROBLEMS).contains(&problems.list.len()));
            for problem in &problems.list {
                let Some(number) = problem.place.line else { continue };
                let line = lines.get(number - 1).expect("a line that is there");
                let said = problem.why.diagnostic().to_string();
                let words = line.split(|byte| !byte.is_ascii_hexdigit()).filter(|word| word.len() >= 12);
                for word in words.filter_map(|word| str::from_utf8(word).ok()) {
                    assert!(!said.contains(word), "{said}");
                }
            }
        }
    }
});
