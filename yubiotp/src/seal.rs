//! Credentials encrypted at rest.
//!
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) under the host's store key, with a random 24-byte nonce. The token's
//! public ID is bound in as associated data, so that a credential cannot be passed off as another token's. Of an OATH token
//! that is the serial number and what is public of it, so that none of it can be changed either.

use crate::key::{Credential, Fingerprint, OathKey};
use crate::oath::{Parameters, Secret};
use crate::protocol::{ClientId, ClientKey};
use crate::recovery::RecoveryKey;
use crate::{AesKey, PrivateId, PublicId, Serial, SetId};
use alloc::string::ToString as _;
use alloc::vec::Vec;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use core::fmt;
use core::ops::Deref;
use hmac::{Hmac, Mac as _};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const LABEL: &[u8] = b"yubiotp sealed credential 1\0";
const OATH_LABEL: &[u8] = b"yubiotp sealed OATH secret 1\0";
const CLIENT_LABEL: &[u8] = b"yubiotp sealed client key 1\0";
const BACKUP_LABEL: &[u8] = b"yubiotp sealed backup 1\0";
const OFFER_LABEL: &[u8] = b"yubiotp sealed offer 1\0";
const RECOVERY_KEY_LABEL: &[u8] = b"yubiotp sealed recovery key 1\0";
const FINGERPRINT_LABEL: &[u8] = b"yubiotp sealed fingerprint 1\0";
/// Kind byte of a YubiKey's credential; other kinds of token get others.
const YUBIKEY: u8 = 1;
/// Kind, private ID, AES key.
const PLAIN: usize = 1 + 6 + 16;
const NONCE: usize = 24;
const TAG: usize = 16;

/// The key that everything in a store is sealed under, 32 bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct StoreKey([u8; 32]);

/// Tells store keys apart without showing them: the first 8 bytes of a SHA-256 over a label and the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreKeyId(pub [u8; 8]);

/// The store key, and while it is being replaced the former one too. As a [`StoreKey`], it is the current one: what is new is
/// sealed under that. What was sealed before opens under either.
pub struct StoreKeys {
    current: StoreKey,
    former: Option<StoreKey>,
}

/// The IDs of [`StoreKeys`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreKeyIds {
    /// The current key.
    pub current: StoreKeyId,
    /// The key that it replaces.
    pub former: Option<StoreKeyId>,
}

/// A sealed credential: nonce, ciphertext and tag, 63 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed([u8; NONCE + PLAIN + TAG]);

/// It was not sealed under this key for this token, or was changed since.
#[derive(Debug, PartialEq, Eq)]
pub struct CannotOpen;

impl StoreKey {
    /// A store key from its bytes, which must be random.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the file that holds the key.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Identifies this key.
    #[must_use]
    pub fn id(&self) -> StoreKeyId {
        let digest =
            Sha256::new().chain_update(b"yubiotp store key 1\0").chain_update(self.0.as_slice()).finalize();
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(digest) {
            *to = from;
        }
        StoreKeyId(id)
    }

    /// Seals a credential for the token `id`. `nonce` must be fresh from the system's random source.
    #[must_use]
    pub fn seal(&self, credential: &Credential, id: &PublicId, nonce: [u8; NONCE]) -> Sealed {
        let mut plain = Zeroizing::new([0; PLAIN]);
        let fields =
            [YUBIKEY].into_iter().chain(*credential.private_id.expose()).chain(*credential.aes_key.expose());
        for (to, from) in plain.iter_mut().zip(fields) {
            *to = from;
        }
        let tag = self.cipher().encrypt_inout_detached(
            &XNonce::from(nonce),
            &bound_to(id),
            plain.as_mut_slice().into(),
        );
        let mut sealed = Sealed([0; NONCE + PLAIN + TAG]);
        // Encrypting fails only for texts of 256 GiB and more; a zero tag would never open.
        let tag = tag.unwrap_or_default();
        for (to, from) in sealed.0.iter_mut().zip(nonce.into_iter().chain(*plain).chain(tag)) {
            *to = from;
        }
        sealed
    }

