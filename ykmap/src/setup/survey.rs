//! What there is on this host: settings, store, the user's tokens, and the services by which people log in.

use super::found::{Asks, Found, FoundService, FoundToken, OldLine};
use super::plan::words;
use super::services::{SERVICES, Service, is_login, migrate};
use crate::check::policy::not_allowed;
use crate::doctor::pam::{auth_lines, auth_modules};
use crate::doctor::{PATIENCE, without_token};
use crate::list::{State, States};
use crate::system::pending_changes;
use crate::{Context, Failure, files};
use std::path::{Path, PathBuf};
use ykhost::settings::{Mode, Settings};
use ykhost::store::{self, Store};
use ykhost::{Fault, mapping};
use yubiotp::TokenId;
use yubiotp::mapping::Enrolment;
use yubiotp::policy::Method;

/// Where a survey looks.
pub(super) struct Sources<'s> {
    /// Folders of service files, in place of the usual ones.
    pub(super) pam_dirs: &'s [PathBuf],
    /// The configuration file of sshd, if it is not the usual one.
    pub(super) sshd_config: Option<&'s Path>,
    /// The folder of passwd and shadow.
    pub(super) accounts: &'s Path,
    /// The module and the program of a trial, if they are not in their usual places.
    pub(super) module: Option<&'s Path>,
    pub(super) try_program: Option<&'s Path>,
}

/// Looks at everything; nothing is changed.
pub(super) fn survey(context: &Context, user: &str, sources: &Sources<'_>) -> Found {
    let mut found = Found { user: user.to_owned(), ..Found::default() };
    services(&mut found, sources.pam_dirs);
    let settings = match usable_settings(context) {
        Ok(settings) => Some(settings),
        Err(failure) => {
            found.unusable = failure.diagnostic();
            // As new settings have it.
            (found.takes_yubikeys, found.takes_apps, found.takes_recovery) = (true, true, true);
            None
        }
    };
    if let Some(settings) = &settings {
        of_user(context, settings, &mut found);
    }
    found.without_token = without_token(settings.as_ref(), sources.accounts, PATIENCE);
    found.without_token.iter_mut().for_each(|names| names.retain(|name| name != user));
    found
}

/// The settings, if mapping and store are there and can be used.
fn usable_settings(context: &Context) -> Result<Settings, Failure> {
    let settings = context.settings()?;
    for path in files::mappings(&settings)? {
        mapping::text(&path)?;
    }
    let store = Store::new(&settings);
    store.keys()?;
    store.positions()?;
    match store.store_key() {
        Err(Fault::NoStoreKey { .. }) if settings.mode == Mode::Online && !settings.codes.local => {}
        key => drop(key?),
    }
    Ok(settings)
}

/// The tokens of the user, and which ones they may have.
fn of_user(context: &Context, settings: &Settings, found: &mut Found) {
    let states = States::new(context, settings);
    let tokens = match mapping::enrolment(settings, found.user.as_bytes(), false) {
        Ok(Enrolment::Listed(tokens)) => tokens,
        Ok(Enrolment::NotListed) => Vec::new(),
        Err(fault) => {
            found.unusable = Some(fault.diagnostic());
            return;
        }
    };
    for id in &tokens {
        match (id, states.of(id)) {
            (TokenId::RecoverySet(_), State::CodesLeft(left)) => {
                found.codes_left = found.codes_left.saturating_add(left);
            }
            (TokenId::RecoverySet(_), _) => {}
            (id, state) => found.tokens.push(token(&states, id, state)),
        }
    }
    let user = found.user.as_str();
    let may = |method| not_allowed(&settings.policy, user, method).is_none();
    let has_codes = settings.mode != Mode::Online || settings.codes.local;
    found.takes_yubikeys = may(Method::YubiKey);
    found.takes_apps = has_codes && may(Method::Totp);
    found.takes_recovery = has_codes && may(Method::Recovery);
    found.asks_servers = settings.mode.asks_servers();
    let owners = files::owners(settings);
    let keys = states.store.tokens().map(|(tokens, _)| tokens).unwrap_or_default();
    for change in pending_changes(&settings.store).unwrap_or_default() {
        let named = change.name.strip_prefix("enable-");
        for service in found.services.iter_mut().filter(|service| Some(service.name) == named) {
            let at = ykcli::time::utc(change.deadline);
            service.undone_at = Some(at.split(' ').next_back().unwrap_or_default().to_owned());
        }
    }
    found.unowned = keys.iter().filter(|id| id.yubikey().is_some() && !owners.contains_key(id)).count();
}

fn token(states: &States, id: &TokenId, state: State) -> FoundToken {
    let position = states.store.slots(id).ok().flatten().and_then(|slots| slots.state.position);
    let fix = match state {
        State::NeedsResync | State::Restored => Some(words(["token", "resync", &id.to_string()])),
        State::Disabled => Some(words(["key", "enable", &id.to_string()])),
        State::NoPosition if id.yubikey().is_some() => Some(words(["key", "adopt", &id.to_string()])),
        State::NoPosition => Some(words(["token", "resync", &id.to_string()])),
        _ => None,
    };
    FoundToken {
        id: id.to_string(),
        state: state.to_string(),
        is_usable: matches!(state, State::Enabled | State::Elsewhere | State::SlotDamaged)
            || (state == State::NoKey && states.asks_servers()),
        is_proved: position.is_some_and(|position| position != store::State::last(id)),
        fix,
    }
}

/// The services of this host, and the second factors that they ask for now.
fn services(found: &mut Found, pam_dirs: &[PathBuf]) {
    let (names, loaded) = auth_modules(pam_dirs);
    let asking: Vec<_> = auth_lines(pam_dirs).into_iter().map(|line| line.service).collect();
    let asks = |file: &str| asking.iter().any(|name| name == file);
    for Service { name, files, .. } in SERVICES {
        let here: Vec<_> =
            files.iter().copied().filter(|file| names.iter().any(|name| name == file)).collect();
        if here.is_empty() {
            continue;
        }
        let count = here.iter().filter(|file| asks(file)).count();
        let asks = match count {
            0 => Asks::No,
            some if some == here.len() => Asks::Yes,
            _ => Asks::Partly,
        };
        found.services.push(FoundService { name, files: here, asks, undone_at: None });
    }
    let is_ours = |name: &str| SERVICES.iter().any(|service| service.files.contains(&name));
    for name in names.iter().filter(|name| !is_ours(name) && is_login(name)) {
        if asks(name) { &mut found.others_asking } else { &mut found.others }.push(name.clone());
    }
    for line in loaded {
        let place = line.place.to_string();
        let is_known = found.old.iter().any(|old| old.place == place);
        if let (false, Some(migrate)) = (is_known, migrate(&line.module)) {
            found.old.push(OldLine { module: line.module, place, migrate });
        }
    }
}
