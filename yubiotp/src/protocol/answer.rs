//! The answer as a server writes it.

use super::{ClientKey, Status, signature, sort};
use crate::Position;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use zeroize::Zeroizing;

/// An answer, in the fields and the order of yubikey-val.
pub struct Answer<'a> {
    /// The decision, or why there is none.
    pub status: Status,
    /// The server's clock, as `2026-11-22T00:30:01Z0284`: in UTC, with a zero and the milliseconds behind it.
    pub t: &'a str,
    /// OTP and nonce of the question, if the answer names the question.
    pub echo: Option<(&'a str, &'a str)>,
    /// How many percent of the server's peers confirmed; for OK.
    pub sync_level: Option<u8>,
    /// The token's counters and its clock of 24 bits; for OK, if the question asked for them.
    pub position: Option<(Position, u32)>,
}

impl Answer<'_> {
    /// The body, signed with the client's key, or with the empty one where there is no client to speak of. Wiped on
    /// drop: it may hold the OTP.
    #[must_use]
    pub fn write(&self, key: Option<&ClientKey>) -> Zeroizing<String> {
        let numbers = self.position.map(|(position, timestamp)| {
            [u64::from(timestamp), position.usage_counter(), position.session_use()]
                .map(|number| number.to_string())
        });
        let sync_level = self.sync_level.map(|level| level.to_string());
        let mut fields: Vec<(&str, &str)> = Vec::with_capacity(8);
        fields.push(("t", self.t));
        if let Some((otp, nonce)) = self.echo {
            fields.extend([("otp", otp), ("nonce", nonce)]);
        }
        fields.extend(sync_level.as_deref().map(|level| ("sl", level)));
        if let Some(numbers) = &numbers {
            fields.extend(
                ["timestamp", "sessioncounter", "sessionuse"]
                    .into_iter()
                    .zip(numbers.iter().map(String::as_str)),
            );
        }
        fields.push(("status", self.status.name()));

        let mut sorted = fields.clone();
        sort(&mut sorted);
        let h = signature(key, &sorted);
        fields.insert(0, ("h", &h));
        let length: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
        // Room for all of it, so that no part stays behind in memory that was too small.
        let mut body = Zeroizing::new(String::with_capacity(length.saturating_add(2)));
        for (name, value) in fields {
            for part in [name, "=", value, "\r\n"] {
                body.push_str(part);
            }
        }
        body.push_str("\r\n");
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Nonce, PendingQuery, ServerVerdict};

    const OTP: &str = "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku";
    const NONCE: &str = "kakakakakakakakakakakaka";
    const T: &str = "2026-11-22T00:30:01Z0284";

    fn key() -> ClientKey {
        ClientKey::parse(b"EHmo8FMxuhumBlTinC4uYL0Mgwg=").ok().unwrap()
    }

    /// As yubikey-val itself signed it.
    #[test]
    fn published_vector() {
        let answer = Answer {
            status: Status::Ok,
            t: T,
            echo: Some((OTP, NONCE)),
            sync_level: Some(0),
            position: None,
        };
        assert_eq!(
            *answer.write(Some(&key())),
            "h=TO8409qUoRseQxgZmuDF1v6bze8=\r\nt=2026-11-22T00:30:01Z0284\r\n\
             otp=idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku\r\nnonce=kakakakakakakakakakakaka\r\nsl=0\r\n\
             status=OK\r\n\r\n"
        );
    }

    /// The client believes what the server writes.
    #[test]
    fn both_ends_agree() {
        let at = Position::yubikey(0x7ffe, 255);
        let answer = Answer {
            status: Status::Ok,
            t: T,
            echo: Some((OTP, NONCE)),
            sync_level: Some(0),
            position: Some((at, 0x00ff_ffff)),
        };
        let body = answer.write(Some(&key()));
        assert!(body.contains(
            "sl=0\r\ntimestamp=16777215\r\nsessioncounter=32766\r\nsessionuse=255\r\nstatus=OK\r\n\r\n"
        ));
        let nonce = Nonce::of_vector(NONCE);
        let asked = PendingQuery { otp: OTP, nonce: &nonce, position: Some(at), key: Some(&key()) };
        assert_eq!(asked.judge(body.as_bytes()), Ok(ServerVerdict::Ok(at)));
        assert!(asked.judge(answer.write(None).as_bytes()).is_err(), "signed with no key");
    }

    #[test]
    fn without_a_client_it_is_signed_with_the_empty_key() {
        let answer =
            Answer { status: Status::MissingParameter, t: T, echo: None, sync_level: None, position: None };
        // Python: hmac.new(b'', b'status=MISSING_PARAMETER&t=2026-11-22T00:30:01Z0284', sha1)
        assert_eq!(
            *answer.write(None),
            "h=7dv1Ph/2XCcAGuf1aVFCtOH1zlw=\r\nt=2026-11-22T00:30:01Z0284\r\nstatus=MISSING_PARAMETER\r\n\r\n"
        );
    }
}
