//! Which validation servers failed lately: a login asks them last for a while, so that a dead first server does not make
//! every login wait for it.
//!
//! It only orders servers. It leaves none out, and says nothing about what a server would have answered. So this is never a
//! fault: a file that is missing, damaged or somebody else's means that nothing is known.

#[cfg(test)]
mod tests;

use crate::file::{Audience, FileFault, Folders};
use data_encoding::HEXLOWER;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, getrlimit};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use yubiotp::ask::MAX_SERVERS;
use yubiotp::protocol::Server;

/// The file in the store.
pub const FAILED_SERVERS: &str = "failed-servers";

const KIND: &str = "# pam_yubiotp failed servers, version ";
const HEAD: &str = "# pam_yubiotp failed servers, version 1. Logins ask these validation servers last for a while. Made by logins, do not edit.\n";
const SUM: &str = "sum: ";
/// Digits of a time, so that every file is as long as every other.
const DIGITS: usize = 20;
/// Bytes of a server's hash.
const HASH: usize = 16;
/// Bytes of a row, its end included.
const ROW: usize = "server  failures  since  until \n".len() + 2 * HASH + 5 + 2 * DIGITS;
/// Bytes of the file. It is less than a page: a process that is killed leaves all of a write or nothing.
const LENGTH: usize = HEAD.len() + MAX_SERVERS * ROW + SUM.len() + 64 + 1;

/// How long a server is asked last after its first failure, in seconds. Each further failure doubles it.
const FIRST_PAUSE: u64 = 30;
/// The longest pause, in seconds.
const LONGEST_PAUSE: u64 = 3600;
/// So many seconds after a pause, the failures before it are forgotten.
const FORGOTTEN: u64 = 86_400;

/// The failures of one server, one after the other. Times are seconds since 1970, by this host's clock: the file outlives a
/// restart, and people read the times. A clock that is set ends a pause early or makes it an hour longer at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// How many.
    pub count: u16,
    /// When the first of them was.
    pub since: u64,
    /// Until when the server is asked last.
    pub until: u64,
}

impl Failures {
    const NONE: Self = Self { count: 0, since: 0, until: 0 };

    fn is_asked_last(&self, now: u64) -> bool {
        self.since <= now && now < self.until && self.until.saturating_sub(now) <= LONGEST_PAUSE
    }

    /// Whether they say anything still. Failures in the future are those of a clock that was wrong.
    fn counts(&self, now: u64) -> bool {
        self.count > 0 && self.since <= now && now < self.until.saturating_add(FORGOTTEN)
    }

    fn and_another(&self, now: u64) -> Self {
        let earlier = if self.counts(now) { *self } else { Self { since: now, ..Self::NONE } };
        let doubled = FIRST_PAUSE.checked_shl(earlier.count.into()).unwrap_or(LONGEST_PAUSE);
        let until = now.saturating_add(doubled.min(LONGEST_PAUSE));
        Self { count: earlier.count.saturating_add(1), until, ..earlier }
    }
}

/// The servers that failed lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailedServers(Vec<([u8; HASH], Failures)>);

impl FailedServers {
    /// Those that the logins of this store noted. Nothing, if that cannot be read.
    #[must_use]
    pub fn read(folders: &Folders, store: &Path) -> Self {
        let limit = u64::try_from(LENGTH).unwrap_or(u64::MAX);
        let text =
            folders.folder(store).and_then(|folder| folder.read(FAILED_SERVERS, limit, Audience::Everyone));
        text.ok().and_then(|text| Self::parse(&text)).unwrap_or_default()
    }

    /// The failures of a server that is asked last now; `None` if it is asked in its place.
    #[must_use]
    pub fn asked_last(&self, server: &Server, now: u64) -> Option<Failures> {
        let hash = hash_of(server);
        let row = self.0.iter().find(|(of, _)| *of == hash);
        row.map(|(_, failures)| *failures).filter(|failures| failures.is_asked_last(now))
    }

    /// All of these servers in the order of asking: those that failed come behind the others.
    #[must_use]
    pub fn order(&self, servers: &[Server], now: u64) -> Vec<Server> {
        let (last, first): (Vec<_>, Vec<_>) =
            servers.iter().cloned().partition(|server| self.asked_last(server, now).is_some());
        first.into_iter().chain(last).collect()
    }

    /// What the log says of the order, if it is another than that of the settings.
    #[must_use]
    pub fn notes(&self, servers: &[Server], now: u64) -> Vec<String> {
        if self.order(servers, now) == servers {
            return Vec::new();
        }
        let failed = servers.iter().filter_map(|server| Some((server, self.asked_last(server, now)?)));
        failed
            .map(|(server, Failures { count, since, .. })| {
                let ago = now.saturating_sub(since);
                match count {
                    1 => format!("{server} is asked last: it failed {ago} s ago"),
                    _ => format!("{server} is asked last: it failed {count} times in {ago} s"),
                }
            })
            .collect()
    }

