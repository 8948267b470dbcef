//! How many codes may still be tried for a user: the file of their bucket as `docs/store.md` describes it, read and written
//! not with our library.

use crate::place::Place;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Tries of a full bucket.
pub const CAPACITY: u64 = 10;
/// Seconds until a try is back.
pub const REFILL: u64 = 43_200;

/// Where the number is in the file.
const LABEL: &str = "full-at: ";
const DIGITS: usize = 20;

/// The file of a user on a host.
#[must_use]
pub fn of(place: &Place, user: &str) -> PathBuf {
    place.path("guesses").join(user)
}

/// How many tries are left by this process's clock.
///
/// # Panics
/// Where there is no such file.
#[must_use]
pub fn left(bucket: &Path) -> u64 {
    let (text, at) = contents(bucket);
    let full_at: u64 = text[at..].trim_end().parse().unwrap();
    CAPACITY - full_at.saturating_sub(now()).div_ceil(REFILL).min(CAPACITY)
}

/// Takes tries, or gives them back, so that this many are left. In place, as a login does.
///
/// # Panics
/// Where there is no such file.
pub fn leave(bucket: &Path, tries: u64) {
    let (_, at) = contents(bucket);
    // A while before the next one comes back.
    let full_at = now() + (CAPACITY - tries) * REFILL - 60;
    let file = fs::File::options().write(true).open(bucket).unwrap();
    file.write_all_at(format!("{full_at:0DIGITS$}").as_bytes(), at.try_into().unwrap()).unwrap();
}

/// The text of a bucket, and where the number is in it.
fn contents(bucket: &Path) -> (String, usize) {
    let text = fs::read_to_string(bucket).unwrap();
    let at = text.find(LABEL).unwrap() + LABEL.len();
    assert_eq!(text.len(), at + DIGITS + 1, "{text:?}");
    (text, at)
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}
