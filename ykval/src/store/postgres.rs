//! The store in PostgreSQL, which several servers may share.
//!
//! Every statement runs in READ COMMITTED (`session`): one that finds a row locked waits for it, and then judges the
//! newest version of that row. So one conditional statement is enough.
//!
//! Steps that wait at the same time are one statement with one commit, a *batch* (`batch`, `advance`). It contains each
//! token once and skips locked rows, so it never waits for a row. The rows that it returns are those that it changed,
//! and only they are decided. Every other step is then taken *alone*, by a statement that waits for its row and reports
//! why it changes nothing.
//!
//! - **Two servers with one OTP**: one statement locks the row. A batch of the other server skips it; a step alone waits,
//!   finds `position < $3` no longer true, and changes nothing. If the first one fails (a crash, a rollback), the condition
//!   of the second one is still true, and it succeeds. Reading why nothing was changed comes afterwards, and decides
//!   nothing.
//! - **Two OTPs of one token at one server**: one is in the batch. The other is taken alone after the batch.
//! - **Two servers with the first OTP of a token that nobody knew**: batches find no row. Alone, one `INSERT` gets the
//!   place in the index; the other waits for it and continues as the `UPDATE` above.
//! - **An OTP, while its key is replaced or removed**: the change locks the row first and then reads its position. The
//!   result of an earlier `UPDATE` is in the position that the change keeps; a waiting `UPDATE` finds another fingerprint and
//!   fails with [`StoreFault::NotThisKey`]. Only the steps of this token wait: each batch skips the row.
//! - **An OTP, while its token is disabled, or its position raised**: the same row, the same wait.
//! - **An OTP, while its token becomes restored**: the mark locks the table first, so that it also sees the token that a step
//!   adds. The step says whether its caller knew the token as restored, and its condition compares that.
//! - **Two changes at a time** (of keys, of many positions, of the tables): the second waits for the end of the first, by an
//!   advisory lock that no OTP waits for.
//!
//! There is no deadlock: a batch holds many rows and waits for none, a step alone holds nothing while it waits for its
//! one row, and of the changes, which hold rows and wait for more, one runs at a time.
//!
//! A commit is answered when it is durable: each statement sets that itself, and changes nothing if it is not possible
//! (`durable`). The answer that counts is the last one, *ready for the next query*: rows and their count arrive before
//! the commit. A failed statement, or a connection that is lost before that answer, is a fault for each caller whose
//! step was in it. Nothing is retried: a second attempt would find the position that the first one stored, and reject a
//! valid OTP as replayed. The next caller gets a new connection.
//!
//! Of several hosts (`hosts`), the one with the highest timeline ever seen is used (`seen`): an old primary does not know
//! which OTPs were used since.
//!
//! If a standby takes over without every commit (asynchronous replication), or a backup is restored, the OTPs since then
//! look fresh. With `synchronous_standby_names` on the primary, the standby has every commit. The OTPs that this server
//! accepted itself are compared on each connection that is new or was idle (`accepted`).

mod accepted;
mod advance;
mod change;
mod clients;
mod durable;
mod hosts;
mod identity;
mod lease;
mod link;
mod moving;
mod place;
mod reseal;
mod restored;
mod schema;
mod seen;
mod serving;
mod session;
mod tls;
mod tokens;
mod traps;
mod trouble;

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod tests;

use super::batch::Queue;
use super::presence::Door;
use super::*;
use change::Change;
use deadpool_postgres::ClientWrapper;
use durable::{fit, fits};
use hosts::HostLook;
use link::{Doing, Link, all_busy};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use trouble::Trouble;

/// How long a statement that a request waits for may take.
const SHORT: Duration = Duration::from_secs(5);
/// How long a change of many tokens may take.
const LONG: Duration = Duration::from_secs(900);

/// Concurrent statements that read tokens, and that advance them. While one waits for its commit, the next one fills up.
const READS: usize = 1;
const STEPS: usize = 2;

/// Maximum questions in one statement.
const BATCH: usize = 512;

