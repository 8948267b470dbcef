//! `ykwebd user unlock`: wrong codes that were tried for a user do not count any more.

use super::{Context, Done, Opened, UserName, none, out};
use serde_json::json;
use ykweb::clock;
use ykweb::second_factor::give_back_guesses;
use yubiotp::guesses::CAPACITY;

pub(super) fn run(context: &Context, name: &UserName) -> Done {
    let Opened { store, .. } = context.open()?;
    store.account(name)?.ok_or_else(|| none(name))?;
    let had = give_back_guesses(&store, name, clock::now().unsigned_abs())?;
    if context.json {
        out::json(&json!({ "user": name.as_str(), "had": had, "tries_left": CAPACITY }));
        return Ok(());
    }
    out::line(&format!(
        "user {name}: had {had} of {CAPACITY} tries left for codes, and has all {CAPACITY} now"
    ));
    if had == 0 {
        out::note(&format!(
            "if {name} did not mistype the codes, somebody guesses: look for code=code-wrong in the log"
        ));
    }
    Ok(())
}
