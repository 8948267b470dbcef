//! The text of `keys/ID`: a secret sealed under the host's store key (`docs/store.md` has the format), and of `store.key`
//! itself, which a validation server has too. Of a YubiKey it is [`Record`] here; of other tokens see [`OathRecord`] and
//! [`RecoveryRecord`].

mod oath;
mod recovery;

pub use oath::{OathNotes, OathRecord};
pub use recovery::{RecoveryRecord, Shape};

use crate::seal::{Sealed, StoreKey, StoreKeyId};
use crate::{PublicId, TokenId};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use data_encoding::{BASE64, HEXLOWER};
use zeroize::{Zeroize, Zeroizing};

const RECORD: &str = "# pam_yubiotp key, version ";
const STORE_KEY: &str = "# pam_yubiotp store key, version ";

/// Why a key file, or the store key's, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Made by a later pam_yubiotp.
    #[error("was written by a later version of pam_yubiotp (format {0})")]
    LaterVersion(u32),
    /// Not what `ykmap` writes.
    #[error("line {line} is not as ykmap writes it ({wanted}): the file is damaged or was edited")]
    Damaged {
        /// Counted from 1.
        line: usize,
        /// The expected text.
        wanted: &'static str,
    },
    /// It belongs to another token.
    #[error("belongs to token {0}")]
    OtherToken(TokenId),
}

/// A key file as read.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The ID of the store key that it was sealed under.
    pub under: StoreKeyId,
    /// The credential.
    pub sealed: Sealed,
}

impl Record {
    /// The text of the file for `token`.
    #[must_use]
    pub fn write(&self, token: &PublicId) -> String {
        format!(
            "{RECORD}1. Sealed under this host's store.key; made by ykmap, do not edit.\n\
             token: {token}\nkind: yubikey\nsealed-under: {}\nsealed: {}\n",
            self.under,
            BASE64.encode(self.sealed.as_bytes()),
        )
    }

    /// Reads the file of `token`.
    ///
    /// # Errors
    /// It is not one, or another token's.
    pub fn read(text: &[u8], token: &PublicId) -> Result<Self, BadRecord> {
        let mut lines = Lines::begin(text, RECORD, 1)?;
        lines.token(&TokenId::YubiKey(*token))?;
        lines.field("kind: ", |kind| (kind == "yubikey").then_some(()))?;
        let under = lines.field("sealed-under: ", store_key_id)?;
        let sealed =
            lines.field("sealed: ", |text| Sealed::from_bytes(&BASE64.decode(text.as_bytes()).ok()?))?;
        Ok(Self { under, sealed })
    }
}

/// The text of `store.key`.
#[must_use]
pub fn write_store_key(key: &StoreKey) -> Zeroizing<String> {
    let mut secret = BASE64.encode(key.expose());
    let text = Zeroizing::new(format!(
        "{STORE_KEY}1. Whoever reads it can read every key in the store.\n\
         # Keep a copy apart from the store; without it the store cannot be opened.\n\
         id: {}\nkey: {secret}\n",
        key.id(),
    ));
    secret.zeroize();
    text
}

/// Reads `store.key`.
///
/// # Errors
/// It is not one.
pub fn read_store_key(text: &[u8]) -> Result<StoreKey, BadRecord> {
    let mut lines = Lines::begin(text, STORE_KEY, 1)?;
    lines.field("# ", |_| Some(()))?;
    let id = lines.field("id: ", store_key_id)?;
    lines.field("key: ", |secret| {
        let mut bytes = Zeroizing::new([0; 32]);
        let exact = BASE64.decode_len(secret.len()).ok()?;
        let mut buffer = Zeroizing::new(vec![0; exact]);
        let length = BASE64.decode_mut(secret.as_bytes(), &mut buffer).ok()?;
        bytes.copy_from_slice(buffer.get(..length).filter(|key| key.len() == 32)?);
        Some(StoreKey::new(*bytes)).filter(|key| key.id() == id)
    })
}

