//! Which bodies count. `tests/online` has a server that sends the same lies.

use super::*;
use alloc::format;
use alloc::string::{String, ToString};
use proptest::prelude::*;

const KEY: &str = "EHmo8FMxuhumBlTinC4uYL0Mgwg=";
const OTP: &str = "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku";
const NONCE: &str = "kakakakakakakakakakakaka";

/// Signed by yubikey-val itself, for a question without `timestamp=1`.
const VECTOR: &str = "h=TO8409qUoRseQxgZmuDF1v6bze8=\r\nt=2026-11-22T00:30:01Z0284\r\n\
    otp=idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku\r\nnonce=kakakakakakakakakakakaka\r\nsl=0\r\nstatus=OK\r\n\r\n";

fn key() -> ClientKey {
    ClientKey::parse(KEY.as_bytes()).unwrap_or_else(|_| panic!("a key"))
}

fn judge_by(
    body: &[u8],
    position: Option<Position>,
    key: Option<&ClientKey>,
) -> Result<ServerVerdict, NoAnswer> {
    PendingQuery { otp: OTP, nonce: &Nonce::of_vector(NONCE), position, key }.judge(body)
}

fn judge(body: &str) -> Result<ServerVerdict, NoAnswer> {
    judge_by(body.as_bytes(), None, Some(&key()))
}

/// Signs the lines of a body with `key`.
fn signed_by(key: &ClientKey, lines: &str) -> String {
    let mut fields: Vec<_> = lines.lines().filter_map(|line| line.split_once('=')).collect();
    sort(&mut fields);
    format!("h={}\r\n{lines}", BASE64.encode(&key.over(&fields).finalize().into_bytes()))
}

fn signed(lines: &str) -> String {
    signed_by(&key(), lines)
}

fn ok_lines() -> String {
    format!("otp={OTP}\r\nnonce={NONCE}\r\nsessioncounter=1\r\nsessionuse=0\r\nstatus=OK\r\n")
}

const AT: Position = Position::yubikey(1, 0);

#[test]
fn published_vector() {
    assert_eq!(judge(VECTOR), Err(NoAnswer::NoPosition), "signed right, but for the question");
    for (from, to) in [("status=OK", "status=BAD_OTP"), ("sl=0", "sl=1"), ("sl=0\r\n", ""), ("h=T", "h=U")] {
        let changed = judge(&VECTOR.replace(from, to));
        assert!(matches!(changed, Err(NoAnswer::WrongSignature(_))), "{to}: {changed:?}");
    }
}

#[test]
fn what_a_correct_server_may_also_send() {
    let ok = ok_lines();
    let mut reversed: Vec<_> = ok.split_inclusive("\r\n").collect();
    reversed.reverse();
    for lines in [
        reversed.concat(),
        ok.replace("\r\n", "\n"),
        format!("{ok}\r\n\r\n"),
        ok.trim_end().to_string(),
        format!("unknown=a=b=c\r\n{ok}empty=\r\nt=1996-01-01T00:00:00Z0000\r\n"),
    ] {
        assert_eq!(judge(&signed(&lines)), Ok(ServerVerdict::Ok(AT)), "{lines}");
    }
    let all_at_the_end = format!("{ok}{}", signed(&ok).lines().next().unwrap());
    assert_eq!(judge(&all_at_the_end), Ok(ServerVerdict::Ok(AT)));
}

#[test]
fn each_status_decides_or_not() {
    let echo = format!("otp={OTP}\r\nnonce={NONCE}\r\n");
    for status in Status::ALL {
        let expected = match status {
            Status::Ok => Err(NoAnswer::NoPosition),
            Status::BadOtp => Ok(ServerVerdict::BadOtp),
            Status::ReplayedOtp => Ok(ServerVerdict::ReplayedOtp),
            other => Err(NoAnswer::Undecided(other)),
        };
        assert_eq!(judge(&signed(&format!("{echo}status={}\r\n", status.name()))), expected);
        // Without an echo, as servers send some of them.
        let bare = match status {
            Status::Ok | Status::ReplayedOtp => Err(NoAnswer::OtherNonce(status)),
            _ => expected,
        };
        assert_eq!(judge(&signed(&format!("status={}\r\n", status.name()))), bare);
        // Somebody else's.
        for lines in [echo.replace(OTP, "cc"), echo.replace(NONCE, "kaka")] {
            let other = judge(&signed(&format!("{lines}status={}\r\n", status.name())));
            assert!(matches!(other, Err(NoAnswer::OtherOtp(_) | NoAnswer::OtherNonce(_))), "{other:?}");
        }
    }
}

