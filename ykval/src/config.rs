//! The settings of the server: one TOML file, of which every part has a value that holds without it.

mod listen;
#[cfg(test)]
mod tests;

use crate::file::{self, Audience, FileFault};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use yubiotp::shown;
use zeroize::Zeroizing;

/// Where the settings are on a host that was set up by root.
pub const CONFIG: &str = "/etc/ykvald/config.toml";

const MOST_CONFIG: u64 = 1 << 20;

/// The settings.
#[derive(Debug)]
pub struct Config {
    /// The file they came from; paths in it are relative to its folder.
    pub path: PathBuf,
    /// Where questions are answered.
    pub listen: Vec<SocketAddr>,
    /// Whether addresses other than loopback are served without TLS.
    pub plain_http: bool,
    /// Whether HTTP/2 is spoken without TLS, too.
    pub plain_http2: bool,
    /// Whether a question must be signed, of clients that say nothing themselves.
    pub require_signature: bool,
    /// Where tokens and clients are kept.
    pub store: StoreAt,
    /// What they are sealed under.
    pub store_key: PathBuf,
    /// TLS of [`Config::listen`].
    pub tls: Option<TlsFiles>,
    /// What is too much.
    pub limits: Limits,
    /// Where decisions are written down.
    pub log: LogConfig,
    /// Whose requests for `/` and `/metrics` are answered.
    pub status_from: Vec<IpNet>,
    /// The listener of `/wsapi/decrypt`, if it is switched on.
    pub decrypt: Option<Decrypt>,
    /// Key storage modules that have the keys which the store does not.
    pub ksm: Option<KsmConfig>,
}

/// Where tokens and clients are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAt {
    /// A file of SQLite's.
    Sqlite(PathBuf),
    /// A database of PostgreSQL's.
    Postgres(PostgresConfig),
}

impl StoreAt {
    /// The same, without what is remembered of it: no state of it is refused for being older, or another.
    #[must_use]
    pub fn as_if_never_seen(&self) -> Self {
        match self {
            Self::Sqlite(path) => Self::Sqlite(path.clone()),
            Self::Postgres(at) => Self::Postgres(PostgresConfig { seen: None, ..at.clone() }),
        }
    }
}

/// A database of PostgreSQL's.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// `postgres://…`, as libpq takes it. May hold a password.
    pub url: String,
    /// A file that holds the password, instead of the URL.
    pub password_file: Option<PathBuf>,
    /// Certificate authorities of the database, PEM; the system's if not given.
    pub ca: Option<PathBuf>,
    /// The most connections at a time.
    pub pool: usize,
    /// Whether a standby must have every OTP before it is accepted.
    pub standby: Standby,
    /// Where is remembered which state of the database was seen last; `None`: nowhere.
    pub seen: Option<PathBuf>,
}

/// Whether a synchronous standby must have every OTP before it is accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standby {
    /// If the database waits for one.
    #[default]
    Optional,
    /// In any case: without one nothing is accepted.
    Required,
}

/// No password shows.
impl std::fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// A certificate and what goes with it, all PEM.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The chain, the server's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who may certify clients; not given, none is asked for a certificate.
    pub client_ca: Option<PathBuf>,
}

/// What is too much.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections that are kept at a time; others get one answer each, and then HTTP 503.
    #[serde(deserialize_with = "connections")]
    pub connections: usize,
    /// Connections that are kept of one address (a /64 of IPv6), and four times as many of its network (a /24, a /48);
    /// 0: no limit.
    pub connections_per_address: usize,
    /// Networks whose connections are not counted so: of a proxy, or behind one address.
    #[serde(deserialize_with = "networks")]
    pub unlimited_from: Vec<IpNet>,
    /// Verifications at a time; more are refused at once (BACKEND_ERROR), unless reading the store decides them.
    #[serde(deserialize_with = "in_flight")]
    pub in_flight: usize,
    /// Milliseconds that a verification may take; then it is BACKEND_ERROR.
    #[serde(rename = "deadline_ms", deserialize_with = "milliseconds")]
    pub deadline: Duration,
    /// Milliseconds that a client may take for the TLS handshake, for the head of a request, and for its body.
    #[serde(rename = "read_ms", deserialize_with = "milliseconds")]
    pub read: Duration,
    /// Milliseconds that a connection may be idle between two requests.
    #[serde(rename = "idle_ms", deserialize_with = "milliseconds")]
    pub idle: Duration,
    /// Bytes of a request's head.
    #[serde(deserialize_with = "head_bytes")]
    pub head_bytes: usize,
    /// Bytes of a request's body.
    #[serde(deserialize_with = "body_bytes")]
    pub body_bytes: usize,
    /// Tokens that one client may have advanced a second, and OTPs that it may have key storage modules asked about;
    /// 0: no limit. A client can have its own.
    pub client_rate: u32,
    /// Refusals a second of one client about one token that are logged one by one; 0: all.
    pub token_rate: u32,
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

