//! `config.toml`, and what module arguments and command options put in its place.

mod online;
#[cfg(test)]
mod tests;

pub use online::{ASK, GivenOnline, Online};
pub(crate) use online::{check_client_id, parse_proxy, parse_urls};
pub use yubiotp::verdict::Mode;

use crate::Fault;
use crate::file::{Audience, FileFault, Folder, Folders};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use yubiotp::{PublicId, shown};
use zeroize::Zeroizing;

/// Where the settings are when nobody says otherwise.
pub const CONFIG: &str = "/etc/yubiotp/config.toml";
/// Where the mapping is when nobody says otherwise.
pub const MAPPING: &str = "/etc/yubiotp/authorized_yubikeys";
/// Where the store is when nobody says otherwise.
pub const STORE: &str = "/var/lib/yubiotp";
/// Where the store key is when nobody says otherwise.
pub const STORE_KEY: &str = "/etc/yubiotp/store.key";
/// The prompt when nobody says otherwise; `%u` stands for the user.
pub const PROMPT: &str = "YubiKey for %u: ";

/// Whether a settings file is one of each user's: whether `%u` is in its path.
#[must_use]
pub fn is_per_user(config: &Path) -> bool {
    config.to_string_lossy().contains("%u")
}

/// The settings file of `user`: `%u` in the path stands for the name, by the same rule as in the mapping's.
///
/// # Errors
/// The name would change the path, or is not UTF-8.
pub fn config_of(config: PathBuf, user: &[u8]) -> Result<PathBuf, Fault> {
    if !is_per_user(&config) {
        return Ok(config);
    }
    let template = config.to_string_lossy();
    match str::from_utf8(user) {
        Ok(user) => crate::mapping::path_of(&template, user),
        Err(_) => Err(Fault::UserInPath { template: template.into_owned() }),
    }
}

/// A mode by its name.
///
/// # Errors
/// Names the modes there are.
pub(crate) fn parse_mode(name: &str) -> Result<Mode, String> {
    let all = Mode::ALL.map(Mode::name).join(", ");
    match name {
        // pam_yubico's name for the same.
        "client" => Ok(Mode::Online),
        "challenge-response" => Err(format!("mode challenge-response is not supported; there are {all}")),
        _ => {
            let named = Mode::ALL.into_iter().find(|mode| mode.name() == name);
            named.ok_or_else(|| format!("unknown mode {}: there are {all}", shown::quoted(name)))
        }
    }
}

fn mode<'de, D: serde::Deserializer<'de>>(name: D) -> Result<Option<Mode>, D::Error> {
    let name = <String as serde::Deserialize>::deserialize(name)?;
    parse_mode(&name).map(Some).map_err(serde::de::Error::custom)
}

/// What one login needs to know. Every path is absolute.
pub struct Settings {
    /// Who decides about OTPs.
    pub mode: Mode,
    /// What is allowed and unwise, for the log.
    pub warnings: Vec<String>,
    /// Whom to ask, once [`Settings::prepare`] has seen to it.
    online: Option<Online>,
    /// What it is made of, until then.
    unprepared: Option<(GivenOnline, PathBuf)>,
    /// The mapping; `%u` stands for the user.
    pub mapping: String,
    /// The folder of the token store.
    pub store: PathBuf,
    /// The file of the store key.
    pub store_key: PathBuf,
    /// The prompt; `%u` stands for the user.
    pub prompt: String,
    /// Whether what is typed is shown.
    pub echo: bool,
    /// How often a user may try in one call, 1 to 10.
    pub tries: u8,
    /// Only public ids of so many modhex characters count, if given: 0 to 32, even.
    pub token_id_length: Option<u8>,
    /// How long to wait for another login of the same token.
    pub lock_wait: Duration,
    /// Whether each step is logged.
    pub debug: bool,
    /// What opens the mapping and the store.
    pub folders: Arc<Folders>,
}

/// What stands in `config.toml`, or in place of it.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Given {
    /// `mode`
    #[serde(deserialize_with = "mode")]
    pub mode: Option<Mode>,
    /// `mapping`
    pub mapping: Option<String>,
    /// `store`
    pub store: Option<PathBuf>,
    /// `store_key`
    pub store_key: Option<PathBuf>,
    /// `prompt`
    pub prompt: Option<String>,
    /// `echo`
    pub echo: Option<bool>,
    /// `tries`
    #[serde(deserialize_with = "tries")]
    pub tries: Option<u8>,
    /// `token_id_length`
    #[serde(deserialize_with = "token_id_length")]
    pub token_id_length: Option<u8>,
    /// `lock_wait`, in seconds
    #[serde(deserialize_with = "lock_wait")]
    pub lock_wait: Option<u8>,
    /// `debug`
    pub debug: Option<bool>,
    /// `[online]`
    pub online: Option<GivenOnline>,
}

fn tries<'de, D: serde::Deserializer<'de>>(number: D) -> Result<Option<u8>, D::Error> {
    within(number, check_tries)
}

