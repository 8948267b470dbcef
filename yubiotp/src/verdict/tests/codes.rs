//! Codes of OATH tokens and recovery codes, with a vault in memory.

use super::*;
use crate::guesses::Bucket;
use crate::key::OathKey;
use crate::oath::{Algorithm, Digits, Kind, Parameters, Period, Secret};
use crate::recovery::{self, RecoveryKey};
use crate::seal::StoreKey;
use alloc::string::ToString as _;
use core::cell::Cell;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

extern crate std;

const NOW: u64 = 1_790_000_000;

/// Tokens whose secret is their serial number, ten times; a set of recovery codes; and one of eight digits.
#[derive(Default)]
struct World {
    ledger: Memory,
    progress: RefCell<BTreeMap<Serial, Progress>>,
    /// Numbers of recovery codes that were used.
    burnt: RefCell<Vec<u8>>,
    bucket: Cell<Bucket>,
    taken: Cell<u64>,
    is_broken: bool,
    now: Cell<u64>,
    /// The OATH tokens that were opened.
    opened: RefCell<Vec<Serial>>,
}

fn serial(text: &str) -> Serial {
    Serial::new(text).unwrap()
}

fn set() -> SetId {
    SetId::new("k7").unwrap()
}

fn recovery_code(number: u8) -> RecoveryCode {
    RecoveryCode::new(number, &[number; 7]).unwrap()
}

fn eight(number: u8) -> String {
    format!("8765432{number}")
}

/// Names that begin with `h` count; the second letter is the number of digits.
fn key_of(token: &Serial) -> OathKey {
    let name = token.as_str();
    let kind = if name.starts_with('h') { Kind::Hotp } else { Kind::Totp { period: Period::USUAL } };
    let digits = Digits::new(name.as_bytes()[1] - b'0').unwrap();
    let secret = Secret::new(Zeroizing::new(name.repeat(10).into_bytes())).unwrap();
    OathKey { secret, parameters: Parameters { kind, algorithm: Algorithm::Sha1, digits } }
}

impl Ledger for World {
    type Fault = Unknown;
    type Token = TokenId;
    fn advance(&self, token: &TokenId, key: Fingerprint, to: Position) -> Result<Advance, Unknown> {
        let advanced = (&self.ledger).advance(token, key, to)?;
        if let (TokenId::RecoveryCode(_, number), Advance::Fresh(_)) = (token, &advanced) {
            self.burnt.borrow_mut().push(*number);
        }
        Ok(advanced)
    }
}

impl Vault for World {
    fn credential(&self, token: &PublicId) -> Result<Credential, Unknown> {
        Err(Unknown((*token).into()))
    }

    fn holds(&self, _: &PublicId) -> Result<bool, Unknown> {
        Ok(true)
    }

    fn is_enabled(&self, token: &PublicId) -> Result<bool, Unknown> {
        Ok(self.ledger.is_enabled(&(*token).into()))
    }

    fn advance_proved(&self, token: &TokenId, key: Fingerprint, proved: Proved) -> Result<Advance, Unknown> {
        self.advance(token, key, proved.position())
    }

    fn oath(&self, token: &Serial) -> Result<OathToken, Unknown> {
        self.opened.borrow_mut().push(*token);
        if token.as_str().ends_with('x') {
            return Err(Unknown(TokenId::Oath(*token)));
        }
        let progress = self.progress.borrow().get(token).copied().unwrap_or_default();
        Ok(OathToken { key: key_of(token), window: None, progress })
    }

    fn oath_kind(&self, token: &Serial) -> Result<Kind, Unknown> {
        if token.as_str().ends_with('x') {
            return Err(Unknown(TokenId::Oath(*token)));
        }
        Ok(key_of(token).parameters.kind)
    }

    fn advance_oath(
        &self,
        token: &Serial,
        key: Fingerprint,
        _: Option<Progress>,
        to: Progress,
    ) -> Result<Advance, Unknown> {
        let advanced = self.advance(&TokenId::Oath(*token), key, to.next.unwrap())?;
        if matches!(advanced, Advance::Fresh(_)) {
            self.progress.borrow_mut().insert(*token, to);
        }
        Ok(advanced)
    }

