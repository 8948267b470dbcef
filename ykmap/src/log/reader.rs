//! The logs of a host as one, oldest line first.

use super::entry::{Entry, Sender};
use super::files::{self, Followed, Found, TextFile};
use super::journal::{self, Journal};
use super::tally::{Span, Tally};
use crate::Failure;
use clap::ValueHint;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Code, Diagnostic};

/// Which logs to read.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Logs {
    /// Read the journal in this folder, in place of the logs of this host
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) journal: Option<PathBuf>,
    /// Read this syslog file, which may be a .gz, in place of the logs of this host; may be given several times
    #[arg(long = "file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Show lines of processes without rights, too, which any user of the host can have written
    #[arg(long)]
    pub(crate) unverified: bool,
}

/// From when to when.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Period {
    /// This time, and later.
    pub(crate) since: Option<Timestamp>,
    /// Before this time.
    pub(crate) until: Option<Timestamp>,
}

impl Period {
    fn contains(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }
}

/// Reads the entries of a period. What cannot be read is left out, and [`Reader::remarks`] says so.
pub(crate) struct Reader {
    files: VecDeque<TextFile>,
    /// Files that are read to their end, and that are written to.
    live: Vec<TextFile>,
    /// The names of files that are written to: that of this host's log, or all that are named.
    live_paths: Vec<PathBuf>,
    /// Whether they are followed later, so that they stay open.
    is_followed: bool,
    /// Files are read up to here, where the journal begins.
    files_until: Option<Timestamp>,
    journal: Option<Journal>,
    logs: Logs,
    period: Period,
    tally: Tally,
}

impl Reader {
    /// Opens the logs: those that are named, else the journal of this host, and its syslog files for the time before the journal.
    ///
    /// # Errors
    /// There is no log, or one that is named cannot be read.
    pub(crate) fn open(logs: &Logs, period: Period) -> Result<Self, Failure> {
        let mut tally = Tally::default();
        let is_named = logs.journal.is_some() || !logs.files.is_empty();
        let folder = logs.journal.as_deref();
        let span = match (is_named, folder) {
            (_, Some(_)) => journal::span(folder)?,
            (false, None) if journal::exists() => journal::span(None).unwrap_or_else(|found| {
                tally.fault(found);
                None
            }),
            _ => None,
        };
        let found = match is_named {
            true => Found { paths: logs.files.clone(), ..Found::default() },
            false => files::found(&files::USUAL).unwrap_or_default(),
        };
        let live_paths = if is_named { logs.files.clone() } else { found.live.iter().cloned().collect() };
        if span.is_none() && found.paths.is_empty() {
            return Err(missing(folder, tally));
        }
        let mut reader = Self {
            files: VecDeque::new(),
            live: Vec::new(),
            live_paths,
            is_followed: false,
            files_until: span.map(|(first, _)| first),
            journal: None,
            period,
            logs: logs.clone(),
            tally,
        };
        reader.open_files(found, is_named)?;
        if !is_named && !rustix::process::geteuid().is_root() {
            let what = "only what you may read of the logs of this host is read";
            reader.tally.fault(
                Diagnostic::note(Code::NotRoot, what).advise("run the command as root to read all of it"),
            );
        }
        if let Some((first, last)) = span {
            reader.journal = Some(Journal::open(folder, period, None)?);
            let source = folder.map_or_else(|| "journal".to_owned(), |folder| folder.display().to_string());
            reader.tally.spans.push(Span { source, from: Some(first), to: Some(last) });
        }
        Ok(reader)
    }

    /// Keeps the place to go on from, for [`follow`](Self::follow).
    pub(super) const fn followed_later(mut self) -> Self {
        self.is_followed = true;
        self
    }

    /// Goes on where it came to the end, with what is logged from now on.
    ///
    /// # Errors
    /// A log cannot be read any more.
    pub(super) fn follow(self) -> Result<Follower, Failure> {
        let Self { live, live_paths, journal, logs, period, .. } = self;
        let (journal, files) = match journal {
            Some(journal) => {
                let from = journal.cursor().map(str::to_owned);
                (Some(Journal::open(logs.journal.as_deref(), period, Some(from.as_deref()))?), Vec::new())
            }
            None => (None, Followed::all(live_paths, live)),
        };
        Ok(Follower { journal, files, logs, tally: Tally::default() })
    }

