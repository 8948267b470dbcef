//! What gRPC has around a message: five bytes before it, and a status after it
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>). Values in, values out.

use super::fault::{EtcdFault, EtcdFaultKind as Kind, Outcome};
use hyper::HeaderMap;
use hyper::body::Bytes;
use prost::Message;
use std::time::Duration;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::shown;
use zeroize::Zeroizing;

/// The most bytes an answer may have: etcd has no limit of its own, so whoever asks sets one. What is decoded takes more
/// memory: 5 times as much as our own keys and values, and up to 60 times as much if a member answers with nothing but empty
/// ones. This one is for a change, a key, or what a member says.
pub(super) const MOST_ANSWER: usize = 1 << 20;

/// The same of tokens that are read together, with all their positions.
pub(super) const MOST_TOKENS: usize = 4 << 20;

/// The same of a page: 1000 tokens with about 45 positions each.
pub(super) const MOST_PAGE: usize = 8 << 20;

/// The bytes before a message: whether it is compressed, and its length.
pub(super) const HEAD: usize = 5;

/// A message with its head. It is wiped when it was sent, since it may hold a password.
pub(super) fn frame(message: &impl Message) -> Result<Bytes, EtcdFault> {
    let length = message.encoded_len();
    let told = u32::try_from(length).map_err(|_| {
        let found = Diagnostic::error(Code::DatabaseFailed, "the request is too large");
        EtcdFault::new(Outcome::NotStored, Kind::Request, found)
    })?;
    let mut frame = Zeroizing::new(Vec::with_capacity(length.saturating_add(HEAD)));
    frame.push(0);
    frame.extend_from_slice(&told.to_be_bytes());
    // Writing to a Vec, which grows, does not fail.
    let _ = message.encode(&mut *frame);
    Ok(Bytes::from_owner(frame))
}

/// The one message of a body. `Err`: what is wrong with it.
pub(super) fn message<M: Message + Default>(body: &[u8]) -> Result<M, &'static str> {
    let (head, rest) = body.split_at_checked(HEAD).ok_or("an answer is cut off")?;
    let [compressed, length @ ..] = head else { return Err("an answer is cut off") };
    if *compressed != 0 {
        return Err("an answer is compressed, which was not asked for");
    }
    let length = length.iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
    if rest.len() != length {
        return Err("an answer is cut off, or there is more than one");
    }
    M::decode(rest).map_err(|_| "an answer is not a message of etcd")
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    /// 0: the call succeeded.
    pub(super) code: u32,
    /// For people.
    pub(super) message: String,
}

