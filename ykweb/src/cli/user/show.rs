//! `ykwebd user list` and `ykwebd user show`

use super::{Context, Done, Opened, UserName, none, out};
use out::Field;
use serde_json::{Value, json};
use ykweb::clock;
use ykweb::store::{Account, Token};
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Diagnostic, Program};

/// At most so many codes left are worth a warning.
const FEW: u8 = 1;

pub(super) fn list(context: &Context) -> Done {
    let Opened { store, .. } = context.open()?;
    let mut accounts = Vec::new();
    for user in store.users()? {
        // One that is removed meanwhile is not shown.
        accounts.extend(store.account(&user.name)?);
    }
    if context.json {
        out::json(&Value::Array(accounts.iter().map(to_json).collect()));
        return Ok(());
    }
    if accounts.is_empty() {
        let none = Diagnostic::note(Code::UserNotListed, "the web login has no users");
        context.note(&none.run(Program::Ykwebd, "user add NAME"));
        return Ok(());
    }
    let rows = accounts.into_iter().map(|account| {
        let last = account.tokens.iter().filter_map(|token| token.last_used).max();
        let enabled = account.tokens.iter().filter(|token| token.is_enabled).count();
        vec![
            Field::Plain(account.user.name.to_string()),
            state(account.user.is_enabled),
            if enabled == 0 { Field::Loud("0".to_owned()) } else { Field::Plain(enabled.to_string()) },
            left(&account),
            Field::Plain(last.map_or_else(|| "never".to_owned(), clock::written)),
        ]
    });
    out::table(&["User", "State", "Tokens", "Codes left", "Last used"], rows.collect());
    Ok(())
}

pub(super) fn show(context: &Context, name: &UserName) -> Done {
    let Opened { store, .. } = context.open()?;
    let account = store.account(name)?.ok_or_else(|| none(name))?;
    if context.json {
        out::json(&to_json(&account));
        return Ok(());
    }
    let user = &account.user;
    let state = if user.is_enabled { "enabled" } else { "disabled" };
    out::line(&format!("user {name}: {state}, added {}", clock::written(user.created)));
    match &account.recovery {
        Some(set) => out::line(&format!(
            "recovery codes: {} of {} left, made {}",
            set.left,
            set.codes,
            clock::written(set.made)
        )),
        None => out::line("recovery codes: none"),
    }
    if account.tokens.is_empty() {
        let found = Diagnostic::note(Code::UserWithoutToken, "the user has no token")
            .run_when("for a YubiKey", Program::Ykwebd, format!("user add-yubikey {name}"))
            .run_when("for an authenticator app", Program::Ykwebd, format!("user add-app {name}"));
        context.note(&found);
        return Ok(());
    }
    let rows = account.tokens.iter().map(row).collect();
    out::table(&["Token", "Kind", "Label", "State", "Added", "Last used", "From"], rows);
    Ok(())
}

fn row(token: &Token) -> Vec<Field> {
    let or_dash =
        |text: Option<&str>| Field::Plain(text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned());
    vec![
        Field::Plain(token.id.to_string()),
        Field::Plain(token.means.name().to_owned()),
        or_dash(Some(&token.label)),
        state(token.is_enabled),
        Field::Plain(clock::written(token.added)),
        Field::Plain(token.last_used.map_or_else(|| "never".to_owned(), clock::written)),
        or_dash(token.last_from.as_deref()),
    ]
}

fn state(is_enabled: bool) -> Field {
    if is_enabled { Field::Plain("enabled".to_owned()) } else { Field::Loud("disabled".to_owned()) }
}

fn left(account: &Account) -> Field {
    match account.recovery {
        None => Field::Plain("-".to_owned()),
        Some(set) if set.left <= FEW => Field::Loud(set.left.to_string()),
        Some(set) => Field::Plain(set.left.to_string()),
    }
}

fn to_json(account: &Account) -> Value {
    let token = |token: &Token| {
        json!({
            "token": token.id.to_string(),
            "kind": token.means.name(),
            "label": token.label,
            "enabled": token.is_enabled,
            "added": clock::written(token.added),
            "last_used": token.last_used.map(clock::written),
            "last_from": token.last_from,
        })
    };
    let recovery = account.recovery.map(|set| {
        json!({
            "set": TokenId::RecoverySet(set.id).to_string(),
            "made": clock::written(set.made),
            "codes": set.codes,
            "left": set.left,
        })
    });
    json!({
        "user": account.user.name.as_str(),
        "enabled": account.user.is_enabled,
        "created": clock::written(account.user.created),
        "tokens": account.tokens.iter().map(token).collect::<Vec<_>>(),
        "recovery": recovery,
    })
}
