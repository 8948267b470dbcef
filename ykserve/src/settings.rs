//! Settings that every server has, as serde reads them, and values of settings.
//!
//! A reader that refuses a value says what the setting has to be.

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use yubiotp::shown;

/// A certificate with its key, in PEM files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities that may certify clients; if `None`, no client is asked for a certificate.
    pub client_ca: Option<PathBuf>,
}

/// Limits on connections: what every server has of the table `limits`.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Maximum concurrent connections that are kept; excess connections get one answer each, and beyond that HTTP 503.
    pub connections: usize,
    /// The same from one address (a /64 of IPv6); four times as many from its network (a /24, a /48). 0: no limit.
    pub connections_per_address: usize,
    /// Networks that the limit per address does not apply to: proxies, NAT gateways.
    pub unlimited_from: Vec<IpNet>,
    /// How long a request may take to be answered. The server keeps to it by itself; so long are requests waited for when
    /// it stops.
    pub deadline: Duration,
    /// How long a client may take for the TLS handshake, for the head of a request, and to read an answer.
    pub read: Duration,
    /// How long a connection may be idle between two requests.
    pub idle: Duration,
    /// Maximum bytes of a request's head.
    pub head_bytes: usize,
    /// Maximum bytes of a request's body. The server keeps to it by itself ([`crate::body::read`]).
    pub body_bytes: usize,
}

/// Where decisions are logged, and how: the table `log`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct LogConfig {
    /// The format of a line.
    #[serde(deserialize_with = "log_format")]
    pub format: LogFormat,
    /// Where lines go.
    #[serde(deserialize_with = "log_to")]
    pub to: LogTo,
    /// Whether nothing is accepted while the log cannot be written.
    pub required: bool,
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `name=value name="a value"`
    #[default]
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Where log lines go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogTo {
    /// Standard output, which systemd passes to the journal.
    #[default]
    Stdout,
    /// syslog(3), facility authpriv.
    Syslog,
}

fn log_format<'de, D: Deserializer<'de>>(from: D) -> Result<LogFormat, D::Error> {
    one_of(from, "log.format", [("logfmt", LogFormat::Logfmt), ("json", LogFormat::Json)])
}

fn log_to<'de, D: Deserializer<'de>>(from: D) -> Result<LogTo, D::Error> {
    one_of(from, "log.to", [("stdout", LogTo::Stdout), ("syslog", LogTo::Syslog)])
}

/// A time in milliseconds, of at most an hour.
///
/// # Errors
/// It is no such number.
pub fn milliseconds<'de, D: Deserializer<'de>>(from: D, setting: &str) -> Result<Duration, D::Error> {
    const HOUR: u32 = 3_600_000;
    let number = u32::deserialize(from).ok().filter(|number| (1..=HOUR).contains(number));
    let number = number.ok_or_else(|| {
        de::Error::custom(format!("{setting} must be a number of milliseconds from 1 to {HOUR} (one hour)"))
    });
    Ok(Duration::from_millis(number?.into()))
}

/// A number of this range.
///
/// # Errors
/// It is none.
pub fn within<'de, D: Deserializer<'de>, N: Deserialize<'de> + PartialOrd + Display>(
    from: D,
    setting: &str,
    range: RangeInclusive<N>,
    default: N,
) -> Result<N, D::Error> {
    N::deserialize(from).ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        de::Error::custom(format!(
            "{setting} must be a number from {least} to {most}; the default is {default}"
        ))
    })
}

/// One of two values by its name.
///
/// # Errors
/// It is neither.
pub fn one_of<'de, D: Deserializer<'de>, T: Copy>(
    from: D,
    setting: &str,
    [one, other]: [(&str, T); 2],
) -> Result<T, D::Error> {
    let name = String::deserialize(from).unwrap_or_default();
    let found = [one, other].into_iter().find(|(known, _)| *known == name);
    found
        .map(|(_, value)| value)
        .ok_or_else(|| de::Error::custom(format!("{setting} must be \"{}\" or \"{}\"", one.0, other.0)))
}

/// A network in CIDR notation, or one address.
///
/// # Errors
/// It is neither: what is wrong.
pub fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    let why = |_| format!("{} is not a network such as 10.0.0.0/8", shown::quoted(text));
    text.parse().or_else(|_| one()).map_err(why)
}

/// A list of networks.
///
/// # Errors
/// It is none.
pub fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let list = Vec::<String>::deserialize(from)?;
    list.iter().map(|text| network(text).map_err(de::Error::custom)).collect()
}

/// The networks of this host itself.
#[must_use]
pub fn loopback() -> Vec<IpNet> {
    [IpNet::new(Ipv4Addr::new(127, 0, 0, 0).into(), 8), IpNet::new(Ipv6Addr::LOCALHOST.into(), 128)]
        .into_iter()
        .flatten()
        .collect()
}
