//! The protocol between YK-VAL servers (`/wsapi/2.0/sync`), for both ends.
//!
//! A server that accepted an OTP tells its peers with a [`SyncMessage`]; each answers with its own state from before that
//! message ([`SyncAnswer`]). Sources: Yubico, "Server Replication Protocol"; the names of parameters and fields, their
//! order and the comparisons are those of yubikey-val 2.41, which has `yk_publicname` where that page has `yk_identity`.
//!
//! The message: `otp`, `modified` (seconds since 1970, when the OTP was accepted), `nonce` (of the client's request),
//! `yk_publicname`, `yk_counter`, `yk_use`, `yk_high`, `yk_low` (decimal; -1: none). Each must be there and not empty,
//! otherwise MISSING_PARAMETER. The answer: `h`, `t`, then `modified`, `nonce`, `yk_publicname`, `yk_counter`, `yk_use`,
//! `yk_high`, `yk_low`, then `status`: OK, BAD_OTP (the token is disabled there), or OPERATION_NOT_ALLOWED (not an
//! address of the pool). It is signed with an empty key, which proves nothing. Neither end proves who it is: a
//! receiver believes what the OTP holds, and never the numbers beside it.

use super::question::{BLANKS, is_nonce, missing, sorted_once};
use super::{Malformed, Status, signature, sort};
use crate::diagnostic::Code;
use crate::{Block, Position, PublicId, modhex};
use alloc::borrow::{Cow, ToOwned as _};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use zeroize::Zeroizing;

/// The nonce of a token that has none: YK-VAL writes it for a token that was never used.
pub const NO_NONCE: &str = "0000000000000000";

/// The most letters of a public ID that YK-VAL takes.
const MOST_LETTERS: usize = 16;

/// The bit of the usage counter that caps lock sets. YK-VAL stores it as part of the counter.
const CAPS_LOCK: u16 = 0x8000;

/// What a server tells its peers about an OTP that it accepted.
pub struct SyncMessage {
    /// The token.
    pub token: PublicId,
    /// The OTP in modhex. It may be valid at the peers, so it is kept in no file or log.
    pub otp: Zeroizing<String>,
    /// When it was accepted, in seconds since 1970.
    pub modified: i64,
    /// The nonce of the client's request.
    pub nonce: String,
    /// The position that the message claims; `None`: none, or one that no YubiKey has.
    pub position: Option<Position>,
    /// The token's clock that the message claims, 24 bits.
    pub timestamp: u32,
}

/// Whether servers of YK-VAL can know this token: its public ID has 1 to 8 bytes.
#[must_use]
pub fn can_be_synced(token: &PublicId) -> bool {
    (1..=MOST_LETTERS / 2).contains(&token.as_bytes().len())
}

impl SyncMessage {
    /// A message about a position whose OTP is no longer known, with the one that YK-VAL invents for this: 32 times `c`
    /// after the public ID. Servers of YK-VAL believe it, and ykvald does not.
    #[must_use]
    pub fn without_otp(token: PublicId, position: Position, nonce: &str, modified: i64) -> Self {
        let otp = modhex::encode(token.as_bytes()) + &"c".repeat(32);
        let nonce = if is_nonce(nonce) { nonce } else { NO_NONCE };
        Self {
            token,
            otp: Zeroizing::new(otp),
            modified,
            nonce: nonce.to_owned(),
            position: Some(position),
            timestamp: 0,
        }
    }

