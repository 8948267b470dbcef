//! `[online]` of `config.toml`: which validation servers are asked, how, and as whom.

use super::{joined, within};
use crate::Fault;
use crate::file::{self, Audience};
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use std::fmt;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use yubiotp::ask::MAX_SERVERS;
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::protocol::{ClientId, ClientKey, Server, SyncLevel};
use yubiotp::shown;
use yubiotp::verdict::Mode;
use zeroize::Zeroizing;

/// Where the program that asks is when nobody says otherwise.
pub const ASK: &str = "/usr/libexec/yubiotp/yubiotp-ask";

/// The longest URL of a server or a proxy, so that a question has room for all of them.
const MAX_URL: usize = 2000;

/// Everything that asking validation servers needs.
pub struct Online {
    /// The servers to ask, in this order.
    pub servers: Vec<Server>,
    /// As whom.
    pub client_id: ClientId,
    /// The client key, which signs questions and proves answers. Without one, only TLS proves who answered.
    pub key: Option<ClientKey>,
    /// How long all of it may take, in milliseconds.
    pub deadline: NonZeroU32,
    /// How long the first server may be silent before the others are asked too, in milliseconds.
    pub hedge: NonZeroU32,
    /// Certificate authorities, instead of the system's.
    pub ca: Option<PathBuf>,
    /// The client's certificate.
    pub client_cert: Option<PathBuf>,
    /// Its private key.
    pub client_key: Option<PathBuf>,
    /// The passphrase of that key.
    pub client_key_passphrase_file: Option<PathBuf>,
    /// Through whom to ask.
    pub proxy: Option<Zeroizing<String>>,
    /// How many peers of a server must confirm.
    pub sync_level: Option<SyncLevel>,
    /// How many seconds a server may wait for its peers.
    pub timeout: Option<u8>,
    /// Whether this host decides in mode `online-then-offline` also where servers answered without deciding.
    pub accept_replays_while_servers_fail: bool,
    /// The program that asks.
    pub ask: PathBuf,
}

/// The settings of `[online]`.
pub(super) const NAMES: [&str; 16] = [
    "urls",
    "client_id",
    "api_key",
    "api_key_file",
    "deadline",
    "hedge",
    "ca",
    "client_cert",
    "client_key",
    "client_key_passphrase_file",
    "proxy",
    "sync_level",
    "timeout",
    "plain_http",
    "accept_replays_while_servers_fail",
    "ask",
];

/// The settings of `[online]` as the file or pam.d gives them.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct PartialOnline {
    /// `urls`
    #[serde(deserialize_with = "urls")]
    pub urls: Option<Vec<Server>>,
    /// `client_id`
    #[serde(deserialize_with = "client_id")]
    pub client_id: Option<ClientId>,
    /// `api_key`
    #[serde(deserialize_with = "api_key")]
    pub api_key: Option<ClientKey>,
    /// `api_key_file`
    #[serde(deserialize_with = "api_key_file")]
    pub api_key_file: Option<PathBuf>,
    /// `deadline`, in seconds
    #[serde(deserialize_with = "deadline")]
    pub deadline: Option<u32>,
    /// `hedge`, in milliseconds
    #[serde(deserialize_with = "hedge")]
    pub hedge: Option<u32>,
    /// `ca`
    pub ca: Option<PathBuf>,
    /// `client_cert`
    pub client_cert: Option<PathBuf>,
    /// `client_key`
    pub client_key: Option<PathBuf>,
    /// `client_key_passphrase_file`
    #[serde(deserialize_with = "client_key_passphrase_file")]
    pub client_key_passphrase_file: Option<PathBuf>,
    /// `proxy`
    #[serde(deserialize_with = "proxy")]
    pub proxy: Option<Zeroizing<String>>,
    /// `sync_level`
    #[serde(deserialize_with = "sync_level")]
    pub sync_level: Option<SyncLevel>,
    /// `timeout`, in seconds
    #[serde(deserialize_with = "timeout")]
    pub timeout: Option<u8>,
    /// `plain_http`
    pub plain_http: Option<bool>,
    /// `accept_replays_while_servers_fail`
    pub accept_replays_while_servers_fail: Option<bool>,
    /// `ask`
    pub ask: Option<PathBuf>,
}

