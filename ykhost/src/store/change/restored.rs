//! Bringing tokens back from a backup.
//!
//! A backup knows which OTPs were used before it was made. What was used since, only this host can know: where its own record
//! of a token is whole, the token goes on from there, and the backup changes nothing but what it knows better. Elsewhere
//! nothing that may have been used is accepted: YubiKeys are restored ([`State::restored`]), the position of a TOTP token is
//! put behind every code that was shown up to now, HOTP tokens need two codes at a terminal, and recovery codes are spent.
//!
//! Positions come before keys, each durable before the next begins. So a key that is there has its position, and a restore
//! that was cut off can be made again.

use super::proved::{is_proof, touched_name};
use super::{Batch, Change, EnrolError, OnProgress, SECRET, aside};
use crate::store::advance::LockedPosition;
use crate::store::code_keys::CodeKeys;
use crate::store::slots::{PositionFile, State, new_file};
use crate::store::{TokenKey, slots_in};
use crate::{Fault, random};
use std::collections::{BTreeMap, BTreeSet};
use yubiotp::key::Fingerprint;
use yubiotp::oath::Kind;
use yubiotp::oath::window::never_used;
use yubiotp::{Position, TokenId, recovery};

/// A position in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedPosition {
    /// Its state; at the highest position, and disabled, if its file was damaged.
    pub state: State,
    /// It was that of a key that was not there: `positions/ID.KEY`.
    pub is_archived: bool,
}

/// What a backup has.
pub struct Backup<'b> {
    /// The keys.
    pub keys: &'b [TokenKey],
    /// The positions, with those of keys that were not there.
    pub positions: &'b [SavedPosition],
    /// The time, in seconds since 1970. No code of a TOTP token that can have been used up to it is accepted.
    pub unix: u64,
    /// Whether a token comes back that was removed from this host since.
    pub brings_back: &'b dyn Fn(&TokenId) -> bool,
}

/// What becomes of a token, or of the position of a key that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// This host's own record is whole: the token goes on.
    GoesOn,
    /// A YubiKey: more touches are needed at the next login.
    Restored,
    /// A TOTP token: its codes are accepted from this step on.
    From(Position),
    /// An HOTP token: no code is accepted until two of them are typed at a terminal.
    NeedsResync,
    /// A recovery code: it is not accepted.
    Spent,
    /// It was removed from this host since: it stays away.
    StaysRemoved,
    /// This host has another key for it now: that stays.
    HasOtherKey,
    /// The position of a key that is not there, or of a token that servers validate.
    PositionOnly,
}

/// A token of a backup, and what a restore does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// The token.
    pub token: TokenId,
    /// What becomes of it.
    pub fate: Fate,
    /// Its state afterwards.
    pub state: State,
    /// Something of it is written.
    pub changes: bool,
    /// The place of its position: `positions/ID`, or else `positions/ID.KEY`.
    is_current: bool,
    /// No file is there: it can be made together with others.
    is_new: bool,
    /// The position that was known of an HOTP token: no code below it is a proof.
    floor: Option<Position>,
}

/// A restore that is about to be made.
pub struct Restoring {
    /// Every position, in the order in which they are written.
    pub planned: Vec<Planned>,
    /// Which keys are written, by their places in [`Backup::keys`].
    keys: Vec<usize>,
}

impl Restoring {
    /// How many keys are written.
    #[must_use]
    pub const fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Whether anything is written.
    #[must_use]
    pub fn changes(&self) -> bool {
        !self.keys.is_empty() || self.planned.iter().any(|planned| planned.changes)
    }
}

/// This host's own record of a key's position.
enum Here {
    /// Nobody has lost anything.
    Whole(State),
    /// There is none, or it may be older than what was used; what it says still.
    Lacking(Option<State>),
}

/// The key that a position is of, and where that is.
type Place = (TokenId, [u8; 8]);

