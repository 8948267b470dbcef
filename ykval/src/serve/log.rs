//! Decisions and events, one line each, written by a thread of its own: no request waits for a slow log.
//!
//! Lines wait in a bounded queue while they cannot be written. Lines that do not fit are counted, and the first line
//! that fits again says how many were lost.

mod line;
mod state;

use super::descriptors::{Room, lowered};
use super::metrics::Metrics;
use super::peer::From;
use super::validity::{Stage, Validity};
use crate::clock;
use crate::config::{self, LogFormat, LogTo};
use crate::guard::Forgotten;
use crate::sync::PoolEvent;
use crate::verify::{Decision, Received};
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
use yubiotp::diagnostic::{Code, Diagnostic, cause};
use yubiotp::protocol::{ClientId, Status};
use yubiotp::seal::StoreKeyIds;

/// Lines that may wait. A second of a busy server.
const QUEUE: usize = 16 * 1024;

/// Lines that are written together.
const BATCH: usize = 4096;

/// How long the thread sleeps after a write. A caller does not have to wake it meanwhile, which would cost more than the
/// line.
const PAUSE: Duration = Duration::from_millis(5);

/// How long the thread waits before it retries a write that failed.
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

/// What is logged. No part of it holds an OTP, a nonce, a key or a password.
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
        code: Code,
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
        found: Arc<Diagnostic>,
    },
    /// Until the store is raised, no OTP is accepted.
    StoreForgot(Forgotten),
    StoreRaised {
        raised: u64,
    },
    Reloaded {
        certificate: PathBuf,
    },
    NotReloaded {
        found: Diagnostic,
    },
    KeysReloaded {
        keys: StoreKeyIds,
    },
    KeysNotReloaded {
        found: Diagnostic,
    },
    /// The certificate is not valid, or about to expire.
    Validity {
        certificate: PathBuf,
        validity: Validity,
        stage: Stage,
    },
    ConnectionLimit {
        limit: usize,
        refused: u64,
    },
    /// The limit of one address, or of its network.
    AddressLimit {
        peer: From,
        refused: u64,
    },
    /// Fewer connections than the configuration wants.
    FewDescriptors {
        room: Room,
        wanted: usize,
    },
    NotAccepted {
        why: io::Error,
    },
    /// A message of a peer of YK-VAL.
    Synced {
        peer: From,
        received: Received,
    },
    /// Messages from addresses of no peer, the last of them from this one.
    SyncStranger {
        peer: From,
        times: u64,
    },
    SyncOverCapacity {
        limit: usize,
        refused: u64,
    },
    /// What happened to messages to peers of YK-VAL.
    Pool(PoolEvent),
    OverCapacity {
        limit: usize,
        refused: u64,
    },
    KsmOverCapacity {
        limit: usize,
        refused: u64,
    },
    /// Rejections that are not logged separately, the last of them with this client and token.
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
    /// Report when everything before it is written.
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
    /// Lines of a file or a pipe.
    Lines(Box<dyn Write + Send>),
    /// syslog(3).
    Syslog(Logger<LoggerBackend, Formatter3164>),
}

impl Sink {
    /// Opens the sink of the configuration.
    pub(super) fn open(to: LogTo) -> io::Result<Self> {
        Ok(match to {
            LogTo::Stdout => Self::Lines(standard_output()?),
            LogTo::Syslog => Self::Syslog(syslog()?),
        })
    }
}

/// Checks that syslog(3) takes lines now.
///
/// # Errors
/// It does not.
pub fn syslog_answers() -> io::Result<()> {
    syslog().map(drop)
}

/// Standard output itself: `std::io::Stdout` silently ignores that it is closed.
fn standard_output() -> io::Result<Box<dyn Write + Send>> {
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    // The Rust runtime opens /dev/null for reading and writing in place of a closed one. An administrator who wants no log
    // opens it for writing only.
    let is_null = fstat(&output)?.st_rdev == makedev(1, 3);
    let was_closed = is_null && fcntl_getfl(&output)? & OFlags::RWMODE == OFlags::RDWR;
    Ok(if was_closed { Box::new(Closed) } else { Box::new(File::from(output)) })
}

