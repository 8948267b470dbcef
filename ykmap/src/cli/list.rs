//! `ykmap list`

use super::out::{self, Field};
use super::{Context, Done, files};
use serde_json::json;
use ykmap::mapping;
use ykmap::store::Store;
use yubiotp::PublicId;
use yubiotp::mapping::{Line, entries};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this user
    user: Option<String>,
}

/// What the store knows of a token, in one word, and whether that wants attention.
pub(crate) fn state(store: &Store, token: &PublicId) -> (&'static str, bool) {
    match (store.record(token), store.state(token)) {
        (Err(ykmap::Fault::NoKey { .. }), _) => ("no key", true),
        (Err(_), _) | (_, Err(_)) => ("fault", true),
        (Ok(_), Ok(None)) => ("no position", true),
        (Ok(_), Ok(Some(state))) if state.enabled => ("enabled", false),
        (Ok(_), Ok(Some(_))) => ("disabled", true),
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    let paths = match &args.user {
        Some(user) => vec![mapping::path_of(&settings.mapping, user)?],
        None => files::mappings(&settings)?,
    };
    let mut listed = Vec::new();
    for path in paths {
        let text = mapping::text(&path)?;
        for (number, line) in entries(&text) {
            match line {
                Ok(Line::Nothing) => {}
                Ok(Line::Entry { user, fields }) => {
                    let user = String::from_utf8_lossy(user).into_owned();
                    if args.user.as_ref().is_none_or(|wanted| *wanted == user) {
                        listed.push((user, fields.ids().collect::<Vec<_>>()));
                    }
                }
                Err(why) => out::note(&format!("{}: line {number}: {why}", path.display())),
            }
        }
    }
    if context.json {
        let users: Vec<_> = listed
            .iter()
            .map(|(user, ids)| {
                let tokens: Vec<_> = ids
                    .iter()
                    .map(|id| json!({ "id": id.to_string(), "serial": id.serial(), "state": state(&store, id).0 }))
                    .collect();
                json!({ "user": user, "tokens": tokens })
            })
            .collect();
        out::json(&json!(users));
        return Ok(());
    }
    let mut rows = Vec::new();
    for (user, ids) in &listed {
        if ids.is_empty() {
            rows.push(vec![
                Field::Plain(user.clone()),
                Field::Loud("none".into()),
                Field::Plain(String::new()),
            ]);
        }
        for id in ids {
            let (state, attention) = state(&store, id);
            let state = if attention { Field::Loud(state.into()) } else { Field::Plain(state.into()) };
            rows.push(vec![Field::Plain(user.clone()), Field::Plain(id.to_string()), state]);
        }
    }
    if rows.is_empty() {
        out::note("nobody is in the mapping: ykmap add USER");
    } else {
        out::table(&["User", "Token", "Key"], rows);
    }
    Ok(())
}
