//! Reads what web servers send, in whatever pieces it arrives.

use super::params::{MOST_BYTES, Params};
use super::record::{self, AUTHORIZER, BadRecord, Ended, HEAD, Head, KEEP_CONNECTION, kind};
use std::mem;
use std::ops::Range;
use zeroize::Zeroizing;

/// The room for a request at first. Apache sends some 2 KiB.
const FIRST_ROOM: usize = 4096;

/// The most bytes in which a web server asks for values.
const MOST_ASKED: usize = 1024;

/// A whole request to an authorizer.
pub(super) struct Request {
    pub(super) id: u16,
    /// Whether the connection is kept.
    pub(super) keep: bool,
    pub(super) params: Params,
}

/// What has arrived.
pub(super) enum Arrived {
    Request(Request),
    /// Something that is answered with these bytes.
    Answered {
        bytes: Vec<u8>,
        /// Whether the connection is closed after them.
        close: bool,
    },
}

/// A request whose parameters are arriving.
struct Open {
    id: u16,
    keep: bool,
    /// Where its parameters are in the buffer.
    params: Range<usize>,
}

/// What has arrived of a connection, and is not handed over yet.
pub(super) struct Input {
    /// Filled by the connection. A request takes it along, so that its parameters are copied only if they come in several
    /// records.
    buffer: Zeroizing<Vec<u8>>,
    /// Where in it unread bytes begin.
    unread: usize,
    /// So many bytes are of no interest.
    skip: usize,
    open: Option<Open>,
    /// Maximum connections, for those who ask.
    connections: usize,
}

/// What to do with a record.
enum Step {
    Skip,
    Use,
}

impl Input {
    pub(super) fn new(connections: usize) -> Self {
        Self { buffer: Zeroizing::new(Vec::new()), unread: 0, skip: 0, open: None, connections }
    }

    /// Whether nothing has arrived of a further request.
    pub(super) fn is_at_rest(&self) -> bool {
        self.open.is_none() && self.skip == 0 && self.unread >= self.buffer.len()
    }

