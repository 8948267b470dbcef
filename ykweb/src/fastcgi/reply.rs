//! Writes replies.

use super::record::{Ended, HEAD, Head, MOST_CONTENT, end_request, kind};
use hyper::StatusCode;
use zeroize::Zeroizing;

/// The decision about a request.
///
/// Of one with status 200, Apache takes the headers `Variable-NAME` as variables of the request, and nothing else. Any other
/// goes to the browser. Apache 2.4 reads 8 KiB of that at most, and labels the body `text/html; charset=iso-8859-1`, whatever
/// its headers say: a body is HTML, in ASCII.
pub struct AuthorizerReply {
    /// The status: 200 lets the request pass.
    pub status: u16,
    /// Names and values of headers. A name is a token of HTTP (RFC 9110, 5.6.2), and no value has a line end or NUL in it; if
    /// one has, 500 is replied instead.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A reply that cannot be written: a header with a line end, or a status that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadReply;

/// What is replied instead of a reply that cannot be written.
const FAULT: &[u8] = b"Status: 500 Internal Server Error\r\n\r\n";

/// The records of a reply, and whether it was replaced by 500.
pub(super) fn write(request: u16, reply: &AuthorizerReply) -> (Zeroizing<Vec<u8>>, Result<(), BadReply>) {
    match checked(reply) {
        Ok(status) => (records(request, |to| stream(to, status, reply), length(reply)), Ok(())),
        Err(bad) => (records(request, |to| to.extend(FAULT), FAULT.len()), Err(bad)),
    }
}

fn checked(reply: &AuthorizerReply) -> Result<StatusCode, BadReply> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_good = |(name, value): &(String, String)| {
        !name.is_empty()
            && name.bytes().all(is_token)
            && !value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
            // It would be another status.
            && !name.eq_ignore_ascii_case("status")
    };
    let status = StatusCode::from_u16(reply.status).ok().filter(|status| status.as_u16() < 600);
    status.filter(|_| reply.headers.iter().all(is_good)).ok_or(BadReply)
}

/// At least the bytes of what [`stream`] writes.
fn length(reply: &AuthorizerReply) -> usize {
    let of = |(name, value): &(String, String)| name.len().saturating_add(value.len()).saturating_add(4);
    let headers = reply.headers.iter().map(of).fold(64_usize, usize::saturating_add);
    headers.saturating_add(reply.body.len())
}

fn stream(to: &mut Vec<u8>, status: StatusCode, reply: &AuthorizerReply) {
    to.extend(b"Status: ");
    to.extend(status.as_str().as_bytes());
    to.push(b' ');
    to.extend(status.canonical_reason().unwrap_or("Status").as_bytes());
    for (name, value) in &reply.headers {
        for part in ["\r\n", name, ": ", value] {
            to.extend(part.as_bytes());
        }
    }
    to.extend(b"\r\n\r\n");
    // Apache takes a body as an argument of ErrorDocument: one that begins with a slash or a scheme would be fetched instead.
    if reply.body.first().is_some_and(|first| *first == b'/' || first.is_ascii_alphabetic()) {
        to.push(b'\n');
    }
    to.extend(&reply.body);
}

/// What `stream` writes, as records, with the one that ends the request. `length`: at least its bytes.
fn records(request: u16, stream: impl FnOnce(&mut Vec<u8>), length: usize) -> Zeroizing<Vec<u8>> {
    let ended = end_request(request, Ended::Complete);
    let of_end = Head::new(kind::STDOUT, request, 0).write();
    // Room for all of it, so that no part stays behind in memory that was too small.
    let rest = HEAD.saturating_add(of_end.len()).saturating_add(ended.len());
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.saturating_add(rest)));
    bytes.extend([0; HEAD]);
    stream(&mut bytes);
    let content = bytes.len().saturating_sub(HEAD);
    if let (Ok(content), Some(head)) = (u16::try_from(content), bytes.first_chunk_mut::<HEAD>()) {
        *head = Head::new(kind::STDOUT, request, content).write();
    } else {
        bytes = cut(request, bytes.get(HEAD..).unwrap_or_default());
    }
    bytes.extend(of_end);
    bytes.extend(ended);
    bytes
}

/// A stream that one record does not hold, in several.
fn cut(request: u16, stream: &[u8]) -> Zeroizing<Vec<u8>> {
    let pieces = stream.chunks(MOST_CONTENT);
    let heads = pieces.len().saturating_add(3).saturating_mul(HEAD);
    let mut bytes = Zeroizing::new(Vec::with_capacity(stream.len().saturating_add(heads)));
    for piece in pieces {
        bytes
            .extend(Head::new(kind::STDOUT, request, u16::try_from(piece.len()).unwrap_or_default()).write());
        bytes.extend(piece);
    }
    bytes
}
