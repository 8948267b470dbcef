//! `ykwebd restore`

use super::{Context, Done, out, place};
use clap::ValueHint;
use serde_json::{Value, json};
use std::path::PathBuf;
use ykcli::time;
use ykweb::clock;
use ykweb::store::{self, FormerStore, Restored};
use ykweb::user::UserName;
use yubiotp::TokenId;

#[derive(clap::Args)]
#[group(id = "copy", required = true, multiple = false)]
pub(crate) struct Args {
    /// The copy of the store, as SQLite's .backup makes it
    #[arg(group = "copy", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// The copy is in the place of the store already
    #[arg(long, group = "copy")]
    in_place: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let config = context.settings(&[])?;
    let keys = place::store_key(&config)?.ids();
    let now = clock::now().unsigned_abs();
    let done = match &args.file {
        Some(file) => store::restore(file, &config.store, keys, now)?,
        None => store::restore_in_place(&config.store, keys, now)?,
    };
    place::unfinished(&config).end()?;
    if context.json {
        out::json(&as_json(&done));
    } else {
        tell(context, &done);
    }
    Ok(())
}

fn as_json(done: &Restored) -> Value {
    let tokens = |all: &[(UserName, TokenId)]| {
        let one = |(user, token): &(UserName, TokenId)| json!({ "user": user.as_str(), "token": token.to_string() });
        all.iter().map(one).collect::<Value>()
    };
    let users = |all: &[UserName]| all.iter().map(UserName::as_str).collect::<Value>();
    let waiting = done
        .waiting
        .iter()
        .map(|one| json!({ "user": one.user.as_str(), "token": one.token.to_string(), "until": one.until }));
    let former = match done.former {
        FormerStore::None => "none",
        FormerStore::Read => "read",
        FormerStore::Older => "older",
        FormerStore::NotRead(_) => "not-read",
    };
    json!({
        "former": former,
        "kept": done.kept,
        "complete": done.is_complete,
        "sessions_ended": done.sessions,
        "recovery_codes_ended": users(&done.without_codes),
        "rejected_for_now": waiting.collect::<Value>(),
        "hotp_disabled": tokens(&done.lost),
        "tokens_disabled": tokens(&done.disabled),
        "users_disabled": users(&done.disabled_users),
    })
}

fn tell(context: &Context, done: &Restored) {
    out::line("the store was restored");
    if let Some(kept) = &done.kept {
        out::line(&format!("the former store is kept: {}", kept.display()));
    }
    match &done.former {
        FormerStore::None | FormerStore::Read => {}
        FormerStore::Older => out::note("The former store was an older copy itself, or its count was lost."),
        FormerStore::NotRead(why) => out::note(&format!("The former store was not read: {why}.")),
    }
    out::line(&format!("{} ended", ykcli::out::count(done.sessions, "session")));
    tell_disabled(done);
    if done.is_complete {
        out::line("everything that was used since the copy stays used");
        tell_codes(context, done);
        out::note("Users and tokens that were added since the copy are missing. Check user list.");
        return;
    }
    out::note(
        "Nobody knows which codes were used since the copy. So none that may have been used is accepted:",
    );
    for one in &done.waiting {
        let (user, token, until) = (&one.user, &one.token, time::utc(one.until));
        out::line(&format!("user {user}: codes of {token} are rejected until {until} UTC"));
    }
    for (user, token) in &done.lost {
        out::line(&format!("user {user}: {token} is disabled; remove it, and give the user another token"));
    }
    tell_codes(context, done);
    out::note(
        "Users and tokens are as they were when the copy was made: those that were disabled or removed since may sign in \
         again. Check user list before you start the server.",
    );
}

fn tell_disabled(done: &Restored) {
    let since = "is disabled, because it was disabled or removed since the copy";
    for user in &done.disabled_users {
        out::line(&format!("user {user} {since}"));
    }
    for (user, token) in &done.disabled {
        out::line(&format!("user {user}: {token} {since}"));
    }
}

/// Who needs new recovery codes, with a command for each.
fn tell_codes(context: &Context, done: &Restored) {
    for user in &done.without_codes {
        out::line(&format!("user {user}: all recovery codes ended"));
    }
    if done.without_codes.is_empty() {
        return;
    }
    out::line("To give them new ones:");
    for user in &done.without_codes {
        out::line(&format!("  {} user new-recovery-codes {user}", context.ykwebd()));
    }
}
