//! PostgreSQL on three hosts under Debian's Patroni, with etcd beside it: the failover manager that administrators have.
//! Only where it is installed: it is no part of what the tests need.

use crate::load::Load;
use crate::record::{Record, hold, wanted};
use crate::servers::{HOSTS, LONG, Servers};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::etcd::{Members, must};
use tests::network::Network;
use tests::postgres::{PASSWORD, programs};
use tests::ykvald::Site;

const PORT: u16 = 5432;
/// The uid of nobody, where root may not be.
const NOBODY: u32 = 65534;

struct Managed<'a> {
    network: &'a Network,
    members: Members<'a>,
    folder: TempDir,
    bin: PathBuf,
    children: Vec<Child>,
}

impl<'a> Managed<'a> {
    fn start(network: &'a Network) -> Result<Self, String> {
        if Command::new("patroni").arg("--version").output().is_err() {
            return Err("patroni is not installed".to_owned());
        }
        let bin = programs().ok_or("needs postgres and initdb (postgresql)")?;
        let folder = tempfile::Builder::new().prefix("patroni").tempdir_in("/tmp").unwrap();
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let members = Members::on(network)?;
        let mut managed = Self { network, members, folder, bin, children: Vec::new() };
        for n in 0..HOSTS {
            managed.run(n);
            if n == 0 {
                managed.primary(); // it begins the cluster
            }
        }
        let begun = Instant::now();
        while managed.value(managed.primary(), FOLLOWERS).as_deref() != Some("2") {
            assert!(begun.elapsed() < LONG, "two do not follow: {}", managed.log(1));
            thread::sleep(Duration::from_millis(200));
        }
        Ok(managed)
    }

    fn run(&mut self, n: u8) {
        let (address, folder) = (self.network.address(n), self.folder.path());
        let config = folder.join(format!("host{n}.yml"));
        let text = SETTINGS
            .replace("NAME", &format!("host{n}"))
            .replace("ADDRESS", &address.to_string())
            .replace("ETCD", &self.members.endpoints())
            .replace("DATA", &folder.join(format!("data{n}")).display().to_string())
            .replace("BIN", &self.bin.display().to_string())
            .replace("PASSFILE", &folder.join(format!("pass{n}")).display().to_string())
            .replace("PASSWORD", PASSWORD);
        fs::write(&config, text).unwrap();
        let log = File::options().append(true).create(true).open(folder.join(format!("log{n}"))).unwrap();
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
        command.args(["--clear-groups", "--", "patroni"]).arg(config);
        let mut command = self.network.other(n).inside(&command);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.children.push(command.current_dir(folder).spawn().unwrap());
    }

    fn log(&self, n: u8) -> String {
        let log = fs::read_to_string(self.folder.path().join(format!("log{n}"))).unwrap_or_default();
        log.lines().rev().take(12).collect::<Vec<_>>().join("\n")
    }

    fn url(&self, n: u8, database: &str) -> String {
        format!("postgres://ykvald:{PASSWORD}@{}:{PORT}/{database}", self.network.address(n))
    }

