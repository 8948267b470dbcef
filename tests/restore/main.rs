//! A host that lost its disk and comes back from a backup: no OTP that was used is accepted again, by the real module in the
//! real libpam, and everybody gets in with what they have.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

mod host;
mod killed;
mod lost;
mod refused;
mod touches;
