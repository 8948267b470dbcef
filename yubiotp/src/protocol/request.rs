//! The question.

use super::{ClientKey, signature, sort};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

/// The number under which a validation server knows a client: 1 to 10 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u64);

impl ClientId {
    /// A client id; `None` if it has more than 10 digits.
    #[must_use]
    pub const fn new(id: u64) -> Option<Self> {
        if id <= 9_999_999_999 { Some(Self(id)) } else { None }
    }
}

impl ClientId {
    /// The number, as it is stored.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Makes a question unique: 32 characters, 128 random bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// A nonce of random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(HEXLOWER.encode(&bytes))
    }

    /// A nonce as in a published vector.
    #[cfg(test)]
    pub(crate) fn of_vector(text: &str) -> Self {
        Self(text.to_string())
    }

    /// The nonce as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many of a server's peers must have confirmed before it says OK (`sl`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncLevel {
    /// Percent of the peers, 0 to 100.
    Percent(u8),
    /// As few as the server thinks fit.
    Fast,
    /// As many as the server thinks fit.
    Secure,
}

/// A text that is no sync level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sync_level is a number from 0 to 100, \"fast\" or \"secure\"")]
pub struct BadSyncLevel;

impl SyncLevel {
    /// A sync level by its name or number.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, BadSyncLevel> {
        match text {
            "fast" => Ok(Self::Fast),
            "secure" => Ok(Self::Secure),
            number => match number.parse() {
                Ok(percent @ 0..=100) => Ok(Self::Percent(percent)),
                _ => Err(BadSyncLevel),
            },
        }
    }
}

impl fmt::Display for SyncLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => percent.fmt(f),
            Self::Fast => f.write_str("fast"),
            Self::Secure => f.write_str("secure"),
        }
    }
}

/// One question, the same for every server that it goes to.
pub struct Request<'a> {
    /// The client that asks.
    pub client_id: ClientId,
    /// The OTP, in modhex.
    pub otp: &'a str,
    /// Unlike any other question's.
    pub nonce: &'a Nonce,
    /// How many peers must confirm, if the server is not to choose.
    pub sync_level: Option<SyncLevel>,
    /// How many seconds the server may wait for its peers, if it is not to choose.
    pub timeout: Option<u8>,
}

impl Request<'_> {
    /// The query string, with the further parameters that a server's URL asks for, and signed if there is a key.
    /// Wiped on drop: it holds the OTP.
    pub(super) fn query(&self, further: &[(String, String)], key: Option<&ClientKey>) -> Zeroizing<String> {
        let id = self.client_id.to_string();
        let sync_level = self.sync_level.map(|level| level.to_string());
        let timeout = self.timeout.map(|seconds| seconds.to_string());
        let mut pairs: Vec<(&str, &str)> =
            further.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        pairs.extend([
            ("id", id.as_str()),
            ("nonce", self.nonce.as_str()),
            ("otp", self.otp),
            // The reply shall have the token's counters.
            ("timestamp", "1"),
        ]);
        pairs.extend(sync_level.iter().map(|level| ("sl", level.as_str())));
        pairs.extend(timeout.iter().map(|seconds| ("timeout", seconds.as_str())));
        sort(&mut pairs);
        let length: usize = pairs.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        // Room for all of it, so that no part stays behind in memory that was too small.
        let mut query = Zeroizing::new(String::with_capacity(length.saturating_add(64)));
        for (name, value) in &pairs {
            for part in [name, "=", value, "&"] {
                query.push_str(part);
            }
        }
        query.pop();
        if let Some(key) = key {
            let h = signature(Some(key), &pairs);
            let escaped = h.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
            query.push_str(&format!("&h={escaped}"));
        }
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(nonce: &'a Nonce, sync_level: Option<SyncLevel>) -> Request<'a> {
        let otp = "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku";
        Request { client_id: ClientId::new(1).unwrap(), otp, nonce, sync_level, timeout: None }
    }

    /// Client 1 of yubikey-val's own examples; reproduced by running it.
    #[test]
    fn published_vector() {
        let key = ClientKey::parse(b"EHmo8FMxuhumBlTinC4uYL0Mgwg=").ok();
        let nonce = Nonce::of_vector("kakakakakakakakakakakaka");
        assert_eq!(
            *request(&nonce, None).query(&[], key.as_ref()),
            "id=1&nonce=kakakakakakakakakakakaka&otp=idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku&timestamp=1\
             &h=Ewqt0nZBWlwU%2B9E5yqzwUYpJ97U%3D"
        );
    }

    #[test]
    fn parameters_are_sorted() {
        let nonce = Nonce::from_random([0xab; 16]);
        let further = [("app".to_string(), "x".to_string()), ("zone".to_string(), "y".to_string())];
        let request = Request { timeout: Some(3), ..request(&nonce, Some(SyncLevel::Percent(50))) };
        assert_eq!(
            *request.query(&further, None),
            "app=x&id=1&nonce=abababababababababababababababab&otp=idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku\
             &sl=50&timeout=3&timestamp=1&zone=y"
        );
    }

    #[test]
    fn sync_levels() {
        for level in ["0", "100", "fast", "secure"] {
            assert_eq!(SyncLevel::parse(level).unwrap().to_string(), level);
        }
        for bad in ["101", "-1", "", "Fast", "1.5"] {
            assert_eq!(SyncLevel::parse(bad), Err(BadSyncLevel), "{bad}");
        }
    }
}
