//! The thread that stores positions: all that wait, in one transaction with one sync, and answers afterwards.

use super::advance::{Found, Steps};
use super::checkpoint::WriteAheadLog;
use super::*;
use rusqlite::ErrorCode;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use yubiotp::diagnostic::{Code, cause};
use yubiotp::ledger::Receipt;

/// Maximum waiting jobs; excess ones are refused immediately.
const QUEUE: usize = 4096;

/// Maximum jobs in one transaction.
const BATCH: usize = 512;

/// How long a commit proves that the store can be written.
const PROVEN: Duration = Duration::from_secs(1);

type Answer<T> = oneshot::Sender<Result<T, StoreFault>>;

/// A job for the thread.
enum Job {
    Advance(Step, Answer<Advanced>),
    Ready(Answer<()>),
}

impl Job {
    /// Whether nobody waits for the answer any more.
    fn is_given_up(&self) -> bool {
        match self {
            Self::Advance(_, answer) => answer.is_closed(),
            Self::Ready(answer) => answer.is_closed(),
        }
    }

    fn fail(self, fault: StoreFault) {
        // The caller may have gone away.
        let _ = match self {
            Self::Advance(_, answer) => answer.send(Err(fault)).is_ok(),
            Self::Ready(answer) => answer.send(Err(fault)).is_ok(),
        };
    }
}

