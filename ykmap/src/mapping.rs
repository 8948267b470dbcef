//! Reading the mapping of this host, without NSS.

use crate::Fault;
use crate::file::{self, Audience, FileFault, is_the_end};
use crate::settings::Settings;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use yubiotp::mapping::{Check, Enrolment, MAX_LINE, Search};

/// The longest mapping that is read: some ten million users.
const LIMIT: u64 = 512 << 20;
/// What is read at a time.
const CHUNK: usize = 128 << 10;

/// Where the mapping of `user` is: `%u` in the setting stands for the name.
///
/// # Errors
/// The name would change the path: it is empty, begins with a dot or holds a slash.
pub fn path_of(setting: &str, user: &str) -> Result<PathBuf, Fault> {
    if !setting.contains("%u") {
        return Ok(PathBuf::from(setting));
    }
    if user.is_empty() || user.starts_with('.') || user.contains(['/', '\0']) {
        return Err(Fault::UserInPath { template: setting.to_owned() });
    }
    Ok(PathBuf::from(setting.replace("%u", user)))
}

/// Which tokens `user` has, of those whose length the settings allow.
///
/// With `%u` in the setting, a user without a file of their own is not listed.
///
/// # Errors
/// The file cannot be used, a line of the user's has an error, or nothing is theirs and some line has an error, or
/// another spelling of their name: it might be the one that they are looked for in.
pub fn enrolment(settings: &Settings, user: &[u8]) -> Result<Enrolment, Fault> {
    look_up(settings, user)?.settle()
}

/// What a quick look found; whoever was not found is not known to be missing yet.
pub struct LookUp {
    found: Enrolment,
    /// The file, its length and the user, if every line must be read to know that nothing is theirs.
    unsettled: Option<(File, usize, PathBuf, Vec<u8>)>,
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
    let (mut file, stat) = match settings.folders.file_and_stat(&path, Audience::Everyone) {
        Err(FileFault::Missing(missing)) if per_user && missing == path => {
            return Ok(LookUp { found: Enrolment::NotListed, unsettled: None });
        }
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
        Ok(Enrolment::NotListed) => {
            Ok(LookUp { found: Enrolment::NotListed, unsettled: Some((file, size, path, user.to_vec())) })
        }
    }
}

impl LookUp {
    /// The second half: for whoever was not found, every line is read.
    ///
    /// # Errors
    /// Some line has an error, or another spelling of the user's name.
    pub fn settle(self) -> Result<Enrolment, Fault> {
        if let Some((mut file, size, path, user)) = self.unsettled {
            file.rewind().map_err(|why| FileFault::system(&path, "read it again", why))?;
            let mut check = Check::not_found(&user);
            whole_lines(&mut file, size, &path, |text| check.lines(text))?;
            check.finish().map_err(|problem| Fault::Mapping {
                path,
                line: problem.line,
                why: problem.why,
            })?;
        }
        Ok(self.found)
    }
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
