//! Lines of text files.

use crate::MAX_SERIAL;
use crate::encoding::Encoding;
use std::fmt;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::oath::BadSecretLength;

/// What a field of a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The serial of the token.
    Serial,
    /// Its secret.
    Secret,
    /// `totp` or `hotp`.
    Type,
    /// The length of a code.
    Digits,
    /// Seconds of a step.
    Period,
    /// The next counter.
    Counter,
    /// The period of a TOTP token or the counter of a HOTP token.
    PeriodOrCounter,
    /// The hash function.
    Hash,
    /// The user of the token.
    User,
    /// Who made it.
    Manufacturer,
    /// Who gave it out.
    Issuer,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Serial => "serial",
            Self::Secret => "secret",
            Self::Type => "type",
            Self::Digits => "number of digits",
            Self::Period => "period",
            Self::Counter => "counter",
            Self::PeriodOrCounter => "period or counter",
            Self::Hash => "hash function",
            Self::User => "user",
            Self::Manufacturer => "manufacturer",
            Self::Issuer => "issuer",
        })
    }
}

/// The mistake in a line. Fields and lines are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLine {
    /// Not UTF-8.
    NotUtf8,
    /// A NUL byte.
    Nul,
    /// A quotation mark that is not closed, or text behind one that is.
    Quote,
    /// No serial or no secret.
    TooFewFields {
        /// How many fields there are.
        found: usize,
    },
    /// More than the format has.
    TooManyFields {
        /// How many fields there are.
        found: usize,
    },
    /// Two columns of a header with the same meaning.
    ColumnTwice {
        /// The first of them.
        first: usize,
        /// The second.
        second: usize,
    },
    /// A field whose value cannot be.
    Value {
        /// Which.
        number: usize,
        /// What it is for.
        field: Field,
    },
    /// The secret is not in the encoding of the file, or in none.
    Secret {
        /// Its field.
        number: usize,
        /// The encoding of the file.
        encoding: Option<Encoding>,
    },
    /// The secret reads in one encoding only, and that of an earlier or later line only in the other.
    MixedEncodings {
        /// Its field.
        number: usize,
        /// How this one reads.
        here: Encoding,
        /// The line of the other.
        other: usize,
    },
    /// The secret is too short or too long.
    SecretLength(BadSecretLength),
}

impl BadLine {
    pub(super) fn diagnostic(self) -> Diagnostic {
        let line = |problem: String| Diagnostic::error(Code::TokenFileLineInvalid, problem);
        match self {
            Self::NotUtf8 => line("the line is not UTF-8".to_owned()).advise("save the file as text in UTF-8"),
            Self::Nul => line("the line holds a NUL byte: the file is damaged, or not text in UTF-8".to_owned()),
            Self::Quote => {
                line("a quotation mark is not closed, or text follows one before the next field".to_owned())
            }
            Self::TooFewFields { found } => {
                line(format!("the line has too few fields ({found}): it needs at least a serial and a secret"))
                    .advise("separate fields by commas, semicolons, tabs or blanks, in all lines the same")
            }
            Self::TooManyFields { found } => line(format!("the line has too many fields ({found})")).advise(
                "write serial,secret,type,digits,period or counter,hash, or name the columns in the first line",
            ),
            Self::ColumnTwice { first, second } => {
                line(format!("fields {first} and {second} of the header name the same column"))
            }
            Self::Value { number, field } => {
                line(format!("field {number}, the {field}: it is not {}", field.expected()))
            }
            Self::Secret { number, encoding: Some(encoding) } => {
                line(format!("field {number}, the secret: it is not {encoding}"))
            }
            Self::Secret { number, encoding: None } => {
                line(format!("field {number}, the secret: it is neither hex nor base32"))
            }
            Self::MixedEncodings { number, here, other } => line(format!(
                "field {number}, the secret: it reads only as {here}, and that of line {other} only as {}",
                here.other()
            ))
            .advise("write all secrets of a file in the same encoding"),
            Self::SecretLength(why) => line(why.to_string()),
        }
    }
}

impl Field {
    /// What a value has to be.
    const fn expected(self) -> &'static str {
        const { assert!(MAX_SERIAL == 32) };
        match self {
            Self::Serial => "1 to 32 letters, digits, hyphens and underscores, the first a letter or digit",
            Self::Secret => "hex or base32",
            Self::Type => "totp or hotp",
            Self::Digits => "6, 7 or 8",
            Self::Period => "a number of seconds from 1 to 3600",
            Self::Counter => "a decimal number",
            Self::PeriodOrCounter => "a decimal number",
            Self::Hash => "sha1, sha256 or sha512",
            Self::User | Self::Manufacturer | Self::Issuer => "text",
        }
    }
}
