//! The name of any token: a YubiKey, an OATH token, a set of recovery codes or one code of it.

use super::{BadPublicId, PublicId};
use alloc::string::ToString as _;
use core::fmt;

/// The most characters of a [`Serial`] or a [`SetId`].
const MOST: usize = 32;

/// The serial number of an OATH token: 1 to 32 characters of `A-Z`, `a-z`, `0-9`, `_` and `-`, of which the first is a letter
/// or a digit. Hardware tokens have it printed on the back; authenticator apps get one from `ykmap totp add`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Name);

/// The name of a series: OATH tokens that were imported together. 1 to 32 characters, as of a [`Serial`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series(Name);

/// The name of a set of recovery codes: 1 to 32 letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(Name);

// Bytes past `len` are zero, so that comparing and hashing may take both fields as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name {
    bytes: [u8; MOST],
    len: u8,
}

impl Name {
    fn new(text: &[u8], allows: impl Fn(u8) -> bool) -> Option<Self> {
        let mut name = Self { bytes: [0; MOST], len: u8::try_from(text.len()).ok()? };
        name.bytes.get_mut(..text.len())?.copy_from_slice(text);
        let has_its_shape =
            text.first().is_some_and(u8::is_ascii_alphanumeric) && text.iter().all(|byte| allows(*byte));
        has_its_shape.then_some(name)
    }

    fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.len)).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl Serial {
    /// A serial number as it is printed, without `oath-`. `None` if it does not have the shape.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        Name::new(text.as_bytes(), |byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)).map(Self)
    }

    /// As it is printed, without `oath-`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Series {
    /// A name as an administrator chose it. `None` if it does not have the shape.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        Serial::new(text).map(|Serial(name)| Self(name))
    }

    /// As it was chosen.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl SetId {
    /// A name without `rec-`. `None` if it does not have the shape.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        Name::new(text.as_bytes(), |byte| byte.is_ascii_alphanumeric()).map(Self)
    }

    /// Without `rec-`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A token, as the mapping, the store and the log name it.
///
/// | | in the mapping | files of the store |
/// |---|---|---|
/// | YubiKey | modhex, or `-` | the same |
/// | OATH token | `oath-SERIAL` | the same |
/// | recovery codes | `rec-SET` | one for each code: `rec-SET-N` |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenId {
    /// A YubiKey.
    YubiKey(PublicId),
    /// An authenticator app or a hardware token.
    Oath(Serial),
    /// A set of recovery codes.
    RecoverySet(SetId),
    /// One recovery code of a set: 1 to 9.
    RecoveryCode(SetId, u8),
}

/// Why a text names no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTokenId {
    /// It is no public ID of a YubiKey.
    #[error(transparent)]
    PublicId(#[from] BadPublicId),
    /// It begins with `oath-`, and no serial number follows.
    #[error(
        "behind oath-, a serial number has 1 to 32 letters, digits, - and _, and begins with a letter or digit"
    )]
    Serial,
    /// It begins with `rec-`, and no set follows.
    #[error("behind rec-, a set of recovery codes has 1 to 32 letters and digits")]
    Set,
}

const OATH: &[u8] = b"oath-";
const RECOVERY: &[u8] = b"rec-";

impl TokenId {
    /// A token as a mapping lists it.
    ///
    /// # Errors
    /// The mistake in the text.
    pub fn parse(text: &[u8]) -> Result<Self, BadTokenId> {
        if let Some(serial) = text.strip_prefix(OATH) {
            let serial = str::from_utf8(serial).ok().and_then(Serial::new);
            return serial.map(Self::Oath).ok_or(BadTokenId::Serial);
        }
        if let Some(set) = text.strip_prefix(RECOVERY) {
            let set = str::from_utf8(set).ok().and_then(SetId::new);
            return set.map(Self::RecoverySet).ok_or(BadTokenId::Set);
        }
        Ok(Self::YubiKey(PublicId::parse(text)?))
    }

    /// A token as a file of the store is named. `None` if no file has this name.
    #[must_use]
    pub fn of_file(name: &str) -> Option<Self> {
        let code = name.strip_prefix("rec-").and_then(|name| {
            let (set, number) = name.split_once('-')?;
            let number = number.parse().ok().filter(|number| (1..=9).contains(number))?;
            Some(Self::RecoveryCode(SetId::new(set)?, number))
        });
        let token = code.or_else(|| Self::parse(name.as_bytes()).ok())?;
        // One name for each: capitals of modhex are read and not written, and a set has no file.
        (!matches!(token, Self::RecoverySet(_)) && token.to_string() == name).then_some(token)
    }

