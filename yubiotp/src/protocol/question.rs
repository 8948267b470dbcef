//! The question as a server reads it.
//!
//! The checks and their order are those of yubikey-val 2.41, whose clients rely on them.

use super::{ClientId, ClientKey, Status, sort};
use crate::diagnostic::Code;
use crate::otp::{self, Otp, Reading};
use crate::{PublicId, modhex};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use data_encoding::BASE64;
use hmac::Mac;

/// The protocol's version, which its path tells: `/wsapi/2.0/verify`, or `/wsapi/verify` for the first, which has no
/// nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `/wsapi/verify`
    One,
    /// `/wsapi/2.0/verify`
    Two,
}

/// How many of a server's peers have to confirm an OTP (`sl`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// In percent. May be above 100, which no peers reach.
    Percent(u64),
    /// As many as the server's administrator chose for `fast`.
    Fast,
    /// As many as the server's administrator chose for `secure`.
    Secure,
}

/// A question that can be answered. Only the form of its values was checked.
pub struct Question<'a> {
    /// The client that asks.
    pub client_id: ClientId,
    /// The OTP as it was sent: 32 to 64 characters of modhex, in capitals or not, or what a Dvorak keyboard makes of
    /// them, and nothing beside it. Echo it as it is.
    pub otp: &'a str,
    /// 16 to 40 letters and digits; of version 1, none.
    pub nonce: Option<&'a str>,
    /// Whether the answer includes the token's counters.
    pub wants_position: bool,
    /// How many of the server's peers have to confirm, if the question says so.
    pub level: Option<Level>,
    /// How many seconds the server may wait for them, if the question says so.
    pub timeout: Option<u64>,
    /// Every parameter but `h`, sorted by name.
    signed: Vec<(&'a str, &'a str)>,
    h: Option<&'a str>,
}

/// A question that cannot be answered: the status to send, signed with no key, and why, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Malformed {
    /// MISSING_PARAMETER or BAD_OTP.
    pub status: Status,
    /// The kind of mistake.
    pub code: Code,
    /// The mistake in it.
    pub why: &'static str,
    /// The client that the question names, where an id could be read. Unproven.
    pub client_id: Option<ClientId>,
}

impl Malformed {
    /// MISSING_PARAMETER, from an unknown client.
    #[must_use]
    pub const fn missing(code: Code, why: &'static str) -> Self {
        Self { status: Status::MissingParameter, code, why, client_id: None }
    }
}

pub(super) const fn missing(why: &'static str) -> Malformed {
    Malformed::missing(Code::ParameterMissing, why)
}

const fn invalid(why: &'static str) -> Malformed {
    Malformed::missing(Code::ParameterInvalid, why)
}

const fn bad_otp(code: Code, why: &'static str) -> Malformed {
    Malformed { status: Status::BadOtp, code, why, client_id: None }
}

/// The most parameters that a question may have. The protocol has eight.
pub const MOST_PARAMETERS: usize = 32;

/// The characters that PHP's `trim` removes, and so YK-VAL from every value before it checks it.
pub(super) const BLANKS: [char; 6] = [' ', '\t', '\n', '\r', '\0', '\x0b'];

impl<'a> Question<'a> {
    /// Reads the parameters of a request, their names and values unescaped. Blanks and newlines around a value do not
    /// count, but are signed.
    ///
    /// # Errors
    /// The parameter that is missing or malformed. One that occurs twice is malformed: which of the two was meant, and
    /// which was signed, would be a guess.
    pub fn read(version: Version, parameters: &'a [(Cow<'_, str>, Cow<'_, str>)]) -> Result<Self, Malformed> {
        let of = |malformed| Malformed { client_id: asking(parameters), ..malformed };
        Self::checked(version, parameters).map_err(of)
    }

