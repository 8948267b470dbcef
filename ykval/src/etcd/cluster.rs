//! An etcd of the tests' own: made, started and stopped by them, on 127.0.0.1, in folders that go away with it.

#![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

use crate::config::{EtcdClientFiles, EtcdConfig, EtcdEndpoint};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Ends a member, and its folder, when the test's process is gone, however that ended: then the pipe is closed. A line on
/// it says that the member was told to stop.
const KEEPER: &str = r#""$@" & member=$!; echo $member > pid.new && mv pid.new pid; if read -r _; then wait $member; else
    kill -KILL $member; wait $member; cd /; rm -rf "$OLDPWD"; fi"#;

/// A cluster of one or more members.
pub(crate) struct Cluster {
    members: Vec<Member>,
    /// The members' certificate authority, and certificates, if they use TLS.
    certificates: Option<TempDir>,
    prefixes: AtomicUsize,
}

struct Member {
    folder: TempDir,
    arguments: Vec<String>,
    client_port: u16,
    health_port: u16,
    user: Option<(u32, u32)>,
    keeper: Option<Child>,
}

/// The one member that tests share, each with a prefix of its own. `None`: this machine has no etcd.
pub(crate) fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(1, &[])).as_ref()
}

impl Cluster {
    /// Makes a cluster of three members and starts it.
    pub(crate) fn three() -> Option<Self> {
        Self::start(3, &[])
    }

    /// Makes a cluster of so many members, with these arguments besides, and starts it. `None` (said as a skipped test is)
    /// if this machine has no etcd.
    pub(crate) fn start(count: usize, arguments: &[&str]) -> Option<Self> {
        Self::of(count, arguments, None)
    }

    /// One member that speaks TLS and demands a certificate of its clients.
    pub(crate) fn with_tls() -> Option<Self> {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        certify(folder.path());
        let file = |name: &str| folder.path().join(name).display().to_string();
        let arguments = [
            format!("--cert-file={}", file("server.crt")),
            format!("--key-file={}", file("server.key")),
            format!("--trusted-ca-file={}", file("ca.pem")),
            "--client-cert-auth".to_owned(),
        ];
        Self::of(1, &arguments.each_ref().map(String::as_str), Some(folder))
    }

    fn of(count: usize, arguments: &[&str], certificates: Option<TempDir>) -> Option<Self> {
        let version =
            Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if version.is_err() {
            println!("skipped: needs etcd in PATH");
            let must = std::env::var_os("YUBIOTP_TEST_NO_SKIP").is_some();
            assert!(!must, "this machine must run every test: needs etcd in PATH");
            return None;
        }
        let scheme = if certificates.is_some() { "https" } else { "http" };
        let ports: Vec<_> = (0..count * 3).map(|_| free_port()).collect();
        let token = ports[0];
        let peers =
            ports.chunks(3).enumerate().map(|(at, ports)| format!("m{at}=http://127.0.0.1:{}", ports[1]));
        let peers = peers.collect::<Vec<_>>().join(",");
        let member = |(at, ports): (usize, &[u16])| {
            let folder = tempfile::tempdir_in("/tmp").unwrap();
            let user = rustix::process::geteuid().is_root().then(nobody);
            if let Some((uid, gid)) = user {
                chown(folder.path(), Some(uid), Some(gid)).unwrap();
            }
            let own = [
                format!("--name=m{at}"),
                format!("--data-dir={}", folder.path().join("data").display()),
                format!("--listen-client-urls={scheme}://127.0.0.1:{}", ports[0]),
                format!("--advertise-client-urls={scheme}://127.0.0.1:{}", ports[0]),
                format!("--listen-peer-urls=http://127.0.0.1:{}", ports[1]),
                format!("--initial-advertise-peer-urls=http://127.0.0.1:{}", ports[1]),
                format!("--listen-metrics-urls=http://127.0.0.1:{}", ports[2]),
                format!("--initial-cluster={peers}"),
                format!("--initial-cluster-token={token}"),
            ];
            let common = ["--pre-vote=true", "--logger=zap", "--log-level=error"];
            let rest = common.iter().chain(arguments).map(|argument| (*argument).to_owned());
            let arguments = own.into_iter().chain(rest).collect();
            Member { folder, arguments, client_port: ports[0], health_port: ports[2], user, keeper: None }
        };
        let members = ports.chunks(3).enumerate().map(member).collect();
        let mut cluster = Self { members, certificates, prefixes: AtomicUsize::new(0) };
        for member in &mut cluster.members {
            member.spawn();
        }
        for member in &cluster.members {
            member.ready();
        }
        Some(cluster)
    }

    /// How to reach it, with a prefix that was not used before.
    pub(crate) fn config(&self) -> EtcdConfig {
        let endpoint =
            |member: &Member| EtcdEndpoint { host: "127.0.0.1".to_owned(), port: member.client_port };
        EtcdConfig {
            endpoints: self.members.iter().map(endpoint).collect(),
            prefix: format!("/test{}/", self.prefixes.fetch_add(1, Ordering::Relaxed)),
            tls: self.certificates.is_some(),
            ca: self.certificates.as_ref().map(|_| self.file("ca.pem")),
            client: self.certificates.as_ref().map(|_| EtcdClientFiles {
                certificate: self.file("client.crt"),
                key: self.file("client.key"),
            }),
            user: None,
            deadline: Duration::from_secs(5),
            seen: None,
        }
    }

