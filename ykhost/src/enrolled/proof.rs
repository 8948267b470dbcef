//! A factor that a user proved, and whether it still counts when something is written because of it.

use super::Lists;
use crate::Fault;
use crate::settings::Settings;
use crate::store::Store;
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::key::Fingerprint;
use yubiotp::ledger::Receipt;
use yubiotp::mapping::Enrolment;

/// A factor of a user that was accepted, and what the user had then.
#[derive(Debug, PartialEq, Eq)]
pub struct Proof {
    tokens: Vec<TokenId>,
    by: TokenId,
    /// `None` if the key changed in the moment after it was accepted. Then the proof never counts.
    key: Option<Fingerprint>,
}

/// Why a proof does not count any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// The user has other tokens now, or the token that proved has another key or none.
    Tokens,
    /// The token that proved is disabled.
    Disabled(TokenId),
}

impl Proof {
    /// To be made as soon as there is a receipt. `tokens` are those of the user by both lists, as the answer was decided by.
    ///
    /// # Errors
    /// The position of the token cannot be read.
    pub fn new(store: &Store, tokens: &[TokenId], receipt: &Receipt) -> Result<Self, Fault> {
        let by = receipt.token();
        let state = store.slots(&by)?.map(|slots| slots.state);
        let key = state.filter(|state| state.position >= Some(receipt.position())).map(|state| state.key);
        Ok(Self { tokens: tokens.to_vec(), by, key })
    }

    /// The token that proved. Of recovery codes, the code.
    #[must_use]
    pub const fn by(&self) -> TokenId {
        self.by
    }

    /// Why it does not count for this user any more; `None` if it does. If `lists` are those of [`edit`](super::edit), it
    /// counts until what is written there is durable: nobody can change the lists before that. Only disabling a token does
    /// not wait for it.
    ///
    /// # Errors
    /// A line of the user's has an error, or the store cannot be read.
    pub fn stale(&self, settings: &Settings, lists: &Lists, user: &[u8]) -> Result<Option<Stale>, Fault> {
        let listed_as = self.by.recovery_set().map_or(self.by, TokenId::RecoverySet);
        match lists.tokens(user)? {
            Enrolment::Listed(tokens) if tokens == self.tokens && tokens.contains(&listed_as) => {}
            _ => return Ok(Some(Stale::Tokens)),
        }
        let (store, Some(key)) = (Store::new(settings), self.key) else { return Ok(Some(Stale::Tokens)) };
        match store.slots(&self.by)?.map(|slots| slots.state) {
            Some(state) if state.key != key => return Ok(Some(Stale::Tokens)),
            Some(state) if !state.enabled => return Ok(Some(Stale::Disabled(self.by))),
            Some(_) => {}
            None => return Ok(Some(Stale::Tokens)),
        }
        // The file of the key, which may have gone or changed without `ykmap`. Validation servers have theirs.
        match store.token_key(&self.by) {
            Ok(stored) if stored.fingerprint() == key => Ok(None),
            Err(Fault::NoKey { .. }) if key == Fingerprint::ELSEWHERE => Ok(None),
            Ok(_) | Err(Fault::NoKey { .. }) => Ok(Some(Stale::Tokens)),
            Err(fault) => Err(fault),
        }
    }
}

impl Stale {
    /// The finding, for the user and the log.
    pub fn diagnostic(&self) -> Diagnostic {
        match self {
            Self::Tokens => Diagnostic::error(
                Code::TokenUsedMeanwhile,
                "your tokens were changed after you proved a factor: nothing was changed now, run it again",
            ),
            Self::Disabled(token) => Diagnostic::error(
                Code::TokenDisabled,
                "it was disabled after you proved it: nothing was changed, run it again with another factor",
            )
            .at(Location::Token(token.to_string())),
        }
    }
}
