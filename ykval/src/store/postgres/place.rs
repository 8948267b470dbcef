//! Which database a URL names, and how it may be reached.

use super::{StoreFault, tls};
use crate::config;
use crate::file::{self, Audience};
use crate::store::fault;
use crate::store::presence::Door;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host as Named, SslMode, SslNegotiation};
use tokio_postgres_rustls::MakeRustlsConnect;
use yubiotp::diagnostic::{Code, Diagnostic};

const MOST_PASSWORD: u64 = 4096;
/// The folder of PostgreSQL's sockets, as packages set it: for a URL without a host.
const SOCKETS: &str = "/run/postgresql";

/// A database, and how it is reached.
pub(super) struct Target {
    /// In the order of the URL.
    pub(super) hosts: Vec<Host>,
    pub(super) tls: MakeRustlsConnect,
    /// For people.
    pub(super) at: String,
}

/// One of the hosts that a URL names.
pub(super) struct Host {
    /// With its port, for people.
    pub(super) name: String,
    /// How to reach this host.
    pub(super) config: Config,
}

impl Host {
    /// Where connections to it begin.
    pub(super) fn door(&self) -> Option<Door> {
        let port = self.config.get_ports().first().copied()?;
        if let Some(address) = self.config.get_hostaddrs().first() {
            return Some(Door::Tcp(address.to_string(), port));
        }
        Some(match self.config.get_hosts().first()? {
            Named::Tcp(name) => {
                Door::Tcp(name.trim_start_matches('[').trim_end_matches(']').to_owned(), port)
            }
            Named::Unix(folder) => Door::Unix(folder.join(format!(".s.PGSQL.{port}"))),
        })
    }
}

/// Reads the URL, and the files that go with it.
pub(super) fn read(from: &config::PostgresConfig) -> Result<Target, StoreFault> {
    let in_url = |found| StoreFault::of_database(fault::url("postgres://…"), found);
    let (url, mode) = without_ssl_mode(&from.url).map_err(|why| in_url(invalid(why)))?;
    // The parser's message may quote the URL, and with it the password.
    let mut config: Config = url.parse().map_err(|_| {
        in_url(invalid("is not a URL of PostgreSQL").advise(
            "write postgres://USER@HOST:PORT/DATABASE, with special characters of a password as %XX; instead of sslrootcert, \
             set ca in [postgres]",
        ))
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host_path(SOCKETS);
    }
    let at = at(&config);
    let told = |found: Diagnostic| StoreFault::of_database(fault::url(&at), found);
    if let Some(path) = &from.password_file {
        if config.get_password().is_some() {
            let twice = "the password is in the URL, and password_file is set too";
            return Err(told(
                Diagnostic::error(Code::DatabasePasswordTwice, twice).advise("remove one of them"),
            ));
        }
        let password =
            file::read(path, Audience::Group, MOST_PASSWORD).map_err(|fault| told(fault.diagnostic()))?;
        config.password(password.trim_ascii_end());
    }
    let here = is_here(&config);
    let tls = match mode {
        // A process that can listen on this host's loopback can read our memory anyway; and Debian's PostgreSQL offers
        // TLS with a self-signed certificate.
        None | Some(Mode::Prefer) => !here,
        Some(Mode::Disable) => false,
        Some(Mode::Require) => true,
    };
    config.ssl_mode(if tls { SslMode::Require } else { SslMode::Disable });
    if !tls {
        config.ssl_negotiation(SslNegotiation::Postgres);
    }
    let tls = tls::connector(tls, from.ca.as_deref()).map_err(told)?;

    if config.get_application_name().is_none() {
        config.application_name("ykvald");
    }
    let hosts = hosts(&config).map_err(|why| told(invalid(why)))?;
    Ok(Target { hosts, tls, at })
}

fn invalid(problem: &str) -> Diagnostic {
    Diagnostic::error(Code::DatabaseUrlInvalid, problem)
}

enum Mode {
    Disable,
    Prefer,
    Require,
}

/// Takes `sslmode` out of the URL: tokio-postgres does not know all of libpq's values.
fn without_ssl_mode(url: &str) -> Result<(String, Option<Mode>), &'static str> {
    // For the parser, user and password end at the first @, and may contain a question mark.
    let (user, rest) = url.split_at(url.find('@').unwrap_or(0));
    let Some((before, query)) = rest.split_once('?') else { return Ok((url.to_owned(), None)) };
    let mut mode = None;
    let mut rest = Vec::new();
    for part in query.split('&') {
        mode = Some(match part.strip_prefix("sslmode=") {
            Some("disable") => Mode::Disable,
            Some("prefer") => Mode::Prefer,
            // The name in the certificate is always checked.
            Some("require" | "verify-full") => Mode::Require,
            Some(_) => return Err("sslmode must be disable, prefer, require or verify-full"),
            None => {
                rest.push(part);
                continue;
            }
        });
    }
    let question_mark = if rest.is_empty() { "" } else { "?" };
    Ok((format!("{user}{before}{question_mark}{}", rest.join("&")), mode))
}

