//! Members of a real etcd, from the programs of the machine: as nobody, with pre-vote and compaction. On three hosts of a
//! [`Network`] one of them has its data on a small disk of its own, and they go with the network. On the loopback they go
//! with the thread that started them. Their folder goes when they are dropped.

use crate::host::Host;
use crate::network::Network;
use crate::tls::{Authority, Identity};
use crate::ykvald::free_port;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// The uid of nobody, where root may not be.
const NOBODY: u32 = 65534;
/// The member on the small disk, in a network.
pub const ON_SMALL_DISK: u8 = 2;
/// Holds its log, twice 64 MB, and what a run stores.
const SMALL_DISK: &str = "size=400m,mode=0755";
/// etcd's own.
const QUOTA: u64 = 2 << 30;

/// The members. Each is named by its number.
#[derive(Debug)]
pub struct Members<'a> {
    network: Option<&'a Network>,
    folder: TempDir,
    /// Sees the small disk.
    disk: Option<Host>,
    /// Of each, for clients and for each other.
    addresses: Vec<[SocketAddr; 2]>,
    running: RefCell<Vec<Option<Child>>>,
    /// Each place's folder and name change when a member is replaced.
    generation: Cell<u32>,
    names: RefCell<Vec<String>>,
    quota: Cell<u64>,
    /// Where each listens for clients with TLS besides.
    tls: Option<SocketAddr>,
}

/// `HOST:PORT` of the one member that the tests of this process share, each with a path of its own. They do not stop it.
///
/// # Errors
/// Why this machine has none, to be printed.
///
/// # Panics
/// Where it cannot be started.
#[expect(clippy::zombie_processes, reason = "it ends after this process")]
pub fn shared() -> Result<String, String> {
    static SHARED: OnceLock<Result<String, String>> = OnceLock::new();
    let start = || {
        let (tell, told) = mpsc::channel();
        // It goes with the thread that started it.
        thread::spawn(move || match Members::on_loopback(1) {
            Ok(members) => {
                let _removes = members.remove_after_this_process();
                tell.send(Ok(members.endpoint(0))).unwrap();
                loop {
                    thread::park();
                }
            }
            Err(why) => tell.send(Err(why)).unwrap(),
        });
        told.recv().unwrap()
    };
    SHARED.get_or_init(start).clone()
}

/// What a member says about the cluster.
#[derive(Debug)]
pub struct Status {
    /// Which one.
    pub n: u8,
    /// Its ID in the cluster.
    pub id: u64,
    /// The ID of the one that leads, or 0.
    pub leader: u64,
    /// Of its database, in bytes.
    pub size: u64,
}

impl<'a> Members<'a> {
    /// One on each of three hosts. They have a leader.
    ///
    /// # Errors
    /// Why this machine has none, to be printed.
    pub fn on(network: &'a Network) -> Result<Self, String> {
        let disk = Host::start()?;
        let at = disk.path().join("disk");
        fs::create_dir(&at).unwrap();
        let mounted = disk.run(&["mount", "-t", "tmpfs", "-o", SMALL_DISK, "disk", at.to_str().unwrap()]);
        if !mounted.status.success() {
            return Err(format!("needs a tmpfs: {}", String::from_utf8_lossy(&mounted.stderr)));
        }
        assert!(disk.run(&["chown", &NOBODY.to_string(), at.to_str().unwrap()]).status.success());
        let at = |n| [2379, 2380].map(|port| (network.address(n), port).into());
        Self::begin(Some(network), Some(disk), (0..3).map(at).collect(), None)
    }

