//! `config.toml`, and what module arguments and command options put in its place.

mod codes;
mod enroll;
mod online;
mod policy;
mod syntax;
#[cfg(test)]
mod tests;

pub use codes::{CodeSettings, PartialCodes, check_look_ahead, check_window};
pub use enroll::{ENROLL, EnrollSettings, OwnVerb, PartialEnroll, PartialOwn};
pub use online::{ASK, Online, PartialOnline};
pub(crate) use online::{check_client_id, parse_proxy, parse_urls};
pub use policy::{check_policy, parse_date};
pub use yubiotp::verdict::Mode;

use crate::Fault;
use crate::file::{Audience, FileFault, Folder, Folders};
use crate::user_path::path_of;
use policy::PartialPolicy;
use serde::de::IgnoredAny;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::policy::Policy;
use yubiotp::{PublicId, TokenId, shown};
use zeroize::Zeroizing;

/// Where the settings are when nobody says otherwise.
pub const CONFIG: &str = "/etc/yubiotp/config.toml";
/// Where the mapping is when nobody says otherwise.
pub const MAPPING: &str = "/etc/yubiotp/authorized_yubikeys";
/// The longest configuration file, in bytes.
const MOST_CONFIG: u64 = 64 << 10;
/// The default of `store`.
pub const STORE: &str = "/var/lib/yubiotp";
/// The default of `store_key`.
pub const STORE_KEY: &str = "/etc/yubiotp/store.key";
/// The default of `prompt`; `%u` is replaced by the user.
pub const PROMPT: &str = "YubiKey for %u: ";

/// Whether each user has a configuration file: `%u` is in its path.
#[must_use]
pub fn is_per_user(config: &Path) -> bool {
    config.to_string_lossy().contains("%u")
}

/// The configuration file of `user`: the name replaces `%u` in the path, by the same rule as in the mapping's.
///
/// # Errors
/// The name would change the path, or is not UTF-8.
pub fn config_of(config: PathBuf, user: &[u8]) -> Result<PathBuf, Fault> {
    if !is_per_user(&config) {
        return Ok(config);
    }
    let template = config.to_string_lossy();
    match str::from_utf8(user) {
        Ok(user) => path_of(&template, user),
        Err(_) => Err(Fault::UserInPath { template: template.into_owned() }),
    }
}

/// A mode by its name.
///
/// # Errors
/// Names the modes there are.
pub(crate) fn parse_mode(name: &str) -> Result<Mode, String> {
    // pam_yubico's name for the same.
    let name = if name == "client" { Mode::Online.name() } else { name };
    Mode::ALL.into_iter().find(|mode| mode.name() == name).ok_or_else(|| {
        let all = Mode::ALL.map(Mode::name).join(", ");
        format!("mode must be one of {all}, and is {}", shown::quoted(name))
    })
}

fn mode<'de, D: serde::Deserializer<'de>>(name: D) -> Result<Option<Mode>, D::Error> {
    let name = <String as serde::Deserialize>::deserialize(name)?;
    parse_mode(&name).map(Some).map_err(serde::de::Error::custom)
}

/// The settings of a host. Every path is absolute. Enough for changing the mapping and the store, also while `[online]`
/// is being fixed; a login needs [`LoginSettings`].
pub struct Settings {
    /// The configuration file, also if there is none.
    pub config: PathBuf,
    /// Whether this host or validation servers decide about OTPs.
    pub mode: Mode,
    /// Warnings about settings that are allowed and unwise, for the log.
    pub warnings: Vec<Diagnostic>,
    /// Whether there are settings of servers, and the mode asks none.
    pub has_unused_online: bool,
    /// The settings of the servers, and the file to fix.
    unresolved: Option<(PartialOnline, PathBuf)>,
    /// The mapping; `%u` is replaced by the user.
    pub mapping: String,
    /// The folder of the token store.
    pub store: PathBuf,
    /// The file of the store key.
    pub store_key: PathBuf,
    /// The prompt; `%u` is replaced by the user.
    pub prompt: String,
    /// Whether what is typed is shown.
    pub echo: bool,
    /// How often a user may try in one call, 1 to 10.
    pub tries: u8,
    /// Only public IDs of so many modhex characters count, if given: 0 to 32, even.
    pub token_id_length: Option<u8>,
    /// How long to wait for another login of the same token.
    pub lock_wait: Duration,
    /// Whether each step is logged.
    pub debug: bool,
    /// How codes are decided about.
    pub codes: CodeSettings,
    /// Who needs a second factor.
    pub policy: Policy,
    /// How a user gets a second factor at a login.
    pub enroll: EnrollSettings,
    /// What a user may do themselves.
    pub own: Vec<OwnVerb>,
    /// Opens the mapping and the store.
    pub folders: Arc<Folders>,
}

