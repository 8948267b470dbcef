//! A PostgreSQL of the test's own: made, started and stopped by it, durable as one is in service.

#![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

use crate::config;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// What is written behind initdb's settings. TLS for the name localhost alone.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
max_connections = 200
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
synchronous_commit = off
default_transaction_isolation = 'serializable'
";

const ACCESS: &str = "
local all all trust
local replication all trust
hostssl all with_tls 127.0.0.1/32 scram-sha-256
hostnossl all with_tls 127.0.0.1/32 reject
host all all 127.0.0.1/32 scram-sha-256
";

/// Ends the server, and its folder, when the test's process is gone, however that ended: then the pipe is closed. A line
/// on it says that the server was told to stop.
const KEEPER: &str = r#""$@" & server=$!; if read -r _; then wait $server; else
    kill -QUIT $server; wait $server; cd /; rm -rf "$OLDPWD"; fi"#;

pub(super) struct Cluster {
    folder: TempDir,
    port: u16,
    user: Option<(u32, u32)>,
    keeper: Option<Child>,
    databases: AtomicUsize,
}

/// The one that all tests share, each with a database of its own. `None`: this machine has no PostgreSQL.
pub(super) fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    SHARED.get_or_init(Cluster::start).as_ref()
}

impl Cluster {
    /// Makes one and starts it. `None` (said as a skipped test is) if this machine has no PostgreSQL.
    pub(super) fn start() -> Option<Self> {
        if Command::new("initdb").arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: needs initdb and postgres in PATH");
            let must = std::env::var_os("YUBIOTP_TEST_NO_SKIP").is_some();
            assert!(!must, "this machine must run every test: needs initdb and postgres in PATH");
            return None;
        }
        let folder = tempfile::tempdir_in("/tmp").unwrap(); // the path of a socket is short
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let user = rustix::process::geteuid().is_root().then(nobody);
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut cluster = Self { folder, port, user, keeper: None, databases: AtomicUsize::new(0) };
        let mut initdb = cluster.command("initdb");
        initdb.args([
            "--no-sync",
            "--no-instructions",
            "--auth=trust",
            "--username=owner",
            "--encoding=UTF8",
        ]);
        let made = initdb.arg("--locale=C").arg(cluster.data()).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = fs::read_to_string(cluster.data().join("postgresql.conf")).unwrap();
        let sockets = format!("unix_socket_directories = '{}'\n", cluster.folder.path().display());
        cluster.write("postgresql.conf", &format!("{settings}{SETTINGS}{sockets}"));
        cluster.write("pg_hba.conf", ACCESS);
        cluster.certify();
        cluster.again();
        Some(cluster)
    }

    /// A copy of this one, which is restarted, as its standby, not started. `name` is what the primary calls it.
    pub(super) fn standby(&mut self, name: &str) -> Self {
        self.stop(Signal::INT);
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let databases = AtomicUsize::new(1000);
        let standby = Self { folder, port, user: self.user, keeper: None, databases };
        if let Some((uid, gid)) = standby.user {
            chown(standby.folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let copied = Command::new("cp").arg("-a").arg(self.data()).arg(standby.data()).status().unwrap();
        assert!(copied.success());
        standby.follow(self, name);
        self.again();
        standby
    }

    /// Makes one that does not run a standby of another.
    pub(super) fn follow(&self, primary: &Self, name: &str) {
        let settings = fs::read_to_string(self.data().join("postgresql.conf")).unwrap();
        let (own, of) = (self.folder.path().display(), primary.folder.path().display());
        let settings = format!(
            "{settings}\nunix_socket_directories = '{own}'\n\
             default_transaction_isolation = 'read committed'\nprimary_conninfo = 'host={of} port={} user=owner application_name={name}'\n",
            primary.port
        );
        self.write("postgresql.conf", &settings);
        self.write("standby.signal", "");
    }

    /// Waits until the standbys of this one have what it has now.
    pub(super) async fn caught_up(&self) {
        let behind = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()";
        let client = self.connect("postgres").await;
        let begun = Instant::now();
        while client.query_one(behind, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "no standby follows");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts the server that was stopped.
    pub(super) fn again(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut keeper = self.command("sh");
        keeper.args(["-c", KEEPER, "sh", "postgres", "-D"]).arg(self.data());
        keeper.args(["-p", &self.port.to_string()]);
        keeper.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        self.keeper = Some(keeper.spawn().unwrap());
        let begun = Instant::now();
        while !matches!(self.pid_file().lines().nth(7).map(str::trim), Some("ready" | "standby")) {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(60), "PostgreSQL does not start: {}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the server: `QUIT` is as if the power failed, `INT` is orderly.
    pub(super) fn stop(&mut self, how: Signal) {
        let Some(mut keeper) = self.keeper.take() else { return };
        let server = self.pid_file().lines().next().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        if let Some(server) = server {
            let _ = kill_process(server, how);
        }
        keeper.stdin.take().unwrap().write_all(b"\n").unwrap();
        keeper.wait().unwrap();
    }

    /// Signals the server's processes, all of them: stopped, it does not answer, and its connections stay.
    pub(super) fn signal_all(&self, how: Signal) {
        let own = self.pid_file().lines().next().unwrap().to_owned();
        for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let Ok(stat) = fs::read_to_string(process.path().join("stat")) else { continue };
            let pid = process.file_name().into_string().unwrap();
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
            if pid == own || parent == Some(&own) {
                let _ = kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), how);
            }
        }
    }

    /// Makes an empty database; how `user` reaches it by the socket.
    pub(super) async fn database(&self, user: &str) -> config::PostgresConfig {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run(&format!("CREATE DATABASE {name}")).await;
        self.at(&name, user)
    }

    pub(super) fn at(&self, database: &str, user: &str) -> config::PostgresConfig {
        let (folder, port) = (self.folder.path().display(), self.port);
        settings(format!("postgres:///{database}?user={user}&host={folder}&port={port}"))
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// A file for the tests' own use beside the data.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Statements as the owner of everything, one at a time.
    pub(super) async fn run(&self, statements: &str) {
        let client = self.connect("postgres").await;
        for statement in statements.split(';').filter(|statement| !statement.trim().is_empty()) {
            client.simple_query(statement).await.unwrap();
        }
    }

    /// A session as the owner of everything.
    pub(super) async fn connect(&self, database: &str) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.at(database, "owner").url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("LC_ALL", "C").env_remove("PGDATA");
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn pid_file(&self) -> String {
        fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default()
    }

    /// Writes a file of the server's.
    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((uid, gid)) = self.user {
            chown(&path, Some(uid), Some(gid)).unwrap();
        }
    }

    /// A certificate for localhost, and the authorities `ca.pem`, which signed it, and `other.pem`, which did not.
    fn certify(&self) {
        let authority = |file: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, file);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            fs::write(self.file(file), params.self_signed(&key).unwrap().pem()).unwrap();
            fs::set_permissions(self.file(file), fs::Permissions::from_mode(0o644)).unwrap();
            Issuer::new(params, key)
        };
        let (issuer, _) = (authority("ca.pem"), authority("other.pem"));
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        self.write("server.crt", &params.signed_by(&key, &issuer).unwrap().pem());
        self.write("server.key", &key.serialize_pem());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop(Signal::QUIT);
    }
}

pub(super) const fn settings(url: String) -> config::PostgresConfig {
    let standby = config::Standby::Optional;
    config::PostgresConfig { url, password_file: None, ca: None, pool: 16, standby, seen: None }
}

/// PostgreSQL does not run as root.
fn nobody() -> (u32, u32) {
    let users = fs::read_to_string(Path::new("/etc/passwd")).unwrap();
    let nobody = users.lines().find(|line| line.starts_with("nobody:")).unwrap();
    let ids: Vec<_> = nobody.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
    (ids[0], ids[1])
}
