//! `ykvald restore`

use super::{Context, Done, evidence, out, place};
use clap::ValueHint;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ykval::clock;
use ykval::config::{Config, StoreAt};
use ykval::store::sqlite::{self, FormerStore, Restored};
use yubiotp::diagnostic::{Code, Diagnostic, Program, shell_word};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The backup, from `ykvald backup`
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    #[command(flatten)]
    evidence: evidence::Sources,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let config = context.settings(&[])?;
    let (problem, tool) = match &config.store {
        StoreAt::Sqlite(path) => return from(context, args, &config, path),
        StoreAt::Postgres(_) => (
            "the store is PostgreSQL, which has restore tools of its own",
            "stop every ykvald, and restore the backup with pg_restore or psql",
        ),
        StoreAt::Etcd(_) => (
            "the store is etcd, which has restore tools of its own",
            "stop every ykvald, and restore the snapshot at every member (etcdctl snapshot restore)",
        ),
    };
    let found = Diagnostic::error(Code::CommandLineInvalid, problem).advise(tool).run_when(
        "then on each host, before the first ykvald starts, with TIME as the time of the backup",
        Program::Ykvald,
        "accept-database --lost-since TIME",
    );
    Err(found.into())
}

fn from(context: &Context, args: &Args, config: &Config, path: &Path) -> Done {
    let key = place::store_key(config)?;
    let gathered = args.evidence.read()?;
    let done = sqlite::restore(&args.file, path, key.ids(), &gathered.evidence, args.evidence.accept_risk)?;
    place::unfinished(config).end()?;
    tell(context, args, path, &done);
    if done.restored > 0 && gathered.may_be_complete_since(done.taken) {
        out::note(
            "These logs look complete. If they are the logs of every server since the backup, without a gap, add \
             --log-is-complete.",
        );
    }
    Ok(())
}

fn tell(context: &Context, args: &Args, store: &Path, done: &Restored) {
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
        out::line(&format!("the former store is kept: {}", kept.display()));
    }
    if done.former == FormerStore::Read {
        out::line("its positions and its disabled tokens were taken over");
    }
    if let Some(why) = former {
        out::note(&format!("its positions were not taken over: {why}"));
    }
    if done.raised > 0 {
        out::line(&format!("{} raised above the backup", out::count(done.raised, "position")));
    }
    out::note("Clients and keys are as they were then. Check client list and key list.");
    if done.restored > 0 && !args.evidence.has_log() {
        // A copy that was in the place of the store has another name now.
        let from = done.kept.as_ref().filter(|_| is_same(&args.file, store)).unwrap_or(&args.file);
        tell_of_the_log(context, from);
    }
    tell_restored(context, done.restored);
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    real(one).is_some_and(|one| real(other) == Some(one))
}

/// How to spare people the two touches.
fn tell_of_the_log(context: &Context, backup: &Path) {
    let (ykvald, backup) = (context.ykvald(), shell_word(backup.as_os_str().as_encoded_bytes()));
    out::lines(&format!(
        "\nDo you have every log of the server since the backup, without a gap? With them, no token has to be touched twice. \
         Before you start the server:\n  journalctl -u ykvald -o cat > FILE\n  {ykvald} restore --log FILE --log-is-complete \
         {backup}\n"
    ));
}

/// What to do about restored tokens.
pub(crate) fn tell_restored(context: &Context, count: u64) {
    if count == 0 {
        return;
    }
    let are = if count == 1 { "is" } else { "are" };
    out::line(&format!(
        "{} {are} restored: the first touch is rejected, and the log says when the second has to come",
        out::count(count, "token")
    ));
    context.note(&how_they_come_back(Diagnostic::note(Code::TokensRestored, "tokens are restored")));
}

/// Adds what to do about restored tokens. How to accept them without touches is only in the manual, because used OTPs would
/// be valid again.
pub(crate) fn how_they_come_back(found: Diagnostic) -> Diagnostic {
    found.advise(
        "do nothing: each owner touches the YubiKey twice, and the log says when the second time is (RESTORED TOKENS in \
         ykvald(8))",
    )
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
