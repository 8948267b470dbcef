//! The body of a reply: what `PendingQuery::judge` makes of it, against a second reading of the protocol.
//!
//! The signature is the oracle. A body is fuzz text as it is, or signed by this target with the right key, or signed
//! and then changed: without a right signature nothing may be decided, and with one only what the oracle says.
//!
//! Input: a byte of switches (`0` to `?` in a seed), a line end that does not count, and the text.
#![no_main]

#[path = "reply/oracle.rs"]
mod oracle;

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use yubiotp::Position;
use yubiotp::protocol::{ClientKey, NoAnswer, Nonce, PendingQuery, ServerVerdict};

/// The client's key of the published vector, in base64.
const KEY: &str = "EHmo8FMxuhumBlTinC4uYL0Mgwg=";
/// The question; its nonce is `30313233343536373839616263646566`.
const OTP: &str = "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku";
const NONCE: [u8; 16] = *b"0123456789abcdef";
/// The position of the OTP, if the host could decrypt it.
const COUNTER: u16 = 17;
const SESSION_USE: u8 = 3;

/// Sign the text.
const SIGN: u8 = 1;
/// The host knows the position of the OTP.
const KNOWN: u8 = 2;
/// There is no client key.
const NO_KEY: u8 = 4;
/// Change a byte afterwards: which, and how, say the last two of the text.
const CHANGE: u8 = 8;

static CLIENT_KEY: LazyLock<(ClientKey, Vec<u8>)> = LazyLock::new(|| {
    let raw = data_encoding::BASE64.decode(KEY.as_bytes()).unwrap();
    (ClientKey::parse(KEY.as_bytes()).unwrap(), raw)
});

fuzz_target!(|input: &[u8]| {
    let Some((switches, text)) = input.split_first() else { return };
    let on = |switch: u8| switches & switch != 0;
    let text = text.strip_prefix(b"\n").unwrap_or(text);
    let (key, raw) = &*CLIENT_KEY;

    let mut body = text.to_vec();
    if on(CHANGE) {
        body.truncate(text.len().saturating_sub(2));
    }
    if on(SIGN) {
        body = oracle::signed(raw, &body);
    }
    if on(CHANGE)
        && let [.., at, by] = text
        && !body.is_empty()
    {
        let at = usize::from(*at) % body.len();
        body[at] ^= by;
    }

    let nonce = Nonce::from_random(NONCE);
    let asked = oracle::Asked { otp: OTP, nonce: nonce.as_str(), key: (!on(NO_KEY)).then_some(raw) };
    let expected = asked.judge(&body, on(KNOWN).then_some((COUNTER, SESSION_USE)));
    let judged = PendingQuery {
        otp: OTP,
        nonce: &nonce,
        position: on(KNOWN).then(|| Position::yubikey(COUNTER, SESSION_USE)),
        key: (!on(NO_KEY)).then_some(key),
    }
    .judge(&body);

    let decided = match expected.decision {
        Some(oracle::Decision::Ok(counter, session_use)) => {
            Some(ServerVerdict::Ok(Position::yubikey(counter, session_use)))
        }
        Some(oracle::Decision::BadOtp) => Some(ServerVerdict::BadOtp),
        Some(oracle::Decision::ReplayedOtp) => Some(ServerVerdict::ReplayedOtp),
        None => None,
    };
    assert_eq!(judged.ok(), decided, "{}", body.escape_ascii());
    // A wrong signature is reported as one, and a right one never is: administrators change keys by that line.
    let no_signature = matches!(judged, Err(NoAnswer::NotSigned(_) | NoAnswer::WrongSignature(_)));
    assert_eq!(no_signature, expected.unproven, "{judged:?}: {}", body.escape_ascii());
    // The reason goes to the log: one line of text.
    if let Err(why) = judged {
        assert!(!why.to_string().contains(char::is_control), "{why:?}");
    }
});
