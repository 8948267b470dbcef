//! A host whose alice has a token, and a validation server that knows it.

use std::time::{Duration, Instant};
use tests::place::{Login, Place};
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::Server;

/// The time that a busy machine may take beyond the settings.
pub(crate) const SLACK: Duration = Duration::from_millis(2500);
/// The hedge of the settings, where they do not say.
pub(crate) const HEDGE: Duration = Duration::from_millis(300);

pub(crate) struct World {
    pub(crate) place: Place,
    pub(crate) key: SoftYubiKey,
    pub(crate) server: Server,
}

/// The host has the token's key, and asks the server.
pub(crate) fn world(number: u32) -> World {
    let (place, key) = (Place::new(), SoftYubiKey::numbered(number));
    place.enrol("alice", &key);
    let server = Server::start(&[&key]);
    place.online("online", &[server.url()], "");
    World { place, key, server }
}

impl World {
    /// One login of alice by the next OTP of her key.
    pub(crate) fn press(&mut self) -> Outcome {
        let otp = self.key.press();
        self.login(&otp)
    }

    /// One login of alice by this OTP.
    pub(crate) fn login(&self, otp: &str) -> Outcome {
        login(&self.place, otp)
    }
}

/// What one login came to, and how long it took.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) code: String,
    /// The one line of the log.
    pub(crate) line: String,
    pub(crate) took: Duration,
}

/// One login of alice.
pub(crate) fn login(place: &Place, otp: &str) -> Outcome {
    let drive = place.whole_login("otp", "alice", &[otp]); // may have to build it first
    let begun = Instant::now();
    let login = place.run(drive);
    outcome(&login, begun.elapsed())
}

/// What it came to: one line in the log, that says the same as the code.
pub(crate) fn outcome(login: &Login, took: Duration) -> Outcome {
    let decisions = login.decisions();
    let [line] = decisions[..] else { panic!("not one line: {:?}", login.log) };
    let (code, account) = (login.code("authenticate"), login.code("acct_mgmt"));
    let verdict = match code {
        "PAM_SUCCESS" => "accepted ",
        "PAM_AUTH_ERR" => "refused ",
        "PAM_AUTHINFO_UNAVAIL" => "fault ",
        other => panic!("{other}: {line}"),
    };
    assert!(line.starts_with(&format!("{verdict}user=alice token=")), "{code}: {line}");
    assert_eq!(account == "PAM_SUCCESS", code == "PAM_SUCCESS", "account: {account}");
    assert!(!line.chars().any(char::is_control), "{line:?}");
    Outcome { code: code.to_owned(), line: line.to_owned(), took }
}

impl Outcome {
    /// The reason in the line.
    pub(crate) fn reason(&self) -> &str {
        self.line.split_once("reason=").unwrap().1.trim_matches('"')
    }

    #[track_caller]
    pub(crate) fn assert(&self, code: &str, words: &[&str], what: &str) {
        assert_eq!(self.code, code, "{what}: {}", self.line);
        for word in words {
            assert!(self.line.contains(word), "{what}: {word:?} is not in {}", self.line);
        }
    }
}
