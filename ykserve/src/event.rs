//! What happens to every server, whatever it serves.

use crate::Daemon;
use crate::clock;
use crate::descriptors::{Room, lowered};
use crate::log::{LogEvent, LogLevel, LogLine};
use crate::peer::Origin;
use crate::settings::LogFormat;
use crate::validity::{Stage, Validity};
use std::io;
use std::path::PathBuf;
use yubiotp::diagnostic::{Code, Diagnostic, cause};

/// What happens to every server. Each is a line of its log.
#[derive(Debug)]
pub enum ServerEvent {
    /// It answers.
    Started {
        /// The program.
        daemon: Daemon,
        /// Its addresses and sockets.
        at: String,
    },
    /// It was ordered to stop, and finishes what was begun.
    Stopping,
    /// It ends.
    Stopped {
        /// Requests that were cut off.
        unfinished: usize,
    },
    /// A certificate was read again.
    Reloaded {
        /// Its file.
        certificate: PathBuf,
    },
    /// A certificate could not be read again: the one that was read before is used.
    NotReloaded {
        /// Why.
        found: Diagnostic,
    },
    /// A certificate is not valid, or about to expire.
    Validity {
        /// Its file.
        certificate: PathBuf,
        /// Its validity.
        validity: Validity,
        /// Its state now.
        stage: Stage,
    },
    /// All places for connections are taken.
    ConnectionLimit {
        /// How many there are.
        limit: usize,
        /// Excess connections since the last such line.
        refused: u64,
    },
    /// The limit of one address, or of its network.
    AddressLimit {
        /// The last one that was above it.
        peer: Origin,
        /// Excess connections since the last such line.
        refused: u64,
    },
    /// Fewer connections than the configuration wants.
    FewDescriptors {
        /// What there is room for.
        room: Room,
        /// What the configuration wants.
        wanted: usize,
    },
    /// The system gave no connection.
    NotAccepted {
        /// Why.
        why: io::Error,
    },
    /// TLS handshakes failed.
    NoHandshake {
        /// The peer of the last one.
        peer: Origin,
        /// Why the last one failed.
        why: String,
        /// How many since the last such line.
        times: u64,
    },
}

impl LogEvent for ServerEvent {
    fn written(&self, format: LogFormat, at: i64) -> (LogLevel, LogLine) {
        use LogLevel::{Error, Info, Warning};
        let begin = |level, name| (level, LogLine::new(format, at, level, name));
        let number = |number: &usize| u64::try_from(*number).unwrap_or(u64::MAX);
        match self {
            Self::Started { daemon, at } => {
                let (level, mut line) = begin(Info, "started");
                line.text("version", daemon.version);
                line.text("at", at);
                line.code(Code::ServerStarted);
                (level, line)
            }
            Self::Stopping => {
                let (level, mut line) = begin(Info, "stopping");
                line.code(Code::ServerStopping);
                (level, line)
            }
            Self::Stopped { unfinished } => {
                let (level, mut line) = begin(if *unfinished == 0 { Info } else { Warning }, "stopped");
                line.number("unfinished", number(unfinished));
                line.code(Code::ServerStopped);
                (level, line)
            }
            Self::Reloaded { certificate } => {
                let (level, mut line) = begin(Info, "certificate-reloaded");
                line.text("certificate", &certificate.to_string_lossy());
                line.code(Code::CertificateReloaded);
                (level, line)
            }
            Self::NotReloaded { found } => {
                let (level, mut line) = begin(Error, "certificate-refused");
                line.text("stays", "the one that was read before");
                line.finding(found);
                (level, line)
            }
            Self::Validity { certificate, validity, stage } => {
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
            Self::ConnectionLimit { limit, refused } => {
                let (level, mut line) = begin(Warning, "connection-limit");
                line.number("limit", number(limit));
                line.number("refused", *refused);
                line.reason(
                    Code::ConnectionLimit,
                    "limits.connections is reached; excess connections get one answer each, and beyond that HTTP 503",
                );
                (level, line)
            }
            Self::AddressLimit { peer, refused } => {
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
            Self::FewDescriptors { room, wanted } => {
                let (level, mut line) = begin(Warning, "few-descriptors");
                line.number("limit", number(&room.connections));
                line.number("open_files", room.open_files.unwrap_or(u64::MAX));
                line.finding(&lowered(room, *wanted));
                (level, line)
            }
            Self::NotAccepted { why } => {
                let (level, mut line) = begin(Error, "accept-failed");
                line.reason(Code::AcceptFailed, &cause(why));
                (level, line)
            }
            Self::NoHandshake { peer, why, times } => {
                let (level, mut line) = begin(Warning, "handshake-failed");
                line.display("peer", peer);
                line.number("times", *times);
                line.reason(Code::HandshakeFailed, why);
                (level, line)
            }
        }
    }
}
