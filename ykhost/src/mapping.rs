//! Reading the mapping of this host, and the list of those who enrolled on it, without NSS.

pub use crate::user_path::path_of;

use crate::file::{self, Audience, FileFault, Folder, Folders, is_the_end};
use crate::settings::Settings;
use crate::store::Store;
use crate::{Fault, enrolled};
use rustix::fs::Stat;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use yubiotp::mapping::{Check, Enrolment, MAX_LINE, Search, Unlisted};

/// The longest mapping that is read: some ten million users.
const LIMIT: u64 = 512 << 20;
/// The bytes that are read at a time.
const CHUNK: usize = 128 << 10;

/// Which tokens `user` has by the mapping and by [`enrolled`], of those whose length the settings allow.
/// [`Enrolment::NotListed`] with `nullok` excuses the user.
///
/// With `%u` in the setting, a user without a file of their own is not in the mapping.
///
/// # Errors
/// A file cannot be used, or a line of the user's has an error. Or nothing is theirs, and something keeps that from
/// being known: see [`LookUp::settle`].
pub fn enrolment(settings: &Settings, user: &[u8], nullok: bool) -> Result<Enrolment, Fault> {
    look_up(settings, user)?.settle(nullok)
}

/// The result of a quick look. A user whom it did not find may still be listed in another spelling.
pub struct LookUp {
    found: Enrolment,
    unsettled: Option<Unsettled>,
}

/// The part that must still be read to know that no line is the user's.
struct Unsettled {
    user: Vec<u8>,
    /// The setting.
    mapping: String,
    /// The files that were searched. The mapping is not among them if the user has no file of their own.
    searched: Vec<Searched>,
    /// The store, if it has no `enrolled`.
    store: Option<Store>,
    folders: Arc<Folders>,
}

/// A file that was searched, with its length.
struct Searched {
    file: File,
    size: usize,
    path: PathBuf,
}

/// The first half of [`enrolment`]. It takes the same time whether the user is listed or not, so it is what a login
/// does before it asks.
///
/// # Errors
/// A file cannot be used, or a line of the user's has an error.
pub fn look_up(settings: &Settings, user: &[u8]) -> Result<LookUp, Fault> {
    let setting = settings.mapping.as_str();
    let path = path_for(setting, user)?;
    let (mut found, mut searched) = (Enrolment::NotListed, Vec::new());
    match settings.folders.file_and_stat(&path, Audience::Everyone) {
        Err(FileFault::Missing(missing)) if setting.contains("%u") && missing == path => {}
        opened => {
            let opened =
                opened.map_err(|fault| Fault::if_missing(fault, |path| Fault::NoMapping { path }))?;
            let (by_mapping, file) = search(opened, path, user)?;
            found = by_mapping;
            searched.push(file);
        }
    }
    let path = enrolled::path(settings);
    let has_enrolled = match settings.folders.file_and_stat(&path, Audience::Everyone) {
        Err(FileFault::Missing(_)) => false,
        opened => {
            let (enrolled, file) = search(opened?, path, user)?;
            found = merged(found, enrolled);
            searched.push(file);
            true
        }
    };
    match found {
        Enrolment::Listed(tokens) => {
            let allowed = tokens.into_iter().filter(|id| settings.allows(id)).collect();
            Ok(LookUp { found: Enrolment::Listed(allowed), unsettled: None })
        }
        Enrolment::NotListed => {
            let store = if has_enrolled { None } else { Some(Store::new(settings)) };
            let unsettled = Unsettled {
                user: user.to_vec(),
                mapping: setting.to_owned(),
                searched,
                store,
                folders: Arc::clone(&settings.folders),
            };
            Ok(LookUp { found: Enrolment::NotListed, unsettled: Some(unsettled) })
        }
    }
}