    /// Takes in how a server did. During a pause, a failure says nothing new.
    fn take(&mut self, server: &Server, has_failed: bool, now: u64) {
        let hash = hash_of(server);
        let earlier =
            self.0.iter().find(|(of, _)| *of == hash).map_or(Failures::NONE, |(_, failures)| *failures);
        if has_failed && earlier.is_asked_last(now) {
            return;
        }
        self.0.retain(|(of, failures)| *of != hash && failures.counts(now));
        if has_failed {
            if self.0.len() >= MAX_SERVERS
                && let Some(oldest) =
                    (0..self.0.len()).min_by_key(|at| self.0.get(*at).map(|(_, it)| it.until))
            {
                self.0.remove(oldest);
            }
            self.0.push((hash, earlier.and_another(now)));
        }
    }

    /// Notes how these servers did, for the next login: `true` is a failure. Nobody waits: not for a lock, for of two logins at
    /// once one may be forgotten; not for the disk, for what a power cut takes is nothing known. Only a user who can write to
    /// the store can write here. That it cannot be written is nobody's concern.
    pub(super) fn note(folders: &Folders, store: &Path, seen: &[(&Server, bool)], now: u64) {
        let _ = Self::try_to_note(folders, store, seen, now);
    }

    fn try_to_note(
        folders: &Folders,
        store: &Path,
        seen: &[(&Server, bool)],
        now: u64,
    ) -> Result<(), FileFault> {
        let folder = folders.folder(store)?;
        let after = |mut known: Self| {
            seen.iter().for_each(|(server, has_failed)| known.take(server, *has_failed, now));
            known
        };
        let (file, stat) = match folder.file_and_stat(FAILED_SERVERS, OFlags::RDWR, Audience::Everyone) {
            Err(FileFault::Missing(_)) => {
                let known = after(Self::default());
                if !known.0.is_empty() && may_write() {
                    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
                    folder.create(FAILED_SERVERS, known.text().as_bytes(), mode)?;
                }
                return Ok(());
            }
            opened => opened?,
        };
        let fault = |why| FileFault::system(&store.join(FAILED_SERVERS), "read or write", why);
        let mut text = [0; LENGTH];
        let length = file.read_at(&mut text, 0).map_err(fault)?;
        let is_whole = usize::try_from(stat.st_size) == Ok(LENGTH);
        let known = text.get(..length).filter(|_| is_whole).and_then(Self::parse);
        if known.is_none() && is_of_later_version(&text) {
            return Ok(());
        }
        let next = after(known.clone().unwrap_or_default());
        if known.as_ref() == Some(&next) || !may_write() {
            return Ok(());
        }
        if !is_whole {
            file.set_len(u64::try_from(LENGTH).unwrap_or(0)).map_err(fault)?;
        }
        file.write_all_at(next.text().as_bytes(), 0).map_err(fault)
    }

    fn text(&self) -> String {
        let mut text = String::with_capacity(LENGTH);
        text.push_str(HEAD);
        let none = ([0; HASH], Failures::NONE);
        for (hash, Failures { count, since, until }) in
            self.0.iter().chain(std::iter::repeat(&none)).take(MAX_SERVERS)
        {
            let hash = HEXLOWER.encode(hash);
            let _ = writeln!(
                text,
                "server {hash} failures {count:05} since {since:0DIGITS$} until {until:0DIGITS$}"
            );
        }
        let sum = HEXLOWER.encode(&Sha256::digest(&text));
        text + SUM + &sum + "\n"
    }

    /// `None` if it is not a text that [`Self::text`] makes.
    fn parse(text: &[u8]) -> Option<Self> {
        let rows = str::from_utf8(text).ok()?.strip_prefix(HEAD)?.lines().take(MAX_SERVERS);
        let rows = rows.map(|row| {
            let words: Vec<_> = row.split(' ').collect();
            let ["server", hash, "failures", count, "since", since, "until", until] = words[..] else {
                return None;
            };
            let hash = HEXLOWER.decode(hash.as_bytes()).ok()?.try_into().ok()?;
            let (since, until) = (since.parse().ok()?, until.parse().ok()?);
            Some((hash, Failures { count: count.parse().ok()?, since, until }))
        });
        let mut known = Self(rows.collect::<Option<_>>()?);
        known.0.retain(|(_, failures)| failures.count > 0);
        (known.text().as_bytes() == text).then_some(known)
    }
}

fn hash_of(server: &Server) -> [u8; HASH] {
    let digest = Sha256::digest(server.address());
    let mut hash = [0; HASH];
    hash.iter_mut().zip(digest).for_each(|(to, byte)| *to = byte);
    hash
}

/// Whether it begins like this file, and a later program may know more of it.
fn is_of_later_version(text: &[u8]) -> bool {
    text.starts_with(KIND.as_bytes()) && !text.starts_with(HEAD.as_bytes())
}

/// Whether the kernel lets this process write so much: else it would kill the application with SIGXFSZ.
fn may_write() -> bool {
    getrlimit(Resource::Fsize).current.is_none_or(|limit| limit >= LENGTH as u64)
}
