//! `/wsapi/decrypt`: answers as a key storage module (YK-KSM) does.

use crate::keys::KeyRing;
use crate::store::{Store, StoreFault};
use yubiotp::diagnostic::Code;
use yubiotp::{Block, PublicId, modhex};
use zeroize::Zeroizing;

/// The answer about an OTP.
pub struct Decrypted {
    /// The token that the OTP names, if it names one.
    pub token: Option<PublicId>,
    outcome: Result<Fields, KsmRefusal>,
}

struct Fields {
    counter: u16,
    timestamp: u32,
    session_use: u8,
}

/// In YK-KSM's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KsmRefusal {
    NoOtp,
    Format,
    Unknown,
    Corrupt,
    /// The store failed, or the key cannot be opened.
    Fault(Code),
}

impl KsmRefusal {
    const fn name(self) -> &'static str {
        match self {
            Self::NoOtp => "No OTP provided",
            Self::Format => "Invalid OTP format",
            Self::Unknown => "Unknown yubikey",
            Self::Corrupt => "Corrupt OTP",
            Self::Fault(_) => "Database error",
        }
    }

    const fn code(self) -> Code {
        match self {
            Self::NoOtp => Code::ParameterMissing,
            Self::Format => Code::OtpMalformed,
            Self::Unknown => Code::TokenUnknown,
            Self::Corrupt => Code::OtpNotGenuine,
            Self::Fault(code) => code,
        }
    }
}

impl From<StoreFault> for KsmRefusal {
    fn from(fault: StoreFault) -> Self {
        Self::Fault(fault.diagnostic().code)
    }
}

impl Decrypted {
    /// Nothing was decided before the deadline.
    #[must_use]
    pub const fn late() -> Self {
        Self { token: None, outcome: Err(KsmRefusal::Fault(Code::DeadlinePassed)) }
    }

    /// Why, for the log: stable from version to version.
    #[must_use]
    pub const fn code(&self) -> Code {
        match &self.outcome {
            Ok(_) => Code::OtpDecrypted,
            Err(refused) => refused.code(),
        }
    }

    /// `OK`, or why not: for the log. No part of it is a secret.
    #[must_use]
    pub const fn said(&self) -> &'static str {
        match &self.outcome {
            Ok(_) => "OK",
            Err(refused) => refused.name(),
        }
    }

    /// The line to answer. The counter comes without the bit that caps lock sets: servers that compare it as it is
    /// would never take another OTP of that token.
    #[must_use]
    pub fn line(&self) -> Zeroizing<String> {
        Zeroizing::new(match &self.outcome {
            Ok(Fields { counter, timestamp, session_use }) => format!(
                "OK counter={counter:04x} low={:04x} high={:02x} use={session_use:02x}\n",
                timestamp & 0xffff,
                timestamp >> 16
            ),
            Err(refused) => format!("ERR {}\n", refused.name()),
        })
    }
}

/// Decrypts an OTP in modhex with the key of its token. Nothing is changed: an OTP says the same any number of times.
pub async fn decrypt(store: &Store, keys: &KeyRing, otp: &str) -> Decrypted {
    if otp.is_empty() {
        return Decrypted { token: None, outcome: Err(KsmRefusal::NoOtp) };
    }
    let Some((token, block)) = split(otp) else {
        return Decrypted { token: None, outcome: Err(KsmRefusal::Format) };
    };
    let outcome = open(store, keys, &token, &block).await;
    let known = !matches!(outcome, Err(KsmRefusal::Unknown)) || !token.may_be_half_an_otp();
    Decrypted { token: known.then_some(token), outcome }
}

async fn open(store: &Store, keys: &KeyRing, id: &PublicId, block: &Block) -> Result<Fields, KsmRefusal> {
    let token = store.token(id).await?.filter(|token| token.enabled).ok_or(KsmRefusal::Unknown)?;
    let (_, sealed) = token.key.ok_or(KsmRefusal::Unknown)?;
    let credential =
        keys.open(|keys| keys.open(&sealed, id)).map_err(|_| KsmRefusal::Fault(Code::KeyUnreadable))?;
    let plain = credential.open(block).ok_or(KsmRefusal::Corrupt)?;
    Ok(Fields { counter: plain.usage_counter, timestamp: plain.timestamp, session_use: plain.session_use })
}

/// The public ID and the block after it; `None` if it is not an OTP.
fn split(otp: &str) -> Option<(PublicId, Block)> {
    if otp.len() > 64 {
        return None;
    }
    let bytes = Zeroizing::new(modhex::decode(otp.as_bytes()).ok()?);
    let (id, block) = bytes.split_last_chunk()?;
    Some((PublicId::from_bytes(id)?, Block::new(*block)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_words_of_a_key_storage_module() {
        let said = |outcome| Decrypted { token: None, outcome }.line();
        assert_eq!(
            *said(Ok(Fields { counter: 1, timestamp: 0x0f_8d40, session_use: 0 })),
            "OK counter=0001 low=8d40 high=0f use=00\n"
        );
        assert_eq!(*said(Err(KsmRefusal::Unknown)), "ERR Unknown yubikey\n");
    }

    #[test]
    fn what_is_an_otp() {
        let otp = "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku";
        assert_eq!(split(otp).map(|(id, _)| id.to_string()).as_deref(), Some("idkfefrdhtru"));
        assert_eq!(split(&otp[12..]).map(|(id, _)| id.to_string()).as_deref(), Some("-"));
        assert!(split(&("cccccccccccccccccccccccccccccccc".to_owned() + &otp[12..])).is_some());
        for wrong in
            ["x", &otp[13..], &otp[1..], "é", &format!("{}{otp}", "c".repeat(22)), &format!("{otp}\n")]
        {
            assert!(split(wrong).is_none(), "{wrong:?}");
        }
    }
}