/// What the URL names, for people, and where connections to each host begin.
pub(super) fn doors(at: &crate::config::PostgresConfig) -> Result<(String, Vec<Door>), StoreFault> {
    let target = place::read(at)?;
    Ok((target.at, target.hosts.iter().filter_map(place::Host::door).collect()))
}

/// A store in PostgreSQL.
#[derive(Clone)]
pub struct Postgres {
    link: Link,
    reads: Queue<Link, PublicId>,
    steps: Queue<Link, Step>,
    /// Limits the steps that are taken alone: each keeps its connection while it waits for a row.
    alone: Arc<Semaphore>,
}

#[expect(missing_docs, reason = "Store says it")]
impl Postgres {
    pub async fn start_anew(
        at: &crate::config::PostgresConfig,
        key: impl Into<StoreKeyIds>,
    ) -> Result<Self, StoreFault> {
        let key = key.into();
        let store = Self::connect(at)?;
        store.link.look().await;
        let name = Arc::clone(&store.link.at);
        store
            .run(LONG, move |db| Box::pin(async move { schema::start_anew(db, &name, key.current).await }))
            .await?;
        store.note_key().await
    }

    pub async fn create(
        at: &crate::config::PostgresConfig,
        key: impl Into<StoreKeyIds>,
    ) -> Result<Self, StoreFault> {
        let key = key.into();
        let store = Self::connect(at)?;
        store.link.look().await;
        let name = Arc::clone(&store.link.at);
        store.run(LONG, move |db| Box::pin(async move { schema::create(db, &name, key).await })).await?;
        store.note_key().await
    }

    pub async fn open(
        at: &crate::config::PostgresConfig,
        key: impl Into<StoreKeyIds>,
    ) -> Result<Self, StoreFault> {
        let key = key.into();
        let store = Self::connect(at)?;
        store.link.look().await;
        let name = Arc::clone(&store.link.at);
        store.run(LONG, move |db| Box::pin(async move { schema::open(db, &name, key).await })).await?;
        store.note_key().await
    }

    pub async fn open_to_move(
        at: &crate::config::PostgresConfig,
        key: impl Into<StoreKeyIds>,
    ) -> Result<Self, StoreFault> {
        let key = key.into();
        let store = Self::connect(at)?;
        store.link.look().await;
        let name = Arc::clone(&store.link.at);
        store
            .run(LONG, move |db| Box::pin(async move { schema::open_to_move(db, &name, key).await }))
            .await?;
        store.note_key().await
    }

    pub async fn moves(&self) -> Result<Moves, StoreFault> {
        self.run(SHORT, |db| Box::pin(async { moving::read(&**db).await })).await
    }

    pub async fn set_moves(
        &self,
        from: String,
        to: Moves,
        restored: Option<i64>,
    ) -> Result<bool, StoreFault> {
        self.run(LONG, move |db| Box::pin(moving::set(db, from, to, restored))).await
    }

    pub async fn fill(&self, run: RunId, rows: Rows) -> Result<bool, StoreFault> {
        self.run(LONG, move |db| Box::pin(moving::fill(db, run, rows))).await
    }

    pub async fn touches(&self) -> Result<Vec<(PublicId, LastTouch)>, StoreFault> {
        self.run(LONG, |db| Box::pin(restored::touches(db))).await
    }

    pub(super) async fn open_for_serving(
        at: &crate::config::PostgresConfig,
        key: StoreKeyIds,
    ) -> Result<Serving, StoreFault> {
        serving::begin(at, key).await
    }

    pub async fn look_at(
        at: &crate::config::PostgresConfig,
        key: impl Into<StoreKeyIds>,
    ) -> Result<Looked, StoreFault> {
        let key = key.into();
        let store = Self::connect(at)?;
        store.link.look().await;
        let name = Arc::clone(&store.link.at);
        let found = store.run(SHORT, move |db| Box::pin(async move { schema::look(db, &name, key).await }));
        let (found, known) = (found.await?, schema::KNOWN);
        if found < known {
            return Ok(Looked::Earlier { at: store.location(), found, known });
        }
        Ok(Looked::Current(Store::Postgres(store.note_key().await?)))
    }

