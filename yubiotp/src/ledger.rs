//! Where positions are kept: the promise that an accepted OTP is never accepted twice.

#[cfg(any(test, feature = "contract"))]
pub mod contract;

use crate::key::Fingerprint;
use crate::{Position, TokenId};
use core::fmt;

/// Keeps the position of every token.
///
/// There is no get-then-put: [`Ledger::advance`] is the only way forward. Every implementation passes
/// the suite `contract`.
pub trait Ledger {
    /// Something failed and nothing was decided.
    type Fault;
    /// Names a token of this ledger.
    type Token;

    /// Compares and stores in one durable step. `key` is the fingerprint of the credential that proved the OTP: a
    /// position belongs to one key of a token, and what another key made says nothing about it.
    ///
    /// If the token is enabled and `to` is above the stored position (or none is stored yet), `to` is stored, and on
    /// stable storage before this returns [`Advance::Fresh`], or [`Advance::Restored`] for a token of a restored store.
    /// Otherwise nothing changes. Of any number of callers
    /// with the same `to`, in any processes, one gets `Fresh`.
    ///
    /// [`Fingerprint::ELSEWHERE`] says that validation servers proved the OTP. It is for a host's ledger, and for a
    /// token without a key there, which need not be known yet: then the token continues from the highest position that
    /// this host knows of it, whichever key made it; and a key that comes later continues from there. A server can
    /// raise the position only as far as [`Position::may_follow`]; beyond that it is a fault, and nothing changes.
    ///
    /// # Errors
    /// A fault if the token is not known with this key, or has a key here although it is said to have none, or its
    /// position could not be read or made durable. It says nothing about the OTP, which may or may not have been used
    /// up.
    fn advance(
        &self,
        token: &Self::Token,
        key: Fingerprint,
        to: Position,
    ) -> Result<Advance<Self::Token>, Self::Fault>;
}

/// The result of [`Ledger::advance`].
#[derive(Debug)]
#[must_use]
pub enum Advance<T = TokenId> {
    /// Above the stored position, and stored now.
    Fresh(Receipt<T>),
    /// Not above the stored position.
    Replayed {
        /// The stored position.
        stored: Position,
    },
    /// The administrator has disabled the token.
    Disabled,
    /// Above the stored position, and stored now, so the OTP is used up. But this host was restored from a backup, and the
    /// position may be lower than what was used since: nobody is let in by it.
    Restored {
        /// How often timed touches were tried at logins since the restore.
        tries: u8,
    },
}

/// The proof that a position was advanced durably. Only with it can a verdict be "accepted".
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt<T = TokenId> {
    token: T,
    position: Position,
}

impl<T: Copy> Receipt<T> {
    /// For implementations of [`Ledger`], after the position is on stable storage, and for nobody else
    /// (`clippy.toml` holds every caller to saying so).
    #[must_use]
    pub const fn after_durable_advance(token: T, position: Position) -> Self {
        Self { token, position }
    }

    /// The token whose position was advanced.
    #[must_use]
    pub const fn token(&self) -> T {
        self.token
    }

    /// The new position.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }
}

/// What was used up, for logs: the position of an OTP, the step of a code, the number of a recovery code.
impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.token {
            TokenId::YubiKey(_) => self.position.fmt(f),
            TokenId::Oath(_) => write!(f, "step {}", self.position.to_stored().saturating_sub(1)),
            TokenId::RecoverySet(_) => f.write_str("a recovery code"),
            TokenId::RecoveryCode(_, number) => write!(f, "recovery code {number}"),
        }
    }
}
