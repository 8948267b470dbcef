//! `ykvald key rotate-store-key`
//!
//! Several servers may share a database, and each must have the new key before anything is sealed under it. So `begin` only
//! writes it into `store.key`, beside the former one. The administrator copies that file to every server. Then `finish` makes
//! the new key that of the store, seals every row anew, and removes the former key from `store.key`. Rows open under either
//! key all the time.

use super::Pages;
use crate::cli::{Context, Done, Failure, Opened, out, place, wait};
use clap::ValueHint;
use serde_json::json;
use std::path::{Path, PathBuf};
use ykcli::store_key::keep_former;
use ykval::config::StoreAt;
use ykval::store::{PAGE, Resealed, Store};
use ykval::{file, random};
use yubiotp::diagnostic::{Code, Diagnostic, Program};
use yubiotp::record::write_store_keys;
use yubiotp::seal::{StoreKey, StoreKeyId, StoreKeys};
use zeroize::Zeroizing;

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Write a new store key into store.key, beside the one that is used, and say where to copy the file
    Begin,
    /// Use the new store key, seal every key anew, and remove the former store key
    ///
    /// After an interruption, every server goes on; run it again to finish.
    Finish(Finish),
    /// Say whether the store key is being replaced, and how many keys are left
    Status,
}

#[derive(clap::Args)]
pub(crate) struct Finish {
    /// Every server that uses this store has the new store.key, and was restarted since
    #[arg(long)]
    distributed: bool,
    /// Write the former store key to this new file, for backups and exports made before
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    keep_former: Option<PathBuf>,
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::Begin => begin(context),
        Verb::Finish(args) => finish(context, args),
        Verb::Status => status(context),
    }
}

/// The same key: [`StoreKey`] has no Clone, so that each copy is visible.
fn copy(key: &StoreKey) -> StoreKey {
    StoreKey::new(*key.expose())
}

/// The keys in the file, the new one first. `Opened` has them with the one first that the store is under.
fn in_file(path: &Path) -> Result<StoreKeys, Failure> {
    place::read_key(path)
}

fn begin(context: &Context) -> Done {
    let (config, under, is_shared) = wait(async {
        let Opened { config, store, key } = context.open().await?;
        let is_shared = !matches!(config.store, StoreAt::Sqlite(_));
        store.close().await;
        Ok((config, key.id(), is_shared))
    })?;
    let path = config.store_key.as_path();
    let keys = in_file(path)?;
    let is_begun = keys.former().is_some();
    let (former, new) = match keys.former() {
        Some(former) => (former.id(), keys.id()),
        None => {
            let new = StoreKey::new(*Zeroizing::new(random::bytes()?));
            let ids = (keys.id(), new.id());
            let keys = StoreKeys::replacing(copy(&keys), new);
            let keys = keys.ok_or_else(|| Failure::input("the random source gave the same key again"))?;
            file::replace_like(path, write_store_keys(&keys).as_bytes()).map_err(|fault| {
                fault.diagnostic().advise(
                    "nothing was changed: the folder of store.key must be writable, and it must be a file",
                )
            })?;
            ids
        }
    };
    if context.json {
        out::json(&json!({
            "changed": !is_begun,
            "former": former.to_string(),
            "new": new.to_string(),
            "store_key": under.to_string(),
            "file": path,
        }));
        return Ok(());
    }
    let (shown, ykvald) = (path.display(), context.ykvald());
    out::line(&match is_begun {
        true => format!("{shown} has store key {new} already, which is to replace {former}."),
        false => format!(
            "{shown} has a new store key now, {new}, beside {former}. Nothing is sealed under it yet."
        ),
    });
    let others = if is_shared {
        format!(
            "  1. On every other server that uses this database: copy {shown} there, to its store_key, with the same owner and mode.\n"
        )
    } else {
        String::new()
    };
    let (restart, finish) = if is_shared { (2, 3) } else { (1, 2) };
    out::lines(&format!(
        "\nNext:\n{others}  {restart}. On every server, one after the other: systemctl restart ykvald\n  {finish}. Here: {ykvald} key \
         rotate-store-key finish --distributed --keep-former FILE"
    ));
    Ok(())
}

fn finish(context: &Context, args: &Finish) -> Done {
    wait(async {
        let Opened { config, store, .. } = context.open().await?;
        let finished = replace(context, args, &store, &config.store_key).await;
        store.close().await;
        finished
    })
}

/// What was sealed anew.
#[derive(Default)]
struct Count {
    keys: u64,
    clients: u64,
    /// Neither key opens them.
    unusable: Vec<String>,
}

async fn replace(context: &Context, args: &Finish, store: &Store, path: &Path) -> Done {
    let keys = in_file(path)?;
    let Some(former) = keys.former() else {
        let id = keys.id();
        if context.json {
            out::json(&json!({ "changed": false, "store_key": id.to_string() }));
        } else {
            out::line(&format!("The store key is {id}. It is not being replaced: nothing was changed."));
        }
        return Ok(());
    };
    let (former_id, new) = (former.id(), keys.id());
    if !args.distributed && store.store_key_now().await? != new {
        return Err(not_distributed(path, new).into());
    }
    if let Some(file) = &args.keep_former {
        keep_former(file, former)?;
    }
    if !store.seal_under(former_id, new).await? {
        return Err(Diagnostic::error(Code::StoreKeyReplaced, "the store is under neither of the two keys")
            .at(file::location(path))
            .into());
    }
    let mut count = Count::default();
    // Once more, until nothing is left: a command may have sealed something at the last moment.
    while reseal_all(store, &keys, former, &mut count).await? > 0 {}
    // Unless another call has finished it, and begun the next replacement.
    if in_file(path)?.ids() == keys.ids() {
        file::replace_like(path, write_store_keys(&copy(&keys).into()).as_bytes())?;
    }
    say(context, args, path, (former_id, new), &count);
    Ok(())
}

