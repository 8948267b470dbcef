//! The store in PostgreSQL, which several servers may share.
//!
//! Every statement runs in READ COMMITTED (`session`): one that finds a row locked waits for it, and then judges the
//! newest version of that row, which is what makes one conditional statement enough.
//!
//! Steps that wait at the same time are one statement with one commit, a *batch* (`batch`, `advance`). It has each token
//! once, and leaves out a row that is locked: it waits for no row. The rows that it gives back are those that it changed,
//! and only they are decided. A step that it did not change is then taken *alone*, by a statement that waits for its row
//! and says why it changes nothing.
//!
//! - **Two servers with one OTP**: one statement has the row. A batch of the other leaves it out; a step alone waits, finds
//!   `position < $3` no longer true, and changes nothing. If the first comes to nothing (a crash, a rollback), the second
//!   one's condition still holds, and it is the one. Only then is looked why nothing was changed; that reads, and decides
//!   nothing.
//! - **Two OTPs of one token at one server**: one is in the batch. The other is taken alone when the batch is over.
//! - **Two servers with the first OTP of a token that nobody knew**: batches find no row. Alone, one `INSERT` has the place
//!   in the index, the other waits there and goes on as the `UPDATE` above.
//! - **An OTP, while its key is replaced or removed**: the change locks the row first and reads its position then. An
//!   `UPDATE` that was before it is in what the change sets aside; one that waits for it finds another fingerprint, and
//!   fails with [`StoreFault::NotThisKey`]. Only the steps of this token wait: each batch leaves the row out.
//! - **An OTP, while its token is switched off, or its position raised**: the same row, the same wait.
//! - **Two changes at a time** (of keys, of many positions, of the tables): the later waits for the whole of the former,
//!   by an advisory lock that no OTP waits for.
//!
//! Nothing can wait in a circle: a batch holds many rows and waits for none, a step alone holds nothing while it waits for
//! its one row, and of the changes, which hold rows and wait for more, one is at work at a time.
//!
//! A commit is answered when it is durable: each statement asks for that itself and changes nothing where it cannot have
//! it (`durable`). The answer taken is the last one, *ready for the next query*: the rows and their count come before the
//! commit. A statement that fails, or a connection that is lost before that, is a fault to each caller whose step was in
//! it, and nothing is tried again: a second try would find the position that the first one stored, and call a good OTP
//! replayed. The one thing that goes on by itself is the next caller, on a new connection.
//!
//! What this cannot know: a standby that takes over without having had every commit (asynchronous replication, a backup
//! put back) makes the OTPs since then fresh again. With `synchronous_standby_names` on the primary it has had them.

mod advance;
mod batch;
mod change;
mod clients;
mod durable;
mod lease;
mod place;
mod schema;
mod session;
mod tls;
mod tokens;

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod tests;

use super::*;
use batch::Queue;
use change::Change;
use deadpool_postgres::{
    ClientWrapper, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime,
};
use durable::{fit, fits};
use lease::Lease;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{RwLock, Semaphore};
use tokio::time::timeout;

/// How long anything may take that a question waits for.
const SHORT: Duration = Duration::from_secs(5);
/// How long a change of many tokens may take.
const LONG: Duration = Duration::from_secs(900);

/// Statements at a time that read tokens, and that advance them. While one waits for its commit, the next one is made.
const READS: usize = 1;
const STEPS: usize = 2;

/// A store in PostgreSQL.
#[derive(Clone)]
pub struct Postgres {
    link: Link,
    reads: Queue<PublicId>,
    steps: Queue<Step>,
    /// Turns of the steps that are taken alone: one that waits for a row keeps its connection, and others need some.
    alone: Arc<Semaphore>,
}

/// The way to the database.
#[derive(Clone)]
struct Link {
    pool: Pool,
    at: Arc<str>,
    /// Held for reading by everything that is under way.
    busy: Arc<RwLock<()>>,
}

