//! Codes of authenticator apps and hardware tokens, from outside: what other programs compute from the same secrets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

mod oracles;
mod token;
