//! `store = "etcd://…"` and `[etcd]`: a cluster of etcd.

use super::{beside, milliseconds, password_file};
use serde::Deserialize;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use yubiotp::diagnostic::{Code, Diagnostic};

/// The port of etcd for clients.
const PORT: u16 = 2379;

/// The path of a URL without one.
const PATH: &str = "ykvald";

/// The prefix that keys may have, in bytes.
const MOST_PREFIX: usize = 128;

/// A cluster of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// Its members, in the order of the URL; at least one.
    pub endpoints: Vec<EtcdEndpoint>,
    /// What all keys begin with: `/ykvald/`.
    pub prefix: String,
    /// Whether connections use TLS.
    pub tls: bool,
    /// Certificate authorities for the members, PEM; the system's if `None`.
    pub ca: Option<PathBuf>,
    /// The certificate that members are shown.
    pub client: Option<EtcdClientFiles>,
    /// The user of etcd.
    pub user: Option<EtcdUser>,
    /// How long a request may take, connecting included.
    pub deadline: Duration,
    /// The file that records which cluster was used last; `None`: nothing is recorded.
    pub seen: Option<PathBuf>,
}

/// Where one member is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdEndpoint {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port for clients.
    pub port: u16,
}

/// A certificate with its key, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdClientFiles {
    /// The chain, the client's own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A user of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdUser {
    /// Its name.
    pub name: String,
    /// The file with its password.
    pub password_file: PathBuf,
}

/// `HOST:PORT`, with brackets around an address of IPv6.
impl Display for EtcdEndpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The URL, which holds no password.
impl Display for EtcdConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "etcds" } else { "etcd" };
        let endpoints = self.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        write!(f, "{scheme}://{endpoints}{}", self.prefix.trim_end_matches('/'))
    }
}

/// `[etcd]` as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawEtcd {
    user: Option<String>,
    #[serde(deserialize_with = "password_file")]
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    plain_http: bool,
    #[serde(deserialize_with = "deadline")]
    deadline_ms: Option<Duration>,
}

/// The default of `etcd.deadline_ms`.
pub const ETCD_DEADLINE: Duration = Duration::from_secs(5);

fn deadline<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    milliseconds(from, "etcd.deadline_ms").map(Some)
}

/// Whether the store is etcd.
pub(super) fn is_meant(store: &str) -> bool {
    ["etcd://", "etcds://"].iter().any(|scheme| store.starts_with(scheme))
}

/// Reads the URL and the table. `Err`: the setting, and what is wrong with it; no value is quoted that may hold a password.
pub(super) fn read(
    store: &str,
    raw: RawEtcd,
    folder: &Path,
    seen: PathBuf,
) -> Result<EtcdConfig, (&'static str, Box<Diagnostic>)> {
    let in_url = |found| ("store", Box::new(found));
    let (scheme, rest) = store.split_once("://").unwrap_or(("etcd", store));
    let tls = scheme == "etcds";
    if rest.contains('@') {
        let found = invalid("the URL of etcd holds no user").advise("set user and password_file in [etcd]");
        return Err(in_url(found));
    }
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, PATH));
    let endpoints = hosts.split(',').map(endpoint).collect::<Option<Vec<_>>>();
    let endpoints = endpoints.ok_or_else(|| in_url(invalid("is not a URL of etcd").advise(WRITE)))?;
    let prefix = prefix(path).ok_or_else(|| {
        let found = invalid("the path of the URL of etcd must be letters, digits, - _ . and single /");
        in_url(found.advise(WRITE))
    })?;
    // What a later version adds below a prefix has a short name as well.
    if let Some(short) = prefix.split('/').skip(2).find(|part| part.len() == 1) {
        let problem = format!(
            "the path /{} has the part {short}: parts of one letter are for the keys of stores",
            path.trim_end_matches('/')
        );
        let longer = format!("use a longer word than {short}; only the first part may have one letter");
        return Err(in_url(invalid(&problem).advise(longer)));
    }
    if let Some(twice) =
        endpoints.iter().enumerate().find(|(at, one)| endpoints.iter().take(*at).any(|it| it == *one))
    {
        return Err(in_url(invalid(&format!("names {} twice", twice.1)).advise("remove one of them")));
    }
    if !tls
        && !raw.plain_http
        && let Some(open) = endpoints.iter().find(|one| !one.is_here())
    {
        let problem =
            format!("{open} is not on this host, and without TLS others can read and change what is stored");
        let found = invalid(&problem)
            .advise("write etcds:// and set ca in [etcd]")
            .advise("only in a network that nobody else can reach: set plain_http = true in [etcd]");
        return Err(in_url(found));
    }
    let client = match (raw.certificate, raw.key) {
        (Some(certificate), Some(key)) => {
            Some(EtcdClientFiles { certificate: beside(folder, &certificate), key: beside(folder, &key) })
        }
        (None, None) => None,
        (Some(_), None) => return Err(alone("etcd.certificate", "key")),
        (None, Some(_)) => return Err(alone("etcd.key", "certificate")),
    };
    let user = match (raw.user, raw.password_file) {
        (Some(name), Some(password_file)) => {
            Some(EtcdUser { name, password_file: beside(folder, &password_file) })
        }
        (None, None) => None,
        (Some(_), None) => return Err(alone("etcd.user", "password_file")),
        (None, Some(_)) => return Err(alone("etcd.password_file", "user")),
    };
    let unused = [("etcd.ca", raw.ca.is_some()), ("etcd.certificate", client.is_some())];
    if let Some((setting, _)) = unused.into_iter().find(|(_, is_set)| *is_set && !tls) {
        let found = Diagnostic::error(Code::SettingsConflict, "is set, and store = \"etcd://…\" uses no TLS");
        return Err((setting, Box::new(found.advise("write etcds:// in store, or remove the setting"))));
    }
    let ca = raw.ca.as_deref().map(|path| beside(folder, path));
    let deadline = raw.deadline_ms.unwrap_or(ETCD_DEADLINE);
    Ok(EtcdConfig { endpoints, prefix, tls, ca, client, user, deadline, seen: Some(seen) })
}

const WRITE: &str = "write etcds://HOST:PORT,HOST:PORT,HOST:PORT/ykvald, without a query";

fn invalid(problem: &str) -> Diagnostic {
    Diagnostic::error(Code::DatabaseUrlInvalid, problem)
}

/// One setting of two that belong together.
fn alone(setting: &'static str, other: &str) -> (&'static str, Box<Diagnostic>) {
    let found = Diagnostic::error(Code::SettingMissing, format!("is set, and {other} is not"));
    (setting, Box::new(found.advise(format!("set {other} in [etcd] as well"))))
}

impl EtcdEndpoint {
    /// Whether it is this host, so that nothing goes over a network.
    pub(crate) fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

fn endpoint(text: &str) -> Option<EtcdEndpoint> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_host = !host.is_empty() && (host.contains(':') || host.chars().all(is_name));
    let port = match port {
        Some(port) if port.chars().all(|c| c.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port != 0)?
        }
        Some(_) => return None,
        None => PORT,
    };
    is_host.then(|| EtcdEndpoint { host: host.to_owned(), port })
}

/// `/ykvald/` of `ykvald`.
fn prefix(path: &str) -> Option<String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = if path.is_empty() { PATH } else { path };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let parts = || path.split('/').all(|part| !part.is_empty() && part.chars().all(is_plain));
    (path.len() <= MOST_PREFIX && parts()).then(|| format!("/{path}/"))
}
