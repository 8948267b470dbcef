//! The life of a host: what is shipped is installed, switched on, used, upgraded, switched off and removed, by the
//! system's own tools, in a minimal Debian of the test's own. Needs root and debootstrap; what it does and what comes of
//! it is in `target/tmp/life.txt`. `make test-packages` makes the packages first.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may stop, say that it is skipped, and read files"
)]

mod base;
mod deb;
mod frozen;
mod lint;
mod migrate;
mod pamd;
mod readme;
mod reproducible;
mod root;
mod rpm;
mod server;
mod shipped;
mod source;
mod story;
mod token;
mod tree;
mod ways;
mod web;
