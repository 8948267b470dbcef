//! Changes of the host's own files, such as those of pam.d: all or nothing, recorded before the first file changes, and
//! undone unless they are kept.
//!
//! The record of a change is `STORE/changes/NAME`. It holds the files as they were and as they become, so that any process
//! can undo the change: the command itself, the process that waits for the deadline, the unit at boot, or the next `ykmap`.
//! A change whose record says `open` was interrupted, and is undone.

mod file;
mod owner;
mod record;
pub(crate) mod sshd;
#[cfg(test)]
mod tests;

use super::Failure;
use crate::event::administrator;
use file::HostFile;
pub(crate) use file::current;
use record::{Record, Recorded, State};
use similar::TextDiff;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ykhost::clock;
use ykhost::file::{self as files, Changing, FileFault, Folder};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};
use yubiotp::shown;

/// The folder of records, in the store.
pub(crate) const CHANGES: &str = "changes";
/// How long one change waits for another.
const WAIT: Duration = Duration::from_secs(5);
/// How long a change of logins lasts that nobody keeps, in seconds.
pub(crate) const UNDONE_AFTER: u64 = 600;

/// A file, and its contents before and after a change; `None` where it does not exist. Mode, owner and SELinux label are
/// kept. A new file belongs to root and has mode 0644.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileChange {
    pub(crate) path: PathBuf,
    pub(crate) before: Option<Vec<u8>>,
    pub(crate) after: Option<Vec<u8>>,
}

/// Files that change together. They are replaced in this order, and restored in the opposite one: order them so that logins
/// work between any two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangeSet {
    /// The name of its record, such as `enable-sudo`.
    pub(crate) name: String,
    pub(crate) files: Vec<FileChange>,
    /// The configuration file of sshd, if sshd is to read it again after the change and after it was undone.
    pub(crate) sshd_config: Option<PathBuf>,
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Where the contents before the change are.
    pub(crate) backups: Vec<PathBuf>,
    /// When it is undone unless it is kept, in seconds since 1970.
    pub(crate) deadline: Option<u64>,
}

/// A change that waits to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) name: String,
    pub(crate) deadline: u64,
}

impl Pending {
    /// The finding that it waits.
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        pending(&self.name, self.deadline)
    }
}

/// A change that was undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undone {
    pub(crate) name: String,
    pub(crate) files: Vec<PathBuf>,
    /// Those of them that keep the mode, owner or label that somebody gave them after the change.
    pub(crate) newer: Vec<PathBuf>,
    /// Why sshd, whose configuration was restored, did not read it again.
    pub(crate) not_reloaded: Option<Diagnostic>,
}

impl Undone {
    /// The note about it.
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        let names = |files: &[PathBuf]| {
            let names = files.iter().map(|file| shown::text(file.as_os_str().as_bytes()).to_string());
            names.collect::<Vec<_>>().join(", ")
        };
        let newer = match self.newer.as_slice() {
            [] => String::new(),
            newer => format!(". Modes and owners stay as they were set since: {}", names(newer)),
        };
        let problem = format!(
            "the change {} was undone: {} as before{newer}",
            shown::quoted(&self.name),
            names(&self.files)
        );
        Diagnostic::note(Code::ChangeUndone, problem)
    }
}

impl FileChange {
    /// A change of the file at `path` to this, from what it contains now.
    ///
    /// # Errors
    /// The file is a link, belongs to somebody else, or is written by a tool.
    pub(crate) fn of(path: &Path, after: Option<Vec<u8>>) -> Result<Self, Failure> {
        Ok(Self { path: path.to_owned(), before: current(path)?, after })
    }

    fn changes(&self) -> bool {
        self.before != self.after
    }
}

impl ChangeSet {
    /// Whether nothing would change.
    pub(crate) fn is_empty(&self) -> bool {
        !self.files.iter().any(FileChange::changes)
    }

    /// The unified diff of all files.
    pub(crate) fn diff(&self) -> String {
        let changed = self.files.iter().filter(|file| file.changes());
        changed.map(|file| diff(&file.path, file.before.as_deref(), file.after.as_deref())).collect()
    }

