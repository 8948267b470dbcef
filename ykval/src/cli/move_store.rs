//! `ykvald move-store`

use super::init::parse_store;
use super::{Context, Done, Failure, absolute, out, place, restore, wait};
use clap::ValueHint;
use serde_json::json;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;
use ykserve::installation::store_key_path;
use ykval::config::{CONFIG, Config, StoreAt, has_password};
use ykval::moving::{self, Abandoned, Part};
use ykval::store::{self, Mark, Stage, Store, StoreFault};
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
    #[arg(long)]
    abandon: bool,
    /// With --abandon, after a move that was complete: state that TO is lost, and that no server ever uses it again. If that
    /// is wrong, used OTPs are accepted again. Each token of FROM then has to prove that it is fresh
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
        let is_config = is_config(Path::new(text));
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
    match (args.abandon, args.to_is_lost, &args.to) {
        (true, true, None) => {
            return Err(Failure::input(
                "--to-is-lost needs TO, too: the configuration of the lost store, or the store",
            ));
        }
        (true, false, Some(_)) => {
            return Err(Failure::input("--abandon needs FROM alone, unless you add --to-is-lost"));
        }
        _ => {}
    }
    let from = Named::read(context, &args.from)?;
    let to = args.to.as_deref().map(|to| Named::read(context, to)).transpose()?;
    let Some(to) = to.as_ref().filter(|_| !args.abandon) else { return abandon(context, &from, to.as_ref()) };
    same_key(&from, to)?;
    let (done, names, old, new) = wait(async {
        let old = Store::open_to_move(&from.config.store, from.key.ids()).await;
        let old = old.map_err(|fault| unreachable(&from, &fault))?;
        let new = open_new(to).await?;
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
    tell_what_is_next(&from, to, done.was_done);
    Ok(())
}

/// `lost`: the new store, which is said to be lost.
fn abandon(context: &Context, from: &Named, lost: Option<&Named>) -> Done {
    let (Abandoned { was_fenced, restored_since }, tokens) = wait(async {
        let old = open_old(from, lost.is_some()).await?;
        let mark = old.moves().await?.mark.filter(|mark| mark.stage == Stage::Moved);
        if let (Some(lost), Some(mark)) = (lost, mark) {
            must_be_lost(lost, &mark).await?;
            // It may be reached at another place now.
            if store::place(&lost.config.store)? != mark.other {
                must_be_lost(&Named::read(context, &mark.other)?, &mark).await?;
            }
        }
        let done = moving::abandon(&old, lost.is_some()).await?;
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
            out::line(
                "clients, keys and disabled tokens are as they were before the move: disable again what was disabled since",
            );
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

/// Refuses unless nothing of this move is where the new store was. If it is there and cannot be read, nobody knows: refused,
/// too. Whether a store without a trace is lost, or cut off, only the administrator knows.
async fn must_be_lost(to: &Named, mark: &Mark) -> Done {
    let refused = |problem: &str| Diagnostic::error(Code::DatabaseMoved, problem);
    let new = match Store::open_to_move(&to.config.store.as_if_never_seen(), to.key.ids()).await {
        Ok(new) => new,
        Err(StoreFault::Missing(_)) => return Ok(()),
        Err(fault) => {
            if !store::is_anything_there(&to.config.store).await? {
                return Ok(());
            }
            let found = place::why_not_there(&to.config, &fault);
            let what = "something answers where the new store was, so it may be in use. It is lost only if it is missing, or if \
                        nothing accepts a connection there";
            return Err(found.advise(what).into());
        }
    };
    let moves = new.moves().await;
    let at = new.location();
    new.close().await;
    let moves = moves?;
    if moves.complete.contains(&mark.id) {
        let found = refused("is the new store, and is not lost: it can be read").at(at);
        return Err(found.run_when("to go back", Program::Ykvald, "move-store NEW OLD").into());
    }
    if moves.mark.is_some_and(|its| its.id == mark.id) {
        let found = refused("is the new store, which was not switched on yet: it is complete").at(at);
        return Err(found.run_when("to switch it on", Program::Ykvald, "move-store OLD NEW").into());
    }
    // Another store has its place.
    Ok(())
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

/// As in the setting `store`, but for a password.
fn written(at: &StoreAt) -> String {
    match at {
        StoreAt::Sqlite(path) => path.display().to_string(),
        StoreAt::Postgres(at) if !has_password(&at.url) => at.url.clone(),
        StoreAt::Etcd(at) => at.to_string(),
        // It was read before.
        StoreAt::Postgres(_) => store::place(at).unwrap_or_default().replacen("://", "://USER:PASSWORD@", 1),
    }
}

/// The store of a configuration, as this command takes it: by the file, which also holds what it takes to reach the store.
pub(super) fn named(config: &Config) -> String {
    if is_config(&config.path) {
        file::word(&config.path)
    } else {
        shell_word(written(&config.store).as_bytes())
    }
}

/// Whether this names a configuration file, not a store.
fn is_config(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "toml")
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
            .at(file::location(&store_key_path(&to.config.store_key)))
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
    // Of another database, it says what to run.
    if !matches!(fault, StoreFault::Database(_)) {
        return found;
    }
    let found = found.advise("make it reachable: it alone knows which OTPs were used, so it has to be read");
    match &from.config.store {
        StoreAt::Sqlite(_) => found.run_when(
            "if it is lost, restore its backup, and move that; its tokens begin as restored",
            Program::Ykvald,
            "restore --log FILE BACKUP",
        ),
        _ => found.run_when(
            "if it is lost, restore its backup, run this on each host while store still names it, with TIME as the time of the \
             backup, and move it then; its tokens begin as restored",
            Program::Ykvald,
            "accept-database --lost-since TIME",
        ),
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

/// `was_done`: when the move was complete, nobody knows what has become of the new store since.
fn tell_what_is_next(from: &Named, to: &Named, was_done: bool) {
    let word = |path: &Path| shell_word(path.as_os_str().as_encoded_bytes());
    let config = &from.config.path;
    if to.is_config && to.config.path != *config {
        // Only a name with this ending is that of a configuration, for a move back.
        let stem = config.file_stem().unwrap_or_default().to_string_lossy();
        let kept = config.with_file_name(format!("{stem}-old.toml"));
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
    if is_recorded && !was_done {
        out::lines(&format!("  systemctl stop ykvald\n  {called} accept-database --nothing-lost"));
    }
    let then = if is_recorded { "start" } else { "restart" };
    out::lines(&format!("  {called} check\n  systemctl {then} ykvald"));
    out::note(
        "The old store accepts nothing now. To go back, run move-store with the two exchanged. Keep the old store until then, and \
         never remove its mark.",
    );
}