impl PartialOnline {
    /// The values given here, else those of `other`.
    pub(super) fn or(self, other: Self) -> Self {
        // A key that is given here overrides both ways to give one.
        let (api_key, api_key_file) = if self.api_key.is_some() || self.api_key_file.is_some() {
            (self.api_key, self.api_key_file)
        } else {
            (other.api_key, other.api_key_file)
        };
        Self {
            urls: self.urls.or(other.urls),
            client_id: self.client_id.or(other.client_id),
            api_key,
            api_key_file,
            deadline: self.deadline.or(other.deadline),
            hedge: self.hedge.or(other.hedge),
            ca: self.ca.or(other.ca),
            client_cert: self.client_cert.or(other.client_cert),
            client_key: self.client_key.or(other.client_key),
            client_key_passphrase_file: self.client_key_passphrase_file.or(other.client_key_passphrase_file),
            proxy: self.proxy.or(other.proxy),
            sync_level: self.sync_level.or(other.sync_level),
            timeout: self.timeout.or(other.timeout),
            plain_http: self.plain_http.or(other.plain_http),
            accept_replays_while_servers_fail: self
                .accept_replays_while_servers_fail
                .or(other.accept_replays_while_servers_fail),
            ask: self.ask.or(other.ask),
        }
    }

    pub(super) fn relative_to(mut self, folder: &Path) -> Self {
        let paths = [
            &mut self.api_key_file,
            &mut self.ca,
            &mut self.client_cert,
            &mut self.client_key,
            &mut self.client_key_passphrase_file,
            &mut self.ask,
        ];
        for path in paths {
            *path = path.take().map(|path| joined(folder, path));
        }
        self
    }

    /// Everything that asking needs, and what the log should warn of. `config` is the file to fix.
    pub(super) fn resolve(self, mode: Mode, config: &Path) -> Result<(Online, Vec<Diagnostic>), Fault> {
        let bad = |found: Diagnostic| {
            let found = Box::new(found.at(Location::file(config.as_os_str().as_bytes())));
            Fault::Settings { path: config.to_owned(), found }
        };
        let missing = |setting: &str| {
            let problem = format!("mode {} needs {setting} in [online]", mode.name());
            Diagnostic::error(Code::SettingMissing, problem)
        };
        let conflict = |problem: &str, change: &str| {
            bad(Diagnostic::error(Code::SettingsConflict, problem).advise(change))
        };
        let servers = self.urls.ok_or_else(|| {
            bad(missing("urls").advise(
                "set urls in [online] of config.toml, or urllist= in pam.d; YubiCloud's URL is https://api.yubico.com/wsapi/2.0/verify",
            ))
        })?;
        let client_id = self.client_id.ok_or_else(|| {
            bad(missing("client_id").advise("set client_id in [online] of config.toml, or id= in pam.d"))
        })?;
        if self.client_cert.is_some() != self.client_key.is_some() {
            return Err(conflict(
                "[online] has only one of client_cert and client_key",
                "set both in [online] of config.toml, or neither",
            ));
        }
        if self.client_key_passphrase_file.is_some() && self.client_key.is_none() {
            return Err(conflict(
                "[online] has client_key_passphrase_file and no client_key",
                "set client_key in [online] of config.toml, or remove client_key_passphrase_file",
            ));
        }
        let key = match (self.api_key, self.api_key_file) {
            (Some(_), Some(_)) => {
                return Err(conflict("[online] has both api_key and api_key_file", "remove one of them"));
            }
            (key @ Some(_), None) => key,
            (None, Some(path)) => Some(key_in(&path)?),
            (None, None) => None,
        };
        let mut warnings = Vec::new();
        let warning = |code, server: &Server, problem: &str| {
            Diagnostic::warning(code, problem).at(Location::Url(server.to_string()))
        };
        // Through a proxy, even what goes to this host leaves it.
        let open = |server: &&Server| !server.is_https() && (self.proxy.is_some() || !server.is_loopback());
        match servers.iter().find(open) {
            Some(server) if key.is_some() => warnings.push(
                warning(
                    Code::PlainHttp,
                    server,
                    "is asked over plain HTTP, so anyone on the network path can read an OTP, hold it back and use it",
                )
                .advise("use an https URL"),
            ),
            Some(server) if self.plain_http == Some(true) => warnings.push(
                warning(
                    Code::UnprovenAnswers,
                    server,
                    "is asked over plain HTTP and without api_key, so anyone on the network path can accept any OTP, and read, hold back and use an OTP (plain_http)",
                )
                .advise("use an https URL"),
            ),
            Some(server) => {
                let proxied = if self.proxy.is_some() { " (through the proxy, even a server on this host)" } else { "" };
                let problem = format!("would be believed although its answers are neither signed nor encrypted{proxied}");
                let found = Diagnostic::error(Code::UnprovenAnswers, problem)
                    .at(Location::Url(server.to_string()))
                    .advise("set api_key_file in [online] of config.toml, or use an https URL");
                return Err(Fault::Settings { path: config.to_owned(), found: Box::new(found) });
            }
            None => {}
        }
        // A port below 1024 is root's to give away.
        let taken = |server: &&Server| !server.is_https() && !server.has_root_port();
        if let Some(server) = servers.iter().find(taken).filter(|_| key.is_none() && warnings.is_empty()) {
            warnings.push(
                warning(
                    Code::UnprivilegedPort,
                    server,
                    "is believed without api_key, so any user of this host who takes that port while the server is down can accept any OTP",
                )
                .advise("set api_key_file in [online] of config.toml"),
            );
        }
        let milliseconds = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let deadline = self.deadline.unwrap_or(5).saturating_mul(1000);
        let online = Online {
            servers,
            client_id,
            key,
            deadline: milliseconds(deadline),
            // Everybody must have time to answer.
            hedge: milliseconds(self.hedge.unwrap_or(300).min(deadline / 2)),
            ca: self.ca,
            client_cert: self.client_cert,
            client_key: self.client_key,
            client_key_passphrase_file: self.client_key_passphrase_file,
            proxy: self.proxy,
            sync_level: self.sync_level,
            timeout: self.timeout,
            accept_replays_while_servers_fail: self.accept_replays_while_servers_fail.unwrap_or(false),
            ask: self.ask.unwrap_or_else(|| ASK.into()),
        };
        Ok((online, warnings))
    }
}

