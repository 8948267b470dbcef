//! Decisions and events, one line each, written by a thread of its own: no request waits for a slow log.
//!
//! Between the two is a queue with an end. While a line cannot be written, it waits there with those behind it. What does
//! not fit is counted, and the first line that fits again says how much it was.

mod line;
mod state;

use super::descriptors::LOWERED;
use super::metrics::Metrics;
use super::peer::From;
use super::validity::{Stage, Validity};
use crate::clock;
use crate::config::{self, LogFormat, LogTo};
use crate::guard::Forgotten;
use crate::verify::Decision;
use line::LogLine;
use prometheus_client::metrics::counter::Counter;
use rustix::fs::{OFlags, fcntl_getfl, fstat, makedev};
use state::LogState;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};
use yubiotp::PublicId;
use yubiotp::protocol::{ClientId, Status};

/// Lines that may wait. A second of a busy server.
const QUEUE: usize = 16 * 1024;

/// Lines that are written at a time.
const BATCH: usize = 4096;

/// How long the thread looks away after a write. Whoever tells it something meanwhile needs not wake it, which would cost
/// more than the line.
const PAUSE: Duration = Duration::from_millis(5);

/// How long to wait before a line that could not be written is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// One decision.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    /// Milliseconds since 1970.
    pub(super) at: i64,
    pub(super) peer: From,
    pub(super) took: Duration,
    pub(super) decision: Decision,
}

/// What is logged. No part of it holds an OTP, a nonce, a key or a URL.
pub(super) enum Event {
    Decided(Decided),
    Abandoned {
        peer: From,
        took: Duration,
    },
    Decrypted {
        peer: From,
        token: Option<PublicId>,
        said: &'static str,
    },
    Started {
        at: String,
    },
    Stopping,
    Stopped {
        unfinished: usize,
    },
    StoreUp,
    StoreDown {
        why: Arc<str>,
    },
    /// Nothing is accepted before it is raised.
    StoreForgot(Forgotten),
    StoreRaised {
        raised: u64,
    },
    Reloaded {
        certificate: PathBuf,
    },
    NotReloaded {
        why: String,
    },
    /// Not valid, or not for long.
    Validity {
        certificate: PathBuf,
        validity: Validity,
        stage: Stage,
    },
    ConnectionLimit {
        limit: usize,
        refused: u64,
    },
    /// Of an address, or of its network.
    AddressLimit {
        peer: From,
        refused: u64,
    },
    /// Fewer connections than the settings want.
    FewDescriptors {
        limit: usize,
        open_files: Option<u64>,
    },
    NotAccepted {
        why: io::Error,
    },
    OverCapacity {
        limit: usize,
        refused: u64,
    },
    KsmOverCapacity {
        limit: usize,
        refused: u64,
    },
    /// Of this token by this client, as of others: so many that they are not logged one by one.
    Refusals {
        client: Option<ClientId>,
        token: Option<PublicId>,
        times: u64,
    },
    NoHandshake {
        peer: From,
        why: String,
        times: u64,
    },
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogLevel {
    Info,
    Warning,
    Error,
}

enum QueueEntry {
    Event(i64, Event),
    /// Everything before it is written: say so.
    Flush(SyncSender<()>),
}

/// The log.
pub(super) struct Log {
    queue: SyncSender<QueueEntry>,
    lost: Arc<AtomicU64>,
    lines_lost: Counter,
    state: Arc<LogState>,
}

/// Where lines go.
pub(super) enum Sink {
    /// As they are.
    Lines(Box<dyn Write + Send>),
    /// syslog(3).
    Syslog(Logger<LoggerBackend, Formatter3164>),
}

impl Sink {
    /// What the settings name.
    pub(super) fn open(to: LogTo) -> io::Result<Self> {
        Ok(match to {
            LogTo::Stdout => Self::Lines(standard_output()?),
            LogTo::Syslog => Self::Syslog(syslog()?),
        })
    }
}

/// Whether syslog(3) takes lines now.
///
/// # Errors
/// It does not.
pub fn syslog_answers() -> io::Result<()> {
    syslog().map(drop)
}

/// Standard output itself: what the library has for it takes a closed one for a good one.
fn standard_output() -> io::Result<Box<dyn Write + Send>> {
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    // Where it was closed, this is what the library opened in its place. Who wants no lines opens it for writing only.
    let is_null = fstat(&output)?.st_rdev == makedev(1, 3);
    let was_closed = is_null && fcntl_getfl(&output)? & OFlags::RWMODE == OFlags::RDWR;
    Ok(if was_closed { Box::new(Closed) } else { Box::new(File::from(output)) })
}

/// Standard output that was closed when this program began.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("standard output is closed"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn syslog() -> io::Result<Logger<LoggerBackend, Formatter3164>> {
    let formatter = Formatter3164 {
        facility: Facility::LOG_AUTHPRIV,
        hostname: None,
        process: "ykvald".to_owned(),
        pid: std::process::id(),
    };
    syslog::unix(formatter).map_err(io::Error::other)
}