/// The settings in `config.toml`, or in place of it.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartialConfig {
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
    pub online: Option<PartialOnline>,
    /// `[codes]`
    pub codes: Option<PartialCodes>,
    /// `[enroll]`
    pub enroll: Option<PartialEnroll>,
    /// `[self]`
    #[serde(rename = "self")]
    pub own: Option<PartialOwn>,
    /// `[groups]`. This table and the next two are only in the file, and are read from its text.
    pub groups: Option<IgnoredAny>,
    /// `[policy]`
    pub policy: Option<IgnoredAny>,
    /// `[service.NAME]`
    pub service: Option<IgnoredAny>,
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

impl PartialConfig {
    /// The values given here, else those of `other`.
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
            codes: match (self.codes, other.codes) {
                (Some(codes), Some(other)) => Some(codes.or(other)),
                (codes, other) => codes.or(other),
            },
            enroll: match (self.enroll, other.enroll) {
                (Some(enroll), Some(other)) => Some(enroll.or(other)),
                (enroll, other) => enroll.or(other),
            },
            own: match (self.own, other.own) {
                (Some(own), Some(other)) => Some(own.or(other)),
                (own, other) => own.or(other),
            },
            groups: self.groups.or(other.groups),
            policy: self.policy.or(other.policy),
            service: self.service.or(other.service),
        }
    }

    /// Relative paths are relative to the folder of the configuration file, so that a folder that holds all of
    /// it can be moved.
    fn relative_to(mut self, folder: &Path) -> Self {
        self.mapping =
            self.mapping.map(|mapping| joined(folder, mapping.into()).to_string_lossy().into_owned());
        self.store = self.store.map(|path| joined(folder, path));
        self.store_key = self.store_key.map(|path| joined(folder, path));
        self.online = self.online.map(|online| online.relative_to(folder));
        self.enroll = self.enroll.map(|enroll| enroll.relative_to(folder));
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
    tries.ok_or_else(|| "tries must be a number from 1 to 10".to_owned())
}

fn check_lock_wait(seconds: i64) -> Result<u8, String> {
    u8::try_from(seconds).map_err(|_| "lock_wait must be a number of seconds from 0 to 255".to_owned())
}

/// Checks a length of public IDs, in modhex characters.
///
/// # Errors
/// Says which are.
pub(crate) fn check_token_id_length(length: i64) -> Result<u8, String> {
    let even = |length: &u8| usize::from(*length) <= 2 * PublicId::MAX && length.is_multiple_of(2);
    u8::try_from(length).ok().filter(even).ok_or_else(|| {
        "token_id_length must be an even number of modhex characters from 0 to 32 (most YubiKeys: 12)"
            .to_owned()
    })
}

