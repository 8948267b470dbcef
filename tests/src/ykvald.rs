//! The real `ykvald`: a site in a temporary folder, with SQLite in it or a database of PostgreSQL beside it, and the
//! server on a free port of 127.0.0.1.

mod wire;

pub use wire::{Connection, Question, Reply, get, head_of};

use crate::built;
use crate::etcd;
use crate::postgres::Cluster;
use crate::soft_yubikey::SoftYubiKey;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A port of 127.0.0.1 that nobody listens on, and that the kernel gives to no client.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(process::id() % 113 * 100).unwrap(); // processes begin apart
    (0..11_300)
        .map(|_| 20_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 11_300)
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .unwrap()
}

/// A client as `ykvald client add` made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its number.
    pub id: u64,
    /// Its key, in base64.
    pub key: String,
}

/// Settings, store key and store, in a folder that goes away with it.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    store: String,
    client: Client,
    port: u16,
}

impl Site {
    /// With SQLite.
    ///
    /// # Panics
    /// Where `ykvald` refuses.
    #[must_use]
    pub fn sqlite() -> Self {
        Self::within(tempfile::tempdir().unwrap(), "ykvald.db".to_owned())
    }

    /// With a fresh database of the PostgreSQL that the tests of this process share.
    ///
    /// # Errors
    /// Why this machine has none, to be printed.
    pub fn postgres() -> Result<Self, String> {
        Ok(Self::on(Cluster::shared()?))
    }

    /// With a path of its own in the etcd that the tests of this process share.
    ///
    /// # Errors
    /// Why this machine has none, to be printed.
    pub fn etcd() -> Result<Self, String> {
        static NUMBER: AtomicU16 = AtomicU16::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let store = format!("etcd://{}/site{number}", etcd::shared()?);
        Ok(Self::within(tempfile::tempdir().unwrap(), store))
    }

    /// With a fresh database of this cluster.
    ///
    /// # Panics
    /// Where `ykvald` refuses.
    #[must_use]
    pub fn on(cluster: &Cluster) -> Self {
        Self::within(tempfile::tempdir().unwrap(), cluster.database())
    }

    /// In this folder. `store` is as in the settings.
    ///
    /// # Panics
    /// Where `ykvald` refuses.
    #[must_use]
    pub fn within(folder: TempDir, store: String) -> Self {
        Self::set_up(folder, store, "")
    }

    /// The same, with these lines of the settings from the start.
    ///
    /// # Panics
    /// Where `ykvald` refuses.
    #[must_use]
    pub fn set_up(folder: TempDir, store: String, lines: &str) -> Self {
        let client = Client { id: 0, key: String::new() };
        let mut site = Self { folder, store, client, port: free_port() };
        site.settings(lines);
        site.must(&["init", "--no-client"]);
        site.client = site.add_client(&[]);
        site
    }

    /// An existing site in this folder with a SQLite store. Nothing is created, and no client is known.
    #[must_use]
    pub fn found(folder: TempDir) -> Self {
        let client = Client { id: 0, key: String::new() };
        Self { folder, store: "ykvald.db".to_owned(), client, port: free_port() }
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whether it is with SQLite.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        !self.store.contains("://")
    }

    /// Where the store is: a file, or a URL with the password in it.
    #[must_use]
    pub fn store(&self) -> &str {
        &self.store
    }

    /// The client that questions come from, from now on.
    pub fn set_client(&mut self, client: Client) {
        self.client = client;
    }

