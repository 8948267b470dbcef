//! The token store: every key opens, and every key has a position that can be trusted.

use super::report::{Level, Report, Room, told};
use crate::cli::list::States;
use crate::cli::out;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use ykmap::Fault;
use ykmap::settings::Settings;
use ykmap::store::{Slots, Store, Stray, Survey};
use yubiotp::key::Fingerprint;
use yubiotp::seal::StoreKey;
use yubiotp::{Credential, PublicId};
use zeroize::Zeroize;

/// Looks at one store. Gives what it takes to tell how a token stands; `None` if the store cannot be used as a whole.
pub(super) fn look(report: &mut Report, settings: &Settings) -> Option<States> {
    let store = Store::new(settings);
    let survey = match Survey::open(store.clone()) {
        Ok(survey) => survey,
        Err(fault) => {
            report.fault(Room::Store, &fault, "bring the store back, or begin one (ykmap init)");
            return None;
        }
    };
    let (tokens, strays) = match store.tokens() {
        Ok(found) => found,
        Err(fault) => {
            report.fault(Room::Store, &fault, "mend the folder");
            return None;
        }
    };
    for stray in strays {
        let stray = (stray.display().to_string(), "not a key: nothing reads it", "move it away");
        report.one_of_many(Room::Store, "stray", Level::Note, stray);
    }
    let key = match store.store_key() {
        Ok(key) => Some(key),
        // Where servers decide about everybody, nothing is sealed.
        Err(Fault::NoStoreKey { .. }) if settings.mode.asks_servers() && tokens.is_empty() => None,
        Err(fault) => {
            report.fault(Room::Store, &fault, "bring back the copy of the store key");
            return None;
        }
    };
    if let Some(key) = &key {
        each(report, &survey, key, &tokens);
    }
    positions(report, &survey, &tokens);
    report.good(Room::Store, format!("{}: {}", settings.store.display(), out::count(tokens.len(), "key")));
    let id = key.map(|key| key.id());
    Some(States::with(store, survey, id))
}

fn each(report: &mut Report, survey: &Survey, key: &StoreKey, tokens: &[PublicId]) {
    let mut credentials = HashMap::with_capacity(tokens.len());
    for token in tokens {
        let opened = survey.record(token).and_then(|record| survey.open_record(&record, token, key));
        match &opened {
            Ok(credential) => {
                if let Some(first) = credentials.insert(same(credential), *token) {
                    let what = format!(
                        "holds the same key as {first}: an OTP of one, used, is good again as the other's"
                    );
                    let place = survey.key_file(token).display().to_string();
                    let change = format!("program one of them anew, or remove it (ykmap key remove {token})");
                    report.one_of_many(Room::Store, "twice", Level::Warning, (place, what, change));
                }
            }
            Err(fault) => many(report, "key", fault),
        }
        position(report, survey, token, opened.as_ref().ok());
    }
}

/// Tells credentials apart whatever their public ids are, without keeping them.
fn same(credential: &Credential) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(b"ykmap doctor\0");
    hash.update(credential.private_id.expose());
    hash.update(credential.aes_key.expose());
    let mut digest: [u8; 32] = hash.finalize().into();
    let mut first = [0; 16];
    for (to, from) in first.iter_mut().zip(&digest) {
        *to = *from;
    }
    digest.zeroize();
    first
}

fn position(report: &mut Report, survey: &Survey, token: &PublicId, credential: Option<&Credential>) {
    let path = survey.position_file(token);
    let slots = match survey.slots(token) {
        Ok(Some(slots)) => slots,
        Ok(None) => return many(report, "no position", &Fault::NoPosition { path, token: *token }),
        Err(fault) => return many(report, "position", &fault),
    };
    if credential.is_some_and(|credential| credential.fingerprint(token) != slots.state.key) {
        return many(report, "other position", &Fault::OtherKeysPosition { path, token: *token });
    }
    condition(report, survey, token, &slots);
}

/// What may be so, and wants to be known.
fn condition(report: &mut Report, survey: &Survey, token: &PublicId, slots: &Slots) {
    let place = survey.position_file(token).display().to_string();
    if slots.damaged {
        let what = "one of its two slots is damaged: a write was cut off, or the disk is failing";
        let change = "the next login writes over it; if it comes again, look at the disk";
        report.one_of_many(Room::Store, "damaged", Level::Warning, (&place, what, change));
    }
    if !slots.state.enabled {
        let change = format!("ykmap key enable {token}");
        let what = format!("token {token} is disabled");
        report.one_of_many(Room::Store, "disabled", Level::Note, (&place, what, change));
    }
}

/// Positions of tokens that have no key here, and what is no position.
fn positions(report: &mut Report, survey: &Survey, keys: &[PublicId]) {
    let (tokens, strays) = match survey.positions() {
        Ok(found) => found,
        Err(fault) => return report.fault(Room::Store, &fault, "mend the folder"),
    };
    for token in tokens.iter().filter(|token| keys.binary_search(token).is_err()) {
        match survey.slots(token) {
            Ok(Some(slots)) if slots.state.key == Fingerprint::ELSEWHERE => {
                condition(report, survey, token, &slots)
            }
            Ok(Some(_)) => {
                let place = survey.position_file(token).display().to_string();
                let change = format!("bring keys/{token} back; if the key is not wanted here, leave it");
                report.one_of_many(
                    Room::Store,
                    "no key",
                    Level::Note,
                    (place, "its key is not in the store", change),
                );
            }
            Ok(None) => {}
            Err(fault) => many(report, "position", &fault),
        }
    }
    for stray in strays {
        let (path, what, change) = match stray {
            Stray::NotAToken(path) => (path, "not a position: nothing reads it", "move it away"),
            Stray::CutOff(path) => {
                (path, "left by a change that was cut off: nothing reads it", "run that change again")
            }
        };
        report.one_of_many(Room::Store, "stray", Level::Note, (path.display().to_string(), what, change));
    }
}

fn many(report: &mut Report, kind: &'static str, fault: &Fault) {
    if fault.file().is_some_and(|file| report.is_unread(file)) {
        return;
    }
    report.one_of_many(Room::Store, kind, Level::Error, told(fault, "ykmap key show ID says more"));
}