    fn recovery_code(&self, it: &SetId, typed: &RecoveryCode) -> Result<Option<Fingerprint>, Unknown> {
        let key = RecoveryKey::of(&StoreKey::new([1; 32]));
        let mac = recovery_code(typed.number()).mac(&key, it);
        Ok((typed.number() <= 4 && typed.mac(&key, it).matches(&mac)).then(|| mac.fingerprint()))
    }

    fn eight_digits(&self, it: &SetId, typed: &oath::Code) -> Result<Option<EightDigits>, Unknown> {
        let key = RecoveryKey::of(&StoreKey::new([1; 32]));
        Ok((5..=9).find_map(|number| {
            let stored = oath::Code::read(eight(number).as_bytes()).unwrap();
            let mac = recovery::mac_of_digits(&stored, &key, it, number);
            recovery::mac_of_digits(typed, &key, it, number).matches(&mac).then(|| {
                let is_unused = !self.burnt.borrow().contains(&number);
                EightDigits { number, key: mac.fingerprint(), is_unused }
            })
        }))
    }
}

struct Tries<'w>(&'w World, Cell<u64>);

impl Guesses for Tries<'_> {
    type Fault = Unknown;
    fn charge(&self) -> Result<Charge, Unknown> {
        if self.0.is_broken {
            return Err(Unknown(named("bbbb")));
        }
        let Ok(charged) = self.0.bucket.get().charge(self.0.now.get()) else { return Ok(Charge::Empty) };
        self.0.bucket.set(charged);
        self.1.set(self.1.get() + 1);
        self.0.taken.set(self.0.taken.get() + 1);
        Ok(Charge::Taken)
    }
    fn refund_one(&self) {
        self.1.set(self.1.get() - 1);
        self.0.bucket.set(self.0.bucket.get().refund(1));
    }
    fn refund(&self) {
        for _ in 0..self.1.take() {
            self.0.bucket.set(self.0.bucket.get().refund(1));
        }
    }
}

impl World {
    fn new() -> Self {
        let world = Self { now: Cell::new(NOW), ..Self::default() };
        for name in ["t6", "t8", "h6", "t6b"] {
            world
                .ledger
                .enrol(&TokenId::Oath(serial(name)), key_of(&serial(name)).fingerprint(&serial(name)));
        }
        let key = RecoveryKey::of(&StoreKey::new([1; 32]));
        for number in 1..=4 {
            let mac = recovery_code(number).mac(&key, &set());
            world.ledger.enrol(&TokenId::RecoveryCode(set(), number), mac.fingerprint());
        }
        for number in 5..=9 {
            let code = oath::Code::read(eight(number).as_bytes()).unwrap();
            let mac = recovery::mac_of_digits(&code, &key, &set(), number);
            world.ledger.enrol(&TokenId::RecoveryCode(set(), number), mac.fingerprint());
        }
        world
    }

    fn judged<'a>(
        &self,
        mode: Mode,
        local: bool,
        listed: &[&str],
        answer: &'a str,
    ) -> Result<Judgement<'a>, Unknown> {
        self.judged_by(mode, local, Methods::ALL, listed, answer)
    }

    fn judged_by<'a>(
        &self,
        mode: Mode,
        local: bool,
        methods: Methods,
        listed: &[&str],
        answer: &'a str,
    ) -> Result<Judgement<'a>, Unknown> {
        let tokens = listed.iter().map(|token| TokenId::parse(token.as_bytes()).unwrap()).collect();
        let tries = Tries(self, Cell::new(0));
        let codes = Codes { local, unix: self.now.get(), usual: Usual::DEFAULT, guesses: &tries };
        judge(
            answer.as_bytes(),
            &Enrolment::Listed(tokens),
            mode,
            methods,
            self,
            &Told::out_of_reach(),
            &codes,
        )
    }

    fn says(&self, listed: &[&str], answer: &str) -> Result<Result<String, Reason>, Unknown> {
        Ok(match self.judged(Mode::Offline, false, listed, answer)?.verdict {
            Verdict::Accepted(receipt) => Ok(receipt.token().to_string()),
            Verdict::Rejected(reason) => Err(reason),
            Verdict::NotEnrolled => panic!("a listed user is enrolled"),
        })
    }

    fn left(&self) -> u64 {
        self.bucket.get().left(self.now.get())
    }
}