    /// The public ID, if it is a YubiKey.
    #[must_use]
    pub const fn yubikey(&self) -> Option<PublicId> {
        match self {
            Self::YubiKey(id) => Some(*id),
            Self::Oath(_) | Self::RecoverySet(_) | Self::RecoveryCode(..) => None,
        }
    }

    /// The serial number, if it is an OATH token.
    #[must_use]
    pub const fn oath(&self) -> Option<Serial> {
        match self {
            Self::Oath(serial) => Some(*serial),
            Self::YubiKey(_) | Self::RecoverySet(_) | Self::RecoveryCode(..) => None,
        }
    }

    /// The set, if it is one of recovery codes, or a code of one.
    #[must_use]
    pub const fn recovery_set(&self) -> Option<SetId> {
        match self {
            Self::RecoverySet(set) | Self::RecoveryCode(set, _) => Some(*set),
            Self::YubiKey(_) | Self::Oath(_) => None,
        }
    }
}

impl From<PublicId> for TokenId {
    fn from(id: PublicId) -> Self {
        Self::YubiKey(id)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::YubiKey(id) => id.fmt(f),
            Self::Oath(serial) => write!(f, "oath-{}", serial.as_str()),
            Self::RecoverySet(set) => write!(f, "rec-{}", set.as_str()),
            Self::RecoveryCode(set, number) => write!(f, "rec-{}-{number}", set.as_str()),
        }
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Series({self})")
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use proptest::prelude::*;

    #[test]
    fn what_a_mapping_lists() {
        for (text, token) in [
            ("ccccccdbjrgf", Ok("ccccccdbjrgf")),
            ("-", Ok("-")),
            ("oath-1234567890123", Ok("oath-1234567890123")),
            ("oath-GALT-1_b", Ok("oath-GALT-1_b")),
            ("rec-k7m2qx", Ok("rec-k7m2qx")),
            ("oath-", Err(BadTokenId::Serial)),
            ("oath--1", Err(BadTokenId::Serial)),
            ("oath-1.2", Err(BadTokenId::Serial)),
            ("oath-123456789012345678901234567890123", Err(BadTokenId::Serial)),
            ("oath-é", Err(BadTokenId::Serial)),
            ("rec-", Err(BadTokenId::Set)),
            ("rec-a-1", Err(BadTokenId::Set)),
            ("", Err(BadTokenId::PublicId(BadPublicId::Missing))),
        ] {
            let parsed = TokenId::parse(text.as_bytes());
            assert_eq!(parsed.map(|token| token.to_string()), token.map(String::from), "{text}");
        }
        assert!(matches!(TokenId::parse(b"OATH-1"), Err(BadTokenId::PublicId(_))));
    }

    #[test]
    fn what_files_are_called() {
        for (name, is_one) in [
            ("ccccccdbjrgf", true),
            ("CCCCCCdbjrgf", false),
            ("-", true),
            ("oath-1", true),
            ("oath-1.0123456789abcdef", false),
            ("rec-k7-1", true),
            ("rec-k7-9", true),
            ("rec-k7-01", false),
            ("rec-k7-0", false),
            ("rec-k7-10", false),
            ("rec-k7", false),
            ("store.key", false),
        ] {
            let token = TokenId::of_file(name);
            assert_eq!(token.is_some(), is_one, "{name}");
            assert!(token.is_none_or(|token| token.to_string() == name));
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again(serial in "[A-Za-z0-9][A-Za-z0-9_-]{0,31}", set in "[A-Za-z0-9]{1,32}", number in 1u8..=9) {
            let token = TokenId::Oath(Serial::new(&serial).unwrap());
            prop_assert_eq!(TokenId::parse(token.to_string().as_bytes()), Ok(token));
            prop_assert_eq!(TokenId::of_file(&token.to_string()), Some(token));
            let set = SetId::new(&set).unwrap();
            let code = TokenId::RecoveryCode(set, number);
            prop_assert_eq!(TokenId::of_file(&code.to_string()), Some(code));
            let set = TokenId::RecoverySet(set);
            prop_assert_eq!(TokenId::parse(set.to_string().as_bytes()), Ok(set));
        }

        #[test]
        fn never_panics(text: alloc::vec::Vec<u8>, name: String) {
            let _ = (TokenId::parse(&text), TokenId::of_file(&name), format!("{:?}", Serial::new(&name)));
        }
    }
}
