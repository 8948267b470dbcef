//! `pam_yubiotp.so`: one login by YubiKey, at the edge to libpam.
//!
//! In the order of a login: `sys` is entered by libpam and holds all unsafe code; `handle` is what a login needs of
//! it; `login` is the login; `conversation` asks and hands on the password, `code` turns the outcome into the code for
//! libpam, `log` into a line of syslog; `enroll` relays an enrollment; `internal_error` catches panics; `undisturbed` keeps the caller from stopping a
//! login that holds a lock. The arguments are read by `ykhost`, for `ykmap doctor` reads them too.
// A new outcome must be thought about wherever one is looked at.
#![deny(clippy::wildcard_enum_match_arm)]

mod code;
mod conversation;
mod enroll;
mod handle;
mod internal_error;
mod log;
mod login;
mod sys;
