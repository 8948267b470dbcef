//! The application of `host.c` on a temporary host.

use std::fs::File;
use std::process::Command;
use std::time::Duration;
use tests::built;
use tests::libpam::Code;
use tests::place::{Login, Place};
use tests::soft_yubikey::SoftYubiKey;

/// A host whose alice has a token.
pub(crate) fn enrolled(number: u32) -> (Place, SoftYubiKey) {
    let (place, key) = (Place::new(), SoftYubiKey::numbered(number));
    place.enrol("alice", &key);
    (place, key)
}

/// The application, which will do these acts and give these answers.
pub(crate) fn application(place: &Place, answers: &[impl AsRef<[u8]>], acts: &[&str]) -> Command {
    let mut command = Command::new(built::application("adversarial/host.c"));
    command.arg(place.confdir()).args(acts).stdin(answers_of(place, answers));
    command
}

/// The answers that an application reads, line by line.
pub(crate) fn answers_of(place: &Place, answers: &[impl AsRef<[u8]>]) -> File {
    let lines: Vec<u8> = answers.iter().flat_map(|answer| [answer.as_ref(), b"\n"].concat()).collect();
    place.write("answers", lines, 0o600);
    File::open(place.path("answers")).unwrap()
}

/// What came of the acts.
pub(crate) fn run(place: &Place, answers: &[impl AsRef<[u8]>], acts: &[&str]) -> Login {
    let login = place.run(application(place, answers, acts));
    assert!(!login.said.iter().any(|line| line.starts_with("wrong")), "{:?}", login.said);
    login
}

/// The same; an application that does not finish in time is killed, and prints nothing more.
pub(crate) fn run_within(
    place: &Place,
    answers: &[impl AsRef<[u8]>],
    acts: &[&str],
    time: Duration,
) -> Login {
    let plain = application(place, answers, acts);
    let mut timed = Command::new("timeout");
    timed
        .arg("--signal=KILL")
        .arg(time.as_secs().to_string())
        .arg(plain.get_program())
        .args(plain.get_args());
    timed.stdin(answers_of(place, answers));
    place.run(timed)
}

/// The codes of one kind of call, in order.
pub(crate) fn codes(login: &Login, call: &str) -> Vec<Code> {
    codes_of(&login.said, call)
}

/// The same, for the output.
pub(crate) fn codes_of(said: &[String], call: &str) -> Vec<Code> {
    said.iter()
        .filter_map(|line| line.strip_prefix(call)?.strip_prefix(' ')?.parse().ok())
        .map(Code)
        .collect()
}