    fn checked(version: Version, parameters: &'a [(Cow<'_, str>, Cow<'_, str>)]) -> Result<Self, Malformed> {
        let mut signed = sorted_once(parameters)?;
        let value = |of: &str| {
            let found =
                signed.iter().find(|(name, _)| *name == of).map(|(_, value)| value.trim_matches(BLANKS));
            found.filter(|value| !value.is_empty())
        };
        // One that is empty is none.
        let h = value("h");

        let nonce = match version {
            Version::One => None,
            Version::Two => Some(value("nonce").ok_or(missing("nonce is missing"))?),
        };
        // Version 1 has neither.
        let of_two =
            |name| Some(version).filter(|version| *version == Version::Two).and_then(|_| value(name));
        let level = of_two("sl").map(|level| {
            to_level(level).ok_or(invalid("sl is neither a number above 0 nor fast nor secure"))
        });
        let level = level.transpose()?;
        let timeout = of_two("timeout").map(|seconds| {
            let is_valid = is_number(seconds, usize::MAX);
            let wrong = invalid("timeout is not a number of seconds");
            is_valid.then(|| seconds.parse().unwrap_or(u64::MAX)).ok_or(wrong)
        });
        let timeout = timeout.transpose()?;
        let otp = value("otp").ok_or(bad_otp(Code::ParameterMissing, "otp is missing"))?;
        reading(otp).ok_or(bad_otp(Code::OtpMalformed, "otp is not exactly one OTP"))?;
        let id = value("id").ok_or(missing("id is missing"))?;
        let client_id = to_client(id).ok_or(invalid("id is not a number above 0 of 1 to 10 digits"))?;
        if nonce.is_some_and(|nonce| !is_nonce(nonce)) {
            return Err(invalid("nonce is not 16 to 40 letters and digits"));
        }
        // Any spelling of the number, as PHP compares it.
        let wants_position = value("timestamp").is_some_and(|number| number.parse::<f64>() == Ok(1.0));
        signed.retain(|(name, _)| *name != "h");
        Ok(Self { client_id, otp, nonce, wants_position, level, timeout, signed, h })
    }

    /// Whether the signature is right; `None` if there is none. In constant time, and of all 20 bytes.
    #[must_use]
    pub fn is_signed_with(&self, key: &ClientKey) -> Option<bool> {
        let h = BASE64.decode(self.h?.as_bytes());
        Some(h.is_ok_and(|h| key.over(&self.signed).verify_slice(&h).is_ok()))
    }

    /// The public ID that the OTP names, and its block.
    #[must_use]
    pub fn token(&self) -> Option<(PublicId, Otp<'a>)> {
        let reading = reading(self.otp)?;
        let id = reading.whole_id()?;
        Some((id, reading.split(&id)?))
    }
}

/// A text as one OTP and nothing beside it.
///
/// Clients identify the token by the letters before the last 32, as they are sent. So a text whose id is modhex
/// is read as modhex and as nothing else, whatever it would decrypt to on another keyboard: it would be another token.
/// A text that is not modhex may be Dvorak, as in the protocol, and no other layout: a text has one reading.
fn reading(otp: &str) -> Option<Reading<'_>> {
    if otp.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let id = otp.len().checked_sub(BLOCK).and_then(|block| otp.as_bytes().get(..block))?;
    let is_modhex = id.iter().all(|letter| modhex::nibble(letter.to_ascii_lowercase()).is_some());
    let layout = if is_modhex { "QWERTY" } else { "Dvorak" };
    let mut readings = otp::readings(otp.as_bytes()).ok()?;
    readings.find(|reading| reading.layout.name == layout).filter(|reading| reading.whole_id().is_some())
}

/// Characters of the block; each is one byte in both alphabets.
const BLOCK: usize = 32;

/// The client that one `id` names.
fn asking(parameters: &[(Cow<'_, str>, Cow<'_, str>)]) -> Option<ClientId> {
    let mut ids = parameters.iter().filter(|(name, _)| name == "id");
    let (_, id) = ids.next()?;
    if ids.next().is_some() { None } else { to_client(id.trim_matches(BLANKS)) }
}

fn to_client(id: &str) -> Option<ClientId> {
    let number = Some(id).filter(|id| is_number(id, 10)).and_then(|id| id.parse().ok());
    number.and_then(ClientId::new).filter(|id| id.number() > 0)
}

/// As YK-VAL reads it: the digits that it begins with are what counts (`50%`, `1.5`), and may say more than 100. 0,
/// which YK-VAL refuses, is what its protocol has it for: no other server has to confirm.
fn to_level(level: &str) -> Option<Level> {
    for (word, known) in [("fast", Level::Fast), ("secure", Level::Secure)] {
        if level.eq_ignore_ascii_case(word) {
            return Some(known);
        }
    }
    let number = level.strip_prefix('+').unwrap_or(level);
    let end = number.bytes().take_while(u8::is_ascii_digit).count();
    let digits = number.get(..end).filter(|digits| !digits.is_empty())?;
    let percent = digits.parse().unwrap_or(u64::MAX);
    (percent > 0 || level == "0").then_some(Level::Percent(percent))
}