/// Where decisions are written down, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// The form of a line.
    pub format: LogFormat,
    /// Where it goes.
    pub to: LogTo,
    /// Whether nothing is accepted while it cannot be written.
    pub required: bool,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `name=value name="a value"`
    #[default]
    Logfmt,
    /// One object a line.
    Json,
}

/// Where log lines go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogTo {
    /// Standard output, which systemd hands to the journal.
    #[default]
    Stdout,
    /// syslog(3), facility authpriv.
    Syslog,
}

/// The listener of `/wsapi/decrypt`: whoever reaches it learns what any OTP holds.
#[derive(Debug, Clone)]
pub struct Decrypt {
    /// Where.
    pub listen: DecryptAt,
}

/// Where the decryption is reached.
#[derive(Debug, Clone)]
pub enum DecryptAt {
    /// A socket in the file system, of mode 0660.
    Unix(PathBuf),
    /// An address, by TLS, and for those alone whom `client_ca` certified.
    Tls(SocketAddr, TlsFiles),
}

/// Key storage modules (YK-KSM) that have keys which the store does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KsmConfig {
    /// `http://…/wsapi/decrypt`, the first to be asked first.
    pub urls: Vec<String>,
    /// How long all of it may take.
    pub deadline: Duration,
    /// Questions at a time; more are refused at once (BACKEND_ERROR).
    pub in_flight: usize,
    /// Certificate authorities, PEM; the system's if not given.
    pub ca: Option<PathBuf>,
}

/// Why the settings cannot be used, and what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileFault),
    /// Not TOML, or not what a setting takes.
    #[error("{path}: {why}")]
    Toml {
        /// Which file.
        path: PathBuf,
        /// Line and column, and what is wrong.
        why: String,
    },
    /// A value that cannot be.
    #[error("{path}: {setting}: {why}")]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it, and what to change.
        why: String,
    },
}

fn milliseconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    const HOUR: u32 = 3_600_000;
    match u32::deserialize(from)? {
        0 => Err(serde::de::Error::custom("must be above 0")),
        number if number > HOUR => Err(serde::de::Error::custom("must be at most 3600000, which is an hour")),
        number => Ok(Duration::from_millis(number.into())),
    }
}

/// At a time: none would refuse everybody.
const AT_A_TIME: RangeInclusive<usize> = 1..=1_000_000;

fn connections<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(from, "limits.connections", AT_A_TIME, Limits::default().connections)
}

fn in_flight<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(from, "limits.in_flight", AT_A_TIME, Limits::default().in_flight)
}

fn in_flight_to_ksm<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(from, "ksm.in_flight", AT_A_TIME, ksm_in_flight())
}

/// Room for the shortest head that a client sends, and no more than the memory of many connections can hold.
fn head_bytes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(from, "limits.head_bytes", 1024..=1 << 20, Limits::default().head_bytes)
}

/// Room for the shortest question that is signed.
fn body_bytes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(from, "limits.body_bytes", 128..=1 << 20, Limits::default().body_bytes)
}

/// Connections to PostgreSQL if nothing else is said.
const POOL: usize = 16;

fn pool<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    within(from, "postgres.pool", 1..=10_000, POOL).map(Some)
}

