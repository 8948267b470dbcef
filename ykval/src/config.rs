//! The configuration of the server: one TOML file, in which every setting has a default.

mod etcd;
mod sync;
#[cfg(test)]
mod tests;

pub use etcd::{ETCD_DEADLINE, EtcdClientFiles, EtcdConfig, EtcdEndpoint, EtcdUser};

use crate::file::{self, Audience, FileFault};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use sync::{PeerConfig, SyncConfig};
use ykserve::addresses;
use ykserve::settings::{ConnectionLimits, loopback, milliseconds, network, networks, one_of, within};
pub use ykserve::settings::{LogConfig, LogFormat, LogTo, TlsFiles};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::shown;
use zeroize::Zeroizing;

/// The configuration file of a server that root set up.
pub const CONFIG: &str = "/etc/ykvald/config.toml";

const MOST_CONFIG: u64 = 1 << 20;

/// The configuration.
#[derive(Debug)]
pub struct Config {
    /// The file that it was read from; paths in it are relative to its folder.
    pub path: PathBuf,
    /// The addresses on which requests are answered.
    pub listen: Vec<SocketAddr>,
    /// Whether addresses other than loopback are served without TLS.
    pub plain_http: bool,
    /// Whether HTTP/2 is also spoken without TLS.
    pub plain_http2: bool,
    /// Whether requests must be signed; a client can have its own rule.
    pub require_signature: bool,
    /// Where tokens and clients are stored.
    pub store: StoreAt,
    /// The file with the key that they are sealed under.
    pub store_key: PathBuf,
    /// TLS on [`Config::listen`].
    pub tls: Option<TlsFiles>,
    /// Limits on load.
    pub limits: Limits,
    /// Where decisions are logged.
    pub log: LogConfig,
    /// The networks that may read `/` and `/metrics`.
    pub status_from: Vec<IpNet>,
    /// The listener of `/wsapi/decrypt`, if it is enabled.
    pub decrypt: Option<Decrypt>,
    /// Key storage modules with keys that the store does not have.
    pub ksm: Option<KsmConfig>,
    /// The pool of YK-VAL servers that this one belongs to during a move.
    pub sync: Option<SyncConfig>,
    /// The servers of the site, for `ykvald cluster status`.
    pub cluster: ClusterConfig,
}

/// The servers of the site, which share a store. Only commands ask them.
#[derive(Debug, Clone, Default)]
pub struct ClusterConfig {
    /// `https://…`, without a path.
    pub servers: Vec<String>,
    /// Certificate authorities, PEM; the system's if `None`.
    pub ca: Option<PathBuf>,
}

/// Where tokens and clients are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAt {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(PostgresConfig),
    /// A cluster of etcd.
    Etcd(EtcdConfig),
}

impl StoreAt {
    /// The file that records which state of the database was seen last; `None`: nothing is recorded.
    #[must_use]
    pub fn seen(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(at) => at.seen.as_deref(),
            Self::Etcd(at) => at.seen.as_deref(),
        }
    }

    /// The same place without the state that was seen there last, so that an older or another database is not refused.
    #[must_use]
    pub fn as_if_never_seen(&self) -> Self {
        match self {
            Self::Sqlite(path) => Self::Sqlite(path.clone()),
            Self::Postgres(at) => Self::Postgres(PostgresConfig { seen: None, ..at.clone() }),
            Self::Etcd(at) => Self::Etcd(EtcdConfig { seen: None, ..at.clone() }),
        }
    }

    /// The same place as a configuration at this path names it: what is seen there is recorded beside that one.
    #[must_use]
    pub fn as_named_by(&self, config: &Path) -> Self {
        match self {
            Self::Sqlite(path) => Self::Sqlite(path.clone()),
            Self::Postgres(at) => {
                Self::Postgres(PostgresConfig { seen: Some(state(config, "postgres.seen")), ..at.clone() })
            }
            Self::Etcd(at) => Self::Etcd(EtcdConfig { seen: Some(state(config, "etcd.seen")), ..at.clone() }),
        }
    }
}

