//! `ykmap remove`

use super::exchange::finish;
use super::{Context, Done, event, files, list, out, parse_token};
use clap::ValueHint;
use serde_json::json;
use ykhost::settings::Settings;
use ykhost::store::{Store, Unfinished};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};
use yubiotp::mapping::Enrolment;
use yubiotp::{TokenId, shown};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The user
    #[arg(value_hint = ValueHint::Username)]
    user: String,
    /// Tokens to unassign; without any, the user is listed no more
    #[arg(value_name = "ID", value_parser = parse_token)]
    ids: Vec<TokenId>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let settings = context.settings()?;
    let user = args.user.as_bytes();
    let name = shown::text(user);
    let sets = sets_of(&settings, args);
    let store = Store::new(&settings);
    let change = if sets.is_empty() { None } else { Some(store.change()) };
    // With a store that cannot be changed, the user loses the tokens all the same.
    let change = match change {
        Some(Ok(change)) => {
            finish(&settings, &change)?;
            let going = Unfinished { users: vec![args.user.clone()], tokens: sets };
            change.begin_unfinished(&going)?;
            Some(change)
        }
        Some(Err(fault)) => {
            context.note(&fault.diagnostic());
            None
        }
        None => None,
    };
    let edited = files::edit(&settings, &args.user, |lists| {
        if lists.tokens(user)? == Enrolment::NotListed {
            let found = list::not_listed(&settings, &args.user);
            return Err(found.run_when("to see who is in it", Program::Ykmap, "list").into());
        }
        if args.ids.is_empty() {
            lists.remove(user, None);
            return Ok(false);
        }
        for id in &args.ids {
            if lists.remove(user, Some(id)) == 0 {
                let found = Diagnostic::error(Code::TokenNotAssigned, format!("does not have token {id}"))
                    .at(Location::user(user))
                    .run_when(
                        "to see the user's tokens",
                        Program::Ykmap,
                        format!("list {}", shell_word(user)),
                    );
                return Err(found.into());
            }
        }
        Ok(lists.tokens(user)? == Enrolment::Listed(Vec::new()))
    });
    // Codes that nobody has any more.
    let gone = change.map(|change| finish(&settings, &change)).transpose();
    let listed_without = edited?;
    let tokens = if args.ids.is_empty() { "all".to_owned() } else { event::tokens(&args.ids) };
    let stays = if args.ids.is_empty() { "no" } else { "yes" }.to_owned();
    event::log(context, "remove", &args.user, &[("tokens", tokens), ("listed", stays)]);
    match args.ids.as_slice() {
        [] => event::notify(context, &store, &args.user, "All your tokens were removed"),
        ids => ids.iter().for_each(|id| {
            event::notify(context, &store, &args.user, &format!("{} was removed", event::yours(id)));
        }),
    }
    let gone = gone?.unwrap_or_default();
    let ids: Vec<_> = args.ids.iter().map(ToString::to_string).collect();
    if context.json {
        out::json(&json!({ "user": args.user, "removed": ids, "listed_without_tokens": listed_without }));
        return Ok(());
    }
    if !gone.is_empty() {
        let gone: Vec<_> = gone.iter().map(ToString::to_string).collect();
        out::line(&format!("removed from the store: {}", gone.join(", ")));
    }
    if ids.is_empty() {
        out::line(&format!("{name} is not listed any more"));
        match ykhost::mapping::enrolment(&settings, user, true) {
            Err(fault) => {
                let why = context.text(&fault.diagnostic());
                out::note(&format!("{name} is rejected, with nullok too: {why}"));
            }
            Ok(_) => {
                out::note("where nullok or the policy does not require a token, they now log in without one")
            }
        }
    } else {
        out::line(&format!("{name} no longer has {}", ids.join(", ")));
        if listed_without {
            let (ykmap, word) = (context.ykmap(), shell_word(user));
            out::notes(&format!(
                "{name} has no token left, stays listed and is rejected. To assign another:\n  {ykmap} add {word}\n\
                 To unlist {name}, who then logs in without a token where nullok or the policy requires none:\n  {ykmap} remove {word}"
            ));
        }
    }
    Ok(())
}

/// The sets of recovery codes that the user loses.
fn sets_of(settings: &Settings, args: &Args) -> Vec<TokenId> {
    let tokens = match files::tokens_of(settings, &args.user) {
        Ok(Enrolment::Listed(tokens)) => tokens,
        _ => Vec::new(),
    };
    let is_going = |id: &TokenId| args.ids.is_empty() || args.ids.contains(id);
    tokens.into_iter().filter(|id| matches!(id, TokenId::RecoverySet(_)) && is_going(id)).collect()
}
