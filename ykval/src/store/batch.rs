//! Sends questions that wait at the same time to the database as one. A question that arrives while a lane is free is sent
//! immediately.

use super::StoreFault;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use yubiotp::diagnostic::{Code, Diagnostic};

/// Maximum waiting questions; excess ones are refused immediately.
const QUEUE: usize = 4096;

/// The way to a database.
pub(super) trait Way: Clone + Send + Sync + 'static {
    /// The fault for callers.
    fn fault(&self, found: Diagnostic) -> StoreFault;
}

/// A question that can share a statement or a request with others.
pub(super) trait Batched<W>: Send + Sized + 'static {
    /// Its answer.
    type Answer: Send;

    /// Maximum questions that are sent as one.
    const MOST: usize;

    /// After this time without an answer, others are sent beside it.
    const PATIENCE: Duration;

    /// Answers all of them, in their order.
    ///
    /// # Errors
    /// The result of each of them is unknown. None of them is retried.
    fn ask(
        way: &W,
        questions: Vec<Self>,
    ) -> impl Future<Output = Result<Vec<Self::Answer>, StoreFault>> + Send;
}

type Waiting<W, Q> = (Q, oneshot::Sender<Result<<Q as Batched<W>>::Answer, StoreFault>>);

/// Questions of one kind.
pub(super) struct Queue<W: Way, Q: Batched<W>> {
    way: W,
    /// One permit for each that is in progress.
    lanes: Arc<Semaphore>,
    waiting: mpsc::Sender<Waiting<W, Q>>,
}

impl<W: Way, Q: Batched<W>> Clone for Queue<W, Q> {
    fn clone(&self) -> Self {
        Self { way: self.way.clone(), lanes: Arc::clone(&self.lanes), waiting: self.waiting.clone() }
    }
}

impl<W: Way, Q: Batched<W>> Queue<W, Q> {
    /// At most `lanes` are in progress at a time.
    pub(super) fn start(way: &W, lanes: usize) -> Self {
        let (waiting, to_ask) = mpsc::channel(QUEUE);
        let lanes = Arc::new(Semaphore::new(lanes));
        tokio::spawn(gather(way.clone(), Arc::clone(&lanes), to_ask));
        Self { way: way.clone(), lanes, waiting }
    }

    /// Asks. If the future is dropped before the question was sent, it is not sent.
    pub(super) async fn ask(&self, question: Q) -> Result<Q::Answer, StoreFault> {
        let no = |code, problem: &str| self.way.fault(Diagnostic::error(code, problem));
        let silent = || no(Code::DatabaseUnreachable, "gave no answer");
        if let Ok(lane) = self.lanes.try_acquire() {
            let mut said = in_lane(lane, Q::PATIENCE, Q::ask(&self.way, vec![question])).await?;
            return said.pop().ok_or_else(silent);
        }
        let (answer, answered) = oneshot::channel();
        self.waiting.try_send((question, answer)).map_err(|refused| match refused {
            TrySendError::Full(_) => no(Code::DatabaseOverloaded, "too many requests wait for it"),
            TrySendError::Closed(_) => no(Code::DatabaseClosed, "is closed"),
        })?;
        answered.await.unwrap_or_else(|_| Err(silent()))
    }
}

/// Sends the questions that wait when a lane becomes free. Ends when the last clone of the queue is dropped.
async fn gather<W: Way, Q: Batched<W>>(
    way: W,
    lanes: Arc<Semaphore>,
    mut to_ask: mpsc::Receiver<Waiting<W, Q>>,
) {
    while let Some(first) = to_ask.recv().await {
        let Ok(lane) = Arc::clone(&lanes).acquire_owned().await else { return };
        let mut waiting = vec![first];
        while waiting.len() < Q::MOST
            && let Ok(next) = to_ask.try_recv()
        {
            waiting.push(next);
        }
        let way = way.clone();
        tokio::spawn(async move {
            in_lane(lane, Q::PATIENCE, answer(&way, waiting)).await;
        });
    }
}

/// Frees the lane after a while, although the work goes on.
async fn in_lane<T>(lane: impl Sized, patience: Duration, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    match timeout(patience, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            drop(lane);
            work.await
        }
    }
}

async fn answer<W: Way, Q: Batched<W>>(way: &W, mut waiting: Vec<Waiting<W, Q>>) {
    // An OTP whose caller has gone away need not be used up.
    waiting.retain(|(_, answer)| !answer.is_closed());
    if waiting.is_empty() {
        return;
    }
    let (questions, answers): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
    match Q::ask(way, questions).await {
        // A caller may have gone away.
        Ok(said) => answers.into_iter().zip(said).for_each(|(answer, said)| drop(answer.send(Ok(said)))),
        Err(fault) => answers.into_iter().for_each(|answer| drop(answer.send(Err(fault.clone())))),
    }
}