/// Looks for a user in one file, which must not be empty.
fn search(opened: (File, Stat), path: PathBuf, user: &[u8]) -> Result<(Enrolment, Searched), Fault> {
    let (mut file, stat) = opened;
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    let mut search = Search::new(user);
    if whole_lines(&mut file, size, &path, |text| search.lines(text))? == 0 {
        return Err(Fault::EmptyMapping { path });
    }
    match search.finish() {
        Err(problem) => Err(Fault::Mapping { path, line: problem.line, why: problem.why }),
        Ok(found) => Ok((found, Searched { file, size, path })),
    }
}

/// The tokens of a user by two files, each once, those of the first before those of the second. A user is listed if either
/// lists them.
pub(crate) fn merged(first: Enrolment, second: Enrolment) -> Enrolment {
    match (first, second) {
        (Enrolment::Listed(mut tokens), Enrolment::Listed(more)) => {
            for token in more {
                if !tokens.contains(&token) {
                    tokens.push(token);
                }
            }
            Enrolment::Listed(tokens)
        }
        (listed @ Enrolment::Listed(_), Enrolment::NotListed) | (Enrolment::NotListed, listed) => listed,
    }
}

/// The mapping of `user`, whose name need not be text.
pub(crate) fn path_for(setting: &str, user: &[u8]) -> Result<PathBuf, Fault> {
    match str::from_utf8(user) {
        Ok(user) => path_of(setting, user),
        Err(_) if setting.contains("%u") => Err(Fault::UserInPath { template: setting.to_owned() }),
        Err(_) => Ok(PathBuf::from(setting)),
    }
}

impl LookUp {
    /// The second half: of a user who was not found, everything is read that may mean them. With `nullok` they are
    /// excused by it, by the rule of [`Unlisted`].
    ///
    /// # Errors
    /// Some line has an error; a line or a file may mean the user in another spelling; the folder of the files cannot
    /// be listed; the store is gone, and `enrolled` with it; or, with `nullok`, the name is not plain.
    pub fn settle(self, nullok: bool) -> Result<Enrolment, Fault> {
        if let Some(Unsettled { user, mapping, searched, store, folders }) = self.unsettled {
            for Searched { mut file, size, path } in searched {
                file.rewind().map_err(|why| FileFault::system(&path, "read it again", why))?;
                let mut check = Check::not_found(&user);
                whole_lines(&mut file, size, &path, |text| check.lines(text))?;
                check.finish().map_err(|problem| Fault::Mapping {
                    path,
                    line: problem.line,
                    why: problem.why,
                })?;
            }
            check_others_files(&mapping, &user)?;
            let gone = store.and_then(|store| store.lost_enrolled());
            // The application may be asked next, and may close what it does not know.
            folders.close();
            if let Some(gone) = gone {
                return Err(gone);
            }
            if nullok && !Unlisted::new(&user).is_plain() {
                return Err(Fault::NotPlain { path: mapping.into() });
            }
        }
        Ok(self.found)
    }
}

/// Where each user has a file, or a folder, of their own: that none of another name may mean `user`.
fn check_others_files(setting: &str, user: &[u8]) -> Result<(), Fault> {
    let Some((folder, template)) = topmost(setting) else { return Ok(()) };
    let folder = Folder::open(folder)?;
    for name in folder.all_names()? {
        let other = user_in(template, &name).filter(|other| other.as_bytes() != user);
        if other.is_some_and(|other| Unlisted::new(user).may_mean(other.as_bytes())) {
            return Err(Fault::OtherFile { path: folder.path().join(name) });
        }
    }
    Ok(())
}

/// Which user the file `name` is of, where `template` names their files.
fn user_in<'n>(template: &str, name: &'n str) -> Option<&'n str> {
    let (before, _) = template.split_once("%u")?;
    // It may be in there twice.
    let users = template.matches("%u").count();
    let others = template.len().checked_sub(users.checked_mul("%u".len())?)?;
    let length = name.len().checked_sub(others)?.checked_div(users)?;
    let user = name.strip_prefix(before)?.get(..length)?;
    (template.replace("%u", user) == name).then_some(user)
}

