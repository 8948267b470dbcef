//! A journal, written by systemd-journal-remote from the export format.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const REMOTE: &str = "/usr/lib/systemd/systemd-journal-remote";

/// A folder with journal files.
pub(crate) struct Journal {
    folder: TempDir,
}

/// The fields of an entry, but for its time.
pub(crate) type Fields = Vec<(&'static str, Vec<u8>)>;

/// What a program of root logs with syslog(3), facility authpriv.
pub(crate) fn by_root(program: &str, message: &str) -> Fields {
    let fields: [(&str, &str); 7] = [
        ("MESSAGE", message),
        ("SYSLOG_IDENTIFIER", program),
        ("SYSLOG_FACILITY", "10"),
        ("PRIORITY", "6"),
        ("_TRANSPORT", "syslog"),
        ("_HOSTNAME", "web1"),
        ("_UID", "0"),
    ];
    fields.into_iter().map(|(name, value)| (name, value.as_bytes().to_vec())).collect()
}

/// The same with other values; a field without one is left out.
pub(crate) fn with(mut fields: Fields, others: &[(&'static str, &str)]) -> Fields {
    for (name, value) in others {
        fields.retain(|(known, _)| known != name);
        fields.extend((!value.is_empty()).then(|| (*name, value.as_bytes().to_vec())));
    }
    fields
}

/// 2026-11-30, 00:00 UTC, in seconds since 1970.
pub(crate) const DAY: u64 = 1_795_996_800;

impl Journal {
    /// `None` where the machine cannot make one.
    pub(crate) fn new() -> Option<Self> {
        if !Path::new(REMOTE).exists() {
            tests::skip("systemd-journal-remote is not installed");
            return None;
        }
        Some(Self { folder: tempfile::tempdir().unwrap() })
    }

    pub(crate) fn path(&self) -> String {
        self.folder.path().display().to_string()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Appends entries to a file: seconds since 1970, and fields.
    pub(crate) fn append(&self, name: &str, entries: &[(u64, Fields)]) {
        let mut export = Vec::new();
        for (seconds, fields) in entries {
            let time = seconds * 1_000_000;
            write!(
                export,
                "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={time}\n_BOOT_ID={:032x}\n",
                7
            )
            .unwrap();
            for (name, value) in fields {
                export.extend_from_slice(name.as_bytes());
                if value.contains(&b'\n') {
                    export.push(b'\n');
                    export.extend_from_slice(&(value.len() as u64).to_le_bytes());
                } else {
                    export.push(b'=');
                }
                export.extend_from_slice(value);
                export.push(b'\n');
            }
            export.push(b'\n');
        }
        let mut remote = Command::new(REMOTE);
        remote.arg("-o").arg(self.file(name)).arg("-").stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = remote.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&export).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
