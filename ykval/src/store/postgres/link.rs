//! The way to the database: a pool of connections, and what happens on one while somebody has it.

use super::hosts::{self, Hosts, Unreached};
use super::lease::{InUse, Lease};
use super::opening::Opening;
use super::seen::{NotTaken, Seen};
use super::trouble::{PASSED, Trouble, words};
use super::{place, session};
use crate::guard::Guard;
use crate::store::StoreFault;
use deadpool::Runtime;
use deadpool::managed::{Pool, PoolError, TimeoutType};
use deadpool_postgres::ClientWrapper;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, RwLock};
use tokio::time::timeout;

/// How often all hosts are looked at while a server runs.
const EACH_LOOK: Duration = Duration::from_secs(2);

/// The way to the database.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) pool: Pool<Hosts>,
    pub(super) hosts: Hosts,
    pub(super) at: Arc<str>,
    pub(super) guard: Arc<Guard>,
    pub(super) opening: Arc<Opening>,
    /// Held for reading by everything that is under way.
    pub(super) busy: Arc<RwLock<()>>,
}

pub(super) type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + Send + 'a>>;

impl Link {
    /// Reads what says how to connect.
    pub(super) fn new(from: &crate::config::PostgresConfig) -> Result<Self, StoreFault> {
        let place = place::read(from)?;
        let at = place.at.clone();
        let fault = |why: String| StoreFault::Database { at: at.clone(), why };
        let seen = Seen::read(from.seen.clone()).map_err(|why| match why {
            NotTaken::OtherDatabase(why) => StoreFault::OtherDatabase { at: at.clone(), why },
            NotTaken::Fault(why) => fault(why),
        })?;
        let guard = Arc::new(Guard::default());
        let hosts = Hosts::new(place, from.standby, seen, Arc::clone(&guard));
        let pool = Pool::builder(hosts.clone())
            .max_size(from.pool)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(session::WAIT))
            .build()
            .map_err(|why| fault(why.to_string()))?;
        Ok(Self { pool, hosts, at: at.into(), guard, opening: Arc::default(), busy: Arc::default() })
    }

    /// Looks at all hosts, where one may be an old primary that can still be written to: what is newest is known then.
    pub(super) async fn look(&self) {
        if self.hosts.several() {
            drop(self.hosts.look(hosts::LOOK).await);
        }
    }

    /// Fails behind a pooler that shares its connections. To be called once the pool has a connection: such a pooler gives
    /// both of them the same process.
    pub(super) async fn must_not_be_pooled(&self) -> Result<(), StoreFault> {
        // Twice, with the first connections held: a pooler that had not got its connection back yet opens one more, and then
        // it has none left that is not ours.
        let mut looked = self.hosts.look(hosts::LOOK).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        looked.extend(self.hosts.look(hosts::LOOK).await);
        let pooled = looked.iter().filter_map(|looked| looked.found.as_ref().err()).find(|why| why.is_pooled);
        pooled.map_or(Ok(()), |refused| Err(self.fault(refused.why.clone())))
    }

    /// Remembers from now on what is seen, and looks at all hosts from time to time. `Err`: why it is not remembered beyond
    /// the end of this process.
    pub(super) fn keep_watch(&self) -> Result<(), String> {
        if self.hosts.several() {
            let (hosts, pool) = (self.hosts.clone(), self.pool.clone());
            tokio::spawn(async move {
                while !pool.is_closed() {
                    tokio::time::sleep(EACH_LOOK).await;
                    drop(hosts.look(hosts::LOOK).await);
                }
            });
        }
        self.hosts.seen().remember().map_err(|why| self.told(why.into()).to_string())
    }

    /// Does something on a connection that nobody else has meanwhile, and for no longer than `limit`. Fails at once while
    /// the store is not open.
    pub(super) async fn run<T>(
        &self,
        limit: Duration,
        what: impl for<'a> FnOnce(&'a mut ClientWrapper) -> Doing<'a, T>,
    ) -> Result<T, StoreFault> {
        self.run_in_turn(None, limit, what).await
    }

    /// The same. The turn is over when the connection is free again, also where the caller goes away before that.
    pub(super) async fn run_in_turn<T>(
        &self,
        turn: Option<OwnedSemaphorePermit>,
        limit: Duration,
        what: impl for<'a> FnOnce(&'a mut ClientWrapper) -> Doing<'a, T>,
    ) -> Result<T, StoreFault> {
        self.opening.must_be_open()?;
        self.run_unopened(turn, limit, what).await
    }

    /// The same, to open it.
    pub(super) async fn run_unopened<T>(
        &self,
        turn: Option<OwnedSemaphorePermit>,
        limit: Duration,
        what: impl for<'a> FnOnce(&'a mut ClientWrapper) -> Doing<'a, T>,
    ) -> Result<T, StoreFault> {
        let busy = Arc::clone(&self.busy).read_owned().await;
        let client = self.pool.get().await.map_err(|error| self.unreached(error))?;
        let mut lease = Lease::new(client, InUse { _busy: busy, _turn: turn });
        let Some(client) = lease.client() else { return Err(self.fault("no connection".to_owned())) };
        let timeline = client.timeline;
        let done = tokio::select! {
            biased;
            () = self.hosts.seen().passed(timeline) => Ok(Err(Trouble::Unfit(PASSED))),
            done = timeout(limit, what(client)) => done,
        };
        let trouble = match done {
            // What an old primary says is not what the new one knows.
            Ok(Ok(_)) if self.hosts.seen().is_past(timeline) => Trouble::Unfit(PASSED),
            Ok(Ok(done)) => {
                lease.give_back();
                return Ok(done);
            }
            Ok(Err(trouble)) => trouble,
            Err(_) => {
                lease.give_up();
                return Err(self.fault(format!("no answer within {} seconds", limit.as_secs())));
            }
        };
        match trouble {
            Trouble::Told(_) | Trouble::Damaged(_) | Trouble::Cannot(_) => lease.give_back(),
            // A connection on which anything else went wrong is used for nothing more.
            Trouble::Unfit(_) | Trouble::OtherDatabase(_) | Trouble::Refused(_) | Trouble::Database(_) => {
                lease.give_up();
            }
        }
        Err(self.told(trouble))
    }

    /// As callers hear it.
    pub(super) fn told(&self, trouble: Trouble) -> StoreFault {
        match trouble {
            Trouble::Told(fault) => fault,
            Trouble::Damaged(what) => StoreFault::Damaged { at: self.at.to_string(), what },
            Trouble::Cannot(why) | Trouble::Unfit(why) => self.fault(why.to_owned()),
            Trouble::Refused(why) => self.fault(why),
            Trouble::OtherDatabase(why) => StoreFault::OtherDatabase { at: self.at.to_string(), why },
            Trouble::Database(error) => self.fault(words(&error)),
        }
    }

    /// Why there is no connection.
    pub(super) fn unreached(&self, error: PoolError<Unreached>) -> StoreFault {
        self.fault(match error {
            PoolError::Backend(Unreached { why, is_other_database: true }) => {
                return StoreFault::OtherDatabase { at: self.at.to_string(), why };
            }
            PoolError::Backend(Unreached { why, .. }) => why,
            PoolError::Timeout(TimeoutType::Wait) => all_busy(self.pool.status().max_size),
            PoolError::Closed => "is closed".to_owned(),
            // Neither is set.
            PoolError::Timeout(_) | PoolError::PostCreateHook(_) => "no connection".to_owned(),
            PoolError::NoRuntimeSpecified => "no runtime".to_owned(),
        })
    }

    pub(super) fn fault(&self, why: String) -> StoreFault {
        StoreFault::Database { at: self.at.to_string(), why }
    }
}

pub(super) fn all_busy(most: usize) -> String {
    format!("all {most} connections were busy for {} seconds (postgres.pool)", session::WAIT.as_secs())
}
