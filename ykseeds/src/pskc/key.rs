//! One key of a file, with its device.

use super::protection::{Encrypted, base64};
use super::tree::Element;
use crate::problem::{BadPskc, Place, Why};
use crate::token::{HashRule, Note, Options, PassedOver, TokenSecret, TokenType, is_serial};
use yubiotp::Position;
use yubiotp::oath::window::Progress;
use yubiotp::oath::{Algorithm, Digits, Parameters, Period, Secret};
use zeroize::Zeroizing;

/// How much of the `Id` of a key is shown.
const SHOWN_ID: usize = 64;

/// The largest drift, in steps.
const MOST_DRIFT: u32 = 100_000;

/// What a package gives.
pub(super) enum Read {
    Key(Box<Key>),
    PassedOver(PassedOver),
}

/// A key whose secret is not opened yet.
pub(super) struct Key {
    pub(super) secret: SecretValue,
    pub(super) token: Token,
    pub(super) notes: Vec<Note>,
}

/// All of a token but its secret.
pub(super) struct Token {
    serial: String,
    parameters: Parameters,
    progress: Progress,
    manufacturer: Option<String>,
    issuer: Option<String>,
    user: Option<String>,
}

/// A secret as it is written.
pub(super) enum SecretValue {
    Plain(Zeroizing<Vec<u8>>),
    Encrypted {
        encrypted: Encrypted,
        /// `ValueMAC`.
        mac: Option<Vec<u8>>,
    },
}

impl Token {
    pub(super) fn with(self, place: Place, secret: Secret) -> TokenSecret {
        let Self { serial, parameters, progress, manufacturer, issuer, user } = self;
        TokenSecret { place, serial, secret, parameters, progress, user, manufacturer, issuer }
    }
}

/// Where a package is, by its key.
pub(super) fn place(package: &Element) -> Place {
    let key = package.children().iter().find(|child| child.name == "Key");
    Place {
        line: Some(key.map_or(package.line, |key| key.line)),
        key: key.and_then(|key| key.attribute("Id")).map(|id| id.chars().take(SHOWN_ID).collect()),
    }
}

/// Reads a `KeyPackage`.
pub(super) fn read(package: &Element, options: &Options<'_>) -> Result<Read, Vec<Why>> {
    let one = |why: BadPskc| vec![Why::from(why)];
    let Some(key) = package.child("Key").map_err(one)? else {
        return Ok(Read::PassedOver(PassedOver::OtherType));
    };
    let Some(token_type) = key.attribute("Algorithm").and_then(type_by_uri) else {
        return Ok(Read::PassedOver(PassedOver::OtherType));
    };
    let policy = key.child("Policy").map_err(one)?;
    if policy.is_some_and(|policy| !allows_codes(policy)) {
        return Ok(Read::PassedOver(PassedOver::OtherUse));
    }
    let device = package.child("DeviceInfo").map_err(one)?;
    // Each part by itself, so that all mistakes of a key are found.
    let parts = (
        serial(key, device),
        parameters(key, token_type, options),
        progress(key, token_type),
        secret(key),
        texts(key, device),
    );
    match parts {
        (Ok(serial), Ok(parameters), Ok(progress), Ok(secret), Ok((manufacturer, issuer, user))) => {
            let token = Token { serial, parameters, progress, manufacturer, issuer, user };
            Ok(Read::Key(Box::new(Key { secret, token, notes: notes(policy, device) })))
        }
        (serial, parameters, progress, secret, texts) => {
            let whys = [serial.err(), parameters.err(), progress.err(), secret.err(), texts.err()];
            Err(whys.into_iter().flatten().map(Why::from).collect())
        }
    }
}

/// `urn:ietf:params:xml:ns:keyprov:pskc:hotp`, and `#hotp` of drafts.
fn type_by_uri(uri: &str) -> Option<TokenType> {
    match uri.rsplit([':', '#']).next().unwrap_or(uri).to_ascii_lowercase().as_str() {
        "hotp" => Some(TokenType::Hotp),
        "totp" => Some(TokenType::Totp),
        _ => None,
    }
}

/// Whether the key may be used for one-time passwords. A policy with something unknown allows nothing (RFC 6030, 5).
fn allows_codes(policy: &Element) -> bool {
    let mut usages = policy.children().iter().filter(|child| child.name == "KeyUsage").peekable();
    let known = ["StartDate", "ExpiryDate", "PINPolicy", "KeyUsage", "NumberOfTransactions"];
    (usages.peek().is_none() || usages.any(|usage| usage.text() == "OTP"))
        && policy.children().iter().all(|child| known.contains(&child.name.as_str()))
}

fn notes(policy: Option<&Element>, device: Option<&Element>) -> Vec<Note> {
    let has = |parent: Option<&Element>, name: &str| parent.is_some_and(|parent| parent.has(name));
    let mut notes = Vec::new();
    let pin = policy.and_then(|policy| policy.children().iter().find(|child| child.name == "PINPolicy"));
    // `Local`: the token asks for it.
    if pin.is_some_and(|pin| pin.attribute("PINUsageMode").is_some_and(|mode| mode != "Local")) {
        notes.push(Note::PinNotCarried);
    }
    if [policy, device].into_iter().any(|parent| has(parent, "StartDate") || has(parent, "ExpiryDate")) {
        notes.push(Note::DatesNotCarried);
    }
    notes
}

