//! What the verbs about OATH tokens have in common: names on the command line, codes at a prompt, and words for both.

use super::{Context, Failure, files, out};
use ykhost::settings::Settings;
use ykhost::store::{Store, TokenKey};
use ykhost::{clock, mapping};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::key::OathKey;
use yubiotp::mapping::Enrolment;
use yubiotp::oath::typed::Typed;
use yubiotp::oath::window::{self, Found, Progress, Reach, Window};
use yubiotp::oath::{self, Kind, Parameters};
use yubiotp::{Position, Serial, TokenId, shown};

/// How many wrong codes end a verb that asks for one.
const TRIES: usize = 3;

/// A token on the command line: a public ID, `oath-SERIAL`, or the bare serial number of an OATH token. What reads as a
/// public ID is one. The name of a user is answered with their tokens.
pub(crate) fn token(context: &Context, text: &str) -> Result<TokenId, Failure> {
    match files::token_id(context, text) {
        Ok(TokenId::RecoverySet(_) | TokenId::RecoveryCode(..)) => {
            let found = Diagnostic::error(Code::InputInvalid, format!("{text} names recovery codes"));
            Err(found.run_when("to make new ones", Program::Ykmap, "recovery new USER").into())
        }
        Err(no_id) => {
            let Some(token) = Serial::new(text).map(TokenId::Oath) else { return Err(no_id) };
            let settings = context.settings()?;
            let is_here = Store::new(&settings).keys().and_then(|keys| Ok(keys.has(&token.to_string())?));
            let is_user =
                matches!(mapping::enrolment(&settings, text.as_bytes(), false), Ok(Enrolment::Listed(_)));
            if is_user && !is_here.unwrap_or_default() { Err(no_id) } else { Ok(token) }
        }
        token => token,
    }
}

/// An OATH token on the command line, with or without `oath-`.
pub(crate) fn serial(text: &str) -> Result<Serial, String> {
    Serial::new(text.strip_prefix("oath-").unwrap_or(text)).ok_or_else(|| {
        "a serial number has 1 to 32 letters, digits, - and _, and begins with a letter or digit".to_owned()
    })
}

/// An OATH token that the store has.
pub(crate) struct Stored {
    pub(crate) serial: Serial,
    pub(crate) key: OathKey,
    pub(crate) window: Window,
}

impl Stored {
    /// Opens its key.
    pub(crate) fn open(settings: &Settings, store: &Store, serial: Serial) -> Result<Self, Failure> {
        match store.token_key(&TokenId::Oath(serial)) {
            Ok(TokenKey::Oath(_, key, notes)) => {
                let window = settings.codes.usual.window(key.parameters.kind, notes.window);
                Ok(Self { serial, key, window })
            }
            Ok(TokenKey::YubiKey(..) | TokenKey::RecoveryCode(..)) => Err(not_here(&serial)),
            Err(ykhost::Fault::NoKey { .. }) => Err(not_here(&serial)),
            Err(fault) => Err(fault.into()),
        }
    }
}

/// The store has no OATH token of this serial number.
pub(crate) fn not_here(serial: &Serial) -> Failure {
    Diagnostic::error(Code::TokenNotHere, "the store has no token with this serial number")
        .at(Location::Token(TokenId::Oath(*serial).to_string()))
        .run_when("to see the tokens in the store", Program::Ykmap, "token list")
        .into()
}

/// Asks for a code of a token until one is right, at most three times. Two successive ones in one line are taken, too, and
/// may be far out. Returns how far the token is once they are used up; nothing is stored here. A wrong code is exit status 1,
/// and `refused` says what did not happen.
pub(crate) fn prove(
    context: &Context,
    question: &str,
    token: &Stored,
    progress: Progress,
    refused: &str,
) -> Result<Progress, Failure> {
    for _ in 0..TRIES {
        let answer = files::input_line(question)?;
        if answer.is_empty() {
            // The end of the input.
            out::note("");
            break;
        }
        match decide(token, progress, answer.as_bytes()) {
            Found::Fresh(progress) => return Ok(progress),
            Found::Used { .. } => {
                out::note("This code was used before, or a later one was: wait for the next.")
            }
            Found::ClockBehind { steps } => out::note(&format!(
                "The last accepted code is at least {steps} steps ahead of this host's clock: compare it (chronyc tracking, or timedatectl)."
            )),
            Found::Wrong => out::note(&wrong(token.key.parameters)),
        }
    }
    if context.json {
        let found = Diagnostic::error(Code::CodeWrong, format!("no right code: {refused}"));
        return Err(context.refuse(&found.at(Location::Token(TokenId::Oath(token.serial).to_string()))));
    }
    out::note(&format!("No right code: {refused}."));
    Err(Failure::No)
}

