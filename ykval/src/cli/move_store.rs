//! `ykvald move-store`

use super::init::parse_store;
use super::{Context, Done, Failure, absolute, out, place, restore, wait};
use clap::ValueHint;
use serde_json::json;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;
use ykval::config::{CONFIG, Config, StoreAt};
use ykval::moving::{self, Abandoned, Part};
use ykval::store::{Mark, Stage, Store, StoreFault};
use ykval::{clock, file};
use yubiotp::diagnostic::{Code, Diagnostic, Program, cause, shell_word};
use yubiotp::seal::StoreKeys;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The store that is in use: a configuration file (.toml), or a store as in the setting store, with the other settings
    /// as configured
    #[arg(value_parser = parse_store, value_hint = ValueHint::FilePath)]
    from: String,
    /// The new store, likewise. It is created if it does not exist, and must be empty, unless FROM was moved from it
    #[arg(value_parser = parse_store, value_hint = ValueHint::FilePath, required_unless_present = "abandon")]
    to: Option<String>,
    /// Use FROM again, after a move that was not complete. If the new store may be in use, this is refused
    #[arg(long, conflicts_with = "to")]
    abandon: bool,
    /// With --abandon, after a move that was complete: state that the new store is lost, and that no server ever uses it
    /// again. If that is wrong, used OTPs are accepted again. Each token of FROM then has to prove that it is fresh
    #[arg(long, requires = "abandon")]
    to_is_lost: bool,
}

/// A store that was named on the command line.
struct Named {
    config: Config,
    /// Whether a configuration file was named, not a store.
    is_config: bool,
    key: StoreKeys,
}