/// The code of a token, `off` steps from now for TOTP; of HOTP that of the counter `off`.
fn code_at(name: &str, off: i64) -> String {
    let key = key_of(&serial(name));
    let base = if name.starts_with('h') { 0 } else { Period::USUAL.step_at(NOW) };
    let made = oath::code(&key.secret, key.parameters, base.saturating_add_signed(off));
    let digits = usize::from(key.parameters.digits.get());
    format!("{:0digits$}", made.value())
}

fn yes(token: &str) -> Result<Result<String, Reason>, Unknown> {
    Ok(Ok(token.to_string()))
}

const fn no(reason: Reason) -> Result<Result<String, Reason>, Unknown> {
    Ok(Err(reason))
}

/// Methods, tokens, answer; the reason, or the token that let in; the tokens that were opened.
type MethodRow<'r> = (&'r [Method], &'r [&'r str], &'r str, Result<&'r str, Reason>, &'r [&'r str]);

#[test]
fn tokens_of_other_methods_are_not_tried() {
    use Method::{Hotp, Recovery, Totp, YubiKey};
    let barred = Reason::MethodNotAllowed;
    let recovery = recovery_code(1).write();
    let (otp, totp, hotp) = ("vvcbdvgtiblfkbgturecfllberrvkinnctnn", code_at("t6", 0), code_at("h6", 0));
    let (otp, totp, hotp, recovery) = (otp, totp.as_str(), hotp.as_str(), recovery.as_str());
    let eight = eight(5);
    let all = &["vvcb", "oath-t6", "oath-h6", "rec-k7"][..];
    let rows: &[MethodRow<'_>] = &[
        (&[Totp], all, otp, Err(barred(YubiKey)), &[]),
        (&[Totp], &["oath-t6"], otp, Err(Reason::NotTheirToken(None)), &[]),
        (&[YubiKey], all, totp, Err(barred(Totp)), &[]),
        (&[YubiKey], &["oath-h6", "oath-t6"], hotp, Err(barred(Hotp)), &[]),
        (&[YubiKey], &["oath-t6"], "12345", Err(Reason::NoOtp(NoOtp::TooShort)), &[]),
        (&[YubiKey], &["vvcb"], totp, Err(Reason::NoOtp(NoOtp::TooShort)), &[]),
        (&[YubiKey, Totp], all, recovery, Err(barred(Recovery)), &[]),
        (&[YubiKey], &["rec-k7"], &eight, Err(barred(Recovery)), &[]),
        (&[Recovery], all, recovery, Ok("rec-k7-1"), &[]),
        (&[Recovery], all, totp, Err(barred(Totp)), &[]),
        (&[Totp], all, totp, Ok("oath-t6"), &["t6"]),
        (&[Hotp], all, hotp, Ok("oath-h6"), &["h6"]),
        // One that fits neither: it may have been of the token that does not count.
        (&[Hotp], all, totp, Err(barred(Totp)), &["h6"]),
    ];
    for (methods, listed, answer, expected, opened) in rows {
        let world = World::new();
        let methods = Methods::of(methods.iter().copied());
        let judged = world.judged_by(Mode::Offline, false, methods, listed, answer).unwrap();
        let said = match judged.verdict {
            Verdict::Accepted(receipt) => Ok(receipt.token().to_string()),
            Verdict::Rejected(reason) => Err(reason),
            Verdict::NotEnrolled => panic!(),
        };
        assert_eq!(said, expected.map(|token| token.to_string()), "{methods:?} {answer}");
        let opened: Vec<_> = opened.iter().map(|name| serial(name)).collect();
        assert_eq!(*world.opened.borrow(), opened, "{methods:?} {answer}");
        // A code was compared, or nothing was charged.
        let charged = said.is_err() && !opened.is_empty();
        assert_eq!(world.left(), 10 - u64::from(charged), "{methods:?} {answer}");
    }
}

