//! Which database a URL names, and how it may be reached.

use super::{StoreFault, tls};
use crate::config;
use crate::file::{self, Audience};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

const MOST_PASSWORD: u64 = 4096;
/// Where packages of PostgreSQL have their sockets: for a URL that names no host.
const SOCKETS: &str = "/run/postgresql";

/// A database, and how it is reached.
pub(super) struct Place {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
    /// For people.
    pub(super) at: String,
}

/// Reads the URL, and the files that go with it.
pub(super) fn read(from: &config::Postgres) -> Result<Place, StoreFault> {
    let (url, mode) = without_ssl_mode(&from.url).map_err(|why| fault("postgres://…", why))?;
    // What the parser says may quote the URL, and that the password.
    let unreadable = "is no URL of PostgreSQL's: write postgres://USER@HOST:PORT/DATABASE, with special characters of a \
                      password as %XX; instead of sslrootcert, [postgres] has ca";
    let mut config: Config = url.parse().map_err(|_| fault("postgres://…", unreadable))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host_path(SOCKETS);
    }
    let at = at(&config);
    let told = |why: &str| fault(&at, why);
    if let Some(path) = &from.password_file {
        if config.get_password().is_some() {
            return Err(told("the password is in the URL, and a password_file is given: keep one"));
        }
        let password =
            file::read(path, Audience::Group, MOST_PASSWORD).map_err(|why| told(&why.to_string()))?;
        config.password(password.trim_ascii_end());
    }
    let here = is_here(&config);
    let tls = match mode {
        // Whoever can listen on loopback here can read this process's memory; and Debian's PostgreSQL offers TLS with a
        // certificate that nobody vouches for.
        None | Some(Mode::Prefer) => !here,
        Some(Mode::Disable) => false,
        Some(Mode::Require) => true,
    };
    config.ssl_mode(if tls { SslMode::Require } else { SslMode::Disable });
    if !tls {
        config.ssl_negotiation(SslNegotiation::Postgres);
    }
    let tls = tls::connector(tls, from.ca.as_deref()).map_err(|why| told(&why))?;

    // With several hosts, the one that can be written to.
    if config.get_hosts().len().max(config.get_hostaddrs().len()) > 1 {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    if config.get_application_name().is_none() {
        config.application_name("ykvald");
    }
    // A database that is gone without a word: its host lost power, or a firewall forgot the connection.
    config
        .connect_timeout(Duration::from_secs(2))
        .tcp_user_timeout(Duration::from_secs(10))
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(3))
        .keepalives_retries(3);
    Ok(Place { config, tls, at })
}

fn fault(at: &str, why: impl Into<String>) -> StoreFault {
    StoreFault::Database { at: at.to_owned(), why: why.into() }
}

enum Mode {
    Disable,
    Prefer,
    Require,
}

/// The URL without `sslmode`, and that: tokio-postgres does not know all of libpq's words for it.
fn without_ssl_mode(url: &str) -> Result<(String, Option<Mode>), &'static str> {
    // As the parser has it, user and password end at the first @, and may hold a question mark.
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
            Some(_) => return Err("sslmode is disable, prefer, require or verify-full"),
            None => {
                rest.push(part);
                continue;
            }
        });
    }
    let question_mark = if rest.is_empty() { "" } else { "?" };
    Ok((format!("{user}{before}{question_mark}{}", rest.join("&")), mode))
}

/// Whether nothing goes over a network. An address that is given goes before the name.
fn is_here(config: &Config) -> bool {
    if !config.get_hostaddrs().is_empty() {
        return config.get_hostaddrs().iter().all(IpAddr::is_loopback);
    }
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let name = name.trim_start_matches('[').trim_end_matches(']');
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
    })
}

/// Host, port and name, as a URL.
fn at(config: &Config) -> String {
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    let port = |at: usize| config.get_ports().get(at).or(config.get_ports().first()).copied().unwrap_or(5432);
    if let [Host::Unix(folder)] = config.get_hosts() {
        return at_socket(folder, port(0), database);
    }
    let names = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) if name.contains(':') && !name.starts_with('[') => format!("[{name}]"),
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.display().to_string(),
    });
    let mut names: Vec<_> = names.collect();
    if names.is_empty() {
        names = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    }
    let hosts: Vec<_> = names.iter().enumerate().map(|(at, name)| format!("{name}:{}", port(at))).collect();
    format!("postgres://{}/{database}", hosts.join(","))
}

fn at_socket(folder: &Path, port: u16, database: &str) -> String {
    let port = if port == 5432 { String::new() } else { format!("&port={port}") };
    format!("postgres:///{database}?host={}{port}", folder.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<(String, SslMode), String> {
        let from = config::Postgres { url: url.to_owned(), password_file: None, ca: None, pool: 1 };
        super::read(&from).map(|place| (place.at, place.config.get_ssl_mode())).map_err(|why| why.to_string())
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