/// A number of the configuration file, checked where it is read so that the error has its line.
fn within<'de, D: serde::Deserializer<'de>, T>(
    number: D,
    check: fn(i64) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    // For text that is not a number, the error says which numbers are allowed.
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
    pub fn load(config: Option<&Path>, overrides: PartialConfig) -> Result<Self, Fault> {
        Self::load_in(Folders::forgotten(), config, overrides)
    }

    /// The same for one login, which opens the mapping and the store through these folders, too.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn load_in(folders: Folders, config: Option<&Path>, overrides: PartialConfig) -> Result<Self, Fault> {
        let path = config.unwrap_or(Path::new(CONFIG));
        match folders.read(path, MOST_CONFIG, Audience::Everyone).map(Zeroizing::new) {
            Err(FileFault::Missing(_)) if config.is_none() && is_absent(path) => Self::of(
                folders,
                path,
                (PartialConfig::default(), PartialPolicy::default(), false),
                overrides,
            ),
            Err(FileFault::Missing(path)) => Err(Fault::NoSettings { path }),
            contents => Self::of_contents(folders, path, &contents?, overrides),
        }
    }

    /// The settings as they would be with these contents of the configuration file, which is at `path` or will be.
    ///
    /// # Errors
    /// Something in it is not a setting, or it is too long.
    pub fn of_text(path: &Path, contents: &[u8]) -> Result<Self, Fault> {
        if contents.len() as u64 > MOST_CONFIG {
            return Err(FileFault::TooLarge { path: path.to_owned(), limit: MOST_CONFIG }.into());
        }
        Self::of_contents(Folders::forgotten(), path, contents, PartialConfig::default())
    }

    fn of_contents(
        folders: Folders,
        path: &Path,
        contents: &[u8],
        overrides: PartialConfig,
    ) -> Result<Self, Fault> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let (given, policy) = parse(contents, folder).map_err(|bad| bad.at(path))?;
        let holds_key = given.online.as_ref().is_some_and(|online| online.api_key.is_some());
        let open_key =
            holds_key && matches!(folders.file(path, Audience::Owner), Err(FileFault::Readable { .. }));
        Self::of(folders, path, (given.relative_to(folder), policy, open_key), overrides)
    }

    fn of(
        folders: Folders,
        path: &Path,
        (given, policy, open_key): (PartialConfig, PartialPolicy, bool),
        overrides: PartialConfig,
    ) -> Result<Self, Fault> {
        let given = overrides.or(given);
        // With servers and no mode, the mode is online, as with pam_yubico.
        let usual = if given.online.is_some() { Mode::Online } else { Mode::Offline };
        let mode = given.mode.unwrap_or(usual);
        let mut warnings = Vec::new();
        if open_key {
            warnings.push(
                Diagnostic::warning(Code::ClientKeyReadable, "holds api_key, and other users may read it")
                    .at(Location::file(path.as_os_str().as_bytes()))
                    .advise(
                        "move the key to a file that only root may read, and name that file as api_key_file",
                    ),
            );
        }
        let has_unused_online = given.online.is_some() && !mode.asks_servers();
        let unresolved = mode.asks_servers().then(|| (given.online.unwrap_or_default(), path.to_owned()));
        Ok(Self {
            config: path.to_owned(),
            mode,
            warnings,
            has_unused_online,
            unresolved,
            mapping: given.mapping.unwrap_or_else(|| MAPPING.to_owned()),
            store: given.store.unwrap_or_else(|| STORE.into()),
            store_key: given.store_key.unwrap_or_else(|| STORE_KEY.into()),
            prompt: given.prompt.unwrap_or_else(|| PROMPT.to_owned()),
            echo: given.echo.unwrap_or(false),
            tries: given.tries.unwrap_or(1),
            token_id_length: given.token_id_length,
            lock_wait: Duration::from_secs(given.lock_wait.unwrap_or(5).into()),
            debug: given.debug.unwrap_or(false),
            codes: given.codes.unwrap_or_default().resolve(),
            policy: policy.resolve(&folders)?,
            enroll: given.enroll.unwrap_or_default().resolve(),
            own: given.own.unwrap_or_default().resolve(),
            folders: Arc::new(folders),
        })
    }

    /// The settings of a login: with all that asking the validation servers needs, if they have a say.
    ///
    /// # Errors
    /// Something is missing in `[online]`, or cannot be used.
    pub fn resolve_online(mut self) -> Result<LoginSettings, Box<Unresolved>> {
        let resolved = match self.unresolved.take() {
            Some((given, config)) => given.resolve(self.mode, &config).map(Some),
            None => Ok(None),
        };
        match resolved {
            Ok(None) => Ok(LoginSettings { settings: self, online: None }),
            Ok(Some((online, warnings))) => {
                self.warnings.extend(warnings);
                Ok(LoginSettings { settings: self, online: Some(online) })
            }
            Err(fault) => Err(Box::new(Unresolved { settings: self, fault })),
        }
    }

    /// Whether the settings allow a token: a public ID only if it is of the right length.
    #[must_use]
    pub fn allows(&self, token: &TokenId) -> bool {
        allows(self.token_id_length, token)
    }
}

