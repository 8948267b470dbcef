//! What the servers of this project share, whatever they serve.
//!
//! [`mod@file`] opens the files that a configuration names, [`certificates`] reads those with certificates, [`clock`] is the
//! time, and [`prefix`] says which addresses are counted as one.
#![forbid(unsafe_code)]

pub mod certificates;
pub mod clock;
pub mod file;
pub mod prefix;
