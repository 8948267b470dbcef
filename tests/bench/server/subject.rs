//! `ykvald` as it is shipped, with a store of its own, set up by its own commands.

use crate::process;
use crate::requests::Tokens;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tests::etcd::Members;
use tests::postgres::Cluster;
use tests::ykvald::Site;

/// Where a store is.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    Sqlite,
    Postgres(&'a Cluster),
    /// The primary, whose commits wait for the other one.
    Standby(&'a Cluster, &'a Cluster),
    Etcd(&'a Members<'static>),
}

impl Kind<'_> {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
            Self::Standby(..) => "PostgreSQL with a synchronous standby",
            Self::Etcd(members) if members.all().count() == 1 => "etcd, one member",
            Self::Etcd(_) => "etcd, three members",
        }
    }

    /// Of all processes of the database.
    fn sum<T: std::iter::Sum>(&self, family: fn(u32) -> T, one: fn(u32) -> T) -> T {
        match self {
            Self::Sqlite => [].into_iter().sum(),
            Self::Postgres(cluster) => family(cluster.pid()),
            Self::Standby(primary, standby) => [primary.pid(), standby.pid()].into_iter().map(family).sum(),
            Self::Etcd(members) => members.all().map(|n| one(members.pid(n))).sum(),
        }
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Subject<'a> {
    kind: Kind<'a>,
    pub site: Site,
    child: Child,
    pub tokens: Tokens,
    /// How long importing the keys took, and starting until it was ready.
    pub imported: Duration,
    pub started: Duration,
}

impl<'a> Subject<'a> {
    pub(crate) fn start(kind: Kind<'a>, number: usize) -> Self {
        let site = match kind {
            Kind::Sqlite => Site::sqlite(),
            Kind::Postgres(cluster) | Kind::Standby(cluster, _) => Site::on(cluster),
            Kind::Etcd(members) => {
                let store = format!("etcd://{}/tokens-{number}", members.endpoints());
                Site::within(tempfile::tempdir().unwrap(), store)
            }
        };
        // The limit of a token is counted as ever, and not met: people do not touch one token so often.
        let standby =
            if matches!(kind, Kind::Standby(..)) { "[postgres]\nstandby = \"required\"\n" } else { "" };
        site.settings(&format!("{standby}[limits]\ntoken_rate = 1000\n"));
        let tokens = Tokens::new(number);
        let keys = site.path().join("keys.ksm");
        tokens.write(&keys).unwrap();
        let begun = Instant::now();
        site.must(&["key", "import", keys.to_str().unwrap()]);
        let imported = begun.elapsed();
        fs::remove_file(&keys).unwrap();

        let log = File::create(site.path().join("log")).unwrap();
        let begun = Instant::now();
        let mut serve = site.serve();
        serve.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = serve.spawn().unwrap();
        let mut subject = Self { kind, site, child, tokens, imported, started: Duration::ZERO };
        while !is_ready(subject.site.address()) {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is not ready: {}", subject.log());
            thread::sleep(Duration::from_millis(1));
        }
        subject.started = begun.elapsed();
        subject
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time, and that of the database beside it.
    pub(crate) fn processor_time(&self) -> (Duration, Duration) {
        let database = self.kind.sum(process::family_time, process::processor_time);
        (process::processor_time(self.pid()), database)
    }

    /// Of the database beside it.
    pub(crate) fn database_memory(&self) -> f64 {
        self.kind.sum(process::family_memory, |pid| process::memory(pid).0)
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.site.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Subject<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let _ = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: ykvald\r\nConnection: close\r\n\r\n");
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    said.starts_with(b"HTTP/1.1 200 ")
}