/// The whole text of a mapping, for those who edit or list it.
///
/// # Errors
/// The file cannot be used.
pub fn text(path: &Path) -> Result<Vec<u8>, Fault> {
    file::read(path, LIMIT, Audience::Everyone)
        .map_err(|fault| Fault::if_missing(fault, |path| Fault::NoMapping { path }))
}

/// The whole text of `enrolled`; `None` if there is none.
///
/// # Errors
/// It cannot be used, has no byte, or was lost.
pub fn enrolled_text(settings: &Settings) -> Result<Option<Vec<u8>>, Fault> {
    let path = enrolled::path(settings);
    match file::read(&path, LIMIT, Audience::Everyone) {
        Err(FileFault::Missing(_)) => match Store::new(settings).lost_enrolled() {
            Some(lost @ Fault::NoEnrolled { .. }) => Err(lost),
            _ => Ok(None),
        },
        Ok(text) if text.is_empty() => Err(Fault::EmptyMapping { path }),
        text => Ok(Some(text?)),
    }
}

/// Every mapping there is: one, or with `%u` one of each user who has one.
///
/// # Errors
/// A folder of mappings cannot be listed.
pub(crate) fn all_files(settings: &Settings) -> Result<Vec<PathBuf>, Fault> {
    let setting = settings.mapping.as_str();
    let Some((folder, template)) = topmost(setting) else { return Ok(vec![PathBuf::from(setting)]) };
    let mut files = Vec::new();
    for name in Folder::open(folder)?.names()? {
        let path = user_in(template, &name).and_then(|user| path_of(setting, user).ok());
        files.extend(path.filter(|path| path.exists()));
    }
    files.sort_unstable();
    Ok(files)
}

/// The folder that has a file or a folder for each user, and how those are named.
fn topmost(setting: &str) -> Option<(&Path, &str)> {
    let names_users = |path: &&Path| path.to_str().is_some_and(|path| path.contains("%u"));
    let path = Path::new(setting).ancestors().filter(names_users).last()?;
    path.parent().zip(path.file_name().and_then(OsStr::to_str))
}

/// Hands out the file piece by piece, each piece of whole lines; a line longer than any that is read comes in pieces,
/// each too long to be read. Says how many bytes there were.
///
/// `size` is how long it was when it was opened.
fn whole_lines(
    file: &mut File,
    size: usize,
    path: &Path,
    mut hand_out: impl FnMut(&[u8]),
) -> Result<u64, FileFault> {
    let too_large = || FileFault::TooLarge { path: path.to_owned(), limit: LIMIT };
    // Not read for seconds to find that out; it may grow all the same.
    if size as u64 > LIMIT {
        return Err(too_large());
    }
    // As large as a small file, and always larger than the longest line.
    let mut buffer = vec![0; CHUNK.min(size.max(4 * MAX_LINE).saturating_add(1))];
    let (mut held, mut total) = (0_usize, 0_u64);
    loop {
        let free = buffer.get_mut(held..).unwrap_or_default();
        let asked = free.len();
        let count = match file.read(free) {
            Ok(count) => count,
            Err(why) if why.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(why) => return Err(FileFault::system(path, "read", why)),
        };
        total = total.saturating_add(count as u64);
        if total > LIMIT {
            return Err(too_large());
        }
        held = held.saturating_add(count);
        let text = buffer.get(..held).unwrap_or_default();
        if is_the_end(count, asked, usize::try_from(total).unwrap_or(usize::MAX), size) {
            hand_out(text);
            return Ok(total);
        }
        let whole = match text.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => newline.saturating_add(1),
            // No line end in all of the buffer: this line can only be an error, wherever it is cut.
            None if held == buffer.len() => held.saturating_sub(MAX_LINE).saturating_sub(1),
            None => 0,
        };
        hand_out(text.get(..whole).unwrap_or_default());
        buffer.copy_within(whole..held, 0);
        held = held.saturating_sub(whole);
    }
}
