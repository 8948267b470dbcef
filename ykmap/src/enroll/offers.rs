//! The three ways in which users get a token by themselves: each is a dialogue that proves that they have it.
//!
//! Nothing is written for the user here. OTPs and codes that were typed are used up; an authenticator app that was shown is
//! kept in `pending` for an hour.

mod app;
mod hardware;
mod yubikey;

pub(crate) use app::ascii;

use super::talk::{Gone, Talk};
use crate::files;
use ykcli::failure::Failure;
use ykhost::Fault;
use ykhost::settings::LoginSettings;
use ykhost::store::{Origin, Seen, Store, TokenKey};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::dialogue::Answer;
use yubiotp::oath::window::Progress;
use yubiotp::policy::{Method, Methods};
use yubiotp::verdict::Mode;
use yubiotp::{TokenId, shown};

/// How many wrong answers end an offer.
const TRIES: usize = 3;

/// A way to get a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Two touches of a YubiKey.
    YubiKey,
    /// A new secret for an authenticator app, and a code of it.
    App,
    /// The serial number of a hardware token, and two successive codes of it.
    Hardware,
}

/// A token that is in the user's hand.
pub(crate) struct Proved {
    /// The token.
    pub(crate) token: TokenId,
    /// What has to be stored of it, and how far it has come; `None` if the store needs nothing.
    pub(crate) coming: Option<(TokenKey, Progress)>,
    /// The offer of an app, as it was shown.
    pub(crate) seen: Option<Seen>,
}

/// Why an offer ended without a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nobody is there any more, or the time is up.
    Gone,
    /// The user wants to choose again: they typed only Enter.
    Back,
    /// No: too many wrong answers, or a token that they may not have. They were told.
    Refused(Diagnostic),
    /// Something failed. They were not told.
    Fault(Diagnostic),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault.diagnostic())
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        let unknown = || Diagnostic::error(Code::InternalError, "a failure without a finding");
        let found = failure.diagnostic().unwrap_or_else(unknown);
        match found.code {
            Code::OfferEnded | Code::CodeUsed => Self::Refused(found),
            _ => Self::Fault(found),
        }
    }
}

/// What a user may be offered on this host.
pub(crate) struct Offers<'o> {
    /// The settings.
    pub(crate) settings: &'o LoginSettings,
    /// The store that they name.
    pub(crate) store: Store,
    /// The user.
    pub(crate) user: &'o str,
    /// The methods that the policy allows the user.
    pub(crate) methods: Methods,
    /// Where they are.
    pub(crate) origin: Origin,
}

impl<'o> Offers<'o> {
    /// The offers to a user whom the policy allows these methods, by `ykmap self`.
    pub(crate) fn new(settings: &'o LoginSettings, user: &'o str, methods: Methods) -> Self {
        Self { settings, store: Store::new(settings), user, methods, origin: Origin::own() }
    }

    /// Those that can lead to a token, in the order in which they are shown.
    pub(crate) fn choices(&self) -> Result<Vec<Offer>, Fault> {
        let codes = self.has_codes();
        let mut choices = Vec::new();
        if self.methods.has(Method::YubiKey) && self.has_yubikeys()? {
            choices.push(Offer::YubiKey);
        }
        if codes && self.methods.has(Method::Totp) {
            choices.push(Offer::App);
        }
        let hardware = self.methods.has(Method::Totp) || self.methods.has(Method::Hotp);
        if codes && hardware && !self.store.claimable_series()?.is_empty() {
            choices.push(Offer::Hardware);
        }
        Ok(choices)
    }

    /// Whether there can be a YubiKey to take: servers are asked, or the store has the key of one that is nobody's.
    fn has_yubikeys(&self) -> Result<bool, Fault> {
        if self.settings.mode != Mode::Offline {
            return Ok(true);
        }
        let (tokens, _) = self.store.tokens()?;
        let owners = files::owners(self.settings);
        let is_free = |token: &TokenId| {
            matches!(token, TokenId::YubiKey(_)) && self.settings.allows(token) && !owners.contains_key(token)
        };
        Ok(tokens.iter().any(is_free))
    }

    /// Whether the user may have recovery codes.
    pub(crate) fn has_recovery(&self) -> bool {
        self.has_codes() && self.methods.has(Method::Recovery)
    }

    /// Whether this host accepts codes.
    fn has_codes(&self) -> bool {
        self.settings.mode != Mode::Online || self.settings.codes.local
    }

    /// Makes an offer. `first` is an answer that was typed already: a touch, where the user was to choose.
    pub(crate) fn make(
        &self,
        offer: Offer,
        first: Option<Answer>,
        talk: &mut impl Talk,
    ) -> Result<Proved, Stop> {
        match offer {
            Offer::YubiKey => self.yubikey(first, talk),
            Offer::App => self.app(talk),
            Offer::Hardware => self.hardware(talk),
        }
    }

    /// Whether the user has the token already.
    fn is_own(&self, token: &TokenId) -> bool {
        let owners = files::owners(self.settings);
        owners.get(token).is_some_and(|users| users.contains(&shown::text(self.user).to_string()))
    }

    /// The finding if a token is somebody's; it may be this user's own.
    fn owner(&self, token: &TokenId) -> Option<Diagnostic> {
        let owners = files::owners(self.settings);
        let owner = owners.get(token)?.first()?;
        let found = Diagnostic::error(Code::TokenAssigned, format!("the token is {}'s", shown::text(owner)));
        Some(found.at(Location::Token(token.to_string())))
    }
}

/// Counts wrong answers. The user is shown `text`, and how many tries are left; at the third the finding ends the offer.
struct Wrong(usize);

impl Wrong {
    fn answer(&mut self, talk: &mut impl Talk, text: &str, found: Diagnostic) -> Result<(), Stop> {
        self.0 = self.0.saturating_add(1);
        let left = TRIES.saturating_sub(self.0);
        if left == 0 {
            talk.say(text)?;
            return Err(Stop::Refused(found));
        }
        let tries = if left == 1 { "try" } else { "tries" };
        Ok(talk.say(&format!("{text}You have {left} {tries} left.\n"))?)
    }
}
