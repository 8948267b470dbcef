//! Validation servers, right ones and wrong ones: what each makes of a login through the real module and the real
//! `yubiotp-ask`. One topic a file.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "measured times and lines of the log, for --nocapture")]

mod addresses;
mod administered;
mod arguments;
mod asked_last;
mod cut_off;
mod environment;
mod failover;
mod fallback;
mod hosts;
mod lies;
mod once;
mod program;
mod requests;
mod several;
mod tls;
mod unusual;
mod world;
mod yubiserver;
