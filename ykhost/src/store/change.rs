//! Changing the store: tokens come, are switched off and on, and go.
//!
//! Every change is finished under a hidden name, synced, and then given its name, so that a crash at any moment
//! leaves each token as it was or as it should be; the same change made again finishes the work. A position is never
//! made smaller and never thrown away: that of a key that went is set aside under the key's fingerprint, and comes
//! back with it. What validation servers said of a token without a key counts for every key that comes (`elsewhere`).

mod elsewhere;
mod error;
mod held;
mod proved;
mod restored;
mod twins;
mod unfinished;

pub use error::EnrolError;
pub use restored::{Backup, Fate, Planned, Restoring, SavedPosition};
pub(super) use unfinished::UNFINISHED;
pub use unfinished::Unfinished;

use super::code_keys::CodeKeys;
use super::slots::{BadSlots, State, new_file};
use super::{SECRET, Store, TokenKey, slots_in};
use crate::file::{Changing, FileFault, Folder, LOCK_POLL};
use crate::{Fault, random};
use data_encoding::HEXLOWER;
use std::cell::{Cell, OnceCell};
use std::time::{Duration, Instant};
use yubiotp::key::Fingerprint;
use yubiotp::seal::StoreKeys;
use yubiotp::{Position, TokenId};

/// How a long change goes on: called once a token in each of its [`STEPS`].
pub type OnProgress<'a> = &'a dyn Fn();

/// How often [`Change::enrol`] calls [`OnProgress`] for each token.
pub const STEPS: usize = 2;

/// The effect of enrolling a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolled {
    /// It is new here, or was never used.
    Added,
    /// It is here, with the same credential.
    Unchanged,
    /// It was used here once, and goes on from where it was.
    Returned,
    /// It is here, and its key file cannot be opened: it gets a new one, and goes on from where it is.
    Mended,
}

/// The result of [`Change::remove`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// A key.
    Key,
    /// No key, but the position of a token that servers validate.
    Position,
}

/// Where a token begins at least.
#[derive(Clone, Copy)]
struct Begin {
    position: Position,
    drift: i32,
    /// Whether another program knows it: then it also raises what is known here.
    is_known: bool,
}

/// A change of the store, one at a time on a host: the next one waits until this one is dropped.
pub struct Change<'s> {
    pub(super) store: &'s Store,
    pub(super) keys: Folder,
    pub(super) positions: Folder,
    store_key: OnceCell<StoreKeys>,
    known: Cell<Option<twins::Known>>,
    _changing: Changing,
}

impl Store {
    /// Begins a change, once nobody else is changing the store.
    ///
    /// # Errors
    /// The store cannot be used.
    pub fn change(&self) -> Result<Change<'_>, Fault> {
        self.change_within(self.locking.wait)
    }

    fn change_within(&self, wait: Duration) -> Result<Change<'_>, Fault> {
        let keys = self.keys()?;
        let _changing = keys.lock(wait)?;
        Ok(Change {
            store: self,
            positions: self.positions()?,
            keys,
            store_key: OnceCell::new(),
            known: Cell::new(None),
            _changing,
        })
    }

    /// Begins to keep the position of a token whose key is not here, if it is not kept yet.
    ///
    /// # Errors
    /// There is a key, something known of the token cannot be read, or the store cannot be written.
    pub fn follow(&self, token: &TokenId) -> Result<(), Fault> {
        let since = Instant::now();
        loop {
            let mut followed = Ok(());
            // One try at the lock a call: while a login only waits, it may be stopped.
            (self.locking.undisturbed)(&mut || {
                followed = self.change_within(Duration::ZERO).and_then(|it| it.begin_elsewhere(token));
            });
            match followed {
                Err(Fault::File(FileFault::Locked { .. })) if since.elapsed() < self.locking.wait => {
                    std::thread::sleep(LOCK_POLL);
                }
                Err(Fault::File(FileFault::Locked { path, .. })) => {
                    return Err(FileFault::Locked { path, waited: self.locking.wait }.into());
                }
                followed => return followed,
            }
        }
    }
}

