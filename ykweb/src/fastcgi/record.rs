//! Records of FastCGI 1.0: what their heads say (section 3.3), and the short ones that answer.

use super::params;
use thiserror::Error;

/// The bytes of a head.
pub(super) const HEAD: usize = 8;

/// The most bytes of content that one record holds.
pub(super) const MOST_CONTENT: usize = u16::MAX as usize;

/// The only version there is.
const VERSION: u8 = 1;

/// The role that is answered here.
pub(super) const AUTHORIZER: u16 = 2;

/// The bit of a request that asks to keep the connection.
pub(super) const KEEP_CONNECTION: u8 = 1;

/// The types of records (section 8).
pub(super) mod kind {
    pub(in crate::fastcgi) const BEGIN_REQUEST: u8 = 1;
    pub(in crate::fastcgi) const ABORT_REQUEST: u8 = 2;
    pub(in crate::fastcgi) const END_REQUEST: u8 = 3;
    pub(in crate::fastcgi) const PARAMS: u8 = 4;
    pub(in crate::fastcgi) const STDIN: u8 = 5;
    pub(in crate::fastcgi) const STDOUT: u8 = 6;
    pub(in crate::fastcgi) const DATA: u8 = 8;
    pub(in crate::fastcgi) const GET_VALUES: u8 = 9;
    pub(in crate::fastcgi) const GET_VALUES_RESULT: u8 = 10;
    pub(in crate::fastcgi) const UNKNOWN_TYPE: u8 = 11;
}

/// How a request ended, as `protocolStatus` says it (section 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Complete = 0,
    CannotMultiplex = 1,
    UnknownRole = 3,
}

/// What a web server sent that is not FastCGI, or not for an authorizer. The connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadRecord {
    /// Not version 1.
    #[error("version {0} instead of 1")]
    Version(u8),
    /// A type that web servers do not send, or that does not go with the request ID.
    #[error("type {0} does not belong there")]
    Kind(u8),
    /// The content is shorter or longer than of any such record.
    #[error("content of {0} bytes")]
    Length(usize),
    /// The request began twice.
    #[error("a request began twice")]
    BegunTwice,
    /// An authorizer gets no body of a request.
    #[error("a body, which authorizers do not get")]
    Body,
    /// More parameters than [`MOST_BYTES`](super::MOST_BYTES) or [`MOST_PAIRS`](super::MOST_PAIRS).
    #[error("too many parameters")]
    TooManyParameters,
    /// The parameters end within a pair.
    #[error("parameters that end early")]
    CutParameters,
    /// Two parameters have the same name: who is to say which one counts?
    #[error("a parameter twice")]
    RepeatedParameter,
}

/// The head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: u8,
    /// The request; 0: the connection.
    pub(super) request: u16,
    pub(super) content: u16,
    pub(super) padding: u8,
}

impl Head {
    /// Without padding.
    pub(super) const fn new(kind: u8, request: u16, content: u16) -> Self {
        Self { kind, request, content, padding: 0 }
    }

    /// The head at the start of `bytes`; `None`: more has to arrive.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, BadRecord> {
        let Some([version, kind, id1, id0, content1, content0, padding, _]) = bytes.first_chunk::<HEAD>()
        else {
            return Ok(None);
        };
        if *version != VERSION {
            return Err(BadRecord::Version(*version));
        }
        Ok(Some(Self {
            kind: *kind,
            request: u16::from_be_bytes([*id1, *id0]),
            content: u16::from_be_bytes([*content1, *content0]),
            padding: *padding,
        }))
    }

    pub(super) const fn write(self) -> [u8; HEAD] {
        let [id1, id0] = self.request.to_be_bytes();
        let [content1, content0] = self.content.to_be_bytes();
        [VERSION, self.kind, id1, id0, content1, content0, self.padding, 0]
    }

    /// The bytes of content.
    pub(super) fn length(self) -> usize {
        usize::from(self.content)
    }
}

/// The record that ends a request.
pub(super) fn end_request(request: u16, ended: Ended) -> [u8; 2 * HEAD] {
    let mut record = [0; 2 * HEAD];
    let (head, body) = record.split_at_mut(HEAD);
    head.copy_from_slice(&Head::new(kind::END_REQUEST, request, 8).write());
    // Before it the exit status, which is 0.
    if let Some(status) = body.get_mut(4) {
        *status = ended as u8;
    }
    record
}

/// The answer to a record about the connection whose type is not known.
pub(super) fn unknown_type(unknown: u8) -> Vec<u8> {
    let mut record = Head::new(kind::UNKNOWN_TYPE, 0, 8).write().to_vec();
    record.extend([unknown, 0, 0, 0, 0, 0, 0, 0]);
    record
}

/// The answer to `FCGI_GET_VALUES` (section 4.1), whose content names what the web server wants to know: at most so many
/// connections, as many requests, and one request a connection at a time.
pub(super) fn values(asked: &[u8], connections: usize) -> Result<Vec<u8>, BadRecord> {
    let most = connections.to_string();
    let mut record = Head::new(kind::GET_VALUES_RESULT, 0, 0).write().to_vec();
    for pair in params::Pairs::of(asked) {
        let value = match pair?.0 {
            b"FCGI_MAX_CONNS" | b"FCGI_MAX_REQS" => most.as_str(),
            b"FCGI_MPXS_CONNS" => "0",
            _ => continue,
        };
        params::write(&mut record, pair?.0, value.as_bytes());
    }
    let content = u16::try_from(record.len().saturating_sub(HEAD));
    let content = content.map_err(|_| BadRecord::Length(asked.len()))?;
    if let Some(head) = record.first_chunk_mut::<HEAD>() {
        *head = Head::new(kind::GET_VALUES_RESULT, 0, content).write();
    }
    Ok(record)
}
