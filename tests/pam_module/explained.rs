//! `ykmap explain` and the module agree: for users, services, networks and dates of a policy, the code that libpam gets,
//! the code in the log, and the account line.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use tests::built;
use tests::place::{Login, Place};
use tests::soft_app::{PERIOD, SoftApp};
use tests::soft_yubikey::SoftYubiKey;
use tests::syslog::Capture;

const POLICY: &str = r#"
[groups]
operators = ["alice", "bob"]
robots = { file = "robots" }

[policy]
require = ["@operators", "carol", "dave", "@robots"]
not_before = 2031-01-15
until = 2031-03-01
exempt = [
  "backup",
  "@robots",
  { who = ["@operators"], from = ["10.20.0.0/16", "local"], until = 2031-02-01 },
]
methods_for = [{ who = ["@operators"], methods = ["yubikey", "recovery"] }]

[service.sudo]
require = "enrolled"
exempt = []

[service.sshd]
on_exempt = "success"
methods = ["yubikey"]

[service.kiosk]
require = "all"
until = 2031-02-05
exempt = [{ from = ["2001:db8::/32"] }]
"#;

/// Services with their argument of the module. Nothing proves a first factor at the desk, so nothing is offered there.
const SERVICES: [(&str, &str); 6] =
    [("login", ""), ("sudo", ""), ("sshd", ""), ("kiosk", ""), ("vpn", "nullok"), ("desk", "enroll")];

/// In a group with a YubiKey, and without a token; named, with an app; named, and listed without a token; in a group from a
/// file; exempt by name, with a YubiKey; nobody's name, and another spelling of one; and a name that is not plain.
const USERS: [&str; 9] = ["alice", "bob", "carol", "dave", "robot1", "backup", "zoe", "BOB", "zo\u{eb}"];

const HOSTS: [Option<&str>; 5] =
    [None, Some("::ffff:10.20.1.1"), Some("192.0.2.1"), Some("2001:db8::1"), Some("10.20.1.1.example.org")];

/// Before the roll-out, in it, in it after the exemption, after that of the kiosk, and after it: seconds since 1970 of
/// 2031-01-10, -01-20, -02-02, -02-10 and -03-10.
const TIMES: [u64; 5] = [1_925_769_600, 1_926_633_600, 1_927_756_800, 1_928_448_000, 1_930_867_200];

/// The answers of a user at some time.
struct World {
    place: Place,
    capture: Capture,
    keys: [SoftYubiKey; 2],
    app: SoftApp,
}

impl World {
    fn new() -> Self {
        let place = Place::in_memory();
        let keys = [SoftYubiKey::numbered(1), SoftYubiKey::numbered(2)];
        place.enrol("alice", &keys[0]);
        place.enrol("backup", &keys[1]);
        let app = SoftApp::numbered(3);
        place.enrol_app("carol", &app);
        let mapping = fs::read_to_string(place.path("authorized_yubikeys")).unwrap();
        place.write("authorized_yubikeys", mapping + "dave:\n", 0o644);
        place.write("robots", "# accounts of programs\nrobot1\n", 0o644);
        let config = fs::read_to_string(place.config()).unwrap();
        place.write("config.toml", config + POLICY, 0o600);
        for (service, argument) in SERVICES {
            let line = |kind| format!("{kind} required pam_yubiotp.so {argument}\n");
            place.service(service, &(line("auth") + &line("account")));
        }
        let capture = Capture::new(&place.host());
        Self { place, capture, keys, app }
    }

    /// A right answer of the user, if they have a token.
    fn answer(&mut self, user: &str, unix: u64) -> String {
        match user {
            "carol" => self.app.code(unix / PERIOD),
            "backup" => self.keys[1].press(),
            _ => self.keys[0].press(),
        }
    }

    /// A login at that time.
    fn login(&mut self, user: &str, service: &str, rhost: Option<&str>, unix: u64) -> Login {
        let answer = self.answer(user, unix);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let ahead = i64::try_from(unix).unwrap() - i64::try_from(now).unwrap();
        self.place.write("clock", ahead.to_ne_bytes(), 0o644);
        fs::write(self.place.path("syslog"), "").unwrap();
        let mut drive = self.place.drive(service, user);
        if let Some(rhost) = rhost {
            drive.args(["--rhost", rhost]);
        }
        drive.args(["--calls", "authenticate,acct_mgmt", "--", &answer]).envs(self.capture.envs());
        let shims = ["syslog_shim", "clock_shim"].map(built::preloaded);
        drive.env("LD_PRELOAD", format!("{} {}", shims[0].display(), shims[1].display()));
        drive.env("YUBIOTP_TEST_CLOCK", self.place.path("clock"));
        let output = drive.output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        Login { said: said.lines().map(str::to_owned).collect(), log: self.capture.lines() }
    }

