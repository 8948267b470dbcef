//! `ykvald backup`

use super::{Context, Done, Opened, out, wait};
use clap::ValueHint;
use serde_json::json;
use std::path::PathBuf;
use ykval::clock;
use ykval::store::Store;
use yubiotp::diagnostic::{Code, Diagnostic, Program};
use yubiotp::seal::StoreKeyIds;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file to write
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Overwrite a file that exists
    #[arg(long)]
    replace: bool,
}

/// The database is backed up by its own means. What is restored from such a backup lacks OTPs.
fn not_here(store: &Store, problem: &str, tool: &str) -> Diagnostic {
    Diagnostic::error(Code::CommandLineInvalid, problem).at(store.location()).advise(tool).run_when(
        "when you restore it, on each host, with every ykvald stopped and TIME as the time of the backup",
        Program::Ykvald,
        "accept-database --lost-since TIME",
    )
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let (done, keys) = wait(async {
        let Opened { store, key, .. } = context.open().await?;
        let sqlite = match &store {
            Store::Sqlite(sqlite) => sqlite,
            Store::Postgres(_) => {
                return Err(not_here(
                    &store,
                    "is PostgreSQL, which has backup tools of its own",
                    "use pg_basebackup, or pg_dump --schema=ykvald",
                )
                .into());
            }
            Store::Etcd(_) => {
                return Err(not_here(
                    &store,
                    "is etcd, which has backup tools of its own",
                    "use etcdctl snapshot save FILE, at one member",
                )
                .into());
            }
        };
        let done = sqlite.backup(&args.file, args.replace).await?;
        store.close().await;
        Ok((done, key.ids()))
    })?;
    let StoreKeyIds { current: key, former } = keys;
    let (file, taken) = (args.file.display(), clock::written(done.taken));
    if context.json {
        out::json(&json!({
            "file": args.file,
            "taken": taken,
            "tokens": done.count.tokens,
            "clients": done.count.clients,
            "store_key": key.to_string(),
            "other_store_key": former.map(|key| key.to_string()),
        }));
        return Ok(());
    }
    let (tokens, clients) =
        (out::count(done.count.tokens, "token"), out::count(done.count.clients, "client"));
    out::line(&format!("{file}: {tokens} and {clients}, as of {taken}"));
    out::note(&format!(
        "It can be opened only with store key {key}, which is not in it. Keep a copy of that key elsewhere."
    ));
    if let Some(other) = former {
        out::note(&format!(
            "The store key is being replaced: some of it may need store key {other}. Make another backup when that is finished."
        ));
    }
    Ok(())
}
