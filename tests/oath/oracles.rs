//! The codes, the window and the URIs, held against pyotp and oathtool over random secrets, parameters, times and counters.

use crate::token::{Random, Token, read};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use yubiotp::Position;
use yubiotp::oath::uri;
use yubiotp::oath::window::{Found, MOST_AHEAD, Progress, RESYNC_STEPS, Reach, Window, decide, two};
use yubiotp::oath::{Algorithm, Code};

/// The last second that Python has a date for: of the year 9999.
const LAST: u64 = 253_402_300_799;

/// Asks pyotp all these, in one process. `None` where it is not installed; the test has said so.
fn pyotp(questions: &[String]) -> Option<Vec<String>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/oath/pyotp_says.py");
    let python = || {
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-I", "-B"]).env("TZ", "UTC");
        python
    };
    let has_it = python().args(["-c", "import pyotp"]).output();
    if !has_it.is_ok_and(|has_it| has_it.status.success()) {
        tests::skip("needs python3-pyotp");
        return None;
    }
    let mut asked = python().arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = asked.stdin.take().unwrap();
    let text = questions.join("\n") + "\n";
    let writer = thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = asked.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), questions.len());
    Some(answers)
}

/// Runs oathtool, which knows only SHA-1 for HOTP. `None` where it is not installed; the test has said so.
fn oathtool(token: &Token, arguments: &[&str]) -> Option<std::process::Output> {
    let mut oathtool = Command::new("oathtool");
    oathtool.arg(format!("--digits={}", token.digits));
    if token.is_totp {
        oathtool.arg(format!("--totp={}", token.algorithm.name()));
        oathtool.arg(format!("--time-step-size={}s", token.period));
    } else {
        oathtool.arg("--hotp");
    }
    oathtool.args(arguments);
    let output = oathtool.output();
    if output.is_err() {
        tests::skip("oathtool is missing");
    }
    output.ok()
}

/// One that oathtool has, too.
fn for_oathtool(random: &mut Random) -> Token {
    loop {
        let token = Token::random(random);
        if token.is_totp || token.algorithm == Algorithm::Sha1 {
            return token;
        }
    }
}

/// The step at a moment, by integer division and nothing of ours.
fn step_at(token: &Token, unix: u64) -> u64 {
    unix / u64::from(token.period)
}

#[test]
fn codes_are_those_of_pyotp() {
    let mut random = Random::new();
    let cases: Vec<_> = (0..20_000)
        .map(|_| {
            let token = Token::random(&mut random);
            let number = if token.is_totp { random.counter(LAST) } else { random.counter(u64::MAX) };
            (token, number)
        })
        .collect();
    let questions: Vec<_> = cases.iter().map(|(token, number)| token.question(*number)).collect();
    let Some(answers) = pyotp(&questions) else { return };
    for (((token, number), answer), question) in cases.iter().zip(answers).zip(questions) {
        let step = if token.is_totp { step_at(token, *number) } else { *number };
        let theirs = read(&answer, token.digits);
        assert!(token.code(step).matches(&theirs), "{question}: {answer}");
    }
    println!("{} codes", cases.len());
}

/// A hundred codes of each secret in one process.
#[test]
fn codes_are_those_of_oathtool() {
    let mut random = Random::new();
    let mut codes = 0;
    for _ in 0..100 {
        let token = for_oathtool(&mut random);
        let number = if token.is_totp { random.counter(LAST) } else { random.counter(u64::MAX - 200) };
        let from = if token.is_totp { format!("--now=@{number}") } else { format!("--counter={number}") };
        let Some(output) = oathtool(&token, &[&from, "--window=99", &token.hex()]) else { return };
        assert!(output.status.success(), "{token:?} {from}: {output:?}");
        let first = if token.is_totp { step_at(&token, number) } else { number };
        for (step, line) in (first..).zip(String::from_utf8(output.stdout).unwrap().lines()) {
            assert!(token.code(step).matches(&read(line, token.digits)), "{token:?} {from} {step}: {line}");
            codes += 1;
        }
    }
    assert_eq!(codes, 10_000);
}

