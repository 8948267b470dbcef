//! What a file of token secrets gives.

use crate::encoding::Encoding;
use crate::problem::Place;
use std::fmt;
use yubiotp::oath::window::Progress;
use yubiotp::oath::{Algorithm, Digits, Kind, Parameters, Period, Secret};

/// A file that [`read`](crate::read) read.
pub struct Seeds {
    /// Its format.
    pub format: Format,
    /// The name of the file, if it was inside a zip: as it is written there, not for a path.
    pub member: Option<String>,
    /// How the secrets of a text file were read.
    pub encoding: Option<Encoding>,
    /// The tokens, each once, in the order of the file.
    pub tokens: Vec<TokenSecret>,
    /// What is rightly no token, each with its reason. Blank lines and comments are not mentioned.
    pub passed_over: Vec<(Place, PassedOver)>,
    /// What the file says and this project does not do.
    pub notes: Vec<(Place, Note)>,
}

/// A format of files with token secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Serial and secret a line, without more.
    SerialAndSecret,
    /// Lines `serial,secret,type,digits,step or counter`, or columns that a header names.
    Csv,
    /// RFC 6030.
    Pskc(Protection),
}

/// How the secrets of a PSKC file are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Not at all.
    None,
    /// By a key that was sent on another way.
    Key,
    /// By a password.
    Password,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SerialAndSecret => "serial and secret",
            Self::Csv => "OATH CSV",
            Self::Pskc(Protection::None) => "PSKC",
            Self::Pskc(Protection::Key) => "PSKC with a pre-shared key",
            Self::Pskc(Protection::Password) => "PSKC with a password",
        })
    }
}

/// One token.
pub struct TokenSecret {
    /// Where in the file.
    pub place: Place,
    /// Its serial: 1 to [`MAX_SERIAL`](crate::MAX_SERIAL) of `[A-Za-z0-9_-]`, the first a letter or digit.
    pub serial: String,
    /// Its secret.
    pub secret: Secret,
    /// What is public of it.
    pub parameters: Parameters,
    /// How far it has come: the counter of a HOTP token, the drift of a TOTP token, if the file says so.
    pub progress: Progress,
    /// The user that the file names for it.
    pub user: Option<String>,
    /// Who made it.
    pub manufacturer: Option<String>,
    /// Who gave it out.
    pub issuer: Option<String>,
}

/// What kind of token a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// By time.
    Totp,
    /// By touches.
    Hotp,
}

/// How the hash function of a token is known that the file does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashRule {
    /// This one.
    Is(Algorithm),
    /// As privacyIDEA and LinOTP write their CSV: a secret of 32 bytes is for SHA-256, one of 64 bytes for SHA-512, and
    /// every other for SHA-1.
    ByLength,
}

impl HashRule {
    pub(crate) const fn of(self, secret: &[u8]) -> Algorithm {
        match self {
            Self::Is(algorithm) => algorithm,
            Self::ByLength => Self::by_length(secret),
        }
    }

    pub(crate) const fn by_length(secret: &[u8]) -> Algorithm {
        match secret.len() {
            32 => Algorithm::Sha256,
            64 => Algorithm::Sha512,
            _ => Algorithm::Sha1,
        }
    }
}

/// What the administrator said about a file. Values in the file take precedence, except for `encoding`.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The file to read in a zip of several.
    pub member: Option<&'a str>,
    /// How the secrets of a text file are written. Without it the file has to leave no choice.
    pub encoding: Option<Encoding>,
    /// The type of tokens whose line does not say it.
    pub token_type: TokenType,
    /// How many digits a code has, where the file does not say it.
    pub digits: Digits,
    /// The period of TOTP tokens, where the file does not say it.
    pub period: Period,
    /// The hash function, where the file does not say it. Without it, SHA-1, unless the length of a secret of a text file
    /// suggests another one: that is a problem ([`Why::HashUnclear`](crate::Why::HashUnclear)).
    pub hash: Option<HashRule>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            member: None,
            encoding: None,
            token_type: TokenType::Totp,
            digits: Digits::SIX,
            period: Period::USUAL,
            hash: None,
        }
    }
}

impl Options<'_> {
    /// The parameters of a token from what the file says of it.
    pub(crate) fn parameters(
        &self,
        token_type: Option<TokenType>,
        algorithm: Algorithm,
        digits: Option<Digits>,
        period: Option<Period>,
    ) -> Parameters {
        let kind = match token_type.unwrap_or(self.token_type) {
            TokenType::Totp => Kind::Totp { period: period.unwrap_or(self.period) },
            TokenType::Hotp => Kind::Hotp,
        };
        Parameters { kind, algorithm, digits: digits.unwrap_or(self.digits) }
    }
}

/// Why something is rightly no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassedOver {
    /// A token that makes no HOTP or TOTP codes.
    OtherType,
    /// It is not for one-time passwords, by its policy.
    OtherUse,
    /// It says the same as an earlier one.
    Repetition {
        /// Where that is.
        first: Place,
    },
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherType => f.write_str("it is no HOTP or TOTP token"),
            Self::OtherUse => f.write_str("its policy does not allow one-time passwords"),
            Self::Repetition { first } => write!(f, "it repeats {first}"),
        }
    }
}

/// What a file says and this project does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The file is signed. Nobody checked the signature.
    SignatureNotChecked,
    /// The server is to check a PIN.
    PinNotCarried,
    /// The key is to be used within certain dates only.
    DatesNotCarried,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SignatureNotChecked => "the signature of the file was not checked",
            Self::PinNotCarried => "its PIN is not carried over",
            Self::DatesNotCarried => "its first or last day of use is not carried over",
        })
    }
}

/// A serial that can name a token.
pub(crate) fn is_serial(text: &str) -> bool {
    (1..=crate::MAX_SERIAL).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}
