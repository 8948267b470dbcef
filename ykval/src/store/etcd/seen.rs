//! Records which cluster was used, and up to which revision.
//!
//! A cluster that is made anew has another ID, unless its members have the same names, URLs and token: then only its
//! revision tells. etcd counts each change as a revision, and every answer that is read through its log shows at least the
//! revision that was known when it was asked for. A lower one means that a snapshot was restored: OTPs accepted since then
//! look fresh there. When the revision has grown again, a key that the server wrote there tells ([`super::witness`]).
//!
//! The file is written when a server opens the store, every [`EACH`] while the revision grows, as soon as a lower one is
//! seen, and when the server ends: a write with each OTP would cost a sync. So after a server was killed, and only then, a
//! snapshot of its last second that is restored before the server starts again is not noticed.

use super::witness::Witness;
use crate::etcd::Headers;
use crate::etcd::messages::ResponseHeader;
use crate::file::FileFault;
pub(super) use crate::store::seen::NotTaken;
use crate::store::seen::{self, SeenFile};
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use yubiotp::diagnostic::{Code, Diagnostic};

/// How far the file may be behind while a server runs.
pub(super) const EACH: Duration = Duration::from_secs(1);

/// The last known state of one cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SeenState {
    cluster: Option<u64>,
    /// 0: none yet.
    revision: i64,
    /// The key that the server has written.
    witness: Option<Witness>,
}

pub(super) struct Seen {
    memory: Mutex<Memory>,
    file: SeenFile<SeenState>,
}

#[derive(Default)]
struct Memory {
    state: SeenState,
    /// How it was seen first that the cluster was set back. From then on nothing of it counts until this process ends: by new
    /// changes its revision would grow beyond the known one.
    went_back: Option<String>,
    /// What was known then is not in the file yet.
    is_unwritten: bool,
}

impl Seen {
    /// Reads the file; without a file, nothing is recorded.
    pub(super) fn read(path: Option<PathBuf>) -> Result<Self, NotTaken> {
        let file = SeenFile::new(path);
        let state = file.load()?;
        Ok(Self { memory: Mutex::new(Memory { state, ..Memory::default() }), file })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> SeenState {
        self.memory().state
    }

    pub(super) fn revision(&self) -> i64 {
        self.state().revision
    }

    pub(super) fn witness(&self) -> Option<Witness> {
        self.state().witness
    }

    /// The cluster has this.
    pub(super) fn has_written(&self, witness: Witness) {
        self.memory().state.witness = Some(witness);
    }

    /// The cluster does not have what it had. From now on, nothing of it counts.
    pub(super) fn was_set_back(&self) -> Diagnostic {
        let mut memory = self.memory();
        if memory.went_back.is_none() {
            let last = memory.state.witness.map_or(0, |witness| witness.revision);
            let problem = format!(
                "lacks what ykvald wrote at revision {last}: a snapshot was restored, which does not know the OTPs that were \
                 used since"
            );
            self.goes_back(&mut memory, problem);
        }
        Diagnostic::error(Code::DatabaseWentBack, memory.went_back.clone().unwrap_or_default())
    }

    /// It is still known if the server is killed now. If it cannot be written, that is tried again every [`EACH`].
    fn goes_back(&self, memory: &mut Memory, problem: String) {
        memory.went_back = Some(problem);
        memory.is_unwritten = self.file.write(memory.state).is_err();
    }

    /// The cluster that answered, for the guard.
    pub(super) fn cluster(&self) -> Option<String> {
        self.state().cluster.map(hex)
    }

    /// Undoes what was seen since, of a cluster without a store.
    pub(super) fn go_back(&self, to: SeenState) {
        self.memory().state = to;
    }

    /// Why nothing could be recorded, as far as that is known in advance.
    pub(super) fn cannot_remember(&self) -> Option<Diagnostic> {
        self.file.cannot_remember()
    }

    /// Records in the file what was seen. Once the cluster was set back, only what was known before that: an administrator may
    /// have replaced the record since.
    pub(super) fn remember(&self) -> Result<(), NotTaken> {
        let (state, is_settled) = {
            let memory = self.memory();
            (memory.state, memory.went_back.is_some() && !memory.is_unwritten)
        };
        if is_settled {
            return Ok(());
        }
        self.file.write(state)?;
        self.memory().is_unwritten = false;
        Ok(())
    }

    /// Replaces the record by the state that was seen now, older or not.
    pub(super) fn replace(&self, path: Option<&Path>) -> Result<(), FileFault> {
        seen::replace(path, self.state())
    }
}

fn hex(cluster: u64) -> String {
    // As etcdctl shows it.
    format!("{cluster:x}")
}

impl Headers for Seen {
    fn known(&self) -> i64 {
        self.state().revision
    }