    /// Names and values, to be escaped, in YK-VAL's order.
    #[must_use]
    pub fn parameters(&self) -> [(&'static str, Zeroizing<String>); 8] {
        let [counter, session_use] = numbers(self.position);
        [
            ("otp", self.otp.clone()),
            ("modified", Zeroizing::new(self.modified.to_string())),
            ("nonce", Zeroizing::new(self.nonce.clone())),
            ("yk_publicname", Zeroizing::new(modhex::encode(self.token.as_bytes()))),
            ("yk_counter", Zeroizing::new(counter)),
            ("yk_use", Zeroizing::new(session_use)),
            ("yk_high", Zeroizing::new((self.timestamp >> 16).to_string())),
            ("yk_low", Zeroizing::new((self.timestamp & 0xffff).to_string())),
        ]
    }

    /// Reads the parameters of a message, unescaped.
    ///
    /// # Errors
    /// MISSING_PARAMETER: one is missing, malformed or repeated.
    pub fn read(parameters: &[(Cow<'_, str>, Cow<'_, str>)]) -> Result<Self, Malformed> {
        sorted_once(parameters)?;
        let value = |of: &str, none: &'static str| {
            let found = parameters.iter().find(|(name, _)| name == of);
            let value = found.map(|(_, value)| value.trim_matches(BLANKS));
            value.filter(|value| !value.is_empty()).ok_or(missing(none))
        };
        let number = |of, none, wrong| {
            let text = value(of, none)?;
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            if is_number || text == "-1" { Ok(text) } else { Err(invalid(wrong)) }
        };
        let modified = number("modified", "modified is missing", "modified is not a number")?;
        let otp = value("otp", "otp is missing")?;
        let nonce = value("nonce", "nonce is missing")?;
        let name = value("yk_publicname", "yk_publicname is missing")?;
        let counter = number("yk_counter", "yk_counter is missing", "yk_counter is not a number")?;
        let session_use = number("yk_use", "yk_use is missing", "yk_use is not a number")?;
        let high = number("yk_high", "yk_high is missing", "yk_high is not a number")?;
        let low = number("yk_low", "yk_low is missing", "yk_low is not a number")?;
        if modified == "-1" {
            return Err(invalid("modified is not a number"));
        }
        if split(otp).is_none() {
            return Err(invalid("otp is not an OTP in modhex"));
        }
        let token = PublicId::parse(name.as_bytes()).ok().filter(|token| !token.as_bytes().is_empty());
        let token = token.ok_or(invalid("yk_publicname is not a public ID"))?;
        if !is_nonce(nonce) {
            return Err(invalid("nonce is not 16 to 40 letters and digits"));
        }
        let half = |text: &str, most: u32| text.parse().ok().filter(|half| *half <= most).unwrap_or(0);
        Ok(Self {
            token,
            otp: Zeroizing::new(otp.to_owned()),
            modified: modified.parse().unwrap_or(i64::MAX),
            nonce: nonce.to_owned(),
            position: position(counter, session_use),
            timestamp: half(high, 0xff) << 16 | half(low, 0xffff),
        })
    }

    /// The public ID that the OTP names, and its block.
    #[must_use]
    pub fn otp_parts(&self) -> Option<(PublicId, Block)> {
        split(&self.otp)
    }
}

const fn invalid(why: &'static str) -> Malformed {
    Malformed::missing(Code::ParameterInvalid, why)
}

/// 32 to 64 characters of modhex.
fn split(otp: &str) -> Option<(PublicId, Block)> {
    if otp.len() > 64 {
        return None;
    }
    let bytes = Zeroizing::new(modhex::decode(otp.as_bytes()).ok()?);
    let (id, block) = bytes.split_last_chunk()?;
    Some((PublicId::from_bytes(id)?, Block::new(*block)))
}

fn numbers(position: Option<Position>) -> [String; 2] {
    position.map_or_else(
        || ["-1", "-1"].map(String::from),
        |position| [position.usage_counter(), position.session_use()].map(|number| number.to_string()),
    )
}

/// `None`: -1, or numbers that no YubiKey makes.
fn position(counter: &str, session_use: &str) -> Option<Position> {
    let counter: u16 = counter.parse().ok()?;
    Some(Position::yubikey(counter & !CAPS_LOCK, session_use.parse().ok()?))
}

/// What a server knows about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncState {
    /// The token.
    pub token: PublicId,
    /// Its position; `None`: never used.
    pub position: Option<Position>,
    /// The nonce of the request that moved it there.
    pub nonce: String,
    /// When that was, in seconds since 1970.
    pub modified: Option<i64>,
}

/// What the state of a peer says about an OTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerVerdict {
    /// The peer did not know it, or from this very message: it counts as confirmed.
    Confirmed,
    /// The peer accepted it in another request.
    Used,
    /// The peer accepted a later one.
    Behind(Position),
}

impl SyncState {
    /// As yubikey-val compares: first the usage counters, then the session counters; if both are equal, the nonces.
    #[must_use]
    pub fn judge(&self, position: Position, nonce: &str) -> PeerVerdict {
        match self.position {
            Some(known) if known > position => PeerVerdict::Behind(known),
            Some(known) if known == position && self.nonce != nonce => PeerVerdict::Used,
            _ => PeerVerdict::Confirmed,
        }
    }
}

/// The answer to a message.
pub struct SyncAnswer<'a> {
    /// OK with a state, or why there is none.
    pub status: Status,
    /// The server's clock, as in [`super::Answer`].
    pub t: &'a str,
    /// The state before the message.
    pub state: Option<&'a SyncState>,
}