    /// The first client.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Where [`start`](Self::start) listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Writes the settings: these lines behind the one of the store. No limit of how often a token may be asked about,
    /// unless they say `[limits]` themselves.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn settings(&self, lines: &str) {
        let limits = if lines.contains("[limits]") { "" } else { "[limits]\ntoken_rate = 0\n" };
        let config = self.folder.path().join("config.toml");
        fs::write(&config, format!("store = {:?}\n{lines}\n{limits}", self.store)).unwrap();
        fs::set_permissions(&config, Permissions::from_mode(0o600)).unwrap(); // may hold the database's password
    }

    /// `ykvald --config …` with these arguments.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(built::program("ykvald"));
        command.arg("--config").arg(self.folder.path().join("config.toml")).args(args);
        command
    }

    /// Runs a command that has to succeed, and gives what it printed.
    ///
    /// # Panics
    /// Where it does not.
    pub fn must(&self, args: &[&str]) -> String {
        self.must_read(args, "")
    }

    /// The same, with something to read.
    ///
    /// # Panics
    /// Where it does not succeed.
    pub fn must_read(&self, args: &[&str], input: &str) -> String {
        let output = fed(self.command(args), input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ykvald {args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Changes the database by SQL, as its superuser can. Tables are in `SCHEMA`, which is PostgreSQL's schema or
    /// nothing.
    ///
    /// # Errors
    /// What this machine lacks for it.
    ///
    /// # Panics
    /// Where the database refuses.
    pub fn sql(&self, statement: &str) -> Result<(), String> {
        let program = if self.is_sqlite() { "sqlite3" } else { "psql" };
        let mut command = Command::new(program);
        if self.is_sqlite() {
            command.arg(self.folder.path().join(&self.store)).arg(statement.replace("SCHEMA.", ""));
        } else {
            command.args([&self.store, "-qc", &statement.replace("SCHEMA.", "ykvald.")]);
        }
        let output = command.output().map_err(|why| format!("needs {program}: {why}"))?;
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Adds a client, with further arguments of `client add`.
    ///
    /// # Panics
    /// Where it cannot.
    #[must_use]
    pub fn add_client(&self, args: &[&str]) -> Client {
        let said = self.must(&[&["client", "add", "--name", "a test's", "--json"], args].concat());
        // Two fields are worth no parser of JSON.
        let value = |name: &str| {
            let rest = said.split_once(&format!("\"{name}\"")).unwrap_or_else(|| panic!("{name}: {said}")).1;
            let rest = rest.trim_start_matches([':', ' ', '"']);
            rest[..rest.find([',', '"', '}', '\n']).unwrap()].to_owned()
        };
        Client { id: value("id").parse().unwrap(), key: value("key") }
    }

    /// Imports the keys of these tokens.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn import(&self, keys: &[SoftYubiKey]) {
        let lines: String = keys.iter().map(|key| key.traditional_log_line() + "\n").collect();
        self.must_read(&["key", "import", "-"], &lines);
    }

    /// Imports the keys with these numbers, and gives them.
    ///
    /// # Panics
    /// Where it cannot.
    #[must_use]
    pub fn keys(&self, numbers: std::ops::Range<u32>) -> Vec<SoftYubiKey> {
        let keys: Vec<_> = numbers.map(SoftYubiKey::numbered).collect();
        self.import(&keys);
        keys
    }

    /// `ykvald serve` on [`address`](Self::address), not started.
    #[must_use]
    pub fn serve(&self) -> Command {
        self.command(&["serve", "--listen", &self.address().to_string()])
    }

    /// Starts the server, and waits until it is ready.
    ///
    /// # Panics
    /// Where it does not become ready.
    #[must_use]
    pub fn start(&self) -> Ykvald {
        self.run(self.serve(), self.address())
    }

    /// One more server on this store.
    ///
    /// # Panics
    /// Where it does not become ready.
    #[must_use]
    pub fn start_another(&self) -> Ykvald {
        let address = (Ipv4Addr::LOCALHOST, free_port()).into();
        self.run(self.command(&["serve", "--listen", &format!("{address}")]), address)
    }

    /// Starts this command, which serves at this address, and waits until it is ready.
    ///
    /// # Panics
    /// Where it does not become ready.
    #[must_use]
    pub fn run(&self, command: Command, address: SocketAddr) -> Ykvald {
        let mut server = self.spawn(command, address);
        server.wait_until_ready();
        server
    }

    /// Starts this command, which will serve at this address.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn spawn(&self, mut command: Command, address: SocketAddr) -> Ykvald {
        raise_open_files();
        let log = self.folder.path().join(format!("log-{}", address.port()));
        let file = File::options().append(true).create(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Ykvald { process: command.spawn().unwrap(), address, log }
    }
}

/// As many open files as the machine lets us have: for thousands of connections, here and in what is started.
fn raise_open_files() {
    let now = getrlimit(Resource::Nofile);
    if now.current < now.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum }).unwrap();
    }
}

fn fed(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _may_not_read = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct Ykvald {
    process: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Ykvald {
    /// Waits for 200 from `/readyz`.
    ///
    /// # Panics
    /// Where it ends before, or takes ten seconds.
    pub fn wait_until_ready(&mut self) {
        let begun = Instant::now();
        loop {
            if let Ok(reply) = get(self.address, "/readyz")
                && reply.status == 200
            {
                return;
            }
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "ykvald ended with {ended:?}: {}", self.log());
            assert!(begun.elapsed() < Duration::from_secs(10), "ykvald is not ready: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL that libraries ask.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/wsapi/2.0/verify", self.address)
    }

    /// A connection to it.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn connect(&self) -> Connection {
        Connection::open(self.address).unwrap()
    }

    /// What it wrote to stdout and stderr.
    ///
    /// # Panics
    /// Where it cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until this is in the log: a thread of its own writes that.
    pub fn wait_for_log(&self, text: &str) {
        let begun = Instant::now();
        while !self.log().contains(text) {
            assert!(begun.elapsed() < Duration::from_secs(10), "no {text} in {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its number as a process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// `kill -9`, and waits for its end.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it takes longer than so.
    pub fn wait(&mut self, longest: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < longest, "ykvald has not ended: {}", self.log());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether it runs.
    ///
    /// # Panics
    /// If that cannot be determined.
    pub fn is_alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Its resident memory, in KiB.
    ///
    /// # Panics
    /// Where it has ended.
    #[must_use]
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Ykvald {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _never_fails = self.process.wait();
    }
}
