//! A backup as a file: a header in plain text, and the contents sealed under a key that is derived from the store key.

use super::contents::Contents;
use crate::Failure;
use data_encoding::{BASE64, HEXLOWER};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use ykcli::time;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};
use yubiotp::seal::{StoreKey, StoreKeyId};
use zeroize::Zeroizing;

const HEAD: &str = "# pam_yubiotp backup, version ";
const REST: &str = ". Sealed under the store key of this host, which is not in it; made by ykmap.\n";
/// The longest file that is read, in bytes: a million tokens.
pub(crate) const LONGEST: u64 = 2 << 30;

/// What is said in plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The name of the host.
    pub(crate) host: String,
    /// When it was made, in seconds since 1970.
    pub(crate) made: u64,
    /// The ID of the store key that opens it.
    pub(crate) store_key: StoreKeyId,
}

impl Header {
    fn text(&self) -> String {
        format!(
            "{HEAD}1{REST}host: {}\nmade: {} ({} UTC)\nstore-key: {}\n",
            self.host,
            self.made,
            time::utc(self.made),
            self.store_key
        )
    }
}

/// A backup as read, still sealed.
pub(crate) struct SealedBackup<'f> {
    /// Its header, which the seal binds.
    pub(crate) header: Header,
    text: &'f str,
    sealed: &'f str,
}

/// The text of a backup. `nonce` must be fresh from the system's random source.
pub(crate) fn write(
    header: &Header,
    contents: &Contents,
    key: &StoreKey,
    nonce: [u8; 24],
) -> Result<String, Failure> {
    let mut plain = Zeroizing::new(Vec::with_capacity(contents.most_bytes()));
    serde_json::to_writer(&mut *plain, contents)
        .map_err(|why| Failure::input(format!("the contents cannot be written: {why}")))?;
    let text = header.text();
    let sealed = key.seal_backup(&plain, text.as_bytes(), nonce);
    Ok(format!("{text}sealed: {}\n", BASE64.encode(&sealed)))
}

/// Whether a file begins as a backup does, of whatever version.
pub(crate) fn is_backup(file: &[u8]) -> bool {
    file.starts_with(HEAD.as_bytes())
}

impl<'f> SealedBackup<'f> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no backup, is damaged, or was made by a later version.
    pub(crate) fn read(file: &'f [u8], path: &Path) -> Result<Self, Failure> {
        let version = str::from_utf8(file.get(..HEAD.len().saturating_add(12)).unwrap_or(file))
            .ok()
            .and_then(|head| head.strip_prefix(HEAD)?.split('.').next()?.parse::<u32>().ok());
        if let Some(later) = version.filter(|version| *version > 1) {
            let problem = format!("was made by a later version of ykmap (format {later})");
            let found = Diagnostic::error(Code::BackupLaterVersion, problem).at(place(path));
            return Err(found
                .advise("install that version of pam_yubiotp, and run the command again")
                .into());
        }
        Self::parse(file)
            .ok_or_else(|| damaged(path, "is no backup of ykmap, or was changed or cut off").into())
    }

    fn parse(file: &'f [u8]) -> Option<Self> {
        let file = str::from_utf8(file).ok()?.strip_suffix('\n')?;
        let at = file.rfind("\nsealed: ")?;
        let (text, sealed) = (file.get(..=at)?, file.get(at..)?.strip_prefix("\nsealed: ")?);
        let mut lines = text.lines().skip(1);
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(": ");
        let host = field("host")?.to_owned();
        let made = field("made")?.split_once(' ')?.0.parse().ok()?;
        let id = HEXLOWER.decode(field("store-key")?.as_bytes()).ok()?;
        let header = Header { host, made, store_key: StoreKeyId(id.try_into().ok()?) };
        // There is one way to write it.
        (header.text() == text).then_some(Self { header, text, sealed })
    }

    /// The contents.
    ///
    /// # Errors
    /// The store key is another one, or the file was changed or cut off.
    pub(crate) fn open(&self, key: &StoreKey, path: &Path, key_path: &Path) -> Result<Contents, Failure> {
        if key.id() != self.header.store_key {
            let found = Diagnostic::error(
                Code::BackupOtherStoreKey,
                format!(
                    "needs store key {}, and {} has store key {}",
                    self.header.store_key,
                    key_path.display(),
                    key.id()
                ),
            );
            return Err(found
                .at(place(path))
                .advise("if this host still has its tokens, you need no restore: make a new backup")
                .run_when(
                    "otherwise keep a copy of its store key first, because tokens of now open only under it",
                    Program::System,
                    format!("cp -p {0} {0}.kept", shell_word(key_path.as_os_str().as_encoded_bytes())),
                )
                .advise(format!(
                    "then copy the store key that you kept apart to {} (owner root, mode 0600), and run the command again",
                    key_path.display()
                ))
                .into());
        }
        let sealed = BASE64.decode(self.sealed.as_bytes()).ok();
        let opened = sealed.and_then(|sealed| key.open_backup(&sealed, self.text.as_bytes()).ok());
        let Some(opened) = opened else {
            return Err(damaged(path, "was changed or cut off").into());
        };
        serde_json::from_slice(&opened).map_err(|why| {
            damaged(path, &format!("cannot be read: {}", why.to_string().replace('\n', " "))).into()
        })
    }
}

