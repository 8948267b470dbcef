//! Codes of authenticator apps and hardware tokens, and recovery codes, from outside: what other programs compute from the
//! same secrets, races, and years of logins.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "how much was tried, for --nocapture")]

mod oracles;
mod race;
mod racers;
mod strangers;
mod token;
mod years;
