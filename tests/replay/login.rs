//! Logins of alice in this process: ten times as fast as one of their own, for the checks after every attack.

use tests::libpam::{Code, Pam, Script};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

pub(crate) fn login(place: &Place, otp: &str) -> Code {
    let conversation = Box::new(Script::new([otp]));
    Pam::start(place.confdir(), "otp", Some(b"alice"), conversation).authenticate(0)
}

/// A host in memory where alice has this token.
pub(crate) fn place(number: u32) -> (Place, SoftYubiKey) {
    let (place, key) = (Place::in_memory(), SoftYubiKey::numbered(number));
    place.enrol("alice", &key);
    (place, key)
}
