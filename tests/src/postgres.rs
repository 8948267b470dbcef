//! A PostgreSQL of the tests' own, from the programs of the machine: on 127.0.0.1, in a folder that goes away with it.

use crate::ykvald::free_port;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{env, fs};

const SCRIPT: &str = include_str!("postgres/cluster.sh");
/// The uid of nobody, where root may not be.
pub const NOBODY: u32 = 65534;

/// The password of the one role, `ykvald`.
pub const PASSWORD: &str = "a-passw0rd-for-nobody-else";

/// A cluster. It goes, with its folder, when dropped, and also where the test is killed.
#[derive(Debug)]
pub struct Cluster {
    address: Ipv4Addr,
    port: u16,
    folder: PathBuf,
    holder: Mutex<Holder>,
}

#[derive(Debug)]
struct Holder {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Cluster {
    /// A new one, running. Takes a second or two.
    ///
    /// # Errors
    /// Why this machine has none, to be printed.
    pub fn start() -> Result<Self, String> {
        Self::begin(Ipv4Addr::LOCALHOST, free_port(), None)
    }

    /// A new one, running, which others of its network reach at this address.
    ///
    /// # Errors
    /// Why this machine has none, to be printed.
    pub fn start_at(address: Ipv4Addr, port: u16) -> Result<Self, String> {
        Self::begin(address, port, None)
    }

    /// A standby of this one, running, at this address.
    ///
    /// # Errors
    /// Why this machine has none, to be printed.
    pub fn standby_at(&self, address: Ipv4Addr, port: u16) -> Result<Self, String> {
        Self::begin(address, port, Some(self))
    }

    /// A standby of this one, running, which has all that this one has and follows it.
    ///
    /// # Errors
    /// Why this machine has none, to be printed.
    pub fn standby(&self) -> Result<Self, String> {
        Self::begin(Ipv4Addr::LOCALHOST, free_port(), Some(self))
    }

    fn begin(address: Ipv4Addr, port: u16, primary: Option<&Self>) -> Result<Self, String> {
        let bin = programs().ok_or("needs postgres and initdb (postgresql)")?;
        let folder = tempfile::Builder::new().prefix("postgres").tempdir_in("/tmp").unwrap().keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = Command::new("sh");
        if rustix::process::geteuid().is_root() {
            chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
            command = Command::new("setpriv");
            let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
            command.args(ids).args(["--clear-groups", "--", "sh"]);
        }
        let mut process = command
            .args(["-c", SCRIPT, "sh"])
            .arg(&folder)
            .arg(bin)
            .args([&port.to_string(), PASSWORD, &address.to_string()])
            .args(primary.map(|primary| primary.address.to_string()))
            .args(primary.map(|primary| primary.port.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("needs sh and setpriv(1): {error}"))?;
        let said = BufReader::new(process.stdout.take().unwrap());
        let cluster = Self { address, port, folder, holder: Mutex::new(Holder { process, said }) };
        cluster.run();
        Ok(cluster)
    }

    /// The one that the tests of this process share. They do not stop it.
    ///
    /// # Errors
    /// Why this machine has none, to be printed.
    pub fn shared() -> Result<&'static Self, String> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref().map_err(Clone::clone)
    }

    /// A database that nobody has written to: its URL, with the password in it.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn database(&self) -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("ykvald{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.order(&format!("database:{name}"));
        format!("postgres://ykvald:{PASSWORD}@{}:{}/{name}", self.address, self.port)
    }

    /// Starts it again after [`stop`](Self::stop), and waits until it answers.
    ///
    /// # Panics
    /// Where it does not.
    pub fn run(&self) {
        self.order("start");
    }

    /// Stops it as a power cut would (`immediate`): uncommitted changes are lost.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn stop(&self) {
        self.order("immediate");
    }

    /// Copies its data, once it was [stopped](Self::stop).
    ///
    /// # Panics
    /// Where it cannot.
    pub fn keep(&self) {
        self.order("keep");
    }

    /// Puts what was [kept](Self::keep) in the place of its data, once it was [stopped](Self::stop): when it runs
    /// again, it is as a primary that was away.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn bring_back(&self) {
        self.order("bring");
    }

    /// Lets it hang, with every connection that it has, until [`thaw`](Self::thaw).
    ///
    /// # Panics
    /// Where it cannot.
    pub fn freeze(&self) {
        self.order("freeze");
    }

    /// Ends [`freeze`](Self::freeze).
    ///
    /// # Panics
    /// Where it cannot.
    pub fn thaw(&self) {
        self.order("thaw");
    }

    /// Runs one statement, on one line, as a superuser.
    ///
    /// # Panics
    /// Where PostgreSQL refuses it.
    pub fn sql(&self, statement: &str) {
        self.order(&format!("sql:{statement}"));
    }

    /// Makes the standby a primary.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn promote(&self) {
        self.order("promote");
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The first of its processes, whose children the others are.
    ///
    /// # Panics
    /// Where it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn order(&self, word: &str) {
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(holder.process.stdin.as_mut().unwrap(), "{word}").unwrap();
        let mut line = String::new();
        holder.said.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n", "PostgreSQL, {word}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        drop(holder.process.stdin.take()); // the script cleans up and ends
        holder.process.wait().unwrap();
    }
}

/// The folder of the server's programs: Debian keeps it off the PATH.
#[must_use]
pub fn programs() -> Option<PathBuf> {
    let has = |folder: &PathBuf| folder.join("postgres").exists() && folder.join("initdb").exists();
    let path = env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    debian.into_iter().rev().chain(env::split_paths(&path)).find(has)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn stops_and_starts_and_leaves_nothing() {
        let cluster = match Cluster::start() {
            Ok(cluster) => cluster,
            Err(why) => return crate::skip(&why),
        };
        let address = ("127.0.0.1", cluster.port());
        assert!(cluster.database() != cluster.database());
        cluster.stop();
        assert!(TcpStream::connect(address).is_err());
        cluster.run();
        assert!(TcpStream::connect(address).is_ok());
        let folder = cluster.folder.clone();
        drop(cluster);
        assert!(TcpStream::connect(address).is_err() && !folder.exists());
    }
}
