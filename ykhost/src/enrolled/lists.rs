//! The mapping of a user and `enrolled`, read and changed together.

use super::ENROLLED;
use crate::file::{self, Changing, FileFault, Folder};
use crate::settings::Settings;
use crate::store::Store;
use crate::{Fault, mapping};
use rustix::fs::Mode;
use rustix::io::Errno;
use std::path::PathBuf;
use std::time::Duration;
use yubiotp::TokenId;
use yubiotp::mapping::{self as grammar, BadLine, BadUserName, Edits, Enrolment, Line, Search};

/// Permissions of a new list: everybody may read who owns which token.
pub(super) const MODE: Mode = Mode::from_bits_retain(0o644);

/// How a mapping begins that is made here. Without a byte it would look like one that was cut off.
pub const MAPPING_HEAD: &str = "\
# Who owns which YubiKey: user:id:id, an id being the first characters of what the key types, before the last 32.
";

/// How `enrolled` begins.
pub const HEAD: &str = "\
# Who enrolled which token on this host, beside the mapping: user:id:id. Written by yubiotp-enroll and ykmap; to change it,
# run ykmap.
";

/// One file of the grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    path: PathBuf,
    text: Vec<u8>,
}

impl List {
    pub(super) const fn new(path: PathBuf, text: Vec<u8>) -> Self {
        Self { path, text }
    }

    /// As it is written. Without a byte a list would be taken for one that was cut off.
    pub(super) fn contents(&self, head: &str, is_new: bool) -> Vec<u8> {
        match (is_new, self.text.as_slice()) {
            (_, []) => head.as_bytes().to_vec(),
            (true, text) => [head.as_bytes(), text].concat(),
            (false, text) => text.to_vec(),
        }
    }

    /// Where the file is, or would be.
    #[must_use]
    pub const fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Its contents. Those of a missing file are empty.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The tokens of a user.
    ///
    /// # Errors
    /// A line that begins with the user's name has an error.
    pub fn tokens(&self, user: &[u8]) -> Result<Enrolment, Fault> {
        let mut search = Search::new(user);
        search.lines(&self.text);
        search.finish().map_err(|problem| self.fault(problem.line, problem.why))
    }

    /// Lists tokens for a user, who does not have them yet.
    ///
    /// # Errors
    /// No list can contain the name.
    pub fn add(&mut self, user: &[u8], ids: &[TokenId]) -> Result<(), BadUserName> {
        self.text = grammar::add(&self.text, user, ids)?;
        Ok(())
    }

    /// Lists a user, without a token if no line lists them yet.
    ///
    /// # Errors
    /// No list can contain the name.
    pub fn list(&mut self, user: &[u8]) -> Result<(), BadUserName> {
        self.text = grammar::list(&self.text, user)?;
        Ok(())
    }

    /// Makes many edits, for which it is read once.
    ///
    /// # Errors
    /// `edit` fails: nothing is changed then.
    pub fn edit<E>(&mut self, edit: impl FnOnce(&mut Edits) -> Result<(), E>) -> Result<(), E> {
        let mut edits = Edits::new(&self.text);
        edit(&mut edits)?;
        self.text = edits.text();
        Ok(())
    }

    /// Takes one token from a user, or, for `None`, the user out of the list. Returns how many fields or lines went.
    pub fn remove(&mut self, user: &[u8], id: Option<&TokenId>) -> usize {
        let removed = grammar::remove(&self.text, user, id);
        self.text = removed.text;
        removed.count
    }

    fn fault(&self, line: usize, why: BadLine) -> Fault {
        Fault::Mapping { path: self.path.clone(), line, why }
    }
}

/// The mapping of a user, and `enrolled`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lists {
    /// The mapping.
    pub mapping: List,
    /// The store's own list.
    pub enrolled: List,
}

impl Lists {
    /// Both, in the order in which their tokens count.
    pub fn both(&self) -> impl Iterator<Item = &List> {
        [&self.mapping, &self.enrolled].into_iter()
    }

    /// The tokens of a user by both, each once, those of the mapping first.
    ///
    /// # Errors
    /// A line that begins with the user's name has an error.
    pub fn tokens(&self, user: &[u8]) -> Result<Enrolment, Fault> {
        Ok(mapping::merged(self.mapping.tokens(user)?, self.enrolled.tokens(user)?))
    }

    /// Takes one token from a user, or, for `None`, the user out of both lists. Returns how many fields or lines went.
    pub fn remove(&mut self, user: &[u8], id: Option<&TokenId>) -> usize {
        self.mapping.remove(user, id).saturating_add(self.enrolled.remove(user, id))
    }

    /// The list that a user's new token goes to if it replaces another: `enrolled` if only that lists the user.
    ///
    /// # Errors
    /// A line that begins with the user's name has an error.
    pub fn home(&mut self, user: &[u8]) -> Result<&mut List, Fault> {
        let is_there = |list: &List| Ok::<_, Fault>(list.tokens(user)? != Enrolment::NotListed);
        match !is_there(&self.mapping)? && is_there(&self.enrolled)? {
            true => Ok(&mut self.enrolled),
            false => Ok(&mut self.mapping),
        }
    }
}

