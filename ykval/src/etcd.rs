//! A client of etcd (3.4 and later), for the store: gRPC by hand, over the HTTP/2 that is here.
//!
//! [`Etcd::range`] and what else only reads may be asked again at another member. [`Etcd::txn`] is sent **once**: members are
//! chosen and connected to before anything is written, and an answer that was lost is a fault whose [`Outcome`] is `Unknown`.

mod call;
mod fault;
pub(crate) mod messages;

pub use fault::{EtcdFault, EtcdFaultKind, Outcome};

use crate::config::EtcdConfig;
use messages::{
    AlarmMember, CompactionRequest, EtcdMember, HashKvResponse, RangeRequest, RangeResponse, ResponseHeader,
    StatusResponse, TxnRequest, TxnResponse,
};
use std::sync::Arc;
use std::time::Duration;
use yubiotp::diagnostic::Diagnostic;

/// What the store has to say about the header of every answer.
pub(crate) trait Headers: Send + Sync + 'static {
    /// The highest revision that is known, as a request is sent. It is handed to [`Headers::check`] with the answer.
    fn known(&self) -> i64;

    /// Looks at the header of an answer. `known`: what [`Headers::known`] said before the request was sent, if the answer
    /// has to show at least that revision; `None`: the member answers about itself, and may be behind.
    ///
    /// # Errors
    /// Another cluster, or an older state: the caller does not get the answer.
    fn check(&self, header: &ResponseHeader, known: Option<i64>) -> Result<(), Diagnostic>;
}

/// Takes every header.
pub(crate) struct AnyCluster;

impl Headers for AnyCluster {
    fn known(&self) -> i64 {
        0
    }

    fn check(&self, _: &ResponseHeader, _: Option<i64>) -> Result<(), Diagnostic> {
        Ok(())
    }
}

/// A cluster of etcd.
#[derive(Clone)]
pub struct Etcd(Arc<Inner>);

struct Inner {
    at: String,
    endpoints: Vec<String>,
    deadline: Duration,
    headers: Arc<dyn Headers>,
}

/// What one member said about itself.
pub(crate) struct MemberStatus {
    /// `HOST:PORT`, as the configuration has it.
    pub(crate) endpoint: String,
    /// Its answer.
    pub(crate) said: Result<StatusResponse, EtcdFault>,
    /// How long the answer took.
    pub(crate) latency: Duration,
}

impl Etcd {
    /// A client. Nothing is connected to yet.
    ///
    /// # Errors
    /// A file that the settings name cannot be used.
    pub(crate) fn new(config: &EtcdConfig, headers: Arc<dyn Headers>) -> Result<Self, Diagnostic> {
        let endpoints = config.endpoints.iter().map(ToString::to_string).collect();
        Ok(Self(Arc::new(Inner { at: config.to_string(), endpoints, deadline: config.deadline, headers })))
    }

    /// The URL, for people. It holds no password.
    pub(crate) fn at(&self) -> &str {
        &self.0.at
    }

    /// `HOST:PORT` of each member of the configuration, in its order.
    pub(crate) fn endpoints(&self) -> &[String] {
        &self.0.endpoints
    }

    /// Reads keys, linearizably unless it says otherwise.
    ///
    /// # Errors
    /// No member answered before the deadline.
    pub(crate) async fn range(&self, range: RangeRequest) -> Result<RangeResponse, EtcdFault> {
        let _ = range;
        Err(self.unwritten())
    }

    /// A transaction that only reads; it may be asked again.
    ///
    /// # Errors
    /// No member answered before the deadline.
    pub(crate) async fn read(&self, txn: TxnRequest) -> Result<TxnResponse, EtcdFault> {
        let _ = txn;
        Err(self.unwritten())
    }

    /// A transaction, which is sent once.
    ///
    /// # Errors
    /// The outcome says whether it may have been carried out.
    pub(crate) async fn txn(&self, txn: TxnRequest) -> Result<TxnResponse, EtcdFault> {
        let _ = txn;
        Err(self.unwritten())
    }

    /// Forgets what keys were before a revision. It may be asked again: then the kind is `Compacted`.
    ///
    /// # Errors
    /// No member answered before the deadline, or it was compacted already.
    pub(crate) async fn compact(&self, request: CompactionRequest) -> Result<(), EtcdFault> {
        let _ = request;
        Err(self.unwritten())
    }

    /// The members, as the cluster has them. From 3.5 on this is linearizable.
    ///
    /// # Errors
    /// No member answered before the deadline.
    pub(crate) async fn members(&self) -> Result<Vec<EtcdMember>, EtcdFault> {
        Err(self.unwritten())
    }

    /// The alarms that are set.
    ///
    /// # Errors
    /// No member answered before the deadline.
    pub(crate) async fn alarms(&self) -> Result<Vec<AlarmMember>, EtcdFault> {
        Err(self.unwritten())
    }

    /// What each member of the configuration says about itself, in its order. All are asked at once; each within a second.
    pub(crate) async fn status(&self) -> Vec<MemberStatus> {
        Vec::new()
    }

    /// A checksum of all keys of the cluster at this revision (0: the newest), as this member has them. `at` is the place
    /// of the member in [`Etcd::endpoints`].
    ///
    /// # Errors
    /// The member did not answer before the deadline, or compacted the revision.
    pub(crate) async fn hash_kv(&self, at: usize, revision: i64) -> Result<HashKvResponse, EtcdFault> {
        let _ = (at, revision);
        Err(self.unwritten())
    }

    fn unwritten(&self) -> EtcdFault {
        let _ = (self.0.deadline, self.0.headers.known());
        let found = Diagnostic::error(yubiotp::diagnostic::Code::DatabaseUnreachable, "is not written yet");
        EtcdFault::new(Outcome::NotStored, EtcdFaultKind::Unreachable, found)
    }
}
