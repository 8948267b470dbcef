//! How many connections fit within the limit of open files, beside what the configuration keeps open.

use crate::config::{Config, StoreAt};
use crate::sync::MOST_TO_A_PEER;
use ykserve::descriptors::Room;

/// The room of a server that is started with this configuration and the limits of this process.
#[must_use]
pub fn foreseen(config: &Config) -> Room {
    Room::foreseen(config.limits.connections, others(config))
}

/// Raises the limit of open files to the system's maximum for this process.
pub(super) fn raised(config: &Config) -> Room {
    Room::raised(config.limits.connections, others(config))
}

/// Descriptors of this configuration that are not for connections.
fn others(config: &Config) -> usize {
    let store = match &config.store {
        StoreAt::Sqlite(_) => 0,
        StoreAt::Postgres(at) => at.pool,
        // One that is kept, and one that is being opened instead of it.
        StoreAt::Etcd(at) => at.endpoints.len().saturating_mul(2),
    };
    // Each request may be sent to each of them.
    let ksm = config.ksm.as_ref().map_or(0, |ksm| ksm.urls.len().saturating_mul(ksm.in_flight));
    let peers = config.sync.as_ref().map_or(0, |sync| sync.peers.len().saturating_mul(MOST_TO_A_PEER));
    [config.listen.len(), store, ksm, peers].into_iter().fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_that_are_not_for_connections() {
        let of = |lines: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config.toml");
            std::fs::write(&path, lines).unwrap();
            others(&Config::load(&path, &[]).unwrap())
        };
        assert_eq!(of(""), 1);
        assert_eq!(of("listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]"), 2);
        assert_eq!(of("store = \"postgres://u@db/x\"\n[postgres]\npool = 7"), 8);
        assert_eq!(of("store = \"etcds://a:1,b:2,c:3/x\""), 7);
        assert_eq!(of("[ksm]\nin_flight = 200\nurls = \"http://127.0.0.1:1/wsapi/decrypt\""), 201);
        let peers = "peers = [{ url = \"https://a/wsapi/2.0/sync\", from = \"192.0.2.1\" }, { url = \"https://b/wsapi/2.0/sync\", from = \"192.0.2.2\" }]";
        assert_eq!(of(&format!("[sync]\n{peers}")), 1 + 2 * 68);
    }
}