fn key_in(path: &Path) -> Result<ClientKey, Fault> {
    let text = file::read(path, 1024, Audience::Owner)
        .map_err(|fault| Fault::Setting { setting: "api_key_file", fault })?;
    let text = Zeroizing::new(text);
    ClientKey::parse(&text).map_err(|why| Fault::ClientKey { path: path.to_owned(), why })
}

/// URLs, separated by semicolons, as a line in pam.d has them.
///
/// # Errors
/// Names the one that is none.
pub(crate) fn parse_urls(list: &str) -> Result<Vec<Server>, String> {
    let urls = list.split(';').map(str::trim).filter(|url| !url.is_empty());
    checked(urls.map(parse_url).collect::<Result<_, _>>()?)
}

fn parse_url(url: &str) -> Result<Server, String> {
    if url.len() > MAX_URL {
        return Err(format!("a URL has more than {MAX_URL} characters"));
    }
    Server::parse(url).map_err(|why| match why {
        // The text before an @ may be a password.
        _ if url.contains('@') => format!("a URL {why}"),
        _ => format!("URL {} {why}", shown::quoted(url)),
    })
}

fn checked(servers: Vec<Server>) -> Result<Vec<Server>, String> {
    if servers.is_empty() || servers.len() > MAX_SERVERS {
        return Err(format!("urls must be 1 to {MAX_SERVERS} URLs of validation servers"));
    }
    Ok(servers)
}

/// The URL of a proxy.
///
/// # Errors
/// It is none.
pub(crate) fn parse_proxy(url: &str) -> Result<Zeroizing<String>, String> {
    let known = ["http://", "https://", "socks5://"].iter().any(|scheme| url.starts_with(scheme));
    let plain = url.bytes().all(|byte| byte.is_ascii_graphic()) && url.len() <= MAX_URL;
    // Never shown: it may hold a password.
    if known && plain { Ok(Zeroizing::new(url.to_owned())) } else { Err(NO_PROXY.to_owned()) }
}

pub(super) const NO_PROXY: &str =
    "proxy must be the URL of a proxy: http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT";

/// Whether a number is a client id.
///
/// # Errors
/// Says which are.
pub(crate) fn check_client_id(id: i64) -> Result<ClientId, String> {
    let id = u64::try_from(id).ok().and_then(ClientId::new);
    id.ok_or_else(|| {
        "client_id must be a number of 1 to 10 digits, as the validation server gave it out".to_owned()
    })
}

fn client_id<'de, D: Deserializer<'de>>(number: D) -> Result<Option<ClientId>, D::Error> {
    within(number, check_client_id)
}

fn deadline<'de, D: Deserializer<'de>>(number: D) -> Result<Option<u32>, D::Error> {
    within(number, |seconds| match u32::try_from(seconds) {
        Ok(seconds @ 1..=60) => Ok(seconds),
        _ => Err("deadline must be a number of seconds from 1 to 60".to_owned()),
    })
}

fn hedge<'de, D: Deserializer<'de>>(number: D) -> Result<Option<u32>, D::Error> {
    within(number, |milliseconds| match u32::try_from(milliseconds) {
        Ok(milliseconds @ 1..=60_000) => Ok(milliseconds),
        _ => Err("hedge must be a number of milliseconds from 1 to 60000".to_owned()),
    })
}

