//! A [`Fault`] as a finding for the administrator: code, place, problem and remedies.

use super::Fault;
use crate::enrolled::ENROLLED;
use crate::file::FileFault;
use std::fmt::{self, Display, Formatter};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use yubiotp::TokenId;
use yubiotp::ask::Obstacle;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, cause};
use yubiotp::policy::Doubt;
use yubiotp::shown;

const DOES_NOT_EXIST: &str = "does not exist";

impl Fault {
    /// The fault as a finding: an error, with the file it is about and what to do.
    pub fn diagnostic(&self) -> Diagnostic {
        let found = |code, path: &Path, problem: &str| Diagnostic::error(code, problem).at(file(path));
        match self {
            Self::File(fault) => fault.diagnostic(),
            Self::Setting { setting, fault } => {
                let mut diagnostic = fault.diagnostic();
                diagnostic.location = Some(Location::file_of(setting, fault.path().as_os_str().as_bytes()));
                diagnostic
            }
            Self::Group { group, fault } => {
                let mut diagnostic = fault.diagnostic();
                let group = shown::text(group);
                diagnostic.problem =
                    format!("{}, and [groups] takes the users of {group} from it", diagnostic.problem);
                diagnostic
            }
            Self::Policy { path, doubt } => {
                let Doubt { setting, subject } = doubt;
                let subject = shown::text(&subject.to_string()).to_string();
                let problem = format!("{setting} names {subject}, which may mean this user in another spelling");
                let other = if *setting == "require" { "require or exempt" } else { "an item of methods_for" };
                found(Code::PolicyOtherSpelling, path, &problem)
                    .advise("if it does, write the name that the login uses (user= in the log)")
                    .advise(format!("if not, name the user in that spelling in {other}"))
            }
            Self::Settings { found, .. } => (**found).clone(),
            Self::NoSettings { path } => found(Code::ConfigMissing, path, DOES_NOT_EXIST)
                .advise("check the spelling of config= in pam.d, or of --config")
                .run_when("to create a configuration file", Program::Ykmap, "init"),
            Self::NoMapping { path } => found(Code::MappingMissing, path, DOES_NOT_EXIST)
                .advise("restore the mapping from a backup; a new one lists nobody, so everyone is rejected, or excused with nullok")
                .run_when("to create one", Program::Ykmap, "init"),
            Self::NoEnrolled { path } => found(Code::EnrolledMissing, path, "does not exist any more: who enrolled on this host is not known")
                .advise("restore it from a backup")
                .run_when("if there is none, to begin a list of nobody, whose users need a token again", Program::Ykmap, "init"),
            Self::NoStoreKey { path } => found(Code::StoreKeyMissing, path, DOES_NOT_EXIST)
                .advise("restore your copy of the store key")
                .run_when("for a new store", Program::Ykmap, "init"),
            Self::NoStore { path } => found(Code::StoreMissing, path, DOES_NOT_EXIST)
                .run_when("if no token was used on this host yet", Program::Ykmap, "init")
                .run_when("if the store was lost", Program::Ykmap, "init")
                .run_when("then", Program::Ykmap, "key import --used FILE")
                .run_when("then, for each token", Program::Ykmap, "token resync ID"),
            Self::NoPositions { path } => found(Code::PositionsMissing, path, DOES_NOT_EXIST)
                .run(Program::Ykmap, "init")
                .run_when("then, for each token, with two touches of the YubiKey", Program::Ykmap, "key adopt ID"),
            Self::UserInPath { template } => {
                Diagnostic::error(Code::UserNameInPath, "the user's name cannot be part of a path")
                    .at(file(Path::new(template)))
            }
            Self::Mapping { path, line, why } => why.at(path.as_os_str().as_bytes(), *line),
            Self::OtherFile { path } => {
                found(Code::MappingOtherSpelling, path, "may belong to this user in another spelling")
                    .advise("if it does, rename it to the name that the login uses (user= in the log)")
                    .advise("if not, add a file for that name")
            }
            Self::NotPlain { path } => found(
                Code::MappingNameNotPlain,
                path,
                "does not list the user, and only names of plain ASCII without blanks are excused",
            )
            .advise("list the user in this spelling, with or without a token"),
            Self::NoKey { path, token } => {
                if let Some(serial) = token.yubikey().and_then(|id| id.factory_serial()) {
                    let problem = format!(
                        "the store has no key for token {token}, the factory slot of YubiKey {serial}: only Yubico has that key"
                    );
                    return found(Code::KeyMissing, path, &problem)
                        .advise("touch for two seconds to use slot 2")
                        .run_when("to program slot 2 first", Program::Ykmap, "key new");
                }
                if token.yubikey().is_none() {
                    let problem = format!("the mapping lists {token}, and the store does not have it");
                    return found(Code::KeyMissing, path, &problem)
                        .advise("copy the file from where the token was set up, with its position")
                        .run_when("if the token is not needed", Program::Ykmap, format!("remove USER {token}"));
                }
                found(Code::KeyMissing, path, &format!("the store has no key for token {token}"))
                    .run_when("if the token was used on this host", Program::Ykmap, "key import --used FILE")
                    .run_when("if it never was", Program::Ykmap, "key import FILE")
                    .advise("if the public ID is wrong, fix it in the mapping")
            }
            Self::Guesses { path } => found(Code::GuessesDamaged, path, "is not as ykmap writes it: the file is damaged or was edited")
                .run(Program::Ykmap, "unlock USER"),
            Self::Notices { path } => found(Code::NoticesDamaged, path, "is not as ykmap writes it: the file is damaged or was edited")
                .advise("remove it"),
            Self::Key { path, why } => found(Code::KeyDamaged, path, &why.to_string())
                .advise("restore the file from a backup, or import the key again"),
            Self::StoreKey { path, why } => found(Code::StoreKeyDamaged, path, &why.to_string())
                .advise("restore your copy")
                .advise("without one, remove the file")
                .run_when("then, for a new store key", Program::Ykmap, "init")
                .advise("then import every key again"),
            Self::OtherStoreKey { path, under, store_key, id } => found(
                Code::KeySealedElsewhere,
                path,
                &format!("is sealed under store key {under}, and {} is store key {id}", store_key.display()),
            )
            .advise("restore that store key, or import the key again"),
            Self::BrokenSeal { path } => found(
                Code::KeySealBroken,
                path,
                "does not open under the store key that it names: it was changed, or belongs to another token",
            )
            .advise("import the key again"),
            Self::NoPosition { path, token } => {
                let what = if token.yubikey().is_some() { "OTPs" } else { "codes" };
                let problem = format!(
                    "the position of token {token} is missing, so nobody knows which of its {what} were used on this host"
                );
                let found = found(Code::PositionMissing, path, &problem);
                match token {
                    TokenId::YubiKey(_) => found.run_when(
                        "to record it with two touches of the YubiKey",
                        Program::Ykmap,
                        format!("key adopt {token}"),
                    ),
                    TokenId::Oath(_) => found.run_when(
                        "to record it with two successive codes",
                        Program::Ykmap,
                        format!("token resync {token}"),
                    ),
                    TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => {
                        found.run_when("to make new codes", Program::Ykmap, "recovery new USER")
                    }
                }
            }
            Self::OtherKeysPosition { path, token } => found(
                Code::PositionOfOtherKey,
                path,
                &format!("belongs to another key than keys/{token}"),
            )
            .run_when(
                "if that key was not imported but copied here, record its position with two touches of the YubiKey",
                Program::Ykmap,
                format!("key adopt {token}"),
            ),
            Self::KeyIsHere { path, token } => found(
                Code::KeyIsHere,
                path,
                &format!("token {token} has a key here now, so this host decides about it, not a validation server"),
            )
            .advise("try again"),
            Self::Position { path, why } => {
                let is_yubikey = token_of(path).is_none_or(|token| token.yubikey().is_some());
                let token = token_of(path).map_or_else(|| "ID".to_owned(), |token| token.to_string());
                let (what, when) = if is_yubikey {
                    ("OTPs", "if the YubiKey is here, record its position with two touches")
                } else {
                    ("codes", "if the token is here, record its position with two successive codes")
                };
                let problem = format!("{why}, so nobody can tell which {what} of the token were used");
                found(Code::PositionDamaged, path, &problem)
                    .run_when(when, Program::Ykmap, format!("token resync {token}"))
                    .run_when(
                        "if not, take it from its user, and assign another",
                        Program::Ykmap,
                        format!("remove USER {token}"),
                    )
            }
            Self::FalsePosition { path, token, said, stored } => {
                let stored = stored.map_or_else(|| "none".to_owned(), |stored| stored.to_string());
                let problem = format!(
                    "a validation server reports position {said} for token {token}, and this host has {stored}: too far apart for one answer, so nothing was changed"
                );
                found(Code::PositionImplausible, path, &problem)
                    .run_when("if the YubiKey is here", Program::Ykmap, format!("token resync {token}"))
                    .advise("if not, ask the administrator of the server")
            }
            Self::EmptyMapping { path } if path.ends_with(ENROLLED) => {
                found(Code::MappingEmpty, path, "is empty: a list of tokens has at least a comment")
                    .advise("restore it from a backup")
                    .advise("only if nobody enrolled on this host, remove it")
            }
            Self::EmptyMapping { path } => {
                found(Code::MappingEmpty, path, "is empty: a mapping has at least a comment")
                    .advise("restore it from a backup; replace it only by renaming a new file over it, as ykmap does")
                    .run_when("to create one", Program::Ykmap, "init")
            }
            Self::ClientKey { path, why } => found(Code::ClientKeyInvalid, path, &why.to_string()),
            Self::NoServers => Diagnostic::error(Code::NoServers, "no validation server is configured")
                .advise("set urls in [online] of config.toml, or urllist= in pam.d"),
            Self::NoProgram { path } => found(Code::AskProgramMissing, path, DOES_NOT_EXIST)
                .advise("install it with the module (make install), or set ask in [online] of config.toml to its path"),
            Self::Program { path, why } => found(Code::AskProgramFailed, path, why),
            Self::NoEnrollProgram { path } => found(Code::EnrollProgramMissing, path, DOES_NOT_EXIST)
                .advise("install it with the module (make install), or set program in [enroll] of config.toml to its path"),
            Self::EnrollProgram { path, why } => found(Code::EnrollProgramFailed, path, why),
            Self::CannotAsk { kind, why } => {
                obstacle(*kind, Diagnostic::error(kind.code(), format!("validation servers cannot be asked: {why}")))
            }
            Self::Undecided { trail, .. } => {
                Diagnostic::error(Code::Undecided, format!("no validation server decided: {trail}"))
            }
            Self::Withheld { trail, .. } => Diagnostic::error(
                Code::UndecidedWithheld,
                format!("a validation server answered without deciding, so this host does not decide: {trail}"),
            ),
            Self::FileSizeLimit { path } => {
                found(Code::FileSizeLimit, path, "this process may not write files of that length (ulimit -f)")
                    .advise("raise the limit for the service, or for the user who starts it")
            }
        }
    }
}

