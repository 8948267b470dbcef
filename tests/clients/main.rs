//! Clients of the validation protocol that others wrote, unchanged, against `ykvald` with SQLite and with PostgreSQL; and
//! servers that others wrote, asked by the module. Installs them from their registries: `make test-clients`. What each
//! client said goes into `target/tmp/clients/said`. `docs/clients.md` has what came of it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, prints what it saw, and runs programs"
)]

mod asked;
mod installed;
mod round;
mod servers;