    /// A file of the certificates: `ca.pem`, `other.pem` and `other.key`, which belong to none, `empty.key`, `server.*`,
    /// `client.*`, `expired.*` and, by `other.pem`, `strange.*`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.certificates.as_ref().unwrap().path().join(name)
    }

    /// The folder of a member, for files of the test.
    pub(crate) fn folder(&self, at: usize) -> &Path {
        self.members[at].folder.path()
    }

    /// Signals a member. Stopped, it does not answer, and its connections stay.
    pub(crate) fn signal(&self, at: usize, how: Signal) {
        kill_process(self.members[at].pid().unwrap(), how).unwrap();
    }

    /// Ends a member: `KILL` is as if its power failed, `TERM` is orderly.
    pub(crate) fn stop(&mut self, at: usize, how: Signal) {
        self.members[at].stop(how);
    }

    /// Starts the member that was stopped, and waits until it has a leader if `with_leader`.
    pub(crate) fn again(&mut self, at: usize, with_leader: bool) {
        self.members[at].spawn();
        if with_leader {
            self.members[at].ready();
        }
    }

    /// Runs etcdctl at the first member, and returns what it printed.
    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").stdin(Stdio::null());
        command.arg(format!("--endpoints=127.0.0.1:{}", self.members[0].client_port));
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "etcdctl {arguments:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }

    /// Users: root, and `ykvald` (password `pw`), who may use everything below `/mine/`.
    pub(crate) fn enable_users(&self) {
        for command in [
            "user add root:root",
            "user grant-role root root",
            "user add ykvald:pw",
            "role add ykvald",
            "role grant-permission --prefix=true ykvald readwrite /mine/",
            "user grant-role ykvald ykvald",
            "auth enable",
        ] {
            self.etcdctl(&command.split(' ').collect::<Vec<_>>());
        }
    }
}

impl Member {
    fn spawn(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh", "etcd"]).args(&self.arguments).current_dir(self.folder.path());
        keeper.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        if let Some((uid, gid)) = self.user {
            keeper.uid(uid).gid(gid);
        }
        let _ = fs::remove_file(self.folder.path().join("pid"));
        self.keeper = Some(keeper.spawn().unwrap());
    }

    /// Waits until it says that it is healthy, which needs a leader.
    fn ready(&self) {
        let begun = Instant::now();
        while !self.is_healthy() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let said =
                || log().lines().filter(|line| !line.contains("/health")).collect::<Vec<_>>().join("\n");
            assert!(begun.elapsed() < Duration::from_secs(60), "etcd does not start: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_healthy(&self) -> bool {
        let Ok(mut socket) = TcpStream::connect(("127.0.0.1", self.health_port)) else { return false };
        let mut said = String::new();
        let asked = socket.write_all(b"GET /health HTTP/1.0\r\n\r\n");
        asked.is_ok() && socket.read_to_string(&mut said).is_ok() && said.contains(r#""health":"true""#)
    }

    fn pid(&self) -> Option<Pid> {
        let pid = fs::read_to_string(self.folder.path().join("pid")).ok()?;
        Pid::from_raw(pid.trim().parse().ok()?)
    }

    fn stop(&mut self, how: Signal) {
        let Some(mut keeper) = self.keeper.take() else { return };
        while self.pid().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = kill_process(self.pid().unwrap(), how);
        keeper.stdin.take().unwrap().write_all(b"\n").unwrap();
        keeper.wait().unwrap();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop(Signal::KILL);
    }
}

/// Certificates for 127.0.0.1 and for a client, by `ca.pem`.
fn certify(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let owner = rustix::process::geteuid().is_root().then(nobody);
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).unwrap();
        let is_members = name == "server.key";
        let mode = if name.ends_with(".key") { 0o600 } else { 0o644 };
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
        if let (Some((uid, gid)), true) = (owner, is_members) {
            chown(folder.join(name), Some(uid), Some(gid)).unwrap();
        }
    };
    let authority = |file: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, file);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        write(file, params.self_signed(&key).unwrap().pem());
        Issuer::new(params, key)
    };
    let (issuer, other) = (authority("ca.pem"), authority("other.pem"));
    write("empty.key", String::new());
    write("other.key", KeyPair::generate().unwrap().serialize_pem());
    for (name, of, issuer) in [
        ("server", "127.0.0.1", &issuer),
        ("client", "ykvald", &issuer),
        ("expired", "ykvald", &issuer),
        ("strange", "ykvald", &other),
    ] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([of.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, of);
        if name == "expired" {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        write(&format!("{name}.crt"), params.signed_by(&key, issuer).unwrap().pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

/// A port that nobody listens on, below those that the system gives to connections.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 113 * 100).unwrap(); // processes begin apart
    let mut all = (0..11_300).map(|_| 20_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 11_300);
    all.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// etcd need not run as root.
fn nobody() -> (u32, u32) {
    let users = fs::read_to_string(Path::new("/etc/passwd")).unwrap();
    let nobody = users.lines().find(|line| line.starts_with("nobody:")).unwrap();
    let ids: Vec<_> = nobody.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
    (ids[0], ids[1])
}
