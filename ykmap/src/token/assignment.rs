//! `ykmap token assign`, `ykmap token unassign`, `ykmap token claim`

use crate::codes::{self, Stored};
use crate::{Context, Done, Failure, assign as users, event, files, out, unlock};
use serde_json::json;
use ykhost::settings::Settings;
use ykhost::store::Store;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};
use yubiotp::ledger::Advance;
use yubiotp::verdict::Vault;
use yubiotp::{Serial, TokenId};

pub(super) fn assign(context: &Context, id: &TokenId, user: &str) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    users::check(context, &settings, user, &format!("token assign {id} {}", shell_word(user.as_bytes())))?;
    if !store.keys()?.has(&id.to_string())? {
        let found = Diagnostic::error(Code::TokenNotHere, "the store does not have the token")
            .at(Location::Token(id.to_string()))
            .run_when("to see the tokens in the store", Program::Ykmap, "token list")
            .run_when(
                "to assign it all the same",
                Program::Ykmap,
                format!("add {} {id}", shell_word(user.as_bytes())),
            );
        return Err(found.into());
    }
    users::note_unknown(context, user);
    if id.oath().is_some() {
        codes::warn_if_not_local(context, &settings);
    }
    give(context, &settings, user, id, "token-assign", || Ok(()))
}

/// Lists the token for the user, and says so.
fn give(
    context: &Context,
    settings: &Settings,
    user: &str,
    id: &TokenId,
    event: &str,
    check: impl FnOnce() -> Result<(), Failure>,
) -> Done {
    let assigned = users::assign(settings, user, &[*id], check)?;
    if !assigned.new.is_empty() {
        event::log(context, event, user, &[("tokens", event::tokens(&assigned.new))]);
    }
    let is_new = assigned.new.contains(id);
    if context.json {
        out::json(&json!({ "user": user, "token": id.to_string(), "added": is_new }));
    } else {
        let did = if is_new { "now has" } else { "already has" };
        out::line(&format!("{} {did} token {id}", codes::name(user)));
    }
    assigned.note(context);
    users::warn_of_tokens(context, settings, user, &[*id]);
    Ok(())
}

pub(super) fn unassign(context: &Context, id: &TokenId, user: Option<&str>) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    let owners = match user {
        Some(user) => vec![user.to_owned()],
        None => users::owners(&settings, id)?,
    };
    if owners.is_empty() {
        let found = Diagnostic::error(Code::TokenNotAssigned, "is nobody's");
        return Err(found.at(Location::Token(id.to_string())).into());
    }
    let mut listed_without = Vec::new();
    for owner in &owners {
        if users::unassign(&settings, owner, id)? {
            listed_without.push(owner.as_str());
        }
        event::log(context, "token-unassign", owner, &[("tokens", id.to_string())]);
        event::notify(context, &store, owner, &format!("{} was removed", event::yours(id)));
    }
    if context.json {
        out::json(
            &json!({ "token": id.to_string(), "users": owners, "listed_without_tokens": listed_without }),
        );
        return Ok(());
    }
    for owner in &owners {
        out::line(&format!("{} no longer has {id}", codes::name(owner)));
    }
    for owner in listed_without {
        out::note(&format!("{} has no token left, stays listed and is rejected", codes::name(owner)));
    }
    Ok(())
}

pub(super) fn claim(context: &Context, user: &str, serial: Option<Serial>) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    users::check(context, &settings, user, &format!("token claim {}", shell_word(user.as_bytes())))?;
    let serial = match serial {
        Some(serial) => serial,
        None => codes::serial(files::input_line("Serial number of the token: ")?.trim())
            .map_err(Failure::input)?,
    };
    let id = TokenId::Oath(serial);
    let token = Stored::open(&settings, &store, serial)?;
    is_nobodys(&settings, &id, user)?;
    users::note_unknown(context, user);
    codes::warn_if_not_local(context, &settings);
    let progress = store.oath(&serial)?.progress;
    let to = codes::prove(context, "Code that the token shows: ", &token, progress, "nothing was changed")?;
    match store.advance_oath(&serial, token.key.fingerprint(&serial), Some(progress), to)? {
        Advance::Fresh(_) => {}
        Advance::Replayed { .. } => {
            let found = Diagnostic::error(Code::CodeUsed, "the code was used meanwhile: nothing was changed");
            return Err(found.at(Location::Token(id.to_string())).into());
        }
        Advance::Disabled => {
            return Err(Diagnostic::error(Code::TokenDisabled, "the token is disabled: nothing was changed")
                .at(Location::Token(id.to_string()))
                .run_when("to enable it", Program::Ykmap, format!("token enable {id}"))
                .into());
        }
        // Only YubiKeys are restored.
        Advance::Restored { .. } => return Err(Failure::No),
    }
    // Once more: somebody may have taken it meanwhile.
    give(context, &settings, user, &id, "token-claim", || is_nobodys(&settings, &id, user))?;
    Ok(unlock::refill(&store, user)?)
}

/// Fails if the token is another user's.
fn is_nobodys(settings: &Settings, id: &TokenId, user: &str) -> Result<(), Failure> {
    let owners = users::owners(settings, id)?;
    let Some(owner) = owners.iter().find(|owner| *owner != user) else { return Ok(()) };
    let found = Diagnostic::error(Code::TokenAssigned, format!("the token is {}'s", codes::name(owner)))
        .at(Location::Token(id.to_string()))
        .run_when(
            "if it is not any more",
            Program::Ykmap,
            format!("token unassign {id} {}", shell_word(owner.as_bytes())),
        );
    Err(found.into())
}
