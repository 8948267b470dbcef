//! The measured hosts: they differ in the module, or in its arguments.

use super::Instructions;
use super::resources::Resources;
use super::time::Times;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::tls::{Authority, Kind};
use tests::validation::{BlackHole, CLIENT, KEY, Server, dead};

pub(crate) const PAM_PERMIT: &str = "pam_permit";
pub(crate) const OURS: &str = "ours, http";
const HTTPS: &str = "ours, https";
pub(crate) const PAM_YUBICO: &str = "pam_yubico";

/// The host where logins know which servers failed.
pub(crate) const KNOWN: &str = "the same, at the logins after the first";

/// So long that a login which is stopped at every instruction comes to its end.
const PATIENT: &str = "deadline = 60\n";
const SYSTEM_CAS: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// One way to log in, and what it was found to cost.
pub(crate) struct Side {
    pub name: &'static str,
    place: Place,
    key: SoftYubiKey,
    /// Each login knows which servers failed at the last ones.
    knows_failed: bool,
    pub times: Times,
    /// By program.
    pub resources: BTreeMap<String, Resources>,
    pub instructions: Instructions,
}

impl Side {
    fn new(name: &'static str, key: &SoftYubiKey) -> Self {
        let place = Place::new();
        place.list("alice", key);
        let (times, resources) = (Times::default(), BTreeMap::new());
        let instructions = Instructions::default();
        Self { name, place, key: key.clone(), knows_failed: false, times, resources, instructions }
    }

    fn ours(name: &'static str, key: &SoftYubiKey, urls: &[String], settings: &str) -> Self {
        let side = Self::new(name, key);
        side.place.online("online", urls, &(PATIENT.to_owned() + settings));
        side
    }

    /// The next login: each has an OTP of its own, for replays are refused.
    pub(crate) fn login(&mut self) -> Command {
        if !self.knows_failed {
            let _ = fs::remove_file(self.place.path("failed-servers"));
        }
        let mut drive = self.place.drive("otp", "alice");
        drive.args(["--", &self.key.press()]);
        drive
    }

    /// The program that asks for it.
    pub(crate) fn program(&self) -> PathBuf {
        self.place.ask()
    }
}

/// All of them, and the servers that they ask.
pub(crate) struct Sides {
    /// pam_permit, pam_yubico, ours by http, ours by https, ours with all the system's authorities.
    pub all: Vec<Side>,
    /// Ours with one server; with four dead ones before it; with four silent ones before it, as the first login after they
    /// failed, and as the others.
    pub troubled: Vec<Side>,
    servers: (Server, Server, [BlackHole; 4]),
    /// The token of a question that no login asks.
    spare: SoftYubiKey,
}

impl Sides {
    pub(crate) fn new() -> Self {
        let keys: Vec<SoftYubiKey> = (1..=10).map(SoftYubiKey::numbered).collect();
        let tokens: Vec<&SoftYubiKey> = keys.iter().collect();
        let authority = Authority::new("bench");
        let http = Server::start(&tokens);
        let https = Server::start_tls(&tokens, authority.identity(Kind::Right).server(None));
        let holes: [BlackHole; 4] = std::array::from_fn(|_| BlackHole::new());

        let permit = Side::new(PAM_PERMIT, &keys[0]);
        permit.place.service("otp", "auth required pam_permit.so\n");
        let yubico = Side::new(PAM_YUBICO, &keys[1]);
        let mapping = yubico.place.path("authorized_yubikeys");
        let (url, authfile) = (http.url(), mapping.display());
        yubico.place.service(
            "otp",
            &format!("auth required pam_yubico.so id={CLIENT} key={KEY} urllist={url} authfile={authfile} mode=client\n"),
        );
        let plain = Side::ours(OURS, &keys[2], &[http.base()], "");
        let tls = |name, key, system: &str| {
            let side = Side::ours(name, key, &[https.base()], "");
            side.place.write("ca.pem", system.to_owned() + authority.pem(), 0o644);
            let ca = format!("{PATIENT}ca = {:?}\n", side.place.path("ca.pem"));
            side.place.online("online", &[https.base()], &ca);
            side
        };
        let system = SYSTEM_CAS.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let all = vec![
            permit,
            yubico,
            plain,
            tls(HTTPS, &keys[3], ""),
            tls("ours, https, all CAs", &keys[4], &system),
        ];

        // The one that answers is the last: every other is in its way.
        let after = |mut others: Vec<String>| {
            others.push(http.base());
            others
        };
        let silent = || after(holes.iter().map(BlackHole::base).collect());
        let troubled = vec![
            Side::ours("one server", &keys[5], &after(Vec::new()), ""),
            Side::ours("four dead before it", &keys[6], &after((0..4).map(|_| dead()).collect()), ""),
            Side::ours("four silent before it", &keys[7], &silent(), ""),
            Side { knows_failed: true, ..Side::ours(KNOWN, &keys[8], &silent(), "") },
        ];
        let spare = keys[9].clone();
        Self { all, troubled, servers: (http, https, holes), spare }
    }

    /// A URL as the module makes them, with an OTP of its own, but for the signature, without which a server answers
    /// too.
    pub(crate) fn question(&mut self) -> String {
        let (url, otp) = (self.servers.0.url(), self.spare.press());
        format!("{url}?id={CLIENT}&nonce=0123456789abcdef0123456789abcdef&otp={otp}&timestamp=1")
    }
}
