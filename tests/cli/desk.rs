//! A self-contained store in a folder of its own, and somebody who runs the command on it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tests::built;
pub(crate) use tests::said::{Said, chmod, is_root, mode, run, said};
use tests::soft_yubikey::SoftYubiKey;

/// What `ykmap init --dir` makes, and the folder around it.
pub(crate) struct Desk {
    outside: TempDir,
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
        Self { outside: tempfile::tempdir().unwrap() }
    }

    /// A new store for very many tokens, in memory where the machine has a place for that: a disk would spend most of
    /// the time taking the files away again.
    pub(crate) fn in_memory() -> Self {
        let outside = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
        let desk = Self { outside };
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

    /// The folder around the store, for files that do not belong to it.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.beside("yubiotp")
    }

    pub(crate) fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir().join(name)
    }

    pub(crate) fn key_file(&self, key: &SoftYubiKey) -> PathBuf {
        self.file("keys").join(key.public_id())
    }

    pub(crate) fn position_file(&self, key: &SoftYubiKey) -> PathBuf {
        self.file("positions").join(key.public_id())
    }

    /// The command on this store, without a verb yet.
    pub(crate) fn command(&self) -> Command {
        let mut command = ykmap();
        command.arg("--config").arg(self.file("config.toml"));
        command
    }

    pub(crate) fn ykmap<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Said {
        run(self.command().args(arguments))
    }

    /// As [`ykmap`](Self::ykmap), with something to read on standard input.
    pub(crate) fn ykmap_reading<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Said {
        let mut command = self.command();
        let piped = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        said(&command, child.wait_with_output().unwrap())
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

    pub(crate) fn write_beside(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.beside(name);
        fs::write(&path, contents).unwrap();
        chmod(&path, 0o600);
        path
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

/// The command, with nothing of the test runner's environment that changes how it prints, and nothing to read.
pub(crate) fn ykmap() -> Command {
    let mut command = Command::new(built::program("ykmap"));
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
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
