//! Enrollment at a login, through the real libpam: from the first login without a token to the next one with it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that finds something else must stop"
)]

mod desk;
mod interrupted;
mod offers;
mod program;
mod refused;