/// The remedy for each obstacle. Its file is named in the problem, never in a command: the text comes from
/// `yubiotp-ask`, which an attacker may have compromised.
fn obstacle(kind: Obstacle, found: Diagnostic) -> Diagnostic {
    let system = |found: Diagnostic, command: &str| found.run(Program::System, command);
    let convert = |found, command: &str| system(found, command).advise("name NEW in place of FILE");
    match kind {
        // Other programs may need the file as it is.
        Obstacle::FileReadable | Obstacle::FileWritable | Obstacle::FileOwner => found.advise(
            "leave the file as it is, and name a copy in /etc/yubiotp that belongs to root and that only root can read",
        ),
        Obstacle::FileChanging => found.advise("try again"),
        Obstacle::DerCertificate => convert(found, "openssl x509 -inform der -in FILE -out NEW"),
        Obstacle::DerKey => convert(found, "openssl pkey -inform der -in FILE -out NEW"),
        Obstacle::Pkcs12 => convert(found, "openssl pkcs12 -in FILE -nodes -out NEW"),
        Obstacle::KeyEncryption => convert(found, "openssl pkcs8 -topk8 -in FILE -out NEW"),
        Obstacle::NoPassphrase => {
            found.advise("name a file with the passphrase in client_key_passphrase_file, below [online]")
        }
        Obstacle::KeyType => {
            found.advise("use a key of RSA (2048 to 4096 bits), ECDSA (P-256 or P-384) or Ed25519")
        }
        Obstacle::IdentityParts => {
            found.advise("set both client_cert and client_key, or none of the client_* settings")
        }
        Obstacle::NoAuthorities => found.advise(
            "install the certificate authorities of the system (ca-certificates), or set ca below [online]",
        ),
        Obstacle::Protocol => found.advise("install the module and yubiotp-ask of one version"),
        Obstacle::Limit => found.advise(
            "raise the limits of the service, or of the process that starts it, or free memory and processes",
        ),
        Obstacle::File | Obstacle::Other => found,
    }
}

