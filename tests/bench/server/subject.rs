//! `ykvald` as it is shipped, with a store of its own, set up by its own commands.

use crate::process;
use crate::requests::Tokens;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tests::postgres::Cluster;
use tests::ykvald::Site;

/// Where a store is.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    Sqlite,
    Postgres(&'a Cluster),
}

impl Kind<'_> {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
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
            Kind::Postgres(cluster) => Site::on(cluster),
        };
        // The limit of a token is counted as ever, and not met: people do not touch one token so often.
        site.settings("[limits]\ntoken_rate = 1000\n");
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
        let database = match self.kind {
            Kind::Sqlite => Duration::ZERO,
            Kind::Postgres(cluster) => process::family_time(cluster.pid()),
        };
        (process::processor_time(self.pid()), database)
    }

    /// Of the database beside it.
    pub(crate) fn database_memory(&self) -> f64 {
        match self.kind {
            Kind::Sqlite => 0.0,
            Kind::Postgres(cluster) => process::family_memory(cluster.pid()),
        }
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
