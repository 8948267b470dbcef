//! `otpauth:` URIs, which authenticator apps read from QR codes.
//!
//! Source: google-authenticator's wiki page "Key Uri Format", which every app follows; there is no RFC.

use super::{Algorithm, Digits, Kind, Parameters, Period, Secret};
use alloc::string::String;
use core::fmt::Write as _;
use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

/// The URI of a token: `otpauth://totp/ISSUER:ACCOUNT?secret=…&issuer=ISSUER`, with what differs from the usual 6 digits of
/// SHA-1 every 30 seconds. `next` is the counter of a HOTP token. It holds the secret, so it is wiped on drop.
#[must_use]
pub fn write(
    secret: &Secret,
    parameters: Parameters,
    issuer: &str,
    account: &str,
    next: u64,
) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(512));
    let kind = match parameters.kind {
        Kind::Totp { .. } => "totp",
        Kind::Hotp => "hotp",
    };
    let _ = write!(text, "otpauth://{kind}/");
    encode(&mut text, issuer);
    text.push_str("%3A");
    encode(&mut text, account);
    text.push_str("?secret=");
    text.push_str(&base32(secret));
    text.push_str("&issuer=");
    encode(&mut text, issuer);
    let Parameters { kind, algorithm, digits } = parameters;
    if algorithm != Algorithm::Sha1 {
        let _ = write!(text, "&algorithm={}", algorithm.name());
    }
    if digits != Digits::SIX {
        let _ = write!(text, "&digits={}", digits.get());
    }
    let _ = match kind {
        Kind::Totp { period: Period::USUAL } => Ok(()),
        Kind::Totp { period } => write!(text, "&period={}", period.seconds()),
        Kind::Hotp => write!(text, "&counter={next}"),
    };
    text
}

/// The secret as apps take it by hand: base32 (RFC 4648) without padding. Wiped on drop.
#[must_use]
pub fn base32(secret: &Secret) -> Zeroizing<String> {
    Zeroizing::new(BASE32_NOPAD.encode(secret.expose()))
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn encode(text: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::secret;
    use super::*;

    #[test]
    fn uris_as_apps_read_them() {
        let mut parameters = Parameters {
            kind: Kind::Totp { period: Period::USUAL },
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
        };
        assert_eq!(
            *write(&secret(b"12345678901234567890"), parameters, "web 1.example", "al:ice@é", 0),
            "otpauth://totp/web%201.example%3Aal%3Aice%40%C3%A9?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=web%201.example"
        );
        parameters.kind = Kind::Hotp;
        parameters.algorithm = Algorithm::Sha512;
        assert!(
            write(&secret(b"1234567890"), parameters, "a", "b", 7)
                .ends_with("?secret=GEZDGNBVGY3TQOJQ&issuer=a&algorithm=SHA512&counter=7")
        );
    }
}
