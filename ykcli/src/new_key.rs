//! The verb `key new` of every command: a random credential, and the commands that program it into a YubiKey.

use crate::out;
use clap::ValueHint;
use data_encoding::HEXLOWER;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Code, Diagnostic, Location, cause};
use yubiotp::{AesKey, Credential, PrivateId, PublicId};
use zeroize::Zeroizing;

/// The arguments of the verb.
#[derive(clap::Args)]
pub struct Args {
    /// Public ID of the token [default: vv and ten random characters]
    #[arg(long, value_name = "ID", value_parser = parse_id, value_hint = ValueHint::Other)]
    id: Option<PublicId>,
    /// Write the commands, which hold the secrets, to this new file with mode 0600, and print none of them
    #[arg(long, value_name = "FILE", value_parser = parse_file, value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
}

fn parse_id(text: &str) -> Result<PublicId, String> {
    PublicId::parse(text.as_bytes()).map_err(|why| why.to_string())
}

fn parse_file(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => Err("leave --file out to print the commands".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

/// Bytes that [`Args::draw`] needs: five of the public ID, six of the private ID, sixteen of the AES key.
pub const RANDOM: usize = 27;

/// The next question once slot 2 is programmed.
const SLOTS: &str = "Slot 2 types at a touch of two seconds; slot 1 keeps what the factory programmed. To swap the \
                     two:\n\n  ykman otp swap              or: ykpersonalize -x";

/// A new key. Its file, if there is one, goes away again unless the key is [shown](Self::show).
pub struct NewKey {
    id: PublicId,
    private_id: Zeroizing<String>,
    aes_key: Zeroizing<String>,
    file: Option<NewFile>,
}

impl Args {
    /// The public ID, if one was chosen.
    #[must_use]
    pub const fn id(&self) -> Option<PublicId> {
        self.id
    }

    /// Makes a key of random bytes, and writes the file with its commands, before anything is stored: a key whose secrets
    /// were lost could never be programmed.
    ///
    /// # Errors
    /// The file exists, or cannot be written.
    pub fn draw(&self, random: &[u8; RANDOM]) -> Result<(NewKey, Credential), Diagnostic> {
        let [a, b, c, d, e, secrets @ ..] = random;
        let [p0, p1, p2, p3, p4, p5, aes @ ..] = secrets;
        let id = match self.id {
            Some(id) => id,
            // No factory programs IDs that begin with hex ff.
            None => PublicId::from_bytes(&[0xff, *a, *b, *c, *d, *e])
                .ok_or_else(|| Diagnostic::error(Code::InternalError, "no public ID"))?,
        };
        let credential = Credential {
            private_id: PrivateId::new([*p0, *p1, *p2, *p3, *p4, *p5]),
            aes_key: AesKey::new(*aes),
        };
        let hex = |bytes: &[u8]| Zeroizing::new(HEXLOWER.encode(bytes));
        let (private_id, aes_key) = (hex(credential.private_id.expose()), hex(credential.aes_key.expose()));
        let file = self.file.as_deref().map(|path| {
            let head = format!(
                "# Programs token {id} into slot 2, with one of these commands. Remove this file afterwards.\n"
            );
            let commands = commands(&id, &private_id, &aes_key);
            NewFile::create(path, &[head.as_bytes(), commands.as_bytes()])
        });
        let file = file.transpose()?;
        Ok((NewKey { id, private_id, aes_key, file }, credential))
    }
}

impl NewKey {
    /// Its public ID.
    #[must_use]
    pub const fn id(&self) -> PublicId {
        self.id
    }

    /// Prints the commands, or the path of the file, which stays. Call it once the key is stored. `then` is the next command, if it
    /// is to be shown.
    pub fn show(self, as_json: bool, then: Option<&str>) {
        let Self { id, private_id, aes_key, file } = self;
        let commands = commands(&id, &private_id, &aes_key);
        let one = if id.as_bytes().is_empty() {
            "this command, which holds"
        } else {
            "one of these commands, which hold"
        };
        let how = match file {
            Some(file) => {
                let path = file.keep();
                if as_json {
                    out::json(&json!({ "id": id.to_string(), "file": path }));
                    return;
                }
                format!(
                    "Program slot 2 of the YubiKey with {one} its secrets, and then remove the file:\n\n  {}\n",
                    path.display()
                )
            }
            None if as_json => {
                out::json(&json!({ "id": id.to_string(), "private_id": *private_id, "aes_key": *aes_key }));
                return;
            }
            None => {
                let shown: String = commands.lines().map(|line| format!("  {line}\n")).collect();
                format!(
                    "Program slot 2 of the YubiKey with {one} its secrets. They stay on the screen and in the history of the \
                     shell, and other users of this host can see them in ps while the command runs: clear the screen and the \
                     history afterwards, or use --file FILE on a host that nobody else uses.\n\n{shown}"
                )
            }
        };
        out::paragraphs(&Zeroizing::new(format!(
            "created a key for token {id}, and stored it\n\n{how}\n{SLOTS}{}",
            after(then)
        )));
    }

    /// Says that a YubiKey was programmed with it, without its secrets. `then` is the next command, if it is to be
    /// shown.
    pub fn show_programmed(self, as_json: bool, then: Option<&str>) {
        let id = self.id;
        if as_json {
            out::json(&json!({ "id": id.to_string() }));
        } else {
            out::paragraphs(&format!(
                "programmed slot 2 of the YubiKey with token {id}, and stored its key\n\n{SLOTS}{}",
                after(then)
            ));
        }
    }
}

/// The end of a text, with the next command.
fn after(then: Option<&str>) -> String {
    then.map_or_else(String::new, |then| format!("\n\nThen:\n\n  {then}"))
}

/// The commands of two programs. ykman cannot program a token without a public ID.
fn commands(id: &PublicId, private_id: &str, aes_key: &str) -> Zeroizing<String> {
    let named = !id.as_bytes().is_empty();
    let fixed = if named { id.to_string() } else { String::new() };
    let mut text = Zeroizing::new(String::with_capacity(512));
    if named {
        text.push_str("ykman otp yubiotp --public-id ");
        text.push_str(&fixed);
        text.push_str(" --private-id ");
        text.push_str(private_id);
        text.push_str(" --key ");
        text.push_str(aes_key);
        text.push_str(" 2\n\n");
    }
    text.push_str("ykpersonalize -2 -ofixed=");
    text.push_str(&fixed);
    text.push_str(" -ouid=");
    text.push_str(private_id);
    text.push_str(" -a");
    text.push_str(aes_key);
    text.push_str(" \\\n  -o-static-ticket -o-strong-pw1 -o-strong-pw2 -o-man-update -oappend-cr\n");
    text
}

/// A new file that only its owner may read. Removed when dropped, unless it is kept.
pub(crate) struct NewFile {
    path: PathBuf,
    is_kept: bool,
}

impl NewFile {
    /// Writes everything, durably. The file must not exist, so that nothing is lost and no link is followed.
    pub(crate) fn create(path: &Path, parts: &[&[u8]]) -> Result<Self, Diagnostic> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.map_err(|why| unwritten(path, "create", &why))?;
        let new = Self { path: path.to_owned(), is_kept: false };
        let written = parts.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all());
        written.and_then(|()| sync_folder(path)).map_err(|why| unwritten(path, "write", &why))?;
        Ok(new)
    }

    pub(crate) fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        self.path.clone()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes the name of a new file durable.
#[expect(
    clippy::disallowed_methods,
    reason = "a folder that the administrator names, opened only to be synced"
)]
fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn unwritten(path: &Path, doing: &str, why: &Error) -> Diagnostic {
    let found = match why.kind() {
        ErrorKind::AlreadyExists => {
            Diagnostic::error(Code::FileExists, "exists").advise("name a file that does not")
        }
        _ => Diagnostic::error(Code::FileInaccessible, format!("cannot {doing} it: {}", cause(why))),
    };
    found.at(Location::file(path.as_os_str().as_bytes()))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test reads what it made")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn args(file: Option<PathBuf>) -> Args {
        Args { id: None, file }
    }

    #[test]
    fn a_key_is_made_of_all_the_random_bytes() {
        let mut random = [0; RANDOM];
        (0..).zip(&mut random).for_each(|(number, byte)| *byte = number);
        let (key, credential) = args(None).draw(&random).unwrap();
        assert_eq!(key.id().as_bytes(), [0xff, 0, 1, 2, 3, 4]);
        assert_eq!(credential.private_id.expose(), &random[5..11]);
        assert_eq!(credential.aes_key.expose(), &random[11..]);
        let commands = commands(&key.id, &key.private_id, &key.aes_key);
        let ykman = "ykman otp yubiotp --public-id vvcccbcdcecf --private-id 05060708090a \
                     --key 0b0c0d0e0f101112131415161718191a 2";
        assert_eq!(commands.lines().next(), Some(ykman));
    }

    #[test]
    fn a_file_is_new_and_private_and_goes_away_unless_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        let key = args(Some(path.clone())).draw(&[7; RANDOM]).unwrap().0;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        drop(key);
        assert!(!path.exists(), "no key was stored, so there is nothing to program");
        let key = args(Some(path.clone())).draw(&[7; RANDOM]).unwrap().0;
        key.show(true, None);
        assert!(std::fs::read_to_string(&path).unwrap().contains("ykpersonalize -2"));
        let again = args(Some(path)).draw(&[7; RANDOM]).err().unwrap();
        assert_eq!(again.code, Code::FileExists);
        assert!(parse_file("-").is_err());
    }
}
