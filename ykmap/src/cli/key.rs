//! `ykmap key`

mod export;
mod import;
mod new;
mod show;

use super::{Context, Done, out, parse_id};
use serde_json::json;
use ykmap::store::{Enrolled, Store};
use yubiotp::PublicId;

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Bring keys in from a file that a programming tool, YK-KSM or `key export` wrote
    Import(import::Args),
    /// Write keys out, sealed under the store key
    Export(export::Args),
    /// Make a key for a YubiKey's second slot, and say how to program it
    New(new::Args),
    /// List the keys in the store
    List,
    /// Say all there is to know of a key, but for its secrets
    Show(Ids),
    /// Refuse a token's OTPs until it is enabled again
    Disable(Ids),
    /// Accept a token's OTPs again
    Enable(Ids),
    /// Forget a key. How far the token had come is kept, so that it cannot come back as new
    Remove(Ids),
    /// Make the positions of keys that came here by other ways than import
    Adopt(Ids),
}

#[derive(clap::Args)]
pub(crate) struct Ids {
    /// Public ids
    #[arg(value_name = "ID", required = true, value_parser = parse_id)]
    ids: Vec<PublicId>,
}

pub(crate) fn run(context: &Context, verb: Verb) -> Done {
    match verb {
        Verb::Import(args) => import::run(context, &args),
        Verb::Export(args) => export::run(context, &args),
        Verb::New(args) => new::run(context, &args),
        Verb::List => show::list(context),
        Verb::Show(ids) => show::show(context, &ids.ids),
        Verb::Disable(ids) => each(context, &ids, |store, id| {
            store.set_enabled(id, false)?;
            Ok("disabled")
        }),
        Verb::Enable(ids) => each(context, &ids, |store, id| {
            store.set_enabled(id, true)?;
            Ok("enabled")
        }),
        Verb::Remove(ids) => each(context, &ids, |store, id| {
            store.remove(id)?;
            Ok("removed")
        }),
        Verb::Adopt(ids) => each(context, &ids, |store, id| {
            Ok(match store.adopt(id)? {
                Enrolled::Added => "adopted",
                Enrolled::Unchanged | Enrolled::Returned => "has its position already",
            })
        }),
    }
}

/// Does something to each token, and stops at the first that it cannot be done to.
fn each(
    context: &Context,
    ids: &Ids,
    act: impl Fn(&Store, &PublicId) -> Result<&'static str, super::Failure>,
) -> Done {
    let store = context.store()?;
    for id in &ids.ids {
        let done = act(&store, id)?;
        if context.json {
            out::json(&json!({ "id": id.to_string(), "done": done }));
        } else {
            out::line(&format!("{id}: {done}"));
        }
    }
    Ok(())
}