fn not_distributed(path: &Path, new: StoreKeyId) -> Diagnostic {
    let problem = format!(
        "has store key {new}, which every server needs before anything is sealed under it: one that does not have it would answer BACKEND_ERROR. Nothing was changed"
    );
    Diagnostic::error(Code::StoreKeyNotDistributed, problem)
        .at(file::location(path))
        .advise("copy this file to every server that uses the store, and restart each")
        .run_when("then", Program::Ykvald, "key rotate-store-key finish --distributed")
}

/// Returns how many rows were sealed under the former key.
async fn reseal_all(
    store: &Store,
    keys: &StoreKeys,
    former: &StoreKey,
    count: &mut Count,
) -> Result<u64, Failure> {
    count.unusable.clear();
    let (mut some, mut left) = (Vec::new(), 0_u64);
    for client in store.clients().await? {
        if keys.current().open_client(&client.sealed_key, client.id).is_ok() {
            continue;
        }
        match former.open_client(&client.sealed_key, client.id) {
            Ok(key) => {
                let to = keys.seal_client(&key, client.id, random::bytes()?);
                some.push(Resealed::Client { id: client.id, from: client.sealed_key, to });
            }
            Err(_) => count.unusable.push(format!("client {}", client.id)),
        }
    }
    left = left.saturating_add(some.len() as u64);
    for some in chunks(some) {
        count.clients = count.clients.saturating_add(store.reseal(some).await?);
    }
    let mut pages = Pages::of(store);
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            return Ok(left);
        }
        let mut some = Vec::new();
        for token in page {
            let Some((_, sealed)) = &token.key else { continue };
            if keys.current().open(sealed, &token.id).is_ok() {
                continue;
            }
            match former.open(sealed, &token.id) {
                Ok(credential) => {
                    let to = keys.seal(&credential, &token.id, random::bytes()?);
                    some.push(Resealed::Token { id: token.id, from: sealed.clone(), to });
                }
                Err(_) => count.unusable.push(format!("token {}", token.id)),
            }
        }
        left = left.saturating_add(some.len() as u64);
        for some in chunks(some) {
            count.keys = count.keys.saturating_add(store.reseal(some).await?);
        }
    }
}

/// So many that a verification hardly waits for the commit.
const AT_ONCE: usize = PAGE / 4;

fn chunks(mut all: Vec<Resealed>) -> impl Iterator<Item = Vec<Resealed>> {
    std::iter::from_fn(move || {
        let rest = all.split_off(all.len().min(AT_ONCE));
        let some = std::mem::replace(&mut all, rest);
        (!some.is_empty()).then_some(some)
    })
}

fn say(
    context: &Context,
    args: &Finish,
    path: &Path,
    (former, new): (StoreKeyId, StoreKeyId),
    count: &Count,
) {
    if context.json {
        out::json(&json!({
            "changed": true,
            "former": former.to_string(),
            "store_key": new.to_string(),
            "keys": count.keys,
            "clients": count.clients,
            "unusable": count.unusable,
            "kept": args.keep_former,
        }));
        return;
    }
    for row in &count.unusable {
        let found = format!("{row}: neither store key opens it: it stays as it was");
        context.note(&Diagnostic::warning(Code::KeyUnreadable, found).run(Program::Ykvald, "check"));
    }
    let (keys, clients) = (out::count(count.keys, "key"), out::count(count.clients, "client"));
    out::line(&format!(
        "The store key was replaced: {new} in place of {former}. {keys} and {clients} sealed anew."
    ));
    let shown = path.display();
    out::line(&format!(
        "Next: copy {shown} to every other server, which removes the former key there, and to where you keep it apart from the store."
    ));
    out::line(&match &args.keep_former {
        Some(file) => format!(
            "Backups and exports made before open only under the former key, which is in {}: move it to them, and keep it as long as them.",
            file.display()
        ),
        None => format!(
            "Backups and exports made before open only under the former key: keep your copy of {former} as long as them."
        ),
    });
}

fn status(context: &Context) -> Done {
    wait(async {
        let Opened { config, store, .. } = context.open().await?;
        let keys = in_file(&config.store_key)?;
        let under = store.store_key_now().await?;
        let mut left = 0_u64;
        if let Some(former) = keys.former() {
            for client in store.clients().await? {
                left = left.saturating_add(former.open_client(&client.sealed_key, client.id).is_ok().into());
            }
            let mut pages = Pages::of(&store);
            loop {
                let page = pages.next().await?;
                if page.is_empty() {
                    break;
                }
                let is_left = |token: &&ykval::store::Token| {
                    token.key.as_ref().is_some_and(|(_, sealed)| former.open(sealed, &token.id).is_ok())
                };
                left = left.saturating_add(page.iter().filter(is_left).count() as u64);
            }
        }
        store.close().await;
        let former = keys.former().map(StoreKey::id);
        if context.json {
            out::json(&json!({
                "unfinished": former.is_some(),
                "store_key": under.to_string(),
                "new": former.map(|_| keys.id().to_string()),
                "former": former.map(|former| former.to_string()),
                "left": left,
            }));
            return Ok(());
        }
        match former {
            None => out::line(&format!("The store key is {under}. It is not being replaced.")),
            Some(former) => {
                let (new, left) = (keys.id(), out::count(left, "row"));
                out::line(&format!(
                    "Store key {former} is being replaced by {new}: {left} left to seal. New rows are sealed under {under}."
                ));
                out::line(&format!(
                    "To finish, once every server has this store.key and was restarted: {} key rotate-store-key finish --distributed",
                    context.ykvald()
                ));
            }
        }
        Ok(())
    })
}