impl FileFault {
    /// The fault as a finding: an error, with the file it is about and what to do.
    pub fn diagnostic(&self) -> Diagnostic {
        let found = |code, problem: String| Diagnostic::error(code, problem).at(file(self.path()));
        match self {
            Self::Missing(_) => found(Code::FileMissing, DOES_NOT_EXIST.to_owned()),
            Self::NotAbsolute(_) => found(Code::PathNotAbsolute, "is not an absolute path".to_owned())
                .advise("write the whole path, beginning with /"),
            Self::NotUtf8(_) => found(Code::PathNotUtf8, "the name is not UTF-8".to_owned()),
            Self::Link(_) => {
                found(Code::FileIsLink, "is a symbolic link, which is not followed here".to_owned())
                    .advise("put the file itself in its place, or name it in the configuration")
            }
            Self::Kind { found: is, wanted, .. } => {
                found(Code::FileOfWrongKind, format!("is {is}, where {wanted} should be"))
            }
            Self::Owner { path, folder, owner, me } => {
                let mut diagnostic = found(Code::FileOfOtherOwner, format!("belongs to uid {owner}"));
                diagnostic.remedies.push(crate::file::advice::owner(path, *folder, *me));
                diagnostic
            }
            Self::Writable { path, folder, mode } => {
                let mut diagnostic = found(
                    Code::FileWritableByOthers,
                    format!("group or others may write to it (mode {mode:04o})"),
                );
                diagnostic.remedies.push(crate::file::advice::writable(path, *folder));
                diagnostic
            }
            Self::Readable { path, mode } => {
                let mut diagnostic = found(
                    Code::FileReadableByOthers,
                    format!("group or others may read it, and only its owner should (mode {mode:04o})"),
                );
                diagnostic.remedies.push(crate::file::advice::readable(path));
                diagnostic
            }
            Self::TooLarge { limit, .. } => {
                found(Code::FileTooLarge, format!("is longer than {limit} bytes"))
            }
            Self::Locked { waited, .. } => found(
                Code::FileLocked,
                format!("another process has held its lock for more than {} s", waited.as_secs()),
            )
            .run_when("to see which", Program::System, "lslocks"),
            Self::System { doing, why, .. } => {
                found(Code::FileInaccessible, format!("cannot {doing}: {}", cause(why)))
            }
        }
    }
}

