//! Text files that a syslog daemon wrote.

mod followed;
mod found;
mod stamp;

pub(super) use followed::Followed;
pub(super) use found::{Found, USUAL, found};

use super::entry::{self, Entry, Message, Origin, Sender};
use super::lines::{Line, Lines};
use super::tally::Tally;
use flate2::bufread::MultiGzDecoder;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rustix::fs::{CWD, Mode, OFlags};
use stamp::{Calendar, Stamp, head};
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Code, Diagnostic, Location, cause};

/// The contents of a file.
pub(super) enum Contents {
    Plain(BufReader<File>),
    Gzip(Box<BufReader<MultiGzDecoder<BufReader<File>>>>),
}

impl Contents {
    fn buffered(&mut self) -> &mut dyn BufRead {
        match self {
            Self::Plain(file) => file,
            Self::Gzip(file) => file,
        }
    }
}

impl Read for Contents {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.buffered().read(buffer)
    }
}

impl BufRead for Contents {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(file) => file.fill_buf(),
            Self::Gzip(file) => file.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        self.buffered().consume(amount);
    }
}

/// A file that is read line by line.
pub(super) struct TextFile {
    pub(super) path: PathBuf,
    lines: Lines<Contents>,
    calendar: Calendar,
    /// The time of the first line that has one.
    pub(super) first: Option<Timestamp>,
    /// The time of the last line that was read.
    pub(super) last: Option<Timestamp>,
}

/// What a finding says of a file.
pub(super) fn unreadable(path: &Path, why: &io::Error) -> Diagnostic {
    let found = match why.kind() {
        io::ErrorKind::NotFound => Diagnostic::error(Code::FileMissing, "does not exist")
            .advise("check its name; without --file, the logs of this host are read"),
        io::ErrorKind::InvalidInput => {
            Diagnostic::error(Code::FileInaccessible, format!("cannot read: {}", cause(why)))
                .advise("name a syslog file with --file, or the folder of a journal with --journal")
        }
        io::ErrorKind::PermissionDenied => {
            Diagnostic::error(Code::FileInaccessible, format!("cannot read: {}", cause(why)))
                .advise("run the command as root, or as a user who may read the file")
        }
        _ => Diagnostic::error(Code::FileInaccessible, format!("cannot read: {}", cause(why)))
            .advise("look at the file and its disk"),
    };
    found.at(Location::file(path.as_os_str().as_bytes()))
}

fn contents(path: &Path) -> io::Result<(Contents, Metadata)> {
    // A named pipe must not keep the command waiting.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::openat(CWD, path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut file = BufReader::with_capacity(64 << 10, file);
    let contents = if file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        Contents::Gzip(Box::new(BufReader::with_capacity(64 << 10, MultiGzDecoder::new(file))))
    } else {
        Contents::Plain(file)
    };
    Ok((contents, metadata))
}

impl TextFile {
    /// Opens a file, and finds out when it begins: lines of RFC 3164 have no year, so that such a file is read twice. Its last
    /// line is then not later than its last change.
    pub(super) fn open(path: &Path, zone: &TimeZone) -> io::Result<Self> {
        let (contents, metadata) = contents(path)?;
        let (first, year) = survey(Lines::new(contents), &metadata, zone);
        let calendar = Calendar::new(year, zone.clone());
        let first = first.and_then(|stamp| calendar.clone().time(stamp));
        let lines = Lines::new(self::contents(path)?.0);
        Ok(Self { path: path.to_owned(), lines, calendar, first, last: None })
    }

    /// The next entry; `None` at the end of the file. If the file is `live`, a last line without an end may go on later.
    pub(super) fn next(&mut self, live: bool, tally: &mut Tally) -> Option<Entry> {
        loop {
            match self.lines.next() {
                Ok(Line::Whole(line)) => {
                    let entry = take_apart(line, &mut self.calendar, &mut self.last, &self.path, tally);
                    if entry.is_some() {
                        return entry;
                    }
                }
                // Ours are shorter.
                Ok(Line::TooLong) => {}
                Ok(Line::End) => return if live { None } else { self.rest() },
                Err(why) => {
                    tally.fault(unreadable(&self.path, &why));
                    return None;
                }
            }
        }
    }

    /// The last line of a file that does not end with a line's end. It may be half written: it is no mistake then.
    fn rest(&mut self) -> Option<Entry> {
        let Self { path, lines, calendar, last, .. } = self;
        let line = lines.unfinished()?;
        take_apart(line, calendar, last, path, &mut Tally::default())
    }
}

/// The entry of a line, if it is one of ours.
fn take_apart(
    line: &[u8],
    calendar: &mut Calendar,
    last: &mut Option<Timestamp>,
    path: &Path,
    tally: &mut Tally,
) -> Option<Entry> {
    let line = String::from_utf8_lossy(line);
    let head = head(&line);
    let Some(head) = head else {
        if line.contains(entry::MODULE) {
            tally.invalid(path.display());
        }
        return None;
    };
    let time = calendar.time(head.stamp);
    *last = time.or(*last);
    if !entry::may_be_ours(head.program, head.message) {
        return None;
    }
    let Some(time) = time else {
        tally.invalid(path.display());
        return None;
    };
    let origin = Origin { time, host: head.host.to_owned(), sender: Sender::File };
    match entry::read(origin, head.program, head.message) {
        Message::Entry(entry) => Some(*entry),
        Message::Other => None,
        Message::Invalid => {
            tally.invalid(path.display());
            None
        }
    }
}

/// The first stamp of a file, and the year of it. What cannot be read is said when it is read again.
fn survey(mut lines: Lines<Contents>, metadata: &Metadata, zone: &TimeZone) -> (Option<Stamp>, i16) {
    /// Lines without a year are counted from here. It is a leap year.
    const BASE: i16 = 2000;
    let changed =
        metadata.modified().ok().and_then(|at| Timestamp::try_from(at).ok()).unwrap_or_else(Timestamp::now);
    let changed = zone.to_datetime(changed);
    let mut calendar = Calendar::new(BASE, zone.clone());
    let mut first = None;
    while let Ok(line @ (Line::Whole(_) | Line::TooLong)) = lines.next() {
        let Line::Whole(line) = line else { continue };
        let line = String::from_utf8_lossy(line);
        let Some(stamp) = head(&line).map(|head| head.stamp) else { continue };
        first.get_or_insert(stamp);
        if !matches!(stamp, Stamp::NoYear { .. }) {
            // What follows counts from it.
            break;
        }
        calendar.time(stamp);
    }
    let years = calendar.year().saturating_sub(BASE);
    // The last line is of the year of the last change, or of the year before that.
    let last = calendar.last();
    let is_later = |year: i16| {
        let last = last.with().year(year).build().or_else(|_| last.with().year(year).day(28).build());
        last.is_ok_and(|last| changed.checked_add(Span::new().days(1)).is_ok_and(|changed| last > changed))
    };
    let year = changed.year();
    let year = if is_later(year) { year.saturating_sub(1) } else { year };
    (first, year.saturating_sub(years))
}