/// The serial of the device, or the `Id` of the key.
fn serial(key: &Element, device: Option<&Element>) -> Result<String, BadPskc> {
    let serial = device.map(|device| device.text_of("SerialNo")).transpose()?.flatten();
    let serial = serial.or_else(|| key.attribute("Id")).ok_or(BadPskc::Missing("SerialNo"))?;
    if is_serial(serial) { Ok(serial.to_owned()) } else { Err(BadPskc::Serial) }
}

type Texts = (Option<String>, Option<String>, Option<String>);

/// Manufacturer, issuer and user.
fn texts(key: &Element, device: Option<&Element>) -> Result<Texts, BadPskc> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let manufacturer = device.map(|device| device.text_of("Manufacturer")).transpose()?.flatten();
    Ok((owned(manufacturer), owned(key.text_of("Issuer")?), owned(key.text_of("UserId")?)))
}

fn parameters(key: &Element, token_type: TokenType, options: &Options<'_>) -> Result<Parameters, BadPskc> {
    let said = key.child("AlgorithmParameters")?;
    let suite = said.map(|said| said.text_of("Suite")).transpose()?.flatten();
    let algorithm = match (suite, options.hash) {
        (Some(suite), _) => Algorithm::by_name(suite).ok_or(BadPskc::Value("Suite"))?,
        (None, Some(HashRule::Is(algorithm))) => algorithm,
        // The length of a secret means nothing in PSKC.
        (None, Some(HashRule::ByLength) | None) => Algorithm::Sha1,
    };
    let format = said.map(|said| said.child("ResponseFormat")).transpose()?.flatten();
    let digits = format.map(digits).transpose()?.flatten();
    let period = match (token_type, plain_number(key, "TimeInterval")?) {
        (TokenType::Totp, Some(text)) => {
            let seconds = crate::lines::number(text).and_then(Period::new);
            Some(seconds.ok_or(BadPskc::Value("TimeInterval"))?)
        }
        _ => None,
    };
    Ok(options.parameters(Some(token_type), algorithm, digits, period))
}

fn digits(format: &Element) -> Result<Option<Digits>, BadPskc> {
    let is_true = |value: Option<&str>| matches!(value, Some("true" | "1"));
    if is_true(format.attribute("CheckDigits")) || is_true(format.attribute("CheckDigit")) {
        return Err(BadPskc::Unsupported("a ResponseFormat with check digits"));
    }
    if format.attribute("Encoding").is_some_and(|encoding| !encoding.eq_ignore_ascii_case("DECIMAL")) {
        return Err(BadPskc::Unsupported("a ResponseFormat other than DECIMAL"));
    }
    let Some(length) = format.attribute("Length") else { return Ok(None) };
    let digits = crate::lines::number(length).and_then(Digits::new);
    digits.map(Some).ok_or(BadPskc::Value("Length of ResponseFormat"))
}

/// The counter of a HOTP token, or the drift of a TOTP token: what a server learned of it.
fn progress(key: &Element, token_type: TokenType) -> Result<Progress, BadPskc> {
    match token_type {
        TokenType::Hotp => {
            let counter = plain_number(key, "Counter")?.map(crate::lines::number::<u64>);
            let next = match counter {
                Some(counter) => counter.ok_or(BadPskc::Value("Counter"))?,
                None => 0,
            };
            Ok(Progress { next: (next > 0).then(|| Position::from_stored(next)), drift: 0 })
        }
        TokenType::Totp => {
            let text = plain_number(key, "TimeDrift")?;
            let drift = text.map(|text| drift(text).ok_or(BadPskc::Value("TimeDrift"))).transpose()?;
            Ok(Progress { next: None, drift: drift.unwrap_or(0) })
        }
    }
}

/// Steps that a token's clock is ahead. libpskc writes a negative number as one of 32 bits without a sign.
fn drift(text: &str) -> Option<i32> {
    let number: i64 = text.parse().ok()?;
    let signed = i32::try_from(number).ok().or_else(|| u32::try_from(number).ok().map(u32::cast_signed));
    signed.filter(|drift| drift.unsigned_abs() <= MOST_DRIFT)
}

/// The text of `Data`'s child, which must be plain: numbers are not encrypted by anybody.
fn plain_number<'a>(key: &'a Element, name: &'static str) -> Result<Option<&'a str>, BadPskc> {
    let Some(data) = key.child("Data")? else { return Ok(None) };
    let Some(element) = data.child(name)? else { return Ok(None) };
    if element.child("EncryptedValue")?.is_some() {
        return Err(BadPskc::Unsupported("an encrypted counter, time interval or drift"));
    }
    element.text_of("PlainValue")
}

fn secret(key: &Element) -> Result<SecretValue, BadPskc> {
    let secret = key.needed("Data")?.needed("Secret")?;
    match (secret.child("PlainValue")?, secret.child("EncryptedValue")?) {
        (Some(plain), None) => Ok(SecretValue::Plain(base64(plain.text(), "PlainValue")?)),
        (None, Some(encrypted)) => {
            let mac = secret.child("ValueMAC")?.map(|mac| base64(mac.text(), "ValueMAC")).transpose()?;
            let encrypted = Encrypted::read(encrypted)?;
            Ok(SecretValue::Encrypted { encrypted, mac: mac.map(|mac| mac.to_vec()) })
        }
        (None, None) => Err(BadPskc::Missing("the value of Secret")),
        (Some(_), Some(_)) => Err(BadPskc::Twice("the value of Secret")),
    }
}
