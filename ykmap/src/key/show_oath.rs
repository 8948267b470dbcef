//! `ykmap key show` of an OATH token or a recovery code.

use crate::codes;
use serde_json::{Value, json};
use ykhost::settings::Settings;
use ykhost::store::{KEYS, KeyFile, OathNotes, POSITIONS, PositionFile, State, Store};
use yubiotp::TokenId;
use yubiotp::oath::{Kind, Parameters};

/// What there is of it.
pub(super) struct Shown {
    id: TokenId,
    /// The files, as the text and JSON name them.
    files: [String; 2],
    oath: Option<(Parameters, OathNotes)>,
    /// The store key that it is sealed under, or why it cannot be used.
    key: Result<String, String>,
    position: Result<PositionFile, String>,
}

impl Shown {
    pub(super) fn of(settings: &Settings, store: &Store, id: &TokenId, ykmap: &str) -> Self {
        let file = store.key_file(id);
        let oath = match &file {
            Ok(KeyFile::Oath(_, record)) => Some((record.parameters, record.notes)),
            _ => None,
        };
        let key = file.and_then(|file| store.token_key(id).map(|_| file.under().to_string()));
        let position = match store.slots(id) {
            Ok(Some(slots)) => Ok(slots),
            Ok(None) if id.oath().is_some() => Err(format!("there is none ({ykmap} token resync {id})")),
            Ok(None) => Err("there is none".to_owned()),
            Err(fault) => Err(fault.to_string()),
        };
        let path = |folder| settings.store.join(folder).join(id.to_string()).display().to_string();
        let key = key.map_err(|fault| fault.to_string());
        Self { id: *id, files: [path(KEYS), path(POSITIONS)], oath, key, position }
    }

    /// Whether something of it cannot be used.
    pub(super) const fn is_fault(&self) -> bool {
        self.key.is_err() || self.position.is_err()
    }

    pub(super) fn json(&self) -> Value {
        let parameters = self.oath.map(|(parameters, _)| parameters);
        let period = parameters.and_then(|parameters| codes::seconds(parameters.kind));
        let state = self.position.as_ref().ok().map(|slots| slots.state);
        let known = state.and_then(|state| state.position).filter(|it| *it != State::last(&self.id));
        let [key_file, position_file] = &self.files;
        json!({
            "id": self.id.to_string(),
            "kind": parameters.map_or("recovery", |it| codes::kind_name(it.kind)),
            "algorithm": parameters.map(|it| it.algorithm.name()),
            "digits": parameters.map(|it| it.digits.get()),
            "period": period,
            "window": self.oath.and_then(|(_, notes)| notes.window),
            "series": self.oath.and_then(|(_, notes)| notes.series).map(|series| series.to_string()),
            "key_file": key_file,
            "key_fault": self.key.as_ref().err(),
            "sealed_under": self.key.as_ref().ok(),
            "position_file": position_file,
            "position_fault": self.position.as_ref().err(),
            "slot_damaged": self.position.as_ref().ok().map(|slots| slots.damaged),
            "enabled": state.map(|state| state.enabled),
            "next_step": known.map(yubiotp::Position::to_stored),
            "drift": state.map(|state| state.drift),
        })
    }

    pub(super) fn lines(&self, ykmap: &str) -> Vec<String> {
        let [key_file, position_file] = &self.files;
        let mut lines = vec![format!("token          {}", self.id)];
        if let Some((parameters, notes)) = self.oath {
            lines.push(format!("kind           {}", codes::words(parameters)));
            if let Some(window) = notes.window {
                let unit = if matches!(parameters.kind, Kind::Hotp) { "codes ahead" } else { "s" };
                lines.push(format!("window         {window} {unit}"));
            }
            if let Some(series) = notes.series {
                lines.push(format!("series         {series}"));
            }
        }
        lines.push(match &self.key {
            Ok(under) => format!("key            {key_file}, opens under store key {under}"),
            Err(fault) => format!("key            FAULT: {fault}"),
        });
        let slots = match &self.position {
            Ok(slots) => slots,
            Err(why) => {
                lines.push(format!("position       FAULT: {why}"));
                return lines;
            }
        };
        let state = slots.state;
        let said = match (state.position, self.id) {
            (None, _) => "not used yet".to_owned(),
            (Some(_), TokenId::RecoveryCode(..)) => "used".to_owned(),
            (Some(position), id) if position == State::last(&id) => {
                format!("not known, so no code is accepted ({ykmap} token resync {id})")
            }
            (Some(position), _) => format!("codes from step {} on are accepted", position.to_stored()),
        };
        lines.push(format!("position       {position_file}: {said}"));
        if let Some((Parameters { kind: Kind::Totp { period }, .. }, _)) = self.oath {
            let seconds = i64::try_from(period.seconds()).unwrap_or(1);
            let off = i64::from(state.drift).saturating_mul(seconds);
            lines.push(format!("clock          {off:+} s, as learned from its codes"));
        }
        lines.push(format!("state          {}", if state.enabled { "enabled" } else { "disabled" }));
        if slots.damaged {
            let what = "one of its two slots: a write was cut off, or the disk is failing; until the next login the last code may be good once more";
            lines.push(format!("damage         {what}"));
        }
        lines
    }
}
