//! PSKC.

use crate::MAX_SERIAL;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::oath::BadSecretLength;

/// The mistake in a PSKC file. Names are those of elements and attributes of RFC 6030.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPskc {
    /// Not well-formed.
    Syntax,
    /// A document type definition.
    DocType,
    /// An entity other than `&amp;`, `&lt;`, `&gt;`, `&quot;`, `&apos;` and numbers of characters.
    Entity,
    /// Not there.
    Missing(&'static str),
    /// There more than once.
    Twice(&'static str),
    /// Behind what it is for.
    Misplaced(&'static str),
    /// A value that cannot be.
    Value(&'static str),
    /// Not base64.
    Base64(&'static str),
    /// The serial cannot name a token.
    Serial,
    /// The secret is too short or too long.
    SecretLength(BadSecretLength),
    /// A method or feature that is not read.
    Unsupported(&'static str),
    /// A secret is encrypted, and has no MAC, or the file names no method for it.
    NoMac,
    /// A secret is not encrypted, in a file that names a key or a MAC method: anybody may have put it there.
    PlainSecret,
    /// The MAC does not match, and that of another key does.
    Mac,
    /// An encrypted value is not whole, or does not decrypt although its MAC matches.
    Cipher(&'static str),
}

impl BadPskc {
    pub(super) fn diagnostic(self) -> Diagnostic {
        let pskc = |problem: String| Diagnostic::error(Code::TokenFilePskcInvalid, problem);
        let again = "ask the sender for another file";
        match self {
            Self::Syntax => pskc("the XML is cut off or damaged".to_owned()).advise("get the file once more"),
            Self::DocType => pskc("the XML has a document type definition".to_owned()).advise(again),
            Self::Entity => pskc("the XML uses an entity".to_owned()).advise(again),
            Self::Missing(name) => pskc(format!("{name} is missing")),
            Self::Twice(name) => pskc(format!("{name} is there more than once")),
            Self::Misplaced(name) => pskc(format!("{name} follows a KeyPackage: it has to precede all")).advise(again),
            Self::Value(name) => pskc(format!("{name} has a value that is not valid")),
            Self::Base64(name) => pskc(format!("{name} is not base64: it is cut off or damaged")),
            Self::Serial => pskc(format!(
                "its serial is not 1 to {MAX_SERIAL} letters, digits, hyphens and underscores, the first a letter or digit"
            )),
            Self::SecretLength(why) => pskc(why.to_string()),
            Self::Unsupported(what) => pskc(format!("{what} is not supported")).advise(
                "ask the sender for PSKC with AES-CBC and HMAC, protected by a password or a pre-shared key",
            ),
            Self::NoMac => pskc("the secret is encrypted, and there is no MAC of it".to_owned()).advise(
                "ask the sender for a file with MACMethod and ValueMAC: without them nobody can tell whether a secret was \
                 changed",
            ),
            Self::PlainSecret => pskc("the secret is not encrypted, although the file is protected: it may have been exchanged".to_owned())
                .advise("do not use this file, and ask the sender for another one"),
            Self::Mac => pskc("the MAC does not match, and that of another key does: it was changed or is damaged".to_owned())
                .advise("do not use this file, and ask the sender for another one"),
            Self::Cipher(name) => pskc(format!("{name} is not encrypted as the file says")).advise(again),
        }
    }
}