fn damaged(path: &Path, problem: &str) -> Diagnostic {
    Diagnostic::error(Code::BackupDamaged, problem)
        .at(place(path))
        .advise("take another copy of it, or an earlier backup")
        .run_when("to see whether a file opens", Program::Ykmap, "backup --check FILE")
}

fn place(path: &Path) -> Location {
    Location::file(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header { host: "web1".into(), made: 1_796_000_000, store_key: StoreKey::new([7; 32]).id() }
    }

    fn file() -> String {
        let contents = Contents { keys: vec![("vvcb".into(), "a key\n".into())], ..Contents::default() };
        write(&header(), &contents, &StoreKey::new([7; 32]), [1; 24]).ok().unwrap()
    }

    fn open(file: &[u8], key: u8) -> Result<Contents, Code> {
        let path = Path::new("/b");
        let code = |failure: Failure| failure.diagnostic().unwrap().code;
        let backup = SealedBackup::read(file, path).map_err(code)?;
        backup.open(&StoreKey::new([key; 32]), path, Path::new("/k")).map_err(code)
    }

    #[test]
    fn the_file_as_documented() {
        let file = file();
        assert!(
            file.starts_with(
                "# pam_yubiotp backup, version 1. Sealed under the store key of this host, which is not in it; made by ykmap.\n\
                 host: web1\nmade: 1796000000 (2026-11-30 00:53 UTC)\nstore-key: "
            ),
            "{file}"
        );
        assert_eq!(open(file.as_bytes(), 7).unwrap().keys[0].0, "vvcb");
        assert_eq!(open(file.as_bytes(), 8).err(), Some(Code::BackupOtherStoreKey));
        let later = file.replacen("version 1", "version 2", 1);
        assert_eq!(open(later.as_bytes(), 7).err(), Some(Code::BackupLaterVersion));
        let other_host = file.replacen("web1", "web2", 1);
        assert_eq!(open(other_host.as_bytes(), 7).err(), Some(Code::BackupDamaged));
    }

    proptest! {
        /// Whatever is read, nothing panics, and only what was written opens.
        #[test]
        fn what_was_changed_does_not_open(at: prop::sample::Index, byte: u8, cut: prop::sample::Index, any: Vec<u8>) {
            let whole = file().into_bytes();
            let mut changed = whole.clone();
            *at.get_mut(&mut changed) = byte;
            prop_assert_eq!(open(&changed, 7).is_ok(), changed == whole);
            prop_assert!(open(&whole[..cut.index(whole.len())], 7).is_err());
            prop_assert!(open(&any, 7).is_err());
        }
    }
}
