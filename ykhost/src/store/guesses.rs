//! `guesses/USER`: how many codes may still be tried for a user.
//!
//! A try is taken in the page cache before the code is evaluated, and not synced: neither a race nor a kill gives it back, and
//! a power cut forgives a few. The file is made when the user gets an OATH token, and written in place: so a full disk takes
//! no try from anybody, and an invented user name makes no file.

use super::Store;
use crate::Fault;
use crate::file::{self, Audience, FileFault, Folder};
use rustix::fs::{FlockOperation, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use yubiotp::guesses::Bucket;
use yubiotp::verdict::{Charge, Guesses};

/// The folder of buckets, in the store.
pub const GUESSES: &str = "guesses";

const HEAD: &str = "# pam_yubiotp guesses, version 1. Made by ykmap, do not edit.\nfull-at: ";
/// Digits of the number, so that each text is as long as every other.
const DIGITS: usize = 20;
const SECRET: Mode = Mode::RUSR.union(Mode::WUSR);

/// The name of a user's file: as it is if that is plain, else escaped by `%` and two hexadecimal digits for each other byte, and
/// a hash of it where that is too long for a file name.
pub(super) fn name_of(user: &[u8]) -> String {
    let mut name = String::new();
    for byte in user {
        let is_plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'-' | b'@')
            || *byte == b'.' && !name.is_empty();
        if is_plain {
            name.push(char::from(*byte));
        } else {
            let _ = write!(name, "%{byte:02x}");
        }
    }
    if name.len() > 200 {
        name = format!("%%{}", data_encoding::HEXLOWER.encode(&Sha256::digest(user)));
    }
    name
}

/// The user whose file has this name. `None` if it is no such name, or one with a hash.
pub(super) fn user_of(name: &str) -> Option<Vec<u8>> {
    let mut user = Vec::new();
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                user.extend(data_encoding::HEXLOWER.decode(&digits).ok()?);
            }
            byte => user.push(byte),
        }
    }
    (name_of(&user) == name).then_some(user)
}

fn text(bucket: Bucket) -> String {
    format!("{HEAD}{:0DIGITS$}\n", bucket.to_stored())
}

fn read(text: &[u8]) -> Option<Bucket> {
    let number = str::from_utf8(text).ok()?.strip_prefix(HEAD)?.strip_suffix('\n')?;
    let is_number = number.len() == DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| number.parse().ok()).flatten().map(Bucket::from_stored)
}

impl Store {
    /// The folder of buckets.
    ///
    /// # Errors
    /// It, or a folder on the way, cannot be used.
    pub fn guesses(&self) -> Result<Folder, Fault> {
        self.part(GUESSES)
    }

    /// Makes the bucket of a user, unless there is one. Durable when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn make_guesses(&self, user: &[u8]) -> Result<(), Fault> {
        file::make_folder(&self.folder.join(GUESSES), 0o700)?;
        let (folder, name) = (self.guesses()?, name_of(user));
        // Of several logins that find none, one makes it.
        let _changing = folder.lock(self.locking.wait)?;
        if !folder.has(&name)? {
            folder.replace(&name, text(Bucket::FULL).as_bytes(), SECRET)?;
        }
        Ok(())
    }

    /// Fills the bucket of a user, whatever it was. Durable when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn fill_guesses(&self, user: &[u8]) -> Result<(), Fault> {
        file::make_folder(&self.folder.join(GUESSES), 0o700)?;
        Ok(self.guesses()?.replace(&name_of(user), text(Bucket::FULL).as_bytes(), SECRET)?)
    }

    /// The bucket of a user; `None` if there is none yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn bucket(&self, user: &[u8]) -> Result<Option<Bucket>, Fault> {
        let folder = match self.guesses() {
            Err(Fault::NoStore { .. }) => return Ok(None),
            folder => folder?,
        };
        let name = name_of(user);
        match folder.read(&name, 4096, Audience::Owner) {
            Err(FileFault::Missing(_)) => Ok(None),
            contents => {
                let path = || folder.path().join(&name);
                read(&contents?).map(Some).ok_or_else(|| Fault::Guesses { path: path() })
            }
        }
    }
}

/// The bucket of the user of one login.
pub struct UserGuesses<'s> {
    store: &'s Store,
    user: &'s [u8],
    unix: u64,
    /// How many tries this login took.
    taken: &'s Cell<u8>,
    /// A try that could not be given back.
    unreturned: RefCell<Option<Fault>>,
}

impl<'s> UserGuesses<'s> {
    /// The bucket of `user` at `unix`, in seconds since 1970. `taken` counts the tries that this login took, in all of its
    /// answers.
    #[must_use]
    pub const fn new(store: &'s Store, user: &'s [u8], unix: u64, taken: &'s Cell<u8>) -> Self {
        Self { store, user, unix, taken, unreturned: RefCell::new(None) }
    }