/// What nobody can know the kind of might have been theirs, unless no kind counts.
#[test]
fn a_token_of_unknown_kind() {
    let judged = |methods: &[Method]| {
        let world = World::new();
        let methods = Methods::of(methods.iter().copied());
        let judged = world.judged_by(Mode::Offline, false, methods, &["oath-t6x"], "123456");
        let verdict = judged.map(|judged| judged.verdict);
        assert_eq!(world.opened.borrow().len(), 0);
        verdict
    };
    assert!(judged(&[Method::Totp]).is_err());
    let barred = Verdict::Rejected(Reason::MethodNotAllowed(Method::Totp));
    assert_eq!(judged(&[Method::YubiKey]).ok(), Some(barred));
}

/// Servers that decide about everything know no codes; a method that does not count says more.
#[test]
fn methods_before_servers() {
    for (methods, reason) in [
        (Methods::of([Method::YubiKey]), Reason::MethodNotAllowed(Method::Totp)),
        (Methods::ALL, Reason::CodesNotHere),
    ] {
        let world = World::new();
        let judged = world.judged_by(Mode::Online, false, methods, &["oath-t6"], "123456").unwrap();
        assert_eq!(judged.verdict, Verdict::Rejected(reason));
    }
}

#[test]
fn one_code_lets_in_once() {
    let world = World::new();
    let step = Period::USUAL.step_at(NOW);
    assert_eq!(world.says(&["oath-t6"], &code_at("t6", 0)), yes("oath-t6"));
    let used = |step| no(Reason::CodeUsed { token: serial("t6"), step });
    assert_eq!(world.says(&["oath-t6"], &code_at("t6", 0)), used(step));
    assert_eq!(world.says(&["oath-t6"], &code_at("t6", -1)), used(step - 1));
    assert_eq!(world.says(&["oath-t6"], &code_at("t6", 1)), yes("oath-t6"));
    assert_eq!(world.says(&["oath-t6"], &code_at("t6", 7)), no(Reason::NotTheirCode));
    // Success gives the try back, and a code that was right before is no guess.
    assert_eq!(world.left(), 9);
}

#[test]
fn codes_are_found_among_the_users_tokens() {
    let world = World::new();
    let all = &["vvcb", "oath-t6", "oath-t8", "oath-h6", "rec-k7"];
    for (answer, token) in
        [(code_at("t8", 0), "oath-t8"), (code_at("h6", 3), "oath-h6"), (code_at("t6", 0), "oath-t6")]
    {
        assert_eq!(world.says(all, &answer), yes(token));
    }
    assert_eq!(world.left(), 10);
    // Another user's token, and a user without one.
    assert_eq!(world.says(&["oath-t6b"], &code_at("t6", 1)), no(Reason::NotTheirCode));
    assert_eq!(world.says(&["vvcb"], &code_at("t6", 1)), no(Reason::NoOtp(NoOtp::TooShort)));
    assert_eq!(world.says(&[], &code_at("t6", 1)), no(Reason::NoTokens));
}

#[test]
fn a_password_may_stand_in_front() {
    let world = World::new();
    for (typed, off, password) in [("s3cret", 0, &b"s3cret"[..]), ("s3cret ", 1, b"s3cret "), ("  ", 2, b"")]
    {
        let answer = typed.to_string() + &code_at("t6", off);
        let judged = world.judged(Mode::Offline, false, &["oath-t6"], &answer).ok().unwrap();
        assert!(matches!(judged.verdict, Verdict::Accepted(_)), "{answer}");
        assert_eq!(judged.password, Some(password));
    }
    let code = recovery_code(2).write();
    let answer = "pw".to_string() + &code;
    let judged = world.judged(Mode::Offline, false, &["rec-k7"], &answer).ok().unwrap();
    assert!(matches!(judged.verdict, Verdict::Accepted(_)));
    assert_eq!(judged.password, Some(&b"pw"[..]));
}