/// Standard output that was closed when this program started.
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
        // Before the line can be written.
        self.state.told();
        if self.queue.try_send(QueueEntry::Event(at, event)).is_err() {
            self.state.written(1);
            self.lost.fetch_add(1, Relaxed);
            self.lines_lost.inc();
        }
    }

    /// Why lines are not written, if so.
    pub(super) fn fault(&self) -> Option<Arc<Diagnostic>> {
        self.state.fault()
    }

    /// Waits until everything logged so far is written, at most for `patience`.
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
                        // The daemon may have been restarted.
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

/// Retries until it succeeds: a full disk gets room again, and a stopped daemon is started. Callers of the log do not
/// wait for it.
fn until_it_is_written(state: &LogState, mut write: impl FnMut() -> io::Result<()>) {
    loop {
        state.begins();
        let outcome = write();
        state.ends(&outcome);
        let Err(why) = outcome else { return };
        if state.is_first_failure() {
            let _ = writeln!(
                io::stderr(),
                "ykvald: the log cannot be written: {}; /readyz answers 503 until it can be [{}]",
                cause(&why),
                Code::LogNotWritten
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
    let number = |number: &usize| u64::try_from(*number).unwrap_or(u64::MAX);
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
            let reason = "the client went away before it was decided; its OTP may be used up";
            line.reason(Code::ClientWentAway, reason);
            (level, line)
        }
        Event::Decrypted { peer, token, said, code } => {
            let (level, mut line) = begin(if *said == "OK" { Info } else { Warning }, "decrypt");
            line.text("status", said);
            if let Some(token) = token {
                line.display("token", token);
            }
            line.display("peer", peer);
            line.code(*code);
            (level, line)
        }
        Event::Started { at } => {
            let (level, mut line) = begin(Info, "started");
            line.text("version", env!("CARGO_PKG_VERSION"));
            line.text("at", at);
            line.code(Code::ServerStarted);
            (level, line)
        }
        Event::Stopping => {
            let (level, mut line) = begin(Info, "stopping");
            line.code(Code::ServerStopping);
            (level, line)
        }
        Event::Stopped { unfinished } => {
            let (level, mut line) = begin(if *unfinished == 0 { Info } else { Warning }, "stopped");
            line.number("unfinished", number(unfinished));
            line.code(Code::ServerStopped);
            (level, line)
        }
        Event::StoreUp => {
            let (level, mut line) = begin(Info, "store-up");
            line.code(Code::DatabaseAvailable);
            (level, line)
        }
        Event::StoreDown { found } => {
            let (level, mut line) = begin(Error, "store-down");
            line.finding(found);
            (level, line)
        }
        Event::StoreForgot(Forgotten { accepted, stored }) => {
            let (level, mut line) = begin(Error, "store-forgot");
            line.display("token", accepted.token);
            match stored {
                Some(stored) => line.number("stored", stored.to_stored()),
                None => line.text("stored", "none"),
            }
            line.number("known", accepted.position.to_stored());
            line.reason(
                Code::DatabaseLostOtps,
                "the store lost OTPs that were accepted: a backup was restored, or an old primary started; none is accepted \
                 until it has them again",
            );
            (level, line)
        }
        Event::StoreRaised { raised } => {
            let (level, mut line) = begin(Warning, "store-raised");
            line.number("tokens", *raised);
            line.reason(
                Code::DatabaseRaised,
                "the store has everything again that this server accepted since its start; other servers raise what they \
                 accepted",
            );
            (level, line)
        }
        Event::Reloaded { certificate } => {
            let (level, mut line) = begin(Info, "certificate-reloaded");
            line.text("certificate", &certificate.to_string_lossy());
            line.code(Code::CertificateReloaded);
            (level, line)
        }
        Event::NotReloaded { found } => {
            let (level, mut line) = begin(Error, "certificate-refused");
            line.text("stays", "the one that was read before");
            line.finding(found);
            (level, line)
        }
        Event::KeysReloaded { keys } => {
            let (level, mut line) = begin(Info, "store-key-reloaded");
            line.text("store-key", &keys.current.to_string());
            if let Some(former) = keys.former {
                line.text("former", &former.to_string());
            }
            line.code(Code::StoreKeyReloaded);
            (level, line)
        }
        Event::KeysNotReloaded { found } => {
            let (level, mut line) = begin(Error, "store-key-refused");
            line.text("stays", "the one that was read before");
            line.finding(found);
            (level, line)
        }
        Event::Validity { certificate, validity, stage } => {
            let (level, code, reason) = match stage {
                Stage::Expired => (
                    Error,
                    Code::CertificateExpired,
                    "the certificate has expired, and clients reject it; renew it",
                ),
                Stage::NotYet => (
                    Error,
                    Code::CertificateNotYetValid,
                    "the certificate is not valid yet, and clients reject it; check the clock",
                ),
                Stage::Ending | Stage::Valid => {
                    (Warning, Code::CertificateExpiresSoon, "the certificate expires soon; renew it")
                }
            };
            let (level, mut line) = begin(level, "certificate-expires");
            line.text("certificate", &certificate.to_string_lossy());
            line.text("from", &clock::written(validity.from));
            line.text("until", &clock::written(validity.until));
            line.reason(code, reason);
            (level, line)
        }
        Event::ConnectionLimit { limit, refused } => {
            let (level, mut line) = begin(Warning, "connection-limit");
            line.number("limit", number(limit));
            line.number("refused", *refused);
            line.reason(
                Code::ConnectionLimit,
                "limits.connections is reached; excess connections get one answer each, and beyond that HTTP 503",
            );
            (level, line)
        }
        Event::AddressLimit { peer, refused } => {
            let (level, mut line) = begin(Warning, "address-limit");
            line.display("peer", peer);
            line.number("refused", *refused);
            line.reason(
                Code::AddressLimit,
                "limits.connections_per_address is reached, or four times that by one network; excess connections get one \
                 answer each, and beyond that HTTP 503",
            );
            (level, line)
        }
        Event::FewDescriptors { room, wanted } => {
            let (level, mut line) = begin(Warning, "few-descriptors");
            line.number("limit", number(&room.connections));
            line.number("open_files", room.open_files.unwrap_or(u64::MAX));
            line.finding(&lowered(room, *wanted));
            (level, line)
        }
        Event::OverCapacity { limit, refused } => {
            let (level, mut line) = begin(Error, "over-capacity");
            line.number("limit", number(limit));
            line.number("refused", *refused);
            line.reason(
                Code::InFlightLimit,
                "limits.in_flight is reached; requests that reading the store does not decide get BACKEND_ERROR",
            );
            (level, line)
        }
        Event::KsmOverCapacity { limit, refused } => {
            let (level, mut line) = begin(Error, "ksm-over-capacity");
            line.number("limit", number(limit));
            line.number("refused", *refused);
            line.reason(
                Code::KsmInFlightLimit,
                "ksm.in_flight is reached; more requests for key storage modules get BACKEND_ERROR",
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
            line.reason(
                Code::TokenRateLimit,
                "limits.token_rate is reached; rejections are answered as before, and not logged separately",
            );
            (level, line)
        }
        Event::NoHandshake { peer, why, times } => {
            let (level, mut line) = begin(Warning, "handshake-failed");
            line.display("peer", peer);
            line.number("times", *times);
            line.reason(Code::HandshakeFailed, why);
            (level, line)
        }
        Event::NotAccepted { why } => {
            let (level, mut line) = begin(Error, "accept-failed");
            line.reason(Code::AcceptFailed, &cause(why));
            (level, line)
        }
        Event::Synced { peer, received } => synced(format, at, *peer, received),
        Event::SyncStranger { peer, times } => {
            let (level, mut line) = begin(Warning, "sync-refused");
            line.display("peer", peer);
            line.number("times", *times);
            let reason = "a message from an address of no peer (sync.peers); it was not read";
            line.reason(Code::SyncAddressNotAllowed, reason);
            (level, line)
        }
        Event::SyncOverCapacity { limit, refused } => {
            let (level, mut line) = begin(Error, "sync-over-capacity");
            line.number("limit", number(limit));
            line.number("refused", *refused);
            line.reason(
                Code::SyncInFlightLimit,
                "too many concurrent messages of peers; they send them again",
            );
            (level, line)
        }
        Event::Pool(event) => pool(format, at, event),
    }
}

/// A message of a peer. Its position comes from its OTP.
fn synced(format: LogFormat, at: i64, peer: From, received: &Received) -> (LogLevel, LogLine) {
    let level = match (received.status, received.code) {
        (Status::Ok, Code::SyncRaised | Code::SyncKnown) => LogLevel::Info,
        (Status::BackendError, code) if code != Code::TokenRestored => LogLevel::Error,
        _ => LogLevel::Warning,
    };
    let mut line = LogLine::new(format, at, level, "sync");
    line.text("status", received.status.name());
    if let Some(token) = &received.token {
        line.display("token", token);
    }
    if let Some(position) = received.position {
        line.number("counter", position.usage_counter());
        line.number("use", position.session_use());
    }
    line.display("peer", peer);
    line.reason(received.code, &received.reason);
    (level, line)
}

/// What happened between this server and a peer. It names no position as `counter` and `use`: a peer's word proves none.
fn pool(format: LogFormat, at: i64, event: &PoolEvent) -> (LogLevel, LogLine) {
    use LogLevel::{Error, Info, Warning};
    let begin = |level, name, peer: &str| {
        let mut line = LogLine::new(format, at, level, name);
        line.text("peer", peer);
        (level, line)
    };
    match event {
        PoolEvent::Sent { peer, .. } => begin(Info, "sync-sent", peer),
        PoolEvent::Down { peer, failure } => {
            let (level, mut line) = begin(Error, "sync-peer-down", peer);
            line.reason(failure.code, &failure.why);
            (level, line)
        }
        PoolEvent::Up { peer } => {
            let (level, mut line) = begin(Info, "sync-peer-up", peer);
            line.code(Code::SyncPeerAnswers);
            (level, line)
        }
        PoolEvent::Used { peer, token, position, known } => {
            let (level, mut line) = begin(Error, "sync-used", peer);
            line.display("token", token);
            line.number("position", position.to_stored());
            line.number("known", known.to_stored());
            let reason = if known == position {
                "the peer accepted this OTP, too, in another request"
            } else {
                "the peer had accepted a later OTP of this token"
            };
            line.reason(Code::SyncOtpUsedAtPeer, reason);
            (level, line)
        }
        PoolEvent::Disabled { peer, token } => {
            let (level, mut line) = begin(Warning, "sync-disabled", peer);
            line.display("token", token);
            line.reason(Code::SyncTokenDisabledAtPeer, "the token is disabled at the peer, and not here");
            (level, line)
        }
        PoolEvent::Resent { peer, resent } => {
            let level = if resent.ahead > 0 { Warning } else { Info };
            let (level, mut line) = begin(level, "sync-resent", peer);
            line.number("tokens", resent.sent);
            line.number("ahead", resent.ahead);
            line.number("disabled", resent.disabled);
            line.number("refused", resent.refused);
            if resent.ahead > 0 {
                let reason =
                    "the peer has higher positions of some tokens; export them there, and import them here";
                line.reason(Code::SyncPeerAhead, reason);
            } else {
                line.reason(Code::SyncResent, "the peer was told what it may have missed");
            }
            (level, line)
        }
        PoolEvent::StateNotWritten { found } => {
            let level = Warning;
            let mut line = LogLine::new(format, at, level, "sync-state");
            line.finding(found);
            (level, line)
        }
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
    line.reason(decision.code, &decision.reason);
}
