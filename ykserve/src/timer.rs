//! Time limits of a connection, and a socket that records its times.
//!
//! Instead of a timer for each request, a connection is looked at from time to time: four numbers say what it waits for.

use crate::settings::ConnectionLimits;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// What a connection waits for, and since when.
pub(crate) struct ConnectionTimer {
    opened: Instant,
    /// Requests that are being answered.
    busy: AtomicU32,
    /// Whether there ever was a request.
    was_busy: AtomicBool,
    /// When the last request was answered.
    quiet: AtomicU64,
    /// When the first byte after that arrived; 0: none did.
    heard: AtomicU64,
    /// Since when the client has not read what was written to it; 0: it has read everything.
    stalled: AtomicU64,
    /// Whether it is HTTP/2: concurrent requests, and bytes that belong to none.
    http2: AtomicBool,
    /// Whether others need its place.
    leaving: AtomicBool,
    asked_to_leave: Notify,
}

impl ConnectionTimer {
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            busy: AtomicU32::new(0),
            was_busy: AtomicBool::new(false),
            quiet: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            http2: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            asked_to_leave: Notify::new(),
        }
    }

    /// Starts again, after the TLS handshake.
    pub(crate) fn open(&self) {
        self.quiet.store(self.now(), Relaxed);
        self.heard.store(0, Relaxed);
    }

    /// The time. Never 0, which means none.
    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// A request arrived whole, and is being answered.
    pub(crate) fn begin_answer(&self, http2: bool) {
        if http2 {
            self.http2.store(true, Relaxed);
        }
        self.was_busy.store(true, Relaxed);
        self.busy.fetch_add(1, Relaxed);
    }

    /// A request was answered.
    pub(crate) fn end_answer(&self) {
        self.quiet.store(self.now(), Relaxed);
        self.heard.store(0, Relaxed);
        self.busy.fetch_sub(1, Relaxed);
    }

    /// Whether a request is being answered.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Relaxed) > 0
    }

    /// Whether all requests were answered, and no other one has begun to arrive.
    pub(crate) fn is_idle(&self) -> bool {
        let has_begun = self.heard.load(Relaxed) != 0 && !self.http2.load(Relaxed);
        self.was_busy.load(Relaxed) && !self.is_busy() && !has_begun
    }

    /// How long no request was being answered; `None`: one is.
    pub(crate) fn quiet_for(&self) -> Option<Duration> {
        let quiet = self.now().saturating_sub(self.quiet.load(Relaxed));
        (!self.is_busy()).then_some(Duration::from_millis(quiet))
    }

    /// Asks the connection to end, because others need its place.
    pub(crate) fn ask_to_leave(&self) {
        self.leaving.store(true, Relaxed);
        self.asked_to_leave.notify_one();
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Returns once the connection was asked to end.
    pub(crate) async fn asked_to_leave(&self) {
        while !self.is_leaving() {
            self.asked_to_leave.notified().await;
        }
    }

    /// When to look again; `None`: it took too long, and has to be closed.
    pub(crate) fn look(&self, limits: &ConnectionLimits) -> Option<Duration> {
        let now = self.now();
        let since = |mark: &AtomicU64| match mark.load(Relaxed) {
            0 => None,
            mark => Some(Duration::from_millis(now.saturating_sub(mark))),
        };
        let left =
            |limit: Duration, passed: Duration| limit.checked_sub(passed).filter(|left| !left.is_zero());
        let mut next = limits.idle.min(limits.read);
        if let Some(stalled) = since(&self.stalled) {
            next = next.min(left(limits.read, stalled)?);
        }
        if self.busy.load(Relaxed) > 0 {
            // The body and the answer have time limits of their own.
            return Some(next);
        }
        if let Some(heard) = since(&self.heard).filter(|_| !self.http2.load(Relaxed)) {
            return left(limits.read, heard).map(|left| left.min(next));
        }
        let quiet = Duration::from_millis(now.saturating_sub(self.quiet.load(Relaxed)));
        left(limits.idle, quiet).map(|left| left.min(next))
    }

    fn heard(&self) {
        if self.busy.load(Relaxed) == 0 && self.heard.load(Relaxed) == 0 {
            self.heard.store(self.now(), Relaxed);
        }
    }

    fn wrote(&self, progress: bool) {
        let stalled = self.stalled.load(Relaxed);
        if progress && stalled != 0 {
            self.stalled.store(0, Relaxed);
        } else if !progress && stalled == 0 {
            self.stalled.store(self.now(), Relaxed);
        }
    }
}

/// A socket that records its times.
pub(crate) struct TimedSocket<T> {
    pub(crate) io: T,
    pub(crate) timer: Arc<ConnectionTimer>,
}

impl<T: AsyncRead + Unpin> AsyncRead for TimedSocket<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.timer.heard();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> TimedSocket<T> {
    fn written<R>(&self, done: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        self.timer.wrote(done.is_ready());
        done
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for TimedSocket<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.written(done)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.io).poll_write_vectored(cx, bytes);
        this.written(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.io).poll_flush(cx);
        this.written(done)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.io).poll_shutdown(cx);
        this.written(done)
    }
}