/// The hosts, one by one. `target_session_attrs` and `load_balance_hosts` are ignored: each host is always checked for
/// writes, and all are tried concurrently.
fn hosts(all: &Config) -> Result<Vec<Host>, &'static str> {
    let (names, addresses, ports) = (all.get_hosts(), all.get_hostaddrs(), all.get_ports());
    let count = names.len().max(addresses.len());
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err("it must have one hostaddr for each host, or none");
    }
    if ports.len() > 1 && ports.len() != count {
        return Err("it must have one port, or one for each host");
    }
    let one = |at: usize| {
        let mut one = without_hosts(all);
        match names.get(at) {
            Some(Named::Tcp(name)) => drop(one.host(name)),
            Some(Named::Unix(folder)) => drop(one.host_path(folder)),
            None => {}
        }
        if let Some(address) = addresses.get(at) {
            one.hostaddr(*address);
        }
        one.port(ports.get(at).or(ports.first()).copied().unwrap_or(5432));
        let name = names_of(&one).concat();
        Host { name, config: one }
    };
    Ok((0..count).map(one).collect())
}

fn without_hosts(all: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(database) = all.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    if let Some(name) = all.get_application_name() {
        one.application_name(name);
    }
    one.ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .keepalives(all.get_keepalives())
        // For a database that vanished: its host lost power, or a firewall dropped the connection.
        .connect_timeout(Duration::from_secs(2))
        .tcp_user_timeout(Duration::from_secs(10))
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(3))
        .keepalives_retries(3);
    one
}