fn timeout<'de, D: Deserializer<'de>>(number: D) -> Result<Option<u8>, D::Error> {
    within(number, |seconds| match u8::try_from(seconds) {
        Ok(seconds @ 1..=60) => Ok(seconds),
        _ => Err("timeout must be a number of seconds from 1 to 60".to_owned()),
    })
}

/// The text of a setting that is, or may be taken for, a secret: what serde says of another type quotes the value.
fn secret<'de, D: Deserializer<'de>>(text: D, wanted: &str) -> Result<Zeroizing<String>, D::Error> {
    <String as serde::Deserialize>::deserialize(text).map(Zeroizing::new).map_err(|_| Error::custom(wanted))
}

pub(super) const NO_API_KEY: &str =
    "api_key must be text in quotes: the key in base64, as the validation server gave it out";

fn api_key<'de, D: Deserializer<'de>>(text: D) -> Result<Option<ClientKey>, D::Error> {
    let text = secret(text, NO_API_KEY)?;
    ClientKey::parse(text.as_bytes()).map(Some).map_err(|why| Error::custom(format!("api_key {why}")))
}

fn api_key_file<'de, D: Deserializer<'de>>(path: D) -> Result<Option<PathBuf>, D::Error> {
    let path = secret(path, "api_key_file must be the path of a file, in quotes")?;
    // No name of a file ends so, and the key of most servers does.
    if path.ends_with('=') && ClientKey::parse(path.as_bytes()).is_ok() {
        let why = "api_key_file must be the path of a file, and this looks like the key itself: write the key into a file with mode 0600";
        return Err(Error::custom(why));
    }
    Ok(Some(PathBuf::from(path.as_str())))
}

fn client_key_passphrase_file<'de, D: Deserializer<'de>>(path: D) -> Result<Option<PathBuf>, D::Error> {
    let path = secret(path, "client_key_passphrase_file must be the path of a file, in quotes")?;
    Ok(Some(PathBuf::from(path.as_str())))
}

fn proxy<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    let text = secret(text, NO_PROXY)?;
    parse_proxy(&text).map(Some).map_err(Error::custom)
}

pub(super) const NO_URLS: &str = "urls must be a URL or a list of URLs, in quotes";

fn urls<'de, D: Deserializer<'de>>(urls: D) -> Result<Option<Vec<Server>>, D::Error> {
    /// Its own word for what is no text: serde's quotes the value.
    struct OneOrMany;
    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<Server>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a URL or a list of URLs")
        }
        fn visit_str<E: Error>(self, url: &str) -> Result<Vec<Server>, E> {
            Ok(vec![parse_url(url).map_err(E::custom)?])
        }
        fn visit_bool<E: Error>(self, _: bool) -> Result<Vec<Server>, E> {
            Err(E::custom(NO_URLS))
        }
        fn visit_i64<E: Error>(self, _: i64) -> Result<Vec<Server>, E> {
            Err(E::custom(NO_URLS))
        }
        fn visit_u64<E: Error>(self, _: u64) -> Result<Vec<Server>, E> {
            Err(E::custom(NO_URLS))
        }
        fn visit_i128<E: Error>(self, _: i128) -> Result<Vec<Server>, E> {
            Err(E::custom(NO_URLS))
        }
        fn visit_u128<E: Error>(self, _: u128) -> Result<Vec<Server>, E> {
            Err(E::custom(NO_URLS))
        }
        fn visit_f64<E: Error>(self, _: f64) -> Result<Vec<Server>, E> {
            Err(E::custom(NO_URLS))
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Server>, A::Error> {
            let mut servers = Vec::new();
            while let Some(url) = list.next_element::<String>().map_err(|_| A::Error::custom(NO_URLS))? {
                servers.push(parse_url(&url).map_err(A::Error::custom)?);
            }
            checked(servers).map_err(A::Error::custom)
        }
    }
    urls.deserialize_any(OneOrMany).map(Some)
}

fn sync_level<'de, D: Deserializer<'de>>(level: D) -> Result<Option<SyncLevel>, D::Error> {
    struct NumberOrName;
    impl Visitor<'_> for NumberOrName {
        type Value = SyncLevel;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number from 0 to 100, \"fast\" or \"secure\"")
        }
        fn visit_str<E: Error>(self, name: &str) -> Result<SyncLevel, E> {
            SyncLevel::parse(name).map_err(E::custom)
        }
        fn visit_i64<E: Error>(self, percent: i64) -> Result<SyncLevel, E> {
            SyncLevel::parse(&percent.to_string()).map_err(E::custom)
        }
    }
    level.deserialize_any(NumberOrName).map(Some)
}
