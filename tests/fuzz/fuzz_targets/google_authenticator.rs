//! `~/.google_authenticator`, which users write.
//!
//! Where the module kept no record, no step of now or before is accepted. Problems name lines that exist.
//!
//! Input: a file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ykseeds::google_authenticator::read;
use yubiotp::Position;
use yubiotp::oath::Kind;

const NOW: u64 = 1_800_000_000;

fuzz_target!(|file: &[u8]| {
    let lines = file.split(|byte| *byte == b'\n').count();
    match read(file, NOW) {
        Ok(account) => {
            let next = account.progress.next.map(Position::to_stored).expect("a position");
            assert!(next > 0);
            if let Kind::Totp { period } = account.parameters.kind
                && !account.keeps_record
            {
                let token = period.step_at(NOW).saturating_add_signed(account.progress.drift.into());
                assert!(next > token.saturating_add(account.window.ahead.into()));
            }
            assert!(account.emergency_codes.len() + account.unknown.len() <= lines);
        }
        Err(problems) => {
            assert!(!problems.list.is_empty());
            assert!(problems.list.iter().all(|problem| problem.place.line.is_none_or(|line| line <= lines)));
            let _ = problems.diagnostics(b"file");
        }
    }
});