fn within<'de, D: serde::Deserializer<'de>>(
    from: D,
    setting: &str,
    range: RangeInclusive<usize>,
    default: usize,
) -> Result<usize, D::Error> {
    let number = usize::deserialize(from)?;
    if range.contains(&number) {
        return Ok(number);
    }
    let (least, most) = (range.start(), range.end());
    Err(serde::de::Error::custom(format!("{setting} must be {least} to {most}: the default is {default}")))
}

/// A network as administrators write it; else what is wrong with it.
fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    let why = |_| format!("{} is no network: write ADDRESS/BITS, such as 10.0.0.0/8", shown::quoted(text));
    text.parse().or_else(|_| one()).map_err(why)
}

fn networks<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let list = Vec::<String>::deserialize(from)?;
    list.iter().map(|text| network(text).map_err(serde::de::Error::custom)).collect()
}

/// This host.
fn loopback() -> Vec<IpNet> {
    [IpNet::new(Ipv4Addr::new(127, 0, 0, 0).into(), 8), IpNet::new(Ipv6Addr::LOCALHOST.into(), 128)]
        .into_iter()
        .flatten()
        .collect()
}

/// The text of a setting that holds a secret, or may be taken to: what serde says of another type quotes the value.
fn secret<'de, D: serde::Deserializer<'de>>(from: D, wanted: &str) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some).map_err(|_| serde::de::Error::custom(wanted))
}

fn store<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    secret(from, "store is text in quotes: a file (SQLite), or postgres://USER@HOST:PORT/DATABASE")
}

fn ksm_urls<'de, D: serde::Deserializer<'de>>(from: D) -> Result<OneOrMore, D::Error> {
    OneOrMore::deserialize(from)
        .map_err(|_| serde::de::Error::custom("urls: expected a URL or a list of URLs, in quotes"))
}

fn password_file<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let path = secret(from, "password_file is the path of a file, in quotes")?;
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
    decrypt: Option<RawDecrypt>,
    ksm: Option<RawKsm>,
}