impl Change<'_> {
    /// The effect of enrolling a token with this key now.
    ///
    /// # Errors
    /// The store has another key for it, or another token with its secret, or cannot be read.
    pub fn would_enrol(&self, coming: &TokenKey) -> Result<Enrolled, EnrolError> {
        let (token, key) = (&coming.id(), coming.fingerprint());
        self.is_only_holder(coming)?;
        match self.token_key(token) {
            Ok(stored) if stored.fingerprint() != key => Err(EnrolError::OtherCredential(*token)),
            Ok(_) => match self.state(token)? {
                Some(state) if state.key == key => Ok(Enrolled::Unchanged),
                Some(_) => {
                    let path = self.positions.path().join(token.to_string());
                    Err(EnrolError::Fault(Fault::OtherKeysPosition { path, token: *token }))
                }
                None => Err(EnrolError::Fault(self.no_position(token))),
            },
            Err(Fault::Key { .. } | Fault::OtherStoreKey { .. } | Fault::BrokenSeal { .. }) => {
                match self.state(token) {
                    Ok(Some(state)) if state.key == key => Ok(Enrolled::Mended),
                    Err(fault) if !fault.is_damage() => Err(EnrolError::Fault(fault)),
                    // Once it is removed, any key may come.
                    _ => Err(EnrolError::OtherCredential(*token)),
                }
            }
            Err(Fault::NoKey { .. }) => {
                self.was_no_other(coming)?;
                let used = self.known_position(token, key)?.is_some();
                Ok(if used { Enrolled::Returned } else { Enrolled::Added })
            }
            Err(fault) => Err(EnrolError::Fault(fault)),
        }
    }

    /// How far a key is known to have come on this host or elsewhere, also if it was removed since.
    ///
    /// # Errors
    /// A position cannot be read.
    pub fn known_position(&self, token: &TokenId, key: Fingerprint) -> Result<Option<Position>, Fault> {
        let here = match self.state(token) {
            // Nobody can tell whose it was, nor how far that came.
            Err(fault) if fault.is_damage() => Some(State::lost(*token, Fingerprint::ELSEWHERE)),
            state => state?.filter(|it| [key, Fingerprint::ELSEWHERE].contains(&it.key)),
        };
        let known = [
            here,
            self.archived_position(token, key)?,
            self.archived_position(token, Fingerprint::ELSEWHERE)?,
        ];
        Ok(known.into_iter().flatten().filter_map(|state| state.position).max())
    }

    /// Adds tokens, none of which [`Change::would_enrol`] refused. Each secret may come once.
    ///
    /// First every position is made, then every key, each step durable before the next begins: a few waits for the
    /// disk in all, however many tokens.
    ///
    /// # Errors
    /// Two tokens would have one secret: then nothing is added. Or the store cannot be written: tokens without a key
    /// by then are not there, and the call can be made again.
    pub fn enrol(&self, keys: &[TokenKey], progress: OnProgress<'_>) -> Result<(), EnrolError> {
        self.enrol_from(keys, |_| None, progress)
    }

    /// As [`Change::enrol`], for tokens that were used on this host and whose positions are lost: no OTP of one whose
    /// position is not known is accepted until [`Change::prove`].
    ///
    /// # Errors
    /// As [`Change::enrol`].
    pub fn enrol_used(&self, keys: &[TokenKey], progress: OnProgress<'_>) -> Result<(), EnrolError> {
        let last = |key: &TokenKey| Begin { position: State::last(&key.id()), drift: 0, is_known: false };
        self.enrol_from(keys, |key| Some(last(key)), progress)
    }

    /// As [`Change::enrol`], for tokens that come from another program with their positions: `known` has those, with the
    /// drift of TOTP tokens. Where this host knows a higher one, that stays.
    ///
    /// # Errors
    /// As [`Change::enrol`].
    pub fn enrol_known(
        &self,
        keys: &[TokenKey],
        known: impl Fn(&TokenKey) -> Option<(Position, i32)>,
        progress: OnProgress<'_>,
    ) -> Result<(), EnrolError> {
        let begin =
            |key: &TokenKey| known(key).map(|(position, drift)| Begin { position, drift, is_known: true });
        self.enrol_from(keys, begin, progress)
    }

    fn enrol_from(
        &self,
        keys: &[TokenKey],
        begin: impl Fn(&TokenKey) -> Option<Begin>,
        progress: OnProgress<'_>,
    ) -> Result<(), EnrolError> {
        let _stale = self.known_is_stale_after();
        let store_key = self.store_key()?;
        self.are_no_twins(keys)?;
        for key in keys {
            if let TokenKey::RecoveryCode(.., record) = key
                && record.under != store_key.id()
            {
                return Err(EnrolError::StoreKeyReplaced(key.id()));
            }
        }
        if keys.iter().any(|key| matches!(key, TokenKey::RecoveryCode(..))) {
            CodeKeys::note(&self.positions, store_key.id())?;
        }
        let mut positions = Batch::new(&self.positions);
        for key in keys {
            self.place(key, begin(key), &mut positions)?;
            progress();
        }
        positions.finish()?;
        let mut files = Batch::new(&self.keys);
        for key in keys {
            files.add(&key.id(), key.write(store_key, random::bytes()?).as_bytes())?;
            progress();
        }
        Ok(files.finish()?)
    }

    /// Makes the position of a token whose key came here by other ways, or brings back the one it had.
    ///
    /// # Errors
    /// There is no such key, another token has its AES key, or the store cannot be written.
    pub fn adopt(&self, token: &TokenId) -> Result<Enrolled, EnrolError> {
        let _stale = self.known_is_stale_after();
        let key = self.token_key(token)?;
        if self.state(token)?.is_some_and(|state| state.key == key.fingerprint()) {
            return Ok(Enrolled::Unchanged);
        }
        self.is_known_as_no_other(&key)?;
        let mut batch = Batch::new(&self.positions);
        self.place(&key, None, &mut batch)?;
        batch.finish()?;
        let used = self.state(token)?.is_some_and(|state| state.position.is_some());
        Ok(if used { Enrolled::Returned } else { Enrolled::Added })
    }

    /// Removes the key of a token. Its position is set aside, so that the same key cannot come back as new; another
    /// token that has the same AES key goes on from there, too. Of a token that servers validate there is only the
    /// position.
    ///
    /// # Errors
    /// There is neither, it cannot be told whose position would be set aside, or the store cannot be written.
    pub fn remove(&self, token: &TokenId) -> Result<Removed, Fault> {
        let _stale = self.known_is_stale_after();
        self.finish_disabling(token)?;
        let name = token.to_string();
        let has_key = self.keys.has(&name)?;
        // A key that does not open lets nobody in, and cannot be compared with others.
        let key = if has_key { self.token_key(token).ok() } else { None };
        let twins = key.as_ref().map(|it| self.twins(it)).transpose()?.unwrap_or_default();
        let state = match self.state(token) {
            Ok(Some(state)) if has_key || state.key == Fingerprint::ELSEWHERE => Some(state),
            Err(fault) if fault.is_damage() => {
                self.give_up(token)?;
                None
            }
            Ok(_) if !has_key => {
                return Err(Fault::NoKey { path: self.keys.path().join(name), token: *token });
            }
            Ok(_) => {
                self.note_lost(token, true)?;
                None
            }
            Err(fault) => return Err(fault),
        };
        // Before the key goes, for what is cut off here; and once more when no login can use it.
        if let Some(key) = &key {
            let own = state.filter(|state| state.key == key.fingerprint());
            self.leave_to_twins(&twins, own)?;
        }
        // First the key: a key without a position is one whose position was lost.
        self.keys.remove(&name)?;
        self.keys.sync()?;
        if let Some(state) = state {
            self.archive_position(token, state.key)?;
        }
        if let Some(key) = &key {
            let last = self.last_said(token, key.fingerprint())?;
            self.leave_to_twins(&twins, last)?;
        }
        Ok(if has_key { Removed::Key } else { Removed::Position })
    }

    /// Removes a damaged position, after noting that nobody knows how far its key came.
    fn give_up(&self, token: &TokenId) -> Result<(), Fault> {
        self.note_lost(token, false)?;
        self.positions.remove(&token.to_string())?;
        Ok(self.positions.sync()?)
    }

    /// Makes `positions/ID` belong to this key, at `begin` if nothing says how far it came. What is known of an OATH token
    /// elsewhere counts beside what is known here.
    fn place(&self, coming: &TokenKey, begin: Option<Begin>, new: &mut Batch<'_>) -> Result<(), Fault> {
        let (token, key) = (&coming.id(), coming.fingerprint());
        let (name, least) = (token.to_string(), begin.map(|begin| begin.position));
        // What another program knows is never below the truth; the last of all positions is only for what nobody knows.
        let raises = token.yubikey().is_none() || begin.is_some_and(|begin| begin.is_known);
        let from = |known: Option<Position>| if raises { known.max(least) } else { known.or(least) };
        match self.state(token) {
            Ok(Some(state)) if state.key == key => {
                return self.raise(token, key, from(state.position));
            }
            Ok(Some(state)) if state.key == Fingerprint::ELSEWHERE => {
                self.take_over(token, key)?;
                let known = self.state(token)?.and_then(|state| state.position);
                return self.raise(token, key, from(known));
            }
            Ok(Some(other)) => self.archive_position(token, other.key)?,
            Ok(None) => {}
            Err(fault) if fault.is_damage() => self.give_up(token)?,
            Err(fault) => return Err(fault),
        }
        // It was written with a position that this key does not have now.
        self.forget_proof(token, key)?;
        let own = self.last_said(token, key)?;
        let state = State::follow(*token, key, [own, self.last_said(token, Fingerprint::ELSEWHERE)?]);
        let is_unknown = state.position.is_none();
        let state = match begin {
            Some(begin) if state.position.is_none() || raises && state.position < least => {
                State { position: Some(begin.position), drift: begin.drift, ..state }
            }
            _ => state,
        };
        let is_whole = || Ok::<_, Fault>(slots_in(&self.positions, &aside(token, key), token).is_ok());
        match own {
            None if is_unknown => new.add(token, &new_file(&state)),
            Some(own) if own == state && is_whole()? => {
                Ok(self.positions.rename_new(&aside(token, key), &name)?)
            }
            _ => self.begin(&state),
        }
    }

    /// Gives `positions/ID`, which is of `key`, the name of one whose key is not there now. One that was left there by
    /// a change that was cut off goes, unless it says more.
    fn archive_position(&self, token: &TokenId, key: Fingerprint) -> Result<(), Fault> {
        let (name, aside) = (token.to_string(), aside(token, key));
        let left = self.archived_position(token, key)?;
        let position = self.state(token)?.and_then(|state| state.position);
        match left {
            // Set aside already is what was proved to be false for what servers say. This stays in its place, and what
            // was proved with it.
            Some(left) if key == Fingerprint::ELSEWHERE && position < left.position => return Ok(()),
            // A leftover that only says that nobody knew is older than this, too.
            Some(left) if position >= left.position || left.position == Some(State::last(token)) => {
                self.forget_proof(token, key)?;
                self.positions.rename(&name, &aside)?;
            }
            _ => {
                self.forget_proof(token, key)?;
                self.positions.rename_new(&name, &aside)?;
            }
        }
        Ok(self.positions.sync()?)
    }

    fn token_key(&self, token: &TokenId) -> Result<TokenKey, Fault> {
        let file = self.store.key_file_in(&self.keys, token)?;
        self.store.open(&file, token, self.store_key()?)
    }

    fn state(&self, token: &TokenId) -> Result<Option<State>, Fault> {
        self.finish_disabling(token)?;
        Ok(slots_in(&self.positions, &token.to_string(), token)?.map(|slots| slots.state))
    }

    fn archived_position(&self, token: &TokenId, key: Fingerprint) -> Result<Option<State>, Fault> {
        let name = aside(token, key);
        match slots_in(&self.positions, &name, token) {
            Ok(Some(slots)) if slots.state.key != key => {
                let path = self.positions.path().join(name);
                Err(Fault::Position { path, why: BadSlots::Contradiction })
            }
            Err(fault) if fault.is_damage() => Ok(Some(State::lost(*token, key))),
            slots => Ok(slots?.map(|slots| slots.state)),
        }
    }

    fn no_position(&self, token: &TokenId) -> Fault {
        Fault::NoPosition { path: self.positions.path().join(token.to_string()), token: *token }
    }

    pub(super) fn store_key(&self) -> Result<&StoreKeys, Fault> {
        if self.store_key.get().is_none() {
            // Only this thread has it: nobody set it in between.
            let _ = self.store_key.set(self.store.store_key()?);
        }
        self.store_key.get().ok_or_else(|| Fault::NoStoreKey { path: self.store.store_key.clone() })
    }
}