fn wrong(parameters: Parameters) -> String {
    let digits = parameters.digits.get();
    match parameters.kind {
        Kind::Totp { .. } => format!(
            "Wrong: type the {digits} digits that it shows now. If they are wrong again, its clock or this host's is off: \
             type two successive codes with a blank between them."
        ),
        Kind::Hotp => format!(
            "Wrong: type the {digits} digits that it shows next. If they are wrong again, it is many codes ahead: type two \
             successive codes with a blank between them."
        ),
    }
}

/// Decides about an answer that is one code, or two successive ones.
pub(crate) fn decide(token: &Stored, progress: Progress, answer: &[u8]) -> Found {
    let (secret, parameters) = (&token.key.secret, token.key.parameters);
    let (digits, unix) = (parameters.digits, clock::unix());
    let Some(typed) = Typed::read(answer) else { return Found::Wrong };
    if let Some((before, code)) = typed.one(digits)
        && before.is_empty()
    {
        return window::decide(secret, parameters, token.window, progress, unix, &code);
    }
    match two(answer, parameters) {
        Some((first, second)) => {
            window::two(secret, parameters, Reach::Resync, progress, unix, (&first, &second))
        }
        None => Found::Wrong,
    }
}

/// The two codes that an answer is.
pub(crate) fn two(answer: &[u8], parameters: Parameters) -> Option<(oath::Code, oath::Code)> {
    let (before, first, second) = Typed::read(answer)?.two(parameters.digits)?;
    before.is_empty().then_some((first, second))
}

/// The step that was used up last, by what is stored after it.
pub(crate) fn last_step(progress: Progress) -> u64 {
    progress.next.map_or(0, Position::to_stored).saturating_sub(1)
}

/// How far the clock of a TOTP token is off while it shows the code of `step`, in seconds: positive if it is ahead. `None`
/// for HOTP.
pub(crate) fn clock_off(kind: Kind, step: u64, unix: u64) -> Option<i64> {
    let Kind::Totp { period } = kind else { return None };
    let steps = i64::try_from(i128::from(step) - i128::from(period.step_at(unix))).ok()?;
    steps.checked_mul(i64::try_from(period.seconds()).ok()?)
}

/// A clock that is off by so many seconds, in words.
pub(crate) fn clock_words(off: i64) -> String {
    match off {
        0 => "its clock agrees with this host's".to_owned(),
        ahead @ 1.. => format!("its clock is about {ahead} s ahead of this host's"),
        behind => format!("its clock is about {} s behind this host's, or the code was typed late", -behind),
    }
}

/// What is public of a token, in words: `TOTP, SHA1, 6 digits, 30 s`.
pub(crate) fn words(parameters: Parameters) -> String {
    let (algorithm, digits) = (parameters.algorithm.name(), parameters.digits.get());
    match parameters.kind {
        Kind::Totp { period } => format!("TOTP, {algorithm}, {digits} digits, {} s", period.seconds()),
        Kind::Hotp => format!("HOTP, {algorithm}, {digits} digits"),
    }
}

/// The seconds of a step. `None` for HOTP.
pub(crate) const fn seconds(kind: Kind) -> Option<u64> {
    match kind {
        Kind::Totp { period } => Some(period.seconds()),
        Kind::Hotp => None,
    }
}

/// `totp` or `hotp`.
pub(crate) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Totp { .. } => "totp",
        Kind::Hotp => "hotp",
    }
}

/// Warns that logins refuse codes, if they do.
pub(crate) fn warn_if_not_local(context: &Context, settings: &Settings) {
    if settings.mode == yubiotp::verdict::Mode::Online && !settings.codes.local {
        let found = Diagnostic::warning(
            Code::CodesNotHere,
            "validation servers decide about every login (mode = online), and they know no codes: logins with this token are refused",
        );
        context.note(
            &found.advise("to have this host decide about codes, set local = true in the table [codes]"),
        );
    }
}

/// A user's name, printable.
pub(crate) fn name(user: &str) -> String {
    shown::text(user).to_string()
}

/// Fails if a token of a file has come farther than any does: the highest numbers mean that a position was lost.
pub(crate) fn check_counter(progress: Progress) -> Result<(), Diagnostic> {
    match progress.next.map(Position::to_stored) {
        Some(next) if next > 1 << 63 => {
            Err(Diagnostic::error(Code::InputInvalid, format!("the counter {next} is too high"))
                .advise("no token comes so far: correct the counter in the file"))
        }
        _ => Ok(()),
    }
}