impl Log {
    /// Starts the thread.
    pub(super) fn start(config: config::LogConfig, sink: Sink, metrics: &Metrics) -> io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let lines_lost = metrics.log_lines_lost.clone();
        let state = Arc::new(LogState::new(QUEUE / 2));
        let writer = LogWriter {
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
    pub(super) fn tell(&self, event: Event) {
        let at = match &event {
            Event::Decided(decided) => decided.at,
            _ => clock::now_in_milliseconds(),
        };
        // Before it is written.
        self.state.told();
        if self.queue.try_send(QueueEntry::Event(at, event)).is_err() {
            self.state.written(1);
            self.lost.fetch_add(1, Relaxed);
            self.lines_lost.inc();
        }
    }

    /// Why lines are not written, if they are not.
    pub(super) fn fault(&self) -> Option<Arc<str>> {
        self.state.fault()
    }

    /// Waits until all that was told is written, or for as long as is said.
    pub(super) fn flush(&self, patience: Duration) {
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
    format: LogFormat,
    sink: Sink,
    lost: Arc<AtomicU64>,
    state: Arc<LogState>,
    text: Vec<u8>,
}

impl LogWriter {
    fn run(mut self, entries: &Receiver<QueueEntry>) {
        while let Ok(first) = entries.recv() {
            let mut lines = 0_usize;
            let mut flush = None;
            for entry in std::iter::once(first).chain(entries.try_iter().take(BATCH)) {
                match entry {
                    QueueEntry::Event(at, event) => {
                        self.line(at, &event);
                        lines += 1;
                    }
                    QueueEntry::Flush(done) => {
                        flush = Some(done);
                        break;
                    }
                }
            }
            // Lost lines come behind those that were told before them.
            let lost = self.lost.swap(0, Relaxed);
            if lost > 0 {
                let mut line =
                    LogLine::new(self.format, clock::now_in_milliseconds(), LogLevel::Error, "log");
                line.number("lost", lost);
                line.text("reason", "so many log lines were lost: the log does not keep up");
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

    fn line(&mut self, at: i64, event: &Event) {
        let (level, line) = written(self.format, at, event);
        self.put(level, line);
    }

    fn put(&mut self, level: LogLevel, line: LogLine) {
        let line = line.end();
        match &mut self.sink {
            Sink::Lines(_) => {
                self.text.extend_from_slice(line.as_bytes());
                self.text.push(b'\n');
            }
            Sink::Syslog(logger) => {
                let state = &self.state;
                until_it_is_written(state, || {
                    send(logger, level, &line).or_else(|_| {
                        // Anew: the daemon may have been started again.
                        *logger = syslog()?;
                        send(logger, level, &line)
                    })
                });
            }
        }
    }

    fn write(&mut self) {
        let Sink::Lines(to) = &mut self.sink else { return };
        let mut left = self.text.as_slice();
        until_it_is_written(&self.state, || {
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

/// Tries again and again: a disk that was full has room again, and a daemon that was stopped is started. Those who tell
/// the log something do not wait for it.
fn until_it_is_written(state: &LogState, mut write: impl FnMut() -> io::Result<()>) {
    loop {
        state.begins();
        let outcome = write();
        state.ends(&outcome);
        let Err(why) = outcome else { return };
        if state.is_first_failure() {
            let _ = writeln!(
                io::stderr(),
                "ykvald: the log cannot be written: {why}: /readyz is 503 until it can"
            );
        }
        std::thread::sleep(AGAIN);
    }
}

fn send(logger: &mut Logger<LoggerBackend, Formatter3164>, level: LogLevel, line: &str) -> io::Result<()> {
    let sent = match level {
        LogLevel::Info => logger.info(line),
        LogLevel::Warning => logger.warning(line),
        LogLevel::Error => logger.err(line),
    };
    sent.map_err(io::Error::other)
}

fn written(format: LogFormat, at: i64, event: &Event) -> (LogLevel, LogLine) {
    use LogLevel::{Error, Info, Warning};
    let begin = |level, name| (level, LogLine::new(format, at, level, name));
    let with = |level, name, texts: &[(&'static str, &str)]| {
        let (level, mut line) = begin(level, name);
        for (name, text) in texts {
            line.text(name, text);
        }
        (level, line)
    };
    match event {
        Event::Decided(decided) => {
            let level = match decided.decision.status {
                Status::Ok => Info,
                Status::BackendError if decided.decision.overload.is_none() => Error,
                _ => Warning,
            };
            let (level, mut line) = begin(level, "verify");
            decision(&mut line, decided);
            (level, line)
        }
        Event::Abandoned { peer, took } => {
            let (level, mut line) = begin(Warning, "verify");
            line.text("status", "-");
            line.display("peer", peer);
            line.milliseconds("ms", *took);
            line.text("reason", "the client went away before it was decided; its OTP may be used up");
            (level, line)
        }
        Event::Decrypted { peer, token, said } => {
            let (level, mut line) = begin(if *said == "OK" { Info } else { Warning }, "decrypt");
            line.text("status", said);
            if let Some(token) = token {
                line.display("token", token);
            }
            line.display("peer", peer);
            (level, line)
        }
        Event::Started { at } => with(Info, "started", &[("version", env!("CARGO_PKG_VERSION")), ("at", at)]),
        Event::Stopping => begin(Info, "stopping"),
        Event::Stopped { unfinished } => {
            let (level, mut line) = begin(if *unfinished == 0 { Info } else { Warning }, "stopped");
            line.number("unfinished", u64::try_from(*unfinished).unwrap_or(u64::MAX));
            (level, line)
        }
        Event::StoreUp => begin(Info, "store-up"),
        Event::StoreDown { why } => with(Error, "store-down", &[("reason", why)]),
        Event::StoreForgot(Forgotten { accepted, stored }) => {
            let (level, mut line) = begin(Error, "store-forgot");
            line.display("token", accepted.token);
            match stored {
                Some(stored) => line.number("stored", stored.to_stored()),
                None => line.text("stored", "none"),
            }
            line.number("known", accepted.position.to_stored());
            line.text(
                "reason",
                "the store lost OTPs that were accepted: was a backup put back, or an old primary started? \
                 None is accepted until it has them again",
            );
            (level, line)
        }
        Event::StoreRaised { raised } => {
            let (level, mut line) = begin(Warning, "store-raised");
            line.number("tokens", *raised);
            line.text(
                "reason",
                "the store has again what this server accepted since its start; other servers raise what they accepted",
            );
            (level, line)
        }
        Event::Reloaded { certificate } => {
            with(Info, "certificate-reloaded", &[("certificate", &certificate.to_string_lossy())])
        }
        Event::NotReloaded { why } => {
            with(Error, "certificate-refused", &[("reason", why), ("stays", "the one that was read before")])
        }
        Event::Validity { certificate, validity, stage } => {
            let reason = match stage {
                Stage::Expired => "the certificate has expired, and clients refuse it: renew it",
                Stage::NotYet => "the certificate is not valid yet, and clients refuse it: look at the clock",
                Stage::Ending | Stage::Valid => "the certificate expires soon: renew it",
            };
            let is_refused = matches!(stage, Stage::Expired | Stage::NotYet);
            let level = if is_refused { Error } else { Warning };
            let (level, mut line) = begin(level, "certificate-expires");
            line.text("certificate", &certificate.to_string_lossy());
            line.text("from", &clock::written(validity.from));
            line.text("until", &clock::written(validity.until));
            line.text("reason", reason);
            (level, line)
        }
        Event::ConnectionLimit { limit, refused } => {
            let (level, mut line) = begin(Warning, "connection-limit");
            line.number("limit", u64::try_from(*limit).unwrap_or(u64::MAX));
            line.number("refused", *refused);
            line.text(
                "reason",
                "limits.connections is reached: others get one answer each, and then HTTP 503",
            );
            (level, line)
        }
        Event::AddressLimit { peer, refused } => {
            let (level, mut line) = begin(Warning, "address-limit");
            line.display("peer", peer);
            line.number("refused", *refused);
            line.text(
                "reason",
                "limits.connections_per_address is reached, or four times that by one network: others of it get one \
                 answer each, and then HTTP 503",
            );
            (level, line)
        }
        Event::FewDescriptors { limit, open_files } => {
            let (level, mut line) = begin(Warning, "few-descriptors");
            line.number("limit", u64::try_from(*limit).unwrap_or(u64::MAX));
            line.number("open_files", open_files.unwrap_or(u64::MAX));
            line.text("reason", LOWERED);
            (level, line)
        }
        Event::OverCapacity { limit, refused } => {
            let (level, mut line) = begin(Error, "over-capacity");
            line.number("limit", u64::try_from(*limit).unwrap_or(u64::MAX));
            line.number("refused", *refused);
            line.text(
                "reason",
                "limits.in_flight is reached: what reading the store does not decide is refused at once",
            );
            (level, line)
        }
        Event::KsmOverCapacity { limit, refused } => {
            let (level, mut line) = begin(Error, "ksm-over-capacity");
            line.number("limit", u64::try_from(*limit).unwrap_or(u64::MAX));
            line.number("refused", *refused);
            line.text(
                "reason",
                "ksm.in_flight is reached: more questions to key storage modules are refused at once",
            );
            (level, line)
        }
        Event::Refusals { client, token, times } => {
            let (level, mut line) = begin(Warning, "many-refusals");
            if let Some(client) = client {
                line.number("client", client.number());
            }
            if let Some(token) = token {
                line.display("token", token);
            }
            line.number("times", *times);
            line.text(
                "reason",
                "limits.token_rate is reached: refusals are answered as ever, and not logged one by one",
            );
            (level, line)
        }
        Event::NoHandshake { peer, why, times } => {
            let (level, mut line) = begin(Warning, "handshake-failed");
            line.display("peer", peer);
            line.number("times", *times);
            line.text("reason", why);
            (level, line)
        }
        Event::NotAccepted { why } => with(Error, "accept-failed", &[("reason", &why.to_string())]),
    }
}

fn decision(line: &mut LogLine, decided: &Decided) {
    let Decided { decision, peer, took, .. } = decided;
    line.text("status", decision.status.name());
    if let Some(client) = decision.client {
        line.number("client", client.number());
    }
    if let Some(token) = &decision.token {
        line.display("token", token);
    }
    if let Some(position) = decision.position {
        line.number("counter", position.usage_counter());
        line.number("use", position.session_use());
    }
    line.display("peer", peer);
    line.milliseconds("ms", *took);
    line.text("reason", &decision.reason);
}
