//! The messages on `check.sock`, by which `ykweb-check` asks about one answer of one user.
//!
//! `POST /check` with a [`CheckRequest`] as JSON is answered with status 200 and a [`CheckReply`]. Any other status is a
//! failure, and so is a reply that cannot be read: only [`Verdict::Accepted`] is a yes.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use zeroize::Zeroizing;

/// The path that is asked.
pub const PATH: &str = "/check";

/// The socket, unless the settings name another.
pub const SOCKET: &str = "/run/ykweb/check.sock";

/// The most bytes of a request: a user, an answer of 1,088 bytes whose every byte is escaped, and a service.
pub const MOST_REQUEST: usize = 16 << 10;

/// The most bytes of a reply.
pub const MOST_REPLY: usize = 4 << 10;

/// What is asked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// The user. Whether it is a name is decided by who answers.
    pub user: String,
    /// What they typed: with [`Factor::Both`] the password and behind it an OTP or a code.
    #[serde(serialize_with = "write_typed", deserialize_with = "read_typed")]
    pub answer: Zeroizing<String>,
    /// What the answer has to show.
    #[serde(default)]
    pub factor: Factor,
    /// Who asks, for the log: `cosign`.
    #[serde(default)]
    pub service: String,
    /// The address of the user, if it is known.
    #[serde(default)]
    pub from: Option<String>,
}

/// What an answer has to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Factor {
    /// An OTP or a code. Whoever asks has checked a first factor.
    #[default]
    Second,
    /// The password, and behind it an OTP or a code.
    Both,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Yes. The OTP or code is used now.
    Accepted,
    /// No.
    Rejected,
    /// Nothing was decided, which counts as a no.
    Failed,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReply {
    /// What was decided.
    pub verdict: Verdict,
    /// The code of the finding, of docs/reference/codes.md.
    pub code: String,
    /// By which `ykwebd explain` and the log know it.
    pub id: Option<String>,
}

impl Factor {
    /// The factor of this name: `second` or `both`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Second, Self::Both].into_iter().find(|factor| factor.name() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Both => "both",
        }
    }
}

impl Verdict {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

fn write_typed<S: Serializer>(typed: &Zeroizing<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(typed)
}

/// Copied once, from the text that was read: its buffer is wiped by who read it.
fn read_typed<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    struct Typed;
    impl de::Visitor<'_> for Typed {
        type Value = Zeroizing<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Zeroizing::new(text.to_owned()))
        }

        fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
            Ok(Zeroizing::new(text))
        }
    }
    from.deserialize_str(Typed)
}

impl CheckRequest {
    /// As JSON.
    #[must_use]
    pub fn write(&self) -> Zeroizing<Vec<u8>> {
        // Room for all of it, so that no part stays behind in memory that was too small.
        let mut text = Zeroizing::new(Vec::with_capacity(MOST_REQUEST));
        // Of strings only, and into memory: it cannot fail. What was cut off would not be read.
        let _ = serde_json::to_writer(&mut *text, self);
        text
    }

    /// Of JSON.
    ///
    /// # Errors
    /// It is none, or has other fields. Why; no value of the text is in it.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|why| why_not(&why))
    }
}

impl CheckReply {
    /// As JSON.
    #[must_use]
    pub fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Of JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|why| why_not(&why))
    }
}

/// Without the value that did not fit, which may be an answer.
fn why_not(why: &serde_json::Error) -> String {
    let (line, column) = (why.line(), why.column());
    match why.classify() {
        serde_json::error::Category::Data => {
            format!("not JSON with the fields that are asked for (line {line}, column {column})")
        }
        _ => format!("not JSON (line {line}, column {column})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_it_is_written() {
        let request = CheckRequest {
            user: "alice".into(),
            answer: "s3cret\u{1}\"123456".to_owned().into(),
            factor: Factor::Both,
            service: "cosign".into(),
            from: Some("192.0.2.1".to_owned()),
        };
        let text = r#"{"user":"alice","answer":"s3cret\u0001\"123456","factor":"both","service":"cosign","from":"192.0.2.1"}"#;
        assert_eq!(str::from_utf8(&request.write()).unwrap(), text);
        let read = CheckRequest::read(text.as_bytes()).unwrap();
        assert_eq!((read.user, read.answer, read.from), (request.user, request.answer, request.from));
        let short = CheckRequest::read(br#"{"user":"a","answer":"b"}"#).unwrap();
        assert_eq!((short.factor, short.service.as_str(), short.from), (Factor::Second, "", None));
        for bad in [
            "",
            "{}",
            r#"{"user":"a"}"#,
            r#"{"user":"a","answer":1}"#,
            r#"{"user":"a","answer":"b","factor":"first"}"#,
            r#"{"user":"a","answer":"b","otp":"c"}"#,
            r#"{"user":"a","answer":"b","from":7}"#,
            r#"{"user":"a","answer":"b"} {}"#,
        ] {
            assert!(CheckRequest::read(bad.as_bytes()).is_err(), "{bad}");
        }
        let secret = CheckRequest::read(br#"{"user":"a","answer":["s3cret"]}"#).err().unwrap();
        assert!(!secret.contains("s3cret"), "{secret}");
        for reply in [
            CheckReply { verdict: Verdict::Accepted, code: "accepted".into(), id: Some("R-1".into()) },
            CheckReply { verdict: Verdict::Failed, code: "internal-error".into(), id: None },
        ] {
            assert_eq!(CheckReply::read(reply.write().as_bytes()), Ok(reply));
        }
        assert!(CheckReply::read(br#"{"verdict":"yes","code":"","id":null}"#).is_err());
        for factor in [Factor::Second, Factor::Both] {
            assert_eq!(Factor::named(factor.name()), Some(factor));
            assert_eq!(serde_json::to_value(factor).unwrap(), factor.name());
        }
        for verdict in [Verdict::Accepted, Verdict::Rejected, Verdict::Failed] {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.name());
        }
    }

    proptest! {
        /// The longest answers fit.
        #[test]
        fn the_longest_answer_fits(answer in proptest::collection::vec(0u8..0x80, 1088)) {
            let answer = String::from_utf8(answer).unwrap();
            let (user, service) = ("u".repeat(64), "s".repeat(64));
            let typed = answer.clone().into();
            let request = CheckRequest { user, answer: typed, factor: Factor::Both, service, from: None };
            let text = request.write();
            prop_assert!(text.len() <= MOST_REQUEST && text.capacity() == MOST_REQUEST);
            prop_assert_eq!(&*CheckRequest::read(&text).unwrap().answer, &answer);
        }
    }
}
