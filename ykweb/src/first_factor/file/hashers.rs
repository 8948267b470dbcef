//! The threads that compute hashes. They are few, and each has memory of its own, which it keeps.
//!
//! A hash takes 19 MiB or more. The C library keeps for each thread what that thread has freed, so hashes on many threads, as
//! those of `spawn_blocking`, would take gigabytes.

use argon2::{Argon2, Block};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use yubiotp::diagnostic::{Code, Diagnostic, cause};
use zeroize::Zeroize as _;

/// The most threads: each takes a processor, and the memory of the largest hash of the file.
const MOST: usize = 4;

/// Maximum passwords that wait. A processor computes some 30 hashes a second.
const MOST_WAITING: usize = 256;

/// How long a password may wait until its hash is computed.
const PATIENCE: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce(&mut Memory) + Send>;

/// The threads. They end when this is dropped and nothing waits.
pub(super) struct Hashers(SyncSender<Work>);

/// The memory of one thread.
#[derive(Default)]
pub(super) struct Memory(Vec<Block>);

impl Hashers {
    /// Starts the threads: one for each processor, and at most four.
    ///
    /// # Errors
    /// The system has none.
    pub(super) fn start() -> Result<Self, Diagnostic> {
        let (waiting, work) = sync_channel(MOST_WAITING);
        let work = Arc::new(Mutex::new(work));
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        for _ in 0..processors.min(MOST) {
            let work = Arc::clone(&work);
            let thread = std::thread::Builder::new().name("password".to_owned());
            let started = thread.spawn(move || {
                let mut memory = Memory::default();
                while let Some(work) = next(&work) {
                    work(&mut memory);
                }
            });
            started.map_err(|why| {
                let problem = format!("cannot start a thread that checks passwords: {}", cause(&why));
                Diagnostic::error(Code::PasswordNotAsked, problem)
            })?;
        }
        Ok(Self(waiting))
    }

    /// Does this on one of the threads. It is not done if nobody waits for the result any more.
    ///
    /// # Errors
    /// Too many wait, or it waited too long.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Diagnostic> {
        let fault = |problem| Err(Diagnostic::error(Code::PasswordNotAsked, problem));
        let too_many = || {
            let found = Diagnostic::error(Code::PasswordNotAsked, "too many passwords are being checked");
            Err(found.advise("try again; if it goes on, find in the log from where they come"))
        };
        let (done, result) = oneshot::channel();
        let work = move |memory: &mut Memory| {
            if !done.is_closed() {
                // Fails if the browser has gone away meanwhile.
                let _ = done.send(work(memory));
            }
        };
        match self.0.try_send(Box::new(work)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return too_many(),
            Err(TrySendError::Disconnected(_)) => return fault("no thread checks passwords any more"),
        }
        match tokio::time::timeout(PATIENCE, result).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => fault("checking the password was broken off"),
            Err(_) => too_many(),
        }
    }
}

/// Waits for work. `None`: there will be no more.
fn next(work: &Mutex<Receiver<Work>>) -> Option<Work> {
    work.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

impl Memory {
    /// Computes a hash, and wipes the memory. `most`: the blocks of the largest hash of the file; the memory is as large, so
    /// that it is not allocated again for each user.
    ///
    /// # Errors
    /// There is too little memory.
    pub(super) fn hash(
        &mut self,
        hasher: &Argon2<'_>,
        (password, salt): (&[u8], &[u8]),
        most: usize,
        out: &mut [u8],
    ) -> Result<(), Diagnostic> {
        let fault = |why: &dyn std::fmt::Display| {
            Diagnostic::error(Code::PasswordNotAsked, format!("cannot compute the hash of a password: {why}"))
        };
        let most = most.max(hasher.params().block_count());
        if self.0.len() != most {
            // Before the new one is there.
            self.0 = Vec::new();
            self.0.try_reserve_exact(most).map_err(|why| fault(&why))?;
            self.0.resize(most, Block::new());
        }
        let hashed = hasher.hash_password_into_with_memory(password, salt, out, self.0.as_mut_slice());
        self.0.iter_mut().take(hasher.params().block_count()).for_each(|block| block.zeroize());
        hashed.map_err(|why| fault(&why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::{Context, Poll, Waker};
    use std::thread::ThreadId;

    /// A flood takes few threads, each with one memory, and waits in a queue that ends.
    #[tokio::test]
    async fn many_at_once() {
        let hashers = Hashers::start().unwrap();
        let seen: Arc<Mutex<HashSet<(ThreadId, usize)>>> = Arc::default();
        let ran = Arc::new(AtomicUsize::new(0));
        // Holds the threads until all have come.
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();
        let one = || {
            let (seen, ran, gate) = (Arc::clone(&seen), Arc::clone(&ran), Arc::clone(&gate));
            hashers.run(move |memory| {
                drop(gate.lock().unwrap());
                let hasher = super::super::hasher(argon2::Params::new(64, 1, 1, None).unwrap());
                memory.hash(&hasher, (b"password", &[7; 16]), 128, &mut [0; 32]).unwrap();
                assert!(memory.0.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)), "wiped");
                seen.lock().unwrap().insert((std::thread::current().id(), memory.0.as_ptr().addr()));
                ran.fetch_add(1, SeqCst)
            })
        };
        let count = 2 * MOST_WAITING;
        let (mut asked, mut refused) = (Vec::new(), 0);
        for _ in 0..count {
            let mut run = Box::pin(one());
            match at_once(run.as_mut()) {
                Some(Err(found)) => {
                    assert_eq!(found.code, Code::PasswordNotAsked);
                    refused += 1;
                }
                Some(Ok(_)) => panic!("was done while the gate was closed"),
                None => asked.push(run),
            }
        }
        drop(closed);
        for run in asked.drain(..) {
            run.await.unwrap();
        }
        let threads = seen.lock().unwrap().len();
        assert!((1..=MOST).contains(&threads), "{threads} threads or memories");
        assert!((MOST_WAITING..=MOST_WAITING + MOST).contains(&ran.load(SeqCst)));
        assert_eq!(refused, count - ran.load(SeqCst));
        // And goes on.
        assert!(one().await.is_ok());
    }

    /// What a future has at once.
    fn at_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut future).poll(&mut context) {
            Poll::Ready(out) => Some(out),
            Poll::Pending => None,
        }
    }

    /// Whoever went away while they waited costs nothing.
    #[tokio::test]
    async fn who_has_gone_is_not_computed() {
        let hashers = Hashers::start().unwrap();
        let (gate, ran) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
        let closed = gate.lock().unwrap();
        for _ in 0..50 {
            let (gate, ran) = (Arc::clone(&gate), Arc::clone(&ran));
            let run = hashers.run(move |_| {
                ran.fetch_add(1, SeqCst);
                drop(gate.lock().unwrap());
            });
            let _ = at_once(Box::pin(run));
        }
        drop(closed);
        hashers.run(|_| ()).await.unwrap();
        assert!(ran.load(SeqCst) <= MOST);
    }
}
