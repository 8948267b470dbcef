//! Three hosts with a `ykvald` each, which has a folder of its own, as on hosts of their own.

use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use tests::built;
use tests::network::Network;
use tests::ykvald::{Site, Ykvald, get};

pub(crate) const HOSTS: u8 = 3;

/// Longer than anything takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Servers<'a> {
    pub(crate) network: &'a Network,
    pub(crate) site: Site,
    running: RefCell<Vec<Option<Ykvald>>>,
}

impl<'a> Servers<'a> {
    /// On a store that was set up. All are ready.
    pub(crate) fn start(network: &'a Network, site: Site) -> Self {
        for n in 0..HOSTS {
            let folder = folder(&site, n);
            fs::create_dir(&folder).unwrap();
            for name in ["config.toml", "store.key"] {
                let copied =
                    Command::new("cp").args(["-a"]).arg(site.path().join(name)).arg(&folder).status();
                assert!(copied.unwrap().success(), "{name}");
            }
        }
        let running = RefCell::new((0..HOSTS).map(|_| None).collect());
        let servers = Self { network, site, running };
        (0..HOSTS).for_each(|n| servers.run(n, None));
        servers.until_all_are_ready();
        servers
    }

    pub(crate) fn address(&self, n: u8) -> SocketAddr {
        (self.network.address(n), 8000 + u16::from(n)).into()
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        (0..HOSTS).map(|n| self.address(n)).collect()
    }

    /// Its configuration.
    pub(crate) fn config(&self, n: u8) -> PathBuf {
        folder(&self.site, n).join("config.toml")
    }

    /// A command of `ykvald` on one of the hosts.
    pub(crate) fn command(&self, n: u8, args: &[&str]) -> Command {
        let mut command = Command::new(built::program("ykvald"));
        command.arg("--config").arg(self.config(n)).args(args);
        self.network.other(n).inside(&command)
    }

    /// Starts one that does not run, with the clock of the day so many seconds ahead.
    pub(crate) fn run(&self, n: u8, ahead: Option<i64>) {
        let address = self.address(n);
        let mut command = Command::new(built::program("ykvald"));
        command.arg("--config").arg(self.config(n)).args(["serve", "--listen", &address.to_string()]);
        if let Some(ahead) = ahead {
            let file = folder(&self.site, n).join("clock");
            fs::write(&file, ahead.to_ne_bytes()).unwrap();
            command.env("LD_PRELOAD", built::preloaded("clock_shim")).env("YUBIOTP_TEST_CLOCK", file);
        }
        let server = self.site.spawn(self.network.other(n).inside(&command), address);
        let before = self.running.borrow_mut()[usize::from(n)].replace(server);
        assert!(before.is_none(), "it runs");
    }

    /// `kill -9`
    pub(crate) fn kill(&self, n: u8) {
        self.running.borrow_mut()[usize::from(n)].take().unwrap().kill();
    }

    /// What a running one does.
    pub(crate) fn with<T>(&self, n: u8, act: impl FnOnce(&Ykvald) -> T) -> T {
        act(self.running.borrow()[usize::from(n)].as_ref().unwrap())
    }

    /// What one has logged.
    pub(crate) fn log(&self, n: u8) -> String {
        let log = self.site.path().join(format!("log-{}", self.address(n).port()));
        String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
    }

    /// The last of each log, for people.
    pub(crate) fn ends_of_logs(&self) -> String {
        let end = |n| {
            let log = self.log(n);
            let not_decisions = |line: &&str| !line.contains(" status=");
            let lines: Vec<_> = log.lines().rev().filter(not_decisions).take(12).collect();
            format!("server {n}:\n{}\n", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
        };
        (0..HOSTS).map(end).collect()
    }

    /// The status of `/readyz`; 0: no answer.
    pub(crate) fn readiness(&self, n: u8) -> (u16, String) {
        get(self.address(n), "/readyz").map_or((0, String::new()), |reply| (reply.status, reply.body))
    }

    /// # Panics
    /// Where they do not become ready.
    pub(crate) fn until_all_are_ready(&self) {
        let begun = Instant::now();
        while !(0..HOSTS).all(|n| self.readiness(n).0 == 200) {
            assert!(begun.elapsed() < LONG, "they are not ready: {}", self.ends_of_logs());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn folder(site: &Site, n: u8) -> PathBuf {
    Path::new(site.path()).join(format!("host{n}"))
}