/// In one line, with remedies: for logs.
impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.diagnostic().fmt(f)
    }
}

/// In one line, with remedies: for logs.
impl Display for FileFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.diagnostic().fmt(f)
    }
}

impl std::error::Error for Fault {}
impl std::error::Error for FileFault {}

impl From<Fault> for Diagnostic {
    fn from(fault: Fault) -> Self {
        fault.diagnostic()
    }
}

impl From<FileFault> for Diagnostic {
    fn from(fault: FileFault) -> Self {
        fault.diagnostic()
    }
}

impl From<FileFault> for Fault {
    fn from(fault: FileFault) -> Self {
        Self::File(fault)
    }
}

/// The token whose position file this is, by its name: `ID`, or `ID.KEY` for a position that is archived.
fn token_of(path: &Path) -> Option<TokenId> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    TokenId::of_file(name.split('.').next().unwrap_or_default())
}

fn file(path: &Path) -> Location {
    Location::file(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program says what is wrong, and its kind has the remedy.
    #[test]
    fn obstacles_have_remedies() {
        for kind in Obstacle::ALL {
            let found = Fault::CannotAsk { kind, why: "FILE: why".to_owned() }.diagnostic();
            assert_eq!(found.code, kind.code());
            let says_all = matches!(kind, Obstacle::File | Obstacle::Other);
            assert_eq!(found.remedies.is_empty(), says_all, "{kind:?}");
        }
    }
}
