//! The user file: users of this program, with hashes of their passwords.
//!
//! A line is `user:hash` or `user:hash:group,group`. The hash is argon2id in the PHC string format. `#` begins a comment.

mod change;
mod entry;
mod hashers;
#[cfg(test)]
mod tests;

pub use change::{Changed, remove, set_password};

use super::PasswordVerdict;
use crate::user::UserName;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use entry::Users;
use hashers::{Hashers, Memory};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use subtle::ConstantTimeEq as _;
use ykserve::file::{self, Audience};
use yubiotp::diagnostic::Diagnostic;
use yubiotp::password::MAX_PASSWORD;
use zeroize::Zeroizing;

/// The most bytes of the file: some 10,000 users.
const MOST_BYTES: u64 = 2 << 20;

/// The parameters of new hashes, which OWASP recommends as a minimum: argon2id with 19 MiB, two passes and one lane.
const PARAMETERS: Params = Params::DEFAULT;

/// The file, which is read again when it has changed.
pub struct UserFile {
    shared: Arc<Shared>,
    hashers: Hashers,
}

struct Shared {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Arc<Users>)>>,
}

/// What of a file changes with its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp([i64; 2], [u64; 3], [i64; 2]);

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let is = std::fs::metadata(path).ok()?;
        Some(Self(
            [is.mtime(), is.mtime_nsec()],
            [is.dev(), is.ino(), is.size()],
            [is.ctime(), is.ctime_nsec()],
        ))
    }
}

impl UserFile {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, belongs to somebody else, or a line of it is wrong; or no thread can be started.
    pub fn open(path: PathBuf) -> Result<Self, Diagnostic> {
        let shared = Shared { path, read: Mutex::new(None) };
        shared.users()?;
        Ok(Self { shared: Arc::new(shared), hashers: Hashers::start()? })
    }

    /// Decides about a password.
    ///
    /// # Errors
    /// The file cannot be used any more, or too many wait.
    pub async fn check(
        &self,
        user: &UserName,
        password: &Zeroizing<Vec<u8>>,
    ) -> Result<PasswordVerdict, Diagnostic> {
        if password.len() > MAX_PASSWORD {
            return Ok(PasswordVerdict::Wrong);
        }
        let (shared, user, password) = (Arc::clone(&self.shared), user.clone(), password.clone());
        self.hashers.run(move |memory| shared.users()?.check(&user, &password, memory)).await?
    }
}

impl Shared {
    /// The users of the file as it is now.
    fn users(&self) -> Result<Arc<Users>, Diagnostic> {
        // Before it is read: what changes in between is read the next time.
        let stamp = Stamp::of(&self.path);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, users)) = &*read
            && stamp == Some(*of)
        {
            return Ok(Arc::clone(users));
        }
        *read = None;
        let text = file::read(&self.path, Audience::Group, MOST_BYTES)?;
        let users = Arc::new(Users::read(&self.path, &text)?);
        *read = stamp.map(|stamp| (stamp, Arc::clone(&users)));
        Ok(users)
    }
}

impl Users {
    /// Decides about a password. Whoever is not in the file takes as long.
    fn check(
        &self,
        user: &UserName,
        password: &[u8],
        memory: &mut Memory,
    ) -> Result<PasswordVerdict, Diagnostic> {
        let entry = self.find(user);
        let hash = entry.map_or_else(|| self.nobody(), |entry| &entry.hash);
        let is_theirs = self.verify(password, hash, memory)?;
        Ok(match entry.filter(|_| is_theirs) {
            Some(entry) => PasswordVerdict::Right { groups: entry.groups.clone() },
            None => PasswordVerdict::Wrong,
        })
    }

    /// Compared in constant time.
    fn verify(&self, password: &[u8], hash: &PasswordHash, memory: &mut Memory) -> Result<bool, Diagnostic> {
        // A line without one of these is none.
        let (Some(salt), Some(expected), Ok(parameters)) = (hash.salt, hash.hash, Params::try_from(hash))
        else {
            return Ok(false);
        };
        let mut computed = Zeroizing::new([0; Output::MAX_LENGTH]);
        let Some(computed) = computed.get_mut(..expected.len()) else { return Ok(false) };
        memory.hash(&hasher(parameters), (password, &salt), self.most_blocks(), computed)?;
        Ok(computed.ct_eq(expected.as_bytes()).into())
    }
}

fn hasher(parameters: Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
}
