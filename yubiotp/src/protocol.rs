//! The validation protocol 2.0 of YK-VAL, for both ends.
//!
//! Source: Yubico, "Validation Protocol Version 2.0"; order of fields, statuses and echoed fields are those of
//! yubikey-val 2.41. A client sends a [`Request`] to a [`Server`] and judges the answer with [`PendingQuery::judge`]. A
//! [`ServerPoll`] asks several servers one question, and [`Probed`] is what one says to [an OTP that is nobody's](nobodys_otp).
//! A server reads a [`Question`] and writes an [`Answer`]. [`sync`] is what servers of YK-VAL tell each other.

mod answer;
mod flaw;
mod poll;
mod probe;
mod question;
mod reply;
mod request;
mod server;
pub mod sync;

pub use answer::Answer;
pub use flaw::Flaw;
pub use poll::{ServerPoll, Step};
pub use probe::{Probed, nobodys_otp};
pub use question::{Level, MOST_PARAMETERS, Malformed, Question, Version};
pub use reply::{NoAnswer, PendingQuery, ServerVerdict, Status, time_of, timestamp_of};
pub use request::{BadSyncLevel, ClientId, Nonce, Request, SyncLevel};
pub use server::{BadUrl, Server};

use alloc::string::String;
use alloc::vec::Vec;
use data_encoding::{BASE64, BASE64_NOPAD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use zeroize::Zeroizing;

/// The key that a validation server and its client sign with (HMAC-SHA1). Never printed or copied, wiped on drop.
pub struct ClientKey(Zeroizing<Vec<u8>>);

/// A text that is no client key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not base64 of 8 to 64 bytes, as the validation server gave it out with the client id")]
pub struct BadClientKey;

impl ClientKey {
    /// A key in base64, as servers give it out, with or without the `=` at its end; blanks around it do not count.
    /// YubiCloud's have 20 bytes.
    ///
    /// # Errors
    /// It is not base64, or has less than 8 or more than 64 bytes.
    pub fn parse(text: &[u8]) -> Result<Self, BadClientKey> {
        let text = text.trim_ascii();
        let key = BASE64.decode(text).or_else(|_| BASE64_NOPAD.decode(text));
        Self::from_bytes(Zeroizing::new(key.map_err(|_| BadClientKey)?)).ok_or(BadClientKey)
    }

    /// A key from its bytes; `None` if they are less than 8 or more than 64.
    #[must_use]
    pub fn from_bytes(key: Zeroizing<Vec<u8>>) -> Option<Self> {
        (8..=64).contains(&key.len()).then_some(Self(key))
    }

    /// A new key, of random bytes: as many as YubiCloud's have.
    #[must_use]
    pub fn from_random(bytes: Zeroizing<[u8; 20]>) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// The bytes, to be sealed.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The key in base64, for the one who signs with it.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(&self.0))
    }

    /// The HMAC of a signature, fed with the parameters of a question or the fields of a reply, sorted by name.
    fn over(&self, sorted: &[(&str, &str)]) -> Hmac<Sha1> {
        mac(&self.0, sorted)
    }
}

fn mac(key: &[u8], sorted: &[(&str, &str)]) -> Hmac<Sha1> {
    // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes any key"));
    for (at, (name, value)) in sorted.iter().enumerate() {
        if at > 0 {
            mac.update(b"&");
        }
        mac.update(name.as_bytes());
        mac.update(b"=");
        mac.update(value.as_bytes());
    }
    mac
}

/// The signature over sorted fields, in base64. Without a key, as servers sign for clients that they do not know: with
/// the empty one, which proves nothing.
fn signature(key: Option<&ClientKey>, sorted: &[(&str, &str)]) -> String {
    let key = key.map_or(&[][..], |key| key.expose());
    BASE64.encode(&mac(key, sorted).finalize().into_bytes())
}

/// Sorts parameters or fields as they are signed: by name.
fn sort(pairs: &mut [(&str, &str)]) {
    pairs.sort_unstable_by_key(|(name, _)| *name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_key_is_base64() {
        for good in ["EHmo8FMxuhumBlTinC4uYL0Mgwg=", " EHmo8FMxuhumBlTinC4uYL0Mgwg=\n", "AAAAAAAAAAA="] {
            let key = ClientKey::parse(good.as_bytes()).ok().unwrap();
            // Copied without its end, as some clients want it.
            let bare = ClientKey::parse(good.trim().trim_end_matches('=').as_bytes()).ok().unwrap();
            assert_eq!(key.expose(), bare.expose(), "{good}");
        }
        for bad in [
            "",
            "AAAA",
            "EHmo8FMxuhumBlTinC4uYL0Mgwh",
            "EHmo8FMxuhumBlTinC4uYL0Mgwg==",
            "EHmo8FMx uhumBlTinC4uYL0Mgwg=",
            "EHmo8FMxuhumBlTinC4uYL0Mgw_=",
            "not base64!",
        ] {
            assert!(ClientKey::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
