//! Other sources of positions, for restoring a backup.

use super::Failure;
use clap::ValueHint;
use serde_json::Value;
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use ykval::file;
use ykval::import::LogReader;
use ykval::store::Evidence;
use yubiotp::diagnostic::{Code, Diagnostic, cause};
use yubiotp::{Position, PublicId};

#[derive(clap::Args)]
pub(crate) struct Sources {
    /// A log of the server since the backup, to raise positions from; repeat it, the oldest first; - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    log: Vec<PathBuf>,
    /// State that these are the logs of every server since the backup, without a gap. If that is wrong, used OTPs are
    /// accepted again
    #[arg(long)]
    log_is_complete: bool,
    /// Positions, as printed by `ykvald key list --json` on a server or `ykmap key list --json` on a host
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    positions: Vec<PathBuf>,
    /// Accept tokens as before. OTPs that were used since the backup may be accepted once more
    #[arg(long)]
    pub(crate) accept_risk: bool,
}

impl Sources {
    pub(crate) fn has_log(&self) -> bool {
        !self.log.is_empty()
    }

    /// Reads all of it. Logs do not show what is missing in them, so only the administrator can state that they are
    /// complete.
    pub(crate) fn read(&self) -> Result<Gathered, Failure> {
        if self.log_is_complete && self.log.is_empty() {
            let alone = Diagnostic::error(Code::CommandLineInvalid, "--log-is-complete needs --log FILE");
            return Err(alone.into());
        }
        let mut evidence = Evidence::new(self.log_is_complete);
        let mut reader = LogReader::default();
        for path in &self.log {
            let before = reader.lines;
            opened(path)
                .and_then(|file| reader.read(file, &mut evidence))
                .map_err(|why| unreadable(path, &why))?;
            if reader.lines == before {
                let none = Diagnostic::error(Code::LogWithoutLines, "holds no line of ykvald's log");
                return Err(none.at(file::location(path)).into());
            }
        }
        for path in &self.positions {
            positions(path, &mut evidence)?;
        }
        let seems_whole_since = reader.seems_whole_since().filter(|_| !self.log_is_complete);
        Ok(Gathered { evidence, seems_whole_since })
    }
}

/// The positions in these lists, as `--positions` names them, and the tokens of which one of the lists does not know the
/// position: nothing proves how far these have come.
pub(crate) fn positions_in(lists: &[PathBuf]) -> Result<(Evidence, HashSet<PublicId>), Failure> {
    let (mut evidence, mut unknown) = (Evidence::default(), HashSet::new());
    for path in lists {
        unknown.extend(positions(path, &mut evidence)?);
    }
    Ok((evidence, unknown))
}

/// Whether a list knows the position of a token. A server does not if the token is restored there; a host does only of a
/// token that it can use, or that is disabled.
fn is_known(token: &Value) -> bool {
    match (token.get("restored"), token.get("state").and_then(Value::as_str)) {
        (Some(restored), None) => restored.is_null(),
        (None, Some(state)) => matches!(state, "enabled" | "disabled"),
        _ => false,
    }
}

/// What the sources hold.
pub(crate) struct Gathered {
    pub(crate) evidence: Evidence,
    seems_whole_since: Option<i64>,
}

impl Gathered {
    /// Whether the logs may be complete since a backup of this time, although nobody stated it.
    pub(crate) fn may_be_complete_since(&self, backup: i64) -> bool {
        self.seems_whole_since.is_some_and(|whole| whole <= backup)
    }
}

fn invalid(path: &Path, problem: &str) -> Failure {
    Diagnostic::error(Code::InputInvalid, problem).at(file::location(path)).into()
}

fn unreadable(path: &Path, why: &io::Error) -> Failure {
    let code = match why.kind() {
        io::ErrorKind::NotFound => Code::FileMissing,
        _ => Code::FileInaccessible,
    };
    Diagnostic::error(code, format!("cannot read it: {}", cause(why))).at(file::location(path)).into()
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

/// Takes in a list, and returns the tokens whose position it does not know.
fn positions(path: &Path, evidence: &mut Evidence) -> Result<Vec<PublicId>, Failure> {
    let (mut text, mut unknown) = (Vec::new(), Vec::new());
    opened(path).and_then(|mut file| file.read_to_end(&mut text)).map_err(|why| unreadable(path, &why))?;
    let list: Vec<Value> = serde_json::from_slice(&text)
        .map_err(|why| invalid(path, &format!("is not the output of key list --json: {why}")))?;
    for (number, token) in list.iter().enumerate() {
        let entry = |what: &str| invalid(path, &format!("entry {}: {what}", number.saturating_add(1)));
        let id = token.get("id").and_then(Value::as_str).and_then(|id| PublicId::parse(id.as_bytes()).ok());
        let id = id.ok_or_else(|| entry("id is not a public ID"))?;
        if !is_known(token) {
            unknown.push(id);
        }
        let number = |name: &str| token.get(name).and_then(Value::as_u64);
        let position = (
            number("usage_counter").and_then(|counter| u16::try_from(counter).ok()),
            number("session_use").and_then(|session_use| u8::try_from(session_use).ok()),
        );
        match position {
            (Some(counter), Some(session_use)) if counter <= 0x7fff => {
                evidence.note(id, Position::yubikey(counter, session_use), i64::MAX);
            }
            _ if token.get("usage_counter").is_some_and(Value::is_null) => {}
            _ => return Err(entry("usage_counter and session_use are not those of a YubiKey")),
        }
    }
    Ok(unknown)
}