    /// Opens files, and puts them in order.
    fn open_files(&mut self, found: Found, is_named: bool) -> Result<(), Failure> {
        let zone = TimeZone::system();
        found.remarks.into_iter().for_each(|found| self.tally.fault(found));
        let mut files = Vec::new();
        for path in found.paths {
            match TextFile::open(&path, &zone) {
                Ok(file) => files.push(file),
                Err(why) if is_named => return Err(files::unreadable(&path, &why).into()),
                Err(why) => self.tally.fault(files::unreadable(&path, &why)),
            }
        }
        files.sort_by_key(|file| file.first);
        self.files = files.into();
        Ok(())
    }

    /// What was noticed so far.
    pub(crate) fn remarks(&self) -> Vec<Diagnostic> {
        self.tally.remarks()
    }

    /// The time that the logs cover, each one. Complete after the last entry.
    pub(crate) fn spans(&self) -> &[Span] {
        &self.tally.spans
    }

    /// The next line of a file, or of the journal.
    fn next_line(&mut self) -> Option<Entry> {
        while let Some(file) = self.files.front_mut() {
            let is_live = self.is_followed && self.live_paths.contains(&file.path);
            if let Some(entry) = file.next(is_live, &mut self.tally) {
                // A file may have whole seconds only.
                if self.files_until.is_none_or(|until| entry.time.as_second() < until.as_second()) {
                    return Some(entry);
                }
                continue;
            }
            if let Some(file) = self.files.pop_front() {
                let source = file.path.display().to_string();
                self.tally.spans.push(Span { source, from: file.first, to: file.last });
                self.live.extend(is_live.then_some(file));
            }
        }
        self.journal.as_mut()?.next(&mut self.tally)
    }
}

impl Iterator for Reader {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            let entry = self.next_line()?;
            if self.period.contains(entry.time) && is_trusted(&entry, &self.logs, &mut self.tally) {
                return Some(entry);
            }
        }
    }
}

/// Whether an entry is shown; if not, it is counted.
fn is_trusted(entry: &Entry, logs: &Logs, tally: &mut Tally) -> bool {
    let is_trusted = !matches!(entry.sender, Sender::User(_)) || logs.unverified;
    if !is_trusted {
        tally.by_user(entry.sender);
    }
    is_trusted
}

/// The entries that are logged from now on.
pub(super) struct Follower {
    journal: Option<Journal>,
    files: Vec<Followed>,
    logs: Logs,
    tally: Tally,
}

impl Follower {
    /// The next entry that is there already.
    pub(super) fn next(&mut self) -> Option<Entry> {
        loop {
            let Self { journal, files, logs, tally } = self;
            let entry = match journal {
                Some(journal) => journal.next(tally)?,
                None => files.iter_mut().find_map(|file| file.next(tally))?,
            };
            if is_trusted(&entry, logs, tally) {
                return Some(entry);
            }
        }
    }

    /// What can be waited for. Files are looked at again and again.
    pub(super) fn readable(&self) -> Option<BorrowedFd<'_>> {
        self.journal.as_ref().map(Journal::readable)
    }

    /// Whether nothing comes any more.
    pub(super) fn has_ended(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::has_ended)
    }

    /// What was noticed so far.
    pub(super) fn remarks(&self) -> Vec<Diagnostic> {
        self.tally.remarks()
    }
}

/// The finding that there is nothing to read.
fn missing(folder: Option<&Path>, tally: Tally) -> Failure {
    if let Some(found) = tally.remarks().into_iter().next() {
        return found.into();
    }
    let what = match folder {
        Some(folder) => format!("{} holds no journal", folder.display()),
        None => format!("this host has no journal, and none of {}", files::USUAL.join(", ")),
    };
    Diagnostic::error(Code::LogMissing, what)
        .advise("name the folder of a journal with --journal DIR, or syslog files with --file FILE")
        .into()
}
