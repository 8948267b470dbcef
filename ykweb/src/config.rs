//! The configuration of the web login: one TOML file, in which every setting but `public_url` has a default.

mod origin;
mod read;
#[cfg(test)]
mod tests;

use crate::file::FileFault;
use crate::session::Requirement;
use ipnet::IpNet;
pub use origin::{BadOrigin, Origin};
pub(crate) use read::listen_without_tls;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
pub use ykserve::settings::{ConnectionLimits, LogConfig, LogFormat, LogTo, TlsFiles};
use yubiotp::diagnostic::{Code, Diagnostic, Program};
use yubiotp::policy::Subject;
use yubiotp::protocol::{ClientId, ClientKey, Server, SyncLevel};

/// The configuration file of a server that root set up.
pub const CONFIG: &str = "/etc/ykweb/config.toml";

/// The configuration.
pub struct Config {
    /// The file that it was read from; paths in it are relative to its folder.
    pub path: PathBuf,
    /// `https://login.example.com`: the portal as browsers see it, without a path. Its scheme is http for `localhost` only.
    pub public_url: Origin,
    /// The addresses on which the portal answers.
    pub listen: Vec<SocketAddr>,
    /// TLS on [`Config::listen`]. Without it they are loopback addresses, behind a web server.
    pub tls: Option<TlsFiles>,
    /// Networks of the web servers in front, whose `X-Forwarded-For` is believed: this host, if none are named.
    pub proxies: Vec<IpNet>,
    /// Where users, tokens, sessions and events are stored.
    pub store: PathBuf,
    /// The file with the key that secrets in it are sealed under.
    pub store_key: PathBuf,
    /// Where web servers ask about requests.
    pub authorizer: Authorizer,
    /// Where a web server hands over users whom it authenticated.
    pub identity: Option<IdentitySocket>,
    /// Where `ykweb-check` asks.
    pub check: Option<PathBuf>,
    /// Who checks passwords.
    pub password: Passwords,
    /// Who decides about the OTPs of YubiKeys; `None`: they are refused.
    pub validation: Option<Validation>,
    /// How long sessions last.
    pub sessions: SessionLimits,
    /// The hosts that are protected.
    pub hosts: Vec<Host>,
    /// Whether the portal's listener also shows a page of each protected host, for trying out.
    pub demo_pages: bool,
    /// The networks that may read `/metrics` and why `/readyz` says no.
    pub status_from: Vec<IpNet>,
    /// Limits on load.
    pub limits: ConnectionLimits,
    /// Where decisions are logged.
    pub log: LogConfig,
}

/// Where web servers ask about requests. Loopback addresses: what they say is worth only as much as the cookie.
#[derive(Debug, Clone)]
pub struct Authorizer {
    /// HTTP, for nginx, Caddy and Traefik.
    pub http: Option<SocketAddr>,
    /// FastCGI, for Apache.
    pub fastcgi: Option<SocketAddr>,
}

/// Where a web server hands over users whom it authenticated: the one place where such a header is believed.
#[derive(Debug, Clone)]
pub struct IdentitySocket {
    /// The socket in the file system.
    pub path: PathBuf,
    /// The users whose processes are believed: the web server's. Never empty.
    pub uids: Vec<u32>,
    /// The realm that is removed from Kerberos names; names of other realms are refused, unless it is `None`: then names
    /// without a realm are believed only.
    pub realm: Option<String>,
}

/// Who checks passwords: `ykweb-password` by PAM, or a file of this program.
#[derive(Debug, Clone)]
pub enum Passwords {
    /// The socket of `ykweb-password`.
    Pam(PathBuf),
    /// A file of users with argon2 hashes.
    File(PathBuf),
    /// Nobody: only who is handed over at [`IdentitySocket`] gets in.
    None,
}

/// The validation servers.
pub struct Validation {
    /// In the order of asking.
    pub servers: Vec<Server>,
    /// Our ID there.
    pub client_id: ClientId,
    /// Our key there. Without it only servers on loopback are asked.
    pub key: Option<ClientKey>,
    /// The file that it is in.
    pub key_file: Option<PathBuf>,
    /// `sl`, if the servers are to confirm with others.
    pub sync_level: Option<SyncLevel>,
    /// Certificate authorities, PEM; the system's if `None`.
    pub ca: Option<PathBuf>,
    /// How long asking all of them may take.
    pub deadline: Duration,
    /// How long one may be silent before the next is asked, too.
    pub hedge: Duration,
}

/// How long sessions last.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Without a request.
    pub idle: Duration,
    /// In all.
    pub most: Duration,
    /// Maximum sessions of one user; the oldest ends.
    pub per_user: usize,
}

/// A protected host.
#[derive(Debug, Clone)]
pub struct Host {
    /// As browsers see it.
    pub origin: Origin,
    /// What is needed everywhere on it. Its web server can ask for more, never for less.
    pub require: Requirement,
    /// Who may: users, and groups as `@group`. Everybody, if empty.
    pub allow: Vec<Subject>,
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

impl From<ConfigFault> for Diagnostic {
    fn from(fault: ConfigFault) -> Self {
        fault.diagnostic()
    }
}

/// In one line, for logs.
impl std::fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.diagnostic().fmt(f)
    }
}

impl std::error::Error for ConfigFault {}

impl ConfigFault {
    /// The finding: where, what is wrong, and what to change.
    pub fn diagnostic(&self) -> Diagnostic {
        match self {
            Self::File(fault) if fault.is_missing() => {
                Diagnostic { code: Code::ConfigMissing, ..fault.diagnostic() }
                    .advise("check the spelling of --config")
                    .run_when("to create a configuration there", Program::Ykwebd, "init --public-url URL")
            }
            Self::File(fault) => fault.diagnostic(),
            Self::Invalid(found) => Diagnostic::clone(found),
        }
    }
}