    /// Whether [`ChangeSet::commit`] would refuse: for asking before anybody touches a YubiKey.
    ///
    /// # Errors
    /// A file was edited after it was read, is a link, may be changed by others, or is written by a tool.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.files.iter().filter(|file| file.changes()).try_for_each(|file| {
            let is = HostFile::find(&file.path)?.contents()?;
            if is == file.before { Ok(()) } else { Err(edited(&file.path).into()) }
        })
    }

    /// Makes the change, and sshd read its configuration again. With a `deadline`, in seconds since 1970, it waits to be [kept](keep), and is undone after that.
    ///
    /// # Errors
    /// Nothing has changed: as [`ChangeSet::check`], another change of one of these files waits to be kept, or the system
    /// refused something.
    pub(crate) fn commit(self, store: &Path, deadline: Option<u64>) -> Result<Committed, Failure> {
        let records = Records::create(store)?;
        for other in records.all()? {
            let is_about = other.is_about(&self);
            let Named { name, record } = other;
            let record = match record {
                Ok(record) => record,
                // Of other services, it is nothing that this change could meet.
                Err(_) if !is_about => continue,
                Err(why) => return Err(why),
            };
            let same = |path: &Path| self.files.iter().any(|file| file.path == path);
            let meets = name == self.name || record.files.iter().any(|file| same(&file.path));
            match record.state {
                State::Kept if name == self.name => {}
                State::Waiting { deadline } if meets => return Err(pending(&name, deadline).into()),
                State::Open if meets => drop(records.roll_back(&name, &record)?),
                _ => {}
            }
        }
        self.check()?;
        let now = clock::unix();
        let changed = self.files.into_iter().filter(FileChange::changes).collect::<Vec<_>>();
        let stamp = file::stamp(changed.iter().map(|file| file.path.as_path()), now);
        let recorded = |change: FileChange| Recorded {
            backup: change.before.is_some().then(|| file::backup(&change.path, &stamp)),
            path: change.path,
            before: change.before,
            after: change.after,
        };
        let mut record = Record {
            state: State::Open,
            since: now,
            by: administrator().to_owned(),
            sshd_config: self.sshd_config,
            files: changed.into_iter().map(recorded).collect(),
        };
        records.write(&self.name, &record)?;
        let is_made = record.files.iter().try_for_each(Recorded::make).and_then(|()| {
            record.state = deadline.map_or(State::Kept, |deadline| State::Waiting { deadline });
            records.write(&self.name, &record)?;
            Ok(record.sshd_config.as_deref().map_or(Ok(()), sshd::reload)?)
        });
        if let Err(why) = is_made {
            records.roll_back(&self.name, &record)?;
            return Err(why);
        }
        if record.state == State::Kept {
            records.remove_old_backups(&record);
        }
        Ok(Committed { backups: record.files.into_iter().filter_map(|file| file.backup).collect(), deadline })
    }
}

/// The changes that wait to be kept. One whose record cannot be read is not among them: [`damaged`] names it.
///
/// # Errors
/// The store cannot be used.
pub(crate) fn pending_changes(store: &Path) -> Result<Vec<Pending>, Failure> {
    let Some(records) = Records::look(store)? else { return Ok(Vec::new()) };
    let pending = |Named { name, record }| match record.ok()?.state {
        State::Waiting { deadline } => Some(Pending { name, deadline }),
        State::Open | State::Kept => None,
    };
    Ok(records.all()?.into_iter().filter_map(pending).collect())
}

/// The findings about records that cannot be read. None where nobody may look.
pub(crate) fn damaged(store: &Path) -> Vec<Diagnostic> {
    let all = Records::look(store).and_then(|records| records.map_or(Ok(Vec::new()), |it| it.all()));
    let of = |named: Named| named.record.err().and_then(Failure::diagnostic);
    all.unwrap_or_default().into_iter().filter_map(of).collect()
}

/// The deadlines of the changes that wait to be kept, in seconds since 1970; 0 of one that is being made or undone. A record
/// that cannot be read has none.
///
/// # Errors
/// The folder of records cannot be used.
pub(crate) fn deadlines(store: &Path) -> Result<Vec<u64>, Failure> {
    let Some(records) = Records::look(store)? else { return Ok(Vec::new()) };
    let of = |found: Named| match found.record.ok()?.state {
        State::Waiting { deadline } => Some(deadline),
        State::Open => Some(0),
        State::Kept => None,
    };
    Ok(records.all()?.into_iter().filter_map(of).collect())
}

