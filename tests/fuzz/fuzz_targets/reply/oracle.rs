//! The protocol read a second time, byte by byte and as plainly as it goes. Nothing of `yubiotp` is used.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::collections::BTreeMap;

/// What may be decided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Ok(u16, u8),
    BadOtp,
    ReplayedOtp,
}

/// The expected result for a body.
#[derive(Default)]
pub struct Expected {
    pub decision: Option<Decision>,
    /// It can be read, and its signature is missing or wrong.
    pub unproven: bool,
}

/// The question.
pub struct Asked<'a> {
    pub otp: &'a str,
    pub nonce: &'a str,
    pub key: Option<&'a Vec<u8>>,
}

type Fields<'a> = BTreeMap<&'a [u8], &'a [u8]>;

const STATUSES: [&[u8]; 10] = [
    b"OK",
    b"BAD_OTP",
    b"REPLAYED_OTP",
    b"BAD_SIGNATURE",
    b"MISSING_PARAMETER",
    b"NO_SUCH_CLIENT",
    b"OPERATION_NOT_ALLOWED",
    b"BACKEND_ERROR",
    b"NOT_ENOUGH_ANSWERS",
    b"REPLAYED_REQUEST",
];

impl Asked<'_> {
    pub fn judge(&self, body: &[u8], has: Option<(u16, u8)>) -> Expected {
        let Some(mut fields) = fields(body) else { return Expected::default() };
        let h = fields.remove(&b"h"[..]);
        let Some(status) = fields.get(&b"status"[..]).filter(|status| STATUSES.contains(status)) else {
            return Expected::default();
        };
        if let Some(key) = self.key {
            // A MAC of 20 bytes has one spelling in base64.
            let right = data_encoding::BASE64.encode(&mac(key, &fields));
            if h != Some(right.as_bytes()) {
                return Expected { decision: None, unproven: true };
            }
        }
        let echo = |name: &str, sent: &str| match fields.get(name.as_bytes()) {
            Some(echoed) => *echoed == sent.as_bytes(),
            None => *status == b"BAD_OTP",
        };
        let ours = echo("otp", self.otp) && echo("nonce", self.nonce);
        let decision = match *status {
            b"BAD_OTP" => Some(Decision::BadOtp),
            b"REPLAYED_OTP" => Some(Decision::ReplayedOtp),
            b"OK" => position(&fields)
                .filter(|said| has.is_none_or(|has| has == *said))
                .map(|(counter, session_use)| Decision::Ok(counter, session_use)),
            _ => None,
        };
        Expected { decision: decision.filter(|_| ours), unproven: false }
    }
}

/// The text with a right signature before it, wherever it can be signed.
pub fn signed(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut signable = Fields::new();
    for line in lines(text) {
        if let Some((name, value)) = split(line) {
            signable.insert(name, value);
        }
    }
    signable.remove(&b"h"[..]);
    let h = data_encoding::BASE64.encode(&mac(key, &signable));
    [b"h=", h.as_bytes(), b"\r\n", text].concat()
}

/// HMAC-SHA1 over `name=value` in the order of names, joined by `&`.
fn mac(key: &[u8], fields: &Fields<'_>) -> Vec<u8> {
    let joined =
        fields.iter().map(|(name, value)| [*name, b"=", value].concat()).collect::<Vec<_>>().join(&b'&');
    let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
    mac.update(&joined);
    mac.finalize().into_bytes().to_vec()
}

/// Nothing but text in lines of `name=value`, each name once.
fn fields(body: &[u8]) -> Option<Fields<'_>> {
    // U+0080 to U+009F are control characters too, and come as two bytes.
    let control = |text: &str| text.chars().any(|c| matches!(u32::from(c), 0..0x20 | 0x7f..0xa0));
    let mut fields = Fields::new();
    for line in lines(body) {
        let (name, value) = split(line)?;
        if control(std::str::from_utf8(line).ok()?) || fields.insert(name, value).is_some() {
            return None;
        }
    }
    Some(fields)
}

/// The lines that are not empty; each may end in CR LF.
fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = body.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.is_empty())
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == b'=')?;
    Some((&line[..at], &line[at + 1..]))
}

fn position(fields: &Fields<'_>) -> Option<(u16, u8)> {
    let number = |name: &[u8], limit: u32| {
        let digits = fields.get(name).filter(|digits| (1..=5).contains(&digits.len()))?;
        let value = digits.iter().try_fold(0, |value, digit| match digit {
            b'0'..=b'9' => Some(value * 10 + u32::from(digit - b'0')),
            _ => None,
        })?;
        (value <= limit).then_some(value)
    };
    let (counter, session_use) = (number(b"sessioncounter", 0x7fff)?, number(b"sessionuse", 0xff)?);
    Some((counter as u16, session_use as u8))
}
