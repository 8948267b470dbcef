//! A self-contained store in a folder of its own, and somebody who runs the command on it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
pub(crate) use tests::said::{Said, chmod, is_root, mode, run};
use tests::scratch::{self, Scratch};
use tests::soft_yubikey::SoftYubiKey;

/// What `ykmap init --dir` makes, and the folder around it.
pub(crate) struct Desk {
    scratch: Scratch,
}

impl Deref for Desk {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        &self.scratch
    }
}

/// Path, mode, owner and contents of everything in a folder.
pub(crate) type Snapshot = BTreeMap<PathBuf, (u32, u32, Vec<u8>)>;

impl Desk {
    /// A new store.
    pub(crate) fn new() -> Self {
        let desk = Self::bare();
        run(ykmap().arg("init").arg("--dir").arg(desk.dir())).exits(0);
        desk
    }

    /// Nothing but the folder around.
    pub(crate) fn bare() -> Self {
        Self { scratch: Scratch::new("ykmap", "yubiotp") }
    }

    /// A new store for very many tokens, in memory where the machine has a place for that.
    pub(crate) fn in_memory() -> Self {
        let desk = Self { scratch: Scratch::in_memory("ykmap", "yubiotp") };
        run(desk.command().arg("init")).exits(0);
        desk
    }

    /// A new store with the keys of these tokens, and the first of them alice's.
    pub(crate) fn with(keys: &[&SoftYubiKey]) -> Self {
        let desk = Self::new();
        desk.import(keys).exits(0);
        desk.ykmap(&["add", "alice", &keys[0].public_id()]).exits(0);
        desk
    }

    pub(crate) fn key_file(&self, key: &SoftYubiKey) -> PathBuf {
        self.file("keys").join(key.public_id())
    }

    pub(crate) fn position_file(&self, key: &SoftYubiKey) -> PathBuf {
        self.file("positions").join(key.public_id())
    }

    pub(crate) fn ykmap<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Said {
        self.run(arguments)
    }

    /// As [`ykmap`](Self::ykmap), with something to read on standard input.
    pub(crate) fn ykmap_reading<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Said {
        self.run_reading(arguments, input)
    }

    pub(crate) fn verify(&self, user: &str, otp: &str) -> Said {
        self.ykmap(&["verify", user, otp])
    }

    pub(crate) fn import(&self, keys: &[&SoftYubiKey]) -> Said {
        self.ykmap(&[OsStr::new("key"), "import".as_ref(), self.log(keys).as_os_str()])
    }

    /// Writes what Yubico's tool would have logged when it programmed these.
    pub(crate) fn log(&self, keys: &[&SoftYubiKey]) -> PathBuf {
        let lines = keys.iter().map(|key| key.traditional_log_line() + "\n").collect::<String>();
        self.write_beside("log.csv", lines.as_bytes())
    }

    /// A folder of service files, without one.
    pub(crate) fn empty_pam_dir(&self) -> String {
        let folder = self.beside("pam.d");
        fs::create_dir_all(&folder).unwrap();
        folder.display().to_string()
    }

    pub(crate) fn map(&self, text: impl AsRef<[u8]>) {
        fs::write(self.file("authorized_yubikeys"), text).unwrap();
    }

    pub(crate) fn mapping(&self) -> String {
        fs::read_to_string(self.file("authorized_yubikeys")).unwrap()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut found = Snapshot::new();
        look(&self.dir(), &mut found);
        found
    }
}

fn look(path: &Path, found: &mut Snapshot) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mut contents = Vec::new();
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            // What one change locks against another says nothing.
            if path.file_name().unwrap() != ".yubiotp.lock" {
                look(&path, found);
            }
        }
    } else if metadata.is_file() {
        contents = fs::read(path).unwrap();
    }
    found.insert(path.to_owned(), (metadata.mode(), metadata.uid(), contents));
}

/// The command, without settings yet.
pub(crate) fn ykmap() -> Command {
    scratch::command("ykmap")
}

/// Names in a folder that begin with a dot: left by a change that was interrupted.
pub(crate) fn hidden(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    // What one change locks against another stays.
    names.filter(|name| name.starts_with('.') && name != ".yubiotp.lock").collect()
}

/// The `n`th token that no test imports: the same public ID as [`SoftYubiKey::numbered`], other secrets.
pub(crate) fn programmed_anew(n: u32) -> SoftYubiKey {
    let [a, b, c, d] = n.to_be_bytes();
    SoftYubiKey::new(&[0xff, 0, a, b, c, d], [7; 6], [9; 16])
}