#[test]
fn an_empty_bucket_asks_for_two_codes_and_locks_nobody_out() {
    let world = World::new();
    let listed = &["oath-t6"];
    let wrong = if code_at("t6", 0) == "000000" { "111111" } else { "000000" };
    for left in (0..10).rev() {
        assert_eq!(world.says(listed, wrong), no(Reason::NotTheirCode));
        assert_eq!(world.left(), left);
    }
    assert_eq!(world.says(listed, wrong), no(Reason::TwoCodesNeeded));
    assert_eq!(world.says(listed, &code_at("t6", 0)), no(Reason::TwoCodesNeeded));
    // It was not used up by that.
    let two = format!("{} {}", code_at("t6", 0), code_at("t6", 1));
    assert_eq!(world.says(listed, &two), yes("oath-t6"));
    assert_eq!(world.says(listed, &two), no(Reason::TwoCodesNeeded));
    // A pair of a used code and a fresh one is not two fresh ones.
    let half = format!("{} {}", code_at("t6", 1), code_at("t6", 2));
    assert_eq!(world.says(listed, &half), no(Reason::TwoCodesNeeded));
    // Neither YubiKeys nor recovery codes ask for a try.
    assert_eq!(world.says(&["oath-t6", "rec-k7"], &recovery_code(1).write()), yes("rec-k7-1"));
    assert_eq!(world.taken.get(), 10);
}

#[test]
fn wrong_pairs_within_the_window_cost_one_try() {
    let world = World::new();
    assert_eq!(world.says(&["oath-t6"], "000000 000001"), no(Reason::NotTheirCode));
    assert_eq!(world.left(), 9);
}

#[test]
fn a_token_that_is_far_out_needs_two_codes() {
    let world = World::new();
    assert_eq!(world.says(&["oath-t6"], &code_at("t6", 90)), no(Reason::NotTheirCode));
    let two = code_at("t6", 90) + &code_at("t6", 91);
    assert_eq!(world.says(&["oath-t6"], &two), yes("oath-t6"));
    assert_eq!(world.says(&["oath-t6"], &code_at("t6", 92)), yes("oath-t6"), "the drift was learned");
    assert_eq!(world.says(&["oath-h6"], &(code_at("h6", 500) + &code_at("h6", 501))), yes("oath-h6"));
    assert_eq!(
        world.says(&["oath-h6"], &code_at("h6", 501)),
        no(Reason::CodeUsed { token: serial("h6"), step: 501 })
    );
    // With an empty bucket only pairs in the window count: others would be guessed too easily.
    for _ in 0..10 {
        let _ = world.bucket.get().charge(NOW).map(|charged| world.bucket.set(charged));
    }
    let two = code_at("t6b", 90) + &code_at("t6b", 91);
    assert_eq!(world.says(&["oath-t6b"], &two), no(Reason::TwoCodesNeeded));
}

#[test]
fn recovery_codes_are_burnt() {
    let world = World::new();
    let listed = &["rec-k7"];
    assert_eq!(world.says(listed, &recovery_code(3).write()), yes("rec-k7-3"));
    assert_eq!(world.says(listed, &recovery_code(3).write()), no(Reason::RecoveryCodeUsed(set(), 3)));
    assert_eq!(
        world.says(listed, &recovery_code(1).write().to_lowercase().replace('-', " ")),
        yes("rec-k7-1")
    );
    assert_eq!(world.says(listed, &recovery_code(7).write()), no(Reason::NotTheirRecoveryCode));
    assert_eq!(world.says(listed, "hello"), no(Reason::NoOtp(NoOtp::TooShort)));
    assert_eq!(world.taken.get(), 0);
    assert_eq!(world.says(listed, &eight(5)), yes("rec-k7-5"));
    assert_eq!(world.taken.get(), 1);
    assert_eq!(world.left(), 10);
    assert_eq!(world.says(listed, &eight(5)), no(Reason::RecoveryCodeUsed(set(), 5)));
    assert_eq!(world.says(listed, "11111111"), no(Reason::NotTheirCode));
    assert_eq!(world.left(), 9);
}

