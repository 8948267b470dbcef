//! The cluster, and what a store remembers of it.

use super::cache::Cache;
use super::layout::{Keys, Meta, Value as _};
use super::ops;
use super::seen::{NotTaken, Seen};
use super::state::{Stored, one};
use crate::config::EtcdConfig;
use crate::etcd::messages::{KeyValue, RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use crate::etcd::{Etcd as Client, EtcdFault, EtcdFaultKind, Headers, not_one_cluster};
use crate::guard::Guard;
use crate::store::StoreFault;
use crate::store::batch::Way;
use crate::store::fault::url;
use crate::store::moving::MARKED;
use crate::store::opening::Opening;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// How long the members have to say which cluster they are of, before the store is opened.
const MEET: Duration = Duration::from_secs(1);

/// A store in a cluster.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

pub(super) struct Inner {
    pub(super) client: Client,
    pub(super) keys: Keys,
    pub(super) guard: Guard,
    pub(super) opening: Opening,
    pub(super) seen: Arc<Seen>,
    /// Whether a member on another host is used without TLS.
    pub(super) is_open_to_others: bool,
    cache: Mutex<Cache>,
    /// Whether anything was stored since the server wrote its witness.
    has_stored: AtomicBool,
    /// Whether it is used although it was moved, or is not complete.
    to_move: AtomicBool,
    /// Read-locked by everything that is in progress.
    busy: Arc<RwLock<()>>,
    is_closed: AtomicBool,
}

impl Deref for Link {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Way for Link {
    fn fault(&self, found: Diagnostic) -> StoreFault {
        Link::fault(self, found)
    }
}

impl Link {
    /// Reads the files that the settings name. Nothing is connected to yet.
    pub(super) fn new(config: &EtcdConfig) -> Result<Self, StoreFault> {
        let at = url(&config.to_string());
        let seen = Seen::read(config.seen.clone()).map_err(|why| match why {
            NotTaken::OtherDatabase(found) => StoreFault::of_other_database(at.clone(), *found),
            NotTaken::Fault(found) => StoreFault::of_database(at.clone(), *found),
        })?;
        let seen = Arc::new(seen);
        let client = Client::new(config, Arc::clone(&seen) as Arc<dyn Headers>)
            .map_err(|found| StoreFault::of_database(at.clone(), found))?;
        Ok(Self(Arc::new(Inner {
            client,
            keys: Keys::under(&config.prefix),
            guard: Guard::default(),
            opening: Opening::default(),
            is_open_to_others: !config.tls && config.endpoints.iter().any(|one| !one.is_here()),
            seen,
            cache: Mutex::default(),
            has_stored: AtomicBool::new(false),
            to_move: AtomicBool::new(false),
            busy: Arc::default(),
            is_closed: AtomicBool::new(false),
        })))
    }

    /// Fails if those members that answer at once are not of one cluster.
    pub(super) async fn must_be_one_cluster(&self) -> Result<(), StoreFault> {
        self.client.must_be_one_cluster(MEET).await.map_err(|fault| self.told(&fault))
    }

    /// Before a store is created, or said to be missing: fails also if the cluster has fewer members than the URL names.
    pub(super) async fn must_be_whole(&self) -> Result<(), StoreFault> {
        self.must_be_one_cluster().await?;
        let members = match self.client.members().await {
            Ok(members) => members.len(),
            // A user without that right.
            Err(fault) if fault.kind == EtcdFaultKind::Rights => return Ok(()),
            Err(fault) => return Err(self.told(&fault)),
        };
        self.fewer_members(members).map_or(Ok(()), |problem| Err(self.fault(not_one_cluster(&problem))))
    }

    /// What is wrong if the cluster has so many members: fewer than the URL names.
    pub(super) fn fewer_members(&self, members: usize) -> Option<String> {
        let named = self.client.count();
        (members < named).then(|| match members {
            1 => format!(
                "the etcd that answers is a cluster of its own, of one member, and store names {named}"
            ),
            _ => format!("the cluster has {members} members, and store names {named}"),
        })
    }

    /// Reads at one moment; the values of each range. Fails immediately while the store is not open.
    pub(super) async fn read(
        &self,
        ranges: impl IntoIterator<Item = RangeRequest>,
    ) -> Result<Vec<Vec<KeyValue>>, StoreFault> {
        self.opening.must_be_open()?;
        self.read_unopened(ranges).await
    }

    /// The same before the store is open, to open it.
    pub(super) async fn read_unopened(
        &self,
        ranges: impl IntoIterator<Item = RangeRequest>,
    ) -> Result<Vec<Vec<KeyValue>>, StoreFault> {
        let txn = ops::reads(ranges);
        let count = txn.success.len();
        let _busy = self.busy().await?;
        let answer = self.client.read(txn).await;
        self.values(answer, count)
    }

    /// The same of a page of tokens, which is larger.
    pub(super) async fn read_page(
        &self,
        ranges: Vec<RangeRequest>,
    ) -> Result<Vec<Vec<KeyValue>>, StoreFault> {
        self.opening.must_be_open()?;
        let count = ranges.len();
        let _busy = self.busy().await?;
        let answer = self.client.read_page(ops::reads(ranges)).await;
        self.values(answer, count)
    }

    /// Of so many ranges.
    fn values(
        &self,
        answer: Result<TxnResponse, EtcdFault>,
        count: usize,
    ) -> Result<Vec<Vec<KeyValue>>, StoreFault> {
        let answer = answer.map_err(|fault| self.told(&fault))?;
        self.met();
        let read = ops::ranges(answer.responses).filter(|read| read.len() == count);
        read.ok_or_else(|| self.strange())
    }

    /// Reads one range.
    pub(super) async fn range(&self, range: RangeRequest) -> Result<RangeResponse, StoreFault> {
        self.opening.must_be_open()?;
        let _busy = self.busy().await?;
        let answer = self.client.range(range).await.map_err(|fault| self.told(&fault))?;
        self.met();
        Ok(answer)
    }

    /// Changes something, all or nothing, or finds that a comparison is false: then nothing was changed. It is sent once.
    pub(super) async fn commit(&self, txn: TxnRequest) -> Result<TxnResponse, StoreFault> {
        self.opening.must_be_open()?;
        // Before it is sent: it may be stored although the answer is lost.
        self.has_stored.store(true, Ordering::Release);
        self.commit_unopened(txn).await
    }

    /// Whether anything was, or may have been, stored since this was called last.
    pub(super) fn take_has_stored(&self) -> bool {
        self.has_stored.swap(false, Ordering::AcqRel)
    }

    pub(super) fn set_has_stored(&self) {
        self.has_stored.store(true, Ordering::Release);
    }

    /// The same to create a store.
    pub(super) async fn commit_unopened(&self, txn: TxnRequest) -> Result<TxnResponse, StoreFault> {
        let _busy = self.busy().await?;
        let answer = self.client.txn(txn).await.map_err(|fault| self.told(&fault))?;
        self.met();
        Ok(answer)
    }

    async fn busy(&self) -> Result<OwnedRwLockReadGuard<()>, StoreFault> {
        let busy = Arc::clone(&self.busy).read_owned().await;
        if self.is_closed() {
            Err(self.fault(Diagnostic::error(Code::DatabaseClosed, "is closed")))
        } else {
            Ok(busy)
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Refuses everything new, and waits for what is in progress.
    pub(super) async fn close(&self) {
        self.opening.give_up();
        self.is_closed.store(true, Ordering::Release);
        drop(self.busy.write().await);
    }

    fn met(&self) {
        if let Some(cluster) = self.seen.cluster() {
            self.guard.met(cluster);
        }
    }

    pub(super) fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, uses the store also if it was moved, or is not complete.
    pub(super) fn move_it(&self) {
        self.to_move.store(true, Ordering::Relaxed);
    }

    /// What is stored as `meta`, without which there is no store. Fails if the store was moved, or is not complete.
    pub(super) fn meta(&self, kvs: &[KeyValue]) -> Result<Stored<Meta>, StoreFault> {
        let meta = self.any_meta(kvs)?;
        match &meta.value.moves.mark {
            Some(mark) if meta.value.moves.is_fenced() && !self.to_move.load(Ordering::Relaxed) => {
                Err(StoreFault::Moved { at: self.location(), mark: Box::new(mark.clone()) })
            }
            _ => Ok(meta),
        }
    }

    /// The same of any store.
    pub(super) fn any_meta(&self, kvs: &[KeyValue]) -> Result<Stored<Meta>, StoreFault> {
        let Some(kv) = kvs.first() else { return Err(StoreFault::Missing(self.location())) };
        if let Some(found) =
            super::layout::schema(&kv.value).filter(|found| found % MARKED > super::layout::KNOWN)
        {
            return Err(StoreFault::Later { at: self.location(), found, known: super::layout::KNOWN });
        }
        let value = Meta::read(&kv.value).ok_or_else(|| self.damaged("meta".to_owned()))?;
        Ok(Stored { value, revision: kv.mod_revision })
    }

    /// The revision of the last change by an administrator.
    pub(super) fn change(&self, kvs: &[KeyValue]) -> Result<Stored<super::layout::ChangeNumber>, StoreFault> {
        one(self, kvs, || "change".to_owned())?.ok_or_else(|| self.damaged("change".to_owned()))
    }

    /// The cluster as the location of a finding.
    pub(super) fn location(&self) -> Location {
        url(self.client.at())
    }

    pub(super) fn fault(&self, found: Diagnostic) -> StoreFault {
        StoreFault::of_database(self.location(), found)
    }

    pub(super) fn failed(&self, problem: &str) -> StoreFault {
        self.fault(Diagnostic::error(Code::DatabaseFailed, problem))
    }

    /// The cluster lacks what this server had written. From now on, nothing of it counts.
    pub(super) fn was_set_back(&self) -> StoreFault {
        StoreFault::of_other_database(self.location(), self.seen.was_set_back())
    }

    /// An answer that does not fit the question.
    pub(super) fn strange(&self) -> StoreFault {
        self.failed("answered something that does not fit the question")
    }

    pub(super) fn damaged(&self, what: String) -> StoreFault {
        StoreFault::Damaged { at: self.location(), what }
    }

    pub(super) fn told(&self, fault: &EtcdFault) -> StoreFault {
        match fault.kind {
            EtcdFaultKind::OtherCluster => StoreFault::of_other_database(self.location(), fault.diagnostic()),
            _ => self.fault(fault.diagnostic()),
        }
    }
}
