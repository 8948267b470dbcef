//! Files as a whole: their kind, size, zip and password.

use crate::MAX_TOKENS;
use crate::lines::MAX_LINE;
use yubiotp::diagnostic::{Code, Diagnostic, Program};

/// How to make a zip that is read. `-p` asks for the password.
const MAKE_ZIP: &str = "7z a -tzip -mm=Deflate -mem=AES256 -p NEW.zip FILE";

/// A file of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// A zip inside a zip.
    Zip,
    /// Another archive: of 7-Zip, RAR or gzip.
    Archive,
    /// OpenPGP.
    Pgp,
    /// A workbook of a spreadsheet program.
    Spreadsheet,
    /// `.google_authenticator` of a user.
    GoogleAuthenticator,
    /// The users file of pam_oath.
    UsersFile,
    /// XML that is no PSKC.
    Xml,
}

impl Foreign {
    pub(super) fn diagnostic(self) -> Diagnostic {
        let unknown = |problem: &str| Diagnostic::error(Code::TokenFileUnknownFormat, problem);
        match self {
            Self::Zip => unknown("the file in the zip is a zip itself").advise("unpack the outer one first"),
            Self::Archive => unknown("the file is an archive and no zip").run_when(
                "to make a zip of the token file",
                Program::System,
                MAKE_ZIP,
            ),
            Self::Pgp => unknown("the file is encrypted or signed with OpenPGP").run_when(
                "to decrypt it",
                Program::System,
                "gpg --decrypt FILE",
            ),
            Self::Spreadsheet => unknown("the file is a workbook of a spreadsheet program")
                .advise("save the sheet as CSV in UTF-8"),
            Self::GoogleAuthenticator => unknown("the file is that of a user of google-authenticator")
                .run(Program::Ykmap, "import google-authenticator USER"),
            Self::UsersFile => {
                unknown("the file is the users file of pam_oath").run(Program::Ykmap, "import oath FILE")
            }
            Self::Xml => unknown("the XML is no PSKC: its first element is not KeyContainer")
                .advise("ask the sender for PSKC (RFC 6030) or CSV"),
        }
    }
}

/// More than is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The file, or the one in the zip.
    Bytes {
        /// How many are read.
        most: usize,
    },
    /// More than [`MAX_TOKENS`].
    Tokens,
    /// A line of text.
    Line,
    /// Files in a zip.
    Members,
    /// How far a file in a zip unpacks.
    Ratio,
    /// Elements of XML, within one another or in all.
    Elements,
    /// How often a password is hashed.
    Iterations {
        /// How often it may be.
        most: u32,
    },
}

impl Limit {
    pub(super) fn diagnostic(self) -> Diagnostic {
        let limit = |problem: String| Diagnostic::error(Code::TokenFileLimit, problem);
        match self {
            Self::Bytes { most } => limit(format!("the file has more than {most} bytes")).advise("split it"),
            Self::Tokens => limit(format!("the file has more than {MAX_TOKENS} tokens")).advise("split it"),
            Self::Line => limit(format!(
                "the line is longer than {MAX_LINE} bytes: the file is damaged, or no token file"
            )),
            Self::Members => limit("the zip holds too many files".to_owned())
                .advise("make a zip of the token file and nothing else"),
            Self::Ratio => limit("the file in the zip unpacks to far more than a token file does".to_owned())
                .advise("ask the sender for another file"),
            Self::Elements => limit("there are too many elements for one key".to_owned())
                .advise("ask the sender for another file"),
            Self::Iterations { most } => {
                limit(format!("the iteration count of the password is 0 or above {most}"))
                    .advise("ask the sender for another file")
            }
        }
    }
}

/// The zip around a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zip {
    /// A member was named, and the file is no zip.
    NotZip,
    /// Cut off or damaged.
    Damaged,
    /// Packed or encrypted by a method that is not read.
    Method,
    /// No file in it.
    NoMember,
    /// So many files, and none was named.
    SeveralMembers(usize),
    /// No file of the given name.
    MemberMissing,
}

impl Zip {
    pub(super) fn diagnostic(self) -> Diagnostic {
        let zip = |problem: String| Diagnostic::error(Code::TokenFileZip, problem);
        let names =
            |found: Diagnostic| found.run_when("to see their names", Program::System, "unzip -l FILE");
        match self {
            Self::NotZip => zip("the file is no zip".to_owned()).advise("leave out --member"),
            Self::Damaged => zip("the zip is cut off or damaged".to_owned()).advise("get the file once more"),
            Self::Method => {
                zip("the file in the zip is packed or encrypted by a method that is not supported".to_owned())
                    .run_when("to pack it again", Program::System, MAKE_ZIP)
            }
            Self::NoMember => zip("the zip holds no file".to_owned()),
            Self::SeveralMembers(count) => names(
                zip(format!("the zip holds {count} files")).advise("name the one to read (--member NAME)"),
            ),
            Self::MemberMissing => names(zip("the zip holds no file of this name".to_owned())),
        }
    }
}

/// The password or key of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// There is none, and a password is needed.
    PasswordNeeded,
    /// There is none, and a pre-shared key is needed.
    KeyNeeded,
    /// The pre-shared key is not the right number of hex digits.
    KeyNotHex {
        /// How many digits it has.
        digits: usize,
    },
    /// The password opens nothing. Or the file is damaged: no format tells the two apart.
    WrongPassword,
    /// The key opens nothing, likewise.
    WrongKey,
}

impl Locked {
    pub(super) fn diagnostic(self) -> Diagnostic {
        let needed = |problem: &str| Diagnostic::error(Code::TokenFilePasswordNeeded, problem);
        let wrong = |problem: String| Diagnostic::error(Code::TokenFilePasswordWrong, problem);
        match self {
            Self::PasswordNeeded => needed("the file is protected by a password")
                .advise("give the password at the terminal or in a file"),
            Self::KeyNeeded => needed("the file is protected by a pre-shared key")
                .advise("give the key, in hex, at the terminal or in a file"),
            Self::KeyNotHex { digits } => wrong(format!("the pre-shared key is not {digits} hex digits")),
            Self::WrongPassword => wrong("wrong password, or damaged file".to_owned()),
            Self::WrongKey => wrong("wrong key, or damaged file".to_owned()),
        }
    }
}
