//! Accepts connections, and answers their requests one after the other.

use super::input::{Arrived, Input, Request};
use super::reply::{self, AuthorizerReply};
use super::{AuthorizerRequest, FastCgiEvent, FastCgiLimits};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long to wait when the system has no descriptor or memory for one more.
const BREATH: Duration = Duration::from_millis(50);

/// What all connections share.
struct Shared<A, E> {
    answer: A,
    tell: E,
    limits: FastCgiLimits,
    places: Semaphore,
    /// Somebody waits for a place: the connection that has waited for its web server longest leaves.
    is_crowded: AtomicBool,
    is_stopping: AtomicBool,
    look_up: Notify,
}

/// The place of a connection.
struct Place<A, E>(Arc<Shared<A, E>>);

impl<A, E> Drop for Place<A, E> {
    fn drop(&mut self) {
        self.0.places.add_permits(1);
    }
}

/// Answers on a listener until it is stopped, and every request that had arrived by then is answered.
pub(super) async fn serve<A, F, E>(
    listener: TcpListener,
    limits: FastCgiLimits,
    stop: CancellationToken,
    answer: A,
    tell: E,
) where
    A: Fn(AuthorizerRequest) -> F + Send + Sync + 'static,
    F: Future<Output = AuthorizerReply> + Send,
    E: Fn(FastCgiEvent) + Send + Sync + 'static,
{
    let most = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
    let shared = Arc::new(Shared {
        answer,
        tell,
        limits,
        places: Semaphore::new(most),
        is_crowded: AtomicBool::new(false),
        is_stopping: AtomicBool::new(false),
        look_up: Notify::new(),
    });
    let accept = async {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(why) => {
                    (shared.tell)(FastCgiEvent::NotAccepted(why));
                    sleep(BREATH).await;
                    continue;
                }
            };
            let place = shared.place().await;
            tokio::spawn(async move { place.0.talk(stream, peer).await });
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept => {}
    }
    shared.is_stopping.store(true, SeqCst);
    shared.look_up.notify_waiters();
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    let _ = shared.places.acquire_many(all).await;
}

impl<A, F, E> Shared<A, E>
where
    A: Fn(AuthorizerRequest) -> F + Send + Sync + 'static,
    F: Future<Output = AuthorizerReply> + Send,
    E: Fn(FastCgiEvent) + Send + Sync + 'static,
{
    /// A place for one more. If all are taken, a connection that waits for its web server leaves.
    async fn place(self: &Arc<Self>) -> Place<A, E> {
        let permit = if let Ok(permit) = self.places.try_acquire() {
            Some(permit)
        } else {
            (self.tell)(FastCgiEvent::Crowded { limit: self.limits.connections });
            self.is_crowded.store(true, SeqCst);
            self.look_up.notify_one();
            let permit = self.places.acquire().await.ok();
            self.is_crowded.store(false, SeqCst);
            permit
        };
        // Given back by `Place`.
        if let Some(permit) = permit {
            permit.forget();
        }
        Place(Arc::clone(self))
    }

    async fn talk(&self, mut stream: TcpStream, peer: SocketAddr) {
        let mut input = Input::new(self.limits.connections);
        let mut patience = self.limits.read;
        while let Some(request) = self.request(&mut stream, peer, &mut input, patience).await {
            let Request { id, keep, params } = request;
            let decided = (self.answer)(AuthorizerRequest { params }).await;
            let (bytes, written) = reply::write(id, &decided);
            if written.is_err() {
                (self.tell)(FastCgiEvent::BadReply);
            }
            let sent = timeout(self.limits.read, stream.write_all(&bytes)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
            if !keep {
                return read_out(&stream);
            }
            patience = self.limits.idle;
        }
    }

    /// The next request, if its first byte arrives within `idle`, and the rest within the time limit; `None`: the connection is
    /// to be closed.
    async fn request(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
        input: &mut Input,
        idle: Duration,
    ) -> Option<Request> {
        let mut until = Instant::now() + idle;
        let mut has_begun = false;
        let mut look_up = pin!(self.look_up.notified());
        loop {
            match input.next() {
                Ok(Some(Arrived::Request(request))) => return Some(request),
                Ok(Some(Arrived::Answered { bytes, close })) => {
                    let sent = timeout(self.limits.read, stream.write_all(&bytes)).await;
                    if close {
                        read_out(stream);
                    }
                    if close || !matches!(sent, Ok(Ok(()))) {
                        return None;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(why) => {
                    (self.tell)(FastCgiEvent::BadRecord { peer, why });
                    return None;
                }
            }
            if !has_begun && !input.is_at_rest() {
                has_begun = true;
                until = Instant::now() + self.limits.read;
            }
            if self.is_stopping.load(SeqCst) {
                return None;
            }
            tokio::select! {
                biased;
                read = timeout_at(until, stream.read_buf(input.room())) => match read {
                    Ok(Ok(1..)) => {}
                    Ok(_) => return None,
                    Err(_) => {
                        if has_begun {
                            (self.tell)(FastCgiEvent::TooSlow { peer });
                        }
                        return None;
                    }
                },
                () = &mut look_up => {
                    if self.is_crowded.swap(false, SeqCst) {
                        return None;
                    }
                    look_up.set(self.look_up.notified());
                }
            }
        }
    }
}

/// Reads what has arrived by now before a connection is closed: otherwise the system resets it, and the web server may lose the
/// reply.
fn read_out(stream: &TcpStream) {
    let mut rest = [0; 512];
    for _ in 0..16 {
        match stream.try_read(&mut rest) {
            Ok(1..) => {}
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}
