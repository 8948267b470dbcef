//! Who is asked, as `[policy]` says, on auth and account lines of the real libpam.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use tests::place::{Login, Place};
use tests::soft_app::{SoftApp, now};
use tests::soft_yubikey::SoftYubiKey;

/// A host where alice has a YubiKey, with this policy. Beside our module one that says yes decides.
fn place(policy: &str) -> (Place, SoftYubiKey) {
    let (place, key) = (Place::new(), SoftYubiKey::numbered(70));
    place.enrol("alice", &key);
    set(&place, policy);
    place.service("otp", "auth required pam_yubiotp.so\nauth required pam_permit.so\naccount required pam_yubiotp.so\naccount required pam_permit.so\n");
    place.service("alone", "auth required pam_yubiotp.so\naccount required pam_yubiotp.so\n");
    place.service("sudo", "auth required pam_yubiotp.so\nauth required pam_permit.so\naccount required pam_yubiotp.so\naccount required pam_permit.so\n");
    (place, key)
}

fn set(place: &Place, policy: &str) {
    let config = std::fs::read_to_string(place.config()).unwrap();
    let (before, _) = config.split_once("\n[groups]\n").unwrap_or((&config, ""));
    place.write(
        "config.toml",
        format!("{before}\n[groups]\nrobots = {{ file = \"robots\" }}\n{policy}\n"),
        0o644,
    );
    place.write("robots", "# automation\nr2\n", 0o644);
}

/// One login from `rhost`, or without one; `calls` as sshd makes them after a password or after a key.
fn from(
    place: &Place,
    rhost: Option<&str>,
    (service, user): (&str, &str),
    calls: &str,
    answers: &[&str],
) -> Login {
    let mut drive: Command = place.drive(service, user);
    if let Some(rhost) = rhost {
        drive.args(["--rhost", rhost]);
    }
    drive.args(["--calls", calls, "--"]).args(answers);
    place.run(drive)
}

const BOTH: &str = "authenticate,acct_mgmt";

fn code_of(login: &Login) -> String {
    let line = login.decisions().last().map_or_else(String::new, |line| (*line).to_owned());
    line.split(" code=").nth(1).unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
}

/// `exempt` is one setting for both stacks: also for a login by ssh key, in which no auth line runs.
#[test]
fn exempt_on_auth_and_account_lines() {
    let (place, mut key) = place("[policy]\nexempt = [\"@robots\"]\n");
    for calls in [BOTH, "acct_mgmt"] {
        let robot = from(&place, None, ("otp", "r2"), calls, &[]);
        assert_eq!(robot.code("acct_mgmt"), "PAM_SUCCESS", "{calls}: {:?}", robot.log);
        assert_eq!(robot.prompts().count(), 0);
        assert!(
            robot
                .log
                .iter()
                .any(|line| line.text.contains("code=user-exempt reason=\"[policy] exempt, item 1:"))
        );
    }
    let alice = from(&place, None, ("otp", "alice"), "acct_mgmt", &[]);
    assert_eq!(alice.code("acct_mgmt"), "PAM_AUTH_ERR");
    let alice = from(&place, None, ("otp", "alice"), BOTH, &[&key.press()]);
    assert_eq!((alice.code("authenticate"), alice.code("acct_mgmt")), ("PAM_SUCCESS", "PAM_SUCCESS"));
}

/// Where nothing else says yes, PAM_IGNORE lets nobody in.
#[test]
fn on_exempt_where_nothing_else_says_yes() {
    for (on_exempt, code) in [("ignore", "PAM_PERM_DENIED"), ("success", "PAM_SUCCESS")] {
        let (place, _) = place(&format!("[policy]\nexempt = [\"@robots\"]\non_exempt = \"{on_exempt}\"\n"));
        let robot = from(&place, None, ("alone", "r2"), BOTH, &[]);
        assert_eq!((robot.code("authenticate"), robot.code("acct_mgmt")), (code, code), "{on_exempt}");
        let key = from(&place, None, ("alone", "r2"), "acct_mgmt", &[]);
        assert_eq!(key.code("acct_mgmt"), code, "{on_exempt}");
        let stranger = from(&place, None, ("alone", "eve"), BOTH, &["x"]);
        assert_eq!(stranger.code("authenticate"), "PAM_USER_UNKNOWN");
    }
}

