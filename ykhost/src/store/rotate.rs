//! Replacing the store key while logins go on.
//!
//! First `store.key` holds both keys, and everything new is sealed under the new one. Then each file is sealed again and
//! replaced by rename, under the lock of the store for a few of them at a time. At last `store.key` loses the former key. A
//! login opens each file under the key that the file names, so it works at every moment; so does one after a crash, and the
//! same call made again finishes.
//!
//! Nobody can make the MAC of a recovery code anew. It is made [again](yubiotp::recovery::RecoveryKey::again) from the former
//! one, and `.code-keys` keeps the former recovery key sealed. With the MAC, the fingerprint in the position changes. For the
//! moment between the two writes, a login takes either (`Store::as_either_code`).

use super::advance::{LockedPosition, may_write};
use super::change::{Batch, Change, OnProgress};
use super::code_keys::CodeKeys;
use super::slots::{State, new_file};
use super::{EarlierMacs, KeyFile, RecoveryRecord, SECRET, Store, TokenKey, write_store_keys};
use crate::file::{FileFault, Folder};
use crate::{Fault, random};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use yubiotp::key::Fingerprint;
use yubiotp::recovery::RecoveryKey;
use yubiotp::seal::{StoreKey, StoreKeyId, StoreKeyIds, StoreKeys};
use yubiotp::{SetId, TokenId};

/// How many files are replaced under one lock. Another change waits as long as that takes.
const AT_ONCE: usize = 200;
/// For other changes that wait for the lock, between two of our turns.
const PAUSE: Duration = Duration::from_millis(3);

/// A replacement of the store key that is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// The store key that goes.
    pub former: StoreKeyId,
    /// The store key that stays.
    pub current: StoreKeyId,
}

impl Rotation {
    fn of(ids: StoreKeyIds) -> Option<Self> {
        Some(Self { former: ids.former?, current: ids.current })
    }
}

/// The effect of [`Store::reseal`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// How many keys of tokens were sealed anew.
    pub keys: usize,
    /// How many offers of authenticator apps.
    pub offers: usize,
    /// Files that do not open under the key that they name, that name another one, or that cannot be read: they let nobody in, and
    /// stay as they are.
    pub unusable: Vec<PathBuf>,
}

impl Store {
    /// The replacement of the store key that is going on or was interrupted.
    ///
    /// # Errors
    /// The store key cannot be used.
    pub fn rotation(&self) -> Result<Option<Rotation>, Fault> {
        Ok(Rotation::of(self.store_key()?.ids()))
    }

    /// Begins to replace the store key by `new`, or goes on with what was begun. `keep` gets the former key before anything
    /// changes.
    ///
    /// # Errors
    /// `keep` failed, or the store key cannot be replaced: nothing has changed.
    pub fn begin_rotation<E: From<Fault>>(
        &self,
        new: StoreKey,
        keep: impl FnOnce(&StoreKey) -> Result<(), E>,
    ) -> Result<Rotation, E> {
        let _change = self.change()?;
        // Once a change has begun, every later one sees what is written here.
        let keys = self.store_key()?;
        if let (Some(former), Some(begun)) = (keys.former(), Rotation::of(keys.ids())) {
            keep(former)?;
            return Ok(begun);
        }
        keep(keys.current())?;
        let begun = Rotation { former: keys.id(), current: new.id() };
        if let Some(keys) = StoreKeys::replacing(StoreKey::new(*keys.expose()), new) {
            self.write_store_keys(&keys)?;
        }
        Ok(begun)
    }

