//! Changes of the user file, by commands: the whole file is replaced, and what is in its place is on the disk.

use super::entry::{Line, Users, invalid, is_group};
use super::{MOST_BYTES, PARAMETERS, hasher};
use crate::user::UserName;
use argon2::password_hash::PasswordHasher as _;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use ykserve::file::{self, location};
use ykserve::random;
use yubiotp::diagnostic::{Code, Diagnostic, cause};
use yubiotp::password::MAX_PASSWORD;
use zeroize::Zeroizing;

/// The mode of a new file: its owner writes it, and the group of its folder reads it.
const MODE: u32 = 0o640;

/// How long to wait for another command that changes it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The user is new.
    Added,
    /// The user was there.
    Replaced,
}

/// Gives a user a password, and creates user and file if they are not there. `groups`: the user's groups from now on; those
/// that they had, if `None`.
///
/// # Errors
/// The file cannot be used or written, the password is empty, longer than 1,024 bytes or has a NUL in it, or a group has
/// another character in it than letters, digits, `._@+-` and blanks inside. The file is as it was.
pub fn set_password(
    path: &Path,
    user: &UserName,
    password: &[u8],
    groups: Option<&[String]>,
) -> Result<Changed, Diagnostic> {
    let bad = |problem: String| Err(Diagnostic::error(Code::InputInvalid, problem));
    if password.is_empty() || password.len() > MAX_PASSWORD || password.contains(&0) {
        return bad(format!("a password has 1 to {MAX_PASSWORD} bytes, and no NUL in it"));
    }
    if let Some(group) = groups.unwrap_or_default().iter().find(|group| !is_group(group)) {
        return bad(format!(
            "{group:?} is not the name of a group: letters, digits, ._@+- and blanks inside"
        ));
    }
    let salt = random::bytes::<16>()?;
    let hash = hasher(PARAMETERS)
        .hash_password_with_salt(password, &salt)
        .map_err(|why| Diagnostic::error(Code::InternalError, format!("argon2id: {why}")))?;
    let groups = groups.map(|groups| groups.join(","));
    let line = |had: Option<&str>| {
        let groups = groups.as_deref().or(had).filter(|groups| !groups.is_empty());
        let groups = groups.map(|groups| format!(":{groups}")).unwrap_or_default();
        Some(format!("{user}:{hash}{groups}"))
    };
    change(path, user, line)
}

/// Removes a user. `false`: there was none.
///
/// # Errors
/// The file cannot be used or written. It is as it was.
pub fn remove(path: &Path, user: &UserName) -> Result<bool, Diagnostic> {
    let _lock = lock(path)?;
    let is_there = match old(path)? {
        Some(text) => Users::read(path, &text)?.find(user).is_some(),
        None => false,
    };
    if is_there {
        write(path, user, |_| None)?;
    }
    Ok(is_there)
}

fn change(
    path: &Path,
    user: &UserName,
    line: impl Fn(Option<&str>) -> Option<String>,
) -> Result<Changed, Diagnostic> {
    let _lock = lock(path)?;
    write(path, user, line)
}

/// Keeps other commands from changing the file. Released when dropped.
fn lock(path: &Path) -> Result<OwnedFd, Diagnostic> {
    // Not the folder: an open store has a lock on it.
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let fault = |why: &dyn std::fmt::Display| {
        Diagnostic::error(Code::FileInaccessible, format!("cannot lock it: {why}")).at(location(&name))
    };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let lock = open(&name, flags, Mode::RUSR | Mode::WUSR).map_err(|why| fault(&cause(&why)))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            Err(Errno::WOULDBLOCK) => return Err(fault(&"another command changes the passwords")),
            Err(why) => return Err(fault(&cause(&why))),
        }
    }
}

/// The text of the file; `None`: there is none.
fn old(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Diagnostic> {
    match file::read_replaced(path, MOST_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(fault) if fault.is_missing() => Ok(None),
        Err(fault) => Err(fault.diagnostic()),
    }
}

/// Writes the file with another line of this user, made of the groups that they had. Comments stay.
fn write(
    path: &Path,
    user: &UserName,
    line: impl Fn(Option<&str>) -> Option<String>,
) -> Result<Changed, Diagnostic> {
    let old = old(path)?;
    let text = old.as_deref().map(Vec::as_slice).unwrap_or_default();
    let mut new = Zeroizing::new(Vec::with_capacity(text.len().saturating_add(512)));
    let mut put = |line: &[u8]| {
        new.extend_from_slice(line);
        new.push(b'\n');
    };
    let mut changed = Changed::Added;
    for (at, old) in text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n').enumerate() {
        match Line::read(old).map_err(|problem| invalid(path, at, problem))? {
            Some(Line { name, groups, .. }) if name == *user => {
                changed = Changed::Replaced;
                if let Some(line) = line(groups) {
                    put(line.as_bytes());
                }
            }
            None if text.is_empty() => {}
            _ => put(old),
        }
    }
    if changed == Changed::Added
        && let Some(line) = line(None)
    {
        put(line.as_bytes());
    }
    // What is written can be read.
    Users::read(path, &new)?;
    if old.is_some() {
        file::replace_like(path, &new)?
    } else {
        file::replace(path, &new, MODE)?
    }
    Ok(changed)
}