    /// What `ykmap explain` says of the logins of all users, and its exit status.
    fn explain(
        &self,
        service: &str,
        rhost: Option<&str>,
        unix: u64,
    ) -> (Vec<serde_json::Value>, Option<i32>) {
        let mut explain = Command::new(built::program("ykmap"));
        explain.arg("--config").arg(self.place.config()).args(["--json", "explain"]).args(USERS);
        explain.args(["--service", service, "--at", &ykcli::time::utc(unix)]);
        explain.arg("--pam-dir").arg(self.place.confdir());
        explain.args(["--rhost", rhost.unwrap_or_default()]);
        let output = explain.output().unwrap();
        (serde_json::from_slice(&output.stdout).unwrap(), output.status.code())
    }
}

/// Compares logins of all users by all services at about this time, from two hosts: the next ones at each time, so that each
/// service is compared from each host. The codes in the log.
fn compare((at, time): (usize, u64)) -> BTreeSet<String> {
    let mut world = World::new();
    let (mut codes, mut unix) = (BTreeSet::new(), time);
    for (number, (service, _)) in SERVICES.into_iter().enumerate() {
        for rhost in HOSTS.into_iter().cycle().skip(at + number).step_by(2).take(2) {
            let (all, status) = world.explain(service, rhost, unix);
            let mut worst = 0;
            for (user, explained) in USERS.into_iter().zip(&all) {
                // Each at a minute of its own: a code is accepted once.
                unix += 60;
                let login = world.login(user, service, rhost, unix);
                let what = format!("{user} by {service} from {rhost:?} at {unix}: {explained:#} {login:?}");
                codes.insert(agree(explained, &login, &what));
                worst = worst.max(match explained["login"].as_str() {
                    Some("rejected") => 1,
                    Some("fault") => 2,
                    _ => 0,
                });
            }
            assert_eq!((all.len(), status), (USERS.len(), Some(worst)), "{service} {rhost:?} {unix}");
        }
    }
    codes
}

#[test]
fn explain_and_the_module_agree() {
    let codes: BTreeSet<_> = std::thread::scope(|scope| {
        let times = TIMES.into_iter().enumerate();
        let all: Vec<_> = times.map(|time| scope.spawn(move || compare(time))).collect();
        all.into_iter().flat_map(|codes| codes.join().unwrap()).collect()
    });
    let expected = [
        "accepted",
        "mapping-name-not-plain",
        "method-not-allowed",
        "policy-other-spelling",
        "user-excused",
        "user-exempt",
        "user-may-postpone",
        "user-not-listed",
        "user-not-required",
        "user-without-token",
    ];
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), expected, "every outcome is compared");
}

/// One login and its explanation. The code in the log.
fn agree(explained: &serde_json::Value, login: &Login, what: &str) -> String {
    let returns = explained["returns"].as_str().unwrap();
    // libpam makes this of a stack in which every module returns PAM_IGNORE.
    let passed = |code| if code == "PAM_IGNORE" { "PAM_PERM_DENIED" } else { code };
    assert_eq!(login.code("authenticate"), passed(returns), "{what}");
    let account = match returns {
        "PAM_SUCCESS" | "PAM_IGNORE" => passed(returns),
        // Looked at again, for nullok.
        "PAM_AUTHINFO_UNAVAIL" if explained["nullok"] == true => returns,
        _ => "PAM_AUTH_ERR",
    };
    assert_eq!(login.code("acct_mgmt"), account, "{what}");
    let decisions = login.decisions();
    let code = explained["code"].as_str().unwrap();
    let field = format!("code={code} ");
    assert!(matches!(decisions.as_slice(), [one] if one.contains(&field)), "{what}");
    let is_asked = login.prompts().next().is_some();
    let outcome = explained["login"].as_str().unwrap();
    let expected = ["asked", "rejected", "fault"].contains(&outcome);
    assert!(expected || ["exempt", "excused"].contains(&outcome), "{what}");
    assert_eq!(is_asked, expected, "{what}");
    code.to_owned()
}
