//! `ykmap enable` and `disable`: service files as distributions ship them, the trial, the deadline, and two at once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

mod corpus;
mod distributions;
mod flow;
mod try_program;