    /// Opens a secret that was sealed for the token `id`.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open(&self, sealed: &Sealed, id: &PublicId) -> Result<Credential, CannotOpen> {
        let (nonce, rest) = sealed.0.split_first_chunk::<NONCE>().ok_or(CannotOpen)?;
        let (text, tag) = rest.split_last_chunk::<TAG>().ok_or(CannotOpen)?;
        let mut plain = Zeroizing::new(<[u8; PLAIN]>::try_from(text).map_err(|_| CannotOpen)?);
        self.cipher()
            .decrypt_inout_detached(
                &XNonce::from(*nonce),
                &bound_to(id),
                plain.as_mut_slice().into(),
                &(*tag).into(),
            )
            .map_err(|_| CannotOpen)?;
        let (kind, secret) = plain.split_first().ok_or(CannotOpen)?;
        let (private_id, aes_key) = secret.split_first_chunk::<6>().ok_or(CannotOpen)?;
        if *kind != YUBIKEY {
            return Err(CannotOpen);
        }
        Ok(Credential {
            private_id: PrivateId::new(*private_id),
            aes_key: AesKey::new(aes_key.try_into().map_err(|_| CannotOpen)?),
        })
    }

    /// Seals the secret of the OATH token `serial`, and binds what is public of it. `nonce` must be fresh from the system's
    /// random source.
    #[must_use]
    pub fn seal_oath(&self, key: &OathKey, serial: &Serial, nonce: [u8; NONCE]) -> Vec<u8> {
        self.seal_bytes(key.secret.expose(), &bound_to_oath(serial, key.parameters), nonce)
    }

    /// Opens a secret that was sealed for the OATH token `serial` with these parameters.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open_oath(
        &self,
        sealed: &[u8],
        serial: &Serial,
        parameters: Parameters,
    ) -> Result<OathKey, CannotOpen> {
        let bytes = self.open_bytes(sealed, &bound_to_oath(serial, parameters))?;
        Ok(OathKey { secret: Secret::new(bytes).map_err(|_| CannotOpen)?, parameters })
    }

    /// Seals the secret of an authenticator app that is offered to a user, and binds the user, the token, the time, in
    /// seconds since 1970, and `from`, where it is offered. `nonce` must be fresh from the system's random source.
    #[must_use]
    pub fn seal_offer(
        &self,
        key: &OathKey,
        serial: &Serial,
        made: u64,
        from: &str,
        user: &[u8],
        nonce: [u8; NONCE],
    ) -> Vec<u8> {
        let bound_to = bound_to_offer(serial, key.parameters, made, from, user);
        self.seal_bytes(key.secret.expose(), &bound_to, nonce)
    }

    /// Opens a secret that was sealed by [`StoreKey::seal_offer`] for the same user, token, time and place.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open_offer(
        &self,
        sealed: &[u8],
        serial: &Serial,
        parameters: Parameters,
        made: u64,
        from: &str,
        user: &[u8],
    ) -> Result<OathKey, CannotOpen> {
        let bytes = self.open_bytes(sealed, &bound_to_offer(serial, parameters, made, from, user))?;
        Ok(OathKey { secret: Secret::new(bytes).map_err(|_| CannotOpen)?, parameters })
    }

    /// Seals the key of a validation server's client. `nonce` must be fresh from the system's random source.
    #[must_use]
    pub fn seal_client(&self, key: &ClientKey, id: ClientId, nonce: [u8; NONCE]) -> Vec<u8> {
        self.seal_bytes(key.expose(), &bound_to_client(id), nonce)
    }

    /// Opens a secret that was sealed for the client `id`.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open_client(&self, sealed: &[u8], id: ClientId) -> Result<ClientKey, CannotOpen> {
        ClientKey::from_bytes(self.open_bytes(sealed, &bound_to_client(id))?).ok_or(CannotOpen)
    }

    /// Seals the contents of a backup, under a key that is derived from this one, and binds its header. `nonce` must be fresh
    /// from the system's random source.
    #[must_use]
    pub fn seal_backup(&self, contents: &[u8], header: &[u8], nonce: [u8; NONCE]) -> Vec<u8> {
        self.for_backups().seal_bytes(contents, &[BACKUP_LABEL, header].concat(), nonce)
    }

    /// Opens what [`StoreKey::seal_backup`] sealed, if neither it nor the header was changed since.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open_backup(&self, sealed: &[u8], header: &[u8]) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        self.for_backups().open_bytes(sealed, &[BACKUP_LABEL, header].concat())
    }

    /// HMAC-SHA-256 of a label under this key.
    fn for_backups(&self) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        if let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.0) {
            key.copy_from_slice(&mac.chain_update(b"yubiotp backups 1").finalize().into_bytes());
        }
        Self(*key)
    }

    /// Nonce, ciphertext and tag.
    fn seal_bytes(&self, secret: &[u8], bound_to: &[u8], nonce: [u8; NONCE]) -> Vec<u8> {
        // Room for all of it: sealing in place leaves no copy of the secret.
        let mut sealed = Vec::with_capacity(NONCE.saturating_add(secret.len()).saturating_add(TAG));
        sealed.extend(nonce);
        sealed.extend(secret);
        let text = sealed.get_mut(NONCE..).unwrap_or_default();
        let tag = self.cipher().encrypt_inout_detached(&XNonce::from(nonce), bound_to, text.into());
        sealed.extend(tag.unwrap_or_default());
        sealed
    }

    fn open_bytes(&self, sealed: &[u8], bound_to: &[u8]) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or(CannotOpen)?;
        let (text, tag) = rest.split_last_chunk::<TAG>().ok_or(CannotOpen)?;
        let mut secret = Zeroizing::new(text.to_vec());
        self.cipher()
            .decrypt_inout_detached(
                &XNonce::from(*nonce),
                bound_to,
                secret.as_mut_slice().into(),
                &(*tag).into(),
            )
            .map_err(|_| CannotOpen)?;
        Ok(secret)
    }

    /// Seals the key of the recovery codes that were made under the former store key `of`. `nonce` must be fresh from the
    /// system's random source.
    #[must_use]
    pub fn seal_recovery_key(&self, key: &RecoveryKey, of: StoreKeyId, nonce: [u8; NONCE]) -> Vec<u8> {
        self.seal_bytes(key.expose(), &bound_to_former(of), nonce)
    }

    /// Opens a secret that was sealed by [`StoreKey::seal_recovery_key`] for the same store key.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open_recovery_key(&self, sealed: &[u8], of: StoreKeyId) -> Result<RecoveryKey, CannotOpen> {
        let bytes = self.open_bytes(sealed, &bound_to_former(of))?;
        RecoveryKey::from_bytes(&bytes).ok_or(CannotOpen)
    }

    /// Seals the fingerprint that a recovery code had under the former store key. It would tell whoever has that key which
    /// guess is right. `nonce` must be fresh from the system's random source.
    #[must_use]
    pub fn seal_fingerprint(
        &self,
        fingerprint: Fingerprint,
        (set, number): (&SetId, u8),
        nonce: [u8; NONCE],
    ) -> Vec<u8> {
        self.seal_bytes(&fingerprint.0, &bound_to_code(set, number), nonce)
    }

    /// Opens what [`StoreKey::seal_fingerprint`] sealed for the same code.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open_fingerprint(
        &self,
        sealed: &[u8],
        (set, number): (&SetId, u8),
    ) -> Result<Fingerprint, CannotOpen> {
        let bytes = self.open_bytes(sealed, &bound_to_code(set, number))?;
        bytes.as_slice().try_into().map(Fingerprint).map_err(|_| CannotOpen)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&self.0).into())
    }
}

