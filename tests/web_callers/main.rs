//! The programs beside the web login, as their callers run them: `ykweb-password` under the real libpam, and `ykweb-check` by
//! the names of those whom it stands in for.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

mod answered;
mod callers;
mod password;
mod refused;
mod user_file;
