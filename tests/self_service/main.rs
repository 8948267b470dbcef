//! What users do themselves, by `ykmap self`: the real client, run by another user, and `yubiotp-enroll self`, started for each
//! connection as systemd does.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a fixture that fails must stop the test"
)]

mod changes;
mod hostile;
mod killed;
mod machine;
mod meanwhile;
mod units;
mod verbs;
