//! `ykmap restore`

mod lists;
mod shown;

use crate::backup::contents::{Contents, Role};
use crate::backup::file::SealedBackup;
use crate::backup::{self, host};
use crate::{Context, Done, Failure, absolute, event};
use clap::ValueHint;
use lists::{Choice, FileToWrite};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykhost::clock;
use ykhost::file::{self, FileFault, Folder};
use ykhost::settings::{CONFIG, Settings};
use ykhost::store::{CLAIMS, CODE_KEYS, Fate, KEYS, NOTICES, POSITIONS, Restoring, Store, TokenKey};
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::seal::StoreKey;

#[derive(clap::Args)]
#[command(
    after_help = "Exit status: 0 restored, or nothing to restore; 2 nothing was restored; 3 --dry-run would change something."
)]
pub(crate) struct Args {
    /// Write nothing: say what would change (exit status 3), or that nothing would (0)
    #[arg(long)]
    dry_run: bool,
    /// Bring the tokens of another host here: each can then be used once on each of both hosts
    #[arg(long)]
    other_host: bool,
    /// Also bring back this token, which was removed from this host since; may be given several times
    #[arg(long, value_name = "ID")]
    bring_back: Vec<String>,
    /// Where the mapping or `enrolled` here differs from the backup, keep what is here
    #[arg(long, conflicts_with = "take_mapping")]
    keep_mapping: bool,
    /// Where they differ, take those of the backup; what was here is kept beside it
    #[arg(long)]
    take_mapping: bool,
    /// Where config.toml here differs from the backup, keep what is here
    #[arg(long, conflicts_with = "take_config")]
    keep_config: bool,
    /// Where it differs, take that of the backup; what was here is kept beside it
    #[arg(long)]
    take_config: bool,
    /// The backup, from `ykmap backup`
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

impl Args {
    /// Whether a token, or the set that a recovery code is of, is to come back.
    fn brings_back(&self, token: &TokenId) -> bool {
        let own = match token {
            TokenId::RecoveryCode(set, _) => TokenId::RecoverySet(*set),
            token => *token,
        };
        [own, *token].iter().any(|token| self.bring_back.iter().any(|id| *id == token.to_string()))
    }
}

/// The tokens and sets of recovery codes of the backup that were removed from this host since, and stay removed: whoever is
/// listed with one again could not use it.
fn away(
    settings: &Settings,
    contents: &Contents,
    keys: &[TokenKey],
    args: &Args,
) -> Result<BTreeSet<TokenId>, Failure> {
    let store = Store::new(settings);
    if [KEYS, POSITIONS].iter().any(|folder| !settings.store.join(folder).exists()) {
        return Ok(BTreeSet::new());
    }
    let (positions, brings_back) = (contents.states()?, |token: &TokenId| args.brings_back(token));
    let backup =
        ykhost::store::Backup { keys, positions: &positions, unix: clock::unix(), brings_back: &brings_back };
    // What is wrong with it is said when it is planned again.
    let Ok(restoring) = store.change()?.plan_restore(&backup) else { return Ok(BTreeSet::new()) };
    let (mut away, mut here) = (BTreeSet::new(), BTreeSet::new());
    for planned in &restoring.planned {
        let token = match planned.token {
            TokenId::RecoveryCode(set, _) => TokenId::RecoverySet(set),
            token => token,
        };
        match planned.fate {
            Fate::StaysRemoved => drop(away.insert(token)),
            Fate::PositionOnly => {}
            _ => drop(here.insert(token)),
        }
    }
    // Of a set, some codes may be here.
    Ok(away.difference(&here).copied().collect())
}

/// How long one restore, init or change waits for another.
const WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// A restore that was looked through and refused nothing.
struct Plan<'b> {
    settings: Settings,
    files: Vec<FileToWrite>,
    keys: &'b [TokenKey],
    contents: &'b Contents,
}

