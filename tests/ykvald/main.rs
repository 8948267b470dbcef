//! `ykvald` as administrators use it: the real program, in folders of the tests' own.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that fails must stop"
)]

mod moving;
