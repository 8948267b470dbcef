//! `ykmap unlock`: wrong codes that were tried for a user do not count any more.

use super::exchange::tokens_of;
use super::{Context, Done, event, files, out};
use clap::ValueHint;
use serde_json::json;
use ykhost::store::{Shape, Store, TokenKey};
use ykhost::{Fault, clock, mapping};
use yubiotp::diagnostic::shell_word;
use yubiotp::guesses::{Bucket, CAPACITY};
use yubiotp::{TokenId, shown};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The user
    #[arg(value_hint = ValueHint::Username)]
    user: String,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let settings = context.settings()?;
    let (store, user) = (Store::new(&settings), args.user.as_str());
    let path = mapping::path_of(&settings.mapping, user)?;
    files::check_rights(context, &settings, &path, &format!("unlock {}", shell_word(user.as_bytes())))?;
    let tokens = tokens_of(&settings, user)?;
    let name = shown::text(user);
    let before = match store.bucket(user.as_bytes()) {
        // Written anew below.
        Err(Fault::Guesses { .. }) => None,
        bucket => Some(left(bucket?)),
    };
    if before == Some(CAPACITY) && !has_counted_codes(&store, &tokens) {
        if context.json {
            out::json(&json!({ "user": user, "had": before, "tries_left": CAPACITY }));
        } else {
            out::line(&format!("{name} has no codes whose tries are counted: there is nothing to unlock"));
        }
        return Ok(());
    }
    store.fill_guesses(user.as_bytes())?;
    let had = before.map_or_else(|| "unknown".to_owned(), |before| before.to_string());
    event::log(context, "unlock", user, &[("tries", had)]);
    if context.json {
        out::json(&json!({ "user": user, "had": before, "tries_left": CAPACITY }));
        return Ok(());
    }
    let had = match before {
        Some(before) => format!("had {before} of {CAPACITY} tries left"),
        None => "had an unreadable count of tries".to_owned(),
    };
    out::line(&format!("{name} {had}, and has all {CAPACITY} now"));
    if before == Some(0) {
        out::note(&format!(
            "if {name} did not mistype the codes, somebody guesses: look for code=code-wrong in the log"
        ));
    }
    Ok(())
}

/// How many codes may still be tried for a user.
pub(crate) fn tries_left(store: &Store, user: &[u8]) -> Result<u64, Fault> {
    Ok(left(store.bucket(user)?))
}

/// Gives back all tries to a user whom the administrator has just seen to.
pub(crate) fn refill(store: &Store, user: &str) -> Result<(), Fault> {
    match store.bucket(user.as_bytes()) {
        Ok(bucket) if left(bucket) == CAPACITY => Ok(()),
        Ok(_) | Err(Fault::Guesses { .. }) => store.fill_guesses(user.as_bytes()),
        Err(fault) => Err(fault),
    }
}

fn left(bucket: Option<Bucket>) -> u64 {
    bucket.unwrap_or(Bucket::FULL).left(clock::unix())
}

/// Notes how many tries are left, unless it is all of them.
pub(crate) fn note_few(context: &Context, user: &str, left: u64) {
    if left < CAPACITY {
        out::note(&format!(
            "{}: {} ({} unlock {} gives back all)",
            shown::text(user),
            few(left),
            context.ykmap(),
            shell_word(user.as_bytes())
        ));
    }
}

/// What it means that so many tries are left.
pub(crate) fn few(left: u64) -> String {
    match left {
        0 => "too many wrong codes were tried, so one code is not enough now: two successive ones are"
            .to_owned(),
        left => format!("{left} of {CAPACITY} tries left for codes"),
    }
}

/// Whether tries are counted for one of these tokens.
pub(crate) fn has_counted_codes(store: &Store, tokens: &[TokenId]) -> bool {
    tokens.iter().any(|token| match token {
        TokenId::Oath(_) => true,
        TokenId::RecoverySet(set) => {
            store.recovery_codes(set).unwrap_or_default().into_iter().any(|number| {
                let key = store.token_key(&TokenId::RecoveryCode(*set, number));
                matches!(key, Ok(TokenKey::RecoveryCode(.., record)) if record.shape == Shape::EightDigits)
            })
        }
        TokenId::YubiKey(_) | TokenId::RecoveryCode(..) => false,
    })
}