    fn value(&self, n: u8, statement: &str) -> Option<String> {
        let url = self.url(n, "postgres?connect_timeout=1");
        let output = Command::new("psql").args([&url, "-qtAc", statement]).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The one that can be written to.
    fn primary(&self) -> u8 {
        let begun = Instant::now();
        loop {
            let is = |n: &u8| self.value(*n, "SELECT pg_is_in_recovery()").as_deref() == Some("f");
            if let Some(primary) = (0..HOSTS).find(is) {
                return primary;
            }
            assert!(begun.elapsed() < LONG * 2, "there is no primary: {}", self.log(0));
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Every process of PostgreSQL and Patroni on a host.
    fn signal(&self, n: u8, signal: Signal) {
        let own = self.network.other(n).enter(|| fs::read_link("/proc/thread-self/ns/net").unwrap());
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let is_there = fs::read_link(entry.path().join("ns/net")).is_ok_and(|of| of == own);
            if let Some(pid) =
                pid.filter(|_| is_there && ["postgres\n", "patroni\n"].contains(&name.as_str()))
            {
                let _ended = kill_process(pid, signal);
            }
        }
    }

    /// Three of them, of which one leads and two follow it.
    fn until_whole(&self) {
        let begun = Instant::now();
        while self.value(self.primary(), FOLLOWERS).as_deref() != Some("2") {
            let logs = || (0..HOSTS).map(|n| self.log(n)).collect::<Vec<_>>().join("\n\n");
            assert!(begun.elapsed() < LONG, "two do not follow: {}", logs());
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn cut(&self, n: u8, act: fn(&Network, u8, u8)) {
        for other in (0..HOSTS).filter(|other| *other != n) {
            act(self.network, n, other);
            act(self.network, other, n);
        }
    }

    fn every_fault(&mut self, record: &mut Record<'_>, servers: &Servers<'_>) {
        let hold = hold();
        record.fault("none", || thread::sleep(hold));
        record.fault("the primary's host: PostgreSQL and Patroni killed (-9)", || {
            let old = self.primary();
            self.signal(old, Signal::KILL);
            thread::sleep(hold);
            self.primary();
            self.run(old);
            self.until_whole();
        });
        record.fault("the primary's host frozen for 20 s, and thawed", || {
            let old = self.primary();
            self.signal(old, Signal::STOP);
            thread::sleep(Duration::from_secs(20));
            self.signal(old, Signal::CONT);
            self.until_whole();
        });
        record.fault("the primary's host cut off from the others for 20 s", || {
            let old = self.primary();
            self.cut(old, Network::cut);
            thread::sleep(Duration::from_secs(20));
            self.cut(old, Network::reconnect);
            self.until_whole();
        });
        servers.until_all_are_ready();
    }
}

impl Drop for Managed<'_> {
    fn drop(&mut self) {
        (0..HOSTS).for_each(|n| self.signal(n, Signal::KILL));
        for child in &mut self.children {
            let _never_fails = child.wait();
        }
    }
}

const FOLLOWERS: &str = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";

/// Strict synchronous replication. The times are as short as Patroni goes.
const SETTINGS: &str = "scope: ykvald
name: NAME
restapi: {listen: 'ADDRESS:8008', connect_address: 'ADDRESS:8008'}
etcd3: {hosts: 'ETCD'}
bootstrap:
  dcs:
    ttl: 7
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: true
    synchronous_mode_strict: true
    postgresql:
      use_pg_rewind: true
      parameters: {wal_log_hints: 'on'}
  initdb: [{encoding: UTF8}, {locale: C}]
postgresql:
  listen: '127.0.0.1,ADDRESS:5432'
  connect_address: 'ADDRESS:5432'
  data_dir: 'DATA'
  bin_dir: 'BIN'
  pgpass: 'PASSFILE'
  authentication:
    superuser: {username: ykvald, password: 'PASSWORD'}
    replication: {username: follower, password: 'PASSWORD'}
    rewind: {username: ykvald, password: 'PASSWORD'}
  pg_hba: ['host all all all scram-sha-256', 'host replication all all scram-sha-256']
  parameters: {unix_socket_directories: '', password_encryption: scram-sha-256}
";

#[test]
fn postgres_under_patroni() {
    // Minutes, for its own times are long.
    if wanted().is_none() {
        return;
    }
    let network = match Network::routed(HOSTS) {
        Ok(network) => network,
        Err(why) => return tests::skip(&why),
    };
    network.client.enter(|| {
        let mut managed = match Managed::start(&network) {
            Ok(managed) => managed,
            Err(why) => return println!("skipped: {why}"),
        };
        must(Command::new("psql").args([
            &managed.url(managed.primary(), "postgres"),
            "-qc",
            "CREATE DATABASE ykvald",
        ]));
        let hosts: Vec<_> = (0..HOSTS).map(|n| format!("{}:{PORT}", network.address(n))).collect();
        let url = format!("postgres://ykvald:{PASSWORD}@{}/ykvald?sslmode=disable", hosts.join(","));
        let site = Site::set_up(
            tempfile::tempdir().unwrap(),
            url,
            "plain_http = true\n[postgres]\nstandby = \"required\"\n",
        );
        let servers = Servers::start(&network, site);
        let load = Load::new(servers.site.client(), servers.site.keys(5300..5332));
        let mut record = Record::new(&load, "patroni");
        load.run(&servers.addresses(), || managed.every_fault(&mut record, &servers));
        (0..HOSTS).for_each(|n| load.offer_again(usize::from(n), servers.address(n)));
        record.judge(&servers.site);
        let noticed =
            (0..HOSTS).map(|n| servers.log(n).matches("event=store-forgot ").count()).sum::<usize>();
        println!("the guard noticed a store that forgot {noticed} times");
    });
}
