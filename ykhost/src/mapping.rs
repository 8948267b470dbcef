//! Reading the mapping of this host, without NSS.

pub use crate::user_path::path_of;

use crate::Fault;
use crate::file::{self, Audience, FileFault, Folder, is_the_end};
use crate::settings::Settings;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use yubiotp::mapping::{Check, Enrolment, MAX_LINE, Search, Unlisted};

/// The longest mapping that is read: some ten million users.
const LIMIT: u64 = 512 << 20;
/// The bytes that are read at a time.
const CHUNK: usize = 128 << 10;

/// Which tokens `user` has, of those whose length the settings allow. [`Enrolment::NotListed`] with `nullok` excuses
/// the user.
///
/// With `%u` in the setting, a user without a file of their own is not listed.
///
/// # Errors
/// The file cannot be used, or a line of the user's has an error. Or nothing is theirs, and something keeps that from
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
    /// The file that was searched, with its length; `None` if the user has no file of their own.
    searched: Option<(File, usize, PathBuf)>,
}

/// The first half of [`enrolment`]. It takes the same time whether the user is listed or not, so it is what a login
/// does before it asks.
///
/// # Errors
/// The file cannot be used, or a line of the user's has an error.
pub fn look_up(settings: &Settings, user: &[u8]) -> Result<LookUp, Fault> {
    let setting = settings.mapping.as_str();
    let per_user = setting.contains("%u");
    let path = match str::from_utf8(user) {
        Ok(user) => path_of(setting, user)?,
        Err(_) if per_user => return Err(Fault::UserInPath { template: setting.to_owned() }),
        Err(_) => PathBuf::from(setting),
    };
    let unsettled = |searched| {
        let unsettled = Unsettled { user: user.to_vec(), mapping: setting.to_owned(), searched };
        LookUp { found: Enrolment::NotListed, unsettled: Some(unsettled) }
    };
    let (mut file, stat) = match settings.folders.file_and_stat(&path, Audience::Everyone) {
        Err(FileFault::Missing(missing)) if per_user && missing == path => return Ok(unsettled(None)),
        opened => opened.map_err(|fault| Fault::if_missing(fault, |path| Fault::NoMapping { path }))?,
    };
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    let mut search = Search::new(user);
    if whole_lines(&mut file, size, &path, |text| search.lines(text))? == 0 {
        return Err(Fault::EmptyMapping { path });
    }
    match search.finish() {
        Err(problem) => Err(Fault::Mapping { path, line: problem.line, why: problem.why }),
        Ok(Enrolment::Listed(tokens)) => {
            let allowed = tokens.into_iter().filter(|id| settings.allows(id)).collect();
            Ok(LookUp { found: Enrolment::Listed(allowed), unsettled: None })
        }
        Ok(Enrolment::NotListed) => Ok(unsettled(Some((file, size, path)))),
    }
}

impl LookUp {
    /// The second half: of a user who was not found, everything is read that may mean them. With `nullok` they are
    /// excused by it, by the rule of [`Unlisted`].
    ///
    /// # Errors
    /// Some line has an error; a line or a file may mean the user in another spelling; the folder of the files cannot
    /// be listed; or, with `nullok`, the name is not plain.
    pub fn settle(self, nullok: bool) -> Result<Enrolment, Fault> {
        if let Some(Unsettled { user, mapping, searched }) = self.unsettled {
            if let Some((mut file, size, path)) = searched {
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
            if nullok && !Unlisted::new(&user).is_plain() {
                return Err(Fault::NotPlain { path: mapping.into() });
            }
        }
        Ok(self.found)
    }
}

/// Where each user has a file, or a folder, of their own: that none of another name may mean `user`.
fn check_others_files(setting: &str, user: &[u8]) -> Result<(), Fault> {
    let names_users = |path: &&Path| path.to_str().is_some_and(|path| path.contains("%u"));
    let Some(path) = Path::new(setting).ancestors().filter(names_users).last() else { return Ok(()) };
    let (Some(folder), Some(template)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
        return Ok(());
    };
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
