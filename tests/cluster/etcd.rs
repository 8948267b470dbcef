//! Three members of etcd beside three `ykvald`, and each fault that can befall them.

use crate::load::Load;
use crate::record::{Record, hold, wanted};
use crate::servers::{HOSTS, LONG, Servers};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tests::etcd::{Members, ON_SMALL_DISK, must};
use tests::network::Network;
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Question, Site};

/// How much longer each sync of a slow disk takes, in microseconds.
const SLOW: u32 = 100_000;

pub(crate) struct World<'a> {
    pub(crate) network: &'a Network,
    pub(crate) members: Members<'a>,
    pub(crate) servers: Servers<'a>,
}

impl<'a> World<'a> {
    /// # Errors
    /// What this machine lacks for it.
    pub(crate) fn start(network: &'a Network) -> Result<Self, String> {
        let members = Members::on(network)?;
        let store = format!("etcd://{}/ykvald", members.endpoints());
        let lines = "plain_http = true\n[etcd]\nplain_http = true\n";
        let site = Site::set_up(tempfile::tempdir().unwrap(), store, lines);
        Ok(Self { network, members, servers: Servers::start(network, site) })
    }

    /// The way from one host to another.
    fn cut(&self, ways: &[(u8, u8)], hold: Duration) {
        ways.iter().for_each(|&(from, to)| self.network.cut(from, to));
        thread::sleep(hold);
        ways.iter().for_each(|&(from, to)| self.network.reconnect(from, to));
    }

    /// A member that does not lead.
    fn follower(&self) -> u8 {
        let leader = self.members.leader();
        (0..HOSTS).find(|n| *n != leader).unwrap()
    }

    fn cuts(&self, record: &mut Record<'_>, hold: Duration) {
        record.fault("two hosts cut from each other, one of them the leader's", || {
            let (leader, other) = (self.members.leader(), self.follower());
            self.cut(&[(leader, other), (other, leader)], hold);
        });
        record.fault("what a follower sends to the leader is lost", || {
            self.cut(&[(self.follower(), self.members.leader())], hold);
        });
        record.fault("what the leader sends to a follower is lost", || {
            self.cut(&[(self.members.leader(), self.follower())], hold);
        });
        record.fault("the leader's host cut off from the others", || {
            let leader = self.members.leader();
            let others = (0..HOSTS).filter(|n| *n != leader);
            let ways: Vec<_> = others.flat_map(|other| [(leader, other), (other, leader)]).collect();
            self.cut(&ways, hold);
        });
        record.stop("all hosts cut from each other", || {
            self.cut(&[(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)], hold);
            self.members.until_whole();
        });
        record.fault("the leader's host loses its wire", || {
            let leader = self.members.leader();
            self.network.pull(leader);
            thread::sleep(hold);
            self.network.plug(leader);
            self.members.until_whole();
        });
    }

    fn processes(&self, record: &mut Record<'_>, hold: Duration) {
        record.fault("the leader frozen and thawed", || {
            let leader = self.members.leader();
            self.members.signal(leader, Signal::STOP);
            thread::sleep(hold);
            self.members.signal(leader, Signal::CONT);
            self.members.until_whole();
        });
        record.fault("the leader killed (-9)", || {
            let leader = self.members.leader();
            self.members.kill(leader);
            thread::sleep(hold);
            self.members.run(leader);
            self.members.until_whole();
        });
        record.stop("all members killed (-9)", || {
            (0..HOSTS).for_each(|n| self.members.kill(n));
            thread::sleep(hold / 2);
            (0..HOSTS).for_each(|n| self.members.run(n));
            self.members.until_whole();
        });
        record.fault("a ykvald killed (-9)", || {
            self.servers.kill(0);
            thread::sleep(hold);
            self.servers.run(0, None);
        });
        record.fault("a ykvald frozen and thawed", || {
            self.servers.with(1, |server| server.signal(Signal::STOP));
            thread::sleep(hold);
            self.servers.with(1, |server| server.signal(Signal::CONT));
        });
        record.fault("clocks two hours apart", || {
            for (n, ahead) in [(0, 3600), (1, -3600)] {
                self.servers.kill(n);
                self.servers.run(n, Some(ahead));
            }
            thread::sleep(hold);
            for n in [0, 1] {
                self.servers.kill(n);
                self.servers.run(n, None);
            }
        });
    }

