//! How many connections fit within the limit of open files. A connection without a descriptor gets no answer, and a host
//! without an answer considers the server dead; so there are never more connections than descriptors.

use super::BRIEF;
use crate::config::{Config, StoreAt};
use rustix::process::{Resource, getrlimit, setrlimit};
use yubiotp::diagnostic::{Code, Diagnostic};

/// Descriptors for everything but connections: listeners, files of the store for each thread that reads it, the log, and
/// what is open for a moment, such as certificates and refused connections.
const OTHERS: usize = 128;

/// The maximum of open connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Connections that are kept.
    pub connections: usize,
    /// Excess connections, for one request each.
    pub(super) brief: usize,
    /// The limit of open files; `None`: no limit.
    pub open_files: Option<u64>,
    /// Whether this is less than the configuration wants.
    pub is_lowered: bool,
}

/// The finding if [`Room::is_lowered`].
pub fn lowered(room: &Room, wanted: usize) -> Diagnostic {
    let open_files = room.open_files.unwrap_or(u64::MAX);
    let problem = format!(
        "the limit of {open_files} open files leaves room for {} of limits.connections = {wanted}",
        room.connections
    );
    Diagnostic::warning(Code::OpenFilesLimit, problem)
        .advise("raise the limit: LimitNOFILE= of the service, or ulimit -n")
}

impl Room {
    /// Raises the limit of open files to the system's maximum for this process.
    pub(super) fn raised(config: &Config) -> Self {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        // If that fails, the limit stays as it was.
        let _ = setrlimit(Resource::Nofile, limit);
        Self::within(config, getrlimit(Resource::Nofile).current)
    }

    /// The room of a server that is started with the limits of this process.
    #[must_use]
    pub fn foreseen(config: &Config) -> Self {
        Self::within(config, getrlimit(Resource::Nofile).maximum)
    }

    fn within(config: &Config, open_files: Option<u64>) -> Self {
        // The maximum of one semaphore operation.
        let wanted = config.limits.connections.min(u32::MAX as usize);
        let most = open_files.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let left = most.saturating_sub(others(config).min(most / 2));
        let brief = BRIEF.min(left.saturating_sub(wanted).max(left / 2));
        let connections = wanted.min(left.saturating_sub(brief));
        Self { connections, brief, open_files, is_lowered: connections < wanted || brief < BRIEF }
    }
}

/// Descriptors that are not for connections.
fn others(config: &Config) -> usize {
    let store = match &config.store {
        StoreAt::Sqlite(_) => 0,
        StoreAt::Postgres(at) => at.pool,
        // One that is kept, and one that is being opened instead of it.
        StoreAt::Etcd(at) => at.endpoints.len().saturating_mul(2),
    };
    // Each request may be sent to each of them.
    let ksm = config.ksm.as_ref().map_or(0, |ksm| ksm.urls.len().saturating_mul(ksm.in_flight));
    OTHERS.saturating_add(config.listen.len()).saturating_add(store).saturating_add(ksm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_descriptors() {
        let of = |lines: &str, open_files| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config.toml");
            std::fs::write(&path, lines).unwrap();
            let room = Room::within(&Config::load(&path, &[]).unwrap(), open_files);
            (room.connections, room.brief, room.is_lowered)
        };
        // One listener, and OTHERS.
        assert_eq!(of("", None), (16_384, 512, false));
        assert_eq!(of("", Some(65_536)), (16_384, 512, false));
        assert_eq!(of("", Some(16_384 + 512 + 129)), (16_384, 512, false));
        assert_eq!(of("", Some(16_384 + 512 + 128)), (16_383, 512, true));
        assert_eq!(of("", Some(1024)), (448, 447, true));
        assert_eq!(of("", Some(256)), (64, 64, true));
        assert_eq!(of("", Some(0)), (0, 0, true));
        assert_eq!(of("[limits]\nconnections = 100\n", Some(1024)), (100, 512, false));
        assert_eq!(of("[limits]\nconnections = 1\n", Some(642)), (1, 512, false));
        let ksm = "[limits]\nconnections = 100\nin_flight = 9\n[ksm]\nin_flight = 200\nurls = \"http://127.0.0.1:1/wsapi/decrypt\"\n";
        assert_eq!(of(ksm, Some(941)), (100, 512, false));
        assert_eq!(of(ksm, Some(940)), (100, 511, true));
    }
}
