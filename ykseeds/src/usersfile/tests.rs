use super::*;
use yubiotp::diagnostic::Code as Finding;
use yubiotp::oath::BadSecretLength;

const HEX: &str = "3132333435363738393031323334353637383930";
const OTHER: &str = "3132333435363738393031323334353637383931";

/// 2026-11-29T19:50:53 UTC, in the second half of a minute.
const NOW: u64 = 1_795_981_853;
const STEP: u64 = NOW / 30;

fn take(file: &str) -> Vec<Token> {
    read(file.as_bytes(), NOW).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn wrong(file: &str) -> Vec<(usize, Why)> {
    let problems = read(file.as_bytes(), NOW).err().expect("a problem");
    problems.list.into_iter().map(|problem| (problem.place.line.unwrap_or(0), problem.why)).collect()
}

fn next(line: &str) -> Option<u64> {
    take(line)[0].progress.next.map(Position::to_stored)
}

/// The code of a step, which others compute likewise: RFC 6238's vectors hold for [`code`].
fn totp(step: u64, period: u16) -> String {
    let kind = Kind::Totp { period: Period::new(period).unwrap() };
    let secret = Secret::new(Encoding::Hex.decode(HEX).unwrap()).unwrap();
    let made = code(&secret, Parameters { kind, algorithm: Algorithm::Sha1, digits: Digits::SIX }, step);
    (0..1_000_000)
        .map(|number| format!("{number:06}"))
        .find(|text| Code::read(text.as_bytes()).unwrap().matches(&made))
        .unwrap()
}

#[test]
fn times() {
    for (text, expected) in [
        ("1970-01-01T00:00:00L", Some(0)),
        ("2026-11-29T19:50:53L", Some(NOW)),
        ("2000-02-29T12:00:00L", Some(951_825_600)),
        ("2038-01-19T03:14:08L", Some(2_147_483_648)),
        ("2026-11-29T19:50:53", None),
        ("2026-13-29T19:50:53L", None),
        ("2026-11-29T24:50:53L", None),
        ("2026-11-29 19:50:53L", None),
        ("2026-11-29T19:50L", None),
        ("T:L", None),
    ] {
        assert_eq!(seconds(text), expected, "{text}");
    }
}

#[test]
fn types_users_and_pins() {
    let file = format!(
        "# comment\n\nHOTP\talice\t-\t{HEX}\r\nHOTP/T30/8 bob 1234 {OTHER}\nHOTP/T60 carol + {HEX}00ff\nHOTP/E/7 d\u{e9} - {OTHER}00ff\n"
    );
    let tokens = take(&file);
    let shown: Vec<_> = tokens
        .iter()
        .map(|token| {
            (
                token.users[0].line,
                token.users[0].name.as_str(),
                token.users[0].pin,
                token.parameters.kind,
                token.parameters.digits.get(),
            )
        })
        .collect();
    let totp = |seconds| Kind::Totp { period: Period::new(seconds).unwrap() };
    assert_eq!(
        shown,
        [
            (3, "alice", Pin::None, Kind::Hotp, 6),
            (4, "bob", Pin::Stored, totp(30), 8),
            (5, "carol", Pin::CheckedElsewhere, totp(60), 6),
            (6, "d\u{e9}", Pin::None, Kind::Hotp, 7),
        ]
    );
    assert!(tokens.iter().all(|token| token.progress == Progress::default()));
}

/// As liboath 2.6.7 wrote the lines, and what it accepted after them.
#[test]
fn counters() {
    for (log, expected) in [
        ("", None),
        ("0", None),
        // No last one-time password: 5 is the next that it accepts.
        ("5", Some(5)),
        ("0 755224 2026-11-29T19:50:53L", Some(1)),
        ("3 969429 2026-11-29T19:50:53L", Some(4)),
        ("5 254676", Some(6)),
    ] {
        assert_eq!(next(&format!("HOTP alice - {HEX} {log}")), expected, "{log}");
    }
}

#[test]
fn used_codes_of_time_stay_used() {
    let line = |step: u64, time: &str| next(&format!("HOTP/T30 alice - {HEX} 3 {} {time}", totp(step, 30)));
    // Whatever was used: nothing of this step or before.
    assert_eq!(line(STEP, "2026-11-29T19:50:53L"), Some(STEP + 1));
    assert_eq!(line(STEP - 3, "2026-11-29T19:50:53L"), Some(STEP + 1));
    assert_eq!(line(STEP - 3, "2026-10-01T19:50:53L"), Some(STEP + 1));
    // A fast clock of the token: its last code, too, in whatever time zone the host was.
    for time in ["2026-11-29T19:50:53L", "2026-11-30T09:50:53L", "2026-11-29T07:50:53L"] {
        assert_eq!(line(STEP + 4, time), Some(STEP + 5), "{time}");
    }
    assert_eq!(line(STEP + 4, ""), Some(STEP + 5));
    // A slow clock of this host, by less than time zones differ.
    assert_eq!(line(STEP + 600, "2026-11-30T00:50:53L"), Some(STEP + 601));
    // A code of another secret: the line was edited.
    assert_eq!(next(&format!("HOTP/T30 alice - {OTHER} 0 000000 2026-11-29T19:50:53L")), Some(STEP + 1));
    assert_eq!(
        next(&format!("HOTP/T60 alice - {HEX} 0 {} 2026-11-29T19:50:53L", totp(NOW / 60, 60))),
        Some(NOW / 60 + 1)
    );
    // Never used.
    assert_eq!(next(&format!("HOTP/T30 alice - {HEX} 3")), None);
    let late = format!("HOTP/T30 alice - {HEX} 0 {} 2026-12-01T19:50:53L", totp(STEP, 30));
    assert_eq!(wrong(&late), [(1, Why::ClockBehind)]);
    assert_eq!(Why::ClockBehind.diagnostic().code, Finding::TokenFileClockBehind);
}

#[test]
fn one_secret_of_two_users_is_one_token() {
    let file = format!(
        "HOTP alice - {HEX} 3 969429 2026-11-29T19:50:53L\nHOTP root 1 {HEX} 8 399871 2026-11-29T19:50:53L\n"
    );
    let tokens = take(&file);
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["alice", "root"]);
    assert_eq!(tokens[0].progress.next.map(Position::to_stored), Some(9));
    let differ = format!("HOTP alice - {HEX}\nHOTP/E/8 root - {HEX}\n");
    assert_eq!(wrong(&differ), [(2, Why::OtherParameters { first: Place::line(1) })]);
}

