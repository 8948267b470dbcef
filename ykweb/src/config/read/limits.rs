//! Reads `[sessions]` and `[limits]`: times, and how many.

use crate::config::{ConnectionLimits, SessionLimits};
use crate::session::{BadTime, parse_time};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use std::time::Duration;
use ykserve::settings::{loopback, networks, within};

/// `[sessions]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawSessions {
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

/// `[limits]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawLimits {
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

impl From<RawSessions> for SessionLimits {
    fn from(raw: RawSessions) -> Self {
        Self { idle: raw.idle, most: raw.most, per_user: raw.per_user }
    }
}