    fn check(&self, header: &ResponseHeader, known: Option<i64>) -> Result<(), Diagnostic> {
        let mut memory = self.memory();
        let ResponseHeader { cluster_id, revision, .. } = *header;
        if let Some(cluster) = memory.state.cluster.filter(|cluster| *cluster != cluster_id) {
            let problem = format!(
                "is another etcd cluster ({}) than the one that ykvald has stored in ({}); it may not know which OTPs were used",
                hex(cluster_id),
                hex(cluster)
            );
            return Err(Diagnostic::error(Code::DatabaseIsOther, problem));
        }
        if let Some(known) = known
            && memory.went_back.is_none()
        {
            if revision < known {
                let problem = format!(
                    "is at revision {revision}, and ykvald has seen revision {}: a snapshot was restored, which does not know \
                     the OTPs that were used since",
                    memory.state.revision
                );
                self.goes_back(&mut memory, problem);
            } else {
                memory.state.cluster = Some(cluster_id);
                memory.state.revision = memory.state.revision.max(revision);
            }
        }
        match &memory.went_back {
            Some(problem) if known.is_some() => {
                Err(Diagnostic::error(Code::DatabaseWentBack, problem.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// For people.
impl Display for Seen {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let SeenState { cluster, revision, .. } = self.state();
        write!(f, "revision {revision}")?;
        cluster.map_or(Ok(()), |cluster| write!(f, " of the etcd cluster {}", hex(cluster)))
    }
}

const HEAD: &str = "# The etcd cluster that ykvald has stored in, version 1. Written by ykvald. Without it, a cluster that was \
                    restored from a snapshot is not noticed, and used OTPs are good again.\n";

impl seen::SeenState for SeenState {
    const KIND: &'static str = "etcd cluster";
    const UNNOTICED: &'static str = "an etcd that was restored from a snapshot will not be noticed";

    fn text(self) -> String {
        let cluster = self.cluster.map(|cluster| format!("cluster: {}\n", hex(cluster))).unwrap_or_default();
        let witness = self.witness.map(|Witness { id, revision }| format!("witness: {id:016x} {revision}\n"));
        format!("{HEAD}{cluster}revision: {}\n{}", self.revision, witness.unwrap_or_default())
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let cluster = value("cluster: ").map(|cluster| u64::from_str_radix(cluster, 16)).transpose().ok()?;
        let witness = match value("witness: ").map(|witness| witness.split_once(' ')) {
            None => None,
            Some(parts) => {
                let (id, revision) = parts?;
                let id = u64::from_str_radix(id, 16).ok()?;
                Some(Witness { id, revision: revision.parse().ok()? })
            }
        };
        Some(Self { cluster, revision: value("revision: ")?.parse().ok()?, witness })
    }

    fn or_newer(self, recorded: Self) -> Self {
        let same = recorded.cluster.is_none() || self.cluster.is_none() || recorded.cluster == self.cluster;
        if !same {
            return self;
        }
        let witness = match (self.witness, recorded.witness) {
            (Some(own), Some(other)) if own.id == other.id && other.revision > own.revision => Some(other),
            (own, other) => own.or(other),
        };
        let revision = self.revision.max(recorded.revision);
        Self { cluster: self.cluster.or(recorded.cluster), revision, witness }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cluster_id: u64, revision: i64) -> ResponseHeader {
        ResponseHeader { cluster_id, revision, ..ResponseHeader::default() }
    }

    fn refused(checked: Result<(), Diagnostic>) -> Option<Code> {
        checked.err().map(|found| found.code)
    }

    /// A server that is killed after it has noticed a restored snapshot notices it again.
    #[test]
    fn a_lower_revision_is_recorded_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etcd.seen");
        let seen = || Seen::read(Some(path.clone())).unwrap();
        let killed = seen();
        killed.check(&header(7, 10), Some(0)).unwrap();
        assert_eq!(refused(killed.check(&header(7, 9), Some(10))), Some(Code::DatabaseWentBack));
        assert_eq!(refused(seen().check(&header(7, 9), Some(10))), Some(Code::DatabaseWentBack));
        assert_eq!(seen().known(), 10);
    }

    #[test]
    fn another_cluster_and_a_lower_revision() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etcd.seen");
        let seen = || Seen::read(Some(path.clone())).unwrap();
        let first = seen();
        assert_eq!(refused(first.check(&header(7, 0), None)), None);
        assert_eq!(refused(first.check(&header(7, 10), Some(0))), None);
        // Two that were asked at the same time come in any order.
        assert_eq!(refused(first.check(&header(7, 9), Some(0))), None);
        assert_eq!(first.known(), 10);
        assert_eq!(refused(first.check(&header(8, 11), Some(10))), Some(Code::DatabaseIsOther));
        assert_eq!(refused(first.check(&header(8, 0), None)), Some(Code::DatabaseIsOther));
        // A member that answers about itself may be behind.
        assert_eq!(refused(first.check(&header(7, 3), None)), None);
        first.remember().unwrap();

        let later = seen();
        assert_eq!(refused(later.check(&header(7, 9), Some(later.known()))), Some(Code::DatabaseWentBack));
        assert_eq!(
            refused(later.check(&header(7, 11), Some(10))),
            Some(Code::DatabaseWentBack),
            "it is back"
        );
        assert_eq!(refused(later.check(&header(7, 3), None)), None, "its state can be examined");

        // Another process wrote a newer state meanwhile.
        let other = seen();
        other.check(&header(7, 20), Some(10)).unwrap();
        other.remember().unwrap();
        first.remember().unwrap();
        assert_eq!(seen().known(), 20);
        first.replace(Some(&path)).unwrap();
        assert_eq!(seen().known(), 10);

        std::fs::write(&path, "cluster: 7\nrevision: 1\n").unwrap();
        assert!(matches!(Seen::read(Some(path)), Err(NotTaken::OtherDatabase(_))));
    }
}
