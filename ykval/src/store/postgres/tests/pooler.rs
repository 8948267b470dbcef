//! Behind pgbouncer.

#![expect(clippy::disallowed_methods, reason = "the files and the environment are the test's own")]

use super::super::cluster::settings;
use super::*;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use yubiotp::diagnostic::{Code, Severity};

struct Pooler {
    process: Child,
    port: u16,
}

impl Pooler {
    /// `None` (said as a skipped test is) if this machine has none.
    fn start(cluster: &Cluster, mode: &str) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (sockets, server) = (cluster.data().parent().unwrap().display().to_string(), cluster.port());
        let (users, file) = (cluster.file(&format!("users-{mode}")), cluster.file(&format!("pooler-{mode}")));
        std::fs::write(&users, "\"owner\" \"\"\n").unwrap();
        let text = format!(
            "[databases]\n* = host={sockets} port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n",
            users.display()
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("sh");
        let program = "exec setpriv --reuid=nobody --clear-groups -- pgbouncer -q \"$1\"";
        command.args([
            "-c",
            if rustix::process::geteuid().is_root() { program } else { "exec pgbouncer -q \"$1\"" },
            "sh",
        ]);
        let command = command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let found = Command::new("pgbouncer").arg("--version").stdout(Stdio::null()).status();
        if found.is_err() {
            println!("skipped: needs pgbouncer in PATH");
            let must = std::env::var_os("YUBIOTP_TEST_NO_SKIP").is_some();
            assert!(!must, "this machine must run every test: needs pgbouncer in PATH");
            return None;
        }
        let pooler = Self { process: command.spawn().unwrap(), port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "pgbouncer does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(pooler)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn that_shares_its_connections_is_refused() {
    with_store(async |cluster, _, at| {
        for (mode, is_fit) in [("session", true), ("transaction", false), ("statement", false)] {
            let Some(pooler) = Pooler::start(cluster, mode) else { return };
            let through = settings(format!("postgres://owner@127.0.0.1:{}/{}", pooler.port, name(&at)));
            let told = async || {
                let store = Postgres::open(&through, KEY).await?;
                store.ready().await?;
                let traps = store.traps().await;
                let named = traps
                    .iter()
                    .any(|trap| (trap.code, trap.severity) == (Code::DatabasePooled, Severity::Error));
                assert_eq!(named, !is_fit, "{mode}: {traps:?}");
                store.link.must_not_be_pooled().await
            };
            let served = Postgres::open_for_serving(&through, KEY.into()).await;
            let served = served.map(|serving| serving.unopened.map(|fault| fault.to_string()));
            assert!(if is_fit { served.is_ok() } else { !matches!(served, Ok(None)) }, "{mode}: {served:?}");
            match told().await {
                Ok(_) => assert!(is_fit, "{mode}"),
                Err(fault) => assert!(!is_fit, "{mode}: {fault}"),
            }
        }
    });
}