#[test]
fn a_signature_is_all_of_it() {
    let good = signed(&ok_lines());
    let h = good.lines().next().unwrap().strip_prefix("h=").unwrap().to_string();
    assert_eq!(judge(&good), Ok(ServerVerdict::Ok(AT)));
    assert_eq!(judge(&ok_lines()), Err(NoAnswer::NotSigned(Status::Ok)));
    let wrong = Err(NoAnswer::WrongSignature(Status::Ok));
    for length in 0..h.len() {
        assert_eq!(judge(&good.replace(&h, &h[..length])), wrong, "{length}");
    }
    for bytes in 0..64 {
        let mut mac = BASE64.decode(h.as_bytes()).unwrap();
        mac.resize(bytes, 0);
        let expected = if bytes == 20 { Ok(ServerVerdict::Ok(AT)) } else { wrong };
        assert_eq!(judge(&good.replace(&h, &BASE64.encode(&mac))), expected, "{bytes} bytes");
    }
    assert_eq!(judge(&good.replace(&h, &format!("{h}\u{20}"))), wrong);
    let empty = ClientKey(zeroize::Zeroizing::new(Vec::new()));
    assert_eq!(judge(&signed_by(&empty, &ok_lines())), wrong, "the empty key");
    // Whatever a line is changed to, the signature says so.
    for (from, to) in
        [("status=OK", "status=REPLAYED_OTP"), ("sessionuse=0", "sessionuse=1"), ("otp=", "x=1\r\notp=")]
    {
        assert!(matches!(judge(&good.replace(from, to)), Err(NoAnswer::WrongSignature(_))), "{to}");
    }
}

#[test]
fn what_cannot_be_read_is_no_answer() {
    let unreadable = |lines: &str| matches!(judge(&signed(lines)), Err(NoAnswer::Unreadable(_)));
    let ok = ok_lines();
    for lines in [
        String::new(),
        ok.replace("status=OK", "status=ok"),
        ok.replace("status=OK", "status=OK "),
        ok.replace("status=OK", "status= OK"),
        ok.replace("status=OK", "Status=OK"),
        ok.replace("status=OK", "status"),
        format!("{ok}status=OK\r\n"),
        format!("{ok}status=BAD_OTP\r\n"),
        format!("{ok}otp={OTP}\r\n"),
        format!("{ok}h=x\r\n"),
        format!("{ok}x=\0\r\n"),
        format!("{ok}x=a\rb\r\n"),
    ] {
        assert!(unreadable(&lines), "{lines:?}: {:?}", judge(&signed(&lines)));
    }
    assert!(judge_by(b"status=OK\xff", None, None).is_err());
}

#[test]
fn an_ok_says_how_far_the_token_has_come() {
    for (from, to) in [
        ("sessioncounter=1\r\n", ""),
        ("sessionuse=0\r\n", ""),
        ("sessioncounter=1", "sessioncounter=32768"),
        ("sessionuse=0", "sessionuse=256"),
        ("sessionuse=0", "sessionuse=-1"),
        ("sessionuse=0", "sessionuse=+1"),
        ("sessionuse=0", "sessionuse="),
        ("sessionuse=0", "sessionuse=000000"),
    ] {
        assert_eq!(judge(&signed(&ok_lines().replace(from, to))), Err(NoAnswer::NoPosition), "{to}");
    }
    let has = Position::yubikey(1, 1);
    let other = judge_by(signed(&ok_lines()).as_bytes(), Some(has), Some(&key()));
    assert_eq!(other, Err(NoAnswer::OtherPosition { said: AT, has }));
    assert_eq!(judge_by(signed(&ok_lines()).as_bytes(), Some(AT), Some(&key())), Ok(ServerVerdict::Ok(AT)));
}

