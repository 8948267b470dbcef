//! Through the login: the real ssh, sshd and module, beside three servers of which one is cut off, frozen, lost and
//! restored. Logins go on, and no OTP lets in twice.

use crate::etcd::{World, with_etcd};
use crate::servers::HOSTS;
use crate::site::Site;
use crate::ways::TALKATIVE;
use rustix::process::Signal;
use std::cell::RefCell;
use std::time::{Duration, Instant};
use tests::host::Sshd;
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Connection, Question};

const PAM: &str =
    "auth required pam_yubiotp.so\naccount required pam_yubiotp.so\nsession required pam_permit.so\n";

/// Until a login succeeds again.
const SOON: Duration = Duration::from_secs(60);

struct Logins<'a> {
    site: &'a Site,
    sshd: Sshd,
    key: RefCell<SoftYubiKey>,
    /// What let somebody in.
    used: RefCell<Vec<String>>,
}

impl Logins<'_> {
    /// One try: whether it let alice in.
    fn try_with(&self, otp: &str) -> bool {
        let mut terminal = self.site.ssh(&self.sshd, "alice", &[]);
        self.site.answer(&mut terminal, "YubiKey for alice: ", &[otp]);
        let (code, transcript) = terminal.finish(SOON);
        self.site.assert_secret(&transcript);
        code == Some(0) && transcript.contains("in-42 as alice\r\n")
    }

    /// alice touches until she is in; the same OTP does not let in again.
    fn log_in(&self, what: &str) {
        let (begun, mut tries) = (Instant::now(), 0);
        let otp = loop {
            let (otp, since) = (self.key.borrow_mut().press(), Instant::now());
            tries += 1;
            if self.try_with(&otp) {
                println!(
                    "{what}: in after {tries} touches, the last one took {:.1} s",
                    since.elapsed().as_secs_f64()
                );
                break otp;
            }
            let lines = self.site.host.log_lines();
            assert!(begun.elapsed() < SOON, "{what}: nobody gets in: {:#?}", lines.last());
        };
        assert!(!self.try_with(&otp), "{what}: in twice by one OTP");
        self.used.borrow_mut().push(otp);
    }
}

fn faults(world: &World<'_>, logins: &Logins<'_>) {
    let (members, servers, network) = (&world.members, &world.servers, world.network);
    logins.log_in("all is well");
    // The one that the module asks first.
    let cut: Vec<_> = [1, 2].into_iter().flat_map(|other| [(0, other), (other, 0)]).collect();
    cut.iter().for_each(|&(from, to)| network.cut(from, to));
    logins.log_in("the first server cut off from the others");
    cut.iter().for_each(|&(from, to)| network.reconnect(from, to));
    logins.log_in("healed");
    servers.with(0, |server| server.signal(Signal::STOP));
    logins.log_in("the first server frozen");
    servers.with(0, |server| server.signal(Signal::CONT));
    logins.log_in("thawed");
    let leader = members.leader();
    members.signal(leader, Signal::STOP);
    logins.log_in("the leader of etcd frozen");
    members.signal(leader, Signal::CONT);
    logins.log_in("thawed");
    members.until_whole();
    let lost = members.leader();
    network.pull(lost);
    members.kill(lost);
    servers.kill(lost);
    logins.log_in("a host lost");
    network.plug(lost);
    members.run(lost);
    servers.run(lost, None);
    members.until_whole();
    servers.until_all_are_ready();
    logins.log_in("restored");
}

#[test]
fn ssh_goes_on() {
    with_etcd(|world| {
        let Some(site) = Site::start(&["sshd", "ssh", "ssh-keygen"]) else { return };
        let (servers, client) = (&world.servers, world.servers.site.client());
        let urls: Vec<_> = servers
            .addresses()
            .iter()
            .map(|address| format!("\"http://{address}/wsapi/2.0/verify\""))
            .collect();
        let (ask, urls) = (site.ask.display(), urls.join(", "));
        let settings = format!(
            "mode = \"online\"\n[online]\nurls = [{urls}]\nclient_id = {}\napi_key_file = \"client.key\"\nask = \"{ask}\"\n",
            client.id
        );
        site.host.write("/etc/yubiotp/client.key", &client.key, 0o600);
        site.host.write("/etc/yubiotp/config.toml", settings, 0o644);
        site.pam("sshd", PAM);
        let key = servers.site.keys(5200..5201).remove(0);
        site.ykmap(&["add", "alice", &key.public_id()], "");
        let sshd = site.host.sshd(TALKATIVE);
        let logins = Logins { site: &site, sshd, key: RefCell::new(key), used: RefCell::default() };
        faults(world, &logins);
        // Whoever saw them typed.
        for (otp, n) in logins.used.borrow().iter().flat_map(|otp| (0..HOSTS).map(move |n| (otp, n))) {
            let mut connection = Connection::open(servers.address(n)).unwrap();
            let says = connection.ask(&Question::new(client, otp)).unwrap().says();
            assert_eq!(says, "REPLAYED_OTP", "server {n}, an OTP that let in");
        }
        site.assert_nothing_leaked(&logins.sshd);
    });
}
