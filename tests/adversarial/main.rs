//! Nothing but a decided yes: every fault with every option, hostile files, hostile applications, and what stays behind
//! in a process. One topic a file.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "what was found and measured, for --nocapture")]

mod application;
mod callers;
mod files;
mod memory;
mod symbols;
mod table;