    /// The buffer, with room for more at its end: to be called after [`Self::next`] wants more.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        let missing = self.missing();
        if self.buffer.capacity().saturating_sub(self.buffer.len()) < missing {
            self.make_room(missing);
        }
        &mut self.buffer
    }

    /// How many bytes of a record have to arrive at least: at least one.
    fn missing(&self) -> usize {
        let unread = self.buffer.get(self.unread..).unwrap_or_default();
        let whole = match Head::read(unread) {
            _ if self.skip > 0 => 1,
            Ok(Some(head)) => HEAD.saturating_add(head.length()),
            _ => HEAD,
        };
        whole.saturating_sub(unread.len()).max(1)
    }

    /// Moves what is needed to the start, or to another buffer. The old one is wiped.
    fn make_room(&mut self, missing: usize) {
        let params = self.open.as_ref().map_or(0..0, |open| open.params.clone());
        let unread = self.unread..self.buffer.len();
        let kept = params.len().saturating_add(unread.len());
        let needed = kept.saturating_add(missing);
        if needed <= self.buffer.capacity() {
            self.buffer.copy_within(params.clone(), 0);
            self.buffer.copy_within(unread, params.len());
            self.buffer.truncate(kept);
        } else {
            let room = needed.next_power_of_two().max(FIRST_ROOM);
            let mut larger = Zeroizing::new(Vec::with_capacity(room));
            for part in [params.clone(), unread] {
                larger.extend_from_slice(self.buffer.get(part).unwrap_or_default());
            }
            self.buffer = larger;
        }
        self.unread = params.len();
        if let Some(open) = &mut self.open {
            open.params = 0..params.len();
        }
    }

    /// The next thing that has arrived; `None`: more has to arrive.
    ///
    /// # Errors
    /// It is no FastCGI, or nothing for an authorizer. Nothing after it can be read.
    pub(super) fn next(&mut self) -> Result<Option<Arrived>, BadRecord> {
        loop {
            let skipped = self.skip.min(self.buffer.len().saturating_sub(self.unread));
            self.unread = self.unread.saturating_add(skipped);
            self.skip = self.skip.saturating_sub(skipped);
            if self.skip > 0 {
                return Ok(None);
            }
            let unread = self.buffer.get(self.unread..).unwrap_or_default();
            let Some(head) = Head::read(unread)? else { return Ok(None) };
            let begin = self.unread.saturating_add(HEAD);
            let content = begin..begin.saturating_add(head.length());
            if let Step::Use = self.step(head)? {
                if content.end > self.buffer.len() {
                    return Ok(None);
                }
                self.unread = content.end;
                self.skip = head.padding.into();
                if let Some(arrived) = self.take(head, content)? {
                    return Ok(Some(arrived));
                }
            } else {
                self.unread = begin;
                self.skip = head.length().saturating_add(head.padding.into());
            }
        }
    }

    /// What to do with the record of this head, before its content has arrived.
    fn step(&self, head: Head) -> Result<Step, BadRecord> {
        let length = head.length();
        let within = |is_within| if is_within { Ok(Step::Use) } else { Err(BadRecord::Length(length)) };
        if head.request == 0 {
            return match head.kind {
                kind::GET_VALUES => within(length <= MOST_ASKED),
                // Content of a type that is not known is not looked at.
                kind::BEGIN_REQUEST..=kind::DATA => Err(BadRecord::Kind(head.kind)),
                _ => within(length <= MOST_ASKED),
            };
        }
        let open = self.open.as_ref().filter(|open| open.id == head.request);
        match (head.kind, open) {
            (kind::BEGIN_REQUEST, Some(_)) => Err(BadRecord::BegunTwice),
            (kind::BEGIN_REQUEST, None) => within(length == 8),
            (kind::PARAMS, Some(open)) if open.params.len().saturating_add(length) > MOST_BYTES => {
                Err(BadRecord::TooManyParameters)
            }
            (kind::PARAMS | kind::ABORT_REQUEST, Some(_)) => Ok(Step::Use),
            (kind::STDIN | kind::DATA, Some(_)) if length > 0 => Err(BadRecord::Body),
            // Of a request that was refused, answered or aborted before all of it arrived; or an end of no body.
            (kind::PARAMS | kind::ABORT_REQUEST | kind::STDIN | kind::DATA, _) => Ok(Step::Skip),
            _ => Err(BadRecord::Kind(head.kind)),
        }
    }

    /// Takes a record whose content has arrived.
    fn take(&mut self, head: Head, content: Range<usize>) -> Result<Option<Arrived>, BadRecord> {
        let answered = |bytes: Vec<u8>, close| Ok(Some(Arrived::Answered { bytes, close }));
        let bytes = self.buffer.get(content.clone()).unwrap_or_default();
        match head.kind {
            kind::BEGIN_REQUEST => self.begin(head.request, content),
            kind::PARAMS if content.is_empty() => self.finish(),
            kind::PARAMS => {
                self.append(content);
                Ok(None)
            }
            kind::ABORT_REQUEST => {
                let keep = self.open.take().is_some_and(|open| open.keep);
                answered(record::end_request(head.request, Ended::Complete).to_vec(), !keep)
            }
            kind::GET_VALUES => answered(record::values(bytes, self.connections)?, false),
            unknown => answered(record::unknown_type(unknown), false),
        }
    }

    fn begin(&mut self, id: u16, content: Range<usize>) -> Result<Option<Arrived>, BadRecord> {
        let body = self.buffer.get(content.clone()).and_then(<[u8]>::first_chunk::<3>);
        let Some([role1, role0, flags]) = body else { return Err(BadRecord::Length(content.len())) };
        let (role, keep) = (u16::from_be_bytes([*role1, *role0]), flags & KEEP_CONNECTION != 0);
        let refused = |ended, close| {
            Ok(Some(Arrived::Answered { bytes: record::end_request(id, ended).to_vec(), close }))
        };
        if self.open.is_some() {
            return refused(Ended::CannotMultiplex, false);
        }
        if role != AUTHORIZER {
            return refused(Ended::UnknownRole, !keep);
        }
        self.open = Some(Open { id, keep, params: content.end..content.end });
        Ok(None)
    }

    /// Parameters that came in one record stay where they are; others are moved behind those.
    fn append(&mut self, content: Range<usize>) {
        let Some(open) = &mut self.open else { return };
        if open.params.is_empty() {
            open.params = content;
        } else {
            let (begin, length) = (open.params.end, content.len());
            self.buffer.copy_within(content, begin);
            open.params.end = begin.saturating_add(length);
        }
    }

    /// All parameters have arrived: the request takes the buffer along.
    fn finish(&mut self) -> Result<Option<Arrived>, BadRecord> {
        let Some(open) = self.open.take() else { return Ok(None) };
        let text = mem::take(&mut self.buffer);
        let rest = text.get(self.unread..).unwrap_or_default();
        if !rest.is_empty() {
            let mut own = Vec::with_capacity(rest.len().max(FIRST_ROOM));
            own.extend_from_slice(rest);
            self.buffer = Zeroizing::new(own);
        }
        self.unread = 0;
        let params = Params::read(text, open.params)?;
        Ok(Some(Arrived::Request(Request { id: open.id, keep: open.keep, params })))
    }
}
