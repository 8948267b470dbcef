//! What a server logs, one line an event, written by a thread of its own: no request waits for a slow log.
//!
//! Lines wait in a bounded queue while they cannot be written. Lines that do not fit are counted, and the first line
//! that fits again says how many were lost. What is logged is the server's own ([`LogEvent`]).

mod line;
mod sink;
mod state;
#[cfg(test)]
mod tests;
mod throttle;

use crate::Daemon;
use crate::clock;
use crate::settings::{LogConfig, LogFormat};
pub use line::LogLine;
use prometheus_client::metrics::counter::Counter;
pub use sink::{Sink, Syslog, syslog_answers};
use state::LogState;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
pub use throttle::LogThrottle;
use yubiotp::diagnostic::{Code, Diagnostic, cause};

/// Lines that may wait. A second of a busy server.
const QUEUE: usize = 16 * 1024;

/// Lines that are written together.
const BATCH: usize = 4096;

/// How long the thread sleeps after a write. A caller does not have to wake it meanwhile, which would cost more than the
/// line.
const PAUSE: Duration = Duration::from_millis(5);

/// How long the thread waits before it retries a write that failed.
const AGAIN: Duration = Duration::from_millis(250);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// As it should be.
    Info,
    /// Something was refused, or will need attention.
    Warning,
    /// Something failed.
    Error,
}

/// What a server logs. No part of it holds a secret: nothing removes one from a line.
pub trait LogEvent: Send + 'static {
    /// When it happened, in milliseconds since 1970; `None`: when it is logged.
    fn at(&self) -> Option<i64> {
        None
    }

    /// Its line; `at` is when it happened. Called on the thread of the log.
    fn written(&self, format: LogFormat, at: i64) -> (LogLevel, LogLine);
}

enum QueueEntry<E> {
    Event(i64, E),
    /// Report when everything before it is written.
    Flush(SyncSender<()>),
}

/// The log.
pub struct Log<E> {
    queue: SyncSender<QueueEntry<E>>,
    lost: Arc<AtomicU64>,
    lines_lost: Counter,
    state: Arc<LogState>,
}

impl<E: LogEvent> Log<E> {
    /// Starts the thread. It ends once the log is dropped and everything is written. `lines_lost` counts lines that did not
    /// fit.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(daemon: Daemon, config: LogConfig, sink: Sink, lines_lost: Counter) -> io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let state = Arc::new(LogState::new(QUEUE / 2));
        let writer = LogWriter {
            daemon,
            format: config.format,
            sink,
            lost: Arc::clone(&lost),
            state: Arc::clone(&state),
            text: Vec::with_capacity(64 * 1024),
        };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(&entries))?;
        Ok(Self { queue, lost, lines_lost, state })
    }

    /// Logs an event, without waiting.
    pub fn tell(&self, event: E) {
        let at = event.at().unwrap_or_else(clock::now_in_milliseconds);
        // Before the line can be written.
        self.state.told();
        if self.queue.try_send(QueueEntry::Event(at, event)).is_err() {
            self.state.written(1);
            self.lost.fetch_add(1, Relaxed);
            self.lines_lost.inc();
        }
    }

    /// Logs an event that may happen often, at most every few seconds; `event` is given how often it happened since the
    /// last line.
    pub fn tell_throttled(&self, throttle: &LogThrottle, event: impl FnOnce(u64) -> E) {
        if let Some(times) = throttle.should_log() {
            self.tell(event(times));
        }
    }

    /// Why lines are not written, if so.
    pub fn fault(&self) -> Option<Arc<Diagnostic>> {
        self.state.fault()
    }

    /// Waits until everything logged so far is written, at most for `patience`. Blocks.
    pub fn flush(&self, patience: Duration) {
        let until = Instant::now().checked_add(patience);
        let left = || until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        let (done, flushed) = sync_channel(1);
        let mut entry = QueueEntry::Flush(done);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(entry) {
            if left().is_zero() {
                return;
            }
            entry = back;
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = flushed.recv_timeout(left());
    }
}

/// The thread.
struct LogWriter {
    daemon: Daemon,
    format: LogFormat,
    sink: Sink,
    lost: Arc<AtomicU64>,
    state: Arc<LogState>,
    text: Vec<u8>,
}

impl LogWriter {
    fn run<E: LogEvent>(mut self, entries: &Receiver<QueueEntry<E>>) {
        while let Ok(first) = entries.recv() {
            let mut lines = 0_usize;
            let mut flush = None;
            for entry in std::iter::once(first).chain(entries.try_iter().take(BATCH)) {
                match entry {
                    QueueEntry::Event(at, event) => {
                        let (level, line) = event.written(self.format, at);
                        self.put(level, line);
                        lines += 1;
                    }
                    QueueEntry::Flush(done) => {
                        flush = Some(done);
                        break;
                    }
                }
            }
            // After the lines that were logged before them.
            let lost = self.lost.swap(0, Relaxed);
            if lost > 0 {
                let mut line =
                    LogLine::new(self.format, clock::now_in_milliseconds(), LogLevel::Error, "log");
                line.number("lost", lost);
                line.reason(Code::LogLinesLost, "the log did not keep up, and so many lines were lost");
                self.put(LogLevel::Error, line);
            }
            self.write();
            self.state.written(lines);
            match flush {
                Some(done) => {
                    let _ = done.try_send(());
                }
                None => std::thread::sleep(PAUSE),
            }
        }
    }

    fn put(&mut self, level: LogLevel, line: LogLine) {
        let line = line.end();
        match &mut self.sink {
            Sink::Lines(_) => {
                self.text.extend_from_slice(line.as_bytes());
                self.text.push(b'\n');
            }
            Sink::Syslog(syslog) => {
                until_it_is_written(self.daemon, &self.state, || syslog.send(level, &line));
            }
        }
    }

    fn write(&mut self) {
        let Sink::Lines(to) = &mut self.sink else { return };
        let mut left = self.text.as_slice();
        until_it_is_written(self.daemon, &self.state, || {
            while !left.is_empty() {
                match to.write(left) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => left = left.get(count..).unwrap_or_default(),
                    Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                    Err(why) => return Err(why),
                }
            }
            to.flush()
        });
        self.text.clear();
    }
}

/// Retries until it succeeds: a full disk gets room again, and a stopped daemon is started. Callers of the log do not
/// wait for it.
fn until_it_is_written(daemon: Daemon, state: &LogState, mut write: impl FnMut() -> io::Result<()>) {
    loop {
        state.begins();
        let outcome = write();
        state.ends(&outcome);
        let Err(why) = outcome else { return };
        if state.is_first_failure() {
            let _ = writeln!(
                io::stderr(),
                "{}: the log cannot be written: {}; /readyz answers 503 until it can be [{}]",
                daemon.name,
                cause(&why),
                Code::LogNotWritten
            );
        }
        std::thread::sleep(AGAIN);
    }
}
