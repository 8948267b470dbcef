//! A server that failed is asked last for a while, by every login of the host, and by none is it left out. Questions are
//! counted, not times.

use crate::world::{Outcome, login, outcome};
use std::fs;
use std::process::Command;
use std::time::Duration;
use tests::built;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::{Server, Wire, dead};

const FILE: &str = "failed-servers";
const LAST: &str = "is asked last: it failed";

struct Site {
    place: Place,
    key: SoftYubiKey,
    servers: Vec<Server>,
}

impl Site {
    /// So many servers that are one: whichever is asked knows the token.
    fn new(number: u32, count: usize) -> Self {
        let (place, key) = (Place::new(), SoftYubiKey::numbered(number));
        place.enrol("alice", &key);
        let servers = (0..count).map(|_| Server::start(&[&key])).collect();
        let site = Self { place, key, servers };
        site.mode("online", "");
        site
    }

    fn mode(&self, mode: &str, settings: &str) {
        self.place.online(mode, &self.urls(), settings);
    }

    fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Server::url).collect()
    }

    fn login(&mut self) -> Outcome {
        let outcome = login(&self.place, &self.key.press());
        println!("{:?} {:?} {}", self.asked(), outcome.took, outcome.reason());
        outcome
    }

    /// A login so many seconds later, by the clock of the day.
    fn login_after(&mut self, seconds: i64) -> Outcome {
        self.place.write("clock", seconds.to_ne_bytes(), 0o644);
        let drive = self.place.whole_login("otp", "alice", &[self.key.press()]);
        let [log, clock] =
            ["syslog_shim", "clock_shim"].map(|name| built::preloaded(name).display().to_string());
        let mut shifted = Command::new("env");
        shifted.arg(format!("LD_PRELOAD={log}:{clock}"));
        shifted.arg(format!("YUBIOTP_TEST_CLOCK={}", self.place.path("clock").display()));
        shifted.arg(drive.get_program()).args(drive.get_args());
        let outcome = outcome(&self.place.run(shifted), Duration::ZERO);
        println!("{:?} {:?} {}", self.asked(), outcome.took, outcome.reason());
        outcome
    }

    /// How many questions each server had.
    fn asked(&self) -> Vec<usize> {
        self.servers.iter().map(|server| server.requests().len()).collect()
    }

    fn hangs(&self, which: usize) {
        self.servers[which].will(|x| x.honest().by(Wire::Hang));
    }
}

#[test]
fn a_silent_server_costs_one_login_and_comes_back() {
    let mut site = Site::new(760, 2);
    let base = site.servers[0].base();
    site.hangs(0);
    let first = site.login();
    first.assert("PAM_SUCCESS", &[&format!("{base}: no answer yet")], "it is waited for once");
    assert!(!first.line.contains(LAST), "{}", first.line);
    assert_eq!(site.asked(), [1, 1]);
    for count in 2..5 {
        site.login().assert("PAM_SUCCESS", &[&format!("{base} {LAST}")], "not waited for");
        assert_eq!(site.asked(), [1, count]);
    }
    // Its pause is over: one login tries it, and the pause doubles.
    site.login_after(31).assert("PAM_SUCCESS", &["no answer yet"], "tried again");
    assert_eq!(site.asked(), [2, 5]);
    site.login_after(31 + 58).assert("PAM_SUCCESS", &["2 times in "], "the second pause");
    assert_eq!(site.asked(), [2, 6]);
    // It has recovered.
    site.servers[0].will_be_honest();
    let back = site.login_after(31 + 70);
    back.assert("PAM_SUCCESS", &[&base], "recovered");
    assert!(!back.line.contains(LAST), "{}", back.line);
    assert_eq!(site.asked(), [3, 6]);
    // Forgotten: also by a login whose clock is in the pause.
    site.login_after(31).assert("PAM_SUCCESS", &[&base], "asked first");
    assert_eq!(site.asked(), [4, 6]);
}

/// One that nobody listens on, and one whose name does not resolve.
#[test]
fn a_server_that_cannot_be_reached_is_asked_last() {
    let mut site = Site::new(761, 1);
    let urls = [dead(), "http://name.invalid".to_owned(), site.servers[0].url()];
    site.place.online("online", &urls, "");
    site.login().assert("PAM_SUCCESS", &[&urls[0], &urls[1]], "both were tried");
    let second = site.login();
    second.assert("PAM_SUCCESS", &[&format!("{} {LAST}", urls[0]), &format!("{} {LAST}", urls[1])], "both");
    assert!(!second.line.contains("[server-"), "none of the two was tried: {}", second.line);
}