impl Status {
    /// The status in headers or trailers. `None`: they have none that can be read.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
        let message = headers.get("grpc-message").map(|value| value.as_bytes()).unwrap_or_default();
        Some(Self { code, message: unescaped(message) })
    }

    /// Whether the token of the user is no longer valid, so that nothing was done, and a new one is needed.
    pub(super) fn is_token_invalid(&self) -> bool {
        (self.code == UNAUTHENTICATED && self.message == "etcdserver: invalid auth token")
            || (self.code == INVALID_ARGUMENT && self.message == "etcdserver: revision of auth store is old")
    }

    /// Whether the member or its cluster is in trouble, and another member may do better.
    pub(super) const fn is_trouble(&self) -> bool {
        matches!(self.code, DEADLINE_EXCEEDED | UNAVAILABLE | UNKNOWN | INTERNAL | DATA_LOSS)
    }

    /// The fault of a call that did not succeed.
    pub(super) fn fault(&self) -> EtcdFault {
        let said = shown::text(self.message.strip_prefix("etcdserver: ").unwrap_or(&self.message).as_bytes())
            .to_string();
        let error = |code: Code| Diagnostic::error(code, format!("etcd: {said}"));
        let (outcome, kind, found) = match (self.code, self.message.as_str()) {
            // Before it was proposed: `checkTxnRequest`, `checkIntervals`, `processInternalRaftRequestOnce`.
            (
                INVALID_ARGUMENT,
                "etcdserver: key is not provided"
                | "etcdserver: duplicate key given in txn request"
                | "etcdserver: too many operations in txn request"
                | "etcdserver: request is too large",
            ) => (Outcome::NotStored, Kind::Request, error(Code::DatabaseFailed)),
            (RESOURCE_EXHAUSTED, "etcdserver: too many requests") => {
                (Outcome::NotStored, Kind::Other, error(Code::DatabaseOverloaded))
            }
            // `applierV3backend.Txn` checks all ranges before it writes.
            (OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted") => {
                (Outcome::NotStored, Kind::Compacted, error(Code::DatabaseFailed))
            }
            // As it is about to be applied: `authApplierV3.Txn` checks all of it first.
            (PERMISSION_DENIED, "etcdserver: permission denied") => {
                let found = error(Code::DatabaseRightsMissing).advise(
                    "give the role of the user read and write permission for the prefix in store (etcdctl role \
                     grant-permission --prefix=true ROLE readwrite PREFIX)",
                );
                (Outcome::NotStored, Kind::Rights, found)
            }
            (
                INVALID_ARGUMENT,
                "etcdserver: user name is empty"
                | "etcdserver: authentication failed, invalid user ID or password"
                | "etcdserver: revision of auth store is old",
            )
            | (UNAUTHENTICATED, "etcdserver: invalid auth token")
            | (FAILED_PRECONDITION, "etcdserver: user name not found") => {
                let found = error(Code::DatabaseLoginRefused)
                    .advise("check user, password_file and certificate in [etcd], and the users of etcd");
                (Outcome::NotStored, Kind::Login, found)
            }
            (FAILED_PRECONDITION, "etcdserver: authentication is not enabled") => {
                let found = Diagnostic::error(
                    Code::DatabaseLoginRefused,
                    "etcd: authentication is not enabled, and etcd.user is set",
                );
                let found =
                    found.advise("run etcdctl auth enable, or remove user and password_file from [etcd]");
                (Outcome::NotStored, Kind::Login, found)
            }
            // Also of what was applied: see `EtcdFaultKind::NoSpace`.
            (RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded") => {
                let found = error(Code::DatabaseFull).advise(
                    "compact and defragment etcd, raise --quota-backend-bytes, and disarm the alarm (etcdctl alarm disarm)",
                );
                (Outcome::Unknown, Kind::NoSpace, found)
            }
            (DEADLINE_EXCEEDED | CANCELLED, _) => {
                (Outcome::Unknown, Kind::Late, error(Code::DatabaseUnreachable))
            }
            (UNAVAILABLE, message) => {
                let is_about_leader = message.contains("leader") || message.contains("timed out");
                let kind = if is_about_leader { Kind::NoLeader } else { Kind::Other };
                (Outcome::Unknown, kind, error(Code::DatabaseUnreachable))
            }
            _ => (Outcome::Unknown, Kind::Other, error(Code::DatabaseFailed)),
        };
        EtcdFault::new(outcome, kind, found)
    }
}

const CANCELLED: u32 = 1;
const UNKNOWN: u32 = 2;
const INVALID_ARGUMENT: u32 = 3;
const DEADLINE_EXCEEDED: u32 = 4;
const PERMISSION_DENIED: u32 = 7;
const RESOURCE_EXHAUSTED: u32 = 8;
const FAILED_PRECONDITION: u32 = 9;
const OUT_OF_RANGE: u32 = 11;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;
const DATA_LOSS: u32 = 15;
const UNAUTHENTICATED: u32 = 16;

/// A duration as `grpc-timeout` has it: at most eight digits.
pub(super) fn timeout(within: Duration) -> String {
    format!("{}m", within.as_millis().clamp(1, 99_999_999))
}

/// `grpc-message` without its percent signs.
fn unescaped(text: &[u8]) -> String {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if let (b'%', [high, low, after @ ..]) = (first, rest)
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            plain.push((high << 4) | low);
            rest = after;
        } else {
            plain.push(*first);
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}
