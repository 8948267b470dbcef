//! Decides about second factors: OTPs of YubiKeys, codes of authenticator apps and hardware tokens, and recovery codes.
//!
//! The rules are those of every login ([`yubiotp::verdict`]); here are what they are applied to. The `vault` is
//! the store, whose ledger accepts nothing twice. `servers` asks validation servers about the OTPs of YubiKeys:
//! their keys are never here; [`probe`] asks whether they answer. `guesses` counts the codes that were tried.

mod finding;
mod guesses;
mod probe;
mod servers;
mod split;
#[cfg(test)]
mod tests;
mod vault;

use crate::config::Validation;
use crate::session::Means;
use crate::store::{Account, Store, StoreFault};
use crate::user::UserName;
use guesses::UserGuesses;
pub use guesses::give_back_guesses;
pub use probe::probe;
use servers::ValidationServers;
use std::sync::Arc;
use tokio::runtime::Handle;
use vault::StoredTokens;
use yubiotp::TokenId;
use yubiotp::diagnostic::Diagnostic;
use yubiotp::mapping::Enrolment;
use yubiotp::oath::window::Usual;
use yubiotp::policy::Methods;
use yubiotp::seal::StoreKeys;
use yubiotp::verdict::{self, Codes, Mode, Verdict};

/// What decides about second factors. A clone is the same one.
#[derive(Clone)]
pub struct SecondFactor(Arc<Inner>);

struct Inner {
    store: Store,
    keys: Arc<StoreKeys>,
    servers: Option<ValidationServers>,
    runtime: Handle,
}

/// The decision about an answer.
pub struct Judged<'a> {
    /// The decision. Only [`Verdict::Accepted`] lets anybody in, and then what was shown is used up durably.
    pub verdict: Verdict,
    /// What was shown, if it was accepted.
    pub means: Option<Means>,
    /// The text before the OTP or code, once its beginning is known: a password.
    pub password: Option<&'a [u8]>,
    /// What each validation server that was asked said or did, for the log.
    pub trail: Option<String>,
    /// Why it was not accepted, and what an administrator can do about it. It has no secret.
    pub finding: Option<Diagnostic>,
}

impl SecondFactor {
    /// Over this store, with the key that its secrets are sealed under. Without `validation`, the OTP of a YubiKey is a fault.
    /// Servers are asked on `runtime`, which needs its I/O and its clock.
    ///
    /// # Errors
    /// The validation servers cannot be asked as they are set: there are none, or OTPs would go to another host in the clear,
    /// or an answer could come from anybody; or a file of authorities cannot be used.
    pub fn new(
        store: Store,
        keys: Arc<StoreKeys>,
        validation: Option<Validation>,
        runtime: Handle,
    ) -> Result<Self, Diagnostic> {
        let servers = validation.map(ValidationServers::new).transpose()?;
        Ok(Self(Arc::new(Inner { store, keys, servers, runtime })))
    }

    /// Decides about an answer of this user at `unix`, in seconds since 1970. A user who is not known is
    /// [`Verdict::NotEnrolled`], and one who is disabled is rejected.
    ///
    /// It may wait for validation servers and for the disk: call it off the runtime (`spawn_blocking`).
    ///
    /// # Errors
    /// Something failed, and nothing was decided.
    pub fn judge<'a>(&self, user: &UserName, answer: &'a [u8], unix: u64) -> Result<Judged<'a>, Diagnostic> {
        let Inner { store, keys, servers, runtime } = &*self.0;
        let account = store.account(user)?;
        let vault = StoredTokens { store, keys };
        let asked = servers::Asked { servers: servers.as_ref(), runtime };
        let guesses = UserGuesses::new(store, user, unix);
        let codes = Codes { local: true, unix, usual: Usual::DEFAULT, guesses: &guesses };
        let enrolment = account.as_ref().map_or(Enrolment::NotListed, |it| Enrolment::Listed(ids(it)));
        let judgement =
            verdict::judge(answer, &enrolment, Mode::Online, Methods::ALL, &vault, &asked, &codes)?;
        let is_disabled = account.as_ref().is_some_and(|account| !account.user.is_enabled);
        let means = match (&judgement.verdict, &account) {
            (Verdict::Accepted(receipt), Some(account)) => means_of(account, &receipt.token()),
            _ => None,
        };
        Ok(Judged {
            means,
            finding: finding::of(&judgement.verdict, user, is_disabled),
            verdict: judgement.verdict,
            password: judgement.password,
            trail: judgement.trail,
        })
    }

    /// What a user may show, each once: of tokens that are enabled, and recovery codes that were not used. Nothing of a user
    /// who is not known, or is disabled.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn methods(&self, user: &UserName) -> Result<Vec<Means>, StoreFault> {
        let account = self.0.store.account(user)?.filter(|account| account.user.is_enabled);
        let Some(account) = account else { return Ok(Vec::new()) };
        let has = |means: &Means| match means {
            Means::Recovery => account.recovery.is_some_and(|set| set.left > 0),
            means => account.tokens.iter().any(|token| token.is_enabled && token.means == *means),
        };
        Ok(Means::ALL.into_iter().filter(has).collect())
    }
}

/// What a user has, as the rules take it.
fn ids(account: &Account) -> Vec<TokenId> {
    let tokens = account.tokens.iter().map(|token| token.id);
    tokens.chain(account.recovery.iter().map(|set| TokenId::RecoverySet(set.id))).collect()
}

/// What the user showed with this token.
fn means_of(account: &Account, token: &TokenId) -> Option<Means> {
    if token.recovery_set().is_some() {
        return Some(Means::Recovery);
    }
    account.tokens.iter().find(|known| known.id == *token).map(|known| known.means)
}