/// A PostgreSQL database.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// `postgres://…`, as libpq takes it. May hold a password.
    pub url: String,
    /// A file that holds the password, instead of the URL.
    pub password_file: Option<PathBuf>,
    /// Certificate authorities for the database, PEM; the system's if `None`.
    pub ca: Option<PathBuf>,
    /// Maximum concurrent connections.
    pub pool: usize,
    /// Whether a standby must have stored an OTP before it is accepted.
    pub standby: Standby,
    /// The file that records which state of the database was seen last; `None`: nothing is recorded.
    pub seen: Option<PathBuf>,
}

/// Whether a synchronous standby must have stored an OTP before it is accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standby {
    /// Only if the database waits for one.
    #[default]
    Optional,
    /// Always: without a synchronous standby no OTP is accepted.
    Required,
}

/// Hides the URL, which may hold a password.
impl std::fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// Limits on load.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct Limits {
    /// Maximum concurrent connections that are kept; excess connections get one answer each, and beyond that HTTP 503.
    #[serde(deserialize_with = "connections")]
    pub connections: usize,
    /// The same from one address (a /64 of IPv6); four times as many from its network (a /24, a /48). 0: no limit.
    #[serde(deserialize_with = "connections_per_address")]
    pub connections_per_address: usize,
    /// Networks that the limit per address does not apply to: proxies, NAT gateways.
    #[serde(deserialize_with = "networks")]
    pub unlimited_from: Vec<IpNet>,
    /// Maximum concurrent verifications; excess ones get BACKEND_ERROR immediately, unless reading the store decides them.
    #[serde(deserialize_with = "in_flight")]
    pub in_flight: usize,
    /// Milliseconds that a verification may take; after that it gets BACKEND_ERROR.
    #[serde(rename = "deadline_ms", deserialize_with = "deadline")]
    pub deadline: Duration,
    /// Milliseconds that a client may take for the TLS handshake, for the head of a request, and for its body.
    #[serde(rename = "read_ms", deserialize_with = "read")]
    pub read: Duration,
    /// Milliseconds that a connection may be idle between two requests.
    #[serde(rename = "idle_ms", deserialize_with = "idle")]
    pub idle: Duration,
    /// Maximum bytes of a request's head.
    #[serde(deserialize_with = "head_bytes")]
    pub head_bytes: usize,
    /// Maximum bytes of a request's body.
    #[serde(deserialize_with = "body_bytes")]
    pub body_bytes: usize,
    /// How many OTPs a second one client may have accepted, and how many it may cause key storage modules to be asked
    /// about; 0: no limit. A client can have its own rate.
    #[serde(deserialize_with = "client_rate")]
    pub client_rate: u32,
    /// How many rejections a second of one client and one token are logged separately; 0: all.
    #[serde(deserialize_with = "token_rate")]
    pub token_rate: u32,
}

impl Limits {
    /// Those that every server has.
    #[must_use]
    pub fn of_connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            connections: self.connections,
            connections_per_address: self.connections_per_address,
            unlimited_from: self.unlimited_from.clone(),
            deadline: self.deadline,
            read: self.read,
            idle: self.idle,
            head_bytes: self.head_bytes,
            body_bytes: self.body_bytes,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_address: 1024,
            unlimited_from: loopback(),
            in_flight: 1024,
            deadline: Duration::from_secs(4),
            read: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            head_bytes: 16 * 1024,
            body_bytes: 4096,
            client_rate: 0,
            token_rate: 10,
        }
    }
}

/// The listener of `/wsapi/decrypt`. Anyone who can reach it learns what any OTP holds.
#[derive(Debug, Clone)]
pub struct Decrypt {
    /// Its address.
    pub listen: DecryptAt,
}

/// The address of `/wsapi/decrypt`.
#[derive(Debug, Clone)]
pub enum DecryptAt {
    /// A socket in the file system, of mode 0660.
    Unix(PathBuf),
    /// An IP address, by TLS, for clients with a certificate by `client_ca` only.
    Tls(SocketAddr, TlsFiles),
}

/// Key storage modules (YK-KSM) with keys that the store does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KsmConfig {
    /// `http://…/wsapi/decrypt`, in the order in which they are asked.
    pub urls: Vec<String>,
    /// How long asking all of them may take.
    pub deadline: Duration,
    /// Maximum concurrent requests to them; excess verifications get BACKEND_ERROR immediately.
    pub in_flight: usize,
    /// Certificate authorities, PEM; the system's if `None`.
    pub ca: Option<PathBuf>,
}