/// The parameters sorted by name. Err: one occurs twice, so which one was meant would be a guess; or there are too many.
pub(super) fn sorted_once<'a>(
    parameters: &'a [(Cow<'_, str>, Cow<'_, str>)],
) -> Result<Vec<(&'a str, &'a str)>, Malformed> {
    if parameters.len() > MOST_PARAMETERS {
        return Err(Malformed::missing(Code::RequestUnreadable, "the request has too many parameters"));
    }
    let mut sorted: Vec<(&str, &str)> =
        parameters.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    sort(&mut sorted);
    if sorted.windows(2).any(|pair| matches!(pair, [(one, _), (two, _)] if one == two)) {
        return Err(Malformed::missing(Code::ParameterRepeated, "the request has a parameter twice"));
    }
    Ok(sorted)
}

fn is_number(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn is_nonce(text: &str) -> bool {
    (16..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use proptest::prelude::*;

    const OTP: &str = "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku";
    const NONCE: &str = "kakakakakakakakakakakaka";

    fn pairs<'a>(list: &[(&'a str, &'a str)]) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        list.iter().map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value))).collect()
    }

    fn refused(version: Version, list: &[(&str, &str)]) -> Option<Status> {
        Question::read(version, &pairs(list)).err().map(|malformed| malformed.status)
    }

    /// Client 1 of yubikey-val's own examples; reproduced by running it.
    #[test]
    fn published_vector() {
        let key = ClientKey::parse(b"EHmo8FMxuhumBlTinC4uYL0Mgwg=").ok().unwrap();
        let h = "Ewqt0nZBWlwU+9E5yqzwUYpJ97U=";
        let sent = [("timestamp", "1"), ("h", h), ("otp", OTP), ("id", "1"), ("nonce", NONCE)];
        let question = |sent: &[(&str, &str)]| {
            Question::read(Version::Two, &pairs(sent)).map(|question| question.is_signed_with(&key))
        };
        assert_eq!(question(&sent), Ok(Some(true)));
        assert_eq!(question(&[&sent[..], &[("app", "x")]].concat()), Ok(Some(false)), "something was added");
        assert_eq!(question(&[&sent[..1], &sent[2..]].concat()), Ok(None));
        for wrong in ["Ewqt0nZBWlwU+9E5yqzwUYpJ97Q=", "Ewqt0nZBWlwU+9E5yqzwUYpJ97U", "Ewqt", "="] {
            assert_eq!(
                question(&[&[("h", wrong)], &sent[..1], &sent[2..]].concat()),
                Ok(Some(false)),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_first_thing_that_is_wrong_decides() {
        use Status::{BadOtp, MissingParameter};
        let all = [("id", "1"), ("nonce", NONCE), ("otp", OTP)];
        assert_eq!(refused(Version::Two, &all), None);
        assert_eq!(refused(Version::One, &[all[0], all[2]]), None, "version 1 has no nonce");
        assert_eq!(
            refused(Version::One, &[all[0], all[2], ("sl", "x"), ("nonce", "-")]),
            None,
            "nor a sync level"
        );
        assert_eq!(refused(Version::Two, &[all[0], all[1], all[2], ("sl", "Fast")]), None);
        for (sent, status) in [
            (&[][..], MissingParameter),
            (&[all[0], all[2]], MissingParameter),
            (&[("nonce", NONCE), ("sl", "-1"), ("otp", "x")], MissingParameter),
            (&[all[0], all[1], all[2], ("sl", "slow")], MissingParameter),
            (&[all[0], all[1], all[2], ("sl", "%50")], MissingParameter),
            (&[all[0], all[1], all[2], ("timeout", "1.5")], MissingParameter),
            (&[("nonce", NONCE), ("timeout", "-1")], MissingParameter),
            (&[("nonce", "short")], BadOtp),
            (&[("nonce", NONCE), ("otp", ""), ("id", "")], BadOtp),
            (&[("nonce", NONCE), ("otp", &OTP[13..]), all[0]], BadOtp),
            (&[("nonce", NONCE), ("otp", &OTP[1..]), all[0]], BadOtp),
            (
                &[("nonce", NONCE), ("otp", "password idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku"), all[0]],
                BadOtp,
            ),
            (&[("nonce", NONCE), ("otp", "idkfefrdhtru\rtjduvtcjbfeuvhehdvjjlbchtlenfgku"), all[0]], BadOtp),
            (
                &[("nonce", NONCE), ("otp", "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku\u{a0}"), all[0]],
                BadOtp,
            ),
            (&[("nonce", " \n"), all[2], all[0]], MissingParameter),
            (&[("nonce", NONCE), all[2]], MissingParameter),
            (&[("nonce", NONCE), all[2], ("id", "12345678901")], MissingParameter),
            (&[("nonce", NONCE), all[2], ("id", "1x")], MissingParameter),
            (&[("nonce", NONCE), all[2], ("id", "+1")], MissingParameter),
            (&[("nonce", NONCE), all[2], ("id", "0")], MissingParameter),
            (&[("nonce", "short"), all[2], all[0]], MissingParameter),
            (&[("nonce", "kakakakakakakakaka-a"), all[2], all[0]], MissingParameter),
            (&[all[0], all[0], all[1], all[2]], MissingParameter),
        ] {
            assert_eq!(refused(Version::Two, sent), Some(status), "{sent:?}");
        }
    }

    /// Byte by byte what YK-VAL takes, which reads numbers with PHP's `intval` and everything else behind its `trim`.
    #[test]
    fn taken_as_yk_val_takes_it() {
        for (name, values) in [
            ("sl", &["101", "50%", "1.5", "+5", " 7\n", "9x", "99999999999999999999", "SECURE", "0"][..]),
            ("timeout", &["12345678901", "0", " 8 "]),
            ("h", &["", " ", "\r\n"]),
        ] {
            for value in values {
                let sent = [("id", "1"), ("nonce", NONCE), ("otp", OTP), (name, *value)];
                assert_eq!(refused(Version::Two, &sent), None, "{name}={value:?}");
            }
        }
        let key = ClientKey::parse(b"EHmo8FMxuhumBlTinC4uYL0Mgwg=").ok().unwrap();
        let otp = alloc::format!(" {OTP}\n");
        let nonce = alloc::format!("\t{NONCE}\0");
        let mut sent =
            [("id", " 1\x0b"), ("nonce", nonce.as_str()), ("otp", otp.as_str()), ("timestamp", "1 ")]
                .to_vec();
        let read = pairs(&sent);
        let question = Question::read(Version::Two, &read).ok().unwrap();
        assert_eq!((question.client_id.number(), question.otp, question.nonce), (1, OTP, Some(NONCE)));
        assert!(question.wants_position);
        assert_eq!(question.is_signed_with(&key), None);
        // The signature covers the values as they were sent, with their blanks.
        let h = alloc::format!("{} ", crate::protocol::signature(Some(&key), &sent));
        sent.push(("h", &h));
        let read = pairs(&sent);
        assert_eq!(Question::read(Version::Two, &read).ok().unwrap().is_signed_with(&key), Some(true));
        let stripped = [("id", "1"), ("nonce", NONCE), ("otp", OTP), ("timestamp", "1"), ("h", &h)];
        let read = pairs(&stripped);
        assert_eq!(Question::read(Version::Two, &read).ok().unwrap().is_signed_with(&key), Some(false));
    }

    /// The values that PHP finds equal to 1, and no others.
    #[test]
    fn a_timestamp_of_one_has_many_spellings() {
        let wants = |value: &str| {
            let sent = [("id", "1"), ("nonce", NONCE), ("otp", OTP), ("timestamp", value)];
            Question::read(Version::Two, &pairs(&sent)).ok().unwrap().wants_position
        };
        for value in ["1", " 1", "1\n", "01", "1.0", "+1", "1e0", "10e-1"] {
            assert!(wants(value), "{value:?}");
        }
        for value in ["", "0", "2", "-1", "1x", "1,0", "0x1", "true", "yes", "inf", "NaN", "1\\"] {
            assert!(!wants(value), "{value:?}");
        }
    }

    #[test]
    fn a_malformed_question_has_the_client_that_it_names() {
        let of = |sent: &[(&str, &str)]| {
            Question::read(Version::Two, &pairs(sent)).err().unwrap().client_id.map(ClientId::number)
        };
        assert_eq!(of(&[("id", "7")]), Some(7));
        assert_eq!(of(&[("id", " 7"), ("nonce", NONCE), ("otp", "x")]), Some(7));
        assert_eq!(of(&[("id", "7"), ("otp", OTP), ("otp", OTP)]), Some(7));
        for sent in [&[][..], &[("id", "x")], &[("id", "0")], &[("id", "7"), ("id", "7")]] {
            assert_eq!(of(sent), None, "{sent:?}");
        }
    }

    #[test]
    fn sync_levels_and_timeouts() {
        let asked = |version, sl: &str, timeout: &str| {
            let sent = [("id", "1"), ("nonce", NONCE), ("otp", OTP), ("sl", sl), ("timeout", timeout)];
            let sent = pairs(&sent);
            Question::read(version, &sent).ok().map(|question| (question.level, question.timeout))
        };
        for (sl, level) in [
            ("", None),
            ("0", Some(Level::Percent(0))),
            ("1", Some(Level::Percent(1))),
            ("50%", Some(Level::Percent(50))),
            ("+7", Some(Level::Percent(7))),
            ("150", Some(Level::Percent(150))),
            ("FAST", Some(Level::Fast)),
            ("secure", Some(Level::Secure)),
            ("99999999999999999999", Some(Level::Percent(u64::MAX))),
        ] {
            assert_eq!(asked(Version::Two, sl, ""), Some((level, None)), "{sl}");
            assert_eq!(asked(Version::One, sl, "x"), Some((None, None)), "{sl}");
        }
        for (timeout, seconds) in [("0", 0), ("8", 8), ("99999999999999999999", u64::MAX)] {
            assert_eq!(asked(Version::Two, "", timeout), Some((None, Some(seconds))), "{timeout}");
        }
    }

    #[test]
    fn an_otp_of_either_keyboard_and_any_length_is_one() {
        let block = &OTP[12..];
        for otp in [block, &OTP.to_uppercase(), &(String::from("cccccccccccccccccccccccccccccccc") + block)] {
            let sent = [("id", "1"), ("nonce", NONCE), ("otp", otp)];
            assert_eq!(refused(Version::Two, &sent), None, "{otp}");
        }
        fn id(otp: &str) -> Option<String> {
            let sent = [("id", "1"), ("otp", otp)];
            let sent = pairs(&sent);
            let question = Question::read(Version::One, &sent).ok();
            question.map(|question| question.token().unwrap().0.to_string())
        }
        // Of letters that Dvorak has too: modhex.
        assert_eq!(id("cccccccccccbcuknheitceekekhhigkdthudieetkjjt").as_deref(), Some("cccccccccccb"));
        let dvorak = |of: &str| typed(of, "Dvorak");
        assert_eq!(id(&dvorak("ccccccdbjrgf")).as_deref(), Some("ccccccdbjrgf"));
        assert_eq!(id(&dvorak("vvcccccccccc")), None, "kkjjjjjjjjjj is modhex, and the rest is not");
    }

    /// An OTP with this id, as a keyboard types it.
    fn typed(id: &str, layout: &str) -> String {
        let layout = crate::layout::LAYOUTS.iter().find(|known| known.name == layout).unwrap();
        let presses = id.bytes().chain(OTP.bytes().skip(12)).map(|letter| modhex::nibble(letter).unwrap());
        presses.map(|press| layout.typed(press)).collect()
    }

    /// The letters name one token, but another token typed them on a Colemak or a Dvorak keyboard.
    #[test]
    fn a_text_names_one_token() {
        for (of, layout) in [("vvccccccccce", "Colemak"), ("iiiiiiiiiiif", "Dvorak")] {
            let layout = crate::layout::LAYOUTS.iter().find(|known| known.name == layout).unwrap();
            let presses =
                of.bytes().chain(OTP.bytes().skip(12)).map(|letter| modhex::nibble(letter).unwrap());
            let typed: String = presses.map(|press| layout.typed(press)).collect();
            let sent = [("id", "1"), ("otp", typed.as_str())];
            let sent = pairs(&sent);
            let token =
                Question::read(Version::One, &sent).ok().and_then(|question| Some(question.token()?.0));
            assert!(token.is_none_or(|token| token.to_string() == typed[..12]), "{typed}: {token:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(sent in proptest::collection::vec(("(id|otp|nonce|h|sl|timeout|timestamp|.{0,3})", ".{0,60}"), 0..9)) {
            let sent: Vec<_> = sent.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
            for version in [Version::One, Version::Two] {
                if let Ok(question) = Question::read(version, &sent) {
                    prop_assert!(question.token().is_some());
                    prop_assert!(!question.otp.contains(['\r', '\n']));
                }
            }
        }
    }
}
