//! The answer: what a body may contain, and when it counts.

use super::{ClientKey, Nonce, sort};
use crate::Position;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use data_encoding::BASE64;
use hmac::Mac;

/// The decision of a server about an OTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerVerdict {
    /// OK: the server had not seen this OTP and will not say so again. With the position that the OTP has.
    Ok(Position),
    /// BAD_OTP: the server does not know the token, or the OTP is not genuine.
    BadOtp,
    /// REPLAYED_OTP: the server has seen this OTP, or a later one.
    ReplayedOtp,
}

impl ServerVerdict {
    /// The status that says it.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Ok(_) => Status::Ok,
            Self::BadOtp => Status::BadOtp,
            Self::ReplayedOtp => Status::ReplayedOtp,
        }
    }
}

/// The statuses of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the protocol's own names")]
pub enum Status {
    Ok,
    BadOtp,
    ReplayedOtp,
    BadSignature,
    MissingParameter,
    NoSuchClient,
    OperationNotAllowed,
    BackendError,
    NotEnoughAnswers,
    ReplayedRequest,
}

impl Status {
    const ALL: [Self; 10] = [
        Self::Ok,
        Self::BadOtp,
        Self::ReplayedOtp,
        Self::BadSignature,
        Self::MissingParameter,
        Self::NoSuchClient,
        Self::OperationNotAllowed,
        Self::BackendError,
        Self::NotEnoughAnswers,
        Self::ReplayedRequest,
    ];

    /// The name as it is sent.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadOtp => "BAD_OTP",
            Self::ReplayedOtp => "REPLAYED_OTP",
            Self::BadSignature => "BAD_SIGNATURE",
            Self::MissingParameter => "MISSING_PARAMETER",
            Self::NoSuchClient => "NO_SUCH_CLIENT",
            Self::OperationNotAllowed => "OPERATION_NOT_ALLOWED",
            Self::BackendError => "BACKEND_ERROR",
            Self::NotEnoughAnswers => "NOT_ENOUGH_ANSWERS",
            Self::ReplayedRequest => "REPLAYED_REQUEST",
        }
    }

    /// The status of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// The remedy for the administrator of the client, if there is one.
    const fn advice(self) -> &'static str {
        match self {
            Self::NoSuchClient => ": change client_id to one that it knows",
            Self::BadSignature => ": change the client's key to the one that goes with client_id",
            Self::OperationNotAllowed => ": it does not let this client_id validate",
            Self::MissingParameter => {
                ": it wants something else than protocol 2.0, or another sync_level or timeout"
            }
            Self::NotEnoughAnswers => ": its peers did not confirm; a lower sync_level needs fewer of them",
            Self::ReplayedRequest => ": it has this very question from another server",
            Self::BackendError => ": it reported an internal error",
            Self::Ok | Self::BadOtp | Self::ReplayedOtp => "",
        }
    }
}

/// Why a reply decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The body is not lines of `name=value`, each name once.
    #[error("its reply is not one of a validation server: {0}")]
    Unreadable(&'static str),
    /// There is a key, and the reply has no signature.
    #[error("{}", unproven(*.0, "has no signature"))]
    NotSigned(Status),
    /// There is a key, and the reply is not signed with it.
    #[error("{}", unproven(*.0, "has a wrong signature: forged, or the client's key is not that of client_id"))]
    WrongSignature(Status),
    /// A true reply that leaves the question open.
    #[error("{}{}", .0.name(), .0.advice())]
    Undecided(Status),
    /// It speaks of another OTP, or does not say of which.
    #[error("its reply ({}) is not about this OTP", .0.name())]
    OtherOtp(Status),
    /// It answers another question, or does not say which.
    #[error("its reply ({}) is not to this question (another nonce)", .0.name())]
    OtherNonce(Status),
    /// OK, and no sessioncounter and sessionuse, or some that no YubiKey has.
    #[error(
        "its OK does not say how far the token has come: sessioncounter and sessionuse are missing or impossible"
    )]
    NoPosition,
    /// OK, and it names another position than the OTP has: the server is wrong, for the host has decrypted the OTP.
    #[error(
        "the server is wrong, not the OTP: its OK (sessioncounter, sessionuse) says {said}, and the OTP has {has}"
    )]
    OtherPosition {
        /// What the reply contains.
        said: Position,
        /// The position in the decrypted OTP.
        has: Position,
    },
}

/// The failure for a reply that proves nothing. Servers sign some refusals with no key, or the right one, for want of
/// ours: they are recognized by what they claim.
fn unproven(status: Status, how: &str) -> String {
    match status {
        Status::NoSuchClient | Status::BadSignature | Status::MissingParameter => {
            format!("{}{} (not signed with the client's key)", status.name(), status.advice())
        }
        _ => format!("its reply ({}) {how}", status.name()),
    }
}

/// A question that was sent. Its answer must repeat the OTP and the nonce.
pub struct PendingQuery<'a> {
    /// The OTP as it was sent.
    pub otp: &'a str,
    /// The nonce of the question.
    pub nonce: &'a Nonce,
    /// The position of the OTP, where the host could decrypt it.
    pub position: Option<Position>,
    /// The key of the client. Without one, replies are believed unsigned.
    pub key: Option<&'a ClientKey>,
}