/// Why the configuration cannot be used.
#[derive(Debug)]
pub enum ConfigFault {
    /// The file itself.
    File(FileFault),
    /// Its content: the finding names the line, or the setting.
    Invalid(Box<Diagnostic>),
}

impl From<FileFault> for ConfigFault {
    fn from(fault: FileFault) -> Self {
        Self::File(fault)
    }
}

/// In one line, for logs.
impl std::fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.diagnostic().fmt(f)
    }
}

impl std::error::Error for ConfigFault {}

fn deadline<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    milliseconds(from, "limits.deadline_ms")
}

fn read<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    milliseconds(from, "limits.read_ms")
}

fn idle<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    milliseconds(from, "limits.idle_ms")
}

fn deadline_of_ksm<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    milliseconds(from, "ksm.deadline_ms")
}

/// Of what is concurrent: 0 would refuse everybody.
const AT_A_TIME: RangeInclusive<usize> = 1..=1_000_000;

fn connections<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(from, "limits.connections", AT_A_TIME, Limits::default().connections)
}

fn connections_per_address<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(from, "limits.connections_per_address", 0..=1_000_000, Limits::default().connections_per_address)
}

fn client_rate<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    within(from, "limits.client_rate", 0..=u32::MAX, Limits::default().client_rate)
}

fn token_rate<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    within(from, "limits.token_rate", 0..=u32::MAX, Limits::default().token_rate)
}

fn in_flight<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(from, "limits.in_flight", AT_A_TIME, Limits::default().in_flight)
}

fn in_flight_to_ksm<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(from, "ksm.in_flight", AT_A_TIME, ksm_in_flight())
}

/// At least the shortest head that clients send; at most what memory can hold for many connections.
fn head_bytes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(from, "limits.head_bytes", 1024..=1 << 20, Limits::default().head_bytes)
}

/// At least the shortest signed request.
fn body_bytes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(from, "limits.body_bytes", 128..=1 << 20, Limits::default().body_bytes)
}

/// The default of `postgres.pool`.
const POOL: usize = 16;

fn pool<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    within(from, "postgres.pool", 1..=10_000, POOL).map(Some)
}

fn standby<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Standby, D::Error> {
    one_of(from, "postgres.standby", [("optional", Standby::Optional), ("required", Standby::Required)])
}

/// The text of a setting that may hold a secret. What serde says about a value of another type would quote it.
fn secret<'de, D: serde::Deserializer<'de>>(from: D, wanted: &str) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some).map_err(|_| serde::de::Error::custom(wanted))
}

fn store<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    secret(
        from,
        "store must be text in quotes: a file (SQLite), postgres://USER@HOST:PORT/DATABASE, or etcds://HOST:PORT,HOST:PORT,HOST:PORT/ykvald",
    )
}

fn ksm_urls<'de, D: serde::Deserializer<'de>>(from: D) -> Result<OneOrMore, D::Error> {
    OneOrMore::deserialize(from)
        .map_err(|_| serde::de::Error::custom("urls must be a URL or a list of URLs, in quotes"))
}

fn cluster_servers<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<OneOrMore>, D::Error> {
    OneOrMore::deserialize(from)
        .map(Some)
        .map_err(|_| serde::de::Error::custom("servers must be a URL or a list of URLs, in quotes"))
}

fn password_file<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let path = secret(from, "password_file must be the path of a file, in quotes")?;
    Ok(path.map(PathBuf::from))
}

/// The file as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    listen: Option<OneOrMore>,
    plain_http: bool,
    plain_http2: bool,
    require_signature: bool,
    #[serde(deserialize_with = "store")]
    store: Option<String>,
    store_key: Option<PathBuf>,
    status_from: Option<Vec<String>>,
    tls: Option<TlsFiles>,
    limits: Limits,
    log: LogConfig,
    postgres: RawPostgres,
    etcd: etcd::RawEtcd,
    decrypt: Option<RawDecrypt>,
    ksm: Option<RawKsm>,
    sync: Option<sync::RawSync>,
    cluster: RawCluster,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
