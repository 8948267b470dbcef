//! `ykwebd`, the web login: one sign-on in front of the web servers of a site, with the second factor where a place asks for
//! it.
//!
//! In the order of a request to a protected host: its web server asks [`authorize`], which knows the [`session`] by its cookie,
//! and says yes, or sends the browser to the portal. There, `serve` shows the pages, [`first_factor`] checks a password,
//! [`second_factor`] an OTP or a code, and a ticket leads back. [`store`] keeps users, tokens, positions, sessions and events,
//! in SQLite. [`config`] is the settings, [`user`] what a user is called. What every server needs is in [`ykserve`].
//!
//! This program never holds an AES key of a token: validation servers decide about the OTPs of YubiKeys.
#![forbid(unsafe_code)]

pub mod authorize;
pub mod check_api;
pub mod config;
pub mod fastcgi;
pub mod first_factor;
pub mod second_factor;
pub mod serve;
pub mod session;
pub mod site;
pub mod store;
pub mod user;

pub use serve::DAEMON;
pub use ykserve::{clock, file, random};
