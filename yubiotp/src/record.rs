//! The text of `keys/ID`: a secret sealed under the host's store key (`docs/store.md` has the format), and of `store.key`
//! itself, which a validation server has too. Of a YubiKey it is [`Record`] here; of other tokens see [`OathRecord`] and
//! [`RecoveryRecord`].

mod oath;
mod recovery;

pub use oath::{OathNotes, OathRecord};
pub use recovery::{EarlierMacs, RecoveryRecord, Shape};

use crate::seal::{Sealed, StoreKey, StoreKeyId, StoreKeys};
use crate::{PublicId, TokenId};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use core::ops::RangeInclusive;
use data_encoding::BASE64;
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
        let (mut lines, _) = Lines::begin(text, RECORD, 1..=1)?;
        lines.token(&TokenId::YubiKey(*token))?;
        lines.field("kind: ", |kind| (kind == "yubikey").then_some(()))?;
        let under = lines.field("sealed-under: ", StoreKeyId::parse)?;
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

/// The text of `store.key`: version 2 while the key is being replaced, otherwise version 1.
#[must_use]
pub fn write_store_keys(keys: &StoreKeys) -> Zeroizing<String> {
    let Some(former) = keys.former() else { return write_store_key(keys) };
    let mut secrets = [keys.current(), former].map(|key| BASE64.encode(key.expose()));
    let [secret, former_secret] = &secrets;
    let text = Zeroizing::new(format!(
        "{STORE_KEY}2. Whoever reads it can read every key in the store.\n\
         # The former key is being replaced: rotate-store-key finishes that, and removes it from here.\n\
         id: {}\nkey: {secret}\nformer-id: {}\nformer-key: {former_secret}\n",
        keys.id(),
        former.id(),
    ));
    secrets.zeroize();
    text
}

/// Reads `store.key`. Version 2 can be written in one way only.
///
/// # Errors
/// It is not one.
pub fn read_store_key(text: &[u8]) -> Result<StoreKeys, BadRecord> {
    let (mut lines, version) = Lines::begin(text, STORE_KEY, 1..=2)?;
    lines.field("# ", |_| Some(()))?;
    let current = lines.key("id: ", "key: ")?;
    if version == 1 {
        return Ok(current.into());
    }
    let former = lines.key("former-id: ", "former-key: ")?;
    StoreKeys::replacing(former, current)
        .filter(|keys| write_store_keys(keys).as_bytes() == text)
        .ok_or(BadRecord::Damaged { line: 1, wanted: "version 2, as it is written" })
}

/// Lines `name: value` behind a first line that names the format and its version.
struct Lines<'a> {
    lines: core::str::Lines<'a>,
    line: usize,
}

impl<'a> Lines<'a> {
    /// `known` are the versions that files of this kind have; the one that was found is returned.
    fn begin(
        text: &'a [u8],
        header: &'static str,
        known: RangeInclusive<u32>,
    ) -> Result<(Self, u32), BadRecord> {
        let damaged = BadRecord::Damaged { line: 1, wanted: header };
        let text = str::from_utf8(text).map_err(|_| damaged.clone())?;
        let mut lines = text.lines();
        let said = lines.next().and_then(|line| line.strip_prefix(header)?.split_once('.')?.0.parse().ok());
        match said {
            Some(said) if known.contains(&said) => Ok((Self { lines, line: 1 }, said)),
            Some(later) if later > *known.end() => Err(BadRecord::LaterVersion(later)),
            _ => Err(damaged),
        }
    }

    /// A store key, behind its ID.
    fn key(&mut self, id: &'static str, key: &'static str) -> Result<StoreKey, BadRecord> {
        let id = self.field(id, StoreKeyId::parse)?;
        self.field(key, |secret| {
            let mut bytes = Zeroizing::new([0; 32]);
            let exact = BASE64.decode_len(secret.len()).ok()?;
            let mut buffer = Zeroizing::new(vec![0; exact]);
            let length = BASE64.decode_mut(secret.as_bytes(), &mut buffer).ok()?;
            bytes.copy_from_slice(buffer.get(..length).filter(|key| key.len() == 32)?);
            Some(StoreKey::new(*bytes)).filter(|key| key.id() == id)
        })
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

        /// Two keys read back, and no other text gives them.
        #[test]
        fn two_store_keys_are_written_in_one_way(former: [u8; 32], current: [u8; 32], at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            prop_assume!(former != current);
            let keys = StoreKeys::replacing(StoreKey::new(former), StoreKey::new(current)).unwrap();
            let text = write_store_keys(&keys).as_bytes().to_vec();
            let read = read_store_key(&text).ok().unwrap();
            prop_assert!(read.ids() == keys.ids());
            prop_assert!(*read.expose() == current && *read.former().unwrap().expose() == former);
            let mut other = text.clone();
            *at.get_mut(&mut other) = byte;
            let is_same = other == text || read_store_key(&other).is_err();
            // A version 1 with lines behind it is what it was.
            let is_first = other.starts_with(b"# pam_yubiotp store key, version 1.");
            prop_assert!(is_same || is_first);
            let mut short = text.clone();
            short.truncate(cut.index(text.len()));
            prop_assert!(read_store_key(&short).is_err());
            let longer = [text.as_slice(), &[byte]].concat();
            prop_assert!(read_store_key(&longer).is_err());
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let token = PublicId::from_bytes(&[1]).unwrap();
            prop_assert!(Record::read(&text, &token).is_err() && read_store_key(&text).is_err());
        }
    }

    #[test]
    fn two_store_keys_as_documented() {
        let (former, current) = (StoreKey::new([1; 32]), StoreKey::new([2; 32]));
        let ids = [current.id(), former.id()];
        let keys = StoreKeys::replacing(former, current).unwrap();
        let text = write_store_keys(&keys);
        assert_eq!(
            text.as_str(),
            format!(
                "# pam_yubiotp store key, version 2. Whoever reads it can read every key in the store.\n\
                 # The former key is being replaced: rotate-store-key finishes that, and removes it from here.\n\
                 id: {}\nkey: AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n\
                 former-id: {}\nformer-key: AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n",
                ids[0], ids[1]
            )
        );
        for other in [
            text.replace('\n', "\r\n"),
            text.replace("# The", "# the"),
            text.replace("version 2", "version 02"),
            text.replace("former-id", "former-ID"),
            // The same key twice.
            text.replace("AgIC", "AQEB")
                .replace("AgI=", "AQE=")
                .replace(&ids[0].to_string(), &ids[1].to_string()),
        ] {
            assert!(read_store_key(other.as_bytes()).is_err(), "{other}");
        }
        let later = text.replace("version 2", "version 3");
        assert_eq!(read_store_key(later.as_bytes()).err(), Some(BadRecord::LaterVersion(3)));
        assert_eq!(
            *write_store_keys(&StoreKey::new([1; 32]).into()),
            *write_store_key(&StoreKey::new([1; 32]))
        );
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
