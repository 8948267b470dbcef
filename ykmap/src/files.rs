//! What the verbs read and change: mappings, and a line of input.

use super::{Failure, out};
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use ykhost::file::{self, Folder};
use ykhost::settings::Settings;
use ykhost::{Fault, mapping};
use yubiotp::mapping::{BadLine, Enrolment, Search};
use zeroize::Zeroizing;

/// Permissions of a mapping that is new: everybody may read who owns which token.
const MAPPING_MODE: rustix::fs::Mode = rustix::fs::Mode::from_bits_retain(0o644);

/// How a mapping begins that `ykmap` makes.
pub(crate) const HEAD: &str = "\
# Who owns which YubiKey: user:id:id, an id being the first characters of what the key types, before the last 32.
";

/// Changes the mapping of a user as a whole, one change at a time; a mapping that is not there yet is empty.
pub(crate) fn edit<T>(
    settings: &Settings,
    user: &str,
    change: impl FnOnce(&[u8]) -> Result<(Vec<u8>, T), Failure>,
) -> Result<T, Failure> {
    let path = mapping::path_of(&settings.mapping, user)?;
    let (folder, name) = file::locate(&path)?;
    let _changing = folder.lock(settings.lock_wait)?;
    let text = text_of(&path)?;
    let (mut new, done) = change(&text)?;
    if new.is_empty() {
        // Without a byte a mapping is taken for one that was cut off.
        new = HEAD.into();
    }
    if new != text {
        folder.replace(&name, &new, MAPPING_MODE)?;
    }
    Ok(done)
}

/// The text of a mapping; one that is not there yet is empty.
pub(crate) fn text_of(path: &Path) -> Result<Vec<u8>, Failure> {
    match mapping::text(path) {
        Err(Fault::NoMapping { path: missing }) if missing == path => Ok(Vec::new()),
        text => Ok(text?),
    }
}

/// The tokens of a user, if every line of theirs can be read: a change by halves would not be what was asked for.
pub(crate) fn tokens_in(settings: &Settings, text: &[u8], user: &str) -> Result<Enrolment, Failure> {
    let mut search = Search::new(user.as_bytes());
    search.lines(text);
    Ok(search.finish().or_else(|problem| {
        let path = mapping::path_of(&settings.mapping, user)?;
        Err(Fault::Mapping { path, line: problem.line, why: problem.why })
    })?)
}

/// The fault of a user who is listed in another spelling only, in words. `None` for everybody else.
pub(crate) fn other_spelling(settings: &Settings, user: &str) -> Option<String> {
    match mapping::enrolment(settings, user.as_bytes(), false) {
        Err(fault @ (Fault::OtherFile { .. } | Fault::Mapping { why: BadLine::OtherSpelling, .. })) => {
            Some(fault.to_string())
        }
        _ => None,
    }
}

/// Every mapping there is: one, or with `%u` in the file's name one a user.
pub(crate) fn mappings(settings: &Settings) -> Result<Vec<PathBuf>, Failure> {
    let setting = Path::new(&settings.mapping);
    if !settings.mapping.contains("%u") {
        return Ok(vec![setting.to_owned()]);
    }
    let name = setting.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once("%u"));
    let parent = setting.parent().filter(|parent| !parent.to_string_lossy().contains("%u"));
    let (Some((before, after)), Some(parent)) = (name, parent) else {
        return Err(Failure::Fault(format!(
            "{}: name one user; %u stands for a folder here",
            settings.mapping
        )));
    };
    let folder = Folder::open(parent)?;
    let mut files: Vec<_> = folder
        .names()?
        .into_iter()
        .filter(|name| name.starts_with(before) && name.ends_with(after))
        .map(|name| parent.join(name))
        .collect();
    files.sort_unstable();
    Ok(files)
}

/// One line from standard input, without its end. Wiped on drop.
pub(crate) fn input_line(question: &str) -> Result<Zeroizing<String>, Failure> {
    out::question(question);
    let mut line = Zeroizing::new(String::with_capacity(1024));
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|why| Failure::Fault(format!("standard input: {why}")))?;
    Ok(line)
}