/// The mapping of a user and `enrolled`; one that is not there is empty.
///
/// # Errors
/// One of them cannot be used, or `enrolled` has no byte.
pub fn read(settings: &Settings, user: &[u8]) -> Result<Lists, Fault> {
    let path = mapping::path_for(&settings.mapping, user)?;
    let text = match mapping::text(&path) {
        Err(Fault::NoMapping { path: missing }) if missing == path => Vec::new(),
        text => text?,
    };
    let enrolled =
        List { path: super::path(settings), text: mapping::enrolled_text(settings)?.unwrap_or_default() };
    Ok(Lists { mapping: List { path, text }, enrolled })
}

/// Changes the mapping of a user, `enrolled`, or both, one change at a time. Each file changes as a whole; if the second of two
/// cannot be written, the first gets its old contents again. Durable when this returns.
///
/// # Errors
/// A file cannot be used, or `change` fails: nothing is changed then.
pub fn edit<T, E: From<Fault>>(
    settings: &Settings,
    user: &[u8],
    change: impl FnOnce(&mut Lists) -> Result<T, E>,
) -> Result<T, E> {
    let locked = Locked::begin(settings, user)?;
    let before = read(settings, user)?;
    let mut lists = before.clone();
    let done = change(&mut lists)?;
    locked.write(&Store::new(settings), &before, &lists)?;
    Ok(done)
}

/// The folders of both files, locked.
struct Locked {
    mapping: (Folder, String),
    _mapping: Option<Changing>,
    /// The store, and its lock, or why it cannot be changed.
    store: Result<(Folder, Changing), Fault>,
}

impl Locked {
    fn begin(settings: &Settings, user: &[u8]) -> Result<Self, Fault> {
        // Always in this order.
        let store = match Folder::open(&settings.store) {
            Ok(folder) => match folder.lock(settings.lock_wait) {
                Err(fault @ FileFault::Locked { .. }) => return Err(fault.into()),
                locked => locked.map(|lock| (folder, lock)).map_err(Fault::from),
            },
            Err(fault) => Err(Fault::if_missing(fault, |path| Fault::NoStore { path })),
        };
        let mapping = file::locate(&mapping::path_for(&settings.mapping, user)?)?;
        // The lock of a folder that has both files is taken once.
        let is_same = store.as_ref().is_ok_and(|(store, _)| store.is_same(&mapping.0));
        let _mapping = if is_same { None } else { lock_unless_read_only(&mapping.0, settings.lock_wait)? };
        Ok(Self { mapping, _mapping, store })
    }

    /// Writes what changed: first the mapping.
    fn write(self, of: &Store, before: &Lists, after: &Lists) -> Result<(), Fault> {
        let (folder, name) = &self.mapping;
        let (changes, also) = (before.mapping != after.mapping, before.enrolled != after.enrolled);
        // Before anything is written.
        let store = if also { Some(self.store?.0) } else { None };
        if let Some(store) = &store {
            // First one that lists nobody, then the note that there is one: a list that is lost later is missed.
            if before.enrolled.text.is_empty() {
                store.replace(ENROLLED, HEAD.as_bytes(), MODE)?;
            }
            of.note_enrolled()?;
        }
        if changes {
            folder.replace(name, &after.mapping.contents(MAPPING_HEAD, false), MODE)?;
        }
        let Some(store) = store else { return Ok(()) };
        let written =
            store.replace(ENROLLED, &after.enrolled.contents(HEAD, before.enrolled.text.is_empty()), MODE);
        if written.is_err() && changes {
            // The first error is the one to report.
            let _ = folder.replace(name, &before.mapping.contents(MAPPING_HEAD, false), MODE);
        }
        Ok(written?)
    }
}

/// Locks the mapping's folder. On a file system that is mounted read-only nobody changes a mapping, and `enrolled` can change.
pub(super) fn lock_unless_read_only(folder: &Folder, wait: Duration) -> Result<Option<Changing>, Fault> {
    match folder.lock(wait) {
        Err(FileFault::System { why, .. }) if why.raw_os_error() == Some(Errno::ROFS.raw_os_error()) => {
            Ok(None)
        }
        locked => Ok(Some(locked?)),
    }
}

/// A token of these that is, or may be, another user's, and who that is.
pub(super) fn owned_by_another(
    settings: &Settings,
    user: &[u8],
    ids: &[TokenId],
) -> Result<Option<(TokenId, Vec<u8>)>, Fault> {
    let mut lists = Vec::new();
    for path in mapping::all_files(settings)? {
        lists.push(List { text: mapping::text(&path)?, path });
    }
    lists.push(List {
        path: super::path(settings),
        text: mapping::enrolled_text(settings)?.unwrap_or_default(),
    });
    for list in &lists {
        for (number, line) in grammar::entries(&list.text) {
            match line {
                Ok(Line::Entry { user: owner, fields }) if owner != user => {
                    if let Some(token) = fields.tokens().find(|token| ids.contains(token)) {
                        return Ok(Some((token, owner.to_vec())));
                    }
                }
                Ok(Line::Entry { .. } | Line::Nothing) => {}
                // Nobody knows whose the line is, and with which tokens.
                Err(why) => return Err(list.fault(number, why)),
            }
        }
    }
    Ok(None)
}