    /// So many on 127.0.0.1. They have a leader.
    ///
    /// # Errors
    /// Why this machine has none, to be printed.
    pub fn on_loopback(count: u8) -> Result<Members<'static>, String> {
        let at = |_| [free_port(), free_port()].map(|port| (Ipv4Addr::LOCALHOST, port).into());
        Members::begin(None, None, (0..count).map(at).collect(), None)
    }

    /// One on 127.0.0.1 that also listens with TLS, and there only takes clients with a certificate by this authority.
    ///
    /// # Errors
    /// Why this machine has none, to be printed.
    pub fn with_tls(own: &Identity, clients: &Authority) -> Result<Members<'static>, String> {
        let at = [free_port(), free_port()].map(|port| (Ipv4Addr::LOCALHOST, port).into());
        Members::begin(None, None, vec![at], Some((own, clients)))
    }

    fn begin(
        network: Option<&'a Network>,
        disk: Option<Host>,
        addresses: Vec<[SocketAddr; 2]>,
        tls: Option<(&Identity, &Authority)>,
    ) -> Result<Self, String> {
        for program in ["etcd", "etcdctl"] {
            let found = Command::new(program).arg("--help").output();
            found.map_err(|why| format!("needs {program} (etcd-server, etcd-client): {why}"))?;
        }
        let folder = tempfile::Builder::new().prefix("etcd").tempdir_in("/tmp").unwrap();
        if let Some((own, clients)) = tls {
            own.write(folder.path(), "server");
            fs::write(folder.path().join("clients.pem"), clients.pem()).unwrap();
        }
        if rustix::process::geteuid().is_root() {
            let within = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
            for path in within.chain([folder.path().to_owned()]) {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let names = addresses.iter().enumerate().map(|(n, _)| format!("m{n}")).collect();
        let members = Self {
            network,
            folder,
            disk,
            running: RefCell::new(addresses.iter().map(|_| None).collect()),
            addresses,
            generation: Cell::new(0),
            names: RefCell::new(names),
            quota: Cell::new(QUOTA),
            tls: tls.map(|_| (Ipv4Addr::LOCALHOST, free_port()).into()),
        };
        members.all().for_each(|n| members.spawn(n, "new"));
        members.until_whole();
        Ok(members)
    }

    /// Nothing is dropped when a process ends: what is left behind goes when the pipe to this child is closed.
    fn remove_after_this_process(&self) -> Child {
        let mut waiting = Command::new("sh");
        waiting.args(["-c", r#"read -r _; kill -KILL $1; sleep 1; rm -rf "$0""#]);
        waiting.arg(self.folder.path()).arg(self.pid(0).to_string());
        waiting.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Their numbers.
    ///
    /// # Panics
    /// Where there are more than etcd takes.
    pub fn all(&self) -> impl Iterator<Item = u8> + use<> {
        0..u8::try_from(self.addresses.len()).unwrap()
    }

    /// `HOST:PORT` for clients.
    #[must_use]
    pub fn endpoint(&self, n: u8) -> String {
        self.addresses[usize::from(n)][0].to_string()
    }

    /// The same with TLS.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn tls_endpoint(&self) -> SocketAddr {
        self.tls.unwrap()
    }

    /// The same of all, with commas.
    #[must_use]
    pub fn endpoints(&self) -> String {
        self.all().map(|n| self.endpoint(n)).collect::<Vec<_>>().join(",")
    }

    fn peer(&self, n: u8) -> String {
        format!("http://{}", self.addresses[usize::from(n)][1])
    }

    /// Where its data is: as it sees it.
    fn data(&self, n: u8) -> PathBuf {
        let disk = self.disk.as_ref().filter(|_| n == ON_SMALL_DISK);
        let folder = disk.map_or_else(|| self.folder.path().into(), |disk| disk.path().join("disk"));
        folder.join(&self.names.borrow()[usize::from(n)])
    }

    fn cluster(&self) -> String {
        let names = self.names.borrow();
        let one = |n: u8| format!("{}={}", names[usize::from(n)], self.peer(n));
        self.all().map(one).collect::<Vec<_>>().join(",")
    }

    /// A program on one of the hosts, as nobody, that sees the member's disk.
    fn command(&self, n: u8, program: &str, args: &[&str]) -> Command {
        let is_root = rustix::process::geteuid().is_root();
        let mut command = match &self.disk {
            Some(disk) => disk.command("setpriv"),
            None if is_root => Command::new("setpriv"),
            None => Command::new("env"),
        };
        if is_root {
            command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
            command.args(["--clear-groups", "--pdeathsig=KILL", "--"]);
        }
        command.arg(program).args(args);
        match self.network {
            Some(network) => network.other(n).inside(&command),
            None => command,
        }
    }

    fn spawn(&self, n: u8, state: &str) {
        let name = self.names.borrow()[usize::from(n)].clone();
        let (data, client, peer) = (self.data(n), format!("http://{}", self.endpoint(n)), self.peer(n));
        let (cluster, quota) = (self.cluster(), self.quota.get().to_string());
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let (listen, tls) = match self.tls {
            None => (client.clone(), Vec::new()),
            Some(at) => (
                format!("{client},https://{at}"),
                vec![
                    format!("--cert-file={}", file("server.pem")),
                    format!("--key-file={}", file("server.key")),
                    format!("--trusted-ca-file={}", file("clients.pem")),
                    "--client-cert-auth=true".to_owned(),
                ],
            ),
        };
        let options = [
            ("--name", name.as_str()),
            ("--data-dir", data.to_str().unwrap()),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--listen-client-urls", &listen),
            ("--advertise-client-urls", &client),
            ("--initial-cluster", &cluster),
            ("--initial-cluster-state", state),
            ("--initial-cluster-token", "tests"),
            ("--pre-vote", "true"),
            ("--auto-compaction-mode", "revision"),
            ("--auto-compaction-retention", "10000"),
            ("--quota-backend-bytes", &quota),
            ("--logger", "zap"),
            ("--log-outputs", "stderr"),
        ];
        let args = options.iter().map(|(name, value)| format!("{name}={value}"));
        let args: Vec<_> = args.chain(tls).collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let log = File::options().append(true).create(true).open(self.log_file(n)).unwrap();
        let mut command = self.command(n, "etcd", &args);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let before = self.running.borrow_mut()[usize::from(n)].replace(command.spawn().unwrap());
        assert!(before.is_none(), "it runs");
    }

    fn log_file(&self, n: u8) -> PathBuf {
        self.folder.path().join(format!("log-{n}"))
    }

    /// The last of what it logged, for people.
    #[must_use]
    pub fn end_of_log(&self, n: u8) -> String {
        let log = String::from_utf8_lossy(&fs::read(self.log_file(n)).unwrap_or_default()).into_owned();
        let lines: Vec<_> = log.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Starts one that does not run, with the data that it has.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn run(&self, n: u8) {
        self.spawn(n, "existing");
    }

    /// `kill -9`, and waits for its end.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn kill(&self, n: u8) {
        let mut child = self.running.borrow_mut()[usize::from(n)].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whether it does not run; it may have ended by itself.
    ///
    /// # Panics
    /// If that cannot be determined.
    #[must_use]
    pub fn has_ended(&self, n: u8) -> bool {
        let mut running = self.running.borrow_mut();
        let one = &mut running[usize::from(n)];
        let ended = one.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
        if ended {
            *one = None;
        }
        ended
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn signal(&self, n: u8, signal: Signal) {
        let running = self.running.borrow();
        kill_process(Pid::from_child(running[usize::from(n)].as_ref().unwrap()), signal).unwrap();
    }

    /// Its number as a process.
    ///
    /// # Panics
    /// Where it does not run.
    #[must_use]
    pub fn pid(&self, n: u8) -> u32 {
        self.running.borrow()[usize::from(n)].as_ref().unwrap().id()
    }

    /// `etcdctl` at these members, not started.
    #[must_use]
    pub fn control(&self, endpoints: &str, args: &[&str]) -> Command {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={endpoints}"));
        command.args(["--dial-timeout=2s", "--command-timeout=5s"]).args(args);
        command
    }

    /// What those that answer say.
    ///
    /// # Panics
    /// Where `etcdctl` cannot be started.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let of = |n: u8| {
            let output =
                self.control(&self.endpoint(n), &["endpoint", "status", "-w", "json"]).output().unwrap();
            let value: Value = serde_json::from_slice(&output.stdout).ok()?;
            let status = &value[0]["Status"];
            Some(Status {
                n,
                id: status["header"]["member_id"].as_u64()?,
                leader: status["leader"].as_u64().unwrap_or(0),
                size: status["dbSize"].as_u64()?,
            })
        };
        self.all().filter_map(of).collect()
    }

    /// The one that leads.
    ///
    /// # Panics
    /// Where nobody does for long.
    #[must_use]
    pub fn leader(&self) -> u8 {
        let begun = Instant::now();
        loop {
            if let Some(leader) = self.status().iter().find(|one| one.id == one.leader) {
                return leader.n;
            }
            assert!(begun.elapsed() < LONG, "etcd has no leader");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until all answer and have the same leader.
    ///
    /// # Panics
    /// Where that takes long.
    pub fn until_whole(&self) {
        let begun = Instant::now();
        loop {
            let status = self.status();
            let leader = status.first().map_or(0, |one| one.leader);
            if status.len() == self.addresses.len()
                && leader != 0
                && status.iter().all(|one| one.leader == leader)
            {
                return;
            }
            let logs = || self.all().map(|n| self.end_of_log(n)).collect::<Vec<_>>().join("\n\n");
            assert!(begun.elapsed() < LONG, "etcd is not whole: {status:?}\n{}", logs());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Removes one that does not run from the cluster, and starts an empty one in its place. `id` is that of the old one.
    ///
    /// # Panics
    /// Where etcd refuses.
    pub fn replace(&self, n: u8, id: u64) {
        let others: Vec<_> =
            self.all().filter(|other| *other != n).map(|other| self.endpoint(other)).collect();
        let others = others.join(",");
        must(&mut self.control(&others, &["member", "remove", &format!("{id:x}")]));
        self.generation.set(self.generation.get() + 1);
        self.names.borrow_mut()[usize::from(n)] = format!("m{n}-{}", self.generation.get());
        let name = self.names.borrow()[usize::from(n)].clone();
        must(&mut self.control(&others, &["member", "add", &name, &format!("--peer-urls={}", self.peer(n))]));
        self.spawn(n, "existing");
    }

    /// Restarts one after the other, with this quota in bytes, or etcd's own.
    ///
    /// # Panics
    /// Where one does not come back.
    pub fn restart_with_quota(&self, quota: Option<u64>) {
        self.quota.set(quota.unwrap_or(QUOTA));
        for n in self.all() {
            self.signal(n, Signal::TERM);
            self.running.borrow_mut()[usize::from(n)].take().unwrap().wait().unwrap();
            self.run(n);
            self.until_whole();
        }
    }

    /// Writes a backup.
    ///
    /// # Panics
    /// Where it cannot.
    #[must_use]
    pub fn save(&self, name: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        must(&mut self.control(&self.endpoint(0), &["snapshot", "save", file.to_str().unwrap()]));
        must(Command::new("chmod").arg("644").arg(&file));
        file
    }

    /// All begin anew with a backup, as etcd's manual has it: a cluster of the same ID.
    ///
    /// # Panics
    /// Where etcd refuses.
    pub fn restore(&self, backup: &Path) {
        for n in self.all() {
            self.kill(n);
        }
        self.generation.set(self.generation.get() + 1);
        let name = |n: u8| format!("m{n}-{}", self.generation.get());
        *self.names.borrow_mut() = self.all().map(name).collect();
        for n in self.all() {
            let name = self.names.borrow()[usize::from(n)].clone();
            let (data, peer, cluster) = (self.data(n), self.peer(n), self.cluster());
            let options = [
                ("--name", name.as_str()),
                ("--initial-cluster", &cluster),
                ("--initial-cluster-token", "tests"),
                ("--initial-advertise-peer-urls", &peer),
                ("--data-dir", data.to_str().unwrap()),
            ];
            let args: Vec<_> = options.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mut command = self.command(n, "etcdctl", &["snapshot", "restore", backup.to_str().unwrap()]);
            must(command.args(&args).env("ETCDCTL_API", "3"));
        }
        self.all().for_each(|n| self.run(n));
        self.until_whole();
    }

    /// Whether the contents of a file can be stored.
    ///
    /// # Panics
    /// Where `etcdctl` cannot be started.
    #[must_use]
    pub fn can_put(&self, key: &str, file: &Path) -> bool {
        let mut command = self.control(&self.endpoints(), &["put", key]);
        command.stdin(File::open(file).unwrap()).output().unwrap().status.success()
    }

    /// Forgets what keys were before.
    ///
    /// # Panics
    /// Where etcd refuses.
    pub fn compact(&self) {
        let read = must(&mut self.control(&self.endpoint(0), &["get", "none", "-w", "json"]));
        let value: Value = serde_json::from_str(&read).unwrap();
        let revision = value["header"]["revision"].as_u64().unwrap().to_string();
        must(&mut self.control(&self.endpoint(0), &["compact", "--physical", &revision]));
    }

    /// Fills the small disk until [`Self::empty`].
    ///
    /// # Panics
    /// Where there is none.
    pub fn fill(&self) {
        let disk = self.disk.as_ref().unwrap();
        let script = format!("cat /dev/zero >{}/disk/fill 2>/dev/null; true", disk.path().display());
        assert!(disk.run(&["sh", "-c", &script]).status.success());
    }

    /// Ends [`Self::fill`].
    ///
    /// # Panics
    /// Where it was not filled.
    pub fn empty(&self) {
        let disk = self.disk.as_ref().unwrap();
        let file = disk.path().join("disk/fill");
        assert!(disk.run(&["rm", file.to_str().unwrap()]).status.success());
    }
}

impl Drop for Members<'_> {
    fn drop(&mut self) {
        for child in self.running.borrow_mut().iter_mut().flatten() {
            let _ended_already = child.kill();
            let _never_fails = child.wait();
        }
    }
}

/// Runs a command that has to succeed, and gives what it printed.
///
/// # Panics
/// Where it does not.
pub fn must(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}{said}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    /// Members lead, fall, are replaced, and read what was written.
    #[test]
    fn members_come_and_go() {
        let members = match Members::on_loopback(3) {
            Ok(members) => members,
            Err(why) => return crate::skip(&why),
        };
        must(&mut members.control(&members.endpoints(), &["put", "a", "1"]));
        let leader = members.leader();
        let id = members.status().iter().find(|one| one.n == leader).unwrap().id;
        members.kill(leader);
        let next = members.leader();
        assert_ne!(leader, next);
        members.replace(leader, id);
        members.until_whole();
        let read = must(&mut members.control(&members.endpoint(leader), &["get", "a", "--print-value-only"]));
        assert_eq!(read, "1\n");
        let (folder, address) = (members.folder.path().to_owned(), members.addresses[0][0]);
        drop(members);
        assert!(!folder.exists() && TcpStream::connect(address).is_err());
    }
}
