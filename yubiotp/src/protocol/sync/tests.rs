//! Messages and answers as yubikey-val 2.41 (git 784ddf5) itself sent and wrote them, recorded by running two of it.

use super::*;
use alloc::format;
use proptest::prelude::*;

const OTP: &str = "vvccccccccbddvgtiblfkbgturecfllberrvkinnctnn";
const NONCE: &str = "0123456789abcdef";

/// What its verification of that OTP sent to its peer.
const SENT: &str = "otp=vvccccccccbddvgtiblfkbgturecfllberrvkinnctnn&modified=1796027733&yk_publicname=vvccccccccbd\
    &yk_counter=1&yk_use=1&yk_high=1&yk_low=1&nonce=0123456789abcdef";

/// What the peer answered: it had the OTP from the first message.
const KNOWN: &str = "h=TCRfq2LAcLmyK3lJDRN4Js9wl88=\r\nt=2026-11-30T08:35:45Z0076\r\nmodified=1796027733\r\n\
    nonce=0123456789abcdef\r\nyk_publicname=vvccccccccbd\r\nyk_counter=1\r\nyk_use=1\r\nyk_high=1\r\nyk_low=1\r\nstatus=OK\r\n\r\n";

/// The same about a token that it did not know.
const NEW: &str = "h=3QLtZ3Lo7Cl1e6Ks3mo5vnxv1kk=\r\nt=2026-11-30T08:35:45Z0275\r\nmodified=-1\r\n\
    nonce=0000000000000000\r\nyk_publicname=vvccccccccbf\r\nyk_counter=-1\r\nyk_use=-1\r\nyk_high=-1\r\nyk_low=-1\r\n\
    status=OK\r\n\r\n";

const DISABLED: &str =
    "h=e460A9s1GhQ+aY5e7JpwdDpuD10=\r\nt=2026-11-30T08:35:45Z0453\r\nstatus=BAD_OTP\r\n\r\n";

const MALFORMED: &str =
    "h=XIUch7V9qMK/LVxjXYzXgmpo8bw=\r\nt=2026-11-30T08:35:45Z0512\r\nstatus=MISSING_PARAMETER\r\n\r\n";

fn id(text: &str) -> PublicId {
    PublicId::parse(text.as_bytes()).unwrap()
}

fn pairs(query: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)))
        .collect()
}

fn refused(query: &str) -> Option<Code> {
    SyncMessage::read(&pairs(query)).err().map(|malformed| {
        assert_eq!(malformed.status, Status::MissingParameter, "{query}");
        malformed.code
    })
}

fn at(counter: u16, session_use: u8) -> Option<Position> {
    Some(Position::yubikey(counter, session_use))
}

#[test]
fn a_message_of_yk_val_is_read() {
    let message = SyncMessage::read(&pairs(SENT)).unwrap();
    assert_eq!((message.token, message.position), (id("vvccccccccbd"), at(1, 1)));
    assert_eq!(
        (message.modified, message.nonce.as_str(), message.timestamp),
        (1_796_027_733, NONCE, 0x1_0001)
    );
    let (token, _) = message.otp_parts().unwrap();
    assert_eq!(token, message.token);
}

/// What YK-VAL reads by name may come in any order; a value that we write is the one that YK-VAL wrote.
#[test]
fn a_message_is_written_with_the_values_of_yk_val() {
    let message = SyncMessage::read(&pairs(SENT)).unwrap();
    let written: Vec<_> =
        message.parameters().iter().map(|(name, value)| format!("{name}={}", **value)).collect();
    let mut theirs: Vec<_> = SENT.split('&').collect();
    let mut ours: Vec<_> = written.iter().map(String::as_str).collect();
    theirs.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours, theirs);
}

/// As its `resync` invents it.
#[test]
fn a_message_whose_otp_is_not_known() {
    let message = SyncMessage::without_otp(id("vvccccccccbd"), Position::yubikey(1, 2), "", 7);
    assert_eq!(*message.otp, "vvccccccccbdcccccccccccccccccccccccccccccccc");
    assert_eq!(message.nonce, NO_NONCE, "YK-VAL takes no message without one");
    assert!(
        SyncMessage::read(&{
            let parameters = message.parameters();
            parameters
                .iter()
                .map(|(name, value)| (Cow::Borrowed(*name), Cow::Owned(value.to_string())))
                .collect::<Vec<_>>()
        })
        .is_ok()
    );
}