/// Why something did not happen.
enum Trouble {
    /// The database, or the way to it.
    Database(tokio_postgres::Error),
    /// The server cannot keep positions.
    Unfit(&'static str),
    /// What is stored cannot be.
    Damaged(String),
    /// What was asked for cannot be.
    Cannot(&'static str),
    /// As it is told.
    Told(StoreFault),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreFault> for Trouble {
    fn from(fault: StoreFault) -> Self {
        Self::Told(fault)
    }
}

type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + Send + 'a>>;

#[expect(missing_docs, reason = "Store says it")]
impl Postgres {
    pub async fn create(at: &crate::config::Postgres, key: StoreKeyId) -> Result<Self, StoreFault> {
        let store = Self::connect(at)?;
        let name = Arc::clone(&store.link.at);
        store.run(LONG, move |db| Box::pin(async move { schema::create(db, &name, key).await })).await?;
        Ok(store)
    }

    pub async fn open(at: &crate::config::Postgres, key: StoreKeyId) -> Result<Self, StoreFault> {
        let store = Self::connect(at)?;
        let name = Arc::clone(&store.link.at);
        store.run(LONG, move |db| Box::pin(async move { schema::open(db, &name, key).await })).await?;
        Ok(store)
    }

    pub async fn look_at(at: &crate::config::Postgres, key: StoreKeyId) -> Result<Looked, StoreFault> {
        let store = Self::connect(at)?;
        let name = Arc::clone(&store.at);
        let found = store.run(SHORT, move |db| Box::pin(async move { schema::look(db, &name, key).await }));
        let (found, known) = (found.await?, schema::KNOWN);
        if found < known {
            return Ok(Looked::Earlier { at: store.at.to_string(), found, known });
        }
        Ok(Looked::Current(Store::Postgres(store)))
    }

    #[must_use]
    pub fn at(&self) -> &str {
        &self.link.at
    }

    pub async fn version(&self) -> Result<String, StoreFault> {
        let version = self.run(SHORT, |db| {
            Box::pin(async { Ok(db.query_one("SHOW server_version", &[]).await?.try_get::<_, String>(0)?) })
        });
        Ok(format!("PostgreSQL {}", version.await?))
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
        let Ok(Ok(_turn)) = timeout(session::WAIT, self.alone.acquire()).await else {
            return Err(self.link.fault(all_busy(self.link.pool.status().max_size)));
        };
        let name = Arc::clone(&self.link.at);
        self.run(SHORT, move |db| Box::pin(async move { advance::alone(db, &name, step).await })).await
    }

    pub async fn ready(&self) -> Result<(), StoreFault> {
        let name = Arc::clone(&self.link.at);
        self.run(SHORT, move |db| Box::pin(async move { ready(db, &name).await })).await
    }

    pub async fn seems_fit(&self) -> Result<(), StoreFault> {
        self.run(SHORT, |db| Box::pin(seems_fit(db))).await
    }

    pub async fn add_client(
        &self,
        id: Option<ClientId>,
        make: impl Fn(ClientId) -> Client + Send + 'static,
    ) -> Result<Option<Client>, StoreFault> {
        self.run(LONG, move |db| Box::pin(clients::add(db, id, make))).await
    }

    pub async fn clients(&self) -> Result<Vec<Client>, StoreFault> {
        self.run(SHORT, |db| Box::pin(clients::all(db))).await
    }

    pub async fn change_client(&self, id: ClientId, change: ClientChange) -> Result<bool, StoreFault> {
        self.run(SHORT, move |db| Box::pin(clients::change(db, id, change))).await
    }

    pub async fn enrol(&self, keys: Vec<Enrolment>, distinct: Distinct) -> Result<Enrolled, StoreFault> {
        self.run(LONG, move |db| Box::pin(tokens::enrol(db, keys, distinct))).await
    }

    pub async fn remove_key(&self, id: PublicId) -> Result<bool, StoreFault> {
        self.run(LONG, move |db| Box::pin(tokens::remove_key(db, id))).await
    }

    pub async fn set_enabled(&self, id: PublicId, enabled: bool) -> Result<bool, StoreFault> {
        self.run(SHORT, move |db| Box::pin(tokens::set_enabled(db, id, enabled))).await
    }

    pub async fn raise(&self, known: Vec<Known>) -> Result<Raised, StoreFault> {
        self.run(LONG, move |db| Box::pin(tokens::raise(db, known))).await
    }

    pub async fn tokens(&self, after: Option<PublicId>) -> Result<Vec<Token>, StoreFault> {
        self.run(SHORT, move |db| Box::pin(tokens::page(db, after))).await
    }

    pub async fn retired(&self) -> Result<Vec<Retired>, StoreFault> {
        self.run(LONG, move |db| Box::pin(tokens::retired(db))).await
    }

    pub async fn count(&self) -> Result<Count, StoreFault> {
        self.run(SHORT, |db| Box::pin(tokens::count(db))).await
    }

    pub async fn close(&self) {
        drop(self.link.busy.write().await);
        self.link.pool.close();
    }
}

impl Postgres {
    /// Connections are made when they are needed.
    fn connect(from: &crate::config::Postgres) -> Result<Self, StoreFault> {
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

impl Link {
    /// Reads what says how to connect.
    fn new(from: &crate::config::Postgres) -> Result<Self, StoreFault> {
        let place = place::read(from)?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(place.config, session::Opener(place.tls), recycling);
        let pool = Pool::builder(manager)
            .max_size(from.pool)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(session::WAIT))
            .create_timeout(Some(session::WAIT))
            .post_create(session::prepare())
            .build()
            .map_err(|why| StoreFault::Database { at: place.at.clone(), why: why.to_string() })?;
        Ok(Self { pool, at: place.at.into(), busy: Arc::default() })
    }

    /// Does something on a connection that nobody else has meanwhile, and for no longer than `limit`.
    async fn run<T>(
        &self,
        limit: Duration,
        what: impl for<'a> FnOnce(&'a mut ClientWrapper) -> Doing<'a, T>,
    ) -> Result<T, StoreFault> {
        let busy = Arc::clone(&self.busy).read_owned().await;
        let client = self
            .pool
            .get()
            .await
            .map_err(|error| self.fault(unreached(&error, self.pool.status().max_size)))?;
        let mut lease = Lease::new(client, busy);
        let Some(client) = lease.client() else { return Err(self.fault("no connection".to_owned())) };
        let trouble = match timeout(limit, what(client)).await {
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
            Trouble::Unfit(_) | Trouble::Database(_) => lease.give_up(),
        }
        Err(self.told(trouble))
    }

    /// As callers hear it.
    fn told(&self, trouble: Trouble) -> StoreFault {
        match trouble {
            Trouble::Told(fault) => fault,
            Trouble::Damaged(what) => StoreFault::Damaged { at: self.at.to_string(), what },
            Trouble::Cannot(why) | Trouble::Unfit(why) => self.fault(why.to_owned()),
            Trouble::Database(error) => self.fault(words(&error)),
        }
    }

    fn fault(&self, why: String) -> StoreFault {
        StoreFault::Database { at: self.at.to_string(), why }
    }
}

/// Whether it can be written to now: takes a lock that has to be written down, and waits until that is durable.
async fn ready(db: &mut ClientWrapper, at: &str) -> Result<(), Trouble> {
    session::must_be_fit(db).await?;
    schema::must_not_be_later(db, at).await?;
    let row = concat!(fit!(), " SELECT one FROM ykvald.meta WHERE ", fits!(), " FOR NO KEY UPDATE");
    let row = db.prepare_cached(row).await?;
    db.query_one(&row, &[]).await?;
    Ok(())
}

/// Whether a question could be answered, as far as that is known without a lock: the server, and the rights of our role.
async fn seems_fit(db: &mut ClientWrapper) -> Result<(), Trouble> {
    session::must_be_fit(db).await?;
    let rights = "SELECT has_table_privilege('ykvald.meta', 'UPDATE') AND has_table_privilege('ykvald.clients', 'SELECT')
        AND has_table_privilege('ykvald.tokens', 'SELECT') AND has_table_privilege('ykvald.tokens', 'INSERT')
        AND has_table_privilege('ykvald.tokens', 'UPDATE')";
    if db.query_one(rights, &[]).await?.try_get(0)? {
        Ok(())
    } else {
        Err(Trouble::Cannot(
            "the role may not write to the tables in the schema ykvald: connect as their owner",
        ))
    }
}

/// Why there is no connection.
fn unreached(error: &PoolError, most: usize) -> String {
    match error {
        PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => all_busy(most),
        PoolError::Timeout(_) => format!("no connection within {} seconds", session::WAIT.as_secs()),
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => words(error),
        PoolError::PostCreateHook(HookError::Message(why)) => why.to_string(),
        PoolError::Closed => "is closed".to_owned(),
        PoolError::NoRuntimeSpecified => "no runtime".to_owned(),
    }
}

fn all_busy(most: usize) -> String {
    format!("all {most} connections were busy for {} seconds (postgres.pool)", session::WAIT.as_secs())
}

/// An error as people read it. Not the detail that a server gives: it quotes rows.
fn words(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{}: {}", said.severity(), said.message());
    }
    let mut words = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(why) = next {
        let why_words = why.to_string();
        // Some say their source's words themselves.
        if !words.ends_with(&why_words) {
            words = format!("{words}: {why_words}");
        }
        next = why.source();
    }
    words
}

/// A position as a number of PostgreSQL's.
fn stored(position: Position) -> Result<i64, Trouble> {
    i64::try_from(position.to_stored())
        .map_err(|_| Trouble::Cannot("a position is no number of PostgreSQL's"))
}

/// And back.
fn position(stored: Option<i64>, of: PublicId) -> Result<Option<Position>, Trouble> {
    let number =
        stored.map(u64::try_from).transpose().map_err(|_| Trouble::Damaged(format!("token {of}")))?;
    Ok(number.map(Position::from_stored))
}