/// The settings for one login: the [`Settings`], and the servers to ask.
pub struct LoginSettings {
    settings: Settings,
    online: Option<Online>,
}

impl LoginSettings {
    /// The servers to ask; `None` if nobody is asked.
    #[must_use]
    pub const fn online(&self) -> Option<&Online> {
        self.online.as_ref()
    }
}

impl Deref for LoginSettings {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

/// Settings whose `[online]` cannot be used, and why. No login decides by them.
pub struct Unresolved {
    settings: Settings,
    fault: Fault,
}

impl Unresolved {
    /// For looking at everything else: the settings as if no server had a say.
    #[must_use]
    pub fn into_parts(self) -> (LoginSettings, Fault) {
        (LoginSettings { settings: self.settings, online: None }, self.fault)
    }
}

impl From<Box<Unresolved>> for Fault {
    fn from(unresolved: Box<Unresolved>) -> Self {
        unresolved.fault
    }
}

/// Whether a `token_id_length` allows a token; without one, all are allowed, and it does not concern other tokens than
/// YubiKeys.
#[must_use]
pub fn allows(token_id_length: Option<u8>, token: &TokenId) -> bool {
    let (Some(length), Some(id)) = (token_id_length, token.yubikey()) else { return true };
    id.as_bytes().len() * 2 == usize::from(length)
}

/// Whether there is no such file in its folder, or no such folder. A link that leads nowhere is not that: the settings
/// that it names are somewhere, and are not the usual ones.
fn is_absent(path: &Path) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    match Folder::open(parent) {
        Ok(folder) => folder.has(name).is_ok_and(|has| !has),
        Err(fault) => matches!(fault, FileFault::Missing(missing) if parent.starts_with(&missing)),
    }
}

/// An error in a configuration file.
#[derive(Debug)]
struct Bad {
    /// Counted from 1.
    line: Option<usize>,
    found: Box<Diagnostic>,
}

impl Bad {
    fn at(self, path: &Path) -> Fault {
        let path_bytes = path.as_os_str().as_bytes();
        let location = match self.line {
            Some(line) => Location::line(path_bytes, line),
            None => Location::file(path_bytes),
        };
        Fault::Settings { path: path.to_owned(), found: Box::new((*self.found).at(location)) }
    }
}

/// Reads a configuration file in `folder`.
fn parse(contents: &[u8], folder: &Path) -> Result<(PartialConfig, PartialPolicy), Bad> {
    let Ok(text) = str::from_utf8(contents) else {
        return Err(Bad {
            line: None,
            found: Box::new(Diagnostic::error(Code::ConfigInvalid, "is not text in UTF-8")),
        });
    };
    let given: PartialConfig = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        let line = text.get(..span.start).unwrap_or_default().matches('\n').count();
        let source = text.lines().nth(line).unwrap_or_default();
        let found = syntax::finding(error.message(), source);
        Bad { line: Some(line.saturating_add(1)), found: Box::new(found) }
    })?;
    let has_policy = given.groups.is_some() || given.policy.is_some() || given.service.is_some();
    let policy = if has_policy { policy::read(text, folder)? } else { PartialPolicy::default() };
    Ok((given, policy))
}

/// The settings above the tables in `config.toml`.
const TOP: [&str; 17] = [
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
    "codes",
    "enroll",
    "self",
    "groups",
    "policy",
    "service",
];

/// Those of them that are tables.
const TABLE_NAMES: [&str; 7] = ["online", "codes", "enroll", "self", "groups", "policy", "service"];

/// The tables of `config.toml`, with what is above them.
const TABLES: [(&str, &[&str]); 6] = [
    ("", &TOP),
    ("[online]", &online::NAMES),
    ("[codes]", &codes::NAMES),
    ("[enroll]", &enroll::NAMES),
    ("[self]", &enroll::SELF_NAMES),
    ("[policy]", &policy::NAMES),
];