struct RawCluster {
    #[serde(deserialize_with = "cluster_servers")]
    servers: Option<OneOrMore>,
    ca: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "listen must be an address, or a list of addresses, in quotes")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
struct RawPostgres {
    #[serde(deserialize_with = "password_file")]
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    #[serde(deserialize_with = "pool")]
    pool: Option<usize>,
    #[serde(deserialize_with = "standby")]
    standby: Standby,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawDecrypt {
    listen: String,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawKsm {
    #[serde(deserialize_with = "ksm_urls")]
    urls: OneOrMore,
    #[serde(default = "ksm_deadline", deserialize_with = "deadline_of_ksm")]
    deadline_ms: Duration,
    #[serde(default = "ksm_in_flight", deserialize_with = "in_flight_to_ksm")]
    in_flight: usize,
    ca: Option<PathBuf>,
}

const fn ksm_deadline() -> Duration {
    Duration::from_secs(3)
}

const fn ksm_in_flight() -> usize {
    256
}

/// The default of `listen`.
pub const LISTEN: &str = "127.0.0.1:8000";

impl From<ConfigFault> for Diagnostic {
    fn from(fault: ConfigFault) -> Self {
        fault.diagnostic()
    }
}

impl ConfigFault {
    /// The finding: where, what is wrong, and what to change.
    pub fn diagnostic(&self) -> Diagnostic {
        match self {
            Self::File(fault) if fault.is_missing() => {
                Diagnostic { code: Code::ConfigMissing, ..fault.diagnostic() }
                    .advise("check the spelling of --config")
                    .run_when("to create a configuration there", Program::Ykvald, "init")
            }
            Self::File(fault) => fault.diagnostic(),
            Self::Invalid(found) => Diagnostic::clone(found),
        }
    }
}

impl Config {
    /// Reads a configuration file. `listen`, if not empty, replaces its setting of that name.
    ///
    /// # Errors
    /// The file, or a value in it, cannot be used.
    pub fn load(path: &Path, listen: &[SocketAddr]) -> Result<Self, ConfigFault> {
        Self::load_replaced(path, listen, None)
    }

    /// The same with another value of `store`; what else concerns the store is as in the file.
    ///
    /// # Errors
    /// As those of [`load`](Self::load).
    pub fn load_for_store(path: &Path, store: &str) -> Result<Self, ConfigFault> {
        Self::load_replaced(path, &[], Some(store))
    }

    fn load_replaced(path: &Path, listen: &[SocketAddr], store: Option<&str>) -> Result<Self, ConfigFault> {
        let text = file::read(path, Audience::Everyone, MOST_CONFIG)?;
        let holds_password = |config: &Self| {
            let ksm = config.ksm.iter().flat_map(|ksm| &ksm.urls);
            let store = match &config.store {
                StoreAt::Postgres(at) => Some(&at.url),
                StoreAt::Sqlite(_) | StoreAt::Etcd(_) => None,
            };
            let peers = config.sync.iter().flat_map(|sync| &sync.peers).map(|peer| peer.url.as_str());
            ksm.chain(store).map(String::as_str).chain(peers).any(has_password)
        };
        let config = Self::read(path, &text, listen, store)?;
        if holds_password(&config) {
            // Then the file itself is a secret.
            file::read(path, Audience::Group, MOST_CONFIG)?;
        }
        Ok(config)
    }

    fn read(
        path: &Path,
        text: &Zeroizing<Vec<u8>>,
        listen: &[SocketAddr],
        store: Option<&str>,
    ) -> Result<Self, ConfigFault> {
        let in_file = |found: Diagnostic, line: Option<usize>| {
            let path = path.as_os_str().as_encoded_bytes();
            let at = line.map_or_else(|| Location::file(path), |line| Location::line(path, line));
            ConfigFault::Invalid(Box::new(found.at(at)))
        };
        let text = str::from_utf8(text)
            .map_err(|_| in_file(Diagnostic::error(Code::ConfigInvalid, "is not UTF-8"), None))?;
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let (line, found) = ykserve::syntax::finding(text, &error);
            in_file(found, Some(line))
        })?;
        let value = |setting: &str, found: Diagnostic| {
            let at = format!("{setting} in {}", shown::text(path.as_os_str().as_encoded_bytes()));
            ConfigFault::Invalid(Box::new(found.at(Location::Setting(at))))
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        let beside = |path: &Path| beside(folder, path);
        let tls_beside = |tls: TlsFiles| TlsFiles {
            certificate: beside(&tls.certificate),
            key: beside(&tls.key),
            client_ca: tls.client_ca.as_deref().map(beside),
        };

        let addresses = |setting, list: Vec<String>| {
            let parse = |text: &String| text.parse().map_err(|_| value(setting, not_an_address(text)));
            list.iter().map(parse).collect::<Result<Vec<SocketAddr>, _>>()
        };
        let listen = if listen.is_empty() {
            addresses("listen", raw.listen.map_or_else(|| vec![LISTEN.to_owned()], OneOrMore::list))?
        } else {
            listen.to_vec()
        };
        if listen.is_empty() {
            let none = invalid("names no address, so no client could reach the server");
            return Err(value(
                "listen",
                none.advise(format!("name one, or leave the line out for {LISTEN}")),
            ));
        }
        if let Some((one, other)) = addresses::clash(&listen) {
            return Err(value("listen", addresses::overlap_found(one, other)));
        }
        let tls = raw.tls.map(tls_beside);
        if let Some(open) = listen.iter().find(|at| !at.ip().is_loopback())
            && tls.is_none()
            && !raw.plain_http
        {
            return Err(value("listen", listen_without_tls(*open)));
        }

        let store = store.map(str::to_owned).or(raw.store).unwrap_or_else(|| "ykvald.db".to_owned());
        let store = if ["postgres://", "postgresql://"].iter().any(|scheme| store.starts_with(scheme)) {
            StoreAt::Postgres(PostgresConfig {
                url: store,
                password_file: raw.postgres.password_file.as_deref().map(beside),
                ca: raw.postgres.ca.as_deref().map(beside),
                pool: raw.postgres.pool.unwrap_or(POOL),
                standby: raw.postgres.standby,
                seen: Some(state(path, "postgres.seen")),
            })
        } else if etcd::is_meant(&store) {
            let read = etcd::read(&store, raw.etcd, folder, state(path, "etcd.seen"));
            StoreAt::Etcd(read.map_err(|(setting, found)| value(setting, *found))?)
        } else if store.contains("://") || is_like_a_url(&store) {
            let neither = invalid("is neither a file (SQLite) nor postgres://… nor etcds://…");
            return Err(value(
                "store",
                neither.advise("if it is a file with an @ in its name, write ./NAME"),
            ));
        } else {
            StoreAt::Sqlite(beside(Path::new(store.strip_prefix("sqlite:").unwrap_or(&store))))
        };

        let status_from = raw.status_from.map_or_else(
            || Ok(loopback()),
            |list| {
                list.iter()
                    .map(|text| network(text).map_err(|why| value("status_from", invalid(&why))))
                    .collect()
            },
        )?;

        let decrypt = raw.decrypt.map(|raw| {
            if let Some(socket) = raw.listen.strip_prefix("unix:") {
                return Ok(Decrypt { listen: DecryptAt::Unix(beside(Path::new(socket))) });
            }
            let (Some(certificate), Some(key), Some(client_ca)) = (raw.certificate, raw.key, raw.client_ca)
            else {
                let open = invalid("listens on an address, and lacks certificate, key or client_ca");
                return Err(value("decrypt", open.advise("set all three, or listen = \"unix:PATH\"")));
            };
            let at = raw.listen.parse().map_err(|_| value("decrypt.listen", not_an_address(&raw.listen)))?;
            if let Some(other) = addresses::taken(at, &listen) {
                return Err(value("decrypt.listen", addresses::overlap_found(at, other)));
            }
            let tls = tls_beside(TlsFiles { certificate, key, client_ca: Some(client_ca) });
            Ok(Decrypt { listen: DecryptAt::Tls(at, tls) })
        });
        let ksm = raw.ksm.map(|raw| {
            let urls = raw.urls.list();
            let http = |url: &String| ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
            if let Some(at) = urls.iter().position(|url| !http(url)) {
                // Not quoted: it may hold a password.
                let number = at.saturating_add(1);
                let problem = format!("URL {number} begins with neither https:// nor http://");
                return Err(value("ksm.urls", Diagnostic::error(Code::KsmUrlInvalid, problem)));
            }
            if urls.is_empty() {
                let none = Diagnostic::error(Code::KsmUrlInvalid, "names no key storage module");
                return Err(value("ksm.urls", none.advise("name one, or remove [ksm]")));
            }
            Ok(KsmConfig {
                urls,
                deadline: raw.deadline_ms,
                in_flight: raw.in_flight,
                ca: raw.ca.as_deref().map(beside),
            })
        });
        let sync = raw.sync.map(|raw| raw.read(beside, state(path, "sync.state"), value));
        let servers = raw.cluster.servers.map_or_else(Vec::new, OneOrMore::list);
        if let Some(other) = servers.iter().find(|url| !is_a_server(url)) {
            let problem = format!("{} is not the URL of a server, without a path", shown::quoted(other));
            return Err(value(
                "cluster.servers",
                invalid(&problem).advise("write https://HOST:PORT, or http://ADDRESS:PORT of this host"),
            ));
        }
        let cluster = ClusterConfig { servers, ca: raw.cluster.ca.as_deref().map(beside) };
        Ok(Self {
            path: path.to_owned(),
            cluster,
            listen,
            plain_http: raw.plain_http,
            plain_http2: raw.plain_http2,
            require_signature: raw.require_signature,
            store,
            store_key: beside(raw.store_key.as_deref().unwrap_or(Path::new("store.key"))),
            tls,
            limits: raw.limits,
            log: raw.log,
            status_from,
            decrypt: decrypt.transpose()?,
            ksm: ksm.transpose()?,
            sync: sync.transpose()?,
        })
    }
}

/// A path of the configuration: relative to its folder.
fn beside(folder: &Path, path: &Path) -> PathBuf {
    folder.join(path)
}

/// A file that records something while the server runs: beside the configuration, or in the data folder if the
/// configuration is in `/etc`.
fn state(config: &Path, file: &str) -> PathBuf {
    let folder = config.parent().unwrap_or(Path::new("/"));
    let folder = if folder == Path::new("/etc/ykvald") { Path::new("/var/lib/ykvald") } else { folder };
    let name = config.file_stem().unwrap_or_default().to_string_lossy();
    folder.join(if name == "config" { file.to_owned() } else { format!("{name}.{file}") })
}

/// Only a scheme, a host and perhaps a port.
fn is_a_server(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let host = rest.strip_suffix('/').unwrap_or(rest);
        !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])
    })
}