fn token_id_length<'de, D: serde::Deserializer<'de>>(number: D) -> Result<Option<u8>, D::Error> {
    within(number, check_token_id_length)
}

fn lock_wait<'de, D: serde::Deserializer<'de>>(number: D) -> Result<Option<u8>, D::Error> {
    within(number, check_lock_wait)
}

impl Given {
    /// What is given here, else what is given in `other`.
    #[must_use]
    fn or(self, other: Self) -> Self {
        Self {
            mode: self.mode.or(other.mode),
            mapping: self.mapping.or(other.mapping),
            store: self.store.or(other.store),
            store_key: self.store_key.or(other.store_key),
            prompt: self.prompt.or(other.prompt),
            echo: self.echo.or(other.echo),
            tries: self.tries.or(other.tries),
            token_id_length: self.token_id_length.or(other.token_id_length),
            lock_wait: self.lock_wait.or(other.lock_wait),
            debug: self.debug.or(other.debug),
            online: match (self.online, other.online) {
                (Some(online), Some(other)) => Some(online.or(other)),
                (online, other) => online.or(other),
            },
        }
    }

    /// Relative paths are relative to the folder that the settings file is in, so that a folder that holds all of
    /// it can be moved.
    fn relative_to(mut self, folder: &Path) -> Self {
        self.mapping =
            self.mapping.map(|mapping| joined(folder, mapping.into()).to_string_lossy().into_owned());
        self.store = self.store.map(|path| joined(folder, path));
        self.store_key = self.store_key.map(|path| joined(folder, path));
        self.online = self.online.map(|online| online.relative_to(folder));
        self
    }
}

/// Collected again without the `.` in between, as people write paths.
fn joined(folder: &Path, path: PathBuf) -> PathBuf {
    folder.join(path).components().collect()
}

/// Whether a number of tries is one.
///
/// # Errors
/// Says which are.
pub(crate) fn check_tries(tries: i64) -> Result<u8, String> {
    let tries = u8::try_from(tries).ok().filter(|tries| (1..=10).contains(tries));
    tries.ok_or_else(|| "tries is a number from 1 to 10".to_owned())
}

fn check_lock_wait(seconds: i64) -> Result<u8, String> {
    u8::try_from(seconds).map_err(|_| "lock_wait is a number of seconds from 0 to 255".to_owned())
}

/// Whether a length of public ids, in modhex characters, is one.
///
/// # Errors
/// Says which are.
pub(crate) fn check_token_id_length(length: i64) -> Result<u8, String> {
    let even = |length: &u8| usize::from(*length) <= 2 * PublicId::MAX && length.is_multiple_of(2);
    u8::try_from(length).ok().filter(even).ok_or_else(|| {
        "token_id_length is an even number of modhex characters from 0 to 32 (most YubiKeys: 12)".to_owned()
    })
}

/// A number of the settings file, checked where it is read so that the error has its line.
fn within<'de, D: serde::Deserializer<'de>, T>(
    number: D,
    check: fn(i64) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    // What is no number is told by what would be one.
    let number = <i64 as serde::Deserialize>::deserialize(number).unwrap_or(i64::MIN);
    check(number).map(Some).map_err(serde::de::Error::custom)
}

impl Settings {
    /// The settings: `overrides` before what the file says, before what is usual.
    ///
    /// `config` names a file that must be there; for `None` it is [`CONFIG`], which need not be.
    ///
    /// # Errors
    /// The file cannot be used, or something in it is not a setting; nothing of it counts then.
    pub fn load(config: Option<&Path>, overrides: Given) -> Result<Self, Fault> {
        Self::load_in(Folders::forgotten(), config, overrides)
    }