/// Of a token that was never used, and whose clock is right, the window has the codes that pyotp accepts, and no others.
#[test]
fn the_window_of_time_is_that_of_pyotp() {
    let mut random = Random::new();
    let (mut cases, mut questions) = (Vec::new(), Vec::new());
    for _ in 0..3_000 {
        let token = Token { is_totp: true, ..Token::random(&mut random) };
        // So late, and so early, that the window has all its steps.
        let unix = 1_000_000 + random.counter(LAST - 2_000_000);
        let off = random.between(0, 12).cast_signed() - 6;
        let at = unix.saturating_add_signed(off * i64::from(token.period));
        questions.push(token.question(at));
        cases.push((token, unix, u16::try_from(random.between(1, 4)).unwrap()));
    }
    let Some(codes) = pyotp(&questions) else { return };
    let question = |((token, unix, window), typed): (&(Token, u64, u16), &String)| {
        let (algorithm, secret) = (token.algorithm.name(), token.base32());
        let Token { digits, period, .. } = token;
        format!("verify {algorithm} {digits} {period} {secret} {unix} {window} {typed}")
    };
    let questions: Vec<_> = cases.iter().zip(&codes).map(question).collect();
    let Some(answers) = pyotp(&questions) else { return };
    let mut accepted = 0;
    for ((((token, unix, steps), typed), answer), question) in
        cases.iter().zip(&codes).zip(answers).zip(questions)
    {
        let window = Window { behind: *steps, ahead: *steps };
        let typed = read(typed, token.digits);
        let found = decide(&token.secret(), token.parameters(), window, Progress::default(), *unix, &typed);
        assert_eq!(matches!(found, Found::Fresh(_)), answer == "yes", "{question}: {answer}, {found:?}");
        accepted += usize::from(answer == "yes");
    }
    println!("{accepted} of {} in their window", cases.len());
    assert!(accepted > 500 && cases.len() - accepted > 500, "{accepted}");
}

/// Of a token that counts, the code that oathtool finds is found, and what it does not find is not.
#[test]
fn the_window_of_counters_is_that_of_oathtool() {
    let mut random = Random::new();
    let mut accepted = 0;
    for _ in 0..150 {
        let token = Token { is_totp: false, algorithm: Algorithm::Sha1, ..Token::random(&mut random) };
        let (next, ahead) = (10 + random.counter(u64::MAX - 100), random.between(1, 30));
        let step = next - 3 + random.between(0, ahead + 6);
        let Some(made) = oathtool(&token, &[&format!("--counter={step}"), &token.hex()]) else { return };
        let typed = String::from_utf8(made.stdout).unwrap().trim_end().to_owned();
        let (counter, window) = (format!("--counter={next}"), format!("--window={ahead}"));
        let Some(theirs) = oathtool(&token, &[&counter, &window, &token.hex(), &typed]) else { return };
        let progress = Progress { next: Some(Position::from_stored(next)), drift: 0 };
        let window = Window { behind: 0, ahead: u16::try_from(ahead).unwrap() };
        let code = read(&typed, token.digits);
        let ours = decide(&token.secret(), token.parameters(), window, progress, 0, &code);
        let said = String::from_utf8(theirs.stdout).unwrap();
        let expected = match theirs.status.code() {
            Some(0) => {
                accepted += 1;
                let step = next + said.trim().parse::<u64>().unwrap();
                Some(Found::Fresh(Progress { next: Some(Position::from_stored(step + 1)), drift: 0 }))
            }
            _ => None,
        };
        match expected {
            Some(expected) => assert_eq!(ours, expected, "{token:?} {next} {typed}"),
            None => assert!(!matches!(ours, Found::Fresh(_)), "{token:?} {next} {typed}: {ours:?}"),
        }
    }
    assert!((50..150).contains(&accepted), "{accepted}");
}