/// The name of a position whose key is not there now.
fn aside(token: &TokenId, key: Fingerprint) -> String {
    format!("{token}.{}", HEXLOWER.encode(&key.0))
}

/// Files that get their names together, after all of them are on stable storage.
pub(super) struct Batch<'a> {
    folder: &'a Folder,
    names: Vec<String>,
}

impl<'a> Batch<'a> {
    pub(super) const fn new(folder: &'a Folder) -> Self {
        Self { folder, names: Vec::new() }
    }

    /// In place of a file of that name, it gets its owner.
    pub(super) fn add(&mut self, token: &TokenId, contents: &[u8]) -> Result<(), Fault> {
        self.add_named(token.to_string(), contents)
    }

    fn add_named(&mut self, name: String, contents: &[u8]) -> Result<(), Fault> {
        let hidden = format!(".{name}.new");
        // Left by a change that was cut off.
        self.folder.remove(&hidden)?;
        // Noted before it is written, so that `drop` finds it if writing fails.
        self.names.push(name);
        let file = self.folder.create(&hidden, contents, SECRET)?;
        self.names.last().map_or(Ok(()), |name| Ok(self.folder.keep_owner(&file, name)?))
    }

    pub(super) fn finish(mut self) -> Result<(), Fault> {
        if self.names.is_empty() {
            return Ok(());
        }
        self.folder.sync_all()?;
        for name in &self.names {
            self.folder.rename(&format!(".{name}.new"), name)?;
        }
        self.names.clear();
        Ok(self.folder.sync_all()?)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            // The change has failed already; a leftover is cleared by the next one.
            let _ = self.folder.remove(&format!(".{name}.new"));
        }
    }
}
