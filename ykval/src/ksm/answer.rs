//! Reads the answer of a key storage module, strictly: anything but its exact words decides nothing.

use super::{KsmVerdict, NoAnswer};
use yubiotp::Position;
use yubiotp::diagnostic::Code;

/// Reads an answer. The fault does not quote it.
pub(super) fn read(body: &[u8]) -> Result<KsmVerdict, NoAnswer> {
    let invalid = |why: &str| (Code::KsmAnswerInvalid, why.to_owned());
    let text =
        str::from_utf8(body).map(str::trim_ascii_end).map_err(|_| invalid("its answer is not text"))?;
    if let Some(fields) = text.strip_prefix("OK ") {
        return genuine(fields)
            .ok_or_else(|| invalid("its answer is OK with other fields than those of a key storage module"));
    }
    match text {
        // It cannot have the key of a token whose id it considers malformed.
        "ERR Unknown yubikey" | "ERR Invalid OTP format" => Ok(KsmVerdict::Unknown),
        "ERR Corrupt OTP" => Ok(KsmVerdict::NotGenuine),
        "ERR Database error" => Err((Code::KsmDatabaseFailed, "reports a database error".to_owned())),
        _ => Err(invalid("its answer is not one of a key storage module")),
    }
}

/// `counter=0001 low=8d40 high=0f use=00`
fn genuine(fields: &str) -> Option<KsmVerdict> {
    let mut fields = fields.split(' ');
    let mut field = |name: &str, digits: usize| {
        let value = fields.next()?.strip_prefix(name)?.strip_prefix('=')?;
        let is_hex = value.len() == digits && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex { u16::from_str_radix(value, 16).ok() } else { None }
    };
    let (counter, low) = (field("counter", 4)?, field("low", 4)?);
    let (high, session_use) = (field("high", 2)?, field("use", 2)?);
    if fields.next().is_some() {
        return None;
    }
    // The highest bit means that caps lock was on.
    let position = Position::yubikey(counter & 0x7fff, u8::try_from(session_use).ok()?);
    Some(KsmVerdict::Genuine { position, timestamp: u32::from(high) << 16 | u32::from(low) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn its_own_words() {
        let genuine = |counter, session_use, timestamp| {
            Ok(KsmVerdict::Genuine { position: Position::yubikey(counter, session_use), timestamp })
        };
        for (answer, said) in [
            ("OK counter=0001 low=8d40 high=0f use=00\n", genuine(1, 0, 0x000f_8d40)),
            ("OK counter=8888 low=ffff high=FF use=ff", genuine(0x888, 255, 0x00ff_ffff)),
            ("ERR Unknown yubikey\n", Ok(KsmVerdict::Unknown)),
            ("ERR Invalid OTP format\n", Ok(KsmVerdict::Unknown)),
            ("ERR Corrupt OTP\r\n", Ok(KsmVerdict::NotGenuine)),
        ] {
            assert_eq!(read(answer.as_bytes()), said, "{answer}");
        }
    }

    #[test]
    fn nothing_else_decides() {
        for answer in [
            "",
            "OK",
            "OK counter=0001 low=8d40 high=0f",
            "OK counter=0001 low=8d40 high=0f use=00 more=1",
            "OK counter=001 low=8d40 high=0f use=00",
            "OK counter=+001 low=8d40 high=0f use=00",
            "OK low=8d40 counter=0001 high=0f use=00",
            "OK  counter=0001 low=8d40 high=0f use=00",
            "ok counter=0001 low=8d40 high=0f use=00",
            "OK counter=0001 low=8d40 high=0f use=00\nOK",
            "ERR Database error\n",
            "ERR No OTP provided",
            "ERR",
            "<html>ERR Unknown yubikey</html>",
        ] {
            assert!(read(answer.as_bytes()).is_err(), "{answer:?}");
        }
        assert!(read(b"ERR Unknown yubikey\xff").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(answer in "(OK |ERR )?.{0,60}") {
            let _ = read(answer.as_bytes());
        }
    }
}
