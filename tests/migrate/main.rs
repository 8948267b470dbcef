//! Hosts that come from another module: logged in by it, moved, logged in by ours, and moved back. The modules are the real
//! ones, of the machine's packages.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

mod codes;
mod host;
#[cfg(target_arch = "x86_64")]
mod killed;
mod openbsd;
mod plans;
#[cfg(target_arch = "x86_64")]
#[path = "../replay/traced.rs"]
#[expect(dead_code, reason = "what else it can do is for the attacks on the store")]
mod traced;
mod yubico;
