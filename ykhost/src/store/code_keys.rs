//! `positions/.code-keys`: the store keys under which recovery codes were made on this host, the oldest first.
//!
//! The MAC of a code depends on the store key. When that is replaced, nobody knows the code to make the MAC anew. So a
//! rotation keeps the former recovery key here, sealed under the new store key.

use crate::Fault;
use crate::file::{Audience, FileFault, Folder};
use crate::random;
use data_encoding::BASE64;
use rustix::fs::Mode;
use yubiotp::recovery::RecoveryKey;
use yubiotp::seal::{StoreKey, StoreKeyId, StoreKeys};

/// In the folder of positions. A position of a code says nothing under another store key.
pub const CODE_KEYS: &str = ".code-keys";

/// A line has 131 bytes at most.
const MOST: u64 = 64 << 10;

/// Stands for the store keys under which codes were made before this file was.
const UNKNOWN: &str = "0000000000000000";

/// The lines of the file: `ID`, or `ID UNDER BASE64` with the recovery key of store key ID, sealed under store key UNDER.
pub(super) struct CodeKeys(Vec<String>);

impl CodeKeys {
    pub(super) fn read(positions: &Folder) -> Result<Self, Fault> {
        match positions.read(CODE_KEYS, MOST, Audience::Owner) {
            Err(FileFault::Missing(_)) => Ok(Self(Vec::new())),
            text => Ok(Self(String::from_utf8_lossy(&text?).lines().map(str::to_owned).collect())),
        }
    }

    fn write(&self, positions: &Folder) -> Result<(), Fault> {
        let text: String = self.0.iter().flat_map(|line| [line, "\n"]).collect();
        Ok(positions.replace(CODE_KEYS, text.as_bytes(), Mode::RUSR | Mode::WUSR)?)
    }

    /// No store key is named, which says nothing of codes that are here.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, id: StoreKeyId) -> bool {
        let id = id.to_string();
        self.0.iter().any(|line| of(line) == id)
    }

    /// The recovery key of a former store key, if a rotation kept it.
    pub(super) fn open(&self, id: StoreKeyId, keys: &StoreKeys) -> Option<RecoveryKey> {
        let name = id.to_string();
        self.0.iter().filter(|line| of(line) == name).find_map(|line| opened(line, id, keys))
    }

    /// The recovery keys of all store keys, the oldest first, and whether there is one that nothing here opens.
    pub(super) fn all(&self, keys: &StoreKeys) -> (Vec<RecoveryKey>, bool) {
        let (mut known, mut is_lost) = (Vec::new(), false);
        let own = keys.ids();
        for line in &self.0 {
            match id(line).filter(|id| !own.has(*id)).map(|id| opened(line, id, keys)) {
                Some(Some(key)) => known.push(key),
                Some(None) => is_lost = true,
                None => is_lost |= id(line).is_none(),
            }
        }
        known.extend(keys.former().into_iter().chain([keys.current()]).map(RecoveryKey::of));
        (known, is_lost)
    }

    /// Notes, durably, that recovery codes are made under this store key.
    pub(super) fn note(positions: &Folder, key: StoreKeyId) -> Result<(), Fault> {
        let mut keys = Self::read(positions)?;
        if !keys.has(key) {
            keys.0.push(key.to_string());
            keys.write(positions)?;
        }
        Ok(())
    }

    /// Seals the recovery keys of the former store key, and of those before it, under the current one, durably. `are_here`:
    /// there are codes, used and removed ones among them.
    pub(super) fn reseal(positions: &Folder, keys: &StoreKeys, are_here: bool) -> Result<(), Fault> {
        let Some(former) = keys.former() else { return Ok(()) };
        let mut lines = Self::read(positions)?;
        if lines.is_empty() && !are_here {
            return Ok(());
        }
        if lines.is_empty() {
            lines.0.push(UNKNOWN.to_owned());
        }
        for id in [former.id(), keys.id()] {
            if !lines.has(id) {
                lines.0.push(id.to_string());
            }
        }
        let mut is_new = false;
        for line in &mut lines.0 {
            let Some(of) = id(line).filter(|of| *of != keys.id()) else { continue };
            let key = if of == former.id() { Some(RecoveryKey::of(former)) } else { opened(line, of, keys) };
            let is_done = sealed(line).is_some_and(|(under, _)| under == keys.id());
            if let Some(key) = key.filter(|_| !is_done) {
                let sealed = keys.current().seal_recovery_key(&key, of, random::bytes()?);
                *line = format!("{of} {} {}", keys.id(), BASE64.encode(&sealed));
                is_new = true;
            }
        }
        if is_new { lines.write(positions) } else { Ok(()) }
    }

    /// Whether something in it is sealed under this store key.
    pub(super) fn is_under(&self, key: &StoreKey) -> bool {
        self.0.iter().any(|line| sealed(line).is_some_and(|(under, _)| under == key.id()))
    }
}

fn of(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

fn id(line: &str) -> Option<StoreKeyId> {
    StoreKeyId::parse(of(line)).filter(|_| of(line) != UNKNOWN)
}

fn sealed(line: &str) -> Option<(StoreKeyId, Vec<u8>)> {
    let (_, rest) = line.split_once(' ')?;
    let (under, sealed) = rest.split_once(' ')?;
    Some((StoreKeyId::parse(under)?, BASE64.decode(sealed.as_bytes()).ok()?))
}

fn opened(line: &str, of: StoreKeyId, keys: &StoreKeys) -> Option<RecoveryKey> {
    let (under, sealed) = sealed(line)?;
    keys.with_id(under)?.open_recovery_key(&sealed, of).ok()
}