    /// The same for one login, which opens the mapping and the store through these folders, too.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn load_in(folders: Folders, config: Option<&Path>, overrides: Given) -> Result<Self, Fault> {
        let path = config.unwrap_or(Path::new(CONFIG));
        let (given, open_key) = match folders.read(path, 64 << 10, Audience::Everyone).map(Zeroizing::new) {
            Err(FileFault::Missing(_)) if config.is_none() && is_absent(path) => (Given::default(), false),
            Err(FileFault::Missing(path)) => return Err(Fault::NoSettings { path }),
            contents => {
                let given =
                    parse(&contents?).map_err(|why| Fault::Settings { path: path.to_owned(), why })?;
                let holds_key = given.online.as_ref().is_some_and(|online| online.api_key.is_some());
                let open_key = holds_key
                    && matches!(folders.file(path, Audience::Owner), Err(FileFault::Readable { .. }));
                (given.relative_to(path.parent().unwrap_or(Path::new("/"))), open_key)
            }
        };
        let given = overrides.or(given);
        // Who names servers and no mode means them, as with pam_yubico.
        let usual = if given.online.is_some() { Mode::Online } else { Mode::Offline };
        let mode = given.mode.unwrap_or(usual);
        let mut warnings = Vec::new();
        if open_key {
            warnings.push(format!(
                "{}: others may read it, and it holds api_key: move the key to a file that only root can read (api_key_file)",
                path.display()
            ));
        }
        let unprepared = mode.asks_servers().then(|| (given.online.unwrap_or_default(), path.to_owned()));
        Ok(Self {
            mode,
            warnings,
            online: None,
            unprepared,
            mapping: given.mapping.unwrap_or_else(|| MAPPING.to_owned()),
            store: given.store.unwrap_or_else(|| STORE.into()),
            store_key: given.store_key.unwrap_or_else(|| STORE_KEY.into()),
            prompt: given.prompt.unwrap_or_else(|| PROMPT.to_owned()),
            echo: given.echo.unwrap_or(false),
            tries: given.tries.unwrap_or(1),
            token_id_length: given.token_id_length,
            lock_wait: Duration::from_secs(given.lock_wait.unwrap_or(5).into()),
            debug: given.debug.unwrap_or(false),
            folders: Arc::new(folders),
        })
    }

    /// Makes ready to ask the validation servers, if they have a say. Whoever only changes the mapping or the store can
    /// do that while `[online]` is being fixed.
    ///
    /// # Errors
    /// Something is missing in `[online]`, or cannot be used.
    pub fn prepare(&mut self) -> Result<(), Fault> {
        if let Some((given, config)) = self.unprepared.take() {
            let (online, warnings) = given.settle(self.mode, &config)?;
            self.warnings.extend(warnings);
            self.online = Some(online);
        }
        Ok(())
    }

    /// Whom to ask; `None` if nobody, or before [`Settings::prepare`].
    #[must_use]
    pub const fn online(&self) -> Option<&Online> {
        self.online.as_ref()
    }

    /// Whether a public id is of the length that the settings allow.
    #[must_use]
    pub fn allows(&self, id: &PublicId) -> bool {
        allows(self.token_id_length, id)
    }
}

/// Whether a `token_id_length` allows a public id; without one, all are allowed.
#[must_use]
pub fn allows(token_id_length: Option<u8>, id: &PublicId) -> bool {
    token_id_length.is_none_or(|length| id.as_bytes().len() * 2 == usize::from(length))
}

/// Whether there is no such file in its folder, or no such folder. A link that leads nowhere is not that: the settings
/// that it stands for are somewhere, and are not the usual ones.
fn is_absent(path: &Path) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    match Folder::open(parent) {
        Ok(folder) => folder.has(name).is_ok_and(|has| !has),
        Err(fault) => matches!(fault, FileFault::Missing(missing) if parent.starts_with(&missing)),
    }
}

fn parse(contents: &[u8]) -> Result<Given, String> {
    let text = str::from_utf8(contents).map_err(|_| "not a text in UTF-8".to_owned())?;
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count();
        let source = text.lines().nth(line).unwrap_or_default();
        let why = without_quotes(source).or_else(|| misplaced(error.message()));
        let line = line.saturating_add(1);
        format!("line {line}: {}", why.as_deref().unwrap_or(error.message()))
    })
}

/// The settings that stand above `[online]` in `config.toml`.
const TOP: [&str; 11] = [
    "mode",
    "mapping",
    "store",
    "store_key",
    "prompt",
    "echo",
    "tries",
    "token_id_length",
    "lock_wait",
    "debug",
    "online",
];

/// What to say of a line whose value lacks its quotes. It never shows the value: it may be a secret, and what the parser
/// says of a key in base64, which ends with `=`, misleads.
fn without_quotes(line: &str) -> Option<String> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let quoted = value.trim_start().starts_with(['"', '\'', '[', '{']);
    match name {
        _ if quoted => None,
        "api_key" => Some(online::NO_API_KEY.to_owned()),
        "api_key_file"
        | "client_key_passphrase_file"
        | "mapping"
        | "store"
        | "store_key"
        | "ca"
        | "client_cert"
        | "client_key"
        | "ask" => Some(format!("{name} is the path of a file, in quotes")),
        "urls" => Some(online::NO_URLS.to_owned()),
        "proxy" => Some(format!("{}, in quotes", online::NO_PROXY)),
        "mode" | "prompt" => Some(format!("{name} is text in quotes")),
        _ => None,
    }
}

/// What to say of a setting that is misspelt, or on the wrong side of `[online]`, by what the parser says of it.
fn misplaced(message: &str) -> Option<String> {
    let (name, expected) = message.strip_prefix("unknown field `")?.split_once("`, expected ")?;
    let at_top = expected.contains("`mode`");
    let (here, there, place): (&[&str], &[&str], _) =
        if at_top { (&TOP, &online::NAMES, "below") } else { (&online::NAMES, &TOP, "above") };
    if there.contains(&name) && name != "online" {
        return Some(format!("{name} belongs {place} the line [online]"));
    }
    let spelt = name.to_ascii_lowercase().replace('-', "_");
    let near = crate::options::nearest(&spelt, here.iter().copied())?;
    Some(format!("unknown field `{name}` (did you mean {near}?)"))
}
