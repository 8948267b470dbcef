//! Which field of a line is what.

use super::fields::Separator;
use crate::encoding::Encoding;
use crate::lines::number;
use crate::problem::{BadLine, Field};
use crate::token::{Format, TokenType};
use yubiotp::Position;
use yubiotp::oath::{Algorithm, Digits, Period};

/// Fields without a header.
const ORDER: [Field; 6] =
    [Field::Serial, Field::Secret, Field::Type, Field::Digits, Field::PeriodOrCounter, Field::Hash];

/// Types of tokens that make no HOTP or TOTP codes: in files of privacyIDEA and LinOTP.
const OTHER_TYPES: [&str; 16] = [
    "ocra",
    "ocra2",
    "tan",
    "pw",
    "spass",
    "motp",
    "mobiletotp",
    "yubikey",
    "yubico",
    "sms",
    "email",
    "push",
    "u2f",
    "webauthn",
    "daypassword",
    "static",
];

/// What the columns of a file are.
pub(super) struct Columns {
    pub(super) format: Format,
    /// How a header says that secrets are written.
    pub(super) encoding: Option<Encoding>,
    /// Of each field, in their order; `None` for one that is not read.
    fields: Vec<Option<Field>>,
    /// Whether more fields than these may follow.
    named: bool,
}

/// A line of a file.
pub(super) struct Row<'a> {
    pub(super) line: usize,
    pub(super) serial: &'a str,
    pub(super) serial_field: usize,
    pub(super) secret: &'a str,
    pub(super) secret_field: usize,
    pub(super) token_type: TokenType,
    pub(super) digits: Option<Digits>,
    pub(super) period: Option<Period>,
    pub(super) counter: Option<Position>,
    pub(super) hash: Option<Algorithm>,
    pub(super) user: Option<&'a str>,
    pub(super) manufacturer: Option<&'a str>,
    pub(super) issuer: Option<&'a str>,
    /// Values that cannot be.
    pub(super) wrong: Vec<BadLine>,
}

/// Whether a comment announces privacyIDEA's second version, whose lines begin with user, resolver and realm.
pub(super) fn has_users(comment: &str) -> bool {
    let plain: String = comment.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    plain.eq_ignore_ascii_case("#version:2")
}

impl Columns {
    pub(super) fn without_header(separator: Separator, users: bool) -> Self {
        let users: &[Option<Field>] = if users { &[Some(Field::User), None, None] } else { &[] };
        let fields = users.iter().copied().chain(ORDER.map(Some)).collect();
        let format = if separator == Separator::Blanks { Format::SerialAndSecret } else { Format::Csv };
        Self { format, encoding: None, fields, named: false }
    }

    /// The columns that a header names. `None` if the line is not a header: it has no column of serials and none of secrets.
    pub(super) fn of_header(fields: &[&str]) -> Option<Result<Self, BadLine>> {
        let named: Vec<_> = fields.iter().map(|name| column(name)).collect();
        let has = |field| named.iter().flatten().any(|(named, _)| *named == field);
        if !(has(Field::Serial) && has(Field::Secret)) {
            return None;
        }
        for (second, (column, _)) in named.iter().enumerate().filter_map(|(at, named)| Some((at, (*named)?)))
        {
            let first =
                named.iter().take(second).position(|named| named.is_some_and(|(named, _)| named == column));
            if let Some(first) = first {
                let (first, second) = (first.saturating_add(1), second.saturating_add(1));
                return Some(Err(BadLine::ColumnTwice { first, second }));
            }
        }
        Some(Ok(Self {
            format: Format::Csv,
            encoding: named.iter().flatten().find_map(|(_, encoding)| *encoding),
            fields: named.iter().map(|named| named.map(|(field, _)| field)).collect(),
            named: true,
        }))
    }

