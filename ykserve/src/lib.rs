//! What the servers of this project share, whatever they serve.
//!
//! [`settings`] are those that each server has, [`mod@file`] opens the files that they name, [`certificates`] reads those with
//! certificates, [`log`] writes what happens, [`metrics`] count it, [`clock`] is the time, and [`prefix`] says which addresses
//! are counted as one.
#![forbid(unsafe_code)]

pub mod certificates;
pub mod clock;
pub mod file;
pub mod log;
pub mod metrics;
pub mod prefix;
pub mod settings;

/// The program that serves, as syslog, metrics and its users know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Daemon {
    /// Its name: `ykvald`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}
