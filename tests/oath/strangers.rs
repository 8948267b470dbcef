//! What somebody without a token sees, and can do.

use crate::racers::reason;
use std::collections::BTreeSet;
use std::fs;
use tests::bucket;
use tests::place::Place;
use tests::soft_app::{self, SoftApp};
use tests::soft_yubikey::SoftYubiKey;

/// A host whose users have one factor each: alice an app, bob a YubiKey, carol recovery codes, dave all of them.
fn host() -> (Place, SoftApp) {
    let (place, app, key) = (Place::new(), SoftApp::numbered(640), SoftYubiKey::numbered(640));
    place.enrol("bob", &key);
    place.list("dave", &SoftYubiKey::numbered(641));
    let _ = place.enrol_codes(&[("alice", &app), ("dave", &SoftApp::numbered(641))], &["carol", "dave"]);
    (place, app)
}

/// What a login says, the user's name apart, and why it was refused.
fn refused(place: &Place, user: &str, answer: &str) -> (Vec<String>, String) {
    let login = place.login("otp", user, &[answer]);
    let said = login.said.iter().map(|line| line.replace(user, "USER")).collect();
    (said, reason(&login.decisions().concat()).unwrap())
}

/// Whatever factor a user has, whatever is wrong, and whether any try is left: the same prompt, the same answer.
#[test]
fn all_refusals_look_the_same() {
    let (place, app) = host();
    let step = soft_app::now();
    let mut wrong = app.wrong(step, 10, 9).into_iter();
    let mut wrong = || wrong.next().unwrap();
    let genuine = |number| SoftYubiKey::numbered(number).press();
    let (mut seen, mut reasons) = (BTreeSet::new(), BTreeSet::new());
    let mut look = |user: &str, answer: &str| {
        let (said, reason) = refused(&place, user, answer);
        seen.insert(said);
        reasons.insert(reason);
    };
    for user in ["alice", "bob", "carol", "dave"] {
        look(user, &wrong());
        look(user, "1-0000-0000-00");
        look(user, &genuine(642));
        look(user, "hunter2");
    }
    bucket::leave(&bucket::of(&place, "alice"), 0);
    look("alice", &wrong());
    look("alice", &app.code(step)); // right, and not enough
    look("alice", &format!("{} {}", wrong(), wrong()));
    assert_eq!(seen.len(), 1, "{seen:#?}");
    for reason in ["code-wrong", "recovery-code-wrong", "two-codes-needed"] {
        assert!(reasons.contains(reason), "no {reason}: {reasons:?}");
    }
}

/// Only those who have an app have a file of guesses, whoever asks under whatever name.
#[test]
fn invented_names_leave_nothing_behind() {
    let (place, app) = host();
    let names = || {
        let names = fs::read_dir(place.path("guesses")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name != ".yubiotp.lock").collect::<BTreeSet<_>>()
    };
    let before = names();
    assert_eq!(before, ["alice", "dave"].map(Into::into).into());
    let files = || walk(&place.host());
    let all = files();
    for user in ["zoe", "ALICE", "../positions/x", "..", "a/b", "al%69ce", &"x".repeat(300), "bob"] {
        for code in app.wrong(soft_app::now(), 10, 3) {
            let login = place.login("otp", user, &[&code]);
            assert_ne!(login.code("authenticate"), "PAM_SUCCESS", "{user}");
        }
    }
    assert_eq!((names(), files()), (before, all));
}

fn walk(folder: &std::path::Path) -> BTreeSet<std::path::PathBuf> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(walk(&path));
        }
        all.insert(path);
    }
    all
}