/// Whether it is this host, so that nothing goes over a network. An address takes precedence over a name.
fn is_here(config: &Config) -> bool {
    if !config.get_hostaddrs().is_empty() {
        return config.get_hostaddrs().iter().all(IpAddr::is_loopback);
    }
    config.get_hosts().iter().all(|host| match host {
        Named::Unix(_) => true,
        Named::Tcp(name) => {
            let name = name.trim_start_matches('[').trim_end_matches(']');
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
    })
}

/// Host, port and name, as a URL.
fn at(config: &Config) -> String {
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    let port = |at: usize| config.get_ports().get(at).or(config.get_ports().first()).copied().unwrap_or(5432);
    if let [Named::Unix(folder)] = config.get_hosts() {
        return at_socket(folder, port(0), database);
    }
    format!("postgres://{}/{database}", names_of(config).join(","))
}

/// Hosts with their ports.
fn names_of(config: &Config) -> Vec<String> {
    let port = |at: usize| config.get_ports().get(at).or(config.get_ports().first()).copied().unwrap_or(5432);
    let names = config.get_hosts().iter().map(|host| match host {
        Named::Tcp(name) if name.contains(':') && !name.starts_with('[') => format!("[{name}]"),
        Named::Tcp(name) => name.clone(),
        Named::Unix(folder) => folder.display().to_string(),
    });
    let mut names: Vec<_> = names.collect();
    if names.is_empty() {
        names = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    }
    names.iter().enumerate().map(|(at, name)| format!("{name}:{}", port(at))).collect()
}

fn at_socket(folder: &Path, port: u16, database: &str) -> String {
    let port = if port == 5432 { String::new() } else { format!("&port={port}") };
    format!("postgres:///{database}?host={}{port}", folder.display())
}

#[cfg(test)]
mod tests {
    use super::super::cluster;
    use super::*;

    fn place(url: &str) -> Result<Target, String> {
        super::read(&cluster::settings(url.to_owned())).map_err(|why| why.to_string())
    }

    fn read(url: &str) -> Result<(String, SslMode), String> {
        place(url).map(|place| (place.at, place.hosts[0].config.get_ssl_mode()))
    }

    #[test]
    fn each_host_by_itself() {
        let url = "postgres://u:p@a,b:6000/d?options=-cx&application_name=n&keepalives=0&hostaddr=192.0.2.1,192.0.2.2";
        let place = place(url).unwrap();
        let names: Vec<_> = place.hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(names, ["a:5432", "b:6000"]);
        let b = &place.hosts[1].config;
        assert_eq!((b.get_hosts(), b.get_ports()), (&[Named::Tcp("b".to_owned())][..], &[6000][..]));
        assert_eq!(b.get_hostaddrs(), [IpAddr::from([192, 0, 2, 2])]);
        assert_eq!((b.get_user(), b.get_password(), b.get_dbname()), (Some("u"), Some(&b"p"[..]), Some("d")));
        assert_eq!((b.get_options(), b.get_application_name()), (Some("-cx"), Some("n")));
        assert!(!b.get_keepalives() && b.get_connect_timeout().is_some());
        for url in ["postgres://u@a,b,c/d?port=1,2", "postgres://u@a,b/d?hostaddr=192.0.2.1"] {
            let fault = super::read(&cluster::settings(url.to_owned())).err().unwrap();
            assert_eq!(fault.diagnostic().code, Code::DatabaseUrlInvalid, "{url}");
        }
    }

    #[test]
    fn who_is_reached_without_tls() {
        for (url, at, mode) in [
            ("postgres:///ykvald?user=y", "postgres:///ykvald?host=/run/postgresql", SslMode::Disable),
            (
                "postgres:///ykvald?host=/tmp/x&port=6000&sslmode=prefer",
                "postgres:///ykvald?host=/tmp/x&port=6000",
                SslMode::Disable,
            ),
            ("postgres://u:p@localhost/ykvald", "postgres://localhost:5432/ykvald", SslMode::Disable),
            ("postgres://u:p@127.0.0.1:99/d", "postgres://127.0.0.1:99/d", SslMode::Disable),
            ("postgres://u:p@[::1]:99/d", "postgres://[::1]:99/d", SslMode::Disable),
            (
                "postgresql://u:p@localhost/d?sslmode=verify-full",
                "postgres://localhost:5432/d",
                SslMode::Require,
            ),
            ("postgres://u:p@db.example/d?sslmode=disable", "postgres://db.example:5432/d", SslMode::Disable),
            ("postgres://u:p@db.example/d", "postgres://db.example:5432/d", SslMode::Require),
            ("postgres://u:p@db.example/d?sslmode=prefer", "postgres://db.example:5432/d", SslMode::Require),
            (
                "postgres://u:p@localhost/d?hostaddr=192.0.2.1",
                "postgres://localhost:5432/d",
                SslMode::Require,
            ),
            ("postgres://u:p?sslmode=disable&p@h/d?sslmode=require", "postgres://h:5432/d", SslMode::Require),
            ("postgres://u@a,b:6000/d", "postgres://a:5432,b:6000/d", SslMode::Require),
        ] {
            assert_eq!(read(url), Ok((at.to_owned(), mode)), "{url}");
        }
    }

    #[test]
    fn no_error_holds_a_password() {
        for url in [
            "postgres://u:hunter2@host:port/d",
            "postgres://u@host/d?password=hunter2&sslmode=maybe",
            "postgres://u@host/d?sslrootcert=hunter2",
            "postgres://u:hunter2@host/d?hunter2",
        ] {
            let told = read(url).unwrap_err();
            assert!(!told.contains("ter2"), "{told}");
        }
    }
}
