//! `ykvald restore`

use super::{Context, Done, Failure, evidence, out, place};
use clap::ValueHint;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use ykval::clock;
use ykval::config::StoreAt;
use ykval::store::sqlite::{self, FormerStore, Restored};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What `ykvald backup` wrote
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    #[command(flatten)]
    evidence: evidence::Sources,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let config = context.settings(&[])?;
    let StoreAt::Sqlite(path) = &config.store else {
        return Err(Failure::Fault(POSTGRES.to_owned()));
    };
    let key = place::store_key(&config)?;
    let gathered = args.evidence.read()?;
    let done = sqlite::restore(&args.file, path, key.id(), &gathered.evidence, args.evidence.accept_risk)?;
    place::init_is_finished(&config)?;
    tell(context, args, &done);
    if done.restored > 0 && gathered.may_be_complete_since(done.taken) {
        out::note(&format!("{SEEM_COMPLETE}: add --log-is-complete"));
    }
    Ok(())
}

/// What no program can know.
pub(crate) const SEEM_COMPLETE: &str = "These logs look complete. If they are the logs of every server since the backup, \
                                        without a gap";

const POSTGRES: &str = "the store is PostgreSQL: stop every ykvald, put your backup back with pg_restore or psql, and before \
                        you start one: ykvald token mark-restored --since TIME (when the backup was made)";

fn tell(context: &Context, args: &Args, done: &Restored) {
    let taken = clock::written(done.taken);
    let former = match &done.former {
        FormerStore::NotRead(why) => Some(why),
        FormerStore::None | FormerStore::Read => None,
    };
    if context.json {
        out::json(&json!({
            "file": args.file,
            "taken": taken,
            "tokens": done.count.tokens,
            "clients": done.count.clients,
            "raised": done.raised,
            "restored": done.restored,
            "kept": done.kept,
            "former_read": done.former == FormerStore::Read,
        }));
        return;
    }
    let age = Duration::from_secs(clock::now().saturating_sub(done.taken).unsigned_abs());
    let (tokens, clients) =
        (out::count(done.count.tokens, "token"), out::count(done.count.clients, "client"));
    out::line(&format!("restored {tokens} and {clients} as of {taken}, {} ago", in_words(age)));
    if let Some(kept) = &done.kept {
        out::line(&format!("the store that was here is kept: {}", kept.display()));
    }
    if done.former == FormerStore::Read {
        out::line("its positions, and which tokens it had disabled, were taken over");
    }
    if let Some(why) = former {
        out::note(&format!("its positions were not taken over: {why}"));
    }
    if done.raised > 0 {
        out::line(&format!("{} raised above the backup", out::count(done.raised, "position")));
    }
    out::note("clients and keys are as they were then: look through client list and key list");
    tell_restored(context, done.restored);
}

/// What to do about restored tokens.
pub(crate) fn tell_restored(context: &Context, count: u64) {
    if count == 0 {
        return;
    }
    let ykvald = context.ykvald();
    let are = if count == 1 { "is" } else { "are" };
    out::line(&format!(
        "{} {are} restored: the first touch is refused, and the log says when the second has to come",
        out::count(count, "token")
    ));
    out::note(&format!(
        "RESTORED TOKENS in ykvald(8) explains it. To accept the risk instead: {ykvald} token accept-risk"
    ));
}

/// The two largest units.
fn in_words(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    let (days, hours) = (minutes / 1440, minutes / 60 % 24);
    match (days, hours) {
        (0, 0) => out::count(minutes, "minute"),
        (0, hours) => format!("{} and {}", out::count(hours, "hour"), out::count(minutes % 60, "minute")),
        (days, hours) => format!("{} and {}", out::count(days, "day"), out::count(hours, "hour")),
    }
}