fn invalid(problem: &str) -> Diagnostic {
    Diagnostic::error(Code::SettingInvalid, problem)
}

fn not_an_address(text: &str) -> Diagnostic {
    Diagnostic::error(Code::AddressInvalid, format!("{} is not IP:PORT", shown::quoted(text)))
        .advise("write an address such as 127.0.0.1:8000 or [::]:443")
}

/// An address that other hosts reach, without TLS.
pub(crate) fn listen_without_tls(at: SocketAddr) -> Diagnostic {
    let problem = format!("{at} is not a loopback address, and without TLS others can read every OTP");
    Diagnostic::error(Code::ListenWithoutTls, problem)
        .advise("add [tls], or listen on a loopback address behind a proxy with TLS")
}

/// Whether a store without a known scheme may be a mistyped URL, such as `postgres:/user:password@host/database`: as a file
/// name it would be shown, with the password.
fn is_like_a_url(store: &str) -> bool {
    let is_path = ["/", "./", "../", "sqlite:"].iter().any(|begin| store.starts_with(begin));
    !is_path && (store.contains('@') || store.contains("password="))
}

/// Whether the URL of a database holds a password.
#[must_use]
pub fn has_password(url: &str) -> bool {
    // A password may hold a question mark.
    let in_authority = url
        .split_once("://")
        .and_then(|(_, rest)| rest.rsplit_once('@'))
        .is_some_and(|(user, _)| user.contains(':'));
    let (_, query) = url.split_once('?').unwrap_or((url, ""));
    in_authority || query.split('&').any(|part| part.starts_with("password="))
}
