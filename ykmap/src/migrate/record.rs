//! What `ykmap migrate … --write` did beside the host's files, for `--undo`: `STORE/migrated/NAME`.

use crate::Failure;
use rustix::fs::Mode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use ykhost::file::{Audience, FileFault, Folder, make_folder};
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Diagnostic};

/// The folder, in the store.
const FOLDER: &str = "migrated";
const LONGEST: u64 = 1 << 26;
const VERSION: u64 = 1;

/// What a migration did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The changes of the host's files, the first one first.
    pub(super) changes: Vec<String>,
    /// What came to the list of each user, and whether they were listed before.
    pub(super) users: BTreeMap<String, (bool, Vec<TokenId>)>,
    /// Files that were made, and did not exist before.
    pub(super) made: Vec<PathBuf>,
}

impl Record {
    /// The record of a migration; `None` if there is none.
    pub(super) fn read(store: &Path, name: &str) -> Result<Option<Self>, Failure> {
        let folder = match Folder::open(&store.join(FOLDER)) {
            Ok(folder) => folder,
            Err(FileFault::Missing(_)) => return Ok(None),
            Err(fault) => return Err(fault.into()),
        };
        let text = match folder.read(name, LONGEST, Audience::Owner) {
            Ok(text) => text,
            Err(FileFault::Missing(_)) => return Ok(None),
            Err(fault) => return Err(fault.into()),
        };
        let record = serde_json::from_slice(&text).ok().and_then(|value| Self::of_json(&value));
        record.map(Some).ok_or_else(|| {
            let found = Diagnostic::error(Code::ChangeDamaged, "is no record of a migration");
            found.at(super::stacks::at(&folder.path().join(name))).into()
        })
    }

    /// Adds what is about to be done; durable when this returns.
    pub(super) fn add(&mut self, user: &str, was_listed: bool, tokens: &[TokenId]) {
        let (_, known) = self.users.entry(user.to_owned()).or_insert((was_listed, Vec::new()));
        known.extend(tokens.iter().filter(|id| !known.contains(id)).copied().collect::<Vec<_>>());
    }

    pub(super) fn write(&self, store: &Path, name: &str) -> Result<(), Failure> {
        let path = store.join(FOLDER);
        make_folder(&path, 0o700)?;
        let text = format!("{:#}\n", self.to_json());
        Ok(Folder::open(&path)?.replace(name, text.as_bytes(), Mode::RUSR | Mode::WUSR)?)
    }

    pub(super) fn forget(store: &Path, name: &str) -> Result<(), Failure> {
        let folder = Folder::open(&store.join(FOLDER))?;
        folder.remove(name)?;
        Ok(folder.sync()?)
    }

    fn to_json(&self) -> Value {
        let users = self.users.iter().map(|(user, (listed, tokens))| {
            let tokens: Vec<_> = tokens.iter().map(ToString::to_string).collect();
            json!({"user": user, "was_listed": listed, "tokens": tokens})
        });
        json!({"version": VERSION, "changes": self.changes, "users": users.collect::<Vec<_>>(), "made": self.made})
    }

    fn of_json(value: &Value) -> Option<Self> {
        if value.get("version")?.as_u64()? != VERSION {
            return None;
        }
        let texts = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|it| Some(it.as_str()?.to_owned())).collect()
        };
        let user = |value: &Value| {
            let tokens = texts(value.get("tokens")?)?;
            let tokens =
                tokens.iter().map(|id| TokenId::parse(id.as_bytes()).ok()).collect::<Option<Vec<_>>>()?;
            Some((value.get("user")?.as_str()?.to_owned(), (value.get("was_listed")?.as_bool()?, tokens)))
        };
        Some(Self {
            changes: texts(value.get("changes")?)?,
            users: value.get("users")?.as_array()?.iter().map(user).collect::<Option<_>>()?,
            made: texts(value.get("made")?)?.into_iter().map(PathBuf::from).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_it_was_written() {
        let mut record =
            Record { changes: vec!["a".to_owned()], made: vec!["/x".into()], ..Record::default() };
        let id = |text: &str| TokenId::parse(text.as_bytes()).unwrap();
        record.add("alice", false, &[id("vvccccccccbd")]);
        // A second run adds to it, and finds the user listed by the first.
        record.add("alice", true, &[id("vvccccccccbd"), id("oath-1")]);
        assert_eq!(record.users["alice"], (false, vec![id("vvccccccccbd"), id("oath-1")]));
        assert_eq!(Record::of_json(&record.to_json()), Some(record));
        assert_eq!(Record::of_json(&json!({"version": 2})), None);
    }
}