    fn disks(&self, record: &mut Record<'_>, hold: Duration) {
        record.fault("the leader's disk slow (each sync 100 ms)", || {
            let mut slow = slow(self.members.pid(self.members.leader()));
            thread::sleep(hold);
            kill_process(Pid::from_child(&slow), Signal::TERM).unwrap(); // lets go of it
            slow.wait().unwrap();
        });
        record.fault("a member's disk full", || {
            self.members.fill();
            let begun = Instant::now();
            // It may live on what it has reserved.
            while !self.members.has_ended(ON_SMALL_DISK) && begun.elapsed() < hold * 2 {
                thread::sleep(Duration::from_millis(100));
            }
            println!(
                "a full disk: the member {}",
                if begun.elapsed() < hold * 2 { "ended" } else { "lives" }
            );
            self.members.empty();
            if self.members.has_ended(ON_SMALL_DISK) {
                self.members.run(ON_SMALL_DISK);
            }
            self.members.until_whole();
        });
        record.fault("a member lost and replaced by an empty one", || {
            let lost = self.follower();
            let id = self.members.status().iter().find(|one| one.n == lost).unwrap().id;
            self.members.kill(lost);
            // etcd changes its members only if the others have been connected for five seconds.
            thread::sleep(Duration::from_secs(6));
            self.members.replace(lost, id);
            self.members.until_whole();
        });
        self.no_space(record, hold);
    }

    /// The quota of a rolling restart is just above what is stored, and somebody else fills the rest.
    fn no_space(&self, record: &mut Record<'_>, hold: Duration) {
        let members = &self.members;
        record.fault("members restarted one by one", || {
            let size = members.status().iter().map(|one| one.size).max().unwrap();
            members.restart_with_quota(Some(size + (12 << 20)));
        });
        record.fault("NOSPACE: the quota of etcd used up", || {
            let junk = self.servers.site.path().join("junk");
            fs::write(&junk, vec![b'x'; 1 << 20]).unwrap();
            let begun = Instant::now();
            while members.can_put("junk", &junk) {
                assert!(begun.elapsed() < LONG, "the quota is never used up");
            }
            thread::sleep(hold);
            for n in 0..HOSTS {
                assert_eq!(self.servers.readiness(n).0, 503, "server {n} without space");
            }
            let endpoints = members.endpoints();
            must(&mut members.control(&endpoints, &["del", "junk"]));
            members.compact();
            must(&mut members.control(&endpoints, &["defrag"]));
            must(&mut members.control(&endpoints, &["alarm", "disarm"]));
            self.servers.until_all_are_ready();
        });
        members.restart_with_quota(None);
    }

    fn every_fault(&self, record: &mut Record<'_>) {
        let hold = hold();
        record.fault("none", || thread::sleep(hold));
        self.cuts(record, hold);
        self.processes(record, hold);
        self.disks(record, hold);
    }

    /// A token is disabled while the leader's host is cut off: from then on no server accepts it.
    fn disabled_while_cut(&self, key: &mut SoftYubiKey) {
        let leader = self.members.leader();
        let others: Vec<_> = (0..HOSTS).filter(|n| *n != leader).collect();
        for &other in &others {
            self.network.cut(leader, other);
            self.network.cut(other, leader);
        }
        let begun = Instant::now();
        while self
            .servers
            .command(others[0], &["key", "disable", &key.public_id()])
            .output()
            .unwrap()
            .status
            .code()
            != Some(0)
        {
            assert!(begun.elapsed() < LONG, "nobody can disable a token");
        }
        let offer = |key: &mut SoftYubiKey| {
            (0..HOSTS)
                .map(|n| {
                    let question = Question::new(self.servers.site.client(), &key.press());
                    self.servers.with(n, |server| server.connect().ask(&question)).unwrap().says()
                })
                .collect::<Vec<_>>()
        };
        let cut = offer(key);
        for &other in &others {
            self.network.reconnect(leader, other);
            self.network.reconnect(other, leader);
        }
        self.servers.until_all_are_ready();
        let healed = offer(key);
        println!("disabled while the leader was cut off: {cut:?}, and healed: {healed:?}");
        assert!(!cut.iter().chain(&healed).any(|said| said == "OK"), "{cut:?} {healed:?}");
        assert!(healed.iter().all(|said| said == "BAD_OTP"), "{healed:?}");
    }
}