    /// The tokens whose files are still sealed under the former key, or whose position has the fingerprint from before.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn to_reseal(&self, rotation: Rotation) -> Result<Vec<TokenId>, Fault> {
        let mut left = Vec::new();
        for token in self.tokens()?.0 {
            match self.key_file(&token) {
                Ok(file) if file.under() == rotation.former => left.push(token),
                Ok(KeyFile::RecoveryCode(set, number, RecoveryRecord { earlier: Some(_), .. })) => {
                    if let Some((_, former)) = self.both_fingerprints(&set, number)?
                        && self
                            .slots(&token)
                            .is_ok_and(|slots| slots.is_some_and(|it| it.state.key == former))
                    {
                        left.push(token);
                    }
                }
                Ok(_) | Err(Fault::NoKey { .. } | Fault::Key { .. }) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(left)
    }

    /// Seals everything in the store under the current key, and then removes the former key. `progress` is called once a
    /// token.
    ///
    /// # Errors
    /// The store cannot be written. Logins go on, and the call can be made again.
    pub fn reseal(&self, rotation: Rotation, progress: OnProgress<'_>) -> Result<Resealed, Fault> {
        let (mut done, mut unusable) = (Resealed::default(), BTreeSet::new());
        self.reseal_code_keys(rotation)?;
        loop {
            // Also what was copied here in the meantime.
            let left: Vec<_> =
                self.to_reseal(rotation)?.into_iter().filter(|token| !unusable.contains(token)).collect();
            if left.is_empty() {
                break;
            }
            for some in left.chunks(AT_ONCE) {
                let change = self.change()?;
                let keys = change.store_key()?;
                let Some(former) = keys.former().filter(|_| Rotation::of(keys.ids()) == Some(rotation))
                else {
                    // Another process has finished it.
                    return Ok(done);
                };
                let failed = change.reseal(some, keys, former, progress)?;
                done.keys = done.keys.saturating_add(some.len().saturating_sub(failed.len()));
                unusable.extend(failed);
                drop(change);
                std::thread::sleep(PAUSE);
            }
        }
        done.offers = self.reseal_offers(rotation)?;
        self.end_rotation(rotation)?;
        done.unusable = self.not_under(rotation.current)?;
        Ok(done)
    }

    /// The key files that are not sealed under this store key, or cannot be read.
    fn not_under(&self, store_key: StoreKeyId) -> Result<Vec<PathBuf>, Fault> {
        let (keys, mut paths) = (self.keys()?, Vec::new());
        for token in self.tokens()?.0 {
            let is_under = match self.key_file(&token) {
                Ok(file) => file.under() == store_key,
                Err(Fault::NoKey { .. }) => true,
                Err(Fault::Key { .. }) => false,
                Err(fault) => return Err(fault),
            };
            if !is_under {
                paths.push(keys.path().join(token.to_string()));
            }
        }
        Ok(paths)
    }

    fn reseal_code_keys(&self, rotation: Rotation) -> Result<(), Fault> {
        let change = self.change()?;
        let keys = change.store_key()?;
        if Rotation::of(keys.ids()) != Some(rotation) {
            return Ok(());
        }
        let is_code = |name: &String| {
            let id = name.split_once('.').map_or(name.as_str(), |(id, _)| id);
            matches!(TokenId::of_file(id), Some(TokenId::RecoveryCode(..)))
        };
        let are_here =
            change.keys.names()?.iter().any(is_code) || change.positions.names()?.iter().any(is_code);
        CodeKeys::reseal(&change.positions, keys, are_here)
    }

    /// Removes the former key, once nothing is sealed under it.
    fn end_rotation(&self, rotation: Rotation) -> Result<(), Fault> {
        let change = self.change()?;
        let keys = change.store_key()?;
        if Rotation::of(keys.ids()) != Some(rotation) {
            return Ok(());
        }
        if let Some(former) = keys.former()
            && CodeKeys::read(&change.positions)?.is_under(former)
        {
            CodeKeys::reseal(&change.positions, keys, true)?;
        }
        // What interrupted changes left was sealed under either.
        for folder in [&change.keys, &change.positions] {
            for name in folder.all_names()? {
                let of = name.strip_prefix('.').and_then(|name| name.strip_suffix(".new"));
                if of.is_some_and(|of| TokenId::of_file(of).is_some()) {
                    folder.remove(&name)?;
                }
            }
        }
        self.write_store_keys(&StoreKey::new(*keys.expose()).into())
    }

    fn write_store_keys(&self, keys: &StoreKeys) -> Result<(), Fault> {
        let path = &self.store_key;
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| FileFault::NotUtf8(path.clone()))?;
        let folder = Folder::open(path.parent().unwrap_or(path))?;
        Ok(folder.replace(name, write_store_keys(keys).as_bytes(), SECRET)?)
    }
}

