//! Reads the configuration file.

use super::{
    Authorizer, BadOrigin, Config, ConfigFault, ConnectionLimits, Host, IdentitySocket, LogConfig, Origin,
    Passwords, SessionLimits, TlsFiles, Validation,
};
use crate::file::{self, Audience};
use crate::session::{BadTime, Requirement, parse_time};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ykserve::addresses;
use ykserve::settings::{loopback, milliseconds, network, networks, within};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::policy::Subject;
use yubiotp::protocol::{ClientId, ClientKey, Server, SyncLevel};
use yubiotp::shown;
use zeroize::Zeroizing;

const MOST_CONFIG: u64 = 1 << 20;
const MOST_KEY: u64 = 4096;

/// The default of `listen`.
pub(super) const LISTEN: &str = "127.0.0.1:8490";

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    public_url: String,
    #[serde(default)]
    listen: Option<OneOrMore>,
    #[serde(default)]
    store: Option<PathBuf>,
    #[serde(default)]
    store_key: Option<PathBuf>,
    #[serde(default, deserialize_with = "networks")]
    proxies: Vec<IpNet>,
    #[serde(default)]
    demo_pages: bool,
    #[serde(default)]
    status_from: Option<Vec<String>>,
    #[serde(default)]
    tls: Option<TlsFiles>,
    #[serde(default)]
    authorizer: RawAuthorizer,
    #[serde(default)]
    identity: Option<RawIdentity>,
    #[serde(default)]
    check: Option<RawCheck>,
    #[serde(default)]
    password: RawPassword,
    #[serde(default)]
    validation: Option<RawValidation>,
    #[serde(default)]
    sessions: RawSessions,
    #[serde(default)]
    host: Vec<RawHost>,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    log: LogConfig,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "it must be a text, or a list of texts, in quotes")]
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
struct RawAuthorizer {
    http: Option<String>,
    fastcgi: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawIdentity {
    socket: PathBuf,
    users: OneOrMore,
    #[serde(default)]
    realm: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawCheck {
    socket: PathBuf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
struct RawPassword {
    pam: Option<PathBuf>,
    file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawValidation {
    servers: OneOrMore,
    client_id: u64,
    #[serde(default)]
    api_key_file: Option<PathBuf>,
    #[serde(default)]
    sync_level: Option<String>,
    #[serde(default)]
    ca: Option<PathBuf>,
    #[serde(default = "validation_deadline", deserialize_with = "read_validation_deadline")]
    deadline_ms: Duration,
    #[serde(default = "validation_hedge", deserialize_with = "read_validation_hedge")]
    hedge_ms: Duration,
}

const fn validation_deadline() -> Duration {
    Duration::from_secs(5)
}

const fn validation_hedge() -> Duration {
    Duration::from_secs(1)
}

fn read_validation_deadline<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    milliseconds(from, "validation.deadline_ms")
}

fn read_validation_hedge<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    milliseconds(from, "validation.hedge_ms")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
struct RawSessions {
    #[serde(deserialize_with = "idle")]
    idle: Duration,
    #[serde(deserialize_with = "most")]
    most: Duration,
    #[serde(deserialize_with = "per_user")]
    per_user: usize,
}

impl Default for RawSessions {
    fn default() -> Self {
        Self { idle: Duration::from_secs(3600), most: Duration::from_secs(12 * 3600), per_user: 20 }
    }
}

fn time<'de, D: Deserializer<'de>>(from: D, setting: &str) -> Result<Duration, D::Error> {
    let text = String::deserialize(from).unwrap_or_default();
    parse_time(&text).map_err(|bad| {
        de::Error::custom(match bad {
            BadTime::NoUnit => format!(
                "{setting} has no unit: write \"{text}m\" for minutes, \"{text}s\" for seconds or \"{text}h\" for hours"
            ),
            BadTime::Other => format!(
                "{setting} must be a time in quotes with a unit, from \"1s\" to \"24h\": \"30m\", \"12h\""
            ),
        })
    })
}

fn idle<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    time(from, "sessions.idle")
}

fn most<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    time(from, "sessions.most")
}

fn per_user<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(from, "sessions.per_user", 1..=1000, RawSessions::default().per_user)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawHost {
    url: String,
    #[serde(default)]
    require: String,
    #[serde(default)]
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
struct RawLimits {
    #[serde(deserialize_with = "connections")]
    connections: usize,
    #[serde(deserialize_with = "connections_per_address")]
    connections_per_address: usize,
    #[serde(deserialize_with = "networks")]
    unlimited_from: Vec<IpNet>,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self { connections: 4096, connections_per_address: 256, unlimited_from: loopback() }
    }
}

fn connections<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(from, "limits.connections", 1..=1_000_000, RawLimits::default().connections)
}