/// The handle of the thread.
pub(super) struct Writer {
    place: Arc<DatabaseFile>,
    jobs: RwLock<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(place: Arc<DatabaseFile>, first: Connection) -> Result<Self, StoreFault> {
        let (jobs, to_do) = sync_channel(QUEUE);
        let cannot = |why: std::io::Error| place.says(Code::DatabaseFailed, &cause(&why));
        let log = WriteAheadLog::new(Arc::clone(&place)).map_err(cannot)?;
        // The first connection has checked the file.
        let worker =
            WriterThread { connection: Some(log.connect()?), log, place: Arc::clone(&place), proven: None };
        drop(first);
        let thread = std::thread::Builder::new().name("ykvald-sqlite".to_owned());
        let thread = thread.spawn(move || worker.work(&to_do)).map_err(cannot)?;
        Ok(Self { place, jobs: RwLock::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    pub(super) async fn advance(&self, step: Step) -> Result<Advanced, StoreFault> {
        self.ask(|answer| Job::Advance(step, answer)).await
    }

    pub(super) async fn ready(&self) -> Result<(), StoreFault> {
        self.ask(Job::Ready).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, StoreFault> {
        let (answer, answered) = oneshot::channel();
        let sent = match &*self.jobs.read().unwrap_or_else(PoisonError::into_inner) {
            None => return Err(self.place.closed()),
            Some(jobs) => jobs.try_send(job(answer)),
        };
        match sent {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(self.place.says(Code::DatabaseOverloaded, "too many changes wait to be stored"));
            }
            Err(TrySendError::Disconnected(_)) => return Err(self.stopped()),
        }
        answered.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    fn stopped(&self) -> StoreFault {
        self.place.says(Code::DatabaseClosed, "its writer has stopped")
    }

    /// Finishes all jobs, and ends the thread.
    pub(super) fn close(&self) {
        self.jobs.write().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // If it panicked, it answered nobody, which is a fault for each caller.
        let _ = thread.map(JoinHandle::join);
    }
}

/// The state of the thread.
struct WriterThread {
    place: Arc<DatabaseFile>,
    /// `None` after a failure: the next transaction must not see anything of the one before.
    connection: Option<Connection>,
    log: WriteAheadLog,
    /// The time of the last durable commit.
    proven: Option<Instant>,
}

impl WriterThread {
    fn work(mut self, jobs: &Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Ok(job) = jobs.recv() {
            batch.push(job);
            batch.extend(jobs.try_iter().take(BATCH.saturating_sub(1)));
            let rows = self.rows();
            match self.commit(&batch) {
                Ok(found) => {
                    for (job, found) in batch.drain(..).zip(found) {
                        self.answer(job, found);
                    }
                    let rows = self.rows().saturating_sub(rows);
                    if let Some(connection) = self.connection.as_ref().filter(|_| rows > 0) {
                        self.log.grew(rows, connection);
                    }
                }
                Err(fault) => {
                    for job in batch.drain(..) {
                        job.fail(fault.clone());
                    }
                }
            }
        }
    }

    /// How many rows were changed so far.
    fn rows(&self) -> u64 {
        self.connection.as_ref().map_or(0, Connection::total_changes)
    }

    /// Stores the whole batch durably, or nothing of it.
    fn commit(&mut self, batch: &[Job]) -> Result<Vec<Option<Found>>, StoreFault> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.log.connect()?,
        };
        let (asked, changed) = (Instant::now(), connection.total_changes());
        let found = self.transact(&mut connection, batch);
        if found.is_ok() && connection.total_changes() != changed {
            self.proven = Some(asked);
        }
        let failed = found.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
        if found.is_ok() || failed == Some(ErrorCode::DatabaseBusy) {
            self.connection = Some(connection);
        }
        let found = found.map_err(|why| self.place.fault(&why, &"a token"))?;
        self.place.still_there()?;
        found
    }

    /// The result of each job; or why this program must not write any more.
    fn transact(
        &self,
        connection: &mut Connection,
        batch: &[Job],
    ) -> rusqlite::Result<Result<Vec<Option<Found>>, StoreFault>> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(refused) = connect::refused(&transaction, &self.place)? {
            return Ok(Err(refused));
        }
        let mut steps = Steps::new(&transaction)?;
        let found = batch.iter().map(|job| match job {
            // It may have waited long: an OTP whose caller has gone away need not be used up.
            job if job.is_given_up() => Ok(None),
            Job::Advance(step, _) => steps.take(step).map(Some),
            Job::Ready(_) => self.prove(&transaction).map(|()| None),
        });
        let found = found.collect::<rusqlite::Result<_>>()?;
        drop(steps);
        transaction.commit()?;
        Ok(Ok(found))
    }

    /// Proves that the store can be written, by writing.
    fn prove(&self, transaction: &Connection) -> rusqlite::Result<()> {
        if self.proven.is_some_and(|proven| proven.elapsed() < PROVEN) {
            return Ok(());
        }
        let prove =
            "INSERT INTO meta (name, value) VALUES ('written', ?1) ON CONFLICT DO UPDATE SET value = ?1";
        transaction.execute(prove, [crate::clock::now().to_be_bytes()]).map(|_| ())
    }

    fn answer(&self, job: Job, found: Option<Found>) {
        // The caller may have gone away.
        let _ = match (job, found) {
            (Job::Ready(answer), _) => answer.send(Ok(())).is_ok(),
            (Job::Advance(step, answer), Some(found)) => answer.send(advanced(&step, found)).is_ok(),
            (Job::Advance(_, answer), None) => {
                answer.send(Err(self.place.says(Code::DatabaseClosed, "gave this up"))).is_ok()
            }
        };
    }
}

/// The result of a step, after its transaction is on stable storage.
fn advanced(step: &Step, found: Found) -> Result<Advanced, StoreFault> {
    Ok(match found {
        #[expect(clippy::disallowed_methods, reason = "its transaction was committed with synchronous=FULL")]
        Found::Fresh => Advanced::Fresh(Receipt::after_durable_advance(step.token, step.to)),
        Found::SameRequest => Advanced::SameRequest,
        Found::Replayed(stored) => Advanced::Replayed { stored },
        Found::Disabled => Advanced::Disabled,
        Found::Restored(since) => Advanced::Restored { since },
        Found::NotThisKey => return Err(StoreFault::NotThisKey(step.token)),
    })
}