/// A recovery code whose MAC was made again.
struct Renewed {
    token: TokenId,
    former: Fingerprint,
    new: Fingerprint,
}

impl Change<'_> {
    /// Seals the keys of these tokens under the current key, and returns those that do not open.
    fn reseal(
        &self,
        tokens: &[TokenId],
        keys: &StoreKeys,
        former: &StoreKey,
        progress: OnProgress<'_>,
    ) -> Result<Vec<TokenId>, Fault> {
        let (mut files, mut codes, mut unusable) = (Batch::new(&self.keys), Vec::new(), Vec::new());
        for token in tokens {
            let text = match self.store.key_file_in(&self.keys, token) {
                Ok(KeyFile::RecoveryCode(set, number, record)) => {
                    self.renew(&set, number, record, keys, former, &mut codes)?
                }
                Ok(file) if file.under() == former.id() => {
                    let opened =
                        file.open(former).map(|key| random::bytes().map(|nonce| key.write(keys, nonce)));
                    if opened.is_err() {
                        unusable.push(*token);
                    }
                    opened.ok().transpose()?
                }
                // Removed, or another change has written it.
                Ok(_) | Err(Fault::NoKey { .. } | Fault::Key { .. }) => None,
                Err(fault) => return Err(fault),
            };
            if let Some(text) = text {
                files.add(token, text.as_bytes())?;
            }
            progress();
        }
        files.finish()?;
        self.renew_positions(&codes)?;
        Ok(unusable)
    }

    /// The file of a code whose MAC is made again under the current key, unless it was.
    fn renew(
        &self,
        set: &SetId,
        number: u8,
        record: RecoveryRecord,
        keys: &StoreKeys,
        former: &StoreKey,
        codes: &mut Vec<Renewed>,
    ) -> Result<Option<String>, Fault> {
        let token = TokenId::RecoveryCode(*set, number);
        if record.under != former.id() {
            if let Some((new, former)) = self.store.both_fingerprints(set, number)? {
                codes.push(Renewed { token, former, new });
            }
            return Ok(None);
        }
        let fingerprint = record.mac.fingerprint();
        let sealed_fingerprint = keys.seal_fingerprint(fingerprint, (set, number), random::bytes()?);
        let earlier = EarlierMacs { under: record.all_under().collect(), sealed_fingerprint };
        let mac = RecoveryKey::of(keys).again(&record.mac);
        codes.push(Renewed { token, former: fingerprint, new: mac.fingerprint() });
        let record = RecoveryRecord { under: keys.id(), mac, earlier: Some(earlier), ..record };
        Ok(Some(TokenKey::RecoveryCode(*set, number, record).write(keys, [0; 24])))
    }

    /// Gives the positions of these codes their new fingerprints. Used stays used: no login may be writing the old file from
    /// when it is read until it has lost its name. A login that waited for it sees that, and reads the new one.
    fn renew_positions(&self, codes: &[Renewed]) -> Result<(), Fault> {
        let (mut files, mut held) = (Batch::new(&self.positions), Vec::new());
        for Renewed { token, former, new } in codes {
            self.finish_disabling(token)?;
            match LockedPosition::lock(&self.positions, token, self.store.locking.wait) {
                Ok(position) if position.slots.state.key == *former => {
                    may_write(&self.positions.path().join(token.to_string()))?;
                    files.add(token, &new_file(&State { key: *new, ..position.slots.state }))?;
                    held.push(position);
                }
                Ok(_) | Err(Fault::NoPosition { .. }) => {}
                // Nobody is let in by it.
                Err(fault) if fault.is_damage() => {}
                Err(fault) => return Err(fault),
            }
        }
        files.finish()
    }
}