/// A line of the file counts from the next login on, and a file that is gone refuses everybody.
#[test]
fn groups_from_a_file() {
    let (place, mut key) = place("[policy]\nexempt = [\"@robots\"]\n");
    let bb8 = || from(&place, None, ("otp", "bb8"), BOTH, &["x"]).code("authenticate").to_owned();
    assert_eq!(bb8(), "PAM_USER_UNKNOWN");
    place.write("robots", "r2\nbb8 # new\n", 0o644);
    assert_eq!(bb8(), "PAM_SUCCESS");
    for (mode, code) in [(0o664, "file-writable-by-others"), (0o644, "file-missing")] {
        place.write("robots", "r2\n", mode);
        if code == "file-missing" {
            std::fs::remove_file(place.path("robots")).unwrap();
        }
        for (user, answer) in [("r2", "x".to_owned()), ("alice", key.press())] {
            let refused = from(&place, None, ("otp", user), BOTH, &[&answer]);
            assert_eq!(refused.code("authenticate"), "PAM_AUTHINFO_UNAVAIL", "{user}");
            assert_eq!(code_of(&refused), code, "{user}");
            assert_ne!(refused.code("acct_mgmt"), "PAM_SUCCESS");
        }
    }
}

#[test]
fn where_a_login_is_from() {
    let (place, _) = place("[policy]\nexempt = [{ from = [\"10.20.0.0/16\", \"local\"] }]\n");
    for (rhost, is_exempt) in [
        (Some("10.20.30.40"), true),
        (Some("::ffff:10.20.30.40"), true),
        (Some("10.21.30.40"), false),
        (Some("2001:db8::1"), false),
        // As sshd with UseDNS, sudo and web front ends have it.
        (Some("host.example.org"), false),
        (Some("localhost"), false),
        (Some("10.20.30.40:22"), false),
        (Some(""), true),
        (None, true),
    ] {
        let login = from(&place, rhost, ("otp", "bob"), BOTH, &["x"]);
        let code = if is_exempt { "PAM_SUCCESS" } else { "PAM_USER_UNKNOWN" };
        assert_eq!(login.code("authenticate"), code, "{rhost:?}: {:?}", login.log);
        assert_eq!(login.prompts().count(), usize::from(!is_exempt), "{rhost:?}");
        assert_eq!(login.code("acct_mgmt") == "PAM_SUCCESS", is_exempt, "{rhost:?}");
    }
}