    async fn note_key(self) -> Result<Self, StoreFault> {
        let _ = self.link.opening.under.set(self.store_key_now().await?);
        Ok(self)
    }

    #[must_use]
    pub fn sealed_under(&self) -> Option<StoreKeyId> {
        self.link.opening.under.get().copied()
    }

    pub async fn store_key_now(&self) -> Result<StoreKeyId, StoreFault> {
        self.run(SHORT, |db| Box::pin(schema::store_key(db))).await
    }

    pub async fn seal_under(&self, from: StoreKeyId, to: StoreKeyId) -> Result<bool, StoreFault> {
        self.run(LONG, move |db| Box::pin(reseal::seal_under(db, from, to))).await
    }

    pub async fn reseal(&self, resealed: Vec<Resealed>) -> Result<u64, StoreFault> {
        self.run(LONG, move |db| Box::pin(reseal::store(db, resealed))).await
    }

    /// What is sealed under the store key as of when the store was opened.
    fn sealed(&self) -> reseal::Under {
        reseal::Under { at: Arc::clone(&self.link.at), key: self.sealed_under() }
    }

    #[must_use]
    pub fn at(&self) -> &str {
        &self.link.at
    }

    pub fn location(&self) -> Location {
        self.link.location()
    }

    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.link.guard
    }

    pub async fn forgotten(&self, accepted: Vec<Accepted>) -> Result<Vec<Forgotten>, StoreFault> {
        if accepted.is_empty() {
            return Ok(Vec::new());
        }
        self.run(SHORT, move |db| Box::pin(async move { Ok(accepted::forgotten(db, &accepted).await?) }))
            .await
    }

    pub async fn raise_accepted(&self, accepted: Vec<Accepted>) -> Result<u64, StoreFault> {
        self.run(LONG, move |db| Box::pin(accepted::raise(db, accepted))).await
    }

    pub async fn version(&self) -> Result<String, StoreFault> {
        let version = self.run(SHORT, |db| {
            Box::pin(async { Ok(db.query_one("SHOW server_version", &[]).await?.try_get::<_, String>(0)?) })
        });
        Ok(format!("PostgreSQL {}", version.await?))
    }

    /// The revision is the position in the write-ahead log, if the role may read it.
    pub async fn standing(&self) -> Result<(String, String), StoreFault> {
        let log = self.run(SHORT, |db| {
            Box::pin(async {
                let row = db.query_one("SELECT pg_current_wal_lsn()::text", &[]).await?;
                Ok(row.try_get::<_, String>(0)?)
            })
        });
        let log = log.await.map(|log| format!("WAL {log}")).unwrap_or_default();
        Ok((self.link.hosts.seen().to_string(), log))
    }

    pub async fn client(&self, id: ClientId) -> Result<Option<Client>, StoreFault> {
        self.run(SHORT, move |db| Box::pin(clients::one(db, id))).await
    }

    pub async fn token(&self, id: PublicId) -> Result<Option<Token>, StoreFault> {
        self.reads.ask(id).await?.map_err(|trouble| self.link.told(trouble))
    }

    pub async fn advance(&self, step: Step) -> Result<Advanced, StoreFault> {
        let step = match self.steps.ask(step).await? {
            Ok(receipt) => return Ok(Advanced::Fresh(receipt)),
            Err(step) => step,
        };
        let Ok(Ok(turn)) = timeout(session::WAIT, Arc::clone(&self.alone).acquire_owned()).await else {
            return Err(self.link.fault(all_busy(self.link.pool.status().max_size)));
        };
        self.link.run_in_turn(Some(turn), SHORT, move |db| Box::pin(advance::alone(db, step))).await
    }

    pub async fn ready(&self) -> Result<(), StoreFault> {
        self.run(SHORT, |db| Box::pin(ready(db))).await
    }

    pub async fn seems_fit(&self) -> Result<(), StoreFault> {
        self.run(SHORT, |db| Box::pin(seems_fit(db))).await
    }

    pub async fn members(&self) -> Vec<Member> {
        let looked = self.link.hosts.look(hosts::LOOK).await;
        looked
            .into_iter()
            .map(|HostLook { name, found, .. }| {
                let leads = found.is_ok();
                let state = match found {
                    Ok(session) => {
                        let timeline = session.timeline.map(|timeline| format!(", timeline {timeline}"));
                        format!("primary{}", timeline.unwrap_or_default())
                    }
                    Err(refused) if refused.found.code == Code::DatabaseIsStandby => "standby".to_owned(),
                    Err(refused) => refused.found.problem().to_string(),
                };
                Member { at: name, state, leads }
            })
            .collect()
    }

    pub async fn traps(&self) -> Vec<Diagnostic> {
        let at = self.location();
        traps::of(&self.link.hosts).await.into_iter().map(|found| found.at(at.clone())).collect()
    }

    pub async fn accept_database(
        at: &crate::config::PostgresConfig,
        lost_since: Option<i64>,
    ) -> Result<AcceptedDatabase, StoreFault> {
        let store = Self::connect(&crate::config::PostgresConfig { seen: None, ..at.clone() })?;
        store.link.look().await;
        store.version().await?;
        let mut marked = None;
        if let Some(since) = lost_since {
            store.mark_restored(since).await?;
            marked = Some(store.count().await?.tokens);
        }
        store.accept_as_seen(at)?;
        let what = store.link.hosts.seen().to_string();
        store.close().await;
        Ok(AcceptedDatabase { what, marked })
    }

    pub fn accept_as_seen(&self, at: &crate::config::PostgresConfig) -> Result<(), StoreFault> {
        let replaced = self.link.hosts.seen().replace(at.seen.as_deref());
        replaced.map_err(|fault| self.link.fault(fault.diagnostic()))
    }

    pub async fn add_client(
        &self,
        id: Option<ClientId>,
        make: impl Fn(ClientId) -> Client + Send + 'static,
    ) -> Result<Option<Client>, StoreFault> {
        let under = self.sealed();
        self.run(LONG, move |db| Box::pin(clients::add(db, under, id, make))).await
    }

    pub async fn clients(&self) -> Result<Vec<Client>, StoreFault> {
        self.run(SHORT, |db| Box::pin(clients::all(db))).await
    }

    pub async fn change_client(&self, id: ClientId, change: ClientChange) -> Result<bool, StoreFault> {
        let under = self.sealed();
        self.run(SHORT, move |db| Box::pin(clients::change(db, under, id, change))).await
    }

    pub async fn enrol(&self, keys: Vec<Enrolment>, distinct: Distinct) -> Result<Enrolled, StoreFault> {
        let under = self.sealed();
        self.run(LONG, move |db| Box::pin(tokens::enrol(db, under, keys, distinct))).await
    }

    pub async fn remove_key(&self, id: PublicId) -> Result<bool, StoreFault> {
        self.run(LONG, move |db| Box::pin(tokens::remove_key(db, id))).await
    }

    pub async fn set_enabled(&self, id: PublicId, enabled: bool) -> Result<bool, StoreFault> {
        self.run(SHORT, move |db| Box::pin(tokens::set_enabled(db, id, enabled))).await
    }

    pub async fn raise(&self, known: Vec<ImportedPosition>) -> Result<ImportedCounts, StoreFault> {
        self.run(LONG, move |db| Box::pin(tokens::raise(db, known))).await
    }

    pub async fn tokens(&self, after: Option<PublicId>) -> Result<Vec<Token>, StoreFault> {
        self.run(SHORT, move |db| Box::pin(tokens::page(db, after))).await
    }

    pub async fn page(&self, after: Option<PublicId>) -> Result<Page, StoreFault> {
        let page = self.run(SHORT, move |db| {
            Box::pin(async move {
                let tokens = tokens::page(db, after).await?;
                let retired = tokens::retired_of(db, &tokens).await?;
                Ok(Page { tokens, retired })
            })
        });
        page.await
    }

    pub async fn retired(&self) -> Result<Vec<Retired>, StoreFault> {
        self.run(LONG, move |db| Box::pin(tokens::retired(db))).await
    }

    pub async fn count(&self) -> Result<Count, StoreFault> {
        self.run(SHORT, |db| Box::pin(tokens::count(db))).await
    }

    pub async fn restored_since(&self) -> Result<Option<i64>, StoreFault> {
        self.run(SHORT, |db| Box::pin(restored::since(db))).await
    }

    pub async fn restored_count(&self) -> Result<u64, StoreFault> {
        self.run(LONG, |db| Box::pin(restored::count(db))).await
    }

    pub async fn mark_restored(&self, since: i64) -> Result<(), StoreFault> {
        self.run(LONG, move |db| Box::pin(restored::mark_all(db, since))).await
    }

    pub async fn last_touch(&self, id: PublicId) -> Result<Option<LastTouch>, StoreFault> {
        self.run(SHORT, move |db| Box::pin(restored::last_touch(db, id))).await
    }

    pub async fn set_last_touch(&self, id: PublicId, touch: LastTouch) -> Result<(), StoreFault> {
        self.run(SHORT, move |db| Box::pin(restored::set_last_touch(db, id, touch))).await
    }

    pub async fn prove(&self, id: PublicId) -> Result<(), StoreFault> {
        self.run(SHORT, move |db| Box::pin(restored::prove(db, id))).await
    }

    pub async fn accept_risk(&self) -> Result<u64, StoreFault> {
        self.run(LONG, |db| Box::pin(restored::accept_risk(db))).await
    }

    /// PostgreSQL has no statement for it: administrators use pg_amcheck and checksums.
    #[expect(clippy::unused_async, reason = "where it is a file, it is read")]
    pub async fn integrity(&self) -> Result<(), StoreFault> {
        Ok(())
    }

    pub async fn close(&self) {
        self.link.opening.give_up();
        drop(self.link.busy.write().await);
        self.link.pool.close();
    }
}

