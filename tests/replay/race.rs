//! Fifty processes and one OTP, released together: one accepts it.

use crate::login::{login, place};
use crate::position;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::built::{module, program};
use tests::libpam::Code;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

const PROCESSES: usize = 50;
/// How long each race is run again, and how often at least.
const TIME: Duration = Duration::from_secs(2);
const ROUNDS: u32 = 15;

/// A login that has done everything but the one call that decides.
enum Held {
    /// `pam-drive`, right before `pam_authenticate`.
    Drive(Child),
    /// `ykmap verify`, right before it gets the OTP.
    Verify(Child, String),
}

/// How a login is made: on which host, held by which file, with which OTP.
type Way = fn(&Place, &str, &str) -> Held;

fn drive(place: &Place, barrier: &str, otp: &str) -> Held {
    let mut drive = place.drive("otp", "alice");
    drive.args(["--wait", barrier, "--", otp]).stdin(Stdio::null()).stdout(Stdio::piped());
    Held::Drive(drive.spawn().unwrap())
}

fn verify(place: &Place, _: &str, otp: &str) -> Held {
    let mut verify = Command::new(program("ykmap"));
    verify.arg("--config").arg(place.config()).args(["verify", "alice"]);
    verify.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Held::Verify(verify.spawn().unwrap(), format!("{otp}\n"))
}

impl Held {
    /// Returns when it waits for the start.
    fn wait(&mut self) {
        match self {
            Self::Drive(child) => {
                // Nothing else is said yet, so the reader takes nothing that belongs to the answer.
                let mut line = String::new();
                BufReader::with_capacity(6, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
                assert_eq!(line, "ready\n");
            }
            // Its question is what it says last before it reads.
            Self::Verify(child, _) => {
                let stderr = child.stderr.as_mut().unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"YubiKey for alice: ") {
                    let mut byte = [0];
                    stderr.read_exact(&mut byte).unwrap();
                    asked.push(byte[0]);
                }
            }
        }
    }

    fn start(&mut self) {
        if let Self::Verify(child, otp) = self {
            child.stdin.take().unwrap().write_all(otp.as_bytes()).unwrap();
        }
    }

    /// Whether it accepted. Anything but a yes and a no is wrong, a fault of the lock too: fifty are done long before
    /// it is given up.
    fn accepted(self) -> bool {
        let (Self::Drive(child) | Self::Verify(child, _)) = self;
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let decided = said.lines().last().unwrap_or_default();
        if decided == "authenticate PAM_SUCCESS" || decided.starts_with("accepted: alice: token ") {
            return true;
        }
        let refused = decided == "authenticate PAM_AUTH_ERR" || decided.contains("[otp-replayed]");
        assert!(refused, "neither yes nor no: {said} {}", String::from_utf8_lossy(&output.stderr));
        false
    }
}

/// Holds them all, releases them together, and gives how many of each group accepted.
fn race(place: &Place, groups: &[(Way, &str)]) -> Vec<usize> {
    let barrier = place.path("barrier");
    let file = File::create(&barrier).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    let mut held = Vec::new();
    for number in 0..PROCESSES {
        let group = number % groups.len(); // in turn, so that none begins first
        let (new, otp) = groups[group];
        held.push((group, new(place, barrier.to_str().unwrap(), otp)));
    }
    held.iter_mut().for_each(|(_, held)| held.wait());
    flock(&file, FlockOperation::Unlock).unwrap();
    held.iter_mut().for_each(|(_, held)| held.start());
    let mut accepted = vec![0; groups.len()];
    for (group, held) in held {
        accepted[group] += usize::from(held.accepted());
    }
    accepted
}

fn rounds(what: &str, mut round: impl FnMut(u32)) {
    // Built before the clock runs.
    let _ = (module(), program("pam-drive"), program("ykmap"));
    let since = Instant::now();
    let mut count = 0;
    while count < ROUNDS || since.elapsed() < TIME {
        round(count);
        count += 1;
    }
    println!("{what}: {count} rounds of {PROCESSES} processes in {:?}", since.elapsed());
}

