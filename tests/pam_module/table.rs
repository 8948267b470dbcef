//! The outcome table of docs/reference/module.md, row by row.

use std::process::Stdio;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

/// One world: the change of the host, the user, the arguments and the answer.
struct Row {
    what: &'static str,
    world: fn(&Place),
    user: &'static str,
    arguments: &'static str,
    answers: fn(&mut SoftYubiKey) -> Vec<String>,
    code: &'static str,
    account: &'static str,
    line: &'static str,
}

fn press(key: &mut SoftYubiKey) -> Vec<String> {
    vec![key.press()]
}

fn nothing(_: &mut SoftYubiKey) -> Vec<String> {
    vec![]
}

const FINE: fn(&Place) = |_| {};

const ROWS: &[Row] = &[
    Row {
        what: "accepted",
        world: FINE,
        user: "alice",
        arguments: "",
        answers: press,
        code: "PAM_SUCCESS",
        account: "PAM_SUCCESS",
        line: "accepted user=alice token=",
    },
    Row {
        what: "rejected",
        world: FINE,
        user: "alice",
        arguments: "",
        answers: |_| vec!["guess".into()],
        code: "PAM_AUTH_ERR",
        account: "PAM_AUTH_ERR",
        line: "refused user=alice token=none",
    },
    Row {
        what: "a stranger's token",
        world: FINE,
        user: "alice",
        arguments: "",
        answers: |_| vec![SoftYubiKey::numbered(99).press()],
        code: "PAM_AUTH_ERR",
        account: "PAM_AUTH_ERR",
        line: "code=other-users-token ",
    },
    Row {
        what: "tries used up",
        world: FINE,
        user: "alice",
        arguments: "tries=2",
        answers: |_| vec!["x".into(), "y".into()],
        code: "PAM_MAXTRIES",
        account: "PAM_AUTH_ERR",
        line: "no tries left",
    },
    Row {
        what: "accepted at the second try",
        world: FINE,
        user: "alice",
        arguments: "tries=2",
        answers: |key| vec!["x".into(), key.press()],
        code: "PAM_SUCCESS",
        account: "PAM_SUCCESS",
        line: "accepted user=alice",
    },
    Row {
        what: "not listed",
        world: FINE,
        user: "bob",
        arguments: "",
        answers: press,
        code: "PAM_USER_UNKNOWN",
        account: "PAM_AUTH_ERR",
        line: "refused user=bob",
    },
    Row {
        what: "not listed, nullok",
        world: FINE,
        user: "bob",
        arguments: "nullok",
        answers: nothing,
        code: "PAM_IGNORE",
        account: "PAM_AUTH_ERR",
        line: "excused user=bob",
    },
    Row {
        what: "listed without token, nullok",
        world: |place| place.write("authorized_yubikeys", "bob:\n", 0o644),
        user: "bob",
        arguments: "nullok",
        answers: press,
        code: "PAM_AUTH_ERR",
        account: "PAM_AUTH_ERR",
        line: "code=user-without-token ",
    },
    Row {
        what: "nothing stacked",
        world: FINE,
        user: "alice",
        arguments: "use_first_pass",
        answers: nothing,
        code: "PAM_AUTH_ERR",
        account: "PAM_AUTH_ERR",
        line: "use_first_pass",
    },
    Row {
        what: "conversation failed",
        world: FINE,
        user: "alice",
        arguments: "",
        answers: nothing,
        code: "PAM_CONV_ERR",
        account: "PAM_AUTH_ERR",
        line: "abandoned user=alice",
    },
    Row {
        what: "unknown argument",
        world: FINE,
        user: "alice",
        arguments: "nullock",
        answers: press,
        code: "PAM_SERVICE_ERR",
        account: "PAM_AUTH_ERR",
        line: "code=argument-unknown ",
    },
    Row {
        what: "malformed argument",
        world: FINE,
        user: "alice",
        arguments: "tries=many",
        answers: press,
        code: "PAM_SERVICE_ERR",
        account: "PAM_AUTH_ERR",
        line: "code=argument-invalid ",
    },
    Row {
        what: "unknown setting",
        world: |place| place.write("config.toml", "nullok = true\n", 0o644),
        user: "alice",
        arguments: "nullok",
        answers: press,
        code: "PAM_AUTHINFO_UNAVAIL",
        account: "PAM_AUTH_ERR",
        line: "code=setting-unknown reason=\"",
    },
    Row {
        what: "settings writable by others",
        world: |place| place.write("config.toml", "", 0o666),
        user: "alice",
        arguments: "nullok",
        answers: press,
        code: "PAM_AUTHINFO_UNAVAIL",
        account: "PAM_AUTH_ERR",
        line: "code=file-writable-by-others ",
    },
    Row {
        what: "mapping missing",
        world: |place| std::fs::remove_file(place.path("authorized_yubikeys")).unwrap(),
        user: "bob",
        arguments: "nullok",
        answers: press,
        code: "PAM_AUTHINFO_UNAVAIL",
        account: "PAM_AUTH_ERR",
        line: "code=mapping-missing ",
    },
    Row {
        what: "mapping writable by others",
        world: |place| place.write("authorized_yubikeys", "alice:vvcb\n", 0o664),
        user: "bob",
        arguments: "nullok",
        answers: press,
        code: "PAM_AUTHINFO_UNAVAIL",
        account: "PAM_AUTH_ERR",
        line: "code=file-writable-by-others ",
    },
    Row {
        what: "a line that may be bob's",
        world: |place| place.write("authorized_yubikeys", "alice:vvcb\nbob;vvcb\n", 0o644),
        user: "bob",
        arguments: "nullok",
        answers: press,
        code: "PAM_AUTHINFO_UNAVAIL",
        account: "PAM_AUTH_ERR",
        line: "code=mapping-line-invalid ",
    },
    Row {
        what: "store key missing",
        world: |place| std::fs::remove_file(place.path("store.key")).unwrap(),
        user: "alice",
        arguments: "nullok",
        answers: press,
        code: "PAM_AUTHINFO_UNAVAIL",
        account: "PAM_AUTH_ERR",
        line: "code=store-key-missing ",
    },
    Row {
        what: "store key readable by others",
        world: |place| chmod(place, "store.key", 0o640),
        user: "alice",
        arguments: "",
        answers: press,
        code: "PAM_AUTHINFO_UNAVAIL",
        account: "PAM_AUTH_ERR",
        line: "code=file-readable-by-others ",
    },
    Row {
        what: "key missing",
        world: |place| empty(place, "keys"),
        user: "alice",
        arguments: "nullok",
        answers: press,
        code: "PAM_AUTHINFO_UNAVAIL",
        account: "PAM_AUTH_ERR",
        line: "code=key-missing ",
    },
    Row {
        what: "position missing",
        world: |place| empty(place, "positions"),
        user: "alice",
        arguments: "nullok",
        answers: press,
        code: "PAM_AUTHINFO_UNAVAIL",
        account: "PAM_AUTH_ERR",
        line: "code=position-missing ",
    },
    Row {
        what: "store missing",
        world: |place| std::fs::remove_dir_all(place.path("positions")).unwrap(),
        user: "alice",
        arguments: "nullok",
        answers: press,
        code: "PAM_AUTHINFO_UNAVAIL",
        account: "PAM_AUTH_ERR",
        line: "code=positions-missing ",
    },
    Row {
        what: "another store",
        world: FINE,
        user: "alice",
        arguments: "store=/nonexistent",
        answers: press,
        code: "PAM_AUTHINFO_UNAVAIL",
        account: "PAM_AUTH_ERR",
        line: "code=",
    },
];