#[test]
fn a_disabled_token_stays_out() {
    let world = World::new();
    world.ledger.set_enabled(&TokenId::Oath(serial("t6")), false);
    assert_eq!(
        world.says(&["oath-t6"], &code_at("t6", 0)),
        no(Reason::Disabled(TokenId::Oath(serial("t6"))))
    );
    world.ledger.set_enabled(&TokenId::RecoveryCode(set(), 1), false);
    let code = TokenId::RecoveryCode(set(), 1);
    assert_eq!(world.says(&["rec-k7"], &recovery_code(1).write()), no(Reason::Disabled(code)));
}

/// Compared with another token, too, a used code was a guess.
#[test]
fn a_used_code_makes_no_guess_free() {
    let world = World::new();
    assert_eq!(world.says(&["oath-h6"], &code_at("h6", 0)), yes("oath-h6"));
    assert!(matches!(world.says(&["oath-h6"], &code_at("h6", 0)), Ok(Err(Reason::CodeUsed { .. }))));
    assert_eq!(world.left(), 10);
    for left in (0..10).rev() {
        let said = world.says(&["oath-h6", "oath-t6"], &code_at("h6", 0));
        assert!(matches!(said, Ok(Err(Reason::CodeUsed { .. }))), "{said:?}");
        assert_eq!(world.left(), left);
    }
    // The same with a used code of eight digits beside a token of six.
    let world = World::new();
    assert_eq!(world.says(&["rec-k7"], &eight(5)), yes("rec-k7-5"));
    assert_eq!(world.says(&["rec-k7", "oath-t6"], &eight(5)), no(Reason::RecoveryCodeUsed(set(), 5)));
    assert_eq!(world.left(), 9);
}

#[test]
fn of_codes_of_eight_digits_two_are_enough() {
    let world = World::new();
    let listed = &["oath-t6", "rec-k7"];
    while let Ok(charged) = world.bucket.get().charge(NOW) {
        world.bucket.set(charged);
    }
    assert_eq!(world.says(listed, &eight(5)), no(Reason::TwoCodesNeeded));
    for same in [format!("{} {}", eight(5), eight(5)), format!("{} 11111111", eight(5))] {
        assert_eq!(world.says(listed, &same), no(Reason::TwoCodesNeeded));
    }
    let two = format!("pw{} {}", eight(5), eight(7));
    assert_eq!(world.says(listed, &two), yes("rec-k7-7"));
    assert_eq!(world.says(listed, &two), no(Reason::TwoCodesNeeded));
    // Beside a used code none is used up.
    for half in [format!("{} {}", eight(6), eight(7)), format!("{} {}", eight(7), eight(6))] {
        assert_eq!(world.says(listed, &half), no(Reason::TwoCodesNeeded));
    }
    assert_eq!(world.says(listed, &format!("{} {}", eight(6), eight(8))), yes("rec-k7-8"));
    // One code in two sets is one code.
    assert_eq!(
        world.says(&["rec-k7", "rec-k8"], &format!("{} 11111111", eight(9))),
        no(Reason::TwoCodesNeeded)
    );
}

#[test]
fn a_clock_behind_says_so() {
    let world = World::new();
    assert_eq!(world.says(&["oath-t6"], &code_at("t6", 2)), yes("oath-t6"));
    world.now.set(NOW - 600);
    let behind = no(Reason::ClockBehind { token: serial("t6"), steps: 21 });
    // The drift that was learned counts.
    assert!(matches!(world.says(&["oath-t6"], "000000"), Ok(Err(Reason::ClockBehind { .. }))), "{behind:?}");
    // Nothing was compared, so it costs nothing; and it is said, too, when no try is left.
    assert_eq!(world.taken.get(), 1, "by the login before");
    while let Ok(charged) = world.bucket.get().charge(NOW - 600) {
        world.bucket.set(charged);
    }
    for answer in [String::from("000000"), code_at("t6", -20) + &code_at("t6", -19)] {
        let said = world.says(&["oath-t6"], &answer);
        assert!(matches!(said, Ok(Err(Reason::ClockBehind { .. }))), "{said:?}");
    }
}

