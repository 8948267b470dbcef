//! How many connections fit within the limit of open files. A connection without a descriptor gets no answer, and a host
//! without an answer considers the server dead; so there are never more connections than descriptors.

use rustix::process::{Resource, getrlimit, setrlimit};
use yubiotp::diagnostic::{Code, Diagnostic};

/// Maximum concurrent brief connections, if there are descriptors for them: excess connections, for one request each.
pub const BRIEF: usize = 512;

/// Descriptors of every server for everything but connections: files for each thread that reads some, the log, and what is
/// open for a moment, such as certificates and refused connections.
const OTHERS: usize = 128;

/// The maximum of open connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Connections that are kept.
    pub connections: usize,
    /// Excess connections, for one request each.
    pub(crate) brief: usize,
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
    /// Raises the limit of open files to the system's maximum for this process. `wanted` connections, beside so many
    /// `others`: listeners, and what else the server keeps open that is not the same for each server.
    #[must_use]
    pub fn raised(wanted: usize, others: usize) -> Self {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        // If that fails, the limit stays as it was.
        let _ = setrlimit(Resource::Nofile, limit);
        Self::within(wanted, others, getrlimit(Resource::Nofile).current)
    }

    /// The room of a server that is started with the limits of this process.
    #[must_use]
    pub fn foreseen(wanted: usize, others: usize) -> Self {
        Self::within(wanted, others, getrlimit(Resource::Nofile).maximum)
    }

    fn within(wanted: usize, others: usize, open_files: Option<u64>) -> Self {
        // The maximum of one semaphore operation.
        let wanted = wanted.min(u32::MAX as usize);
        let most = open_files.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let left = most.saturating_sub(OTHERS.saturating_add(others).min(most / 2));
        let brief = BRIEF.min(left.saturating_sub(wanted).max(left / 2));
        let connections = wanted.min(left.saturating_sub(brief));
        Self { connections, brief, open_files, is_lowered: connections < wanted || brief < BRIEF }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_descriptors() {
        let of = |wanted, open_files| {
            let room = Room::within(wanted, 1, open_files);
            (room.connections, room.brief, room.is_lowered)
        };
        // One listener, and OTHERS.
        assert_eq!(of(16_384, None), (16_384, 512, false));
        assert_eq!(of(16_384, Some(65_536)), (16_384, 512, false));
        assert_eq!(of(16_384, Some(16_384 + 512 + 129)), (16_384, 512, false));
        assert_eq!(of(16_384, Some(16_384 + 512 + 128)), (16_383, 512, true));
        assert_eq!(of(16_384, Some(1024)), (448, 447, true));
        assert_eq!(of(16_384, Some(256)), (64, 64, true));
        assert_eq!(of(16_384, Some(0)), (0, 0, true));
        assert_eq!(of(100, Some(1024)), (100, 512, false));
        assert_eq!(of(1, Some(642)), (1, 512, false));
    }
}