fn connections_per_address<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let default = RawLimits::default().connections_per_address;
    within(from, "limits.connections_per_address", 0..=1_000_000, default)
}

impl From<RawLimits> for ConnectionLimits {
    fn from(raw: RawLimits) -> Self {
        Self {
            connections: raw.connections,
            connections_per_address: raw.connections_per_address,
            unlimited_from: raw.unlimited_from,
            // PAM may take its time over a wrong password, and a validation server over an OTP.
            deadline: Duration::from_secs(20),
            read: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            // A Kerberos ticket of somebody in many groups is long.
            head_bytes: 64 * 1024,
            body_bytes: 16 * 1024,
        }
    }
}

/// What reads the values of one file.
struct Reader<'a> {
    path: &'a Path,
}

type Read<T> = Result<T, ConfigFault>;

impl Reader<'_> {
    /// The finding about a setting.
    fn wrong(&self, setting: &str, found: Diagnostic) -> ConfigFault {
        let at = format!("{setting} in {}", shown::text(self.path.as_os_str().as_encoded_bytes()));
        ConfigFault::Invalid(Box::new(found.at(Location::Setting(at))))
    }

    /// A path of the configuration: relative to its folder.
    fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("/")).join(path)
    }

    fn address(&self, setting: &str, text: &str) -> Read<SocketAddr> {
        let not_one = || {
            Diagnostic::error(Code::AddressInvalid, format!("{} is not IP:PORT", shown::quoted(text)))
                .advise("write an address such as 127.0.0.1:8490 or [::1]:8490")
        };
        text.parse().map_err(|_| self.wrong(setting, not_one()))
    }

    /// An address that only this host reaches.
    fn loopback(&self, setting: &str, text: &str) -> Read<SocketAddr> {
        let at = self.address(setting, text)?;
        if at.ip().is_loopback() {
            return Ok(at);
        }
        let open = Diagnostic::error(Code::ListenWithoutTls, format!("{at} is not a loopback address"));
        Err(self.wrong(setting, open.advise("use 127.0.0.1 or [::1]: web servers ask from this host")))
    }

    fn origin(&self, setting: &str, text: &str) -> Read<Origin> {
        Origin::parse(text).map_err(|why: BadOrigin| {
            let found = invalid(format!("{} {why}", shown::quoted(text)));
            self.wrong(setting, found.advise("write it as browsers show it: https://login.example.com"))
        })
    }

    fn listen(&self, raw: Option<OneOrMore>, replaced: &[SocketAddr], tls: bool) -> Read<Vec<SocketAddr>> {
        let listen = if replaced.is_empty() {
            let list = raw.map_or_else(|| vec![LISTEN.to_owned()], OneOrMore::list);
            list.iter().map(|text| self.address("listen", text)).collect::<Read<Vec<_>>>()?
        } else {
            replaced.to_vec()
        };
        if listen.is_empty() {
            let none = invalid("names no address, so no browser could reach the portal".to_owned());
            return Err(
                self.wrong("listen", none.advise(format!("name one, or leave the line out for {LISTEN}")))
            );
        }
        if let Some((one, other)) = addresses::clash(&listen) {
            return Err(self.wrong("listen", addresses::overlap_found(one, other)));
        }
        match listen.iter().find(|at| !tls && !at.ip().is_loopback()) {
            Some(open) => Err(self.wrong("listen", listen_without_tls(*open))),
            None => Ok(listen),
        }
    }

    fn identity(&self, raw: RawIdentity) -> Read<IdentitySocket> {
        let names = raw.users.list();
        let uid = |name: &String| {
            user_id(name).ok_or_else(|| {
                let unknown = invalid(format!("{} is no user in /etc/passwd", shown::quoted(name)));
                self.wrong("identity.users", unknown.advise("name the user of the web server, or its number"))
            })
        };
        let uids = names.iter().map(uid).collect::<Read<Vec<_>>>()?;
        if uids.is_empty() {
            let none = invalid("names no user, so nobody could be handed over".to_owned());
            return Err(self.wrong("identity.users", none.advise("name the user of the web server")));
        }
        Ok(IdentitySocket { path: self.beside(&raw.socket), uids, realm: raw.realm })
    }

    fn passwords(&self, raw: &RawPassword) -> Read<Passwords> {
        match (&raw.pam, &raw.file) {
            (Some(_), Some(_)) => {
                let both = Diagnostic::error(Code::SettingsConflict, "sets pam and file");
                Err(self.wrong("password", both.advise("remove one of the two")))
            }
            (Some(socket), None) => Ok(Passwords::Pam(self.beside(socket))),
            (None, Some(file)) => Ok(Passwords::File(self.beside(file))),
            (None, None) => Ok(Passwords::None),
        }
    }

    fn validation(&self, raw: RawValidation) -> Read<Validation> {
        let of_url = |text: &String| {
            Server::parse(text).map_err(|why| {
                self.wrong("validation.servers", invalid(format!("{} {why}", shown::quoted(text))))
            })
        };
        let servers = raw.servers.list().iter().map(of_url).collect::<Read<Vec<_>>>()?;
        if servers.is_empty() {
            let none = invalid("names no validation server".to_owned());
            return Err(self.wrong("validation.servers", none.advise("name one, or remove [validation]")));
        }
        let key = match raw.api_key_file {
            Some(path) => {
                let path = self.beside(&path);
                let text = file::read(&path, Audience::Group, MOST_KEY).map_err(|fault| {
                    let found = fault.diagnostic();
                    let found = if fault.is_missing() {
                        found.advise("write the key there that the validation server gave out, or correct api_key_file")
                    } else {
                        found
                    };
                    ConfigFault::Invalid(Box::new(found))
                })?;
                let bad = |why: yubiotp::protocol::BadClientKey| {
                    let found = Diagnostic::error(Code::ClientKeyInvalid, why.to_string());
                    ConfigFault::Invalid(Box::new(found.at(file::location(&path))))
                };
                Some(ClientKey::parse(&text).map_err(bad)?)
            }
            None => None,
        };
        let open = |server: &&Server| !server.is_loopback() && (key.is_none() || !server.is_https());
        if let Some(server) = servers.iter().find(open) {
            let problem = if key.is_none() {
                format!(
                    "{} is asked without api_key_file, so anybody on the way could say yes",
                    server.address()
                )
            } else {
                format!("{} is asked without TLS, so others can read and use OTPs", server.address())
            };
            return Err(
                self.wrong("validation", invalid(problem).advise("set api_key_file, and write https://"))
            );
        }
        let sync_level = raw.sync_level.as_deref().map(SyncLevel::parse).transpose();
        Ok(Validation {
            servers,
            client_id: ClientId::new(raw.client_id).ok_or_else(|| {
                self.wrong("validation.client_id", invalid(format!("{} is no client id", raw.client_id)))
            })?,
            key,
            sync_level: sync_level
                .map_err(|why| self.wrong("validation.sync_level", invalid(why.to_string())))?,
            ca: raw.ca.as_deref().map(|path| self.beside(path)),
            deadline: raw.deadline_ms,
            hedge: raw.hedge_ms,
        })
    }

    fn host(&self, number: usize, raw: &RawHost, portal: &Origin) -> Read<Host> {
        let setting = |name: &str| format!("host.{name} of host {number}");
        let origin = self.origin(&setting("url"), &raw.url)?;
        if origin == *portal {
            let same = invalid("is public_url, which is the portal itself".to_owned());
            return Err(self.wrong(&setting("url"), same.advise("give the protected host a name of its own")));
        }
        let require = Requirement::parse(&raw.require)
            .map_err(|why| self.wrong(&setting("require"), invalid(why.to_string())))?;
        let subject = |text: &String| {
            Subject::parse(text).ok_or_else(|| {
                self.wrong(&setting("allow"), invalid(format!("{} is no user", shown::quoted(text))))
            })
        };
        Ok(Host { origin, require, allow: raw.allow.iter().map(subject).collect::<Read<_>>()? })
    }
}

