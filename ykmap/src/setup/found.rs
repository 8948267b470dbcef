//! What was found on a host, as plain values.

use super::plan::Words;
use yubiotp::diagnostic::Diagnostic;

/// A host, as far as a plan depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whose logins are set up.
    pub(crate) user: String,
    /// Why the settings or the store cannot be used.
    pub(crate) unusable: Option<Diagnostic>,
    /// The user's tokens, without recovery codes.
    pub(crate) tokens: Vec<FoundToken>,
    /// The user's recovery codes that were not used.
    pub(crate) codes_left: usize,
    /// Keys of YubiKeys in the store that are nobody's.
    pub(crate) unowned: usize,
    /// Validation servers decide about tokens whose key is not here.
    pub(crate) asks_servers: bool,
    /// The policy allows the user YubiKeys.
    pub(crate) takes_yubikeys: bool,
    /// The policy allows the user authenticator apps, and this host decides about codes.
    pub(crate) takes_apps: bool,
    /// The same of recovery codes.
    pub(crate) takes_recovery: bool,
    /// Services that `ykmap enable` knows, and that this host has, in the order in which they are offered.
    pub(crate) services: Vec<FoundService>,
    /// Other services that ask for a token.
    pub(crate) others_asking: Vec<String>,
    /// Other services that it has and that people log in by, such as a display manager.
    pub(crate) others: Vec<String>,
    /// Lines of other second factors.
    pub(crate) old: Vec<OldLine>,
    /// Other accounts that can log in, and that are not listed with a token. `None` if that cannot be read.
    pub(crate) without_token: Option<Vec<String>>,
}

/// A token of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundToken {
    pub(crate) id: String,
    /// Its state, in words.
    pub(crate) state: String,
    /// Whether logins can use it.
    pub(crate) is_usable: bool,
    /// Whether this host has accepted an OTP or code of it.
    pub(crate) is_proved: bool,
    /// The verb that makes it usable.
    pub(crate) fix: Option<Words>,
}

/// A service of `ykmap enable`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundService {
    /// As `ykmap enable` names it.
    pub(crate) name: &'static str,
    /// Its files in pam.d, of those that this host has.
    pub(crate) files: Vec<&'static str>,
    pub(crate) asks: Asks,
    /// When the change that enabled it is undone unless it is kept: `14:32`.
    pub(crate) undone_at: Option<String>,
}

/// Whether the files of a service ask for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    Yes,
    /// Some of its files do.
    Partly,
    No,
}

/// A line of pam.d that loads the module of another second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OldLine {
    /// The module, without `.so`.
    pub(crate) module: String,
    /// The file and the line.
    pub(crate) place: String,
    /// As `ykmap migrate` names it; `None` if nothing can be moved.
    pub(crate) migrate: Option<&'static str>,
}

impl Found {
    /// The user's tokens that a login can use.
    pub(crate) fn usable(&self) -> impl Iterator<Item = &FoundToken> {
        self.tokens.iter().filter(|token| token.is_usable)
    }

    /// The service that is to be enabled next.
    pub(crate) fn first_to_enable(&self) -> Option<&FoundService> {
        self.services.iter().find(|service| service.asks == Asks::No)
    }
}

impl Asks {
    /// As `--json` has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partly => "partly",
            Self::No => "no",
        }
    }
}
