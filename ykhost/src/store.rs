//! The host's token store: one small file a token for its key, one for its position.
//!
//! `keys/ID` is sealed and written once; `positions/ID` changes at every login and belongs to this host only.
//! `docs/store.md` has the formats and why they are so.

mod advance;
mod change;
mod claims;
mod code_keys;
mod guesses;
mod known_codes;
mod notices;
mod pending;
mod restored;
mod rotate;
mod slots;
mod survey;
#[cfg(test)]
mod tests;
mod token_key;

pub use advance::{Undisturbed, plainly};
pub use change::{
    Backup, Change, EnrolError, Enrolled, Fate, OnProgress, Planned, Removed, Restoring, STEPS,
    SavedPosition, Unfinished,
};
pub use claims::CLAIMS;
pub use code_keys::CODE_KEYS;
pub use guesses::{GUESSES, UserGuesses};
pub use known_codes::{KnownCode, KnownCodes};
pub use notices::NOTICES;
pub use pending::{Earlier, HeldOffer, OFFER_IS_GOOD, Origin, PENDING, PendingOffer, Seen};
pub use rotate::{Resealed, Rotation};
pub use slots::{BadSlots, PositionFile, State};
pub use survey::{OrphanFile, StoreScan};
pub use token_key::{KeyFile, TokenKey};
pub use yubiotp::record::{
    BadRecord, EarlierMacs, OathNotes, OathRecord, Record, RecoveryRecord, Shape, read_store_key,
    write_store_key, write_store_keys,
};

use crate::Fault;
use crate::enrolled::ENROLLED;
use crate::file::{Audience, FileFault, Folder, Folders};
use crate::settings::Settings;
use advance::Locking;
use code_keys::CodeKeys;
use rustix::fs::{Mode, OFlags};
use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;
use yubiotp::key::Fingerprint;
use yubiotp::ledger::{Advance, Ledger};
use yubiotp::oath::window::Progress;
use yubiotp::oath::{Code, Kind};
use yubiotp::recovery::{self, CodeMac, RecoveryCode, RecoveryKey};
use yubiotp::seal::{StoreKeyId, StoreKeys};
use yubiotp::verdict::{EightDigits, OathToken, Proved, Vault};
use yubiotp::{Credential, Position, PublicId, Serial, SetId, TokenId};

/// The folder of sealed keys, in the store.
pub const KEYS: &str = "keys";
/// The folder of positions, in the store.
pub const POSITIONS: &str = "positions";

/// In the store and in the folder of keys: this host has a list of those who enrolled.
pub(crate) const HAS_ENROLLED: &str = ".enrolled";
const HAS_ENROLLED_TEXT: &[u8] =
    b"# The store has a list of those who enrolled. If it is lost, logins of unlisted users are faults.\n";

/// Whether a process of an ordinary user may not look: then it does not know.
fn may_not_look(fault: &FileFault) -> bool {
    fault.is_denied() && !rustix::process::geteuid().is_root()
}

const SECRET: Mode = Mode::RUSR.union(Mode::WUSR);

/// A key file has a few hundred bytes.
const MOST_KEY_FILE: u64 = 4096;

/// The token store of a host. Nothing is open yet: each step opens what it needs.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    store_key: PathBuf,
    locking: Locking,
    folders: Arc<Folders>,
}

