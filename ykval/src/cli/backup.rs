//! `ykvald backup`

use super::{Context, Done, Failure, Opened, out, wait};
use clap::ValueHint;
use serde_json::json;
use std::path::PathBuf;
use ykval::clock;
use ykval::store::Store;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file to write
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    replace: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let (done, key) = wait(async {
        let Opened { store, key, .. } = context.open().await?;
        let Store::Sqlite(sqlite) = &store else {
            return Err(Failure::Fault(format!("{}: {POSTGRES}", store.at())));
        };
        let done = sqlite.backup(&args.file, args.replace).await?;
        store.close().await;
        Ok((done, key.id()))
    })?;
    let (file, taken) = (args.file.display(), clock::written(done.taken));
    if context.json {
        out::json(&json!({
            "file": args.file,
            "taken": taken,
            "tokens": done.count.tokens,
            "clients": done.count.clients,
            "store_key": key.to_string(),
        }));
        return Ok(());
    }
    let (tokens, clients) =
        (out::count(done.count.tokens, "token"), out::count(done.count.clients, "client"));
    out::line(&format!("{file}: {tokens} and {clients}, as of {taken}"));
    out::note(&format!(
        "it can be opened only with store key {key}, which is not in it: keep a copy of that elsewhere"
    ));
    Ok(())
}

const POSTGRES: &str = "is PostgreSQL: back it up with pg_basebackup, or pg_dump --schema=ykvald. When you put that back, \
                        stop every ykvald first, and before you start one: ykvald token mark-restored --since TIME (when \
                        the backup was made)";
