//! One question to one server about an OTP that no token makes: whether the server answers this client.

use super::{Flaw, NoAnswer, PendingQuery, ServerVerdict, time_of};
use crate::PublicId;
use crate::ask::FailureKind;
use alloc::format;
use alloc::string::{String, ToString as _};

/// The last of the public IDs that sites choose themselves.
const NOBODY: &str = "vvvvvvvvvvvv";

/// An OTP that no token makes, of 16 random bytes. It is well-formed, so a server that is in order looks for the token, and says
/// BAD_OTP under the client's key. Nothing is used up by that.
#[must_use]
pub fn nobodys_otp(random: &[u8; 16]) -> String {
    // A block that was encrypted under no key: it decrypts to the right private ID as rarely as a guess hits one.
    let block = PublicId::from_bytes(random).map(|block| block.to_string());
    format!("{NOBODY}{}", block.unwrap_or_default())
}

/// The result of asking one server about [`nobodys_otp`].
#[derive(Debug)]
pub enum Probed {
    /// It replied.
    Reply {
        /// The time that it took, in milliseconds.
        ms: u32,
        /// The verdict, or why the reply decides nothing.
        said: Result<ServerVerdict, NoAnswer>,
        /// The time by its clock, in seconds since 1970.
        time: Option<u64>,
        /// Why no OK of it would decide, where its reply shows that.
        flaw: Option<Flaw>,
    },
    /// It could not be reached, or sent no whole reply.
    Failed {
        /// The kind of failure.
        kind: FailureKind,
        /// The time that it took, in milliseconds.
        ms: u32,
        /// The failure, in words for the log.
        why: String,
    },
}

impl Probed {
    /// Of the body of a reply to this question, which came after `ms`.
    #[must_use]
    pub fn reply(asked: &PendingQuery<'_>, ms: u32, body: &[u8]) -> Self {
        let flaw = Flaw::of(body, asked.key.is_some());
        Self::Reply { ms, said: asked.judge(body), time: time_of(body), flaw }
    }
}
