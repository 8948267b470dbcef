//! The contents of a position file, read as `docs/store.md` describes it and not with our library.

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use tests::place::Place;
use tests::soft_app::SoftApp;
use tests::soft_yubikey::SoftYubiKey;

/// Bytes of a slot, and of the block that it begins.
pub(crate) const SLOT: usize = 512;
pub(crate) const BLOCK: usize = 4096;

/// One whole slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) sequence: u64,
    pub(crate) enabled: bool,
    /// `None` before the first login.
    pub(crate) position: Option<u64>,
}

pub(crate) fn path(place: &Place, key: &SoftYubiKey) -> PathBuf {
    place.path("positions").join(key.public_id())
}

/// The file of an app's secret.
pub(crate) fn path_of_app(place: &Place, app: &SoftApp) -> PathBuf {
    place.path("positions").join(format!("oath-{}", app.serial()))
}

/// The file of a recovery code of [`Place::enrol_recovery`], by its number.
pub(crate) fn path_of_recovery(place: &Place, user: &str, number: usize) -> PathBuf {
    place.path("positions").join(format!("rec-{user}-{number}"))
}

/// Usage counter and session use as one number.
pub(crate) fn number((counter, session_use): (u16, u8)) -> u64 {
    u64::from(counter) << 8 | u64::from(session_use)
}

/// Both slots; `None` is one that is damaged.
pub(crate) fn slots(file: &[u8]) -> [Option<Slot>; 2] {
    assert_eq!(file.len(), 2 * BLOCK, "the length of a position file");
    [&file[..SLOT], &file[BLOCK..][..SLOT]].map(slot)
}

fn slot(bytes: &[u8]) -> Option<Slot> {
    let text = str::from_utf8(bytes).ok()?;
    let (said, sum) = text.split_once("sum: ")?;
    let sum = sum.strip_suffix('\n')?.trim_end().to_owned();
    if HEXLOWER.encode(&Sha256::digest(said)) != sum {
        return None;
    }
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let position = field("position")?.split(' ').next()?;
    Some(Slot {
        sequence: field("sequence")?.parse().ok()?,
        enabled: field("state")? == "enabled",
        position: position.parse().ok(),
    })
}

/// The file's newest whole slot. A file without one is never right here.
#[track_caller]
pub(crate) fn newest(file: &[u8]) -> Slot {
    let newest = slots(file).into_iter().flatten().max_by_key(|slot| slot.sequence);
    newest.unwrap_or_else(|| panic!("no whole slot in {:?}", String::from_utf8_lossy(file)))
}

#[track_caller]
pub(crate) fn read(path: &Path) -> Slot {
    newest(&fs::read(path).unwrap())
}
