//! PSKC files, as an administrator imports them from wherever.
//!
//! Nothing encrypted is read without a key or with a wrong one. Problems contain no secret.
//!
//! Input: an XML file. Its password is `qwerty`, and its key the one of RFC 6030, figure 6.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ykseeds::{Format, MAX_PROBLEMS, Options, Password, Protection, Wanted, pskc};

const KEY: &str = "12345678901234567890123456789012";

fuzz_target!(|xml: &[u8]| {
    // Hashing a password ten million times takes longer than a fuzzer waits.
    let slow = xml
        .windows(14)
        .position(|name| name == b"IterationCount")
        .is_some_and(|at| xml[at..].split(|byte| !byte.is_ascii_digit()).any(|number| number.len() > 4));
    let mut asked = 0;
    let mut ask = |wanted: Wanted<'_>| {
        asked += 1;
        let secret = match wanted {
            Wanted::PskcPassword { .. } if slow => return None,
            Wanted::PskcPassword { .. } => "qwerty".to_owned(),
            Wanted::PskcKey { bytes, .. } => KEY.repeat(2)[..bytes * 2].to_owned(),
            Wanted::Zip { .. } => panic!("a zip"),
        };
        Some(Password::new(secret.into_bytes().into()))
    };
    let read = pskc::read(xml, &Options::default(), &mut ask);
    assert!(asked <= 1);
    match read {
        Ok(seeds) => {
            assert_eq!(seeds.format != Format::Pskc(Protection::None), asked == 1);
            assert!(seeds.tokens.iter().all(|token| (10..=128).contains(&token.secret.expose().len())));
            if asked == 1 {
                let none = pskc::read(xml, &Options::default(), &mut |_| None);
                assert!(none.is_err());
                let wrong =
                    |_: Wanted<'_>| Some(Password::new(b"00000000000000000000000000000000".to_vec().into()));
                let wrong = pskc::read(xml, &Options::default(), &mut { wrong });
                assert!(wrong.is_err() || seeds.tokens.is_empty());
            }
        }
        Err(problems) => {
            assert!((1..=MAX_PROBLEMS).contains(&problems.list.len()));
            let _ = problems.diagnostics(b"file");
        }
    }
});