impl Config {
    /// Reads a configuration file. `listen`, if not empty, replaces its setting of that name.
    ///
    /// # Errors
    /// The file, or a value in it, cannot be used.
    pub fn load(path: &Path, listen: &[SocketAddr]) -> Result<Self, ConfigFault> {
        let text = file::read(path, Audience::Everyone, MOST_CONFIG)?;
        Self::read(path, &text, listen)
    }

    pub(super) fn read(path: &Path, text: &Zeroizing<Vec<u8>>, listen: &[SocketAddr]) -> Read<Self> {
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
        let reader = Reader { path };
        let beside = |path: &Path| reader.beside(path);
        let tls = raw.tls.map(|tls| TlsFiles {
            certificate: beside(&tls.certificate),
            key: beside(&tls.key),
            client_ca: tls.client_ca.as_deref().map(beside),
        });
        let public_url = reader.origin("public_url", &raw.public_url)?;
        let hosts = raw.host.iter().enumerate();
        let hosts = hosts
            .map(|(at, raw)| reader.host(at.saturating_add(1), raw, &public_url))
            .collect::<Read<Vec<_>>>()?;
        let second_of_name = hosts.iter().enumerate().find(|(at, host)| {
            hosts.iter().take(*at).any(|earlier| earlier.origin.host() == host.origin.host())
        });
        if let Some((_, host)) = second_of_name {
            let twice = Diagnostic::error(Code::SettingsConflict, format!("names {} twice", host.origin));
            return Err(reader.wrong("host.url", twice.advise("remove one of the two")));
        }
        let loopback_at =
            |setting, text: Option<String>| text.map(|text| reader.loopback(setting, &text)).transpose();
        let status_from = raw.status_from.map_or_else(
            || Ok(loopback()),
            |list| {
                list.iter()
                    .map(|text| network(text).map_err(|why| reader.wrong("status_from", invalid(why))))
                    .collect()
            },
        )?;
        Ok(Self {
            path: path.to_owned(),
            listen: reader.listen(raw.listen, listen, tls.is_some())?,
            public_url,
            tls,
            proxies: raw.proxies,
            store: beside(raw.store.as_deref().unwrap_or(Path::new("ykweb.db"))),
            store_key: beside(raw.store_key.as_deref().unwrap_or(Path::new("store.key"))),
            authorizer: Authorizer {
                http: loopback_at("authorizer.http", raw.authorizer.http)?,
                fastcgi: loopback_at("authorizer.fastcgi", raw.authorizer.fastcgi)?,
            },
            identity: raw.identity.map(|raw| reader.identity(raw)).transpose()?,
            check: raw.check.map(|raw| beside(&raw.socket)),
            password: reader.passwords(&raw.password)?,
            validation: raw.validation.map(|raw| reader.validation(raw)).transpose()?,
            sessions: SessionLimits {
                idle: raw.sessions.idle,
                most: raw.sessions.most,
                per_user: raw.sessions.per_user,
            },
            hosts,
            demo_pages: raw.demo_pages,
            status_from,
            limits: raw.limits.into(),
            log: raw.log,
        })
    }
}

fn invalid(problem: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Code::SettingInvalid, problem.into())
}

/// An address that other hosts reach, without TLS.
pub(crate) fn listen_without_tls(at: SocketAddr) -> Diagnostic {
    let problem =
        format!("{at} is not a loopback address, and without TLS others can read passwords and cookies");
    Diagnostic::error(Code::ListenWithoutTls, problem)
        .advise("add [tls], or listen on a loopback address behind a web server with TLS")
}

/// The number of a user: written as such, or looked up in /etc/passwd, without NSS.
fn user_id(name: &str) -> Option<u32> {
    const MOST_ACCOUNTS: u64 = 16 << 20;
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return name.parse().ok();
    }
    let accounts = file::read(Path::new("/etc/passwd"), Audience::Everyone, MOST_ACCOUNTS).ok()?;
    let accounts = String::from_utf8_lossy(&accounts);
    let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}
