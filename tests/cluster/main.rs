//! Several validation servers, and everything that happens to them: three `ykvald` on three hosts of a network of their
//! own, with etcd or PostgreSQL beside them, asked by many at once while one fault follows the other. A checker reads
//! what was answered. `make test-cluster` offers 100,000 OTPs; here each fault comes once, shortly.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured for --nocapture"
)]

mod checker;
mod etcd;
mod history;
mod load;
mod logins;
mod patroni;
#[path = "../pam_services/pattern.rs"]
mod pattern;
mod postgres;
mod record;
mod servers;
#[expect(dead_code, reason = "a host with users, for other tests too")]
#[path = "../pam_services/site.rs"]
mod site;
#[expect(dead_code, reason = "the ways into it")]
#[path = "../pam_services/ways.rs"]
mod ways;