impl PendingQuery<'_> {
    /// Judges the body of a reply.
    ///
    /// # Errors
    /// Why it decides nothing: it cannot be read, is not signed, answers another question, or leaves it open.
    pub fn judge(&self, body: &[u8]) -> Result<ServerVerdict, NoAnswer> {
        let reply = Reply::read(body)?;
        let status = reply.status()?;
        if let Some(key) = self.key {
            reply.check_signature(key, status)?;
        }
        // Not every status comes with an echo; an echo must be ours.
        let decisive_without = status == Status::BadOtp;
        if !reply.echoes("nonce", self.nonce.as_str(), decisive_without) {
            return Err(self.unless_undecided(status, NoAnswer::OtherNonce(status), &reply, "nonce"));
        }
        if !reply.echoes("otp", self.otp, decisive_without) {
            return Err(self.unless_undecided(status, NoAnswer::OtherOtp(status), &reply, "otp"));
        }
        match status {
            Status::Ok => self.placed(reply.position().ok_or(NoAnswer::NoPosition)?),
            Status::BadOtp => Ok(ServerVerdict::BadOtp),
            Status::ReplayedOtp => Ok(ServerVerdict::ReplayedOtp),
            Status::BadSignature
            | Status::MissingParameter
            | Status::NoSuchClient
            | Status::OperationNotAllowed
            | Status::BackendError
            | Status::NotEnoughAnswers
            | Status::ReplayedRequest => Err(NoAnswer::Undecided(status)),
        }
    }

    /// A reply that decides nothing anyway is reported by its status, if it only lacks an echo.
    fn unless_undecided(&self, status: Status, other: NoAnswer, reply: &Reply<'_>, echo: &str) -> NoAnswer {
        let decides = matches!(status, Status::Ok | Status::BadOtp | Status::ReplayedOtp);
        if decides || reply.field(echo).is_some() { other } else { NoAnswer::Undecided(status) }
    }

    fn placed(&self, said: Position) -> Result<ServerVerdict, NoAnswer> {
        match self.position {
            Some(has) if has != said => Err(NoAnswer::OtherPosition { said, has }),
            _ => Ok(ServerVerdict::Ok(said)),
        }
    }
}

/// The token's clock that a body names (`timestamp`), for a body that [`PendingQuery::judge`] believed; `None` if it
/// names none.
#[must_use]
pub fn timestamp_of(body: &[u8]) -> Option<u32> {
    let reply = Reply::read(body).ok()?;
    let digits = reply.field("timestamp").filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|clock| *clock <= 0x00ff_ffff)
}

/// The time in a reply by the server's clock (`t`), in seconds since 1970; `None` without one.
#[must_use]
pub fn time_of(body: &[u8]) -> Option<u64> {
    let t = Reply::read(body).ok()?.field("t")?;
    let number = |from: usize, to: usize| {
        t.get(from..to)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?
            .parse::<u64>()
            .ok()
    };
    // `2026-11-22T00:30:01Z0284`: the digits after the Z are milliseconds.
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"), (19, "Z")];
    marks.iter().all(|(at, mark)| t.get(*at..).is_some_and(|rest| rest.starts_with(mark))).then_some(())?;
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    // Years that begin in March, so that the day that some have more is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    // 1970-01-01, counted so.
    const EPOCH: u64 = 719_469;
    Some((days.checked_sub(EPOCH)? * 24 + hour) * 3600 + minute * 60 + second)
}

/// The fields of a reply, sorted by name, none twice.
pub(super) struct Reply<'a> {
    signed: Vec<(&'a str, &'a str)>,
    h: Option<&'a str>,
}

impl<'a> Reply<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self, NoAnswer> {
        let text = str::from_utf8(body).map_err(|_| NoAnswer::Unreadable("it is not text"))?;
        if text.chars().any(|c| c.is_control() && !matches!(c, '\r' | '\n')) {
            return Err(NoAnswer::Unreadable("it holds control characters"));
        }
        let mut fields = Vec::new();
        for line in text.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.contains('\r') {
                return Err(NoAnswer::Unreadable("it holds control characters"));
            }
            if !line.is_empty() {
                fields.push(line.split_once('=').ok_or(NoAnswer::Unreadable("a line has no ="))?);
            }
        }
        sort(&mut fields);
        if fields.windows(2).any(|pair| matches!(pair, [(one, _), (two, _)] if one == two)) {
            return Err(NoAnswer::Unreadable("a field is there twice"));
        }
        let h = fields.iter().find(|(name, _)| *name == "h").map(|(_, value)| *value);
        fields.retain(|(name, _)| *name != "h");
        Ok(Self { signed: fields, h })
    }

    pub(super) fn field(&self, name: &str) -> Option<&'a str> {
        self.signed.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    fn status(&self) -> Result<Status, NoAnswer> {
        let name = self.field("status").ok_or(NoAnswer::Unreadable("it has no status"))?;
        let known = Status::named(name);
        known.ok_or(NoAnswer::Unreadable("its status is none of the protocol's"))
    }

    fn check_signature(&self, key: &ClientKey, status: Status) -> Result<(), NoAnswer> {
        let h = self.h.ok_or(NoAnswer::NotSigned(status))?;
        let wrong = NoAnswer::WrongSignature(status);
        let h = BASE64.decode(h.as_bytes()).map_err(|_| wrong)?;
        // In constant time, and of all 20 bytes.
        key.over(&self.signed).verify_slice(&h).map_err(|_| wrong)
    }

    fn echoes(&self, name: &str, sent: &str, may_be_missing: bool) -> bool {
        self.field(name).map_or(may_be_missing, |echoed| echoed == sent)
    }

    fn position(&self) -> Option<Position> {
        let number = |name| {
            let digits: &str = self.field(name)?;
            let plain =
                !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|digit| digit.is_ascii_digit());
            plain.then(|| digits.parse::<u16>().ok()).flatten()
        };
        let (counter, session_use) = (number("sessioncounter")?, number("sessionuse")?);
        Some(Position::yubikey(
            Some(counter).filter(|counter| *counter <= 0x7fff)?,
            u8::try_from(session_use).ok()?,
        ))
    }
}

#[cfg(test)]
mod tests;
