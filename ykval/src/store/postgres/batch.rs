//! Sends questions that wait at the same time to the database in one statement. A question that arrives while a lane is
//! free is sent immediately.

use super::StoreFault;
use super::link::Link;
use super::trouble::Unfit;
use std::sync::Arc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use yubiotp::diagnostic::{Code, Diagnostic};

/// Maximum waiting questions; excess ones are refused immediately.
const QUEUE: usize = 4096;

/// Maximum questions in one statement.
const BATCH: usize = 512;

/// A question that can share a statement with others.
pub(super) trait Batched: Send + Sized + 'static {
    /// Its answer.
    type Answer: Send;

    /// Answers all of them, in their order.
    ///
    /// # Errors
    /// The result of each of them is unknown. None of them is retried.
    fn ask(
        link: &Link,
        questions: Vec<Self>,
    ) -> impl Future<Output = Result<Vec<Self::Answer>, StoreFault>> + Send;
}

type Waiting<Q> = (Q, oneshot::Sender<Result<<Q as Batched>::Answer, StoreFault>>);

/// Questions of one kind.
pub(super) struct Queue<Q: Batched> {
    link: Link,
    /// One permit for each concurrent statement.
    lanes: Arc<Semaphore>,
    waiting: mpsc::Sender<Waiting<Q>>,
}

impl<Q: Batched> Clone for Queue<Q> {
    fn clone(&self) -> Self {
        Self { link: self.link.clone(), lanes: Arc::clone(&self.lanes), waiting: self.waiting.clone() }
    }
}

impl<Q: Batched> Queue<Q> {
    /// Runs at most `lanes` concurrent statements.
    pub(super) fn start(link: &Link, lanes: usize) -> Self {
        let (waiting, to_ask) = mpsc::channel(QUEUE);
        let lanes = Arc::new(Semaphore::new(lanes));
        tokio::spawn(gather(link.clone(), Arc::clone(&lanes), to_ask));
        Self { link: link.clone(), lanes, waiting }
    }

    /// Asks. If the future is dropped before the question was sent, it is not sent.
    pub(super) async fn ask(&self, question: Q) -> Result<Q::Answer, StoreFault> {
        let no = |code, problem: &str| self.link.fault(Diagnostic::error(code, problem));
        let silent = || self.link.fault(Unfit::Silent.diagnostic());
        if let Ok(_lane) = self.lanes.try_acquire() {
            let mut said = Q::ask(&self.link, vec![question]).await?;
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
async fn gather<Q: Batched>(link: Link, lanes: Arc<Semaphore>, mut to_ask: mpsc::Receiver<Waiting<Q>>) {
    while let Some(first) = to_ask.recv().await {
        let Ok(lane) = Arc::clone(&lanes).acquire_owned().await else { return };
        let mut waiting = vec![first];
        while waiting.len() < BATCH
            && let Ok(next) = to_ask.try_recv()
        {
            waiting.push(next);
        }
        let link = link.clone();
        tokio::spawn(async move {
            answer(&link, waiting).await;
            drop(lane);
        });
    }
}

async fn answer<Q: Batched>(link: &Link, mut waiting: Vec<Waiting<Q>>) {
    // An OTP whose caller has gone away need not be used up.
    waiting.retain(|(_, answer)| !answer.is_closed());
    if waiting.is_empty() {
        return;
    }
    let (questions, answers): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
    match Q::ask(link, questions).await {
        // A caller may have gone away.
        Ok(said) => answers.into_iter().zip(said).for_each(|(answer, said)| drop(answer.send(Ok(said)))),
        Err(fault) => answers.into_iter().for_each(|answer| drop(answer.send(Err(fault.clone())))),
    }
}
