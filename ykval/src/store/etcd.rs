//! The store in a cluster of etcd, which several servers share and which survives the loss of a minority of its members.
//!
//! etcd applies one transaction after the other, in an order that all members have, and answers when a majority has written
//! it to disk. A transaction compares first, all of it as of one moment, and then changes everything or nothing. So one
//! transaction is enough for a step (`advance`): *if* the token's record has not changed since it was read, *and* `meta` has
//! not, *and* the stored position is lower, *then* the position is stored. What was read may be old (`cache`): a comparison
//! that is false stores nothing, and its answer has what is stored, all of it as of that moment. Only that, or a read that
//! went through the log of the cluster, rejects an OTP.
//!
//! Steps that wait at the same time are one request (`batch`): a transaction of transactions, each of another token and key,
//! as etcd refuses two changes of one key. Each is taken or not for itself. At most `STEPS` are in progress.
//!
//! - **Two servers with one OTP**: etcd applies one first. The second finds that the position is not lower.
//! - **Two OTPs of one token at one server**: the lower one goes first, and the other in the next transaction.
//! - **Two servers with the first OTP of a token that nobody knew**: each compares that there is no record, and puts one.
//! - **An OTP, while its key is replaced or removed, or its token is disabled**: each changes the record, which the step
//!   compares.
//! - **An OTP, while its token becomes restored**: that changes `meta`, which the step compares. The step says whether its caller
//!   knew the token as restored; if not, it is refused now, and two touches have to prove the position.
//! - **Two changes by administrators** (`change`): each compares and raises one number. The second finds it changed, stores
//!   nothing, and decides anew.
//!
//! A request that changes something is sent once, to one member. If its answer is lost, it may have been carried out: that is
//! a fault for each caller whose step was in it, and nobody asks again. A second attempt would find the position that the
//! first one stored, and reject a valid OTP as replayed.
//!
//! A large import is several transactions (`keys`, `raise`): an interruption leaves a part of it, and the same import goes on.
//!
//! Positions are of no use if the cluster forgets. It forgets if a snapshot is restored, which its revision tells (`seen`), and
//! a key that each server writes and compares (`witness`); or if somebody deletes keys, which the guard notices.

mod advance;
mod cache;
mod change;
mod clients;
mod clocks;
mod keys;
mod layout;
mod link;
mod meta;
mod moving;
mod ops;
mod pages;
mod raise;
mod reads;
mod reseal;
mod restored;
mod seen;
mod serving;
mod state;
#[cfg(test)]
mod tests;
mod traps;
mod witness;

use super::batch::Queue;
use super::*;
use crate::config::EtcdConfig;
use crate::etcd::Observed;
use link::Link;

/// Concurrent requests that read tokens, and that advance them. While one waits for its answer, the next one fills up.
const READS: usize = 2;
const STEPS: usize = 2;

/// What the keys of a store begin with, from its URL.
fn at_prefix(at: &str) -> String {
    let path = at.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    path.map(|(_, path)| format!(", /{path}")).unwrap_or_default()
}

/// A store in etcd.
#[derive(Clone)]
pub struct Etcd {
    link: Link,
    reads: Queue<Link, PublicId>,
    steps: Queue<Link, Step>,
}

#[expect(missing_docs, reason = "Store says it")]
impl Etcd {
    pub async fn create(at: &EtcdConfig, key: impl Into<StoreKeyIds>) -> Result<Self, StoreFault> {
        let (link, key) = (Link::new(at)?, key.into());
        // Read first: where a store exists, this changes nothing.
        match meta::look(&link, key).await {
            // Another process may be faster.
            Err(StoreFault::Missing(_)) => {
                let _ = meta::make(&link, key.current, None).await?;
            }
            looked => {
                let _ = looked?;
            }
        }
        Self::over(link).under(key).await
    }

    pub async fn start_anew(at: &EtcdConfig, key: impl Into<StoreKeyIds>) -> Result<Self, StoreFault> {
        let (link, key) = (Link::new(at)?, key.into());
        link.must_be_whole().await?;
        if !meta::make(&link, key.current, Some(0)).await? {
            return Err(StoreFault::NotLost(link.location()));
        }
        Self::over(link).under(key).await
    }

    pub async fn open(at: &EtcdConfig, key: impl Into<StoreKeyIds>) -> Result<Self, StoreFault> {
        Self::over(Link::new(at)?).under(key.into()).await
    }

    pub async fn open_to_move(at: &EtcdConfig, key: impl Into<StoreKeyIds>) -> Result<Self, StoreFault> {
        let link = Link::new(at)?;
        link.move_it();
        Self::over(link).under(key.into()).await
    }

    pub async fn moves(&self) -> Result<Moves, StoreFault> {
        moving::moves(&self.link).await
    }