/// Two successive codes of oathtool bring a token back wherever it is in the range; the same two the other way round, or
/// with another code in between, do not.
#[test]
fn two_successive_codes_of_oathtool_bring_a_token_back() {
    let mut random = Random::new();
    for _ in 0..60 {
        let token = Token { digits: 8, ..for_oathtool(&mut random) };
        let unix = 1_790_000_000 + random.between(0, 1_000_000_000);
        let next = random.between(0, 1 << 40);
        let expected = if token.is_totp { step_at(&token, unix) } else { next };
        let off = if token.is_totp {
            random.between(0, RESYNC_STEPS + MOST_AHEAD - 3)
        } else {
            RESYNC_STEPS + random.between(0, RESYNC_STEPS - 3)
        };
        let Some(first) = (expected + off).checked_sub(RESYNC_STEPS) else { continue };
        let from = if token.is_totp {
            format!("--now=@{}", first * u64::from(token.period))
        } else {
            format!("--counter={first}")
        };
        let Some(output) = oathtool(&token, &[&from, "--window=2", &token.hex()]) else { return };
        let said = String::from_utf8(output.stdout).unwrap();
        let codes: Vec<Code> = said.lines().map(|line| read(line, 8)).collect();
        // A TOTP token that was never used, and a HOTP token that is somewhere.
        let progress = Progress { next: (!token.is_totp).then(|| Position::from_stored(next)), drift: 0 };
        let try_two = |first: usize, second: usize| {
            two(
                &token.secret(),
                token.parameters(),
                Reach::Resync,
                progress,
                unix,
                (&codes[first], &codes[second]),
            )
        };
        let Found::Fresh(after) = try_two(0, 1) else { panic!("{token:?} {unix} {from}") };
        assert_eq!(after.next, Some(Position::from_stored(first + 2)), "{token:?} {unix} {from}");
        assert_eq!(try_two(1, 0), Found::Wrong, "{token:?} {unix} {from}");
        assert_eq!(try_two(0, 2), Found::Wrong, "{token:?} {unix} {from}");
        let again =
            two(&token.secret(), token.parameters(), Reach::Resync, after, unix, (&codes[0], &codes[1]));
        assert!(!matches!(again, Found::Fresh(_)), "{token:?} {unix} {from}: {again:?}");
    }
}

/// What pyotp makes of a URI is what it was made of. It decodes a URI before it takes it apart, so names for it have no
/// reserved characters; Python's own reader gets any.
#[test]
fn uris_are_read_as_they_were_meant() {
    const PLAIN: &[char] = &['a', 'Z', '0', '9', '-', '.', '_', '~', '@', ' ', 'é', 'ß', '漢', '🔑'];
    const ANY: &[char] = &[
        'a', ' ', '/', '?', '#', '&', '=', '%', '+', '"', '\'', '<', '>', '\\', ':', ';', '\u{7}', 'é', '🔑',
    ];
    let mut random = Random::new();
    let (mut cases, mut questions) = (Vec::new(), Vec::new());
    for case in 0..2_000 {
        let token = Token::random(&mut random);
        let (reader, letters) = if case % 2 == 0 { ("uri", PLAIN) } else { ("read", ANY) };
        let mut name = |without: char| -> String {
            let length = random.between(1, 20);
            let name: String =
                (0..length).map(|_| random.one_of(letters)).filter(|letter| *letter != without).collect();
            format!("x{}x", name) // no blanks at the ends, and not empty
        };
        // The first colon ends the issuer.
        let (issuer, account) = (name(':'), name('\0'));
        let next = random.counter(u64::MAX);
        let text = uri::write(&token.secret(), token.parameters(), &issuer, &account, next);
        questions.push(format!("{reader} {}", *text));
        cases.push((token, issuer, account, next));
    }
    let Some(answers) = pyotp(&questions) else { return };
    for (((token, issuer, account, next), answer), question) in cases.into_iter().zip(answers).zip(questions)
    {
        let number = if token.is_totp { u64::from(token.period) } else { next };
        let expected = serde_json::json!({
            "kind": token.kind(), "issuer": issuer, "account": account, "secret": token.base32(),
            "algorithm": token.algorithm.name(), "digits": token.digits, "number": number,
        });
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer, expected, "{question}");
    }
}
