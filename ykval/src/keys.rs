//! The store key of a running server, which may be replaced while it runs.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use yubiotp::diagnostic::Diagnostic;
use yubiotp::seal::{CannotOpen, StoreKeyIds, StoreKeys};

/// How often the file is read again in vain for a secret that does not open.
const SELDOM: Duration = Duration::from_secs(1);

/// Reads the store key's file.
pub type ReadKeys = Box<dyn Fn() -> Result<StoreKeys, Diagnostic> + Send + Sync>;

/// The store key, and where it can be read again. Both keys, while it is being replaced.
pub struct KeyRing {
    keys: RwLock<Arc<StoreKeys>>,
    /// `None`: it is not read again.
    read: Option<ReadKeys>,
    tried: Mutex<Option<Instant>>,
}

impl KeyRing {
    /// Keys that were read, and how to read them again.
    #[must_use]
    pub fn new(keys: StoreKeys, read: ReadKeys) -> Self {
        Self { read: Some(read), ..Self::from(keys) }
    }

    /// The IDs of the keys.
    pub fn ids(&self) -> StoreKeyIds {
        self.keys().ids()
    }

    /// Opens a secret. If it does not open, and the file has another key now that opens it, that one is used from then on.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open<T>(&self, open: impl Fn(&StoreKeys) -> Result<T, CannotOpen>) -> Result<T, CannotOpen> {
        let before = self.keys();
        let opened = open(&before);
        if opened.is_ok() {
            return opened;
        }
        // Of several that come at once, one reads, and the others wait for it.
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.keys();
        if !Arc::ptr_eq(&before, &now) {
            return open(&now);
        }
        if tried.is_some_and(|tried| tried.elapsed() < SELDOM) {
            return opened;
        }
        // A reading that helps does not count: the next replacement may follow at once.
        *tried = Some(Instant::now());
        let Some(Ok(keys)) = self.read.as_ref().map(|read| read()) else { return opened };
        let opened = open(&keys);
        if opened.is_ok() {
            self.take(keys);
            *tried = None;
        }
        opened
    }

    /// Reads the file again. Its keys are used if `is_right` says so. Returns whether they are others than before.
    ///
    /// # Errors
    /// The file cannot be used. The keys stay as they were.
    pub fn reload(&self, is_right: impl FnOnce(StoreKeyIds) -> bool) -> Result<bool, Diagnostic> {
        let Some(read) = &self.read else { return Ok(false) };
        let keys = read()?;
        let is_new = keys.ids() != self.ids() && is_right(keys.ids());
        if is_new {
            self.take(keys);
        }
        Ok(is_new)
    }

    fn keys(&self) -> Arc<StoreKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, keys: StoreKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

impl<K: Into<StoreKeys>> From<K> for KeyRing {
    fn from(keys: K) -> Self {
        Self { keys: RwLock::new(Arc::new(keys.into())), read: None, tried: Mutex::default() }
    }
}

/// Never the keys.
impl Debug for KeyRing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&self.ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yubiotp::diagnostic::Code;
    use yubiotp::seal::StoreKey;

    fn key(byte: u8) -> StoreKey {
        StoreKey::new([byte; 32])
    }

    /// Opens only with the key of this byte.
    fn needs(byte: u8) -> impl Fn(&StoreKeys) -> Result<(), CannotOpen> {
        move |keys| keys.with_id(key(byte).id()).map(|_| ()).ok_or(CannotOpen)
    }

    #[test]
    fn a_key_that_opens_is_taken_and_no_other() {
        let file = Arc::new(Mutex::new(Some(1)));
        let read = {
            let file = Arc::clone(&file);
            move || match *file.lock().unwrap() {
                Some(2) => Ok(StoreKeys::replacing(key(1), key(2)).unwrap()),
                Some(byte) => Ok(key(byte).into()),
                None => Err(Diagnostic::error(Code::StoreKeyMissing, "is not there")),
            }
        };
        let ring = KeyRing::new(key(1).into(), Box::new(read));
        let again = || *ring.tried.lock().unwrap() = None;
        assert!(ring.open(needs(1)).is_ok() && ring.open(needs(2)).is_err());
        *file.lock().unwrap() = Some(2);
        // Not more often than every second.
        assert!(ring.open(needs(2)).is_err());
        again();
        assert!(ring.open(needs(2)).is_ok() && ring.open(needs(1)).is_ok());
        *file.lock().unwrap() = Some(3);
        assert!(ring.open(needs(3)).is_ok());
        *file.lock().unwrap() = Some(2);
        assert!(ring.open(needs(2)).is_ok());
        *file.lock().unwrap() = Some(3);
        assert!(ring.open(needs(4)).is_err() && ring.open(needs(1)).is_ok());
        assert!(!ring.reload(|ids| ids.has(key(2).id())).unwrap() && ring.open(needs(1)).is_ok());
        *file.lock().unwrap() = None;
        assert_eq!(ring.reload(|_| true).unwrap_err().code, Code::StoreKeyMissing);
        assert!(ring.open(needs(2)).is_ok());
        *file.lock().unwrap() = Some(3);
        assert!(ring.reload(|_| true).unwrap());
        assert_eq!(ring.ids(), key(3).id().into());
    }
}
