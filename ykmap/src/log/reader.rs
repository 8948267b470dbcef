//! The logs of a host as one, oldest line first.

use super::entry::{Entry, Sender};
use super::files::{self, Found, TextFile};
use super::journal::{self, Journal};
use super::tally::{Span, Tally};
use crate::Failure;
use clap::ValueHint;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, VecDeque};
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
    /// Files are read up to here, where the journal begins.
    files_until: Option<Timestamp>,
    journal: Option<Journal>,
    period: Period,
    unverified: bool,
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
            true => Found { paths: logs.files.clone(), remarks: Vec::new() },
            false => files::found(&files::USUAL).unwrap_or_default(),
        };
        if span.is_none() && found.paths.is_empty() {
            return Err(missing(folder, tally));
        }
        let mut reader = Self {
            files: VecDeque::new(),
            files_until: span.map(|(first, _)| first),
            journal: None,
            period,
            unverified: logs.unverified,
            tally,
        };
        reader.open_files(found, is_named)?;
        if let Some((first, last)) = span {
            let query = journal::Query {
                folder: logs.journal.clone(),
                since: period.since,
                until: period.until,
                follow: false,
            };
            reader.journal = Some(Journal::open(&query)?);
            let source = folder.map_or_else(|| "journal".to_owned(), |folder| folder.display().to_string());
            reader.tally.spans.push(Span { source, from: Some(first), to: Some(last) });
        }
        Ok(reader)
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
            if let Some(entry) = file.next(&mut self.tally) {
                // A file may have whole seconds only.
                if self.files_until.is_none_or(|until| entry.time.as_second() < until.as_second()) {
                    return Some(entry);
                }
                continue;
            }
            if let Some(file) = self.files.pop_front() {
                let source = file.path().display().to_string();
                self.tally.spans.push(Span { source, from: file.first, to: file.last });
            }
        }
        let entry = self.journal.as_mut()?.next(&mut self.tally);
        if entry.is_none() {
            self.journal = None;
        }
        entry
    }
}

impl Iterator for Reader {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            let entry = self.next_line()?;
            if !self.period.contains(entry.time) {
                continue;
            }
            if matches!(entry.sender, Sender::User(_)) && !self.unverified {
                self.tally.by_user(entry.sender);
                continue;
            }
            return Some(entry);
        }
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

/// The end of a log, and the last time that each token was used.
pub(crate) struct Latest {
    /// The last entries, oldest first.
    pub(crate) last: VecDeque<Entry>,
    /// The last entry that says accepted, for each token as the log names it.
    pub(crate) accepted: BTreeMap<String, Entry>,
    /// What is not in the log, or not to be trusted.
    pub(crate) remarks: Vec<Diagnostic>,
    /// The time that the logs cover.
    pub(crate) spans: Vec<Span>,
}

impl Latest {
    /// Reads all of a log once, and keeps `count` entries that are `wanted`.
    pub(crate) fn read(mut reader: Reader, count: usize, wanted: impl Fn(&Entry) -> bool) -> Self {
        let (mut last, mut accepted) = (VecDeque::new(), BTreeMap::new());
        for entry in &mut reader {
            if entry.outcome == super::Outcome::Accepted {
                for token in &entry.tokens {
                    accepted.insert(token.clone(), entry.clone());
                }
            }
            if count > 0 && wanted(&entry) {
                if last.len() >= count {
                    last.pop_front();
                }
                last.push_back(entry);
            }
        }
        Self { last, accepted, remarks: reader.remarks(), spans: reader.spans().to_vec() }
    }
}
