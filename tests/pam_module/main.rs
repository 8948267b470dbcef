//! The built module in the real libpam, unprivileged: the outcome table, answers, neighbours, hosts that misbehave.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

mod answers;
mod enrolled;
mod explained;
mod hosts;
mod log;
mod neighbours;
mod policy;
mod recovery;
mod spellings;
mod table;
mod vectors;
mod waits;