impl Postgres {
    /// Connections are opened when they are needed.
    fn connect(from: &crate::config::PostgresConfig) -> Result<Self, StoreFault> {
        let link = Link::new(from)?;
        let (reads, steps) = (Queue::start(&link, READS), Queue::start(&link, STEPS));
        let alone = Arc::new(Semaphore::new((from.pool / 2).max(1)));
        Ok(Self { link, reads, steps, alone })
    }

    async fn run<T>(
        &self,
        limit: Duration,
        what: impl for<'a> FnOnce(&'a mut ClientWrapper) -> Doing<'a, T>,
    ) -> Result<T, StoreFault> {
        self.link.run(limit, what).await
    }
}

/// Whether it can be written to now: takes a row lock, which is written, and waits until that is durable.
async fn ready(db: &mut ClientWrapper) -> Result<(), Trouble> {
    session::must_be_fit(db).await?;
    schema::must_still_be_usable(db).await?;
    let row = concat!(fit!(), " SELECT one FROM ykvald.meta WHERE ", fits!(), " FOR NO KEY UPDATE");
    let row = db.prepare_cached(row).await?;
    db.query_one(&row, &[]).await?;
    Ok(())
}

/// Whether a request could be answered, as far as that is known without a lock: the server, and the rights of our role.
async fn seems_fit(db: &mut ClientWrapper) -> Result<(), Trouble> {
    session::must_be_fit(db).await?;
    let rights = "SELECT has_table_privilege('ykvald.meta', 'UPDATE') AND has_table_privilege('ykvald.clients', 'SELECT')
        AND has_table_privilege('ykvald.tokens', 'SELECT') AND has_table_privilege('ykvald.tokens', 'INSERT')
        AND has_table_privilege('ykvald.tokens', 'UPDATE')";
    if db.query_one(rights, &[]).await?.try_get(0)? {
        Ok(())
    } else {
        let missing = "the role may not write to the tables in the schema ykvald";
        let found = Diagnostic::error(Code::DatabaseRightsMissing, missing);
        Err(Trouble::Cannot(Box::new(found.advise("connect as their owner"))))
    }
}
