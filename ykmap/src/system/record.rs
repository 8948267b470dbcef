//! The record of a change: JSON, one file a change, replaced as a whole.

use super::file::HostFile;
use crate::Failure;
use data_encoding::BASE64;
use rustix::fs::Mode;
use serde_json::{Value, json};
use std::path::PathBuf;
use ykhost::file::{Audience, FileFault, Folder};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};

/// Several files of a megabyte, before and after, in base64.
const LONGEST: u64 = 1 << 25;
const VERSION: u64 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) state: State,
    /// When it was made, in seconds since 1970.
    pub(super) since: u64,
    /// Who made it.
    pub(super) by: String,
    pub(super) sshd_config: Option<PathBuf>,
    pub(super) files: Vec<Recorded>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Being made or undone. Found under the lock, it was interrupted.
    Open,
    /// Undone at that time unless it is kept.
    Waiting {
        deadline: u64,
    },
    Kept,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) path: PathBuf,
    pub(super) before: Option<Vec<u8>>,
    pub(super) after: Option<Vec<u8>>,
    pub(super) backup: Option<PathBuf>,
}

impl Recorded {
    pub(super) fn make(&self) -> Result<(), Failure> {
        HostFile::find(&self.path)?.make(self.after.as_deref(), self.backup.as_deref())
    }
}

impl Record {
    /// Whether it is to be undone now: also if the clock went back behind its beginning, so that no change lasts longer for it.
    pub(super) const fn is_due(&self, now: u64) -> bool {
        match self.state {
            State::Open => true,
            State::Waiting { deadline } => now >= deadline || now < self.since,
            State::Kept => false,
        }
    }

    fn to_json(&self) -> Value {
        let (state, deadline) = match self.state {
            State::Open => ("open", None),
            State::Waiting { deadline } => ("waiting", Some(deadline)),
            State::Kept => ("kept", None),
        };
        let text = |contents: &Option<Vec<u8>>| contents.as_ref().map(|it| BASE64.encode(it));
        let files = self.files.iter().map(|file| {
            json!({"path": file.path, "before": text(&file.before), "after": text(&file.after), "backup": file.backup})
        });
        json!({
            "version": VERSION, "state": state, "deadline": deadline, "since": self.since, "by": self.by,
            "sshd_config": self.sshd_config, "files": files.collect::<Vec<_>>(),
        })
    }

    fn of_json(value: &Value) -> Option<Self> {
        if value.get("version")?.as_u64()? != VERSION {
            return None;
        }
        let path = |value: &Value, name: &str| match value.get(name) {
            None | Some(Value::Null) => Some(None),
            Some(path) => Some(Some(PathBuf::from(path.as_str()?))),
        };
        let contents = |value: &Value, name: &str| match value.get(name)? {
            Value::Null => Some(None),
            text => Some(Some(BASE64.decode(text.as_str()?.as_bytes()).ok()?)),
        };
        let file = |value: &Value| {
            let (before, after) = (contents(value, "before")?, contents(value, "after")?);
            Some(Recorded { path: path(value, "path")??, before, after, backup: path(value, "backup")? })
        };
        Some(Self {
            state: match value.get("state")?.as_str()? {
                "open" => State::Open,
                "waiting" => State::Waiting { deadline: value.get("deadline")?.as_u64()? },
                "kept" => State::Kept,
                _ => return None,
            },
            since: value.get("since")?.as_u64()?,
            by: value.get("by")?.as_str()?.to_owned(),
            sshd_config: path(value, "sshd_config")?,
            files: value.get("files")?.as_array()?.iter().map(file).collect::<Option<_>>()?,
        })
    }
}

/// The record of this name; `None` if there is none.
pub(super) fn read(folder: &Folder, name: &str) -> Result<Option<Record>, Failure> {
    let text = match folder.read(name, LONGEST, Audience::Owner) {
        Ok(text) => text,
        Err(FileFault::Missing(_)) => return Ok(None),
        Err(why) => return Err(why.into()),
    };
    let record = serde_json::from_slice(&text).ok().and_then(|value| Record::of_json(&value));
    record.map(Some).ok_or_else(|| {
        let path = folder.path().join(name);
        let bytes = path.as_os_str().as_encoded_bytes();
        Diagnostic::error(
            Code::ChangeDamaged,
            "is not a record of a change that this version can read: the change is neither kept nor undone from it",
        )
        .at(Location::file(bytes))
        .advise("compare the service's files in pam.d, and of sshd, with their backups FILE.ykmap-TIME, and rename a backup to FILE if logins fail")
        .run_when("after that", Program::System, format!("rm {}", shell_word(bytes)))
        .into()
    })
}

pub(super) fn write(folder: &Folder, name: &str, record: &Record) -> Result<(), Failure> {
    let text = record.to_json().to_string();
    Ok(folder.replace(name, text.as_bytes(), Mode::RUSR | Mode::WUSR)?)
}