    /// The fault that kept a try from being given back. The user is in all the same.
    #[must_use]
    pub fn unreturned(&self) -> Option<Fault> {
        self.unreturned.take()
    }

    /// Changes the bucket, with its lock held. `change` returns what is stored next; `None` to store nothing.
    fn change<T>(&self, change: impl Fn(Bucket) -> (Option<Bucket>, T)) -> Result<T, Fault> {
        let mut changed = self.change_once(&change);
        if matches!(&changed, Err(Fault::NoStore { .. } | Fault::File(FileFault::Missing(_)))) {
            // The user's token came here by other ways than `ykmap`.
            self.store.make_guesses(self.user)?;
            changed = self.change_once(&change);
        }
        changed
    }

    fn change_once<T>(&self, change: &impl Fn(Bucket) -> (Option<Bucket>, T)) -> Result<T, Fault> {
        let folder = self.store.guesses()?;
        let name = name_of(self.user);
        let path = folder.path().join(&name);
        let mut file = folder.file(&name, OFlags::RDWR, Audience::Owner)?;
        let mut changed =
            Err(FileFault::Locked { path: path.clone(), waited: self.store.locking.wait }.into());
        let since = std::time::Instant::now();
        loop {
            let mut done = false;
            // While the lock is held, the user who started this process cannot stop it.
            (self.store.locking.undisturbed)(&mut || {
                if let Ok(true) = file::lock_within(&file, std::time::Duration::ZERO) {
                    changed = locked(&mut file, &path, change);
                    let _ = rustix::fs::flock(&file, FlockOperation::Unlock);
                    done = true;
                }
            });
            if done || since.elapsed() >= self.store.locking.wait {
                return changed;
            }
            std::thread::sleep(file::LOCK_POLL);
        }
    }
}

fn locked<T>(
    file: &mut File,
    path: &Path,
    change: &impl Fn(Bucket) -> (Option<Bucket>, T),
) -> Result<T, Fault> {
    let unusable = |doing, why| Fault::File(FileFault::system(path, doing, why));
    let mut contents = Vec::with_capacity(256);
    file.rewind().map_err(|why| unusable("read", why))?;
    std::io::Read::by_ref(file).take(256).read_to_end(&mut contents).map_err(|why| unusable("read", why))?;
    let bucket = read(&contents).ok_or_else(|| Fault::Guesses { path: path.to_owned() })?;
    let (next, result) = change(bucket);
    if let Some(next) = next {
        super::advance::may_write(path)?;
        file.rewind().map_err(|why| unusable("write", why))?;
        // As long as what is there: no new block is needed, and it is one write.
        file.write_all(text(next).as_bytes()).map_err(|why| unusable("write", why))?;
    }
    Ok(result)
}

impl Guesses for UserGuesses<'_> {
    type Fault = Fault;

    fn charge(&self) -> Result<Charge, Fault> {
        let charge = self.change(|bucket| bucket.take(self.unix))?;
        if charge == Charge::Taken {
            self.taken.set(self.taken.get().saturating_add(1));
        }
        Ok(charge)
    }

    fn refund(&self) {
        self.give_back(self.taken.replace(0));
    }

    fn refund_one(&self) {
        let taken = self.taken.get();
        self.taken.set(taken.saturating_sub(1));
        self.give_back(taken.min(1));
    }
}

impl UserGuesses<'_> {
    fn give_back(&self, times: u8) {
        if times > 0
            && let Err(fault) = self.change(|bucket| (Some(bucket.refund(times)), ()))
        {
            *self.unreturned.borrow_mut() = Some(fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_files() {
        for (user, name) in [
            ("alice", "alice"),
            ("alice.b@x", "alice.b@x"),
            (".alice", "%2ealice"),
            ("..", "%2e."),
            ("a/b", "a%2fb"),
            ("EXAMPLE\\é", "EXAMPLE%5c%c3%a9"),
            ("a%2fb", "a%252fb"),
        ] {
            assert_eq!(name_of(user.as_bytes()), name);
        }
        assert_eq!(name_of(&[b'/'; 300]).len(), 66);
    }

    proptest! {
        #[test]
        fn different_users_have_different_files(a: Vec<u8>, b: Vec<u8>) {
            prop_assert_eq!(a == b, name_of(&a) == name_of(&b));
            let name = name_of(&a);
            prop_assert_eq!(user_of(&name), (!name.starts_with("%%")).then_some(a));
            prop_assert!(!name.contains('/') && !name.starts_with('.') && name.len() <= 200);
        }

        #[test]
        fn written_and_read_again(full_at: u64) {
            let bucket = Bucket::from_stored(full_at);
            prop_assert_eq!(read(text(bucket).as_bytes()), Some(bucket));
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = read(&text);
        }
    }
}
