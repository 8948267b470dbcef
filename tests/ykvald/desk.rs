//! A site in a folder of its own, and somebody who runs the command on it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::ops::Deref;
use std::process::Command;
pub(crate) use tests::said::{Said, chmod, is_root, mode, run};
use tests::scratch::{self, Scratch};
use tests::soft_yubikey::SoftYubiKey;

/// What `ykvald init --dir` makes, and the folder around it.
pub(crate) struct Desk {
    scratch: Scratch,
}

impl Deref for Desk {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        &self.scratch
    }
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
        Self { scratch: Scratch::new("ykvald", "site") }
    }

    /// A new site with the keys of these tokens.
    pub(crate) fn with(keys: &[SoftYubiKey]) -> Self {
        let desk = Self::new();
        desk.import(keys).exits(0);
        desk
    }

    pub(crate) fn ykvald<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Said {
        self.run(arguments)
    }

    /// As [`ykvald`](Self::ykvald), with something to read on standard input.
    pub(crate) fn ykvald_reading<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Said {
        self.run_reading(arguments, input)
    }

    pub(crate) fn import(&self, keys: &[SoftYubiKey]) -> Said {
        let lines: String = keys.iter().map(|key| key.traditional_log_line() + "\n").collect();
        self.ykvald_reading(&["key", "import", "-"], lines.as_bytes())
    }

    /// Its path, as an argument.
    pub(crate) fn write_beside(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        self.scratch.write_beside(name, contents).into_os_string().into_string().unwrap()
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

/// The command, without settings yet.
pub(crate) fn ykvald() -> Command {
    scratch::command("ykvald")
}