#[test]
fn a_lost_position_says_so() {
    let world = World::new();
    let lost = Progress { next: Some(Position::from_stored(u64::MAX)), drift: 0 };
    world.progress.borrow_mut().insert(serial("t6"), lost);
    for answer in [code_at("t6", 0), code_at("t6", 9), code_at("t6", 0) + &code_at("t6", 1)] {
        assert_eq!(world.says(&["oath-t6"], &answer), no(Reason::PositionUnknown(serial("t6"))));
    }
}

#[test]
fn a_fault_is_neither_yes_nor_no() {
    let world = World::new();
    let broken = Err(Unknown(TokenId::Oath(serial("t6x"))));
    assert_eq!(world.says(&["oath-t6x"], "000000"), broken);
    assert_eq!(world.says(&["oath-t6x", "oath-t6"], &code_at("t6", 0)), yes("oath-t6"));
    let world = World { is_broken: true, ..World::new() };
    assert_eq!(world.says(&["oath-t6"], &code_at("t6", 0)), Err(Unknown(named("bbbb"))));
    let two = code_at("t6", 0) + &code_at("t6", 1);
    assert_eq!(world.says(&["oath-t6"], &two), yes("oath-t6"), "nobody is locked out");
}

#[test]
fn who_decides_in_each_mode() {
    for (mode, local, is_here) in [
        (Mode::Offline, false, true),
        (Mode::Online, false, false),
        (Mode::Online, true, true),
        (Mode::OnlineThenOffline, false, true),
        (Mode::OfflineThenOnline, false, true),
    ] {
        for answer in [code_at("t6", 0), recovery_code(1).write().to_string()] {
            let world = World::new();
            let verdict = world.judged(mode, local, &["oath-t6", "rec-k7"], &answer).ok().unwrap().verdict;
            match verdict {
                Verdict::Accepted(_) => assert!(is_here, "{} {local}", mode.name()),
                verdict => assert_eq!((verdict, is_here), (Verdict::Rejected(Reason::CodesNotHere), false)),
            }
        }
    }
}

/// A year in which somebody guesses each minute, and the owner logs in once a day.
#[test]
fn the_owner_gets_in_all_year_while_somebody_guesses() {
    let world = World::new();
    let (mut single, mut double) = (0, 0);
    for day in 0..365_u64 {
        for minute in 0..30 {
            world.now.set(NOW + day * 86_400 + minute * 60);
            // No code has letters; this one is always wrong and still a code.
            let off = i64::try_from((world.now.get() - NOW) / 30).unwrap();
            let right: Vec<_> = (-3..=3).map(|by| code_at("t6", off + by)).collect();
            let wrong = (0..).map(|n| format!("{n:06}")).find(|code| !right.contains(code)).unwrap();
            let said = world.says(&["oath-t6"], &wrong);
            assert!(matches!(said, Ok(Err(Reason::NotTheirCode | Reason::TwoCodesNeeded))), "{said:?}");
        }
        let off = i64::try_from((world.now.get() - NOW) / 30).unwrap();
        match world.says(&["oath-t6"], &code_at("t6", off)) {
            Ok(Ok(_)) => single += 1,
            Ok(Err(Reason::TwoCodesNeeded)) => {
                let two = code_at("t6", off) + &code_at("t6", off + 1);
                assert_eq!(world.says(&["oath-t6"], &two), yes("oath-t6"));
                double += 1;
            }
            other => panic!("day {day}: {other:?}"),
        }
    }
    assert_eq!(single + double, 365);
    assert!(world.taken.get() <= 10 + 730 + 365, "{}", world.taken.get());
}
