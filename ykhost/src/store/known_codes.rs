//! Recovery codes that this host has or had, by the fingerprints in `positions/`: a code of eight digits that another module
//! made may come again, and must not be new then.

use super::code_keys::CodeKeys;
use super::slots::BadSlots;
use super::{KeyFile, Shape, Store, slots_in};
use crate::Fault;
use data_encoding::HEXLOWER;
use std::collections::BTreeMap;
use yubiotp::key::Fingerprint;
use yubiotp::oath::Code;
use yubiotp::recovery::{self, RecoveryKey};
use yubiotp::{SetId, TokenId};

/// What this host knows of a code of eight digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownCode {
    /// Nothing.
    New,
    /// The store has keys under another store key, and of codes under that one, nobody can tell which this is.
    Unknown,
    /// It is in this set, and was not used.
    Here(SetId),
    /// It was removed, and was not used before.
    Removed,
    /// It was used or disabled here, or nobody can tell.
    Used,
}

struct Entry {
    set: SetId,
    number: u8,
    code: Fingerprint,
    is_used: bool,
    is_here: bool,
}

/// Every recovery code that this host has or had.
pub struct KnownCodes {
    /// Those of former store keys first.
    keys: Vec<RecoveryKey>,
    codes: Vec<Entry>,
    has_other_key: bool,
}

impl Store {
    /// Every recovery code that this host has or had, used ones among them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn known_codes(&self) -> Result<KnownCodes, Fault> {
        let (keys, positions) = (self.keys()?, self.positions()?);
        let store_key = self.store_key()?;
        let (mut here, mut has_other_key) = (BTreeMap::new(), false);
        for name in keys.names()? {
            let Some(token) = TokenId::of_file(&name) else { continue };
            // One that cannot be read lets nobody in.
            let Ok(file) = self.key_file_in(&keys, &token) else { continue };
            has_other_key |= !store_key.ids().has(file.under());
            let KeyFile::RecoveryCode(set, number, record) = file else { continue };
            if record.shape == Shape::EightDigits {
                here.insert((set, number), (record.mac.fingerprint(), false));
            }
        }
        let under = CodeKeys::read(&positions)?;
        let (known, is_lost) = under.all(&store_key);
        has_other_key |= is_lost;
        let mut codes = Vec::new();
        for name in positions.names()? {
            let (id, aside) = name.split_once('.').map_or((name.as_str(), None), |(id, key)| (id, Some(key)));
            let Some(token @ TokenId::RecoveryCode(set, number)) = TokenId::of_file(id) else { continue };
            let named = aside.map(|key| HEXLOWER.decode(key.as_bytes()).ok()).map(|key| key?.try_into().ok());
            let named: Option<Fingerprint> = match named {
                // A record of something else.
                Some(None) => continue,
                Some(Some(key)) => Some(Fingerprint(key)),
                None => None,
            };
            let own = here.get_mut(&(set, number)).filter(|_| aside.is_none());
            let (code, is_used) = match slots_in(&positions, &name, &token) {
                Ok(Some(slots)) => {
                    let state = slots.state;
                    (state.key, !state.enabled || state.position.is_some())
                }
                Ok(None) => continue,
                // Its name, or the code itself, says which one it is.
                Err(Fault::Position { why, .. }) if !matches!(why, BadSlots::LaterVersion(_)) => {
                    match named.or_else(|| own.as_ref().map(|own| own.0)) {
                        Some(code) => (code, true),
                        None => continue,
                    }
                }
                Err(fault) => return Err(fault),
            };
            let is_here = match own {
                Some(own) if own.0 == code => {
                    own.1 = true;
                    true
                }
                _ => false,
            };
            codes.push(Entry { set, number, code, is_used, is_here });
        }
        // A code whose position was lost may have been used.
        let lost = here.into_iter().filter(|(_, (_, has_position))| !has_position);
        codes.extend(lost.map(|((set, number), (code, _))| Entry {
            set,
            number,
            code,
            is_used: true,
            is_here: true,
        }));
        // Nobody can tell what they were made under.
        has_other_key |= under.is_empty() && !codes.is_empty();
        Ok(KnownCodes { keys: known, codes, has_other_key })
    }
}

impl KnownCodes {
    /// What is known of a code. `own` are sets to look into first: with those of its user, the answer comes soon.
    #[must_use]
    pub fn of(&self, code: &Code, own: &[SetId]) -> KnownCode {
        // It may have been made under any of the keys, and its MAC made again under any after that.
        let is_it = |entry: &&Entry| {
            (0..self.keys.len()).any(|made| {
                let mut keys = self.keys.iter().skip(made);
                let first =
                    keys.next().map(|key| recovery::mac_of_digits(code, key, &entry.set, entry.number));
                std::iter::successors(first, |mac| keys.next().map(|key| key.again(mac)))
                    .any(|mac| mac.fingerprint() == entry.code)
            })
        };
        let of = |entry: &Entry| match entry {
            Entry { is_used: true, .. } => KnownCode::Used,
            Entry { is_here: true, set, .. } => KnownCode::Here(*set),
            Entry { .. } => KnownCode::Removed,
        };
        if let Some(entry) = self.codes.iter().filter(|it| it.is_here && own.contains(&it.set)).find(is_it) {
            return of(entry);
        }
        // It may have been in several sets, one after the other.
        let mut known = if self.has_other_key { KnownCode::Unknown } else { KnownCode::New };
        for found in self.codes.iter().filter(is_it).map(of) {
            known = match (known, found) {
                (KnownCode::Used, _) | (_, KnownCode::Used) => return KnownCode::Used,
                (KnownCode::Here(set), _) | (_, KnownCode::Here(set)) => KnownCode::Here(set),
                (KnownCode::Unknown, _) => KnownCode::Unknown,
                (_, found) => found,
            };
        }
        known
    }
}