    pub async fn set_moves(
        &self,
        from: String,
        to: Moves,
        restored: Option<i64>,
    ) -> Result<bool, StoreFault> {
        moving::set(&self.link, &from, &to, restored).await
    }

    pub async fn fill(&self, run: RunId, rows: Rows) -> Result<bool, StoreFault> {
        moving::fill(&self.link, run, rows).await
    }

    pub async fn touches(&self) -> Result<Vec<(PublicId, LastTouch)>, StoreFault> {
        moving::touches(&self.link).await
    }

    /// The cluster, and the revision of its last change.
    pub async fn standing(&self) -> Result<(String, String), StoreFault> {
        let header = self.link.range(ops::get(self.link.keys.meta())).await?.header;
        let (cluster, revision) = header.map_or((0, 0), |header| (header.cluster_id, header.revision));
        let prefix = at_prefix(self.at());
        Ok((format!("etcd cluster {cluster:x}{prefix}"), format!("revision {revision}")))
    }

    #[must_use]
    pub fn observed(&self) -> Observed {
        Observed { revision: self.link.seen.revision(), members: self.link.client.observed() }
    }

    pub(super) async fn open_for_serving(at: &EtcdConfig, key: StoreKeyIds) -> Result<Serving, StoreFault> {
        serving::begin(at, key).await
    }

    pub async fn look_at(at: &EtcdConfig, key: impl Into<StoreKeyIds>) -> Result<Looked, StoreFault> {
        Ok(Looked::Current(Store::Etcd(Self::open(at, key).await?)))
    }

    fn over(link: Link) -> Self {
        let (reads, steps) = (Queue::start(&link, READS), Queue::start(&link, STEPS));
        Self { link, reads, steps }
    }

    async fn under(self, key: StoreKeyIds) -> Result<Self, StoreFault> {
        let _ = self.link.opening.under.set(meta::look(&self.link, key).await?);
        Ok(self)
    }

    #[must_use]
    pub fn sealed_under(&self) -> Option<StoreKeyId> {
        self.link.opening.under.get().copied()
    }

    pub async fn store_key_now(&self) -> Result<StoreKeyId, StoreFault> {
        Ok(meta::read(&self.link).await?.value.store_key)
    }

    pub async fn seal_under(&self, from: StoreKeyId, to: StoreKeyId) -> Result<bool, StoreFault> {
        reseal::seal_under(&self.link, from, to).await
    }

    pub async fn reseal(&self, resealed: Vec<Resealed>) -> Result<u64, StoreFault> {
        reseal::store(&self.link, &resealed).await
    }

    #[must_use]
    pub fn at(&self) -> &str {
        self.link.client.at()
    }

