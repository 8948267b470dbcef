//! The administrator's command from outside: what it makes, says, refuses and survives. One topic a file.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a fixture that fails must stop the test"
)]

mod advice;
mod completions;
mod desk;
mod doctor;
mod edits;
mod enrolled;
mod events;
mod explain;
mod faults;
mod import;
mod init;
mod json;
mod keys;
mod killed;
mod life;
mod metrics;
mod moving;
mod newcomers;
mod oath;
mod qr;
mod recovery;
mod setup;
mod shown;
mod status;
mod terminal;
mod touches;
mod unprivileged;
mod usage;
mod vectors;
