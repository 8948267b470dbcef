//! Each caller of `ykweb-check` against a real `ykwebd` with a real validation server.

use crate::callers::{BOTH, Callers, is_clean};
use serde_json::Value;
use std::thread;
use std::time::{Duration, Instant};
use tests::web::ykwebd::{PASSWORD, Site};

#[test]
fn each_caller_has_its_yes_and_its_no() {
    let site = Site::start();
    let mut key = site.yubikey(1);
    let callers = Callers::of(&site.path().join("check.sock"));

    let otp = key.press();
    let yes = callers.cosign(Some("alice"), &[&otp]);
    assert_eq!((yes.status, yes.stdout.as_str(), yes.stderr.as_str()), (0, "otp\n", ""));
    // As older versions of Cosign call it, with login and passcode of the form; the OTP is used.
    let no = callers.cosign(None, &["alice", &otp]);
    assert!(no.status == 1 && no.hides(&otp) && no.stderr.contains("verdict=rejected"), "{no:?}");
    // Its page has the reason's ID, and no line is a cookie.
    let id = no.stderr.split(" id=").nth(1).unwrap().trim();
    assert!(no.stdout.contains(id) && no.stdout.lines().count() == 1 && !no.stdout.contains('='), "{no:?}");
    assert_explained(&site, id);

    for name in BOTH {
        let otp = key.press();
        let both = format!("{PASSWORD}{otp}");
        let yes = callers.both(name, "alice", &both);
        let printed = if name == "checkpassword" { "for alice\n" } else { "" };
        assert_eq!((yes.status, yes.stdout.as_str(), yes.stderr.as_str()), (0, printed, ""), "{name}");
        // Used: by this caller, and by any other.
        let no = callers.both(name, "alice", &both);
        assert!(
            no.status == 1 && no.stdout.is_empty() && no.hides(PASSWORD) && no.hides(&otp),
            "{name}: {no:?}"
        );
        assert_eq!(callers.cosign(Some("alice"), &[&otp]).status, 1, "{name}");
    }

    let otp = key.press();
    let asked = format!(r#"{{"user":"alice","answer":"{otp}","service":"ours"}}"#);
    for (status, verdict) in [(0, "accepted"), (1, "rejected")] {
        let seen = callers.raw("json", &asked);
        let reply: Value = serde_json::from_str(&seen.stdout).unwrap();
        assert_eq!((seen.status, reply["verdict"].as_str()), (status, Some(verdict)), "{seen:?}");
    }
    // The log says who asked.
    let log = site.ykwebd.log();
    for service in ["service=cosign", "service=checkpassword", "service=ours", "peer=192.0.2.7"] {
        assert!(log.contains(service), "{service}: {log}");
    }
    assert!(!log.contains(PASSWORD) && !log.contains(&otp[12..]));
    assert!(is_clean(&callers));
}

/// The command knows why, as soon as the event is stored: that is behind the answer.
fn assert_explained(site: &Site, id: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let output = site.command(&["explain", id]).output().unwrap();
        if output.status.success() {
            return assert!(String::from_utf8(output.stdout).unwrap().contains("alice"));
        }
        assert!(Instant::now() < until, "{output:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A wrong password uses up no OTP, and a password without one is not enough.
#[test]
fn the_password_comes_first() {
    let site = Site::start();
    let mut key = site.yubikey(1);
    let callers = Callers::of(&site.path().join("check.sock"));
    let otp = key.press();
    for (user, password) in [
        ("alice", format!("wrong{otp}")),
        ("alice", otp.clone()),
        ("alice", PASSWORD.to_owned()),
        ("alice", String::new()),
        ("bob", format!("{PASSWORD}{otp}")),
        ("nobody", format!("{PASSWORD}{otp}")),
    ] {
        let seen = callers.both("pipe", user, &password);
        assert_eq!((seen.status, seen.stdout.as_str()), (1, ""), "{user} {password:?}: {seen:?}");
    }
    assert_eq!(callers.both("pwauth", "alice", &format!("{PASSWORD}{otp}")).status, 0);
}
