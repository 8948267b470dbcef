//! The connection pool, and running statements on a connection of it.

use super::hosts::{self, HostRefusal, Hosts};
use super::lease::{InUse, Lease};
use super::seen::{NotTaken, Seen};
use super::trouble::{Trouble, Unfit, failed, no_answer};
use super::{place, session};
use crate::guard::Guard;
use crate::store::StoreFault;
use crate::store::batch::Way;
use crate::store::fault::url;
use crate::store::opening::Opening;
use deadpool::Runtime;
use deadpool::managed::{Pool, PoolError, TimeoutType};
use deadpool_postgres::ClientWrapper;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, RwLock};
use tokio::time::timeout;
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// How often all hosts are looked at while a server runs.
const EACH_LOOK: Duration = Duration::from_secs(2);

/// The connection pool of one database.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) pool: Pool<Hosts>,
    pub(super) hosts: Hosts,
    pub(super) at: Arc<str>,
    pub(super) guard: Arc<Guard>,
    pub(super) opening: Arc<Opening>,
    /// Read-locked by everything that is in progress.
    pub(super) busy: Arc<RwLock<()>>,
}

pub(super) type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + Send + 'a>>;

impl Link {
    /// Reads the URL and the files that say how to connect.
    pub(super) fn new(from: &crate::config::PostgresConfig) -> Result<Self, StoreFault> {
        let place = place::read(from)?;
        let at = place.at.clone();
        let fault = |found| StoreFault::of_database(url(&at), found);
        let seen = Seen::read(from.seen.clone()).map_err(|why| match why {
            NotTaken::OtherDatabase(found) => StoreFault::of_other_database(url(&at), *found),
            NotTaken::Fault(found) => fault(*found),
        })?;
        let guard = Arc::new(Guard::default());
        let hosts = Hosts::new(place, from.standby, seen, Arc::clone(&guard));
        let pool = Pool::builder(hosts.clone())
            .max_size(from.pool)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(session::WAIT))
            .build()
            .map_err(|why| fault(Diagnostic::error(Code::DatabaseFailed, why.to_string())))?;
        Ok(Self { pool, hosts, at: at.into(), guard, opening: Arc::default(), busy: Arc::default() })
    }

    /// If there are several hosts, looks at all of them, because one may be an old primary that still accepts writes.
    /// Afterwards the newest state is known.
    pub(super) async fn look(&self) {
        if self.hosts.several() {
            drop(self.hosts.look(hosts::LOOK).await);
        }
    }

    /// Fails behind a pooler that shares connections. Call it once the pool has a connection: such a pooler gives a
    /// second one the same process.
    pub(super) async fn must_not_be_pooled(&self) -> Result<(), StoreFault> {
        // Twice, with the first connections held: a pooler whose connection was not free yet opens one more, and then
        // all of its connections are ours.
        let mut looked = self.hosts.look(hosts::LOOK).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        looked.extend(self.hosts.look(hosts::LOOK).await);
        let mut refused = looked.iter().filter_map(|looked| looked.found.as_ref().err());
        let pooled = refused.find(|refused| refused.found.code == Code::DatabasePooled);
        pooled.map_or(Ok(()), |refused| Err(self.fault(Diagnostic::clone(&refused.found))))
    }

    /// From now on, records the states that it sees, and looks at all hosts from time to time. `Err`: why the record is
    /// lost when this process ends.
    pub(super) fn keep_watch(&self) -> Result<(), Diagnostic> {
        if self.hosts.several() {
            let (hosts, pool) = (self.hosts.clone(), self.pool.clone());
            tokio::spawn(async move {
                while !pool.is_closed() {
                    tokio::time::sleep(EACH_LOOK).await;
                    drop(hosts.look(hosts::LOOK).await);
                }
            });
        }
        self.hosts.seen().remember().map_err(|why| self.told(why.into()).diagnostic())
    }

    /// Does something on a connection of its own, for at most `limit`. Fails immediately while the store is not open.
    pub(super) async fn run<T>(
        &self,
        limit: Duration,
        what: impl for<'a> FnOnce(&'a mut ClientWrapper) -> Doing<'a, T>,
    ) -> Result<T, StoreFault> {
        self.run_in_turn(None, limit, what).await
    }

    /// The same, in turn: the turn ends when the connection is free again, even if the caller goes away before that.
    pub(super) async fn run_in_turn<T>(
        &self,
        turn: Option<OwnedSemaphorePermit>,
        limit: Duration,
        what: impl for<'a> FnOnce(&'a mut ClientWrapper) -> Doing<'a, T>,
    ) -> Result<T, StoreFault> {
        self.opening.must_be_open()?;
        self.run_unopened(turn, limit, what).await
    }

    /// The same before the store is open, to open it.
    pub(super) async fn run_unopened<T>(
        &self,
        turn: Option<OwnedSemaphorePermit>,
        limit: Duration,
        what: impl for<'a> FnOnce(&'a mut ClientWrapper) -> Doing<'a, T>,
    ) -> Result<T, StoreFault> {
        let busy = Arc::clone(&self.busy).read_owned().await;
        let client = self.pool.get().await.map_err(|error| self.unreached(error))?;
        let mut lease = Lease::new(client, InUse { _busy: busy, _turn: turn });
        let Some(client) = lease.client() else { return Err(self.fault(no_connection())) };
        let timeline = client.timeline;
        let done = tokio::select! {
            biased;
            () = self.hosts.seen().passed(timeline) => Ok(Err(Trouble::Unfit(Unfit::OldPrimary))),
            done = timeout(limit, what(client)) => done,
        };
        let trouble = match done {
            // The answer of an old primary does not count.
            Ok(Ok(_)) if self.hosts.seen().is_past(timeline) => Trouble::Unfit(Unfit::OldPrimary),
            Ok(Ok(done)) => {
                lease.give_back();
                return Ok(done);
            }
            Ok(Err(trouble)) => trouble,
            Err(_) => {
                lease.give_up();
                return Err(self.fault(no_answer(limit)));
            }
        };
        match trouble {
            Trouble::Told(_)
            | Trouble::Damaged(_)
            | Trouble::Cannot(_)
            | Trouble::Later(_)
            | Trouble::Moved(_) => lease.give_back(),
            // After any other fault the connection is not used again.
            Trouble::Unfit(_) | Trouble::OtherDatabase(_) | Trouble::Refused(_) | Trouble::Database(_) => {
                lease.give_up();
            }
        }
        Err(self.told(trouble))
    }

    /// The database as the location of a finding.
    pub(super) fn location(&self) -> Location {
        url(&self.at)
    }

    /// The fault for callers.
    pub(super) fn told(&self, trouble: Trouble) -> StoreFault {
        match trouble {
            Trouble::Told(fault) => fault,
            Trouble::Later(found) => {
                StoreFault::Later { at: self.location(), found, known: super::schema::KNOWN }
            }
            Trouble::Moved(mark) => StoreFault::Moved { at: self.location(), mark },
            Trouble::Damaged(what) => StoreFault::Damaged { at: self.location(), what },
            Trouble::Unfit(why) => self.fault(why.diagnostic()),
            Trouble::Cannot(found) | Trouble::Refused(found) => self.fault(*found),
            Trouble::OtherDatabase(found) => StoreFault::of_other_database(self.location(), *found),
            Trouble::Database(error) => self.fault(failed(&error)),
        }
    }

    /// Why there is no connection.
    pub(super) fn unreached(&self, error: PoolError<HostRefusal>) -> StoreFault {
        self.fault(match error {
            PoolError::Backend(HostRefusal { found, is_other_database: true }) => {
                return StoreFault::of_other_database(self.location(), *found);
            }
            PoolError::Backend(HostRefusal { found, .. }) => *found,
            PoolError::Timeout(TimeoutType::Wait) => all_busy(self.pool.status().max_size),
            PoolError::Closed => Diagnostic::error(Code::DatabaseClosed, "is closed"),
            // These two are not configured.
            PoolError::Timeout(_) | PoolError::PostCreateHook(_) | PoolError::NoRuntimeSpecified => {
                no_connection()
            }
        })
    }

    pub(super) fn fault(&self, found: Diagnostic) -> StoreFault {
        StoreFault::of_database(self.location(), found)
    }
}

impl Way for Link {
    fn fault(&self, found: Diagnostic) -> StoreFault {
        self.fault(found)
    }
}

pub(super) fn all_busy(most: usize) -> Diagnostic {
    let problem = format!("all {most} connections were busy for {} seconds", session::WAIT.as_secs());
    Diagnostic::error(Code::DatabaseOverloaded, problem)
        .advise("raise postgres.pool, or find out why PostgreSQL is slow")
}

fn no_connection() -> Diagnostic {
    Diagnostic::error(Code::DatabaseUnreachable, "there is no connection")
}