impl Named {
    fn read(context: &Context, text: &str) -> Result<Self, Failure> {
        let is_config = Path::new(text).extension().is_some_and(|ending| ending == "toml");
        let config = if is_config {
            Config::load(&absolute(text.into())?, &[])?
        } else {
            let store = if text.contains("://") {
                text.to_owned()
            } else {
                absolute(text.strip_prefix("sqlite:").unwrap_or(text).into())?.display().to_string()
            };
            Config::load_for_store(&context.settings(&[])?.path, &store)?
        };
        let key = place::store_key(&config)?;
        Ok(Self { config, is_config, key })
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let from = Named::read(context, &args.from)?;
    let Some(to) = &args.to else { return abandon(context, &from, args.to_is_lost) };
    let to = Named::read(context, to)?;
    same_key(&from, &to)?;
    let (done, names, old, new) = wait(async {
        let old = Store::open_to_move(&from.config.store, from.key.ids()).await;
        let old = old.map_err(|fault| unreachable(&from, &fault))?;
        let new = open_new(&to).await?;
        // A damaged one could lose positions.
        old.integrity().await?;
        let done = moving::run(&old, &new, |part| tell(context, part, &old)).await?;
        if !done.was_done {
            new.accept_as_seen(&to.config.store)?;
            // The new configuration may take the place of the old one.
            new.accept_as_seen(&to.config.store.as_named_by(&from.config.path))?;
        }
        let names = (old.at().to_owned(), new.at().to_owned());
        old.close().await;
        new.close().await;
        Ok((done, names, old, new))
    })?;
    let (old_at, new_at) = names;
    drop((old, new));
    if context.json {
        out::json(&json!({
            "from": old_at, "to": new_at, "changed": !done.was_done, "clients": done.clients, "tokens": done.tokens,
            "paused_ms": done.paused.and_then(|paused| u64::try_from(paused).ok()),
        }));
        return Ok(());
    }
    let (clients, tokens) = (out::count(done.clients, "client"), out::count(done.tokens, "token"));
    if done.was_done {
        out::line(&format!("{old_at} was moved to {new_at} before; nothing was changed"));
    } else {
        out::line(&format!("moved {clients} and {tokens} to {new_at}"));
    }
    if let Some(paused) = done.paused {
        out::line(&format!("{old_at} accepts nothing now; the copy was complete after {paused} ms"));
    }
    tell_what_is_next(&from, &to);
    Ok(())
}

fn abandon(context: &Context, from: &Named, to_is_lost: bool) -> Done {
    let (Abandoned { was_fenced, restored_since }, tokens) = wait(async {
        let old = open_old(from, to_is_lost).await?;
        if to_is_lost && let Some(mark) = old.moves().await?.mark.filter(|mark| mark.stage == Stage::Moved) {
            must_be_lost(context, &mark).await?;
        }
        let done = moving::abandon(&old, to_is_lost).await?;
        if done.restored_since.is_some() {
            old.accept_as_seen(&from.config.store)?;
        }
        let tokens = old.count().await?.tokens;
        old.close().await;
        Ok((done, tokens))
    })?;
    if context.json {
        let restored = restored_since.map(|_| tokens);
        out::json(&json!({ "changed": was_fenced, "restored": restored, "restored_since": restored_since }));
        return Ok(());
    }
    match restored_since {
        Some(since) => {
            out::line(
                "the store accepts OTPs again; the new store must never be used again, even if it is found",
            );
            restore::tell_restored(context, tokens);
            tell_how_to_go_back(from, since);
        }
        None if was_fenced => {
            out::line("the move is abandoned: the store accepts OTPs again, and its servers need no restart");
        }
        None => out::line("the store was not fenced. A move-store that copies it now stops"),
    }
    Ok(())
}

/// The old store. A host that used the new one refuses the old one, unless it is said to be lost after a move that was
/// complete: then the old one is as the move left it.
async fn open_old(from: &Named, to_is_lost: bool) -> Result<Store, Failure> {
    let refused = match Store::open_to_move(&from.config.store, from.key.ids()).await {
        Err(refused @ StoreFault::OtherDatabase(_)) if to_is_lost => refused,
        opened => return Ok(opened?),
    };
    let old = Store::open_to_move(&from.config.store.as_if_never_seen(), from.key.ids()).await?;
    let is_moved = old.moves().await?.mark.is_some_and(|mark| mark.stage == Stage::Moved);
    if is_moved { Ok(old) } else { Err(refused.into()) }
}

/// Refuses if the new store can be read from here. If it cannot, only the administrator knows whether it is lost.
async fn must_be_lost(context: &Context, mark: &Mark) -> Done {
    let Ok(to) = Named::read(context, &mark.other) else { return Ok(()) };
    let Ok(new) = Store::open_to_move(&to.config.store.as_if_never_seen(), to.key.ids()).await else {
        return Ok(());
    };
    let moves = new.moves().await;
    new.close().await;
    if !moves.is_ok_and(|moves| moves.complete.contains(&mark.id)) {
        return Ok(());
    }
    let found = Diagnostic::error(Code::DatabaseMoved, "is the new store, and is not lost: it can be read");
    Err(found.at(new.location()).run_when("to go back", Program::Ykvald, "move-store NEW OLD").into())
}

fn tell_how_to_go_back(from: &Named, since: i64) {
    let config = &from.config.path;
    out::lines("\nNext, on every server that used the new store:");
    out::line(&format!("  set in {}: store = {}", config.display(), json!(written(&from.config.store))));
    let called = called(config);
    out::lines("  systemctl stop ykvald");
    if !matches!(from.config.store, StoreAt::Sqlite(_)) {
        out::line(&format!("  {called} accept-database --lost-since {}", clock::written(since)));
    }
    out::lines(&format!("  {called} check\n  systemctl start ykvald"));
}

/// As in the setting `store`.
fn written(store: &StoreAt) -> String {
    match store {
        StoreAt::Sqlite(path) => path.display().to_string(),
        StoreAt::Postgres(at) => at.url.clone(),
        StoreAt::Etcd(at) => at.to_string(),
    }
}

/// How ykvald is called with this configuration.
fn called(config: &Path) -> String {
    let is_usual = config == Path::new(CONFIG);
    ykcli::failure::call("ykvald", (!is_usual).then_some(config))
}

/// Keys are copied as they are sealed.
fn same_key(from: &Named, to: &Named) -> Result<(), Failure> {
    let (old, new) = (from.key.id(), to.key.id());
    if old != new {
        let problem = format!("is store key {new}, and that of the store to be moved is {old}");
        let other = Diagnostic::error(Code::DatabaseUnderOtherStoreKey, problem);
        return Err(other
            .at(file::location(&place::store_key_path(&to.config)))
            .advise("copy the store key of the old store there")
            .into());
    }
    if from.key.former().is_some() || to.key.former().is_some() {
        let unfinished =
            Diagnostic::error(Code::StoreKeyRotationUnfinished, "the store key is being replaced");
        return Err(unfinished
            .run_when("finish that first", Program::Ykvald, "key rotate-store-key finish --distributed")
            .into());
    }
    Ok(())
}

/// Only the old store knows which OTPs were used.
fn unreachable(from: &Named, fault: &StoreFault) -> Diagnostic {
    let found = place::why_not_there(&from.config, fault);
    if !matches!(fault, StoreFault::Database(_) | StoreFault::OtherDatabase(_)) {
        return found;
    }
    let found = found.advise("make it reachable: it alone knows which OTPs were used, so it has to be read");
    let then = "if it is lost, restore its backup, and move that; its tokens begin as restored";
    match &from.config.store {
        StoreAt::Sqlite(_) => found.run_when(then, Program::Ykvald, "restore --log FILE BACKUP"),
        _ => found.run_when(then, Program::Ykvald, "token mark-restored --since TIME"),
    }
}

/// Opens the new store, and creates it if it is missing.
async fn open_new(to: &Named) -> Result<Store, Failure> {
    let at = to.config.store.as_if_never_seen();
    match Store::open_to_move(&at, to.key.ids()).await {
        Err(StoreFault::Missing(_)) => {}
        opened => return Ok(opened?),
    }
    let made = Store::create(&at, to.key.ids()).await?;
    made.close().await;
    if let StoreAt::Sqlite(path) = &at {
        give_to_owner_of_folder(path)?;
    }
    Ok(Store::open_to_move(&at, to.key.ids()).await?)
}

/// What root creates in the folder of the server's user is for that user.
fn give_to_owner_of_folder(path: &Path) -> Done {
    let Some(folder) = path.parent() else { return Ok(()) };
    let cannot = |why: &std::io::Error| {
        let problem = format!("cannot chown it: {}", cause(why));
        Failure::from(Diagnostic::error(Code::FileInaccessible, problem).at(file::location(path)))
    };
    let owner = std::fs::metadata(folder).map_err(|why| cannot(&why))?;
    if !rustix::process::geteuid().is_root() || owner.uid() == 0 {
        return Ok(());
    }
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.to_owned().into_os_string();
        name.push(suffix);
        match lchown(&name, Some(owner.uid()), Some(owner.gid())) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(cannot(&why)),
            _ => {}
        }
    }
    Ok(())
}

