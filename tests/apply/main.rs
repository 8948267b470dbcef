//! `ykmap apply` from outside: what a file declares is what the host then has, whoever runs it and whatever cuts it off.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a fixture that fails must stop the test"
)]

mod ansible;
mod events;
mod host;
mod killed;
mod policy;
mod random;
mod table;
mod together;