/// On a real disk, where a sync takes its time.
#[test]
fn one_of_fifty_logins() {
    let (place, mut key) = (Place::new(), SoftYubiKey::numbered(70));
    place.enrol("alice", &key);
    rounds("logins", |round| {
        assert_eq!(race(&place, &[(drive, &key.press())]), [1], "round {round}");
    });
}

#[test]
fn one_of_fifty_verifications() {
    let (place, mut key) = place(71);
    rounds("ykmap verify", |round| {
        assert_eq!(race(&place, &[(verify, &key.press())]), [1], "round {round}");
    });
}

#[test]
fn one_of_both() {
    let (place, mut key) = place(72);
    rounds("both", |round| {
        let otp = key.press();
        let accepted = race(&place, &[(drive, &otp), (verify, &otp)]);
        assert_eq!(accepted.iter().sum::<usize>(), 1, "round {round}: {accepted:?}");
    });
}

/// The newer is accepted once; the older at most once, and then before it.
#[test]
fn an_otp_and_its_successor() {
    let (place, mut key) = place(73);
    let file = position::path(&place, &key);
    let mut both = 0;
    rounds("an OTP and its successor", |round| {
        let before = position::read(&file).sequence;
        let older = key.press();
        let at = position::number(key.position());
        let newer = key.press();
        let accepted = race(&place, &[(drive, &older), (drive, &newer)]);
        assert!(accepted[1] == 1 && accepted[0] <= 1, "round {round}: {accepted:?}");
        both += accepted[0];
        let after = position::read(&file);
        // If the older one had been written after it, it would be here, or in a slot of a higher sequence.
        assert_eq!(after.position, Some(at), "round {round}");
        assert_eq!(after.sequence - before, accepted.iter().sum::<usize>() as u64, "round {round}");
    });
    println!("the older one was accepted, too, in {both} rounds");
}

/// An administrator switches the token off and on, takes its key away and brings it back, while everybody tries. A
/// login may find no key, or no position: then it is neither a yes nor a no.
#[test]
fn while_the_token_is_changed() {
    let (place, mut key) = place(74);
    let log = place.path("log.csv");
    std::fs::write(&log, key.traditional_log_line()).unwrap();
    let (id, log) = (key.public_id(), log.to_str().unwrap().to_owned());
    let (mut tried, faults) = (0, AtomicUsize::new(0));
    let mut changes = 0;
    let since = Instant::now();
    while since.elapsed() < TIME {
        let (otp, done) = (key.press(), AtomicBool::new(false));
        let accepted: usize = thread::scope(|scope| {
            let logins: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut accepted = 0;
                        while !done.load(Ordering::Relaxed) {
                            match login(&place, &otp) {
                                Code::SUCCESS => accepted += 1,
                                Code::AUTH_ERR => {}
                                Code::AUTHINFO_UNAVAIL => drop(faults.fetch_add(1, Ordering::Relaxed)),
                                other => panic!("{other:?}"),
                            }
                        }
                        accepted
                    })
                })
                .collect();
            for change in [
                &["key", "disable", &id][..],
                &["key", "remove", &id],
                &["key", "import", &log],
                &["key", "enable", &id],
            ] {
                let output = place.ykmap(change);
                assert!(output.status.success(), "{change:?}: {}", String::from_utf8_lossy(&output.stderr));
                changes += 1;
            }
            // For callers that were too slow: now everything is in place.
            let last = usize::from(login(&place, &otp) == Code::SUCCESS);
            done.store(true, Ordering::Relaxed);
            last + logins.into_iter().map(|login| login.join().unwrap()).sum::<usize>()
        });
        assert_eq!(accepted, 1, "round {tried}");
        assert_eq!(login(&place, &otp), Code::AUTH_ERR, "round {tried}");
        tried += 1;
    }
    println!("while changing: {tried} rounds, {changes} changes, {} faults", faults.into_inner());
}