impl Store {
    /// The store that the settings name.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            folder: settings.store.clone(),
            store_key: settings.store_key.clone(),
            locking: Locking { wait: settings.lock_wait, undisturbed: plainly },
            folders: Arc::clone(&settings.folders),
        }
    }

    /// The same store, in a process that somebody may want to stop: each call that holds a lock is made through this.
    #[must_use]
    pub fn undisturbed(self, undisturbed: Undisturbed) -> Self {
        Self { locking: Locking { undisturbed, ..self.locking }, ..self }
    }

    /// The folder of sealed keys.
    ///
    /// # Errors
    /// It, or a folder on the way, cannot be used.
    pub fn keys(&self) -> Result<Folder, Fault> {
        self.part(KEYS)
    }

    /// The folder of positions.
    ///
    /// # Errors
    /// It, or a folder on the way, cannot be used.
    pub fn positions(&self) -> Result<Folder, Fault> {
        self.part(POSITIONS)
    }

    fn part(&self, name: &str) -> Result<Folder, Fault> {
        self.folders.folder(&self.folder.join(name)).map_err(|fault| {
            Fault::if_missing(fault, |path| {
                let only_positions = name == POSITIONS && self.keys().is_ok();
                if only_positions { Fault::NoPositions { path } } else { Fault::NoStore { path } }
            })
        })
    }

    /// The fault of a list of those who enrolled that this host had, and that is gone, or of a store that is gone with it.
    /// `None` if there never was one.
    pub(crate) fn lost_enrolled(&self) -> Option<Fault> {
        let lost = || Fault::NoEnrolled { path: self.folder.join(ENROLLED) };
        // A process of an ordinary user may look here only.
        let is_noted = self.folders.folder(&self.folder).and_then(|store| store.has(HAS_ENROLLED));
        if is_noted.is_ok_and(|is_noted| is_noted) {
            return Some(lost());
        }
        match self.keys().map(|keys| keys.has(HAS_ENROLLED)) {
            Ok(Ok(true)) => Some(lost()),
            Ok(Ok(false)) => None,
            Ok(Err(fault)) if may_not_look(&fault) => None,
            Ok(Err(fault)) => Some(fault.into()),
            Err(Fault::File(fault)) if may_not_look(&fault) => None,
            Err(fault @ Fault::File(_)) => Some(fault),
            Err(gone @ Fault::NoStore { .. }) => {
                let had_one = self.folders.file(&self.store_key, Audience::Owner);
                (!matches!(had_one, Err(FileFault::Missing(_)))).then_some(gone)
            }
            _ => None,
        }
    }

    /// Notes, durably, that this host has a list of those who enrolled.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn note_enrolled(&self) -> Result<(), Fault> {
        // In both: one of them may be restored without the other.
        for folder in [self.keys()?, Folder::open(&self.folder)?] {
            if !folder.has(HAS_ENROLLED)? {
                folder.replace(HAS_ENROLLED, HAS_ENROLLED_TEXT, Mode::RUSR | Mode::WUSR)?;
            }
        }
        Ok(())
    }

    /// The host's store key, and the former one while it is being replaced.
    ///
    /// # Errors
    /// Its file cannot be used.
    pub fn store_key(&self) -> Result<StoreKeys, Fault> {
        let text = self
            .folders
            .read(&self.store_key, MOST_KEY_FILE, Audience::Owner)
            .map_err(|fault| Fault::if_missing(fault, |path| Fault::NoStoreKey { path }))?;
        let text = zeroize::Zeroizing::new(text);
        read_store_key(&text).map_err(|why| Fault::StoreKey { path: self.store_key.clone(), why })
    }

    /// Every token that has a key here, in order, and the names of files that are no keys.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn tokens(&self) -> Result<(Vec<TokenId>, Vec<PathBuf>), Fault> {
        let folder = self.keys()?;
        let (mut tokens, mut strays) = (Vec::new(), Vec::new());
        for name in folder.names()? {
            match TokenId::of_file(&name) {
                Some(token) => tokens.push(token),
                None => strays.push(folder.path().join(name)),
            }
        }
        tokens.sort_unstable();
        Ok((tokens, strays))
    }

    /// The sealed key of a token.
    ///
    /// # Errors
    /// There is none, or its file cannot be used.
    pub fn key_file(&self, token: &TokenId) -> Result<KeyFile, Fault> {
        self.key_file_in(&self.keys()?, token)
    }

    fn key_file_in(&self, keys: &Folder, token: &TokenId) -> Result<KeyFile, Fault> {
        let name = token.to_string();
        let text = keys
            .read(&name, MOST_KEY_FILE, Audience::Owner)
            .map_err(|fault| Fault::if_missing(fault, |path| Fault::NoKey { path, token: *token }))?;
        KeyFile::read(&text, token).map_err(|why| Fault::Key { path: keys.path().join(name), why })
    }

    /// The contents of the position file of a token; `None` if there is none.
    ///
    /// # Errors
    /// It is there and cannot be used.
    pub fn slots(&self, token: &TokenId) -> Result<Option<PositionFile>, Fault> {
        slots_in(&self.positions()?, &token.to_string(), token)
    }

    fn open(&self, file: &KeyFile, token: &TokenId, keys: &StoreKeys) -> Result<TokenKey, Fault> {
        let key = keys.with_id(file.under()).ok_or_else(|| self.other_key(token, file.under(), keys))?;
        file.open(key).map_err(|_| Fault::BrokenSeal { path: self.folder.join(KEYS).join(token.to_string()) })
    }

    fn other_key(&self, token: &TokenId, under: StoreKeyId, keys: &StoreKeys) -> Fault {
        let path = self.folder.join(KEYS).join(token.to_string());
        Fault::OtherStoreKey { path, under, store_key: self.store_key.clone(), id: keys.id() }
    }

    /// The key of a token.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    pub fn token_key(&self, token: &TokenId) -> Result<TokenKey, Fault> {
        of_one_moment(|| self.open(&self.key_file(token)?, token, &self.store_key()?))
    }

    /// The stored recovery code of this number; `None` if the set is here and has none.
    fn recovery_record(&self, set: &SetId, number: u8) -> Result<Option<RecoveryRecord>, Fault> {
        let token = TokenId::RecoveryCode(*set, number);
        match self.key_file(&token) {
            Ok(KeyFile::RecoveryCode(.., record)) => Ok(Some(record)),
            Ok(_) => Ok(None),
            Err(missing @ Fault::NoKey { .. }) => {
                // A set that is listed and not here is a fault, as a token without a key is.
                if self.recovery_codes(set)?.is_empty() { Err(missing) } else { Ok(None) }
            }
            Err(fault) => Err(fault),
        }
    }

    /// The numbers of the codes in a set that is here, used ones among them.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn recovery_codes(&self, set: &SetId) -> Result<Vec<u8>, Fault> {
        let keys = self.keys()?;
        let mut numbers = Vec::new();
        for number in 1..=recovery::MOST {
            if keys.has(&TokenId::RecoveryCode(*set, number).to_string())? {
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    /// The numbers of the codes in a set, and whether each was used or cannot be used here.
    ///
    /// # Errors
    /// The set is not here, or a position cannot be used.
    pub fn recovery_codes_used(&self, set: &SetId) -> Result<Vec<(u8, bool)>, Fault> {
        let numbers = self.recovery_codes(set)?;
        if numbers.is_empty() {
            return Err(self.no_key(TokenId::RecoverySet(*set)));
        }
        let mut codes = Vec::with_capacity(numbers.len());
        for number in numbers {
            let slots = self.slots(&TokenId::RecoveryCode(*set, number))?;
            let is_left = slots.is_some_and(|slots| slots.state.enabled && slots.state.position.is_none());
            codes.push((number, !is_left));
        }
        Ok(codes)
    }

    /// How many codes of a set may still be used here.
    ///
    /// # Errors
    /// The set is not here, or a position cannot be used.
    pub fn recovery_codes_left(&self, set: &SetId) -> Result<usize, Fault> {
        Ok(self.recovery_codes_used(set)?.iter().filter(|(_, is_used)| !is_used).count())
    }
}

/// Reads files that belong together, again if the store key was replaced between one and the other.
fn of_one_moment<T>(read: impl Fn() -> Result<T, Fault>) -> Result<T, Fault> {
    for _ in 0..2 {
        match read() {
            Err(Fault::OtherStoreKey { .. }) => {}
            done => return done,
        }
    }
    read()
}

/// The contents of the position file `name` of a token, read without a lock.
fn slots_in(positions: &Folder, name: &str, token: &TokenId) -> Result<Option<PositionFile>, Fault> {
    match positions.file(name, OFlags::RDONLY, Audience::Owner) {
        Err(FileFault::Missing(_)) => Ok(None),
        file => advance::read(&file?, &positions.path().join(name), token).map(Some),
    }
}

impl Store {
    /// Whether a key of this token is or was on this host, so that OTPs may have been accepted without a server.
    fn had_key(&self, token: &TokenId) -> Result<bool, Fault> {
        let (name, elsewhere) =
            (token.to_string(), data_encoding::HEXLOWER.encode(&Fingerprint::ELSEWHERE.0));
        let is_of_key = |file: String| {
            file.strip_prefix(&format!("{name}.")).is_some_and(|of| !of.starts_with(&elsewhere))
        };
        Ok(self.keys()?.has(&name)? || self.positions()?.names()?.into_iter().any(is_of_key))
    }
}

impl Vault for Store {
    fn credential(&self, token: &PublicId) -> Result<Credential, Fault> {
        let token = TokenId::YubiKey(*token);
        match self.token_key(&token)? {
            TokenKey::YubiKey(_, credential) => Ok(credential),
            TokenKey::Oath(..) | TokenKey::RecoveryCode(..) => Err(self.no_key(token)),
        }
    }

    fn holds(&self, token: &PublicId) -> Result<bool, Fault> {
        Ok(self.keys()?.has(&token.to_string())?)
    }

    fn is_enabled(&self, token: &PublicId) -> Result<bool, Fault> {
        Ok(self.slots(&(*token).into())?.is_none_or(|slots| slots.state.enabled))
    }

    fn advance_proved(&self, token: &TokenId, key: Fingerprint, proved: Proved) -> Result<Advance, Fault> {
        let (from, heals) = match proved {
            Proved::ByTouches(proof) => (Some(Some(proof.first())), true),
            Proved::ByServer(_) => (None, !self.had_key(token)?),
        };
        self.step(token, key, advance::Step { position: proved.position(), drift: None, from, heals })
    }

    fn oath(&self, token: &Serial) -> Result<OathToken, Fault> {
        let token = TokenId::Oath(*token);
        let TokenKey::Oath(_, key, notes) = self.token_key(&token)? else {
            return Err(self.no_key(token));
        };
        let no_position = || {
            Ok::<_, Fault>(Fault::NoPosition {
                path: self.positions()?.path().join(token.to_string()),
                token,
            })
        };
        let Some(slots) = self.slots(&token)? else { return Err(no_position()?) };
        let progress = Progress { next: slots.state.position, drift: slots.state.drift };
        Ok(OathToken { key, window: notes.window, progress })
    }

    fn oath_kind(&self, token: &Serial) -> Result<Kind, Fault> {
        let token = TokenId::Oath(*token);
        match self.key_file(&token)? {
            KeyFile::Oath(_, record) => Ok(record.parameters.kind),
            KeyFile::YubiKey(..) | KeyFile::RecoveryCode(..) => Err(self.no_key(token)),
        }
    }

    fn advance_oath(
        &self,
        token: &Serial,
        key: Fingerprint,
        from: Option<Progress>,
        to: Progress,
    ) -> Result<Advance, Fault> {
        let token = TokenId::Oath(*token);
        // A step that is found is always followed by another one.
        let next = to.next.unwrap_or(Position::from_stored(0));
        let step = advance::Step {
            position: next,
            drift: Some(to.drift),
            from: from.map(|from| from.next),
            heals: false,
        };
        advance::advance(&self.positions()?, &token, key, step, self.locking)
    }

    fn recovery_code(&self, set: &SetId, typed: &RecoveryCode) -> Result<Option<Fingerprint>, Fault> {
        let found = self.recovery_keys(set, typed.number(), Shape::Letters)?;
        Ok(found.and_then(|(mac, keys)| {
            let same = recovery::mac_under(&keys, |key| typed.mac(key, set))?;
            same.matches(&mac).then(|| mac.fingerprint())
        }))
    }

    fn eight_digits(&self, set: &SetId, typed: &Code) -> Result<Option<EightDigits>, Fault> {
        let mut found = None;
        for number in self.recovery_codes(set)? {
            let Some((mac, keys)) = self.recovery_keys(set, number, Shape::EightDigits)? else { continue };
            let same = recovery::mac_under(&keys, |key| recovery::mac_of_digits(typed, key, set, number));
            if same.is_some_and(|same| same.matches(&mac)) {
                let slots = self.slots(&TokenId::RecoveryCode(*set, number))?;
                let is_unused =
                    slots.is_some_and(|slots| slots.state.enabled && slots.state.position.is_none());
                found = Some(EightDigits { number, key: mac.fingerprint(), is_unused });
            }
        }
        Ok(found)
    }
}

impl Store {
    /// Why [`Ledger::advance`] would not store this position now; `None` if it would. Uses nothing up.
    ///
    /// # Errors
    /// As [`Ledger::advance`].
    pub fn would_refuse(
        &self,
        token: &TokenId,
        key: Fingerprint,
        to: Position,
    ) -> Result<Option<Advance>, Fault> {
        let positions = self.positions()?;
        self.as_either_code(token, key, |key| advance::would_refuse(&positions, token, key, to))
    }

    /// The MAC of a code of this shape, and the keys that it is made under, in turn. `None` if there is no such code.
    fn recovery_keys(
        &self,
        set: &SetId,
        number: u8,
        shape: Shape,
    ) -> Result<Option<(CodeMac, Vec<RecoveryKey>)>, Fault> {
        of_one_moment(|| {
            let Some(record) = self.recovery_record(set, number)?.filter(|record| record.shape == shape)
            else {
                return Ok(None);
            };
            let (keys, token) = (self.store_key()?, TokenId::RecoveryCode(*set, number));
            let former = OnceCell::new();
            let key = |id| match keys.with_id(id) {
                Some(key) => Ok(RecoveryKey::of(key)),
                None => {
                    if former.get().is_none() {
                        let _ = former.set(CodeKeys::read(&self.positions()?)?);
                    }
                    let kept = former.get().and_then(|former| former.open(id, &keys));
                    kept.ok_or_else(|| self.other_key(&token, id, &keys))
                }
            };
            let under = record.all_under().map(key).collect::<Result<Vec<_>, Fault>>()?;
            Ok(Some((record.mac, under)))
        })
    }

    /// Does something with the position of a token. That of a recovery code may have another fingerprint than its file, for
    /// a moment: the MAC is made again when the store key is replaced.
    fn as_either_code<T>(
        &self,
        token: &TokenId,
        key: Fingerprint,
        act: impl Fn(Fingerprint) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut done = act(key);
        if let (TokenId::RecoveryCode(set, number), Err(Fault::OtherKeysPosition { .. })) = (token, &done)
            && let Some((new, former)) = self.both_fingerprints(set, *number)?
            && [new, former].contains(&key)
        {
            for key in [new, former, new] {
                if matches!(done, Err(Fault::OtherKeysPosition { .. })) {
                    done = act(key);
                }
            }
        }
        done
    }

    /// The fingerprints of a code under the store key and under the former one; `None` if the store key was not replaced
    /// since it was made.
    pub(in crate::store) fn both_fingerprints(
        &self,
        set: &SetId,
        number: u8,
    ) -> Result<Option<(Fingerprint, Fingerprint)>, Fault> {
        let Some(record) = self.recovery_record(set, number)? else { return Ok(None) };
        let Some(earlier) = &record.earlier else { return Ok(None) };
        let keys = self.store_key()?;
        let former = keys
            .with_id(record.under)
            .and_then(|key| key.open_fingerprint(&earlier.sealed_fingerprint, (set, number)).ok());
        Ok(former.map(|former| (record.mac.fingerprint(), former)))
    }

    /// Whether a position with this fingerprint is the one of a key that is here.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn is_position_of(&self, key: &TokenKey, position: Fingerprint) -> Result<bool, Fault> {
        match key {
            _ if key.fingerprint() == position => Ok(true),
            TokenKey::RecoveryCode(set, number, _) => {
                Ok(self.both_fingerprints(set, *number)?.is_some_and(|(_, former)| former == position))
            }
            TokenKey::YubiKey(..) | TokenKey::Oath(..) => Ok(false),
        }
    }

    fn no_key(&self, token: TokenId) -> Fault {
        Fault::NoKey { path: self.folder.join(KEYS).join(token.to_string()), token }
    }
}

impl Ledger for Store {
    type Fault = Fault;
    type Token = TokenId;

    fn advance(&self, token: &TokenId, key: Fingerprint, to: Position) -> Result<Advance, Fault> {
        self.step(token, key, advance::Step { position: to, drift: None, from: None, heals: false })
    }
}

impl Store {
    fn step(&self, token: &TokenId, key: Fingerprint, to: advance::Step) -> Result<Advance, Fault> {
        let positions = self.positions()?;
        let advance = |key| advance::advance(&positions, token, key, to, self.locking);
        match self.as_either_code(token, key, advance) {
            // The first time that a server's word is all there is about this token.
            Err(Fault::NoPosition { .. } | Fault::OtherKeysPosition { .. })
                if key == Fingerprint::ELSEWHERE =>
            {
                self.follow(token)?;
                advance(key)
            }
            advanced => advanced,
        }
    }
}