impl SyncAnswer<'_> {
    /// The body, as yubikey-val writes it, signed with an empty key.
    #[must_use]
    pub fn write(&self) -> String {
        let mut fields: Vec<(&str, String)> = Vec::with_capacity(10);
        fields.push(("t", self.t.to_owned()));
        if let Some(state) = self.state {
            let [counter, session_use] = numbers(state.position);
            // The token's clock is not kept. yubikey-val stores what it is told only if each value is a number, without
            // a sign.
            let clock = if state.position.is_some() { "0" } else { "-1" };
            let nonce = if is_nonce(&state.nonce) { &state.nonce } else { NO_NONCE };
            fields.extend([
                ("modified", state.modified.unwrap_or(-1).to_string()),
                ("nonce", nonce.to_owned()),
                ("yk_publicname", modhex::encode(state.token.as_bytes())),
                ("yk_counter", counter),
                ("yk_use", session_use),
                ("yk_high", clock.to_owned()),
                ("yk_low", clock.to_owned()),
            ]);
        }
        fields.push(("status", self.status.name().to_owned()));
        let mut sorted: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        sort(&mut sorted);
        let mut body = String::from("h=") + &signature(None, &sorted) + "\r\n";
        for (name, value) in &fields {
            for part in [name, "=", value, "\r\n"] {
                body.push_str(part);
            }
        }
        body.push_str("\r\n");
        body
    }
}

/// What a peer answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncReply {
    /// Its state before the message.
    State(SyncState),
    /// BAD_OTP: the token is disabled there. The peer has taken the position.
    Disabled,
    /// Another status: the peer has not taken the message.
    Refused(Status),
}

/// Why an answer is none: not lines of `name=value`, each name once; or about another token; or with impossible numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its answer is not one of /wsapi/2.0/sync: {0}")]
pub struct BadSyncReply(&'static str);

impl SyncReply {
    /// Reads the answer to a message about this token.
    ///
    /// # Errors
    /// [`BadSyncReply`].
    pub fn read(body: &[u8], token: &PublicId) -> Result<Self, BadSyncReply> {
        let text = core::str::from_utf8(body).map_err(|_| BadSyncReply("it is not text"))?;
        let mut fields: Vec<(&str, &str)> = Vec::new();
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once('=').ok_or(BadSyncReply("a line has no ="))?;
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(BadSyncReply("it has a field twice"));
            }
            fields.push((name, value));
        }
        let find = |of: &str| fields.iter().find(|(name, _)| *name == of).map(|(_, value)| *value);
        let value = |of: &str| find(of).ok_or(BadSyncReply("a field is missing"));
        match Status::named(value("status")?).ok_or(BadSyncReply("its status is unknown"))? {
            Status::Ok => {}
            Status::BadOtp => return Ok(Self::Disabled),
            other => return Ok(Self::Refused(other)),
        }
        if PublicId::parse(value("yk_publicname")?.as_bytes()) != Ok(*token) {
            return Err(BadSyncReply("it is about another token"));
        }
        let (counter, session_use) = (value("yk_counter")?, value("yk_use")?);
        let position = position(counter, session_use);
        if position.is_none() && (counter, session_use) != ("-1", "-1") {
            return Err(BadSyncReply("its counters are impossible"));
        }
        let modified: i64 =
            value("modified")?.parse().map_err(|_| BadSyncReply("modified is not a number"))?;
        let nonce = value("nonce")?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(BadSyncReply("its nonce is none"));
        }
        let modified = Some(modified).filter(|modified| *modified >= 0);
        Ok(Self::State(SyncState { token: *token, position, nonce: nonce.to_owned(), modified }))
    }
}

/// How many of `peers` have to confirm for this level, in percent: as yubikey-val rounds, up. More than there are if the
/// level is above 100.
#[must_use]
pub const fn required_confirmations(peers: u64, level: u64) -> u64 {
    peers.saturating_mul(level).div_ceil(100)
}

/// The `sl` of an answer: how many percent of the peers confirmed, rounded down. 0 without peers.
#[must_use]
pub fn confirmed_level(confirmed: u64, peers: u64) -> u8 {
    let level = confirmed.saturating_mul(100).checked_div(peers).unwrap_or(0);
    u8::try_from(level.min(100)).unwrap_or(100)
}

#[cfg(test)]
mod tests;
