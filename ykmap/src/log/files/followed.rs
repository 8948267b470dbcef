//! A file that is still written to, and that is rotated meanwhile: renamed and made anew, or copied and emptied.

use super::{Contents, TextFile};
use crate::log::entry::Entry;
use crate::log::tally::Tally;
use jiff::tz::TimeZone;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a file that was renamed is read on: the daemon writes to it until a signal makes it reopen its files.
const FORMER: Duration = Duration::from_secs(60);
/// How much of what was read last is compared, to find out that a file was emptied: a line, in which time and names differ.
const COMPARED: u64 = 4096;

/// One file of a log.
pub(in crate::log) struct Followed {
    path: PathBuf,
    /// `None` as long as there is none of that name.
    file: Option<TextFile>,
    /// The file that had the name before, and since when it has not.
    former: Option<(TextFile, Instant)>,
    /// The end of what was read of the file; `None` while more of it is read.
    read: Option<Vec<u8>>,
}

impl Followed {
    /// Files of these names. Those that are open already go on where they are.
    pub(in crate::log) fn all(paths: Vec<PathBuf>, mut open: Vec<TextFile>) -> Vec<Self> {
        let followed = paths.into_iter().map(|path| {
            let at = open.iter().position(|file| file.path == path);
            let file = at.map(|at| open.swap_remove(at));
            let mut followed = Self { path, file, former: None, read: None };
            followed.remember();
            followed
        });
        followed.collect()
    }

    /// The next entry that is there already.
    pub(in crate::log) fn next(&mut self, tally: &mut Tally) -> Option<Entry> {
        if let Some((former, since)) = &mut self.former {
            if let Some(entry) = former.next(true, tally) {
                return Some(entry);
            }
            if since.elapsed() > FORMER {
                self.former = None;
            }
        }
        self.restart_if_emptied();
        let entry = self.file.as_mut().and_then(|file| file.next(true, tally));
        if entry.is_some() {
            return entry;
        }
        self.remember();
        self.replace().then(|| self.next(tally))?
    }

    /// Opens the file that has the name now, if it is another.
    fn replace(&mut self) -> bool {
        let Ok(named) = std::fs::metadata(&self.path) else { return false };
        let is_same = self.file.as_ref().and_then(plain).is_some_and(|file| {
            file.metadata().is_ok_and(|open| (open.dev(), open.ino()) == (named.dev(), named.ino()))
        });
        if is_same {
            return false;
        }
        let Ok(file) = TextFile::open(&self.path, &TimeZone::system()) else { return false };
        // A packed file grows no more.
        if plain(&file).is_none() {
            return false;
        }
        self.former = self.file.replace(file).map(|former| (former, Instant::now()));
        self.read = None;
        true
    }

    /// Begins anew if what was read last is not where it was.
    fn restart_if_emptied(&mut self) {
        let Some(file) = &mut self.file else { return };
        let Contents::Plain(contents) = file.lines.get_mut() else { return };
        let Ok(position) = contents.stream_position() else { return };
        let Some(read) = self.read.take() else { return };
        let mut now = vec![0; read.len()];
        let begin = position.checked_sub(u64::try_from(now.len()).unwrap_or(u64::MAX));
        let is_there = begin.is_some_and(|begin| contents.get_ref().read_exact_at(&mut now, begin).is_ok());
        if !(is_there && now == read) && contents.seek(SeekFrom::Start(0)).is_ok() {
            file.lines.forget();
        }
    }

    /// Remembers the end of what was read.
    fn remember(&mut self) {
        let Some(file) = &mut self.file else { return };
        let Contents::Plain(contents) = file.lines.get_mut() else { return };
        let mut end = || -> io::Result<Vec<u8>> {
            let position = contents.stream_position()?;
            let begin = position.saturating_sub(COMPARED);
            let mut read = vec![0; usize::try_from(position.saturating_sub(begin)).unwrap_or(0)];
            contents.get_ref().read_exact_at(&mut read, begin)?;
            Ok(read)
        };
        self.read = end().ok();
    }
}

/// The file itself, if it is not packed.
fn plain(file: &TextFile) -> Option<&std::fs::File> {
    match file.lines.get_ref() {
        Contents::Plain(file) => Some(file.get_ref()),
        Contents::Gzip(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;
    use std::path::Path;

    fn append(path: &Path, user: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{}", line(user)).unwrap();
    }

    fn line(user: &str) -> String {
        format!("2026-11-30T03:00:00Z h ykmap[1]: event=add user={user} by=ops tokens=none")
    }

    #[test]
    fn rotation() {
        let folder = tempfile::tempdir().unwrap();
        let [path, moved] = ["auth.log", "auth.log.1"].map(|name| folder.path().join(name));
        append(&path, "before");
        let mut tally = Tally::default();
        let mut open = TextFile::open(&path, &TimeZone::UTC).unwrap();
        assert!(open.next(true, &mut tally).is_some() && open.next(true, &mut tally).is_none());
        let mut followed = Followed::all(vec![path.clone()], vec![open]).pop().unwrap();
        let mut users = || {
            let next =
                || followed.next(&mut tally).map(|entry| String::from_utf8(entry.user.unwrap()).unwrap());
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        assert!(users().is_empty());
        append(&path, "a");
        append(&path, "b");
        assert_eq!(users(), ["a", "b"]);
        // Half a line.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        write!(file, "{}", &line("c")[..50]).unwrap();
        assert!(users().is_empty());
        writeln!(file, "{}", &line("c")[50..]).unwrap();
        assert_eq!(users(), ["c"]);
        // Renamed. The daemon still has it open.
        fs::rename(&path, &moved).unwrap();
        writeln!(file, "{}", line("d")).unwrap();
        assert_eq!(users(), ["d"]);
        append(&path, "e");
        writeln!(file, "{}", line("f")).unwrap();
        assert_eq!(users(), ["f", "e"]);
        writeln!(file, "{}", line("g")).unwrap();
        append(&path, "h");
        assert_eq!(users(), ["g", "h"]);
        // Emptied, and written to before anybody looks: shorter, longer, and as long.
        for named in ["i", "much-longer-name", "as-long-as-that-"] {
            fs::write(&path, line(named) + "\n").unwrap();
            assert_eq!(users(), [named]);
        }
        fs::write(&path, "").unwrap();
        assert!(users().is_empty());
        append(&path, "k");
        assert_eq!(users(), ["k"]);
        fs::remove_file(&path).unwrap();
        assert!(users().is_empty());
        append(&path, "l");
        assert_eq!(users(), ["l"]);
    }
}