impl StoreKeys {
    /// `current`, which replaces `former`. `None` if they are the same key.
    #[must_use]
    pub fn replacing(former: StoreKey, current: StoreKey) -> Option<Self> {
        (former.id() != current.id()).then_some(Self { current, former: Some(former) })
    }

    /// The current key.
    #[must_use]
    pub const fn current(&self) -> &StoreKey {
        &self.current
    }

    /// The key that is being replaced.
    #[must_use]
    pub const fn former(&self) -> Option<&StoreKey> {
        self.former.as_ref()
    }

    /// The key of this ID, if it is one of them.
    #[must_use]
    pub fn with_id(&self, id: StoreKeyId) -> Option<&StoreKey> {
        [Some(&self.current), self.former.as_ref()].into_iter().flatten().find(|key| key.id() == id)
    }

    /// Their IDs.
    #[must_use]
    pub fn ids(&self) -> StoreKeyIds {
        StoreKeyIds { current: self.current.id(), former: self.former.as_ref().map(StoreKey::id) }
    }

    /// The same keys, with that of this ID as the current one. `None` if it is neither.
    #[must_use]
    pub fn sealing_under(self, id: StoreKeyId) -> Option<Self> {
        if self.current.id() == id {
            return Some(self);
        }
        let Self { current, former } = self;
        former
            .filter(|former| former.id() == id)
            .map(|former| Self { current: former, former: Some(current) })
    }