#[test]
fn malformed_messages() {
    let with = |name: &str, value: &str| {
        let fields: Vec<_> = SENT
            .split('&')
            .map(|field| match field.split_once('=') {
                Some((own, _)) if own == name => format!("{name}={value}"),
                _ => field.to_owned(),
            })
            .collect();
        refused(&fields.join("&"))
    };
    for name in ["otp", "modified", "nonce", "yk_publicname", "yk_counter", "yk_use", "yk_high", "yk_low"] {
        assert_eq!(with(name, ""), Some(Code::ParameterMissing), "{name}");
        assert_eq!(with(name, "%"), Some(Code::ParameterInvalid), "{name}");
        let without: Vec<_> =
            SENT.split('&').filter(|field| !field.starts_with(&format!("{name}="))).collect();
        assert_eq!(refused(&without.join("&")), Some(Code::ParameterMissing), "{name}");
    }
    for (name, value) in [
        ("modified", "-1"),
        ("yk_counter", "-2"),
        ("yk_counter", "1e3"),
        ("yk_counter", "+1"),
        ("yk_use", "1 OR 1=1"),
        ("yk_low", "0x10"),
        ("otp", "vvccccccccbd"),
        ("otp", &format!("{}{OTP}", "c".repeat(22))),
        ("otp", "xvccccccccbddvgtiblfkbgturecfllberrvkinnctnn"),
        ("nonce", "0123456789abcde"),
        ("nonce", "0123456789abcdef0123456789abcdef012345678"),
        ("nonce", "0123456789abcde'"),
        ("yk_publicname", "-"),
        ("yk_publicname", "vvccccccccb"),
        ("yk_publicname", "vvccccccccbé"),
    ] {
        assert_eq!(with(name, value), Some(Code::ParameterInvalid), "{name}={value}");
    }
    assert_eq!(refused(&format!("{SENT}&yk_use=9")), Some(Code::ParameterRepeated));
    assert_eq!(refused(&format!("{SENT}{}", "&a=b".repeat(40))), Some(Code::RequestUnreadable));
    assert_eq!(refused(""), Some(Code::ParameterMissing));
}

/// Numbers that no YubiKey makes claim nothing. They are not believed anyway.
#[test]
fn impossible_numbers_are_no_position() {
    for (counter, session_use, claimed) in [
        ("-1", "-1", None),
        ("99999999999999999999999", "1", None),
        ("65536", "1", None),
        ("1", "256", None),
        ("32769", "3", at(1, 3)), // typed with caps lock
        ("32767", "255", at(0x7fff, 255)),
    ] {
        assert_eq!(position(counter, session_use), claimed, "{counter} {session_use}");
    }
    let huge = SENT.replace("modified=1796027733", "modified=99999999999999999999999");
    assert_eq!(SyncMessage::read(&pairs(&huge)).unwrap().modified, i64::MAX);
}

#[test]
fn answers_of_yk_val() {
    let read = |body: &str, token: &str| SyncReply::read(body.as_bytes(), &id(token));
    let known = SyncState {
        token: id("vvccccccccbd"),
        position: at(1, 1),
        nonce: NONCE.to_owned(),
        modified: Some(1_796_027_733),
    };
    assert_eq!(read(KNOWN, "vvccccccccbd"), Ok(SyncReply::State(known)));
    let new =
        SyncState { token: id("vvccccccccbf"), position: None, nonce: NO_NONCE.to_owned(), modified: None };
    assert_eq!(read(NEW, "vvccccccccbf"), Ok(SyncReply::State(new)));
    assert_eq!(read(DISABLED, "vvccccccccbf"), Ok(SyncReply::Disabled));
    assert_eq!(read(MALFORMED, "vvccccccccbf"), Ok(SyncReply::Refused(Status::MissingParameter)));
}

/// Byte by byte, but for the token's clock (1 and 1 there), which a server does not keep.
#[test]
fn answers_as_yk_val_writes_them() {
    let write = |state: Option<&SyncState>, status, t| SyncAnswer { status, t, state }.write();
    for (body, token) in [(KNOWN, "vvccccccccbd"), (NEW, "vvccccccccbf")] {
        let Ok(SyncReply::State(state)) = SyncReply::read(body.as_bytes(), &id(token)) else {
            panic!("{body}")
        };
        let t = body.split("\r\n").nth(1).unwrap().strip_prefix("t=").unwrap();
        let mut wanted = body.replace("yk_high=1\r\nyk_low=1", "yk_high=0\r\nyk_low=0");
        let ours = write(Some(&state), Status::Ok, t);
        if wanted != body {
            // Another signature, then.
            let h = ours.split("\r\n").next().unwrap();
            wanted = format!("{h}{}", wanted.split_at(wanted.find("\r\n").unwrap()).1);
        }
        assert_eq!(ours, wanted);
    }
    assert_eq!(write(None, Status::BadOtp, "2026-11-30T08:35:45Z0453"), DISABLED);
}

