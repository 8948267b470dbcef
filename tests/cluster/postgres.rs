//! PostgreSQL on three hosts, of which one takes writes and two follow it; a commit waits for one of the two. The test
//! itself is the failover manager: it looks once a second, fences the old primary if it can, and promotes the follower
//! that has most.

use crate::load::Load;
use crate::record::{Record, hold, wanted};
use crate::servers::{HOSTS, Servers};
use rustix::process::Signal;
use std::cell::{Cell, RefCell};
use std::process::Command;
use std::thread;
use std::time::Duration;
use tests::network::Network;
use tests::postgres::{Cluster, PASSWORD};
use tests::ykvald::Site;

const PORT: u16 = 5432;
/// How long a manager takes to see that a primary is gone.
const NOTICE: Duration = Duration::from_secs(1);
/// A commit waits until one of the two that follow has it on its disk.
const QUORUM: &str = "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'";

struct World<'a> {
    network: &'a Network,
    databases: RefCell<Vec<Option<Cluster>>>,
    primary: Cell<u8>,
    servers: Servers<'a>,
}

impl<'a> World<'a> {
    fn start(network: &'a Network) -> Result<Self, String> {
        let at = |n: u8| network.address(n);
        let primary = network.other(0).enter(|| Cluster::start_at(at(0), PORT))?;
        for setting in [QUORUM, "SELECT pg_reload_conf()"] {
            primary.sql(setting);
        }
        let mut databases = vec![Some(primary)];
        for n in 1..HOSTS {
            let first = databases[0].as_ref().unwrap();
            let standby = network.other(n).enter(|| first.standby_at(at(n), PORT))?;
            databases.push(Some(standby));
        }
        let url = databases[0].as_ref().unwrap().database();
        let hosts: Vec<_> = (0..HOSTS).map(|n| format!("{}:{PORT}", at(n))).collect();
        let url = url.replace(&hosts[0], &hosts.join(",")) + "?sslmode=disable";
        let lines = "plain_http = true\n[postgres]\nstandby = \"required\"\n";
        let site = Site::set_up(tempfile::tempdir().unwrap(), url, lines);
        let databases = RefCell::new(databases);
        Ok(Self { network, databases, primary: Cell::new(0), servers: Servers::start(network, site) })
    }

    fn with<T>(&self, n: u8, act: impl FnOnce(&Cluster) -> T) -> T {
        act(self.databases.borrow()[usize::from(n)].as_ref().unwrap())
    }

    fn others(&self) -> Vec<u8> {
        (0..HOSTS).filter(|n| *n != self.primary.get()).collect()
    }

    /// How much of the log this one has on its disk, as a number.
    fn received(&self, n: u8) -> Option<u64> {
        let url = format!(
            "postgres://ykvald:{PASSWORD}@{}:{PORT}/postgres?connect_timeout=2",
            self.network.address(n)
        );
        let lsn = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')";
        let output = Command::new("psql").args([&url, "-qtAc", lsn]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    }

    /// What a failover manager does once the primary is gone: it promotes the one of the others that has most, and has the
    /// third follow it.
    fn fail_over(&self) {
        thread::sleep(NOTICE);
        let [one, other] = self.others()[..] else { panic!("three hosts") };
        // Both, for a commit waited for either.
        let has = [one, other].map(|n| self.received(n).unwrap());
        let (next, third) = if has[0] >= has[1] { (one, other) } else { (other, one) };
        let address = self.network.address(next);
        self.with(next, Cluster::promote);
        let from = format!("host={address} port={PORT} user=ykvald password={PASSWORD}");
        self.with(third, |third| {
            third.sql(&format!("ALTER SYSTEM SET primary_conninfo = '{from}'"));
            third.sql("SELECT pg_reload_conf()");
        });
        self.primary.set(next);
    }

    /// One that was a primary follows the new one, from an empty folder.
    fn join_again(&self, n: u8) {
        let mut databases = self.databases.borrow_mut();
        drop(databases[usize::from(n)].take());
        let primary = databases[usize::from(self.primary.get())].as_ref().unwrap();
        let address = self.network.address(n);
        let standby = self.network.other(n).enter(|| primary.standby_at(address, PORT)).unwrap();
        databases[usize::from(n)] = Some(standby);
    }

    /// What is sent between the primary's host and the others is lost, both ways; or no longer.
    fn primary_is_cut_off(&self, old: u8, act: fn(&Network, u8, u8)) {
        for other in (0..HOSTS).filter(|n| *n != old) {
            act(self.network, old, other);
            act(self.network, other, old);
        }
    }

    fn every_fault(&self, record: &mut Record<'_>) {
        let hold = hold();
        record.fault("none", || thread::sleep(hold));
        record.fault("a standby is killed", || {
            let standby = self.others()[0];
            self.with(standby, Cluster::stop);
            thread::sleep(hold);
            self.with(standby, Cluster::run);
        });
        record.fault("a standby is frozen", || {
            let standby = self.others()[1];
            self.with(standby, Cluster::freeze);
            thread::sleep(hold);
            self.with(standby, Cluster::thaw);
        });
        record.stop("both standbys are killed", || {
            self.others().into_iter().for_each(|n| self.with(n, Cluster::stop));
            thread::sleep(hold);
            self.others().into_iter().for_each(|n| self.with(n, Cluster::run));
        });
        record.fault("the primary is killed, and comes back as a primary", || {
            let old = self.primary.get();
            self.with(old, Cluster::stop);
            self.fail_over();
            self.with(old, Cluster::run);
            thread::sleep(hold);
            self.join_again(old);
        });
        record.fault("the primary is frozen, and wakes after another was promoted", || {
            let old = self.primary.get();
            self.with(old, Cluster::freeze);
            self.fail_over();
            thread::sleep(hold / 2);
            self.with(old, Cluster::thaw);
            thread::sleep(hold);
            self.join_again(old);
        });
        record.fault("the primary is cut off from the other hosts", || {
            let old = self.primary.get();
            self.primary_is_cut_off(old, Network::cut);
            self.fail_over();
            thread::sleep(hold);
            self.primary_is_cut_off(old, Network::reconnect);
            thread::sleep(hold / 2);
            self.join_again(old);
        });
        record.fault("a ykvald is killed", || {
            self.servers.kill(1);
            thread::sleep(hold);
            self.servers.run(1, None);
        });
        record.fault("a ykvald is frozen", || {
            self.servers.with(2, |server| server.signal(Signal::STOP));
            thread::sleep(hold);
            self.servers.with(2, |server| server.signal(Signal::CONT));
        });
    }
}

#[test]
fn postgres_with_two_standbys() {
    let network = match Network::routed(HOSTS) {
        Ok(network) => network,
        Err(why) => return tests::skip(&why),
    };
    network.client.enter(|| {
        let world = match World::start(&network) {
            Ok(world) => world,
            Err(why) => return tests::skip(&why),
        };
        let servers = &world.servers;
        let load = Load::new(servers.site.client(), servers.site.keys(5000..5032));
        let mut record = Record::new(&load, "postgres");
        load.run(&servers.addresses(), || {
            world.every_fault(&mut record);
            while wanted().is_some_and(|wanted| load.pressed() < wanted) {
                world.every_fault(&mut record);
            }
        });
        servers.until_all_are_ready();
        (0..HOSTS).for_each(|n| load.offer_again(usize::from(n), servers.address(n)));
        record.judge(&servers.site);
    });
}