fn store_key_id(text: &str) -> Option<StoreKeyId> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(StoreKeyId)
}

/// Lines `name: value` behind a first line that names the format and its version.
struct Lines<'a> {
    lines: core::str::Lines<'a>,
    line: usize,
}

impl<'a> Lines<'a> {
    /// `version` is the one that files of this kind have.
    fn begin(text: &'a [u8], header: &'static str, version: u32) -> Result<Self, BadRecord> {
        let damaged = BadRecord::Damaged { line: 1, wanted: header };
        let text = str::from_utf8(text).map_err(|_| damaged.clone())?;
        let mut lines = text.lines();
        let said = lines.next().and_then(|line| line.strip_prefix(header)?.split_once('.')?.0.parse().ok());
        match said {
            Some(said) if said == version => Ok(Self { lines, line: 1 }),
            Some(later) if later > version => Err(BadRecord::LaterVersion(later)),
            _ => Err(damaged),
        }
    }

    /// The line that names the token whose file it is.
    fn token(&mut self, token: &TokenId) -> Result<(), BadRecord> {
        let said = self.field("token: ", TokenId::of_file)?;
        if said == *token { Ok(()) } else { Err(BadRecord::OtherToken(said)) }
    }

    fn field<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, BadRecord> {
        self.line = self.line.saturating_add(1);
        let value = self.lines.next().and_then(|line| line.strip_prefix(name));
        value.and_then(read).ok_or(BadRecord::Damaged { line: self.line, wanted: name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AesKey, Credential, PrivateId};
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn sealed(key: &StoreKey, token: &PublicId) -> Record {
        let credential = Credential { private_id: PrivateId::new([6; 6]), aes_key: AesKey::new([7; 16]) };
        Record { under: key.id(), sealed: key.seal(&credential, token, [9; 24]) }
    }

    proptest! {
        #[test]
        fn round_trip(key: [u8; 32], id in proptest::collection::vec(any::<u8>(), 0..=16)) {
            let (key, token) = (StoreKey::new(key), PublicId::from_bytes(&id).unwrap());
            let read = read_store_key(write_store_key(&key).as_bytes()).ok().unwrap();
            prop_assert!(read.expose() == key.expose());
            let record = sealed(&key, &token);
            prop_assert!(Record::read(record.write(&token).as_bytes(), &token).ok().unwrap() == record);
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let token = PublicId::from_bytes(&[1]).unwrap();
            prop_assert!(Record::read(&text, &token).is_err() && read_store_key(&text).is_err());
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let key = StoreKey::new([1; 32]);
        let [token, other] = [1, 2].map(|byte| PublicId::from_bytes(&[byte]).unwrap());
        let text = sealed(&key, &token).write(&token);
        let why = |text: &str, token| Record::read(text.as_bytes(), token).err();
        assert_eq!(why(&text, &token), None);
        assert_eq!(why(&text, &other), Some(BadRecord::OtherToken(token.into())));
        assert_eq!(why(&text.replace("version 1", "version 2"), &token), Some(BadRecord::LaterVersion(2)));
        assert_eq!(why("", &token), Some(BadRecord::Damaged { line: 1, wanted: RECORD }));
        let cut = &text[..text.len() - 9];
        assert_eq!(why(cut, &token), Some(BadRecord::Damaged { line: 5, wanted: "sealed: " }));
        let flipped = write_store_key(&key).replace("id: ", "id: 0").replace("id: 0", "id: ");
        assert!(read_store_key(flipped.as_bytes()).is_ok());
        let other_id = write_store_key(&key).replace(&key.id().to_string(), "0011223344556677");
        let damaged = read_store_key(other_id.as_bytes()).err();
        assert_eq!(damaged, Some(BadRecord::Damaged { line: 4, wanted: "key: " }));
    }
}
