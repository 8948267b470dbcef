//! Reading the mapping of this host, without NSS.

use crate::Fault;
use crate::file::{self, Audience, FileFault};
use crate::settings::Settings;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use yubiotp::mapping::{Check, Enrolment, MAX_LINE, Problem, Search};

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
/// The file cannot be used, a line of the user's has an error, or nothing is theirs and some line has an error: it
/// might be the one that they are looked for in.
pub fn enrolment(settings: &Settings, user: &[u8]) -> Result<Enrolment, Fault> {
    let setting = settings.mapping.as_str();
    let per_user = setting.contains("%u");
    let path = match str::from_utf8(user) {
        Ok(user) => path_of(setting, user)?,
        Err(_) if per_user => return Err(Fault::UserInPath { template: setting.to_owned() }),
        Err(_) => PathBuf::from(setting),
    };
    let mut file = match file::open(&path, Audience::Everyone) {
        Err(FileFault::Missing(missing)) if per_user && missing == path => return Ok(Enrolment::NotListed),
        opened => opened?,
    };
    let wrong =
        |problem: Problem| Fault::Mapping { path: path.clone(), line: problem.line, why: problem.why };
    let mut search = Search::new(user);
    whole_lines(&mut file, &path, |text| search.lines(text))?;
    match search.finish().map_err(wrong)? {
        Enrolment::Listed(tokens) => {
            Ok(Enrolment::Listed(tokens.into_iter().filter(|id| settings.allows(id)).collect()))
        }
        Enrolment::NotListed => match check_open(&mut file, &path)? {
            Some(problem) => Err(wrong(problem)),
            None => Ok(Enrolment::NotListed),
        },
    }
}

fn check_open(file: &mut File, path: &Path) -> Result<Option<Problem>, FileFault> {
    file.rewind().map_err(|why| FileFault::system(path, "read it again", why))?;
    let mut check = Check::default();
    whole_lines(file, path, |text| check.lines(text))?;
    Ok(check.finish().err())
}

/// The whole text of a mapping, for those who edit or list it.
///
/// # Errors
/// The file cannot be used.
pub fn text(path: &Path) -> Result<Vec<u8>, Fault> {
    Ok(file::read(path, LIMIT, Audience::Everyone)?)
}

/// Hands out the file piece by piece, each piece of whole lines; a line longer than any that is read comes in pieces,
/// each too long to be read.
fn whole_lines(file: &mut File, path: &Path, mut hand_out: impl FnMut(&[u8])) -> Result<(), FileFault> {
    let mut buffer = vec![0; CHUNK];
    let (mut held, mut total) = (0_usize, 0_u64);
    loop {
        let free = buffer.get_mut(held..).unwrap_or_default();
        let count = match file.read(free) {
            Ok(count) => count,
            Err(why) if why.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(why) => return Err(FileFault::system(path, "read", why)),
        };
        total = total.saturating_add(count as u64);
        if total > LIMIT {
            return Err(FileFault::TooLarge { path: path.to_owned(), limit: LIMIT });
        }
        held = held.saturating_add(count);
        let text = buffer.get(..held).unwrap_or_default();
        if count == 0 {
            hand_out(text);
            return Ok(());
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