pub(crate) fn run(context: &Context, args: Args) -> Done {
    let path = absolute(args.file.clone())?;
    let text = backup::read(&path)?;
    let sealed = SealedBackup::read(&text, &path)?;
    let here = context.settings()?;
    let key =
        Store::new(&here).store_key().map_err(|fault| needs_store_key(fault.diagnostic(), &here, &sealed))?;
    if key.former().is_some() {
        let found =
            Diagnostic::error(Code::ChangeUnfinished, "the store key is being replaced: nothing was changed")
                .at(place(&here.store_key))
                .run_when("to finish that", Program::Ykmap, "key rotate-store-key");
        return Err(found.into());
    }
    let contents = sealed.open(&key, &path, &here.store_key)?;
    let made = sealed.header.made;
    if sealed.header.host != host() && !args.other_host {
        return Err(other_host(&path, &sealed.header.host).into());
    }
    if clock::unix() < made {
        return Err(clock_behind(&path, made).into());
    }
    let keys = open_keys(&contents, &key);
    let away = away(&here, &contents, &keys, &args)?;
    let config = context.config.as_deref().unwrap_or(Path::new(CONFIG));
    let choice = Choice::of(args.keep_mapping, args.take_mapping);
    let (settings, config_file) =
        match lists::config(&contents, config, here, Choice::of(args.keep_config, args.take_config)) {
            Ok(config) => config,
            // Everything that has to be decided is said at once.
            Err(Failure::Fault(config)) if config.code == Code::BackupDiffers => {
                if let Err(Failure::Fault(lists)) =
                    lists::lists(context, &contents, &context.settings()?, choice, &away)
                {
                    context.note(&lists);
                }
                return Err(undecided(context, &args, config));
            }
            Err(why) => return Err(why),
        };
    if settings.store_key != *context.settings()?.store_key {
        let found = Diagnostic::error(
            Code::BackupDiffers,
            "the config.toml of the backup names another store key file",
        )
        .at(place(&settings.store_key));
        return Err(found.advise("copy the store key there, or add --keep-config").into());
    }
    let mut files = match lists::lists(context, &contents, &settings, choice, &away) {
        Err(Failure::Fault(lists)) if lists.code == Code::BackupDiffers => {
            return Err(undecided(context, &args, lists));
        }
        files => files?,
    };
    files.extend(config_file);
    let plan = Plan { settings, files, keys: &keys, contents: &contents };
    restore(context, &args, &plan, made)
}

/// The end of a restore that needs a decision. A dry run says that, and that something would change.
fn undecided(context: &Context, args: &Args, found: Box<Diagnostic>) -> Failure {
    if args.dry_run && !context.json {
        context.note(&found);
        return Failure::Differs;
    }
    Failure::Fault(found)
}

/// Does it, or says what would be done.
fn restore(context: &Context, args: &Args, plan: &Plan<'_>, made: u64) -> Done {
    let settings = &plan.settings;
    let positions = plan.contents.states()?;
    let unix = clock::unix();
    let brings_back = |token: &TokenId| args.brings_back(token);
    let backup =
        ykhost::store::Backup { keys: plan.keys, positions: &positions, unix, brings_back: &brings_back };
    let store = Store::new(settings);
    let is_new = [KEYS, POSITIONS].iter().any(|folder| !settings.store.join(folder).exists());
    if is_new && args.dry_run {
        shown::empty_host(context, plan, &backup);
        return Err(Failure::Differs);
    }
    if is_new {
        file::make_folder(&settings.store, if context.config.is_none() { 0o711 } else { 0o700 })?;
        for folder in [KEYS, POSITIONS] {
            file::make_folder(&settings.store.join(folder), 0o700)?;
        }
    }
    let change = store.change()?;
    let restoring = change.plan_restore(&backup)?;
    let small = small_files(plan)?;
    let changes = restoring.changes() || !plan.files.is_empty() || !small.is_empty();
    if args.dry_run {
        shown::plan(context, plan, &restoring, true, made);
        return if changes { Err(Failure::Differs) } else { Ok(()) };
    }
    write(plan, &backup, &restoring, &change, &small)?;
    drop(change);
    if changes {
        lists::write(plan)?;
        let fields = [("keys", restoring.keys().to_string()), ("made", made.to_string())];
        event::log_host(context, "restore", &fields);
    }
    shown::plan(context, plan, &restoring, false, made);
    Ok(())
}