    /// As [`StoreKey::open`], under either key.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open(&self, sealed: &Sealed, id: &PublicId) -> Result<Credential, CannotOpen> {
        self.either(|key| key.open(sealed, id))
    }

    /// As [`StoreKey::open_client`], under either key.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open_client(&self, sealed: &[u8], id: ClientId) -> Result<ClientKey, CannotOpen> {
        self.either(|key| key.open_client(sealed, id))
    }

    fn either<T>(&self, open: impl Fn(&StoreKey) -> Result<T, CannotOpen>) -> Result<T, CannotOpen> {
        open(&self.current).or_else(|_| self.former.as_ref().ok_or(CannotOpen).and_then(&open))
    }
}

impl From<StoreKey> for StoreKeys {
    fn from(current: StoreKey) -> Self {
        Self { current, former: None }
    }
}

impl Deref for StoreKeys {
    type Target = StoreKey;

    fn deref(&self) -> &StoreKey {
        &self.current
    }
}

impl StoreKeyId {
    /// Reads what [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl StoreKeyIds {
    /// Whether it is one of them.
    #[must_use]
    pub fn has(&self, id: StoreKeyId) -> bool {
        self.current == id || self.former == Some(id)
    }
}

impl From<StoreKeyId> for StoreKeyIds {
    fn from(current: StoreKeyId) -> Self {
        Self { current, former: None }
    }
}

impl Sealed {
    /// Its bytes, for a file.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; NONCE + PLAIN + TAG] {
        &self.0
    }

    /// From a file; `None` if the length is not right.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for StoreKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

fn bound_to_client(id: ClientId) -> Vec<u8> {
    [CLIENT_LABEL, &id.number().to_be_bytes()].concat()
}

fn bound_to_former(of: StoreKeyId) -> Vec<u8> {
    [RECOVERY_KEY_LABEL, &of.0].concat()
}

fn bound_to_code(set: &SetId, number: u8) -> Vec<u8> {
    [FINGERPRINT_LABEL, set.as_str().as_bytes(), b"\0", &[number]].concat()
}

fn bound_to_oath(serial: &Serial, parameters: Parameters) -> Vec<u8> {
    [OATH_LABEL, serial.as_str().as_bytes(), b"\0", parameters.to_string().as_bytes()].concat()
}

fn bound_to_offer(serial: &Serial, parameters: Parameters, made: u64, from: &str, user: &[u8]) -> Vec<u8> {
    let (serial, parameters, made) = (serial.as_str().as_bytes(), parameters.to_string(), made.to_be_bytes());
    // No name of a user contains a NUL.
    [OFFER_LABEL, serial, b"\0", parameters.as_bytes(), b"\0", &made, user, b"\0", from.as_bytes()].concat()
}

