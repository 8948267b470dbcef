//! What a backup has of a host, and how it is read from there.

use crate::{Context, Failure, files};
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use ykhost::Fault;
use ykhost::enrolled::ENROLLED;
use ykhost::file::{self, Audience, FileFault, Folder};
use ykhost::settings::{CONFIG, Settings};
use ykhost::store::{
    CLAIMS, CODE_KEYS, KEYS, KeyFile, NOTICES, POSITIONS, SavedPosition, State, Store, TokenKey,
};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::key::Fingerprint;
use yubiotp::seal::StoreKey;
use yubiotp::{Position, TokenId};
use zeroize::Zeroizing;

/// A configuration file, list or small file of the store: more is no text of ours.
const MOST: u64 = 512 << 20;

/// The contents of a backup, as they are sealed.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    /// The text of each key file, by the token.
    pub(crate) keys: Vec<(String, String)>,
    /// The positions, those of keys that were not there among them.
    pub(crate) positions: Vec<SavedState>,
    /// Everything else.
    pub(crate) files: Vec<SavedFile>,
}

/// One position.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedState {
    token: String,
    key: String,
    archived: bool,
    enabled: bool,
    restored: Option<u8>,
    position: Option<u64>,
    drift: i32,
}

/// What a file is to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// config.toml.
    Config,
    /// A mapping; with `%u` in its name there may be several.
    Mapping,
    /// The list of those who enrolled.
    Enrolled,
    /// The series that users may claim.
    Claims,
    /// The store keys under which recovery codes were made.
    CodeKeys,
    /// What a user has not seen.
    Notice,
}

/// One file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedFile {
    pub(crate) role: Role,
    /// Of config.toml and the mappings: the path. Otherwise the name in the store's folder of them.
    pub(crate) path: PathBuf,
    /// In base64: it has no escapes, so no copy of a secret is left where the text is read.
    contents: String,
}

impl SavedFile {
    fn new(role: Role, path: impl Into<PathBuf>, contents: &[u8]) -> Self {
        Self { role, path: path.into(), contents: BASE64.encode(contents) }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// They are not in base64.
    pub(crate) fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let bytes = BASE64.decode(self.contents.as_bytes());
        bytes.map(Zeroizing::new).map_err(|_| not_ours("a file in it is not in base64"))
    }
}

impl Drop for SavedFile {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.contents);
    }
}

/// The seal is whole, so another program than `ykmap` sealed it.
fn not_ours(why: &str) -> Failure {
    Diagnostic::error(Code::BackupDamaged, format!("the backup was not made by ykmap: {why}")).into()
}

impl Contents {
    /// More bytes than they take as JSON.
    pub(crate) fn most_bytes(&self) -> usize {
        let keys = self.keys.iter().map(|(id, text)| id.len().saturating_add(text.len().saturating_mul(2)));
        let files = self
            .files
            .iter()
            .map(|file| file.contents.len().saturating_add(file.path.as_os_str().len().saturating_mul(6)));
        let entries = keys.len().saturating_add(self.positions.len()).saturating_add(self.files.len());
        keys.chain(files).fold(entries.saturating_mul(300).saturating_add(300), usize::saturating_add)
    }

    /// The positions.
    ///
    /// # Errors
    /// One is no position.
    pub(crate) fn states(&self) -> Result<Vec<SavedPosition>, Failure> {
        self.positions.iter().map(|saved| saved.read().ok_or_else(|| not_ours("a position"))).collect()
    }

    /// Each key by the name of its token; `None` if it does not open. Each says which store key it was sealed under.
    pub(crate) fn open_keys(&self, key: &StoreKey) -> Vec<(&str, Option<TokenKey>)> {
        let open = |(id, text): &(String, String)| {
            let file = KeyFile::read(text.as_bytes(), &TokenId::of_file(id)?).ok()?;
            file.open(key).ok().filter(|_| file.under() == key.id())
        };
        self.keys.iter().map(|saved| (saved.0.as_str(), open(saved))).collect()
    }

    /// The files of this role.
    pub(crate) fn of(&self, role: Role) -> impl Iterator<Item = &SavedFile> {
        self.files.iter().filter(move |file| file.role == role)
    }
}

