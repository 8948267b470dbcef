//! Why a change of the store was refused.

use crate::Fault;
use std::fmt::{self, Display, Formatter};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::{Position, TokenId};

/// Why a token cannot be added, or its position not be set.
#[derive(Debug)]
pub enum EnrolError {
    /// The store has this public ID with another AES key or private ID, or with one that cannot be opened.
    OtherCredential(TokenId),
    /// Another token has, or had, this AES key.
    SameKey {
        /// The token that would be added.
        token: TokenId,
        /// The token that has the key, or had it.
        holder: TokenId,
    },
    /// The token was used while two touches were to show where it is.
    UsedMeanwhile {
        /// The token.
        token: TokenId,
        /// Where it is.
        stored: Position,
    },
    /// Two touches would make the position lower than one that their key made here itself.
    LaterAccepted {
        /// The token.
        token: TokenId,
        /// Where it is.
        stored: Position,
    },
    /// The store key was replaced after this recovery code was made.
    StoreKeyReplaced(TokenId),
    /// The store cannot be read.
    Fault(Fault),
}

impl EnrolError {
    /// The error as a finding, with what to do.
    pub fn diagnostic(&self) -> Diagnostic {
        let about = |code, token: &TokenId, problem: String| {
            Diagnostic::error(code, problem).at(Location::Token(token.to_string()))
        };
        match self {
            Self::OtherCredential(token) if token.yubikey().is_none() => {
                about(Code::TokenHasOtherKey, token, "has another secret in the store".to_owned()).run_when(
                    "if the old secret is not needed any more, remove it first",
                    Program::Ykmap,
                    format!("token remove {token}"),
                )
            }
            Self::OtherCredential(token) => {
                about(Code::TokenHasOtherKey, token, "has another key in the store".to_owned()).run_when(
                    "if the YubiKey was reprogrammed, remove the old key first",
                    Program::Ykmap,
                    format!("key remove {token}"),
                )
            }
            Self::SameKey { token, holder } if token.yubikey().is_none() => about(
                Code::SecretOfOtherToken,
                token,
                format!("has the same secret as token {holder}, which this host knows: a code used as one would be accepted again as the other"),
            )
            .advise(format!("give the token a secret of its own, or import it as {holder}")),
            Self::SameKey { token, holder } => about(
                Code::KeyOfOtherToken,
                token,
                format!("has the same AES key as token {holder}, which this host knows: an OTP used as one would be accepted again as the other"),
            )
            .advise(format!("program the YubiKey with a key of its own, or import it as {holder}")),
            Self::UsedMeanwhile { token, stored } => about(
                Code::TokenUsedMeanwhile,
                token,
                format!("was used in the meantime, and is at {stored} now: nothing was changed"),
            )
            .advise("if its OTPs are still rejected, run the command again"),
            Self::LaterAccepted { token, stored } => about(
                Code::LaterOtpAccepted,
                token,
                format!("this host has accepted a later OTP of its key ({stored}): nothing was changed"),
            )
            .advise("if the YubiKey was reprogrammed with the same key, program it with a key of its own"),
            Self::StoreKeyReplaced(token) => about(
                Code::StoreKeyReplaced,
                token,
                "the store key was replaced while this recovery code was made: nothing was changed".to_owned(),
            )
            .advise("run the command again"),
            Self::Fault(fault) => fault.diagnostic(),
        }
    }
}

/// In one line, with remedies.
impl Display for EnrolError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.diagnostic().fmt(f)
    }
}

impl std::error::Error for EnrolError {}

impl From<EnrolError> for Diagnostic {
    fn from(error: EnrolError) -> Self {
        error.diagnostic()
    }
}

impl From<Fault> for EnrolError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
