//! The catalogue of codes.

use core::fmt::{self, Display};

macro_rules! codes {
    ($($variant:ident = $name:literal,)*) => {
        /// What kind of finding: one code for one cause, the same from version to version. `docs/reference/codes.md` has an
        /// entry for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(
                #[doc = concat!("`", $name, "`")]
                $variant,
            )*
        }

        impl Code {
            /// All codes, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name that logs, terminals and `--json` use: lower-case words joined by hyphens.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

codes! {
    // Outcomes of a login.
    Accepted = "accepted",
    AnswerEmpty = "answer-empty",
    AnswerIsDummy = "answer-is-dummy",
    AnswerTooShort = "answer-too-short",
    AnswerTooLong = "answer-too-long",
    AnswerWithoutOtp = "answer-without-otp",
    UserNotListed = "user-not-listed",
    UserExcused = "user-excused",
    UserWithoutToken = "user-without-token",
    OtherUsersToken = "other-users-token",
    OtpNotGenuine = "otp-not-genuine",
    OtpReplayed = "otp-replayed",
    OtpBehind = "otp-behind",
    ServerSaysBad = "server-says-bad",
    ServerSaysReplayed = "server-says-replayed",
    TokenDisabled = "token-disabled",
    NothingStacked = "nothing-stacked",
    NotAcceptedHere = "not-accepted-here",
    NoAnswer = "no-answer",
    UserChanged = "user-changed",
    InternalError = "internal-error",
    // Files and folders.
    FileMissing = "file-missing",
    PathNotAbsolute = "path-not-absolute",
    PathNotUtf8 = "path-not-utf8",
    FileIsLink = "file-is-link",
    FileOfWrongKind = "file-of-wrong-kind",
    FileOfOtherOwner = "file-of-other-owner",
    FileWritableByOthers = "file-writable-by-others",
    FileReadableByOthers = "file-readable-by-others",
    FileTooLarge = "file-too-large",
    FileLocked = "file-locked",
    FileInaccessible = "file-inaccessible",
    FileSizeLimit = "file-size-limit",
    // Configuration and arguments of a host.
    ConfigMissing = "config-missing",
    ConfigInvalid = "config-invalid",
    ArgumentUnknown = "argument-unknown",
    ArgumentInvalid = "argument-invalid",
    UserNameInPath = "user-name-in-path",
    ClientKeyInPamD = "client-key-in-pam-d",
    // The mapping.
    MappingMissing = "mapping-missing",
    MappingEmpty = "mapping-empty",
    MappingLineInvalid = "mapping-line-invalid",
    MappingOtherSpelling = "mapping-other-spelling",
    MappingNameNotPlain = "mapping-name-not-plain",
    // The token store of a host.
    StoreMissing = "store-missing",
    StoreKeyMissing = "store-key-missing",
    StoreKeyDamaged = "store-key-damaged",
    PositionsMissing = "positions-missing",
    KeyMissing = "key-missing",
    KeyDamaged = "key-damaged",
    KeySealedElsewhere = "key-sealed-elsewhere",
    KeySealBroken = "key-seal-broken",
    KeyIsHere = "key-is-here",
    PositionMissing = "position-missing",
    PositionOfOtherKey = "position-of-other-key",
    PositionDamaged = "position-damaged",
    PositionImplausible = "position-implausible",
    // Asking validation servers.
    ClientKeyInvalid = "client-key-invalid",
    NoServers = "no-servers",
    AskProgramMissing = "ask-program-missing",
    AskProgramFailed = "ask-program-failed",
    CannotAsk = "cannot-ask",
    Undecided = "undecided",
    UndecidedWithheld = "undecided-withheld",
    DecidedDespiteAnswers = "decided-despite-answers",
    // What `ykmap doctor`, `ykmap check` and `ykvald check` find.
    Checked = "checked",
}

/// A text that names no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a code of this version")]
pub struct UnknownCode;

impl core::str::FromStr for Code {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.name() == name).ok_or(UnknownCode)
    }
}

impl Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn names_are_unique_words_joined_by_hyphens() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for name in names {
            assert!(
                name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit()),
                "{name}"
            );
            assert_eq!(name.parse().map(Code::name), Ok(name));
        }
        assert_eq!("no-such-code".parse::<Code>(), Err(UnknownCode));
    }
}
