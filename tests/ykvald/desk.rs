//! A site in a folder of its own, and somebody who runs the command on it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tests::built;
pub(crate) use tests::said::{Said, chmod, is_root, mode, run, said};
use tests::soft_yubikey::SoftYubiKey;

/// What `ykvald init --dir` makes, and the folder around it.
pub(crate) struct Desk {
    outside: TempDir,
}

impl Desk {
    /// A new site without a client.
    pub(crate) fn new() -> Self {
        let desk = Self::bare();
        run(ykvald().args(["init", "--no-client", "--dir"]).arg(desk.dir())).exits(0);
        desk
    }

    /// Nothing but the folder around.
    pub(crate) fn bare() -> Self {
        Self { outside: tempfile::tempdir().unwrap() }
    }

    /// A new site with the keys of these tokens.
    pub(crate) fn with(keys: &[SoftYubiKey]) -> Self {
        let desk = Self::new();
        desk.import(keys).exits(0);
        desk
    }

    /// The folder around the site, for files that do not belong to it.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.beside("site")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// The command on this site, without a verb yet.
    pub(crate) fn command(&self) -> Command {
        let mut command = ykvald();
        command.arg("--config").arg(self.file("config.toml"));
        command
    }

    pub(crate) fn ykvald<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Said {
        run(self.command().args(arguments))
    }

    /// As [`ykvald`](Self::ykvald), with something to read on standard input.
    pub(crate) fn ykvald_reading<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Said {
        let mut command = self.command();
        let piped = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        said(&command, child.wait_with_output().unwrap())
    }

    pub(crate) fn import(&self, keys: &[SoftYubiKey]) -> Said {
        let lines: String = keys.iter().map(|key| key.traditional_log_line() + "\n").collect();
        self.ykvald_reading(&["key", "import", "-"], lines.as_bytes())
    }

    pub(crate) fn write_beside(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.beside(name);
        fs::write(&path, contents).unwrap();
        chmod(&path, 0o600);
        path.into_os_string().into_string().unwrap()
    }

    /// Tokens as `key list --json` tells them, by their ids.
    pub(crate) fn tokens(&self) -> BTreeMap<String, serde_json::Value> {
        let list = self.ykvald(&["key", "list", "--json"]).exits(0).json();
        let list = list.as_array().unwrap().iter();
        list.map(|token| (token["id"].as_str().unwrap().to_owned(), token.clone())).collect()
    }

    /// All that is stored, as far as commands tell it.
    pub(crate) fn told(&self) -> String {
        ["key list", "client list", "checksum"]
            .map(|verb| self.ykvald(&verb.split(' ').chain(["--json"]).collect::<Vec<_>>()).exits(0).out)
            .concat()
    }
}

/// One of the exports of YK-VAL or YK-KSM.
pub(crate) fn vector(name: &str) -> String {
    fs::read_to_string(vector_path(name)).unwrap()
}

pub(crate) fn vector_path(name: &str) -> String {
    format!("{}/vectors/ykval/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The command, with nothing of the test runner's environment that changes what it does, and nothing to read.
pub(crate) fn ykvald() -> Command {
    let mut command = Command::new(built::program("ykvald"));
    for name in ["NO_COLOR", "CLICOLOR_FORCE", "CREDENTIALS_DIRECTORY", "XDG_DATA_HOME"] {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}
