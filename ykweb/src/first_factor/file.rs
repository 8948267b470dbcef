//! The user file: users of this program, with hashes of their passwords.
//!
//! A line is `user:hash` or `user:hash:group,group`. The hash is argon2id in the PHC string format. `#` begins a comment.

mod change;
mod entry;
#[cfg(test)]
mod tests;

pub use change::{Changed, remove, set_password};

use super::PasswordVerdict;
use crate::user::UserName;
use argon2::password_hash::{PasswordVerifier as _, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use entry::Users;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use ykserve::file::{self, Audience};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::password::MAX_PASSWORD;
use zeroize::Zeroizing;

/// Maximum concurrent hashes: each takes 19 MiB and a processor.
const MOST: usize = 2;

/// How long a password may wait until its hash is computed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes of the file: some 10,000 users.
const MOST_BYTES: u64 = 2 << 20;

/// The parameters of new hashes, which OWASP recommends as a minimum: argon2id with 19 MiB, two passes and one lane.
const PARAMETERS: Params = Params::DEFAULT;

/// The file, which is read again when it has changed.
pub struct UserFile {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
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
    /// It cannot be read, belongs to somebody else, or a line of it is wrong.
    pub fn open(path: PathBuf) -> Result<Self, Diagnostic> {
        let shared = Shared { path, read: Mutex::new(None) };
        shared.users()?;
        Ok(Self { shared: Arc::new(shared), places: Arc::new(Semaphore::new(MOST)) })
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
        let busy = |problem: &str| Diagnostic::error(Code::PasswordNotAsked, problem);
        let place = tokio::time::timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(busy("too many passwords are waiting to be checked")) };
        let (shared, user, password) = (Arc::clone(&self.shared), user.clone(), password.clone());
        let checked = tokio::task::spawn_blocking(move || {
            // Given back when it is done, also if the browser has gone away.
            let _place = place;
            Ok(shared.users()?.check(&user, &password))
        });
        checked.await.unwrap_or_else(|_| Err(busy("checking the password was broken off")))
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
    fn check(&self, user: &UserName, password: &[u8]) -> PasswordVerdict {
        let entry = self.find(user);
        let hash = entry.map_or_else(|| self.nobody(), |entry| &entry.hash);
        let is_theirs = password.len() <= MAX_PASSWORD && verify(password, hash);
        match entry.filter(|_| is_theirs) {
            Some(entry) => PasswordVerdict::Right { groups: entry.groups.clone() },
            None => PasswordVerdict::Wrong,
        }
    }
}

/// Compared in constant time.
fn verify(password: &[u8], hash: &PasswordHash) -> bool {
    hasher(PARAMETERS).verify_password(password, hash).is_ok()
}

fn hasher(parameters: Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
}