fn tell(context: &Context, part: Part, old: &Store) {
    if context.json {
        return;
    }
    match part {
        Part::Copying => out::line(&format!("copying {}, which is in use meanwhile", old.at())),
        Part::Fenced => out::line("the old store accepts nothing now; copying what has changed since"),
        Part::Complete => out::line("compared: the copy is complete"),
    }
}

fn tell_what_is_next(from: &Named, to: &Named) {
    let word = |path: &Path| shell_word(path.as_os_str().as_encoded_bytes());
    let config = &from.config.path;
    if to.is_config && to.config.path != *config {
        let kept = config.with_extension("toml.old");
        out::lines("\nNext, on this host:");
        out::line(&format!("  cp -p {} {}", word(config), word(&kept)));
        out::line(&format!("  mv {} {}", word(&to.config.path), word(config)));
        out::lines("\nAnd on every other server of the old store, after a copy of its configuration:");
        out::lines("  set store and its table in the configuration, as here");
        out::lines("\nThen, on every server:");
    } else {
        out::lines("\nNext, on every server of the old store:");
        let store = json!(written(&to.config.store));
        out::line(&format!("  set in {}: store = {store}", config.display()));
    }
    // Each server has recorded which one it used, and records it again until it ends.
    let is_recorded = matches!(
        (&from.config.store, &to.config.store),
        (StoreAt::Postgres(_), StoreAt::Postgres(_)) | (StoreAt::Etcd(_), StoreAt::Etcd(_))
    );
    let called = called(config);
    if is_recorded {
        out::lines(&format!("  systemctl stop ykvald\n  {called} accept-database --nothing-lost"));
    }
    let then = if is_recorded { "start" } else { "restart" };
    out::lines(&format!("  {called} check\n  systemctl {then} ykvald"));
    out::note(
        "The old store accepts nothing now. To go back, run move-store with the two exchanged. Keep the old store until then, and \
         never remove its mark.",
    );
}