impl Change<'_> {
    /// What [`Change::restore`] would do now. Reads only.
    ///
    /// # Errors
    /// Another token on this host has the secret of one that comes; or the store cannot be read.
    pub fn plan_restore(&self, backup: &Backup<'_>) -> Result<Restoring, EnrolError> {
        let names: BTreeSet<String> = self.positions.names().map_err(Fault::from)?.into_iter().collect();
        let mut saved: BTreeMap<Place, Vec<&SavedPosition>> = BTreeMap::new();
        for it in backup.positions {
            saved.entry((it.state.token, it.state.key.0)).or_default().push(it);
        }
        let coming: BTreeSet<TokenId> = backup.keys.iter().map(TokenKey::id).collect();
        let (mut planned, mut keys) = (Vec::new(), Vec::new());
        for (at, key) in backup.keys.iter().enumerate() {
            let (token, fingerprint) = (key.id(), key.fingerprint());
            let is_here = match self.token_key(&token) {
                Ok(here) => Some(here.fingerprint() == fingerprint),
                Err(
                    Fault::NoKey { .. }
                    | Fault::Key { .. }
                    | Fault::OtherStoreKey { .. }
                    | Fault::BrokenSeal { .. },
                ) => None,
                Err(fault) => return Err(fault.into()),
            };
            let own = saved.remove(&(token, fingerprint.0)).unwrap_or_default();
            let was_removed = || names.contains(&aside(&token, fingerprint)) && !(backup.brings_back)(&token);
            let away = match is_here {
                Some(true) => None,
                Some(false) => Some(Fate::HasOtherKey),
                None if was_removed() => Some(Fate::StaysRemoved),
                None => None,
            };
            if let Some(fate) = away {
                let archived = self.plan_archived(&token, fingerprint, &own, &names)?;
                planned.push(Planned { fate, ..archived });
                continue;
            }
            if is_here.is_none() {
                self.is_nobody_elses(key, &coming)?;
                keys.push(at);
            }
            let others = saved.get(&(token, Fingerprint::ELSEWHERE.0)).cloned().unwrap_or_default();
            planned.push(self.plan_key(key, &own, &others, &names, backup)?);
        }
        for ((token, key), own) in saved {
            let key = Fingerprint(key);
            let is_current = own.iter().any(|it| !it.is_archived);
            let has_key = coming.contains(&token) || self.has_key(&token)?;
            let one = if key == Fingerprint::ELSEWHERE && is_current && !has_key {
                self.plan_elsewhere(&token, &own, &names)?
            } else {
                self.plan_archived(&token, key, &own, &names)?
            };
            planned.push(one);
        }
        // The positions of keys that are not there come first: the others go on from them.
        planned.sort_by_key(|it| it.is_current);
        Ok(Restoring { planned, keys })
    }

    /// Does it. Where logins went on meanwhile, their positions count.
    ///
    /// # Errors
    /// The store cannot be written. No key is there by then whose position is not: the call can be made again.
    pub fn restore(
        &self,
        backup: &Backup<'_>,
        restoring: &Restoring,
        progress: OnProgress<'_>,
    ) -> Result<(), EnrolError> {
        let _stale = self.known_is_stale_after();
        let store_key = self.store_key()?;
        let coming = || restoring.keys.iter().filter_map(|at| backup.keys.get(*at));
        if coming().any(|key| matches!(key, TokenKey::RecoveryCode(..))) {
            CodeKeys::note(&self.positions, store_key.id())?;
        }
        let mut new = Batch::new(&self.positions);
        for planned in restoring.planned.iter().filter(|it| it.changes) {
            if let Some(floor) = planned.floor {
                let touched = State { position: Some(floor), ..State::new(planned.token, planned.state.key) };
                let name = touched_name(&planned.token, planned.state.key);
                new.add_named(name, &new_file(&touched))?;
            }
            match (planned.is_new, planned.is_current) {
                (true, true) => new.add(&planned.token, &new_file(&planned.state))?,
                (true, false) => {
                    new.add_named(aside(&planned.token, planned.state.key), &new_file(&planned.state))?;
                }
                (false, true) => self.write_current(planned)?,
                (false, false) => {
                    let name = aside(&planned.token, planned.state.key);
                    self.positions.replace(&name, &new_file(&planned.state), SECRET).map_err(Fault::from)?;
                }
            }
            progress();
        }
        new.finish()?;
        let mut files = Batch::new(&self.keys);
        for key in coming() {
            files.add(&key.id(), key.write(store_key, random::bytes()?).as_bytes())?;
            progress();
        }
        Ok(files.finish()?)
    }

    /// Fails if this host knows the secret of a key that comes as another token, that does not come with it.
    fn is_nobody_elses(&self, key: &TokenKey, coming: &BTreeSet<TokenId>) -> Result<(), EnrolError> {
        match self.is_only_holder(key).and_then(|()| self.was_no_other(key)) {
            Err(EnrolError::SameKey { holder, .. }) if coming.contains(&holder) => Ok(()),
            other => other,
        }
    }

    /// The position of a key that will be there. `others`: what the backup has of servers' positions.
    fn plan_key(
        &self,
        key: &TokenKey,
        own: &[&SavedPosition],
        others: &[&SavedPosition],
        names: &BTreeSet<String>,
        backup: &Backup<'_>,
    ) -> Result<Planned, Fault> {
        let (token, fingerprint) = (key.id(), key.fingerprint());
        let has_file = names.contains(&token.to_string());
        let here = if has_file { self.here(&token, fingerprint)? } else { Here::Lacking(None) };
        let said = merged(&token, fingerprint, own.iter().map(|it| it.state));
        let asides = || -> Result<Vec<State>, Fault> {
            let mut states = Vec::new();
            for of in [fingerprint, Fingerprint::ELSEWHERE] {
                if names.contains(&aside(&token, of)) {
                    states.extend(self.archived_position(&token, of)?);
                }
            }
            Ok(states)
        };
        let (before, mut state, fate) = match here {
            // The host's own record, unless it is older than the backup.
            Here::Whole(before) if said.is_none_or(|said| said.position <= before.position) => {
                let enabled = before.enabled && said.is_none_or(|said| said.enabled);
                (Some(before), State { enabled, ..before }, Fate::GoesOn)
            }
            Here::Whole(before) => {
                let state = merged(&token, fingerprint, [Some(before), said].into_iter().flatten());
                let (state, fate) = doubtful(key, state.unwrap_or(before), backup);
                (Some(before), state, fate)
            }
            Here::Lacking(before) => {
                let known: Vec<State> = said
                    .into_iter()
                    .chain(others.iter().map(|it| it.state))
                    .chain(before)
                    .chain(asides()?)
                    .collect();
                // Nothing says whether it was disabled.
                let state = merged(&token, fingerprint, known)
                    .unwrap_or(State { enabled: false, ..State::new(token, fingerprint) });
                let (state, fate) = doubtful(key, state, backup);
                (before.filter(|it| it.key == fingerprint), state, fate)
            }
        };
        let mut floor = None;
        if fate == Fate::NeedsResync {
            floor = state.position;
            state.position = Some(State::last(&token));
        }
        let is_new = !has_file && !names.contains(&aside(&token, fingerprint));
        let changes = before != Some(state) || self.is_damaged(&token, has_file)?;
        Ok(Planned { token, fate, state, changes, is_current: true, is_new, floor })
    }

    /// Whether a position file is there of which only one slot can be read, or none.
    fn is_damaged(&self, token: &TokenId, has_file: bool) -> Result<bool, Fault> {
        if !has_file {
            return Ok(false);
        }
        match slots_in(&self.positions, &token.to_string(), token) {
            Err(fault) if fault.is_damage() => Ok(true),
            slots => Ok(slots?.is_some_and(|slots| slots.damaged)),
        }
    }

    /// The position of a token that servers validate.
    fn plan_elsewhere(
        &self,
        token: &TokenId,
        own: &[&SavedPosition],
        names: &BTreeSet<String>,
    ) -> Result<Planned, Fault> {
        let key = Fingerprint::ELSEWHERE;
        let has_file = names.contains(&token.to_string());
        let here = if has_file { self.here(token, key)? } else { Here::Lacking(None) };
        let said = merged(token, key, own.iter().map(|it| it.state)).unwrap_or(State::new(*token, key));
        let (before, state) = match here {
            Here::Whole(before) => {
                let enabled = before.enabled && said.enabled;
                let position = before.position.max(said.position);
                (Some(before), State { enabled, position, ..before })
            }
            Here::Lacking(before) => {
                let mut known = vec![said];
                known.extend(before);
                if names.iter().any(|name| name.starts_with(&format!("{token}."))) {
                    for name in self.asides(token)? {
                        known.push(self.last_of(&name, token)?);
                    }
                }
                let state = merged(token, key, known).unwrap_or(said);
                (before.filter(|it| it.key == key), unknown_since(state))
            }
        };
        let changes = before != Some(state);
        let is_new = !has_file && !names.contains(&aside(token, key));
        Ok(Planned {
            token: *token,
            fate: Fate::PositionOnly,
            state,
            changes,
            is_current: true,
            is_new,
            floor: None,
        })
    }

    /// The position of a key that will not be there.
    fn plan_archived(
        &self,
        token: &TokenId,
        key: Fingerprint,
        own: &[&SavedPosition],
        names: &BTreeSet<String>,
    ) -> Result<Planned, Fault> {
        let said = merged(token, key, own.iter().map(|it| it.state)).unwrap_or(State::new(*token, key));
        let planned = |state, changes, is_current, is_new| Planned {
            token: *token,
            fate: Fate::PositionOnly,
            state,
            changes,
            is_current,
            is_new,
            floor: None,
        };
        // Here it came back since, or its key file went by other ways.
        let current = if names.contains(&token.to_string()) {
            match self.here(token, key)? {
                Here::Whole(state) => Some(state),
                Here::Lacking(state) => state.filter(|state| state.key == key),
            }
        } else {
            None
        };
        let name = aside(token, key);
        let before = match current {
            Some(current) => Some(current),
            None if names.contains(&name) => self.archived_position(token, key)?,
            None => None,
        };
        let is_new = before.is_none();
        let state = match before {
            Some(before) if said.position <= before.position => {
                State { enabled: before.enabled && (said.enabled || own.is_empty()), ..before }
            }
            before => unknown_since(merged(token, key, before.into_iter().chain([said])).unwrap_or(said)),
        };
        // Nothing is known of it, and nothing said.
        let changes = before != Some(state) && !own.is_empty();
        Ok(planned(state, changes, current.is_some(), is_new))
    }

    /// This host's own record of the position of a key. Its file is there.
    fn here(&self, token: &TokenId, key: Fingerprint) -> Result<Here, Fault> {
        let lost = |state: &State| state.position == Some(State::last(token));
        Ok(match slots_in(&self.positions, &token.to_string(), token) {
            Ok(Some(PositionFile { state, damaged: false, .. })) if state.key == key && !lost(&state) => {
                Here::Whole(state)
            }
            Ok(Some(slots)) if [key, Fingerprint::ELSEWHERE].contains(&slots.state.key) => {
                Here::Lacking(Some(slots.state))
            }
            Err(fault) if !fault.is_damage() => return Err(fault),
            // Damaged: it may have been disabled.
            Err(_) => Here::Lacking(Some(State::lost(*token, key))),
            Ok(_) => Here::Lacking(None),
        })
    }

    /// Writes a position where a file is.
    fn write_current(&self, planned: &Planned) -> Result<(), Fault> {
        let (token, to) = (&planned.token, planned.state);
        self.finish_disabling(token)?;
        let wait = self.store.locking.wait;
        let mut held = match LockedPosition::lock(&self.positions, token, wait) {
            Ok(held) => Some(held),
            Err(Fault::NoPosition { .. }) => None,
            Err(fault) if fault.is_damage() => None,
            Err(fault) => return Err(fault),
        };
        let now = held.as_ref().map(|held| held.slots.state);
        match now {
            Some(now) if now.key == to.key && now.position <= to.position => {
                if let Some(held) = &mut held {
                    // Both slots: were one lost later, the other must not say what is not so any more.
                    held.write(&to)?;
                    held.write(&to)?;
                }
                return Ok(());
            }
            // A login was faster. What it stored is kept, with all else that was planned.
            Some(now) if now.key == to.key && now.position != Some(State::last(token)) => {
                let to = State { position: now.position, drift: now.drift, ..to };
                if let Some(held) = &mut held {
                    held.write(&to)?;
                    held.write(&to)?;
                }
                return Ok(());
            }
            Some(now) if now.key == Fingerprint::ELSEWHERE && to.key != now.key => {
                self.forget_proof(token, now.key)?;
                let known = self.last_said(token, now.key)?;
                let said = State::follow(*token, now.key, [Some(now), known]);
                let said = State { enabled: true, ..said };
                self.positions.replace(&aside(token, now.key), &new_file(&said), SECRET)?;
            }
            Some(now) if now.key != to.key => {
                drop(held.take());
                self.archive_position(token, now.key)?;
            }
            _ => {}
        }
        self.forget_proof(token, to.key)?;
        self.begin(&to)?;
        drop(held);
        Ok(())
    }
}