#[test]
fn what_is_no_answer() {
    let token = id("vvccccccccbd");
    let other = |from: &str, to: &str| SyncReply::read(KNOWN.replace(from, to).as_bytes(), &token);
    assert!(other("x", "y").is_ok());
    for (from, to) in [
        ("yk_publicname=vvccccccccbd", "yk_publicname=vvccccccccbf"), // another token
        ("yk_counter=1\r\n", ""),
        ("yk_counter=1\r\n", "yk_counter=-1\r\n"), // one of the two
        ("yk_counter=1\r\n", "yk_counter=99999999\r\n"),
        ("yk_counter=1\r\n", "yk_counter=1\r\nyk_counter=9\r\n"),
        ("yk_use=1\r\n", "yk_use=256\r\n"),
        ("nonce=0123456789abcdef", "nonce="),
        ("nonce=0123456789abcdef", "nonce=012345678\u{1b}[2J"),
        ("modified=1796027733", "modified=now"),
        ("status=OK", "status=FINE"),
        ("status=OK", "<p>status=OK"),
        ("status=OK\r\n", ""),
    ] {
        assert!(other(from, to).is_err(), "{from:?} {to:?}");
    }
    for body in ["", "\r\n", "<html>", "status", "status=OK"] {
        assert!(SyncReply::read(body.as_bytes(), &token).is_err(), "{body:?}");
    }
    assert!(SyncReply::read(b"status=OK\r\n\xff=1\r\n", &token).is_err());
}

/// yubikey-val's rules, row by row: an answer above the OTP, or equal with another nonce, marks it as used.
#[test]
fn how_a_peers_state_is_compared() {
    use PeerVerdict::{Behind, Confirmed, Used};
    let other = "fedcba9876543210";
    for (counters, nonce, verdict) in [
        (None, NO_NONCE, Confirmed),
        (Some((0, 255)), other, Confirmed),
        (Some((5, 2)), NONCE, Confirmed),
        (Some((5, 3)), NONCE, Confirmed), // this very message came there first
        (Some((5, 3)), other, Used),
        (Some((5, 3)), NO_NONCE, Used),
        (Some((5, 4)), NONCE, Behind(Position::yubikey(5, 4))),
        (Some((6, 0)), NONCE, Behind(Position::yubikey(6, 0))),
        (Some((6, 0)), other, Behind(Position::yubikey(6, 0))),
    ] {
        let state = SyncState {
            token: id("vvccccccccbd"),
            position: counters.and_then(|(counter, session_use)| at(counter, session_use)),
            nonce: nonce.to_owned(),
            modified: None,
        };
        assert_eq!(state.judge(Position::yubikey(5, 3), NONCE), verdict, "{counters:?} {nonce}");
    }
}

/// `ceil(n * sl / 100)` and `floor(100 * valid / n)`, as yubikey-val rounds.
#[test]
fn how_many_peers_have_to_confirm() {
    for (peers, level, required) in [
        (0, 100, 0),
        (1, 0, 0),
        (1, 1, 1),
        (1, 100, 1),
        (1, 101, 2),
        (2, 50, 1),
        (2, 51, 2),
        (3, 1, 1),
        (3, 60, 2),
        (3, 67, 3),
        (4, 40, 2),
        (4, u64::MAX, u64::MAX / 100 + 1),
    ] {
        assert_eq!(required_confirmations(peers, level), required, "{peers} {level}");
    }
    for (confirmed, peers, level) in [(0, 0, 0), (0, 3, 0), (1, 3, 33), (2, 3, 66), (3, 3, 100), (1, 1, 100)]
    {
        assert_eq!(confirmed_level(confirmed, peers), level, "{confirmed} {peers}");
    }
}

#[test]
fn tokens_that_yk_val_cannot_know() {
    for (token, can) in [
        ("-", false),
        ("cc", true),
        ("vvccccccccbd", true),
        ("cccccccccccccccc", true),
        ("cccccccccccccccccc", false),
    ] {
        assert_eq!(can_be_synced(&id(token)), can, "{token}");
    }
}

proptest! {
    #[test]
    fn never_panics(body in ".{0,200}", query in "((otp|nonce|yk_counter|yk_use|modified|yk_publicname)=.{0,50}&){0,9}") {
        let _ = SyncReply::read(body.as_bytes(), &id("vvccccccccbd"));
        let _ = SyncMessage::read(&pairs(&query));
    }

    /// What is written is read back.
    #[test]
    fn both_ends_agree(position: Option<(u16, u8)>, modified in proptest::option::of(0_i64..=i64::MAX), nonce in "[a-zA-Z0-9]{16,40}") {
        let position = position.and_then(|(counter, session_use)| at(counter & 0x7fff, session_use));
        let state = SyncState { token: id("vvccccccccbd"), position, nonce, modified };
        let body = SyncAnswer { status: Status::Ok, t: "2026-11-30T08:35:45Z0453", state: Some(&state) }.write();
        prop_assert_eq!(SyncReply::read(body.as_bytes(), &state.token), Ok(SyncReply::State(state)));
    }
}
