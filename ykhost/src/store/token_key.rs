//! What the store keeps of a token in `keys/ID`.

use crate::store::BadRecord;
use yubiotp::key::{Fingerprint, KeyDigest, OathKey};
use yubiotp::record::{OathNotes, OathRecord, Record, RecoveryRecord};
use yubiotp::seal::{CannotOpen, StoreKey, StoreKeyId};
use yubiotp::{Credential, PublicId, Serial, SetId, TokenId};

/// The key of a token, with the name that it is sealed for.
pub enum TokenKey {
    /// A YubiKey's.
    YubiKey(PublicId, Credential),
    /// An OATH token's, and what is kept beside it.
    Oath(Serial, OathKey, OathNotes),
    /// What is stored of a recovery code: its set, number and MAC.
    RecoveryCode(SetId, u8, RecoveryRecord),
}

impl TokenKey {
    /// The token.
    #[must_use]
    pub const fn id(&self) -> TokenId {
        match self {
            Self::YubiKey(id, _) => TokenId::YubiKey(*id),
            Self::Oath(serial, ..) => TokenId::Oath(*serial),
            Self::RecoveryCode(set, number, _) => TokenId::RecoveryCode(*set, *number),
        }
    }

    /// The fingerprint, which the position file has too.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::YubiKey(id, credential) => credential.fingerprint(id),
            Self::Oath(serial, key, _) => key.fingerprint(serial),
            Self::RecoveryCode(.., record) => record.mac.fingerprint(),
        }
    }

    /// The fingerprint that this key would have as another token; `None` if that is of another kind.
    #[must_use]
    pub fn fingerprint_as(&self, other: &TokenId) -> Option<Fingerprint> {
        match (self, other) {
            (Self::YubiKey(_, credential), TokenId::YubiKey(id)) => Some(credential.fingerprint(id)),
            (Self::Oath(_, key, _), TokenId::Oath(serial)) => Some(key.fingerprint(serial)),
            _ => None,
        }
    }

    /// Identifies the secret, whatever token has it. A recovery code is bound to its set, and has none.
    #[must_use]
    pub fn digest(&self) -> Option<KeyDigest> {
        match self {
            Self::YubiKey(_, credential) => Some(credential.aes_key.digest()),
            Self::Oath(_, key, _) => Some(key.digest()),
            Self::RecoveryCode(..) => None,
        }
    }

    /// The text of its file. `nonce` must be fresh from the system's random source.
    #[must_use]
    pub fn write(&self, store_key: &StoreKey, nonce: [u8; 24]) -> String {
        let under = store_key.id();
        match self {
            Self::YubiKey(id, credential) => {
                Record { under, sealed: store_key.seal(credential, id, nonce) }.write(id)
            }
            Self::Oath(serial, key, notes) => OathRecord {
                parameters: key.parameters,
                notes: *notes,
                under,
                sealed: store_key.seal_oath(key, serial, nonce),
            }
            .write(serial),
            Self::RecoveryCode(set, number, record) => record.write(set, *number),
        }
    }
}

/// A file of a key as read, still sealed.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyFile {
    /// A YubiKey's.
    YubiKey(PublicId, Record),
    /// An OATH token's.
    Oath(Serial, OathRecord),
    /// A recovery code's: nothing in it is sealed.
    RecoveryCode(SetId, u8, RecoveryRecord),
}

impl KeyFile {
    /// Reads the file of a token.
    ///
    /// # Errors
    /// It is not one, or another token's. A set of recovery codes has no file.
    pub fn read(text: &[u8], token: &TokenId) -> Result<Self, BadRecord> {
        Ok(match token {
            TokenId::YubiKey(id) => Self::YubiKey(*id, Record::read(text, id)?),
            TokenId::Oath(serial) => Self::Oath(*serial, OathRecord::read(text, serial)?),
            TokenId::RecoveryCode(set, number) => {
                Self::RecoveryCode(*set, *number, RecoveryRecord::read(text, set, *number)?)
            }
            TokenId::RecoverySet(_) => return Err(BadRecord::OtherToken(*token)),
        })
    }

    /// The ID of the store key that it was sealed under.
    #[must_use]
    pub const fn under(&self) -> StoreKeyId {
        match self {
            Self::YubiKey(_, record) => record.under,
            Self::Oath(_, record) => record.under,
            Self::RecoveryCode(.., record) => record.under,
        }
    }

    /// The key in it.
    ///
    /// # Errors
    /// It was sealed under another store key, or was changed since.
    pub fn open(&self, store_key: &StoreKey) -> Result<TokenKey, CannotOpen> {
        Ok(match self {
            Self::YubiKey(id, record) => TokenKey::YubiKey(*id, store_key.open(&record.sealed, id)?),
            Self::Oath(serial, record) => {
                let key = store_key.open_oath(&record.sealed, serial, record.parameters)?;
                TokenKey::Oath(*serial, key, record.notes)
            }
            Self::RecoveryCode(set, number, record) => TokenKey::RecoveryCode(*set, *number, record.clone()),
        })
    }
}
