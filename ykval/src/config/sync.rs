//! `[sync]`: the pool of YK-VAL servers that this one belongs to during a move.

use super::{ConfigFault, OneOrMore, invalid, milliseconds, network, secret, within};
use ipnet::IpNet;
use reqwest::Url;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use yubiotp::diagnostic::{Code, Diagnostic};

/// The pool.
#[derive(Debug, Clone)]
pub struct SyncConfig {
    /// The other servers.
    pub peers: Vec<PeerConfig>,
    /// Certificate authorities for them, PEM; the system's if `None`.
    pub ca: Option<PathBuf>,
    /// Percent of the peers that have to confirm an OTP if the client names no `sl`.
    pub default_level: u64,
    /// The same for `sl=fast`.
    pub fast_level: u64,
    /// The same for `sl=secure`.
    pub secure_level: u64,
    /// How long to wait for them if the client names no `timeout`.
    pub timeout: Duration,
    /// The file that records until when each peer was told everything.
    pub state: PathBuf,
}

/// One server of the pool.
#[derive(Clone)]
pub struct PeerConfig {
    /// `https://…/wsapi/2.0/sync`. May hold a password.
    pub url: Url,
    /// The addresses that its messages come from; none: it may not send any.
    pub from: Vec<IpNet>,
}

/// Hides the URL, which may hold a password.
impl std::fmt::Debug for PeerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerConfig").field("from", &self.from).finish_non_exhaustive()
    }
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawSync {
    peers: Vec<RawPeer>,
    ca: Option<PathBuf>,
    #[serde(default = "default_level", deserialize_with = "level_by_default")]
    default_level: u64,
    #[serde(default = "fast_level", deserialize_with = "level_of_fast")]
    fast_level: u64,
    #[serde(default = "secure_level", deserialize_with = "level_of_secure")]
    secure_level: u64,
    #[serde(default = "timeout", deserialize_with = "timeout_of_peers")]
    timeout_ms: Duration,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "peers must be a list of tables such as { url = \"https://…\", from = \"192.0.2.10\" }"
)]
struct RawPeer {
    #[serde(deserialize_with = "url")]
    url: Option<String>,
    from: Option<OneOrMore>,
}

fn url<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    secret(from, "url must be text in quotes: https://HOST/wsapi/2.0/sync")
}

// The defaults of YK-VAL.

const fn default_level() -> u64 {
    60
}

const fn fast_level() -> u64 {
    1
}

const fn secure_level() -> u64 {
    40
}

const fn timeout() -> Duration {
    Duration::from_secs(1)
}

fn level_by_default<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    within(from, "sync.default_level", 0..=100, default_level())
}

fn level_of_fast<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    within(from, "sync.fast_level", 0..=100, fast_level())
}

fn level_of_secure<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    within(from, "sync.secure_level", 0..=100, secure_level())
}

fn timeout_of_peers<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    milliseconds(from, "sync.timeout_ms")
}

impl RawSync {
    /// Checks the table. `wrong` makes the fault of a setting.
    pub(super) fn read(
        self,
        beside: impl Fn(&Path) -> PathBuf,
        state: PathBuf,
        wrong: impl Fn(&str, Diagnostic) -> ConfigFault,
    ) -> Result<SyncConfig, ConfigFault> {
        let wrong = |found| wrong("sync.peers", found);
        if self.peers.is_empty() {
            return Err(wrong(invalid("names no server").advise("name one, or remove [sync]")));
        }
        let mut peers = Vec::<PeerConfig>::new();
        for (number, raw) in (1_usize..).zip(self.peers) {
            let peer = read_peer(number, raw, &wrong)?;
            if peers.iter().any(|other| other.url == peer.url) {
                let twice =
                    Diagnostic::error(Code::SettingsConflict, format!("peer {number} is named twice"));
                return Err(wrong(twice.advise("remove one of the two")));
            }
            peers.push(peer);
        }
        Ok(SyncConfig {
            peers,
            ca: self.ca.as_deref().map(beside),
            default_level: self.default_level,
            fast_level: self.fast_level,
            secure_level: self.secure_level,
            timeout: self.timeout_ms,
            state,
        })
    }
}

fn read_peer(
    number: usize,
    raw: RawPeer,
    wrong: &impl Fn(Diagnostic) -> ConfigFault,
) -> Result<PeerConfig, ConfigFault> {
    // Not quoted: it may hold a password.
    let wrong_url = |why: &str| {
        let found = Diagnostic::error(Code::SyncUrlInvalid, format!("the url of peer {number} {why}"));
        wrong(found.advise("write https://HOST/wsapi/2.0/sync"))
    };
    let url = Url::parse(&raw.url.unwrap_or_default()).map_err(|_| wrong_url("is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong_url("begins with neither https:// nor http://"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong_url("names no host"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong_url("has a ? or #"));
    }
    let from = raw.from.map(OneOrMore::list).unwrap_or_default().into_iter().map(|text| {
        let network = network(&text).map_err(|why| {
            let found = invalid(&format!("from of peer {number}: {why}"));
            wrong(found.advise("write IP addresses or networks; names are not resolved"))
        })?;
        if network.prefix_len() == 0 {
            let every = invalid(&format!("from of peer {number} is every address"));
            return Err(wrong(every.advise("write the addresses of this server only")));
        }
        Ok(network)
    });
    Ok(PeerConfig { url, from: from.collect::<Result<_, _>>()? })
}