    /// The line as a row; its type is the `usual` one if it names none. `None` if it is about another type of token.
    pub(super) fn row<'a>(
        &self,
        line: usize,
        fields: &[&'a str],
        usual: TokenType,
    ) -> Result<Option<Row<'a>>, BadLine> {
        let found = fields.len();
        if !self.named && fields.iter().skip(self.fields.len()).any(|field| !field.is_empty()) {
            return Err(BadLine::TooManyFields { found });
        }
        let value = |wanted: Field| {
            let at = self.fields.iter().position(|field| *field == Some(wanted))?;
            fields.get(at).filter(|value| !value.is_empty()).map(|value| (at.saturating_add(1), *value))
        };
        let mut wrong = Vec::new();
        let token_type = match value(Field::Type).map(|(number, name)| (number, type_by_name(name))) {
            Some((_, Named::Other)) => return Ok(None),
            Some((_, Named::Type(token_type))) => token_type,
            Some((number, Named::Unknown)) => {
                wrong.push(BadLine::Value { number, field: Field::Type });
                usual
            }
            None => usual,
        };
        let (Some((serial_field, serial)), Some((secret_field, secret))) =
            (value(Field::Serial), value(Field::Secret))
        else {
            return Err(BadLine::TooFewFields { found });
        };
        let either = value(Field::PeriodOrCounter);
        let (period, counter) = match token_type {
            TokenType::Totp => (value(Field::Period).or(either), None),
            TokenType::Hotp => (None, value(Field::Counter).or(either)),
        };
        let row = Row {
            line,
            serial,
            serial_field,
            secret,
            secret_field,
            token_type,
            digits: read(value(Field::Digits), Field::Digits, &mut wrong, |text| Digits::new(number(text)?)),
            period: read(period, Field::Period, &mut wrong, |text| Period::new(number(text)?)),
            counter: read(counter, Field::Counter, &mut wrong, number::<u64>)
                .filter(|counter| *counter > 0)
                .map(Position::from_stored),
            hash: read(value(Field::Hash), Field::Hash, &mut wrong, Algorithm::by_name),
            user: value(Field::User).map(|(_, name)| name),
            manufacturer: value(Field::Manufacturer).map(|(_, name)| name),
            issuer: value(Field::Issuer).map(|(_, name)| name),
            wrong,
        };
        Ok(Some(row))
    }
}

/// The value of a field, if it is there. A value that cannot be is noted.
fn read<T>(
    value: Option<(usize, &str)>,
    field: Field,
    wrong: &mut Vec<BadLine>,
    by: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let (number, text) = value?;
    let read = by(text);
    if read.is_none() {
        wrong.push(BadLine::Value { number, field });
    }
    read
}

enum Named {
    Type(TokenType),
    Other,
    Unknown,
}

fn type_by_name(name: &str) -> Named {
    let plain = plain(name);
    match plain.strip_prefix("oath").unwrap_or(&plain) {
        "totp" | "time" => Named::Type(TokenType::Totp),
        "hotp" | "event" | "hmac" => Named::Type(TokenType::Hotp),
        other if OTHER_TYPES.contains(&other) => Named::Other,
        _ => Named::Unknown,
    }
}

/// What a column of a header means, and how it says that secrets are written.
fn column(name: &str) -> Option<(Field, Option<Encoding>)> {
    let name = plain(name);
    let field = match name.as_str() {
        "serial" | "serialnumber" | "serialno" | "serialnr" | "sn" | "tokenserial" | "tokenserialnumber"
        | "tokenid" => Field::Serial,
        "type" | "tokentype" | "otptype" => Field::Type,
        "digits" | "otplen" | "otplength" | "codelength" | "length" => Field::Digits,
        "timestep" | "period" | "interval" | "timeinterval" | "step" | "stepsize" => Field::Period,
        "counter" | "movingfactor" => Field::Counter,
        "hash" | "hashlib" | "hashalgorithm" | "algorithm" => Field::Hash,
        "upn" | "user" | "username" => Field::User,
        "manufacturer" | "vendor" => Field::Manufacturer,
        "issuer" => Field::Issuer,
        name => return secret_column(name).map(|encoding| (Field::Secret, encoding)),
    };
    Some((field, None))
}

/// `secret`, `Seed (hex)`, `base32 secret`: how it is written, if the name says so. `None` for another column.
fn secret_column(name: &str) -> Option<Option<Encoding>> {
    let encoding = Encoding::ALL.into_iter().find(|encoding| name.contains(encoding.name()));
    let bare = encoding.map_or_else(|| name.to_owned(), |encoding| name.replacen(encoding.name(), "", 1));
    ["secret", "secretkey", "seed", "key", "otpkey", "otpsecret", "sharedsecret", "tokenseed"]
        .contains(&bare.as_str())
        .then_some(encoding)
}

/// Letters and digits, small.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}