/// All of these as one, at the highest position; `None` if there are none. The highest of all positions only says that nobody
/// knew.
fn merged(token: &TokenId, key: Fingerprint, states: impl IntoIterator<Item = State>) -> Option<State> {
    let mut any = false;
    let known = states.into_iter().map(|state| {
        any = true;
        let position = state.position.filter(|position| *position != State::last(token));
        Some(State { position, ..state })
    });
    let merged = State::follow(*token, key, known);
    any.then_some(merged)
}

/// The state of a key that will be there, of which nobody knows what was used since the backup.
fn doubtful(key: &TokenKey, state: State, backup: &Backup<'_>) -> (State, Fate) {
    match key {
        TokenKey::YubiKey(..) => (unknown_since(state), Fate::Restored),
        TokenKey::Oath(_, oath, _) => match oath.parameters.kind {
            Kind::Totp { period } => {
                // Whatever its drift is: it may have grown since the backup.
                let from = never_used(period, backup.unix);
                let from = state.position.map_or(from, |known| known.max(from));
                (State { position: Some(from), ..state }, Fate::From(from))
            }
            Kind::Hotp => (state, Fate::NeedsResync),
        },
        TokenKey::RecoveryCode(..) => (unknown_since(state), Fate::Spent),
    }
}

/// The same position, where nobody knows what was used since.
fn unknown_since(state: State) -> State {
    match state.token {
        TokenId::YubiKey(_) => State { restored: state.restored.or(Some(0)), ..state },
        TokenId::Oath(_) => State { position: Some(State::last(&state.token)), ..state },
        TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => {
            State { position: state.position.max(Some(recovery::USED)), ..state }
        }
    }
}

