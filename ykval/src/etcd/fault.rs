//! Why etcd did not do what was asked, and whether it may have done it all the same.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use yubiotp::diagnostic::Diagnostic;

/// Why a request to etcd has no answer. No part of it holds a secret.
#[derive(Debug, Clone)]
pub struct EtcdFault {
    /// Whether the request may have been carried out.
    pub outcome: Outcome,
    /// What failed.
    pub kind: EtcdFaultKind,
    /// The finding, without a location.
    found: Box<Diagnostic>,
}

/// Whether a request that has no answer may have been carried out. Of one that only reads, it means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Proved not to be: it was never written to a connection, or etcd refused it before it proposed it to the cluster.
    NotStored,
    /// Nobody can tell: it was written to a connection.
    Unknown,
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcdFaultKind {
    /// No member could be connected to, or the connection ended.
    Unreachable,
    /// No answer in time.
    Late,
    /// The cluster has no leader, or changed it, or a proposal was not committed.
    NoLeader,
    /// The quota of the database is used up. **The request may have been carried out**: etcd answers so as well when the
    /// request that it just applied used up the quota (`quotaApplierV3` in its `apply.go`).
    NoSpace,
    /// User, password or token.
    Login,
    /// The user may not read or write these keys.
    Rights,
    /// The request itself: too large, too many operations, one key twice.
    Request,
    /// The revision was compacted.
    Compacted,
    /// `Headers` refused the answer: another cluster, or an older state of it.
    OtherCluster,
    /// The members are not of one cluster.
    NotOneCluster,
    /// The certificate, the key or the authorities.
    Tls,
    /// What was answered is not what etcd answers.
    Answer,
    /// Another error of etcd.
    Other,
}

impl EtcdFault {
    pub(super) fn new(outcome: Outcome, kind: EtcdFaultKind, found: Diagnostic) -> Self {
        Self { outcome, kind, found: Box::new(found) }
    }

    /// The same of a request that came before the caller's own, of which nothing was sent.
    pub(super) fn before_sending(self) -> Self {
        Self { outcome: Outcome::NotStored, ..self }
    }

    /// The same of a request that changes something: it says so if nobody can tell whether it did.
    pub(super) fn of_change(self) -> Self {
        match self.outcome {
            Outcome::NotStored => self,
            Outcome::Unknown => {
                self.reworded(|problem| format!("{problem}; whether it was stored is not known"))
            }
        }
    }

    fn reworded(self, words: impl FnOnce(&str) -> String) -> Self {
        let Diagnostic { code, remedies, location, .. } = self.diagnostic();
        let found = Diagnostic::error(code, words(&self.found.problem()));
        Self { found: Box::new(Diagnostic { remedies, location, ..found }), ..self }
    }

    /// The same with the name of the member that it is about, unless there is only one, or it is about several.
    pub(super) fn at_member(self, name: &str, of_several: bool) -> Self {
        if of_several && self.kind != EtcdFaultKind::NotOneCluster {
            self.reworded(|problem| format!("{name}: {problem}"))
        } else {
            self
        }
    }

    /// The finding: what is wrong, and what to do. Its location is for the store to say.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::clone(&self.found)
    }
}

/// In one line, for logs.
impl Display for EtcdFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.found.fmt(f)
    }
}

impl Error for EtcdFault {}