impl SavedState {
    fn new(saved: &SavedPosition) -> Self {
        let State { token, key, enabled, restored, position, drift } = saved.state;
        Self {
            token: token.to_string(),
            key: HEXLOWER.encode(&key.0),
            archived: saved.is_archived,
            enabled,
            restored,
            position: position.map(Position::to_stored),
            drift,
        }
    }

    fn read(&self) -> Option<SavedPosition> {
        let key = HEXLOWER.decode(self.key.as_bytes()).ok()?;
        let state = State {
            token: TokenId::of_file(&self.token)?,
            key: Fingerprint(key.try_into().ok()?),
            enabled: self.enabled,
            restored: self.restored,
            position: self.position.map(Position::from_stored),
            drift: self.drift,
        };
        Some(SavedPosition { state, is_archived: self.archived })
    }
}

/// What was read of a host.
pub(crate) struct Gathered {
    pub(crate) contents: Contents,
    /// Keys that the store key does not open: a restore cannot bring them back.
    pub(crate) unopened: Vec<TokenId>,
}

/// Reads a host. Logins go on; other changes of the store wait.
pub(crate) fn gather(context: &Context, settings: &Settings, store: &Store) -> Result<Gathered, Failure> {
    let mut contents = Contents::default();
    let config = context.config.as_deref().unwrap_or(Path::new(CONFIG));
    if let Some(text) = read(config, Audience::Everyone)? {
        contents.files.push(SavedFile::new(Role::Config, config, &text));
    }
    let change = store.change()?;
    for path in files::mappings(settings)? {
        if let Some(text) = read(&path, Audience::Everyone)? {
            contents.files.push(SavedFile::new(Role::Mapping, path, &text));
        }
    }
    if let Some(text) = ykhost::mapping::enrolled_text(settings)? {
        contents.files.push(SavedFile::new(Role::Enrolled, ENROLLED, &text));
    }
    if let Some(text) = read(&settings.store.join(CLAIMS), Audience::Owner)? {
        contents.files.push(SavedFile::new(Role::Claims, CLAIMS, &text));
    }
    if let Some(text) = read(&settings.store.join(POSITIONS).join(CODE_KEYS), Audience::Owner)? {
        contents.files.push(SavedFile::new(Role::CodeKeys, CODE_KEYS, &text));
    }
    let notices = settings.store.join(NOTICES);
    match Folder::open(&notices) {
        Err(FileFault::Missing(_)) => {}
        folder => {
            let folder = folder?;
            for name in folder.names()? {
                match folder.read(&name, MOST, Audience::Owner) {
                    Err(FileFault::Missing(_)) => {}
                    text => contents.files.push(SavedFile::new(Role::Notice, name, &text?)),
                }
            }
        }
    }
    let unopened = keys(settings, store, &mut contents)?;
    contents.positions = change.saved_positions()?.iter().map(SavedState::new).collect();
    Ok(Gathered { contents, unopened })
}

/// The key files as they are. One that is sealed under another key than the current one, and opens, is sealed anew.
fn keys(settings: &Settings, store: &Store, contents: &mut Contents) -> Result<Vec<TokenId>, Failure> {
    let (folder, key) = (Folder::open(&settings.store.join(KEYS))?, store.store_key()?);
    let mut unopened = Vec::new();
    let (tokens, _) = store.tokens()?;
    for token in tokens {
        let name = token.to_string();
        let mut text = match folder.read(&name, MOST, Audience::Owner) {
            Err(FileFault::Missing(_)) => continue,
            text => text?,
        };
        let file = store.key_file(&token);
        match store.token_key(&token) {
            Ok(opened) if file.as_ref().is_ok_and(|file| file.under() != key.id()) => {
                text = opened.write(&key, ykhost::random::bytes()?).into_bytes();
            }
            Ok(_) => {}
            Err(Fault::NoKey { .. }) => continue,
            Err(_) => unopened.push(token),
        }
        let text = String::from_utf8(text).unwrap_or_default();
        contents.keys.push((name, text));
    }
    Ok(unopened)
}

fn read(path: &Path, audience: Audience) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    match file::read(path, MOST, audience) {
        Err(FileFault::Missing(missing)) if missing == path => Ok(None),
        // A file that holds an API key may only be read by root.
        Err(FileFault::Missing(missing)) if path.starts_with(&missing) => Ok(None),
        text => Ok(Some(Zeroizing::new(text?))),
    }
}