/// Keeps a change that waits to be kept. `false` if there is none that waits.
///
/// # Errors
/// The store cannot be used.
pub(crate) fn keep(store: &Path, name: &str) -> Result<bool, Failure> {
    let Some(records) = Records::open(store, WAIT)? else { return Ok(false) };
    match records.read(name)? {
        Some(record) if matches!(record.state, State::Waiting { .. }) => {
            let record = Record { state: State::Kept, ..record };
            records.write(name, &record)?;
            records.remove_old_backups(&record);
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Undoes a change, kept or not: its files are as before, and sshd reads its configuration again.
///
/// # Errors
/// There is no record of it, or one of its files was edited since: then nothing has changed.
pub(crate) fn undo(store: &Path, name: &str) -> Result<Undone, Failure> {
    let unknown =
        || Diagnostic::error(Code::ChangeUnknown, format!("no change {} is recorded", shown::quoted(name)));
    let records = Records::open(store, WAIT)?.ok_or_else(unknown)?;
    let record = records.read(name)?.ok_or_else(unknown)?;
    records.roll_back(name, &record)
}

/// Undoes every change that was interrupted, or that nobody kept in time, and returns those. Nothing is undone while another
/// process makes a change.
///
/// # Errors
/// The store cannot be used; or, for one change, as [`undo`].
pub(crate) fn finish_interrupted(store: &Path) -> Result<Vec<Result<Undone, Failure>>, Failure> {
    let is_due = |found: &Named| found.record.as_ref().map_or(true, |record| record.is_due(clock::unix()));
    // Without the lock first: a host without such a change has nothing to write.
    let Some(records) = Records::look(store)? else { return Ok(Vec::new()) };
    if !records.all()?.iter().any(is_due) {
        return Ok(Vec::new());
    }
    let records = match Records::open(store, Duration::ZERO) {
        Ok(Some(records)) => records,
        Ok(None) => return Ok(Vec::new()),
        Err(Failure::Fault(found)) if found.code == Code::FileLocked => return Ok(Vec::new()),
        Err(why) => return Err(why),
    };
    let due = records.all()?.into_iter().filter(is_due);
    Ok(due
        .map(|Named { name, record }| record.and_then(|record| records.roll_back(&name, &record)))
        .collect())
}

/// A record by its name, or why it cannot be read.
struct Named {
    name: String,
    record: Result<Record, Failure>,
}

impl Named {
    /// Whether its change is of a service that this one changes, too, as far as names say.
    fn is_about(&self, set: &ChangeSet) -> bool {
        fn service(name: &str) -> &str {
            name.strip_prefix("enable-").or_else(|| name.strip_prefix("disable-")).unwrap_or(name)
        }
        let own = service(&self.name);
        let pair = crate::switch::files_of(own).1;
        let is_of = |name: &std::ffi::OsStr| name == own || pair.is_some_and(|pair| name == pair);
        own == service(&set.name) || set.files.iter().any(|file| file.path.file_name().is_some_and(is_of))
    }
}

/// The records of changes. Locked, unless they are only looked at.
struct Records {
    folder: Folder,
    _changing: Option<Changing>,
}

impl Records {
    fn create(store: &Path) -> Result<Self, Failure> {
        // The store itself is the administrator's to create.
        Folder::open(store)?;
        let path = store.join(CHANGES);
        files::make_folder(&path, 0o700)?;
        let folder = Folder::open(&path)?;
        let _changing = Some(folder.lock(WAIT)?);
        Ok(Self { folder, _changing })
    }

    fn look(store: &Path) -> Result<Option<Self>, Failure> {
        match Folder::open(&store.join(CHANGES)) {
            Ok(folder) => Ok(Some(Self { folder, _changing: None })),
            Err(FileFault::Missing(_)) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    fn open(store: &Path, wait: Duration) -> Result<Option<Self>, Failure> {
        let Some(Self { folder, .. }) = Self::look(store)? else { return Ok(None) };
        let _changing = Some(folder.lock(wait)?);
        Ok(Some(Self { folder, _changing }))
    }

    /// Each record by its name, or why it cannot be read.
    fn all(&self) -> Result<Vec<Named>, Failure> {
        let mut names = self.folder.names()?;
        names.sort_unstable();
        let read = |name: String| match self.read(&name) {
            // Another process undid it meanwhile.
            Ok(None) => None,
            Ok(Some(record)) => Some(Named { name, record: Ok(record) }),
            Err(why) => Some(Named { name, record: Err(why) }),
        };
        Ok(names.into_iter().filter_map(read).collect())
    }

    fn read(&self, name: &str) -> Result<Option<Record>, Failure> {
        record::read(&self.folder, name)
    }

    fn write(&self, name: &str, record: &Record) -> Result<(), Failure> {
        record::write(&self.folder, name, record)
    }

    /// Removes old backups of the files of a change that is kept. The one of this change stays, and so do those of changes that
    /// are not kept yet. A failure keeps nobody from anything: the next change finds them again.
    fn remove_old_backups(&self, kept: &Record) {
        let mut in_use = BTreeSet::new();
        for found in self.all().unwrap_or_default() {
            let Ok(record) = found.record else { return };
            if record.state != State::Kept {
                in_use.extend(record.files.into_iter().filter_map(|file| file.backup));
            }
        }
        let now = clock::unix();
        for file in &kept.files {
            let Some(own) = &file.backup else { continue };
            let removed =
                HostFile::find(&file.path).and_then(|host| host.remove_backups_before(own, now, &in_use));
            drop(removed);
        }
    }

    /// Restores the files of a change, the last one first, and forgets it. A file that is as before already is left alone.
    fn roll_back(&self, name: &str, record: &Record) -> Result<Undone, Failure> {
        let mut found = Vec::new();
        for file in &record.files {
            let host = HostFile::find(&file.path)?;
            let is = host.contents_unchecked()?;
            // A file that went away comes back.
            if is.is_some() && is != file.before && is != file.after {
                return Err(edited_since(name, &file.path).into());
            }
            found.push((file, host, is));
        }
        if record.state != State::Open {
            // From here on, an interrupted undo is finished.
            self.write(name, &Record { state: State::Open, ..record.clone() })?;
        }
        let mut newer = Vec::new();
        for (file, host, is) in found.iter().rev() {
            if host.restore(file, *is == file.before)? {
                newer.push(file.path.clone());
            }
        }
        self.folder.remove(name)?;
        self.folder.sync()?;
        Ok(Undone {
            name: name.to_owned(),
            files: record.files.iter().map(|file| file.path.clone()).collect(),
            newer,
            not_reloaded: record.sshd_config.as_deref().and_then(|config| sshd::reload(config).err()),
        })
    }
}

fn edited(path: &Path) -> Diagnostic {
    Diagnostic::error(Code::FileEdited, "was edited meanwhile")
        .at(Location::file(path.as_os_str().as_bytes()))
        .advise("look at the file, then run the command again")
}

/// A file of a change that is to be undone has been edited since.
fn edited_since(name: &str, path: &Path) -> Diagnostic {
    let found =
        Diagnostic::error(Code::FileEdited, "was edited after the change, so the change is not undone")
            .at(Location::file(path.as_os_str().as_bytes()));
    let found = match name.strip_prefix("enable-") {
        Some(service) => {
            let service = shell_word(service.as_bytes());
            found
                .run_when(
                    "to keep the change and the edit",
                    Program::Ykmap,
                    format!("enable --keep {service}"),
                )
                .run_when(
                    "after that, to remove only the lines of ykmap",
                    Program::Ykmap,
                    format!("disable {service}"),
                )
        }
        None => found,
    };
    found.advise(
        "to undo the change without the edit, take the edit out of the file, then run the command again",
    )
}

/// A change waits to be kept.
fn pending(name: &str, deadline: u64) -> Diagnostic {
    let problem = format!(
        "the change {} waits to be kept, and is undone at {} UTC",
        shown::quoted(name),
        ykcli::time::utc(deadline)
    );
    let found = Diagnostic::error(Code::ChangePending, problem);
    match name.strip_prefix("enable-") {
        Some(service) => {
            let service = shell_word(service.as_bytes());
            found.run_when("if a login works", Program::Ykmap, format!("enable --keep {service}")).run_when(
                "to undo it now",
                Program::Ykmap,
                format!("enable --undo {service}"),
            )
        }
        None => found.advise("keep it or undo it first"),
    }
}

/// The unified diff of one file.
fn diff(path: &Path, before: Option<&[u8]>, after: Option<&[u8]>) -> String {
    let name = |contents: Option<&[u8]>| match contents {
        Some(_) => shown::line(&path.display().to_string()).to_string(),
        None => "/dev/null".to_owned(),
    };
    let text = |contents: Option<&[u8]>| String::from_utf8_lossy(contents.unwrap_or_default()).into_owned();
    let (old, new) = (text(before), text(after));
    let diff = TextDiff::from_lines(&old, &new);
    diff.unified_diff().context_radius(3).header(&name(before), &name(after)).to_string()
}