/// `@SECONDS` of another time.
fn at(off: i64) -> String {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().saturating_add_signed(off);
    let date = Command::new("date").args(["-u", "-d", &format!("@{unix}"), "+%FT%TZ"]).output().unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

/// A roll-out begins and ends by itself.
#[test]
fn a_roll_out_by_date() {
    let (place, mut key) = place("");
    for (begin, end, code) in
        [(60, 120, "user-not-required"), (-1, 60, "user-may-postpone"), (-60, -1, "user-not-listed")]
    {
        set(&place, &format!("[policy]\nnot_before = {}\nuntil = {}\n", at(begin), at(end)));
        let bob = from(&place, None, ("otp", "bob"), BOTH, &["x"]);
        assert_eq!(code_of(&bob), code, "{begin} {end}");
        let is_in = bob.code("authenticate") == "PAM_SUCCESS" && bob.code("acct_mgmt") == "PAM_SUCCESS";
        assert_eq!(is_in, code != "user-not-listed", "{begin} {end}");
        // Who has a token is asked all the time.
        let without = from(&place, None, ("otp", "alice"), BOTH, &["x"]);
        assert_eq!((without.code("authenticate"), without.prompts().count()), ("PAM_AUTH_ERR", 1));
        assert_eq!(
            from(&place, None, ("otp", "alice"), BOTH, &[&key.press()]).code("authenticate"),
            "PAM_SUCCESS"
        );
    }
}

/// Who is not listed: what `ykmap` says of a login, by the rules of its service.
#[test]
fn verify_and_test_say_who_passes() {
    let (place, _) =
        place("[policy]\nrequire = [\"carol\"]\nexempt = [\"@robots\"]\n[service.otp]\nrequire = \"all\"\n");
    let service = ["--service", "otp", "--pam-dir", place.confdir().to_str().unwrap()];
    for (user, of, code) in [
        ("bob", &[][..], "user-not-required"),
        ("carol", &[], "user-not-listed"),
        ("r2", &[], "user-exempt"),
        ("bob", &service[..], "user-not-listed"),
        ("r2", &service, "user-exempt"),
    ] {
        for verb in ["verify", "test"] {
            let said = place.ykmap(&[&[verb][..], of, &[user, "123456"]].concat());
            let text = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(text.contains(&format!("[{code}]")), "{verb} {user} {of:?}: {said:?}");
            assert_eq!(
                (said.status.code(), text.starts_with("excused: ")),
                (Some(1), code != "user-not-listed")
            );
        }
    }
}

#[test]
fn a_service_has_its_own_rules() {
    let (place, mut key) = place("[service.sudo]\nrequire = \"enrolled\"\n");
    for (service, code) in [("sudo", "PAM_SUCCESS"), ("otp", "PAM_USER_UNKNOWN")] {
        assert_eq!(
            from(&place, None, (service, "bob"), BOTH, &["x"]).code("authenticate"),
            code,
            "{service}"
        );
    }
    assert_eq!(from(&place, None, ("sudo", "alice"), BOTH, &["x"]).code("authenticate"), "PAM_AUTH_ERR");
    assert_eq!(
        from(&place, None, ("sudo", "alice"), BOTH, &[&key.press()]).code("authenticate"),
        "PAM_SUCCESS"
    );
}

/// What does not count is not used up, and costs no try.
#[test]
fn methods() {
    let (place, mut key) = place("");
    place.widen_window();
    let app = SoftApp::numbered(70);
    place.enrol_app("alice", &app);
    let recovery = place.enrol_recovery("alice");
    let answers = [("yubikey", key.press()), ("totp", app.code(now())), ("recovery", recovery[0].clone())];
    let base = std::fs::read_to_string(place.config()).unwrap();
    let login = |answer: &str| from(&place, None, ("otp", "alice"), BOTH, &[answer]);
    for (name, answer) in &answers {
        let others: Vec<_> = answers.iter().map(|(other, _)| *other).filter(|other| other != name).collect();
        let policy = format!(
            "[policy]\nmethods = [\"hotp\"]\nmethods_for = [{{ who = [\"alice\"], methods = {others:?} }}]\n"
        );
        place.write("config.toml", format!("{base}\n{policy}"), 0o644);
        for _ in 0..11 {
            let refused = login(answer);
            assert_eq!(
                (refused.code("authenticate"), code_of(&refused).as_str()),
                ("PAM_AUTH_ERR", "method-not-allowed"),
                "{name}"
            );
        }
        let verified = place.ykmap(&["verify", "alice", answer]);
        assert!(String::from_utf8_lossy(&verified.stdout).contains("[method-not-allowed]"), "{verified:?}");
        let tested = place.ykmap(&["test", "alice", answer]);
        assert!(String::from_utf8_lossy(&tested.stdout).contains("[method-not-allowed]"), "{tested:?}");
    }
    place.write("config.toml", &base, 0o644);
    for (name, answer) in &answers {
        assert_eq!(login(answer).code("authenticate"), "PAM_SUCCESS", "{name}");
    }
}

/// An error in the policy refuses everybody, the exempt among them, and names the line.
#[test]
fn an_error_refuses_everybody() {
    let (place, mut key) = place("[policy]\nexempt = [\"r2\", \"@operators\"]\n");
    for (user, answer) in [("alice", key.press()), ("r2", "x".to_owned())] {
        let refused = from(&place, None, ("otp", user), BOTH, &[&answer]);
        assert_eq!(refused.code("authenticate"), "PAM_AUTHINFO_UNAVAIL", "{user}");
        let line = refused.decisions().join("");
        assert!(line.contains("code=setting-invalid") && line.contains("config.toml:"), "{line}");
        assert!(line.contains("no group operators"), "{line}");
    }
    let account = from(&place, None, ("otp", "r2"), "acct_mgmt", &[]);
    assert_eq!(account.code("acct_mgmt"), "PAM_AUTHINFO_UNAVAIL");
}