fn bound_to(id: &PublicId) -> Vec<u8> {
    [LABEL, id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oath::{Algorithm, Digits, Kind};
    use proptest::prelude::*;

    fn credential() -> Credential {
        Credential { private_id: PrivateId::new([6; 6]), aes_key: AesKey::new([7; 16]) }
    }

    fn same(a: &Credential, b: &Credential) -> bool {
        a.private_id.expose() == b.private_id.expose() && a.aes_key.expose() == b.aes_key.expose()
    }

    proptest! {
        #[test]
        fn opens_under_the_same_key_for_the_same_token_only(
            key: [u8; 32], nonce: [u8; 24], private: [u8; 6], aes: [u8; 16], id: [u8; 6], flip in 0usize..63, bit in 0u8..8,
        ) {
            let key = StoreKey::new(key);
            let token = PublicId::from_bytes(&id).unwrap();
            let credential = Credential { private_id: PrivateId::new(private), aes_key: AesKey::new(aes) };
            let sealed = key.seal(&credential, &token, nonce);
            prop_assert!(same(&key.open(&sealed, &token).ok().unwrap(), &credential));

            let mut other = *key.expose();
            other[0] ^= 1;
            prop_assert!(StoreKey::new(other).open(&sealed, &token).is_err());
            let swapped = PublicId::from_bytes(&id[1..]).unwrap();
            prop_assert!(key.open(&sealed, &swapped).is_err());
            let mut changed = *sealed.as_bytes();
            changed[flip] ^= 1 << bit;
            prop_assert!(key.open(&Sealed::from_bytes(&changed).unwrap(), &token).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_client_key_opens_for_its_client_only(
            key: [u8; 32], nonce: [u8; 24], length in 8usize..=64, id in 0u64..=9_999_999_998, flip: prop::sample::Index, bit in 0u8..8,
        ) {
            let key = StoreKey::new(key);
            let [it, other] = [id, id + 1].map(|id| ClientId::new(id).unwrap());
            let client = ClientKey::from_bytes(Zeroizing::new(alloc::vec![7; length])).unwrap();
            let mut sealed = key.seal_client(&client, it, nonce);
            prop_assert!(key.open_client(&sealed, it).ok().unwrap().expose() == client.expose());
            prop_assert!(key.open_client(&sealed, other).is_err());
            *flip.get_mut(&mut sealed) ^= 1 << bit;
            prop_assert!(key.open_client(&sealed, it).is_err());
        }
    }

    proptest! {
        #[test]
        fn an_oath_secret_opens_for_its_token_only(
            key: [u8; 32], nonce: [u8; 24], secret in proptest::collection::vec(any::<u8>(), 10..=128), flip: prop::sample::Index, bit in 0u8..8,
        ) {
            let key = StoreKey::new(key);
            let [it, other] = ["1", "2"].map(|serial| Serial::new(serial).unwrap());
            let parameters = Parameters { kind: Kind::Hotp, algorithm: Algorithm::Sha1, digits: Digits::SIX };
            let oath = OathKey { secret: Secret::new(Zeroizing::new(secret)).unwrap(), parameters };
            let mut sealed = key.seal_oath(&oath, &it, nonce);
            let opened = key.open_oath(&sealed, &it, parameters).ok().unwrap();
            prop_assert_eq!(opened.secret.expose(), oath.secret.expose());
            prop_assert!(key.open_oath(&sealed, &other, parameters).is_err());
            let longer = Parameters { digits: Digits::EIGHT, ..parameters };
            prop_assert!(key.open_oath(&sealed, &it, longer).is_err());
            *flip.get_mut(&mut sealed) ^= 1 << bit;
            prop_assert!(key.open_oath(&sealed, &it, parameters).is_err());
        }
    }

    #[test]
    fn an_offer_opens_for_its_user_time_and_place_only() {
        let (key, serial) = (StoreKey::new([1; 32]), Serial::new("app-1").unwrap());
        let parameters = Parameters::APP;
        let oath = OathKey { secret: Secret::new(Zeroizing::new(alloc::vec![7; 20])).unwrap(), parameters };
        let sealed = key.seal_offer(&oath, &serial, 5, "x", b"alice", [2; 24]);
        let open = |serial: &str, made, from, user: &[u8]| {
            key.open_offer(&sealed, &Serial::new(serial).unwrap(), parameters, made, from, user).is_ok()
        };
        assert!(open("app-1", 5, "x", b"alice"));
        assert!(!open("app-2", 5, "x", b"alice") && !open("app-1", 6, "x", b"alice"));
        assert!(!open("app-1", 5, "x", b"bob") && !open("app-1", 5, "y", b"alice"));
        assert!(key.open_oath(&sealed, &serial, parameters).is_err());
    }

    proptest! {
        #[test]
        fn a_backup_opens_as_a_whole_or_not_at_all(
            key: [u8; 32], nonce: [u8; 24], contents: Vec<u8>, header: [u8; 5], flip: prop::sample::Index, bit in 0u8..8,
        ) {
            let key = StoreKey::new(key);
            let mut sealed = key.seal_backup(&contents, &header, nonce);
            prop_assert!(*key.open_backup(&sealed, &header).unwrap() == contents);
            prop_assert!(key.open_backup(&sealed, &header[1..]).is_err());
            prop_assert!(key.open_bytes(&sealed, &[BACKUP_LABEL, &header].concat()).is_err());
            prop_assert!(key.open_backup(&sealed[..sealed.len() - 1], &header).is_err());
            *flip.get_mut(&mut sealed) ^= 1 << bit;
            prop_assert!(key.open_backup(&sealed, &header).is_err());
        }
    }

    proptest! {
        #[test]
        fn of_two_keys_each_opens_its_own_and_the_current_one_seals(a: [u8; 32], b: [u8; 32], c: [u8; 32], nonce: [u8; 24]) {
            prop_assume!(a != b && b != c && a != c);
            let token = PublicId::from_bytes(&[1]).unwrap();
            let sealed = |key: [u8; 32]| StoreKey::new(key).seal(&credential(), &token, nonce);
            let keys = StoreKeys::replacing(StoreKey::new(a), StoreKey::new(b)).unwrap();
            prop_assert!(StoreKeys::replacing(StoreKey::new(a), StoreKey::new(a)).is_none());
            prop_assert!(keys.open(&sealed(a), &token).is_ok() && keys.open(&sealed(b), &token).is_ok());
            prop_assert!(keys.open(&sealed(c), &token).is_err());
            prop_assert!(keys.seal(&credential(), &token, nonce) == sealed(b));
            let [a, b, c] = [a, b, c].map(|key| StoreKey::new(key).id());
            let ids = StoreKeyIds { current: b, former: Some(a) };
            prop_assert!(keys.ids() == ids && !ids.has(c));
            prop_assert!(keys.with_id(a).unwrap().id() == a && keys.with_id(c).is_none());
            let swapped = keys.sealing_under(a).unwrap();
            prop_assert!(swapped.id() == a && swapped.ids().has(b));
            prop_assert!(swapped.sealing_under(c).is_none());
        }
    }

    #[test]
    fn what_recovery_codes_keep_opens_for_its_code_only() {
        let (key, former) = (StoreKey::new([1; 32]), StoreKey::new([2; 32]));
        let sealed = key.seal_recovery_key(&RecoveryKey::of(&former), former.id(), [3; 24]);
        assert!(key.open_recovery_key(&sealed, former.id()).is_ok());
        assert!(key.open_recovery_key(&sealed, key.id()).is_err());
        assert!(former.open_recovery_key(&sealed, former.id()).is_err());
        let [set, other] = ["a", "b"].map(|set| SetId::new(set).unwrap());
        let sealed = key.seal_fingerprint(Fingerprint([7; 8]), (&set, 1), [3; 24]);
        assert_eq!(key.open_fingerprint(&sealed, (&set, 1)), Ok(Fingerprint([7; 8])));
        for code in [(&set, 2), (&other, 1)] {
            assert_eq!(key.open_fingerprint(&sealed, code), Err(CannotOpen));
        }
        assert_eq!(former.open_fingerprint(&sealed, (&set, 1)), Err(CannotOpen));
    }

    #[test]
    fn nothing_of_the_secret_shows() {
        let sealed =
            StoreKey::new([1; 32]).seal(&credential(), &PublicId::from_bytes(&[1]).unwrap(), [2; 24]);
        assert!(!sealed.as_bytes().windows(4).any(|bytes| bytes == [7; 4] || bytes == [6; 4]));
    }
}
