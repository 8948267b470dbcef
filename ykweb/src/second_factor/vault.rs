//! The store as the rules see it: a ledger, and the secrets of OATH tokens.

use crate::store::{Step, Store};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::key::Fingerprint;
use yubiotp::oath::window::Progress;
use yubiotp::oath::{self, Kind};
use yubiotp::recovery::{RecoveryCode, RecoveryKey};
use yubiotp::seal::StoreKeys;
use yubiotp::verdict::{EightDigits, OathToken, Proved, Vault};
use yubiotp::{Advance, Credential, Ledger, Position, PublicId, Serial, SetId, TokenId};

/// The tokens of a store, whose secrets are sealed under these keys.
pub(super) struct StoredTokens<'s> {
    pub(super) store: &'s Store,
    pub(super) keys: &'s StoreKeys,
}

impl Ledger for StoredTokens<'_> {
    type Fault = Diagnostic;
    type Token = TokenId;

    fn advance(&self, token: &TokenId, key: Fingerprint, to: Position) -> Result<Advance, Diagnostic> {
        Ok(self.store.advance(token, key, to)?)
    }
}

impl Vault for StoredTokens<'_> {
    /// Only validation servers have those.
    fn credential(&self, token: &PublicId) -> Result<Credential, Diagnostic> {
        let problem = "its key is not here: validation servers have it";
        Err(Diagnostic::error(Code::InternalError, problem).at(Location::Token(token.to_string())))
    }

    fn holds(&self, _: &PublicId) -> Result<bool, Diagnostic> {
        Ok(false)
    }

    fn is_enabled(&self, token: &PublicId) -> Result<bool, Diagnostic> {
        Ok(self.store.is_token_enabled(&(*token).into())?)
    }

    /// No token is marked as restored here, so there is nothing to prove.
    fn advance_proved(
        &self,
        token: &TokenId,
        key: Fingerprint,
        proved: Proved,
    ) -> Result<Advance, Diagnostic> {
        let from = match proved {
            Proved::ByTouches(proof) => Some(Some(proof.first())),
            Proved::ByServer(_) => None,
        };
        let step = Step { position: proved.position(), drift: None, from };
        Ok(self.store.advance_to(token, key, step)?)
    }

    fn oath(&self, token: &Serial) -> Result<OathToken, Diagnostic> {
        let record = self.store.oath(token)?.ok_or_else(|| gone(TokenId::Oath(*token)))?;
        let open = |key: &yubiotp::seal::StoreKey| key.open_oath(&record.sealed, token, record.parameters);
        let key = open(self.keys.current())
            .or_else(|cannot| self.keys.former().map_or(Err(cannot), open))
            .map_err(|_| unopened(TokenId::Oath(*token)))?;
        Ok(OathToken { key, window: record.window, progress: record.progress })
    }

    fn oath_kind(&self, token: &Serial) -> Result<Kind, Diagnostic> {
        let record = self.store.oath(token)?.ok_or_else(|| gone(TokenId::Oath(*token)))?;
        Ok(record.parameters.kind)
    }

    fn advance_oath(
        &self,
        token: &Serial,
        key: Fingerprint,
        from: Option<Progress>,
        to: Progress,
    ) -> Result<Advance, Diagnostic> {
        // A step that is found is always followed by another one.
        let position = to.next.ok_or_else(|| gone(TokenId::Oath(*token)))?;
        let step = Step { position, drift: Some(to.drift), from: from.map(|from| from.next) };
        Ok(self.store.advance_to(&TokenId::Oath(*token), key, step)?)
    }

    fn recovery_code(&self, set: &SetId, typed: &RecoveryCode) -> Result<Option<Fingerprint>, Diagnostic> {
        let Some((mac, under)) = self.store.recovery_code(set, typed.number())? else { return Ok(None) };
        let token = TokenId::RecoveryCode(*set, typed.number());
        let key = self.keys.with_id(under).ok_or_else(|| unopened(token))?;
        let is_it = typed.mac(&RecoveryKey::of(key), set).matches(&mac);
        Ok(is_it.then(|| mac.fingerprint()))
    }

    /// There are none of those here.
    fn eight_digits(&self, _: &SetId, _: &oath::Code) -> Result<Option<EightDigits>, Diagnostic> {
        Ok(None)
    }
}

/// It was removed while its code was being decided about.
fn gone(token: TokenId) -> Diagnostic {
    let found = Diagnostic::error(Code::TokenNotHere, "nobody has it any more: nothing was decided");
    found.at(Location::Token(token.to_string())).advise("try again")
}

/// What is kept of a token cannot be opened.
fn unopened(token: TokenId) -> Diagnostic {
    let problem = "its secret cannot be opened: it is damaged, or sealed under another store key";
    let found = Diagnostic::error(Code::KeyUnreadable, problem).at(Location::Token(token.to_string()));
    match token {
        TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => {
            found.run_when("to replace the user's codes", Program::Ykwebd, "user new-recovery-codes NAME")
        }
        token => found.run_when(
            "to remove it, so that it can be added again",
            Program::Ykwebd,
            format!("user remove-token NAME {token}"),
        ),
    }
}
