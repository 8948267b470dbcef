//! What else knows how far tokens came, for a backup that is put back.

use super::{Failure, out};
use clap::ValueHint;
use serde_json::Value;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use ykval::clock;
use ykval::import::LogReader;
use ykval::store::Evidence;
use yubiotp::{Position, PublicId};

#[derive(clap::Args)]
pub(crate) struct Sources {
    /// A log of the server since the backup, to raise positions from; several: the oldest first; - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    log: Vec<PathBuf>,
    /// The logs have every OTP that was accepted since the backup, up to the last
    #[arg(long)]
    log_is_complete: bool,
    /// Positions, as `key list --json` of a server or `ykmap key list --json` of a host prints them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    positions: Vec<PathBuf>,
    /// Accept tokens as before, though OTPs that were used since the backup may be accepted once more
    #[arg(long)]
    pub(crate) accept_risk: bool,
}

impl Sources {
    /// Reads all of it.
    pub(crate) fn read(&self) -> Result<Evidence, Failure> {
        if self.log_is_complete && self.log.is_empty() {
            return Err(Failure::Fault("--log-is-complete needs --log FILE".to_owned()));
        }
        let mut evidence = Evidence::default();
        let mut reader = LogReader::default();
        for path in &self.log {
            let before = reader.lines;
            opened(path).and_then(|file| reader.read(file, &mut evidence)).map_err(|why| fault(path, why))?;
            if reader.lines == before {
                return Err(fault(path, "no line of ykvald's log is in it"));
            }
        }
        if !self.log.is_empty() {
            evidence.whole_since = if self.log_is_complete { Some(i64::MIN) } else { reader.whole_since() };
            if evidence.whole_since.is_none() {
                let ends = reader.ends().map(clock::written).unwrap_or_default();
                out::note(&format!(
                    "the log does not end with event=stopped (its last line is of {ends}), so its last lines may be missing: \
                     positions are raised, and tokens stay restored. If nothing is missing: --log-is-complete"
                ));
            }
        }
        for path in &self.positions {
            positions(path, &mut evidence)?;
        }
        Ok(evidence)
    }
}

fn fault(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::Fault(format!("{}: {why}", path.display()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the administrator names it, and what it says only raises positions"
)]
fn opened(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(BufReader::new(std::fs::File::open(path)?)))
}

fn positions(path: &Path, evidence: &mut Evidence) -> Result<(), Failure> {
    let mut text = Vec::new();
    opened(path).and_then(|mut file| file.read_to_end(&mut text)).map_err(|why| fault(path, why))?;
    let list: Vec<Value> = serde_json::from_slice(&text)
        .map_err(|why| fault(path, format!("is not what key list --json prints: {why}")))?;
    for (number, token) in list.iter().enumerate() {
        let entry = |what: &str| fault(path, format!("entry {}: {what}", number.saturating_add(1)));
        let id = token.get("id").and_then(Value::as_str).and_then(|id| PublicId::parse(id.as_bytes()).ok());
        let id = id.ok_or_else(|| entry("id is not a public id"))?;
        let number = |name: &str| token.get(name).and_then(Value::as_u64);
        let position = (
            number("usage_counter").and_then(|counter| u16::try_from(counter).ok()),
            number("session_use").and_then(|session_use| u8::try_from(session_use).ok()),
        );
        match position {
            (Some(counter), Some(session_use)) if counter <= 0x7fff => {
                evidence.note(id, Position::yubikey(counter, session_use));
            }
            _ if token.get("usage_counter").is_some_and(Value::is_null) => {}
            _ => return Err(entry("usage_counter and session_use are not those of a YubiKey")),
        }
    }
    Ok(())
}
