//! The web login as users, administrators and attackers meet it: through real web servers, with exactly the files of
//! `web-examples`; with a real KDC, a real browser and a real ykvald. `make test-web`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads files"
)]

mod around;
mod attacks;
mod busy;
mod check;
mod closed;
mod commands;
mod denied;
mod examples;
mod external;
mod kerberos;
mod killed;
mod many;
mod once;
mod pages;
mod secrets;
mod slow;
mod spellings;
