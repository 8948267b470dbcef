//! `ykmap key list`, `ykmap key show`

use super::show_oath::Shown;
use crate::list::States;
use crate::out::{self, Field};
use crate::{Context, Done, Failure, files};
use serde_json::json;
use ykhost::Fault;
use ykhost::settings::Settings;
use ykhost::store::{KEYS, POSITIONS, Store};
use yubiotp::freshness::MOST_TRIES;
use yubiotp::key::Fingerprint;
use yubiotp::{Position, TokenId};

pub(crate) fn list(context: &Context) -> Done {
    let settings = context.settings()?;
    let states = States::new(context, &settings);
    let store = &states.store;
    let mut tokens = super::tokens(store)?;
    let all = tokens.len();
    tokens.retain(|id| id.yubikey().is_some());
    let owners = files::owners(&settings);
    let owners = |id: &TokenId| owners.get(id).map(Vec::as_slice).unwrap_or_default();
    if context.json {
        let keys: Vec<_> = tokens
            .iter()
            .map(|id| {
                let position = position(store, id);
                json!({
                    "id": id.to_string(),
                    "serial": id.yubikey().and_then(|id| id.serial()),
                    "state": states.of(id).to_string(),
                    "owners": owners(id),
                    "usage_counter": position.map(|position| position.usage_counter()),
                    "session_use": position.map(|position| position.session_use()),
                    "last_use": position.and_then(|_| last_use(&settings, id)),
                })
            })
            .collect();
        out::json(&json!(keys));
        return Ok(());
    }
    if tokens.is_empty() {
        let ykmap = context.ykmap();
        if all > 0 {
            out::note(&format!(
                "no key of a YubiKey in the store: {ykmap} token list shows the other tokens"
            ));
            return Ok(());
        }
        out::note(&format!(
            "no keys in the store: {ykmap} key import FILE (with --used if the store was lost), or {ykmap} key new"
        ));
        return Ok(());
    }
    let rows = tokens.iter().map(|id| {
        let position = position(store, id);
        let number = |part: Option<u64>| part.map_or_else(|| "-".to_owned(), |part| part.to_string());
        let counters = position
            .map_or_else(|| "-".to_owned(), |it| format!("{}/{}", it.usage_counter(), it.session_use()));
        let last = position.and_then(|_| last_use(&settings, id)).unwrap_or_else(|| "-".to_owned());
        let owners = match owners(id) {
            [] => Field::Loud("-".to_owned()),
            owners => Field::Plain(owners.join(", ")),
        };
        vec![
            Field::Plain(id.to_string()),
            Field::Plain(number(id.yubikey().and_then(|id| id.serial()))),
            owners,
            states.field(id),
            Field::Plain(counters),
            Field::Plain(last),
        ]
    });
    out::table(&["Token", "Serial", "Owner", "State", "Usage/session", "Last use (UTC)"], rows.collect());
    Ok(())
}

/// When the position was written last: at the last accepted login, or when it was enabled or disabled since.
pub(crate) fn last_use(settings: &Settings, id: &TokenId) -> Option<String> {
    let path = settings.store.join(POSITIONS).join(id.to_string());
    let written = std::fs::symlink_metadata(path).ok()?.modified().ok()?;
    let seconds = written.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some(ykcli::time::utc(seconds))
}

/// The position of a token; `None` if it was not used, or if nobody knows which of its OTPs were.
fn position(store: &Store, id: &TokenId) -> Option<Position> {
    store.slots(id).ok().flatten()?.state.position.filter(|position| *position != Position::LAST)
}

