//! The lines of the user file.

use super::PARAMETERS;
use crate::user::UserName;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Params, Version};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// The most memory that a hash of the file may take, in KiB: 1 GiB.
const MOST_MEMORY: u32 = 1 << 20;

/// The most passes and lanes of a hash of the file.
const MOST_PASSES: u32 = 64;

/// The longest name of a group, in bytes.
const MOST_GROUP: usize = 64;

/// A user of the file.
pub(super) struct Entry {
    pub(super) hash: PasswordHash,
    pub(super) groups: Vec<String>,
}

/// All users of the file.
pub(super) struct Users {
    users: BTreeMap<UserName, Entry>,
    /// What is compared for whoever is not in it: as costly as the costliest of them, so that nobody can tell.
    nobody: PasswordHash,
    /// The memory that the largest hash takes, in blocks of 1 KiB.
    most_blocks: usize,
}

/// A user's line of the file.
pub(super) struct Line<'a> {
    pub(super) name: UserName,
    pub(super) entry: Entry,
    /// The groups as they are written.
    pub(super) groups: Option<&'a str>,
}

impl Line<'_> {
    /// Reads a line, without its end, or says what is wrong with it; `None`: it is empty, or a comment.
    pub(super) fn read(line: &[u8]) -> Result<Option<Line<'_>>, &'static str> {
        let line = str::from_utf8(line).map_err(|_| "is not UTF-8")?.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let mut fields = line.split(':');
        let (name, hash) = (fields.next().unwrap_or_default(), fields.next().ok_or("has no hash")?);
        let (written, rest) = (fields.next(), fields.next());
        if rest.is_some() {
            return Err("has more than user, hash and groups");
        }
        let name = UserName::parse(name).map_err(|_| "does not begin with the name of a user")?;
        let groups = written.unwrap_or_default().split(',').filter(|group| !group.is_empty());
        let groups: Vec<String> = groups.map(str::to_owned).collect();
        if !groups.iter().all(|group| is_group(group)) {
            return Err("has a group that is no name");
        }
        Ok(Some(Line { name, entry: Entry { hash: read_hash(hash)?, groups }, groups: written }))
    }
}

/// Whether a group can be named in the file, and in a header: letters, digits and `._@+-`, and blanks inside.
pub(super) fn is_group(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+- ".contains(&byte);
    (1..=MOST_GROUP).contains(&name.len()) && name.trim() == name && name.bytes().all(is_plain)
}

fn read_hash(text: &str) -> Result<PasswordHash, &'static str> {
    let hash =
        PasswordHash::new(text).map_err(|_| "has no hash in the PHC string format ($argon2id$v=19$…)")?;
    if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) {
        return Err("has a hash of another kind than argon2id, version 19");
    }
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err("has a hash without salt or without its end");
    }
    let parameters =
        Params::try_from(&hash).map_err(|_| "has a hash with parameters that argon2id does not take")?;
    let is_sane = parameters.m_cost() <= MOST_MEMORY
        && parameters.t_cost() <= MOST_PASSES
        && parameters.p_cost() <= MOST_PASSES;
    if is_sane { Ok(hash) } else { Err("has a hash that takes more than 1 GiB, 64 passes or 64 lanes") }
}

impl Users {
    /// Reads the whole file.
    pub(super) fn read(path: &Path, text: &[u8]) -> Result<Self, Diagnostic> {
        let mut users = BTreeMap::new();
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let fault = |problem: &str| invalid(path, at, problem);
            if let Some(Line { name, entry, .. }) = Line::read(line).map_err(fault)?
                && users.insert(name, entry).is_some()
            {
                return Err(fault("has a user who is on another line, too"));
            }
        }
        let all: Vec<_> =
            users.values().filter_map(|entry: &Entry| Params::try_from(&entry.hash).ok()).collect();
        let costliest = all.iter().max_by_key(|of| u64::from(of.m_cost()).saturating_mul(of.t_cost().into()));
        let parameters = costliest.unwrap_or(&PARAMETERS);
        let nobody = nobody(parameters)
            .map_err(|why| Diagnostic::error(Code::InternalError, format!("argon2id: {why}")))?;
        let most_blocks =
            all.iter().map(Params::block_count).max().unwrap_or_else(|| PARAMETERS.block_count());
        Ok(Self { users, nobody, most_blocks })
    }

    pub(super) fn find(&self, user: &UserName) -> Option<&Entry> {
        self.users.get(user)
    }

    /// What is compared for whoever is not here. What comes of it is not looked at.
    pub(super) const fn nobody(&self) -> &PasswordHash {
        &self.nobody
    }

    /// The memory that the largest hash takes, in blocks of 1 KiB.
    pub(super) const fn most_blocks(&self) -> usize {
        self.most_blocks
    }
}

/// A hash of these parameters that is of no password: an output of zeros.
fn nobody(parameters: &Params) -> Result<PasswordHash, argon2::password_hash::Error> {
    Ok(PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(parameters)?,
        salt: Some(Salt::new(&[0; 16])?),
        hash: Some(Output::new(&[0; 32])?),
    })
}

/// The finding about a line, counted from 0.
pub(super) fn invalid(path: &Path, at: usize, problem: &str) -> Diagnostic {
    Diagnostic::error(Code::PasswordFileInvalid, problem)
        .at(Location::line(path.as_os_str().as_bytes(), at.saturating_add(1)))
}