/// Positions first, then keys. The notes about recovery codes come before both: they say under which keys codes were made.
fn write(
    plan: &Plan<'_>,
    backup: &ykhost::store::Backup<'_>,
    restoring: &Restoring,
    change: &ykhost::store::Change<'_>,
    small: &[(PathBuf, Vec<u8>)],
) -> Done {
    for (path, text) in small {
        if let Some(folder) = path.parent() {
            file::make_folder(folder, 0o700)?;
        }
        let (folder, name) = file::locate(path)?;
        folder.replace(&name, text, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
    }
    if restoring.changes() {
        change.restore(backup, restoring, &|| {})?;
    }
    // Whoever enrolled is listed below.
    if plan.contents.of(Role::Enrolled).next().is_some() {
        Store::new(&plan.settings).note_enrolled()?;
    }
    Ok(())
}

/// The small files of the store that this host lacks.
fn small_files(plan: &Plan<'_>) -> Result<Vec<(PathBuf, Vec<u8>)>, Failure> {
    let store = &plan.settings.store;
    let mut files = Vec::new();
    for file in &plan.contents.files {
        let path = match file.role {
            Role::Claims => store.join(CLAIMS),
            Role::CodeKeys => store.join(POSITIONS).join(CODE_KEYS),
            Role::Notice => match file.path.file_name() {
                Some(name) if file.path == Path::new(name) => store.join(NOTICES).join(name),
                _ => continue,
            },
            Role::Config | Role::Mapping | Role::Enrolled => continue,
        };
        if !path.exists() {
            files.push((path, file.bytes()?.to_vec()));
        }
    }
    Ok(files)
}

/// The keys of a backup.
fn open_keys(contents: &Contents, key: &StoreKey) -> Vec<TokenKey> {
    let mut keys = Vec::with_capacity(contents.keys.len());
    for (id, opened) in contents.open_keys(key) {
        match opened {
            Some(key) => keys.push(key),
            None => crate::out::note(&format!(
                "the key of token {id} does not open, as when the backup was made: it is not restored"
            )),
        }
    }
    keys
}

fn needs_store_key(found: Diagnostic, settings: &Settings, sealed: &SealedBackup<'_>) -> Diagnostic {
    // Not with advice to make a new one, which opens nothing.
    Diagnostic { remedies: Vec::new(), ..found }.advise(format!(
        "copy the store key {} that you kept apart to {} (owner root, mode 0600), and run the command again",
        sealed.header.store_key,
        settings.store_key.display()
    ))
}

fn other_host(path: &Path, from: &str) -> Diagnostic {
    Diagnostic::error(
        Code::BackupOtherHost,
        format!("is a backup of host {from}, and this is {}: a YubiKey whose key is on both hosts can be used once on each of them", host()),
    )
    .at(place(path))
    .advise("if that host is gone or was renamed, or the hosts may share tokens, add --other-host")
}

fn clock_behind(path: &Path, made: u64) -> Diagnostic {
    Diagnostic::error(
        Code::BackupClockBehind,
        format!("was made at {} UTC, which is later than this host's clock shows", ykcli::time::utc(made)),
    )
    .at(place(path))
    .advise("set the clock (chronyc makestep, or timedatectl), and run the command again")
}

fn place(path: &Path) -> Location {
    Location::file(path.as_os_str().as_bytes())
}

/// A folder and the lock on it.
fn locked(folder: Folder) -> Result<(Folder, file::Changing), FileFault> {
    let changing = folder.lock(WAIT)?;
    Ok((folder, changing))
}