/// Prints what there is of each; a fault of one is part of its answer, and exit status 1.
pub(crate) fn show(context: &Context, ids: &[TokenId]) -> Done {
    let settings = context.settings()?;
    let store = context.store()?;
    let ykmap = context.ykmap();
    let mut faults = false;
    let mut shown = Vec::new();
    for id in ids {
        if id.yubikey().is_none() {
            let ykmap = context.ykmap();
            let other = Shown::of(&settings, &store, id, &ykmap);
            faults |= other.is_fault();
            if context.json {
                shown.push(other.json());
            } else {
                other.lines(&ykmap).iter().for_each(|line| out::line(line));
            }
            continue;
        }
        let slots = store.slots(id);
        let elsewhere =
            slots.as_ref().is_ok_and(|it| it.is_some_and(|it| it.state.key == Fingerprint::ELSEWHERE));
        let key =
            match store.key_file(id).and_then(|file| store.token_key(id).map(|_| file.under().to_string())) {
                Err(Fault::NoKey { .. }) if elsewhere => Ok(None),
                key => key
                    .map(Some)
                    .map_err(|fault| context.text(&files::if_unknown(&settings, id, fault.diagnostic()))),
            };
        let position = match slots {
            Ok(Some(_)) if elsewhere && !matches!(key, Ok(None)) => {
                Err(format!("it is of the time when no key was here ({ykmap} key adopt {id})"))
            }
            Ok(None) if key.is_err() => Err("there is none".to_owned()),
            Ok(None) => Err(format!("there is none ({ykmap} key adopt {id})")),
            Ok(Some(slots)) => Ok(slots),
            Err(fault) => Err(context.text(&fault.diagnostic())),
        };
        let servers_word =
            position.as_ref().is_ok_and(|slots| store.is_servers_word(&slots.state).unwrap_or_default());
        let touched = position.as_ref().is_ok_and(|slots| {
            slots.state.position.is_some()
                && store.touched(&slots.state).unwrap_or_default() == slots.state.position
        });
        faults |= key.is_err() || position.is_err();
        let file = |folder: &str| settings.store.join(folder).join(id.to_string());
        if context.json {
            let state = position.as_ref().ok().map(|slots| slots.state);
            shown.push(json!({
                "id": id.to_string(),
                "serial": id.yubikey().and_then(|id| id.serial()),
                "key_file": file(KEYS),
                "key_fault": key.as_ref().err().map(ToString::to_string),
                "sealed_under": key.as_ref().ok().and_then(Option::as_ref),
                "position_file": file(POSITIONS),
                "position_fault": position.as_ref().err(),
                "slot_damaged": position.as_ref().ok().map(|slots| slots.damaged),
                "enabled": state.map(|state| state.enabled),
                "restored": state.map(|state| state.restored.is_some()),
                "usage_counter": state.and_then(|state| state.position).map(|position| position.usage_counter()),
                "session_use": state.and_then(|state| state.position).map(|position| position.session_use()),
                "position_from": state.and_then(|state| state.position).map(|_| match (servers_word, touched) {
                    (true, _) => "server",
                    (false, true) => "touches",
                    (false, false) => "key",
                }),
            }));
            continue;
        }
        out::line(&format!("token          {id}"));
        if let Some(serial) = id.yubikey().and_then(|id| id.serial()) {
            out::line(&format!("serial         {serial}, if the id was made by the factory"));
        }
        out::line(&match key {
            Ok(Some(under)) => {
                format!("key            {}, opens under store key {under}", file(KEYS).display())
            }
            Ok(None) if settings.mode.asks_servers() => {
                "key            none here: validation servers decide".to_owned()
            }
            Ok(None) => format!(
                "key            none here, and mode {} asks no server: every login with it fails ({ykmap} key import --used FILE, or another mode)",
                settings.mode.name()
            ),
            Err(fault) => format!("key            FAULT: {fault}"),
        });
        match position {
            Err(why) => out::line(&format!("position       FAULT: {why}")),
            Ok(slots) => {
                let state = slots.state;
                let said = match state.position {
                    None => "not used yet".to_owned(),
                    Some(Position::LAST) => {
                        format!("not known, so no OTP is accepted ({ykmap} token resync {id})")
                    }
                    Some(position) => position.to_string(),
                };
                let by = match (servers_word, touched) {
                    (true, _) => ", as a validation server named it",
                    (false, true) => ", as two touches showed",
                    (false, false) => "",
                };
                out::line(&format!("position       {}: {said}{by}", file(POSITIONS).display()));
                let on = if state.enabled { "enabled" } else { "disabled" };
                out::line(&match state.restored {
                    None => format!("state          {on}"),
                    Some(tries) if tries >= MOST_TRIES => format!(
                        "state          {on}, restored: the timed touches of a login failed; {ykmap} token resync {id} is needed"
                    ),
                    Some(_) => format!(
                        "state          {on}, restored: the next login asks for three more touches ({ykmap} token resync {id} asks for two now)"
                    ),
                });
                if slots.damaged {
                    out::line(&format!(
                        "damage         one of its two slots: a write was cut off, or the disk is failing; until the next login the last OTP may be good once more ({ykmap} token resync {id})"
                    ));
                }
            }
        }
    }
    if context.json {
        out::json(&json!(shown));
    }
    if faults { Err(Failure::No) } else { Ok(()) }
}