#[derive(Deserialize)]
#[serde(untagged)]
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
#[serde(deny_unknown_fields, default)]
struct RawPostgres {
    #[serde(deserialize_with = "password_file")]
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    #[serde(deserialize_with = "pool")]
    pool: Option<usize>,
    standby: Standby,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDecrypt {
    listen: String,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKsm {
    #[serde(deserialize_with = "ksm_urls")]
    urls: OneOrMore,
    #[serde(default = "ksm_deadline", deserialize_with = "milliseconds")]
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

/// Where `ykvald serve` listens if nothing else is said.
pub const LISTEN: &str = "127.0.0.1:8000";

impl ConfigFault {
    /// Whether this user may not read the file.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::File(fault) if fault.is_denied())
    }
}

impl Config {
    /// Reads a settings file. `listen` replaces what it says of that.
    ///
    /// # Errors
    /// It cannot be used: with the line, or the setting, and what to change.
    pub fn load(path: &Path, listen: &[SocketAddr]) -> Result<Self, ConfigFault> {
        let text = file::read(path, Audience::Everyone, MOST_CONFIG)?;
        let holds_password = |config: &Self| {
            let ksm = config.ksm.iter().flat_map(|ksm| &ksm.urls);
            let store = match &config.store {
                StoreAt::Postgres(at) => Some(&at.url),
                StoreAt::Sqlite(_) => None,
            };
            ksm.chain(store).any(|url| has_password(url))
        };
        let config = Self::read(path, &text, listen)?;
        if holds_password(&config) {
            // Then it is a secret itself.
            file::read(path, Audience::Group, MOST_CONFIG)?;
        }
        Ok(config)
    }

    fn read(path: &Path, text: &Zeroizing<Vec<u8>>, listen: &[SocketAddr]) -> Result<Self, ConfigFault> {
        let at_fault = |why: String| ConfigFault::Toml { path: path.to_owned(), why };
        let text = str::from_utf8(text).map_err(|_| at_fault("is not UTF-8".to_owned()))?;
        // The message alone: the line that is at fault may hold a password.
        let raw: Raw = toml::from_str(text).map_err(|fault| at_fault(placed(text, &fault)))?;
        let value = |setting, why: String| ConfigFault::Value { path: path.to_owned(), setting, why };
        let folder = path.parent().unwrap_or(Path::new("/"));
        let beside = |path: &Path| folder.join(path);
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
            let why =
                format!("names no address: nobody could ask. Leave the line out for {LISTEN}, or name one");
            return Err(value("listen", why));
        }
        if let Some((one, other)) = listen::clash(&listen) {
            return Err(value("listen", listen::both(one, other)));
        }
        let tls = raw.tls.map(tls_beside);
        if let Some(open) = listen.iter().find(|at| !at.ip().is_loopback())
            && tls.is_none()
            && !raw.plain_http
        {
            let why = format!(
                "{open} is not loopback, and without TLS others read every OTP: give [tls], or plain_http = true"
            );
            return Err(value("listen", why));
        }

        let store = raw.store.unwrap_or_else(|| "ykvald.db".to_owned());
        let store = if ["postgres://", "postgresql://"].iter().any(|scheme| store.starts_with(scheme)) {
            StoreAt::Postgres(PostgresConfig {
                url: store,
                password_file: raw.postgres.password_file.as_deref().map(beside),
                ca: raw.postgres.ca.as_deref().map(beside),
                pool: raw.postgres.pool.unwrap_or(POOL),
                standby: raw.postgres.standby,
                seen: Some(seen(path)),
            })
        } else if store.contains("://") || is_like_a_url(&store) {
            return Err(value(
                "store",
                "is neither a file (SQLite) nor postgres://… (a file with an @ in its name: write ./NAME)"
                    .to_owned(),
            ));
        } else {
            StoreAt::Sqlite(beside(Path::new(store.strip_prefix("sqlite:").unwrap_or(&store))))
        };

        let status_from = raw.status_from.map_or_else(
            || Ok(loopback()),
            |list| list.iter().map(|text| network(text).map_err(|why| value("status_from", why))).collect(),
        )?;

        let decrypt = raw.decrypt.map(|raw| {
            if let Some(socket) = raw.listen.strip_prefix("unix:") {
                return Ok(Decrypt { listen: DecryptAt::Unix(beside(Path::new(socket))) });
            }
            let why = "by an address it is reached with certificates alone: give certificate, key and client_ca, or \
                       listen = \"unix:PATH\"";
            let (Some(certificate), Some(key), Some(client_ca)) = (raw.certificate, raw.key, raw.client_ca) else {
                return Err(value("decrypt", why.to_owned()));
            };
            let at = raw.listen.parse().map_err(|_| value("decrypt.listen", not_an_address(&raw.listen)))?;
            if let Some(other) = listen::taken(at, &listen) {
                return Err(value("decrypt.listen", listen::both(at, other)));
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
                return Err(value(
                    "ksm.urls",
                    format!("URL {number} begins with neither https:// nor http://"),
                ));
            }
            if urls.is_empty() {
                return Err(value("ksm.urls", "names no key storage module: leave [ksm] out".to_owned()));
            }
            Ok(KsmConfig {
                urls,
                deadline: raw.deadline_ms,
                in_flight: raw.in_flight,
                ca: raw.ca.as_deref().map(beside),
            })
        });
        Ok(Self {
            path: path.to_owned(),
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
        })
    }
}

/// Beside the settings, or in the data folder where those are in `/etc`.
fn seen(config: &Path) -> PathBuf {
    let folder = config.parent().unwrap_or(Path::new("/"));
    let folder = if folder == Path::new("/etc/ykvald") { Path::new("/var/lib/ykvald") } else { folder };
    let name = config.file_stem().unwrap_or_default().to_string_lossy();
    let name = if name == "config" { "postgres.seen".to_owned() } else { format!("{name}.postgres.seen") };
    folder.join(name)
}

fn not_an_address(text: &str) -> String {
    format!("{} is no address: write IP:PORT, such as 127.0.0.1:8000 or [::]:443", shown::quoted(text))
}

/// Whether what names no store by its beginning may be the URL of a database that is written wrong, such as
/// `postgres:/user:password@host/database`: as a file it would be shown.
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

/// Where an error is, and what it is, without the text of the line.
fn placed(text: &str, fault: &toml::de::Error) -> String {
    let before = fault.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count().saturating_add(1);
    format!("line {line}: {}", fault.message())
}
