//! Reads the configuration file.

mod host;
mod limits;
mod validation;

use super::{
    Authorizer, BadOrigin, Config, ConfigFault, IdentitySocket, LogConfig, Origin, Passwords, TlsFiles,
};
use crate::file::{self, Audience};
use host::RawHost;
use ipnet::IpNet;
use limits::{RawLimits, RawSessions};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use validation::RawValidation;
use ykserve::addresses;
use ykserve::settings::{loopback, network, networks};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
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
    #[serde(default = "loopback", deserialize_with = "networks")]
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

/// What reads the values of one file.
struct Reader<'a> {
    path: &'a Path,
    /// Its text, in which lines are counted.
    text: &'a str,
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
        origin(text).map_err(|found| self.wrong(setting, found))
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
        let reader = Reader { path, text };
        let beside = |path: &Path| reader.beside(path);
        let tls = raw.tls.map(|tls| TlsFiles {
            certificate: beside(&tls.certificate),
            key: beside(&tls.key),
            client_ca: tls.client_ca.as_deref().map(beside),
        });
        let public_url = reader.origin("public_url", &raw.public_url)?;
        let hosts = reader.hosts(raw.host, &public_url)?;
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
            sessions: raw.sessions.into(),
            hosts,
            demo_pages: raw.demo_pages,
            status_from,
            limits: raw.limits.into(),
            log: raw.log,
        })
    }
}

fn origin(text: &str) -> Result<Origin, Diagnostic> {
    Origin::parse(text).map_err(|why: BadOrigin| {
        let found = invalid(format!("{} {why}", shown::quoted(text)));
        found.advise("write it as browsers show it: https://login.example.com")
    })
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
