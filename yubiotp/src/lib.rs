//! The rules of one-time passwords: values in, values out.
//!
//! Nothing here can open a file, a socket, a clock or a random source: the crate is `no_std`, and time,
//! randomness and storage come as arguments. A login reads through it in this order:
//!
//! 1. [`mapping`] says which tokens a user has (`authorized_yubikeys`).
//! 2. [`otp`] finds the one-time password at the end of the answer.
//! 3. [`block`] decrypts it under the token's [`key::Credential`].
//! 4. [`ledger`] compares and stores the token's position, in one step.
//! 5. [`verdict`] puts these together and says yes, no, or not enrolled.
//!
//! Before that path, [`policy`] says whether a login needs a second factor at all, and by which methods. Beside it:
//! [`dialogue`] has the messages by which a user enrolls, [`oath`] has the codes of authenticator apps and hardware tokens, [`recovery`] recovery codes, and
//! [`guesses`] limits how many codes are tried. [`keyfile`] reads what YubiKey programming tools write, [`seal`] keeps
//! secrets encrypted at rest and [`record`] writes them down, [`freshness`] decides whether a token is here now,
//! [`modhex`] and [`layout`] are the alphabets, [`ask`] has the messages between a login and the program that speaks to
//! the network, [`password`] those with the program that asks PAM about a password, [`shown`] escapes text that others wrote, [`mod@nearest`] finds the name that a misspelt one means,
//! [`wrong_type`] says what a setting must be, and a [`diagnostic`] is a finding: the problem, its place and remedies.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod account;
pub mod ask;
pub mod authorities;
pub mod block;
pub mod diagnostic;
pub mod dialogue;
pub mod freshness;
pub mod guesses;
pub mod id;
pub mod key;
pub mod keyfile;
pub mod layout;
pub mod ledger;
pub mod mapping;
pub mod modhex;
pub mod nearest;
pub mod oath;
pub mod otp;
pub mod password;
pub mod policy;
pub mod position;
pub mod protocol;
pub mod record;
pub mod recovery;
pub mod seal;
pub mod shown;
pub mod verdict;
pub mod wrong_type;

pub use block::{Block, Plain};
pub use id::{BadPublicId, BadTokenId, PublicId, Serial, Series, SetId, TokenId};
pub use key::{AesKey, Credential, PrivateId};
pub use ledger::{Advance, Ledger, Receipt};
pub use position::Position;
pub use verdict::{Reason, Verdict};
