//! The former store key, kept when a store key is replaced.

use std::path::Path;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::record::{read_store_key, write_store_key};
use yubiotp::seal::StoreKey;
use zeroize::Zeroizing;

/// Writes a store key to a new file that only its owner may read, durably. A file that has this very key already is as good:
/// the call may be made again.
///
/// # Errors
/// The file exists, or cannot be written.
pub fn keep_former(path: &Path, key: &StoreKey) -> Result<(), Diagnostic> {
    match crate::new_key::NewFile::create(path, &[write_store_key(key).as_bytes()]) {
        Ok(new) => {
            new.keep();
            Ok(())
        }
        Err(found) if found.code == Code::FileExists && holds(path, key) => Ok(()),
        Err(found) => Err(found),
    }
}

#[expect(clippy::disallowed_methods, reason = "a file that the administrator names, compared and not used")]
fn holds(path: &Path, key: &StoreKey) -> bool {
    let text = std::fs::read(path).map(Zeroizing::new);
    text.is_ok_and(|text| {
        read_store_key(&text).is_ok_and(|held| held.former().is_none() && held.id() == key.id())
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test reads what it made")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use yubiotp::diagnostic::Location;

    #[test]
    fn the_former_key_is_kept_and_nothing_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("former.key");
        let key = |byte| StoreKey::new([byte; 32]);
        keep_former(&path, &key(1)).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read(&path).unwrap(), write_store_key(&key(1)).as_bytes());
        keep_former(&path, &key(1)).unwrap();
        let refused = keep_former(&path, &key(2)).unwrap_err();
        assert_eq!(
            (refused.code, refused.location),
            (Code::FileExists, Some(Location::file(path.as_os_str().as_encoded_bytes())))
        );
        assert_eq!(std::fs::read(&path).unwrap(), write_store_key(&key(1)).as_bytes());
    }
}
