//! The program from outside: over a socket, as a login process runs it, against servers of all kinds on 127.0.0.1.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a fixture that fails must stop the test, and one that is not there must be told"
)]

mod asker;
mod caller;
mod certificates;
mod confined;
mod files;
mod proxies;
mod replies;
mod round;
mod server;
mod threads;
mod tls;
mod usage;