/// A server that answers at once costs no wait, whatever it answers.
#[test]
fn a_server_that_answers_keeps_its_place() {
    let mut site = Site::new(762, 2);
    for which in [None, Some("BACKEND_ERROR")] {
        if let Some(status) = which {
            site.servers[0].will(move |x| x.signed(&vec![("status".to_owned(), status.to_owned())]));
        } else {
            site.servers[0].will(|x| x.unsigned(&x.fields));
        }
        for _ in 0..2 {
            let outcome = site.login();
            outcome.assert("PAM_SUCCESS", &[&site.servers[0].base()], "asked first");
            assert!(!outcome.line.contains(LAST), "{}", outcome.line);
        }
    }
    assert_eq!(site.asked(), [4, 4]);
    assert!(!site.place.path(FILE).exists());
}

/// One that answers first without deciding does not hide the one that makes every login wait.
#[test]
fn the_second_may_be_the_silent_one() {
    let mut site = Site::new(766, 3);
    site.servers[0].will(|x| x.unsigned(&x.fields));
    site.hangs(1);
    site.login().assert("PAM_SUCCESS", &[], "all were asked");
    assert_eq!(site.asked(), [1, 1, 1]);
    site.login().assert(
        "PAM_SUCCESS",
        &[&format!("{} {LAST}", site.servers[1].base())],
        "it is the last now",
    );
    assert_eq!(site.asked(), [2, 1, 2]);
}

/// The order is all that changes: a server that failed is asked before this host decides, and its no counts.
#[test]
fn a_server_that_failed_is_never_left_out() {
    let mut site = Site::new(763, 2);
    site.hangs(0);
    site.login().assert("PAM_SUCCESS", &[], "the first is silent");
    // It is back, and alone knows that this OTP was used; the other is gone.
    site.servers[0].will_be_honest();
    let (back, mut urls) = (site.urls()[0].clone(), site.urls());
    urls[1] = dead();
    site.place.online("online-then-offline", &urls, "");
    let otp = site.key.press();
    site.servers[0].will(|x| x.signed(&vec![("status".to_owned(), "BAD_OTP".to_owned())]));
    login(&site.place, &otp).assert("PAM_AUTH_ERR", &["BAD_OTP", &site.servers[0].base()], "its no counts");
    // Alive, and not deciding: this host does not decide either.
    site.hangs(0);
    site.place.online("online", &[back.clone(), site.servers[1].url()], "");
    login(&site.place, &site.key.press()).assert("PAM_SUCCESS", &[], "silent once more");
    site.servers[0].will(|x| x.unsigned(&x.fields));
    site.place.online("online-then-offline", &[back, dead()], "");
    let outcome = login(&site.place, &site.key.press());
    outcome.assert("PAM_AUTHINFO_UNAVAIL", &[&site.servers[0].base()], "an answer is an answer");
    // Neither was reached: only now this host decides, and both were asked.
    let gone = [dead(), dead()];
    site.place.online("online-then-offline", &gone, "");
    for _ in 0..2 {
        let outcome = site.login();
        outcome.assert("PAM_SUCCESS", &["no server answered", &gone[0], &gone[1]], "both were asked");
        assert_eq!(outcome.line.matches("[server-unreachable]").count(), 2, "{}", outcome.line);
    }
}

/// Whatever is in its place, a login goes on as if nothing was known.
#[test]
fn a_file_that_cannot_be_used_is_nothing_known() {
    let mut site = Site::new(764, 2);
    site.hangs(0);
    site.login().assert("PAM_SUCCESS", &[], "noted");
    let (path, whole) = (site.place.path(FILE), fs::read(site.place.path(FILE)).unwrap());
    let damaged: Vec<u8> = whole.iter().map(|byte| byte ^ u8::from(*byte == b'0')).collect();
    let makers: [&dyn Fn(); 5] = [
        &|| fs::write(&path, b"").unwrap(),
        &|| fs::write(&path, &damaged).unwrap(),
        &|| fs::create_dir(&path).unwrap(),
        &|| std::os::unix::fs::symlink("/dev/full", &path).unwrap(),
        &|| site_fifo(&path),
    ];
    for (number, make) in makers.iter().enumerate() {
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir(&path);
        make();
        let before = site.servers[0].requests().len();
        let outcome = login(&site.place, &site.key.press());
        outcome.assert("PAM_SUCCESS", &["no answer yet"], "asked first, as the settings say");
        assert_eq!(site.servers[0].requests().len(), before + 1, "{number}");
    }
}

fn site_fifo(path: &std::path::Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Too small a limit on files kills a process that writes beyond it.
#[test]
fn a_limit_on_files_takes_the_memory_and_nothing_else() {
    let mut site = Site::new(765, 2);
    site.hangs(0);
    let drive = site.place.whole_login("otp", "alice", &[site.key.press()]);
    let mut limited = Command::new("prlimit");
    limited.arg("--fsize=1024").arg(drive.get_program()).args(drive.get_args());
    let outcome = outcome(&site.place.run(limited), Duration::ZERO);
    // The position cannot be written either.
    outcome.assert("PAM_AUTHINFO_UNAVAIL", &["limit"], "a fault, and no signal");
    assert!(!site.place.path(FILE).exists());
}
