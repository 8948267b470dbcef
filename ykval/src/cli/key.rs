//! `ykvald key`

mod export;
pub(crate) mod import;
mod list;
mod new;
mod rotate;

use super::{Context, Done, Failure, Opened, not_here, out, parse_id, wait};
use serde_json::json;
use ykval::store::{ImportedPosition, PAGE, Store, Token};
use yubiotp::{Credential, PublicId};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Import keys from a file of a programming tool, of YK-KSM, or of `ykmap key export --in-the-clear`
    Import(import::Args),
    /// Create a new key for a YubiKey, and print the ykman command that programs it
    New(new::Args),
    /// Export keys, sealed under the store key
    Export(export::Args),
    /// List the tokens in the store
    List,
    /// Reject a token's OTPs until it is enabled again
    Disable(Ids),
    /// Accept a token's OTPs again
    Enable(Ids),
    /// Remove a key. Its position is kept, so that used OTPs stay invalid if the key is imported again
    Remove(Ids),
    /// Replace the store key by a new one, while the servers go on
    #[command(subcommand)]
    RotateStoreKey(rotate::Verb),
}

#[derive(clap::Args)]
pub(crate) struct Ids {
    /// Public IDs
    #[arg(value_name = "ID", required = true, value_parser = parse_id)]
    ids: Vec<PublicId>,
}

/// What to do with a token.
#[derive(Clone, Copy)]
enum Act {
    Disable,
    Enable,
    Remove,
}

pub(crate) fn run(context: &Context, verb: Verb) -> Done {
    match verb {
        Verb::Import(args) => import::run(context, &args),
        Verb::New(args) => new::run(context, &args),
        Verb::Export(args) => export::run(context, &args),
        Verb::List => list::run(context),
        Verb::Disable(Ids { ids }) => each(context, &ids, Act::Disable),
        Verb::Enable(Ids { ids }) => each(context, &ids, Act::Enable),
        Verb::Remove(Ids { ids }) => each(context, &ids, Act::Remove),
        Verb::RotateStoreKey(verb) => rotate::run(context, &verb),
    }
}

/// Does something with each token, and stops at the first failure.
fn each(context: &Context, ids: &[PublicId], act: Act) -> Done {
    wait(async {
        let opened = context.open().await?;
        let mut done = Vec::new();
        let mut all = Ok(());
        for id in ids {
            match one(&opened, id, act).await {
                Ok(did) => {
                    done.push(json!({ "id": id.to_string(), "done": did }));
                    if !context.json {
                        out::line(&format!("{id}: {did}"));
                    }
                }
                Err(fault) => {
                    all = Err(fault);
                    break;
                }
            }
        }
        if context.json {
            out::json(&json!(done));
        }
        opened.store.close().await;
        all
    })
}

/// Before the key of a token is removed: raises other tokens with the same AES key to its position, so that no used OTP of it
/// is accepted again as theirs. The token is disabled meanwhile, so that it does not move on.
async fn leave_to_twins(Opened { store, key, .. }: &Opened, id: &PublicId) -> Result<(), Failure> {
    let open = |token: &Token| token.key.as_ref().and_then(|(_, sealed)| key.open(sealed, &token.id).ok());
    let Some(leaving) = store.token(id).await? else { return Ok(()) };
    let Some((fingerprint, _)) = &leaving.key else { return Ok(()) };
    let digest = open(&leaving).map(|it| it.aes_key.digest());
    // One that does not open is known by its fingerprint only.
    let is_twin = |held: Credential| match digest {
        Some(digest) => held.aes_key.digest() == digest,
        None => held.fingerprint(id) == *fingerprint,
    };
    let mut twins = Vec::new();
    let mut pages = Pages::of(store);
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            break;
        }
        let same = |token: &&Token| token.id != *id && open(token).is_some_and(is_twin);
        twins.extend(page.iter().filter(same).map(|token| token.id));
    }
    if twins.is_empty() {
        return Ok(());
    }
    let enabled = store.token(id).await?.is_some_and(|token| token.enabled);
    store.set_enabled(id, false).await?;
    let position = store.token(id).await?.and_then(|token| token.position);
    let known = |id| ImportedPosition { id, position, nonce: String::new(), enabled: true, modified: None };
    store.raise(twins.into_iter().map(known).collect()).await?;
    store.remove_key(id).await?;
    if enabled {
        store.set_enabled(id, true).await?;
    }
    Ok(())
}

async fn one(
    opened @ Opened { config, store, .. }: &Opened,
    id: &PublicId,
    act: Act,
) -> Result<&'static str, Failure> {
    let had_key =
        matches!(act, Act::Remove) && store.token(id).await?.is_some_and(|token| token.key.is_some());
    if had_key {
        leave_to_twins(opened, id).await?;
    }
    match act {
        Act::Disable if store.set_enabled(id, false).await? => Ok("disabled"),
        // What was never asked about may still have its key elsewhere.
        Act::Disable if config.ksm.is_some() => {
            let nonce = String::new();
            let known = ImportedPosition { id: *id, position: None, nonce, enabled: false, modified: None };
            store.raise(vec![known]).await?;
            Ok("disabled (the store has no key of it, and has accepted no OTP of it yet)")
        }
        Act::Enable if store.set_enabled(id, true).await? => Ok("enabled"),
        Act::Remove if store.remove_key(id).await? || had_key => Ok(if config.ksm.is_some() {
            "removed; the key storage module decides about it now. To reject it, run ykvald key disable"
        } else {
            "removed"
        }),
        Act::Remove => Err(not_here(id, "the store has no key of it").into()),
        Act::Disable | Act::Enable => Err(not_here(id, "the store does not know it").into()),
    }
}

/// Every token, a page at a time and in the order of public ids.
pub(crate) struct Pages<'s> {
    store: &'s Store,
    after: Option<PublicId>,
    over: bool,
}

impl<'s> Pages<'s> {
    pub(crate) const fn of(store: &'s Store) -> Self {
        Self { store, after: None, over: false }
    }

    /// The next page; empty behind the last.
    pub(crate) async fn next(&mut self) -> Result<Vec<Token>, Failure> {
        if self.over {
            return Ok(Vec::new());
        }
        let page = self.store.tokens(self.after.as_ref()).await?;
        self.over = page.len() < PAGE;
        self.after = page.last().map(|token| token.id);
        Ok(page)
    }
}