/// yubival 0.2.0 has the two counters the other way round. It is not the OTP that is wrong.
#[test]
fn swapped_counters_are_the_servers_fault() {
    for (counter, session_use) in [(18, 3), (300, 3)] {
        let has = Position::yubikey(counter, session_use);
        let swapped = ok_lines()
            .replace("sessioncounter=1", &format!("sessioncounter={session_use}"))
            .replace("sessionuse=0", &format!("sessionuse={counter}"));
        let why = judge_by(signed(&swapped).as_bytes(), Some(has), Some(&key())).unwrap_err();
        match why {
            NoAnswer::OtherPosition { said, has: it } => {
                assert_eq!((said, it), (Position::yubikey(3, 18), has));
                assert!(why.to_string().starts_with("the server is wrong"), "{why}");
            }
            why => assert_eq!((why, counter), (NoAnswer::NoPosition, 300), "no session has used 300 OTPs"),
        }
    }
}

#[test]
fn without_a_key_a_signature_is_not_looked_at() {
    assert_eq!(judge_by(ok_lines().as_bytes(), None, None), Ok(ServerVerdict::Ok(AT)));
    assert_eq!(judge_by(format!("h=x\n{}", ok_lines()).as_bytes(), None, None), Ok(ServerVerdict::Ok(AT)));
}

proptest! {
    /// The signature is the oracle: nobody without the key gets a decision out of any body.
    #[test]
    fn nothing_unsigned_decides(body in "(h=[A-Za-z0-9+/]{27}=\r\n)?((status|otp|nonce|sessionuse|sessioncounter|x)=(OK|BAD_OTP|0|1|[a-z]{0,8})\r?\n){0,8}") {
        prop_assert!(judge(&body).is_err());
    }

    #[test]
    fn never_panics(body: Vec<u8>) {
        let _ = judge_by(&body, None, None);
        prop_assert!(judge_by(&body, None, Some(&key())).is_err());
    }

    /// A signed OK decides whatever else it carries, and one changed byte undoes it.
    #[test]
    fn one_changed_byte_undoes_it(extra in "[a-g]{1,8}=[ -~]{0,20}", at: prop::sample::Index, flip in 1u8..128) {
        let good = signed(&format!("{}{extra}\r\n", ok_lines()));
        prop_assert_eq!(judge(&good), Ok(ServerVerdict::Ok(AT)));
        let mut changed = good.clone().into_bytes();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        let judged = judge_by(&changed, None, Some(&key()));
        // A line end that stays one does not count.
        prop_assert!(judged.is_err() || matches!(good.as_bytes()[at], b'\r' | b'\n'), "{:?}", judged);
    }
}

#[test]
fn the_clock_of_the_server() {
    // As `date -u -d @N +%FT%TZ` has them.
    for (t, seconds) in [
        ("1970-01-01T00:00:00Z0000", Some(0)),
        ("2000-02-29T23:59:59Z0999", Some(951_868_799)),
        ("2026-11-22T00:30:01Z0284", Some(1_795_307_401)),
        ("2026-12-31T12:00:00Z", Some(1_798_718_400)),
        ("2100-03-01T00:00:00Z0000", Some(4_107_542_400)),
        ("1969-12-31T23:59:59Z0000", None),
        ("2026-13-01T00:00:00Z0000", None),
        ("2026-11-22 00:30:01Z0284", None),
        ("2026-11-22T00:30:0", None),
        ("now", None),
    ] {
        let body = format!("t={t}\nstatus=BAD_OTP\n");
        assert_eq!(time_of(body.as_bytes()), seconds, "{t}");
    }
    assert_eq!(time_of(b"status=OK"), None);
}
