//! `ykmap token remove`, `ykmap series remove`

use super::list;
use crate::reset::{needs_terminal, says_yes};
use crate::{Context, Done, Failure, assign as users, codes, event, files, out};
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use ykcli::import;
use ykhost::settings::Settings;
use ykhost::store::{Removed, Store};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::{Series, TokenId};

/// Removes every token of a series.
pub(crate) fn of_series(context: &Context, series: &Series, yes: bool) -> Done {
    let store = Store::new(&context.settings()?);
    let ids = needs_series(&store, series)?;
    remove(context, &ids, yes)?;
    // Tokens that come later under the same name are others.
    store.set_claimable(*series, false)?;
    Ok(())
}

/// The tokens of a series, of which there must be one.
pub(crate) fn needs_series(store: &Store, series: &Series) -> Result<Vec<TokenId>, Failure> {
    let ids = list::in_series(store, series)?;
    if ids.is_empty() {
        let found =
            Diagnostic::error(Code::SeriesMissing, format!("the store has no token of series {series}"));
        return Err(found.run_when("to see the series", Program::Ykmap, "series list").into());
    }
    Ok(ids)
}

/// Takes tokens from their users and out of the store. The users first: a token that is in the store and nobody's lets
/// nobody in, while another token of that serial number would be the users' as soon as it comes.
pub(super) fn remove(context: &Context, ids: &[TokenId], yes: bool) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    // Before anything changes.
    for id in ids {
        if let TokenId::RecoverySet(set) = id {
            store.recovery_codes_used(set).map(drop).or_else(|fault| match fault {
                fault @ ykhost::Fault::NoKey { .. }
                    if users::owners(&settings, id).is_ok_and(|it| it.is_empty()) =>
                {
                    Err(fault)
                }
                _ => Ok(()),
            })?;
            continue;
        }
        store.key_file(id).map(drop).or_else(|fault| match fault {
            // What cannot be read can be removed.
            fault @ ykhost::Fault::NoKey { .. } if store.slots(id)?.is_none() => Err(fault),
            _ => Ok(()),
        })?;
    }
    if !yes {
        confirm(&settings, ids)?;
    }
    let bar = import::bar(if ids.len() > SHOWN { ids.len() } else { 0 });
    let (mut removed, mut waiting) = (Vec::new(), Vec::new());
    let all = ids.iter().enumerate().try_for_each(|(at, id)| {
        let one = take(context, &settings, &store, id).inspect_err(|_| {
            waiting = ids.iter().skip(at).map(ToString::to_string).collect();
        })?;
        bar.inc(1);
        removed.push(one);
        Ok(())
    });
    bar.finish_and_clear();
    if ids.len() > 1 && !waiting.is_empty() {
        out::note(&format!("not removed: {}", waiting.join(", ")));
    }
    if context.json {
        if all.is_ok() {
            let tokens: Vec<_> = removed
                .iter()
                .map(|one| json!({ "id": one.id.to_string(), "users": one.users, "listed_without_tokens": one.listed_without }))
                .collect();
            out::json(&json!(tokens));
        }
        return all;
    }
    for one in &removed {
        let users: Vec<_> = one.users.iter().map(|user| codes::name(user)).collect();
        let from =
            if users.is_empty() { String::new() } else { format!(", and taken from {}", users.join(", ")) };
        out::line(&format!("{}: removed{from}", one.id));
        for user in &one.listed_without {
            out::note(&format!("{} has no token left, stays listed and is rejected", codes::name(user)));
        }
    }
    all
}

/// Asks whether to go on, and names the users who lose a token.
fn confirm(settings: &Settings, ids: &[TokenId]) -> Result<(), Failure> {
    // Where owners cannot be listed, nothing is removed.
    files::mappings(settings)?;
    let at = match ids {
        [id] => Location::Token(id.to_string()),
        _ => Location::file(settings.store.as_os_str().as_bytes()),
    };
    needs_terminal("asks before it removes tokens", at)?;
    let owners = files::owners(settings);
    for id in ids.iter().take(SHOWN) {
        let owners = owners.get(id).map(|owners| owners.join(", "));
        out::note(&format!(
            "  {id}: {}",
            owners.map_or_else(|| "nobody's".to_owned(), |it| format!("taken from {it}"))
        ));
    }
    if let Some(more) = ids.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let users: BTreeSet<_> = ids.iter().filter_map(|id| owners.get(id)).flatten().collect();
        out::note(&format!("  and {more} more; {} lose a token in all", out::count(users.len(), "user")));
    }
    says_yes(&format!("Type yes to remove {}: ", out::count(ids.len(), "token")))
}

/// So many tokens take a moment.
const SHOWN: usize = 20;

struct Gone {
    id: TokenId,
    users: Vec<String>,
    listed_without: Vec<String>,
}

fn take(context: &Context, settings: &Settings, store: &Store, id: &TokenId) -> Result<Gone, Failure> {
    let users = users::owners(settings, id)?;
    let mut listed_without = Vec::new();
    for user in &users {
        if users::unassign(settings, user, id)? {
            listed_without.push(user.clone());
        }
        event::log(context, "token-remove", user, &[("tokens", id.to_string())]);
        event::notify(context, store, user, &format!("{} was removed", event::yours(id)));
    }
    if users.is_empty() {
        event::log_host(context, "token-remove", &[("tokens", id.to_string())]);
    }
    let change = store.change()?;
    if let TokenId::RecoverySet(set) = id {
        change.remove_codes(set)?;
        return Ok(Gone { id: *id, users, listed_without });
    }
    match change.remove(id)? {
        Removed::Key | Removed::Position => Ok(Gone { id: *id, users, listed_without }),
    }
}