impl Change<'_> {
    /// Every position for a backup, each as it is at one moment, while logins go on. No position is renamed meanwhile.
    ///
    /// # Errors
    /// One cannot be read, or was written by a later version.
    pub fn saved_positions(&self) -> Result<Vec<SavedPosition>, Fault> {
        let positions = &self.positions;
        let mut saved = Vec::new();
        for name in positions.names()?.into_iter().filter(|name| !is_proof(name)) {
            let (id, of) = name.split_once('.').map_or((name.as_str(), None), |(id, of)| (id, Some(of)));
            let Some(token) = TokenId::of_file(id) else { continue };
            let state = match slots_in(positions, &name, &token) {
                Ok(None) => continue,
                Ok(Some(slots)) => slots.state,
                Err(fault) if fault.is_damage() => match of {
                    None => State::lost(token, Fingerprint::ELSEWHERE),
                    Some(of) => match fingerprint(of) {
                        Some(key) => State::lost(token, key),
                        None => continue,
                    },
                },
                Err(fault) => return Err(fault),
            };
            saved.push(SavedPosition { state, is_archived: of.is_some() });
        }
        Ok(saved)
    }
}

fn fingerprint(name: &str) -> Option<Fingerprint> {
    let bytes = data_encoding::HEXLOWER.decode(name.as_bytes()).ok()?;
    bytes.try_into().ok().map(Fingerprint)
}