/// What pam_setcred says after an authenticate that gave this code: libpam counts our PAM_SUCCESS only where the module
/// had counted for a yes before.
fn setcred(code: &str) -> &str {
    if code == "PAM_SUCCESS" { "PAM_SUCCESS" } else { "PAM_PERM_DENIED" }
}

fn chmod(place: &Place, name: &str, mode: u32) {
    let contents = std::fs::read(place.path(name)).unwrap();
    place.write(name, contents, mode);
}

fn empty(place: &Place, folder: &str) {
    for entry in std::fs::read_dir(place.path(folder)).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

#[test]
fn every_row() {
    for row in ROWS {
        let place = Place::new();
        let mut key = SoftYubiKey::numbered(1);
        place.enrol("alice", &key);
        (row.world)(&place);
        place.arguments(row.arguments);
        let login = place.login("otp", row.user, &(row.answers)(&mut key));
        // libpam itself makes PAM_PERM_DENIED of a stack in which every module said PAM_IGNORE, and of
        // PAM_SERVICE_ERR and its like what the module said.
        let code = if row.code == "PAM_IGNORE" { "PAM_PERM_DENIED" } else { row.code };
        let account = if row.account == "PAM_IGNORE" { "PAM_PERM_DENIED" } else { row.account };
        assert_eq!(login.code("authenticate"), code, "{}: {:?}", row.what, login.log);
        assert_eq!(login.code("acct_mgmt"), account, "{}", row.what);
        assert_eq!(login.code("setcred"), setcred(row.code), "{}", row.what);
        let decisions = login.decisions();
        assert!(decisions.last().is_some_and(|last| last.contains(row.line)), "{}: {decisions:?}", row.what);
        let tries = if row.what.contains("try") || row.what.contains("tries") { 2 } else { 1 };
        assert_eq!(decisions.len(), tries, "{}: one line a decision: {decisions:?}", row.what);
    }
}

#[test]
fn an_otp_opens_once_and_the_next_press_again() {
    let place = Place::new();
    let mut key = SoftYubiKey::numbered(2);
    place.enrol("alice", &key);
    let login = |otp: &str| place.login("otp", "alice", &[otp]).code("authenticate").to_owned();
    let [first, second, third] = [key.press(), key.press(), key.press()];
    assert_eq!(login(&second), "PAM_SUCCESS");
    assert_eq!(login(&second), "PAM_AUTH_ERR", "the same again");
    assert_eq!(login(&first), "PAM_AUTH_ERR", "an older one");
    assert_eq!(login(&third), "PAM_SUCCESS");
    key.replug();
    assert_eq!(login(&key.press()), "PAM_SUCCESS", "after plugging in again");
    assert_eq!(login(&third), "PAM_AUTH_ERR");
}

#[test]
fn tokens_are_shared_and_several_as_the_mapping_says() {
    let place = Place::new();
    let [mut one, mut two] = [SoftYubiKey::numbered(3), SoftYubiKey::numbered(4)];
    place.enrol("alice", &one);
    place.enrol("alice", &two);
    place.enrol("bob", &one);
    let login = |user: &str, otp: &str| place.login("otp", user, &[otp]).code("authenticate").to_owned();
    assert_eq!(login("alice", &one.press()), "PAM_SUCCESS");
    assert_eq!(login("alice", &two.press()), "PAM_SUCCESS");
    assert_eq!(login("bob", &two.press()), "PAM_AUTH_ERR", "not bob's");
    let shared = one.press();
    assert_eq!(login("bob", &shared), "PAM_SUCCESS");
    assert_eq!(login("alice", &shared), "PAM_AUTH_ERR", "used up by bob");
}

#[test]
fn a_disabled_token_has_a_reason_of_its_own() {
    let place = Place::new();
    let mut key = SoftYubiKey::numbered(5);
    place.enrol("alice", &key);
    assert!(place.ykmap(&["key", "disable", &key.public_id()]).status.success());
    let otp = key.press();
    let login = place.login("otp", "alice", &[&otp]);
    assert_eq!(login.code("authenticate"), "PAM_AUTH_ERR");
    assert!(login.decisions()[0].contains("code=token-disabled "), "{:?}", login.log);
    assert!(place.ykmap(&["key", "enable", &key.public_id()]).status.success());
    assert_eq!(place.login("otp", "alice", &[&otp]).code("authenticate"), "PAM_SUCCESS");
}

#[test]
fn one_file_a_user() {
    let place = Place::new();
    let mut key = SoftYubiKey::numbered(6);
    place.enrol("alice", &key);
    std::fs::create_dir(place.path("users")).unwrap();
    let mapping = std::fs::read(place.path("authorized_yubikeys")).unwrap();
    place.write("users/alice", mapping, 0o644);
    place.arguments(&format!("mapping={}", place.path("users/%u").display()));
    let mut login = |user: &str| place.login("otp", user, &[key.press()]).code("authenticate").to_owned();
    assert_eq!(login("alice"), "PAM_SUCCESS");
    assert_eq!(login("bob"), "PAM_USER_UNKNOWN", "no file of his own");
    assert_eq!(login("../authorized_yubikeys"), "PAM_AUTHINFO_UNAVAIL", "a name that is a path");
}

/// Many applications at the same time, each a process of its own, with one OTP.
#[test]
fn of_many_logins_with_one_otp_one_is_accepted() {
    let place = Place::new();
    let mut key = SoftYubiKey::numbered(7);
    place.enrol("alice", &key);
    for round in 0..5 {
        let otp = key.press();
        let logins: Vec<_> = (0..16)
            .map(|_| {
                let mut drive = place.drive("otp", "alice");
                drive.args(["--", &otp]).stdout(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let outputs = logins.into_iter().map(|login| login.wait_with_output().unwrap());
        let accepted =
            outputs.filter(|output| String::from_utf8_lossy(&output.stdout).contains("PAM_SUCCESS"));
        assert_eq!(accepted.count(), 1, "round {round}");
    }
}