#[test]
fn every_bad_line_is_named() {
    let file = format!(
        "TOTP a - {HEX}\nHOTP/T45 a - {HEX}\nHOTP/E/9 a - {HEX}\nHOTP/E/6/SHA256 a - {HEX}\nHOTP a -\nHOTP a - {odd}\n\
         HOTP a - 00\nHOTP a - {HEX} x\nHOTP a - {HEX} 1 12345\nHOTP a - {HEX} 1 123456 yesterday\nHOTP a - gg\n",
        odd = &HEX[1..]
    );
    let found = |why: BadEntry| Why::from(why);
    assert_eq!(
        wrong(&file),
        [
            (1, found(BadEntry::Type)),
            (2, found(BadEntry::Type)),
            (3, found(BadEntry::Type)),
            (4, found(BadEntry::Type)),
            (5, found(BadEntry::TooFewFields { found: 3 })),
            (6, found(BadEntry::Secret)),
            (7, found(BadEntry::SecretLength(BadSecretLength(1)))),
            (8, found(BadEntry::Counter)),
            (9, found(BadEntry::LastOtp)),
            (10, found(BadEntry::Timestamp)),
            (11, found(BadEntry::Secret)),
        ]
    );
    assert_eq!(wrong("# nothing\n"), [(0, Why::Empty)]);
    assert_eq!(wrong(&"x\n".repeat(500)).len(), MAX_PROBLEMS);
}