    pub fn location(&self) -> Location {
        self.link.location()
    }

    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.link.guard
    }

    pub async fn forgotten(&self, accepted: Vec<Accepted>) -> Result<Vec<Forgotten>, StoreFault> {
        reads::forgotten(&self.link, &accepted).await
    }

    pub async fn raise_accepted(&self, accepted: Vec<Accepted>) -> Result<u64, StoreFault> {
        raise::accepted(&self.link, accepted).await
    }

    pub async fn version(&self) -> Result<String, StoreFault> {
        traps::version(&self.link).await
    }

    pub async fn client(&self, id: ClientId) -> Result<Option<Client>, StoreFault> {
        clients::client(&self.link, id).await
    }

    pub async fn token(&self, id: PublicId) -> Result<Option<Token>, StoreFault> {
        self.reads.ask(id).await?
    }

    pub async fn advance(&self, step: Step) -> Result<Advanced, StoreFault> {
        self.steps.ask(step).await?
    }

    pub async fn ready(&self) -> Result<(), StoreFault> {
        meta::read(&self.link).await?;
        traps::must_be_writable(&self.link).await
    }

    pub async fn seems_fit(&self) -> Result<(), StoreFault> {
        meta::read(&self.link).await.map(drop)
    }

    pub async fn members(&self) -> Vec<Member> {
        self.link.client.status().await.into_iter().map(traps::member).collect()
    }

    pub async fn traps(&self) -> Vec<Diagnostic> {
        let at = self.location();
        traps::of(&self.link).await.into_iter().map(|found| found.at(at.clone())).collect()
    }

    pub async fn accept_database(
        at: &EtcdConfig,
        lost_since: Option<i64>,
    ) -> Result<AcceptedDatabase, StoreFault> {
        let store = Self::over(Link::new(&EtcdConfig { seen: None, ..at.clone() })?);
        store.link.must_be_one_cluster().await?;
        if let Some(since) = lost_since {
            store.mark_restored(since).await?;
        }
        // With or without a store in it.
        let tokens = store.count().await?.tokens;
        store.accept_as_seen(at)?;
        let what = store.link.seen.to_string();
        store.close().await;
        Ok(AcceptedDatabase { what, marked: lost_since.map(|_| tokens) })
    }

    pub fn accept_as_seen(&self, at: &EtcdConfig) -> Result<(), StoreFault> {
        let replaced = self.link.seen.replace(at.seen.as_deref());
        replaced.map_err(|fault| self.link.fault(fault.diagnostic()))
    }

    pub async fn add_client(
        &self,
        id: Option<ClientId>,
        make: impl Fn(ClientId) -> Client + Send + 'static,
    ) -> Result<Option<Client>, StoreFault> {
        clients::add(&self.link, self.sealed_under(), id, make).await
    }

    pub async fn clients(&self) -> Result<Vec<Client>, StoreFault> {
        clients::clients(&self.link).await
    }

    pub async fn change_client(&self, id: ClientId, change: ClientChange) -> Result<bool, StoreFault> {
        clients::change(&self.link, self.sealed_under(), id, &change).await
    }

    pub async fn enrol(&self, keys: Vec<Enrolment>, distinct: Distinct) -> Result<Enrolled, StoreFault> {
        keys::enrol(&self.link, self.sealed_under(), keys, distinct).await
    }

    pub async fn remove_key(&self, id: PublicId) -> Result<bool, StoreFault> {
        keys::remove_key(&self.link, id).await
    }

    pub async fn set_enabled(&self, id: PublicId, enabled: bool) -> Result<bool, StoreFault> {
        keys::set_enabled(&self.link, id, enabled).await
    }

    pub async fn raise(&self, known: Vec<ImportedPosition>) -> Result<ImportedCounts, StoreFault> {
        raise::imported(&self.link, known).await
    }

    pub async fn tokens(&self, after: Option<PublicId>) -> Result<Vec<Token>, StoreFault> {
        let page = reads::Page::read(&self.link, after.as_ref()).await?;
        Ok(page.tokens.iter().filter_map(|state| state.token(&page.meta.value)).collect())
    }

    pub async fn page(&self, after: Option<PublicId>) -> Result<Page, StoreFault> {
        let page = reads::Page::read(&self.link, after.as_ref()).await?;
        let retired = page.tokens.iter().flat_map(state::TokenState::retired).collect();
        let tokens = page.tokens.iter().filter_map(|state| state.token(&page.meta.value)).collect();
        Ok(Page { tokens, retired })
    }

    pub async fn retired(&self) -> Result<Vec<Retired>, StoreFault> {
        reads::retired(&self.link).await
    }

    pub async fn count(&self) -> Result<Count, StoreFault> {
        let number =
            async |of| Ok::<_, StoreFault>(self.link.range(ops::count(of)).await?.count.unsigned_abs());
        let (clients, tokens) = (self.link.keys.clients(), self.link.keys.tokens());
        Ok(Count { clients: number(clients).await?, tokens: number(tokens).await? })
    }

    pub async fn restored_since(&self) -> Result<Option<i64>, StoreFault> {
        Ok(meta::read(&self.link).await?.value.epochs.since())
    }

    pub async fn restored_count(&self) -> Result<u64, StoreFault> {
        reads::restored_count(&self.link).await
    }

    pub async fn mark_restored(&self, since: i64) -> Result<(), StoreFault> {
        meta::mark_restored(&self.link, since).await
    }

    pub async fn last_touch(&self, id: PublicId) -> Result<Option<LastTouch>, StoreFault> {
        meta::last_touch(&self.link, id).await
    }

    pub async fn set_last_touch(&self, id: PublicId, touch: LastTouch) -> Result<(), StoreFault> {
        meta::set_last_touch(&self.link, id, touch).await
    }

    pub async fn prove(&self, id: PublicId) -> Result<(), StoreFault> {
        meta::prove(&self.link, id).await
    }

    pub async fn accept_risk(&self) -> Result<u64, StoreFault> {
        meta::accept_risk(&self.link).await
    }

    /// Reads every value. etcd itself compares checksums between members (`--experimental-initial-corrupt-check`).
    pub async fn integrity(&self) -> Result<(), StoreFault> {
        reads::each_page(&self.link, |_| Ok(())).await?;
        clients::clients(&self.link).await.map(drop)
    }

    pub async fn close(&self) {
        if self.link.seen.witness().is_some() && self.link.take_has_stored() {
            // If the cluster does not answer, the last one stays.
            let _ = tokio::time::timeout(serving::LAST_WORD, witness::write(&self.link)).await;
        }
        self.link.close().await;
        if self.link.opening.trying.get().is_some() && self.link.opening.must_be_open().is_ok() {
            // The server reported already that it cannot be written.
            let _ = serving::remember(&self.link).await;
        }
    }
}
