//! `ykmap check`

use super::list::{State, States};
use super::{Context, Done, Failure, files, out};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use ykhost::mapping;
use ykhost::settings::Settings;
use ykhost::store::{Store, Survey};
use yubiotp::PublicId;
use yubiotp::key::Holders;
use yubiotp::mapping::{Line, entries};
use yubiotp::shown;

/// The other way out for a token whose key is not here.
pub(crate) const OTHER_MODE: &str = "a mode that asks validation servers, such as offline-then-online";

/// One remark about one line.
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    /// Refuses somebody; otherwise it may be meant so.
    pub(crate) error: bool,
    pub(crate) what: String,
}

pub(crate) fn run(context: &Context) -> Done {
    let settings = context.settings()?;
    let states = States::new(&settings);
    let mut found = Vec::new();
    let mut users = 0_usize;
    for path in files::mappings(&settings)? {
        let text = mapping::text(&path)?;
        users = users.saturating_add(examine(&settings, Some(&states), &path, &text, &mut found));
    }
    let twins = twins(&states.store);
    let errors = found.iter().filter(|finding| finding.error).count().saturating_add(twins.len());
    if context.json {
        let findings: Vec<_> = found
            .iter()
            .map(|it| json!({ "file": it.path, "line": it.line, "error": it.error, "what": it.what }))
            .chain(
                twins
                    .iter()
                    .map(|(path, what)| json!({ "file": path, "line": null, "error": true, "what": what })),
            )
            .collect();
        out::json(&json!({ "lines": users, "findings": findings }));
    } else {
        for it in &found {
            let kind = if it.error { "error" } else { "note" };
            out::line(&format!("{}: line {}: {kind}: {}", it.path, it.line, it.what));
        }
        for (path, what) in &twins {
            out::line(&format!("{path}: error: {what}"));
        }
        let (lines, errors) = (out::count(users, "line"), out::count(errors, "error"));
        out::line(&format!("{lines} with a user, {errors}"));
    }
    if errors > 0 { Err(Failure::No) } else { Ok(()) }
}

/// Key files of tokens whose AES key another token in the store has, with what is wrong and what to change. A key that
/// does not open is told with the line of the mapping that names it.
fn twins(store: &Store) -> Vec<(String, String)> {
    let (Ok(survey), Ok(key), Ok((tokens, _))) =
        (Survey::open(store.clone()), store.store_key(), store.tokens())
    else {
        return Vec::new();
    };
    let mut holders = Holders::default();
    let mut twins = Vec::new();
    for token in &tokens {
        let opened = survey.record(token).and_then(|record| survey.open_record(&record, token, &key));
        if let Ok(credential) = opened
            && let Some(first) = holders.note(credential.aes_key.digest(), *token)
        {
            let (what, change) = twin(token, &first);
            twins.push((survey.key_file(token).display().to_string(), format!("{what}: {change}")));
        }
    }
    twins
}

/// What to say of a token whose AES key another one in the store has, and what to change. Removing one sets the other's
/// position forward, so that no used OTP is good again.
pub(crate) fn twin(token: &PublicId, first: &PublicId) -> (String, String) {
    (
        format!(
            "token {token} has the same AES key as token {first}: an OTP used as one is good again as the other"
        ),
        format!(
            "remove the one whose id the YubiKey does not type: ykmap key remove {token}, or ykmap key remove {first}"
        ),
    )
}

/// Looks for mistakes in one mapping, and at how its tokens stand if that can be told. Says how many lines have a user.
pub(crate) fn examine(
    settings: &Settings,
    states: Option<&States>,
    path: &Path,
    text: &[u8],
    found: &mut Vec<Finding>,
) -> usize {
    let mut owners: BTreeMap<PublicId, (String, usize)> = BTreeMap::new();
    let mut spellings: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut users = 0_usize;
    for (number, line) in entries(text) {
        let mut say = |error, what| {
            found.push(Finding { path: path.display().to_string(), line: number, error, what });
        };
        let (user, ids) = match line {
            Ok(Line::Nothing) => continue,
            Err(why) => {
                say(true, why.to_string());
                continue;
            }
            Ok(Line::Entry { user, fields }) => {
                (shown::text(user).to_string(), fields.ids().collect::<Vec<_>>())
            }
        };
        users = users.saturating_add(1);
        let (other, line) = spellings.entry(user.to_lowercase()).or_insert_with(|| (user.clone(), number));
        if *other != user {
            say(
                false,
                format!(
                    "{user} may be {other} of line {line}: a login reads only the lines in its own spelling"
                ),
            );
        }
        if ids.is_empty() {
            say(false, format!("{user} is listed without a token, and refused"));
        }
        for id in ids {
            if !settings.allows(&id) {
                say(true, format!("token_id_length in the settings rules {id} out, a token of {user}"));
            }
            match states.map_or(State::Enabled, |states| states.of(&id)) {
                State::Enabled | State::Elsewhere | State::RuledOut => {}
                State::NoKey if settings.mode.asks_servers() => {}
                State::Disabled => say(
                    false,
                    format!("token {id} is disabled (if it is in its owner's hands: ykmap key enable {id})"),
                ),
                State::SlotDamaged => say(
                    false,
                    format!("one slot of the position of token {id} is damaged (ykmap key show {id})"),
                ),
                State::NoKey | State::Unasked => say(
                    true,
                    format!(
                        "no key for token {id} in the store, and mode {} asks no server: a login of {user} with it is a fault (ykmap key import FILE, with --used if the store was lost; or {OTHER_MODE})",
                        settings.mode.name()
                    ),
                ),
                why @ (State::NoPosition | State::NoStoreKey | State::OtherStoreKey | State::Fault) => {
                    say(true, format!("the store cannot use token {id}: {why} (ykmap key show {id})"))
                }
            }
            match owners.get(&id) {
                Some((owner, line)) if *owner == user => {
                    say(false, format!("{user} has token {id} already, by line {line}"));
                }
                Some((owner, line)) => say(false, format!("token {id} is {owner}'s too, by line {line}")),
                None => drop(owners.insert(id, (user.clone(), number))),
            }
        }
    }
    users
}
