//! The first message of `ykmap self`: what the user asks for. Everything else that a client sends is an answer.

use super::{BadFrame, Frames, frame};
use alloc::string::String;
use alloc::vec::Vec;

/// What a user asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnRequest {
    /// Their tokens, and what logins need. `json` is for scripts.
    Status {
        /// Whether the text is JSON.
        json: bool,
    },
    /// Whether an answer would be accepted.
    Test {
        /// Whether the text is JSON.
        json: bool,
    },
    /// One more token.
    Add,
    /// To lose this token, as it was typed.
    Remove(String),
    /// New recovery codes.
    Recovery,
}

impl OwnRequest {
    /// The frame.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut rest = String::from(match self {
            Self::Status { json: false } => "status",
            Self::Status { json: true } => "status json",
            Self::Test { json: false } => "test",
            Self::Test { json: true } => "test json",
            Self::Add => "add",
            Self::Remove(_) => "remove ",
            Self::Recovery => "recovery",
        });
        if let Self::Remove(token) = self {
            rest.push_str(token);
        }
        frame(b'S', rest.as_bytes())
    }

    fn read(rest: &[u8]) -> Option<Self> {
        Some(match str::from_utf8(rest).ok()? {
            "status" => Self::Status { json: false },
            "status json" => Self::Status { json: true },
            "test" => Self::Test { json: false },
            "test json" => Self::Test { json: true },
            "add" => Self::Add,
            "recovery" => Self::Recovery,
            other => Self::Remove(other.strip_prefix("remove ")?.into()),
        })
    }
}

impl Frames {
    /// What the user asks for, if it came whole.
    ///
    /// # Errors
    /// It is nothing that can be asked for. Nothing that follows can be read.
    pub fn own_request(&mut self) -> Result<Option<OwnRequest>, BadFrame> {
        match self.next()? {
            Some((b'S', rest)) => match OwnRequest::read(&rest) {
                Some(request) => Ok(Some(request)),
                None => Err(BadFrame("it asks for nothing that is known")),
            },
            Some(_) => Err(BadFrame("it is no request")),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_read_as_it_was_written() {
        let requests = [
            OwnRequest::Status { json: false },
            OwnRequest::Status { json: true },
            OwnRequest::Test { json: false },
            OwnRequest::Test { json: true },
            OwnRequest::Add,
            OwnRequest::Remove("oath-app-1".into()),
            OwnRequest::Remove("add".into()),
            OwnRequest::Remove(String::new()),
            OwnRequest::Recovery,
        ];
        for request in requests {
            let bytes = request.write();
            let mut frames = Frames::default();
            for byte in bytes.iter().take(bytes.len() - 1) {
                frames.feed(&[*byte]);
                assert_eq!(frames.own_request(), Ok(None));
            }
            frames.feed(&bytes[bytes.len() - 1..]);
            assert_eq!(frames.own_request(), Ok(Some(request)));
        }
    }

    #[test]
    fn nothing_else_is_a_request() {
        for bytes in [
            frame(b'A', b"status"),
            frame(b'S', b"Status"),
            frame(b'S', b"status  json"),
            frame(b'S', b"remove"),
            frame(b'S', b"remove \xff"),
            frame(b'S', b""),
            [b'S', 0xff, 0xff, 0xff, 0xff].into(),
        ] {
            let mut frames = Frames::default();
            frames.feed(&bytes);
            assert!(frames.own_request().is_err(), "{bytes:?}");
        }
    }
}