/// What was accepted since a backup is unknown to it, and the cluster has the same name: no server decides until an
/// administrator has said what was lost, and then none of those OTPs is accepted.
fn backup_restored(world: &World<'_>, keys: &mut [SoftYubiKey]) {
    let (members, servers) = (&world.members, &world.servers);
    let says = |n: u8, otp: &str| {
        let question = Question::new(servers.site.client(), otp);
        servers.with(n, |server| server.connect().ask(&question)).unwrap().says()
    };
    let before = must(Command::new("date").args(["-u", "+%FT%TZ"])).trim().to_owned();
    let backup = members.save("backup");
    let used: Vec<_> = keys
        .iter_mut()
        .zip((0..HOSTS).cycle())
        .map(|(key, n)| {
            let otp = key.press();
            assert_eq!(says(n, &otp), "OK");
            otp
        })
        .collect();
    members.restore(&backup);
    let told = |keys: &mut [SoftYubiKey]| {
        let mut told = BTreeMap::<String, usize>::new();
        for n in 0..HOSTS {
            for otp in &used {
                *told.entry(format!("used: {}", says(n, otp))).or_default() += 1;
            }
            for key in &mut *keys {
                *told.entry(format!("fresh: {}", says(n, &key.press()))).or_default() += 1;
            }
        }
        told
    };
    let refused = told(keys);
    println!("a backup restored: {refused:?}");
    assert!(!refused.keys().any(|said| said.ends_with(": OK")), "{refused:?}");
    // One that has only its file to remember.
    servers.kill(2);
    servers.run(2, None);
    thread::sleep(Duration::from_secs(2));
    let refused = told(keys);
    println!("a backup restored, and a server restarted: {refused:?}");
    assert!(!refused.keys().any(|said| said.ends_with(": OK")), "{refused:?}");
    assert!((0..HOSTS).all(|n| servers.readiness(n).0 == 503));
    for n in 0..HOSTS {
        servers.kill(n);
        must(&mut servers.command(n, &["accept-database", "--lost-since", &before]));
        servers.run(n, None);
    }
    servers.until_all_are_ready();
    let accepted = told(&mut []);
    println!("a backup restored, and accepted as such: {accepted:?}");
    assert_eq!(accepted, [("used: REPLAYED_OTP".to_owned(), used.len() * usize::from(HOSTS))].into());
}

/// Each sync of this process takes longer, until this one is ended.
fn slow(pid: u32) -> Child {
    let inject = format!("inject=fsync,fdatasync:delay_enter={SLOW}");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", &inject, "-p"]);
    command
        .arg(pid.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs it in a network with etcd on it.
pub(crate) fn with_etcd(test: impl FnOnce(&World<'_>) + Send) {
    let network = match Network::routed(HOSTS) {
        Ok(network) => network,
        Err(why) => return tests::skip(&why),
    };
    network.client.enter(|| match World::start(&network) {
        Ok(world) => test(&world),
        Err(why) => tests::skip(&why),
    });
}

#[test]
fn etcd_with_three_members() {
    with_etcd(|world| {
        let servers = &world.servers;
        let load = Load::new(servers.site.client(), servers.site.keys(5100..5132));
        let mut spare = servers.site.keys(5132..5133).remove(0);
        let mut record = Record::new(&load, "etcd");
        load.run(&servers.addresses(), || {
            world.every_fault(&mut record);
            while wanted().is_some_and(|wanted| load.pressed() < wanted) {
                world.every_fault(&mut record);
            }
            record.fault("a token disabled while the leader is cut off", || {
                world.disabled_while_cut(&mut spare)
            });
            lose_one(world, &record);
        });
        servers.until_all_are_ready();
        (0..HOSTS).for_each(|n| load.offer_again(usize::from(n), servers.address(n)));
        record.judge(&servers.site);
        backup_restored(world, &mut servers.site.keys(5140..5150));
    });
}

/// A host is lost with everything on it, and what can be seen of that: `cluster-transcript.txt`, for people.
fn lose_one(world: &World<'_>, record: &Record<'_>) {
    let (leader, from) = (world.members.leader(), record.load.now());
    let mut text =
        format!("Three hosts, each with ykvald and a member of etcd; the member of host {leader} leads.\n\n");
    let status = |text: &mut String, when: &str| {
        let mut command =
            world.members.control(&world.members.endpoints(), &["endpoint", "status", "-w", "table"]);
        let table = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
        *text += &format!("{:.1} s, {when}:\n\n{table}\n", (record.load.now() - from).as_secs_f64());
        for n in 0..HOSTS {
            let (status, body) = world.servers.readiness(n);
            *text += &format!("http://{}/readyz: {status} {}\n", world.servers.address(n), body.trim());
        }
        text.push('\n');
    };
    status(&mut text, "all is well");
    thread::sleep(Duration::from_secs(1));
    text += &format!(
        "{:.1} s: host {leader} loses its power: kill -9 of both.\n\n",
        (record.load.now() - from).as_secs_f64()
    );
    world.servers.kill(leader);
    world.members.kill(leader);
    thread::sleep(hold());
    status(&mut text, "one host is gone");
    world.members.run(leader);
    world.servers.run(leader, None);
    world.members.until_whole();
    world.servers.until_all_are_ready();
    thread::sleep(Duration::from_secs(1));
    status(&mut text, "it is back");
    text += &record.course(from);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster-transcript.txt");
    fs::write(file, text).unwrap();
}
