//! Other modules in the stack, and the password that is passed to them.

use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

/// Passes where PAM_AUTHTOK is `hunter2` at this point of the stack.
fn authtok_is_hunter2(place: &Place) -> String {
    let script = place.path("authtok");
    place.write("authtok", "#!/bin/sh\nread -r got\n[ \"$got\" = hunter2 ]\n", 0o700);
    format!("auth required pam_exec.so expose_authtok quiet {}\n", script.display())
}

fn place(lines: &str) -> (Place, SoftYubiKey) {
    let place = Place::new();
    let key = SoftYubiKey::numbered(20);
    place.enrol("alice", &key);
    let lines = lines.replace("HUNTER2", &authtok_is_hunter2(&place));
    place.service("stack", &lines);
    (place, key)
}

fn code(place: &Place, answers: &[String]) -> String {
    place.login("stack", "alice", answers).code("authenticate").to_owned()
}

#[test]
fn required_beside_permit_and_deny() {
    for (lines, accepted, refused) in [
        ("auth required pam_yubiotp.so\nauth required pam_permit.so\n", "PAM_SUCCESS", "PAM_AUTH_ERR"),
        ("auth required pam_permit.so\nauth required pam_yubiotp.so\n", "PAM_SUCCESS", "PAM_AUTH_ERR"),
        ("auth required pam_yubiotp.so\nauth required pam_deny.so\n", "PAM_AUTH_ERR", "PAM_AUTH_ERR"),
        ("auth requisite pam_yubiotp.so\nauth required pam_permit.so\n", "PAM_SUCCESS", "PAM_AUTH_ERR"),
        ("auth sufficient pam_yubiotp.so\nauth required pam_deny.so\n", "PAM_SUCCESS", "PAM_AUTH_ERR"),
        (
            "auth [success=1 default=ignore] pam_yubiotp.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
            "PAM_SUCCESS",
            "PAM_AUTH_ERR",
        ),
    ] {
        let (place, mut key) = place(lines);
        assert_eq!(code(&place, &[key.press()]), accepted, "{lines}");
        assert_eq!(code(&place, &["guess".into()]), refused, "{lines}");
    }
}

/// `nullok` leaves the decision to the others, and never makes one.
#[test]
fn nullok_needs_a_neighbour() {
    for (lines, expected) in [
        ("auth required pam_yubiotp.so nullok\nauth required pam_permit.so\n", "PAM_SUCCESS"),
        ("auth required pam_yubiotp.so nullok\nauth required pam_deny.so\n", "PAM_AUTH_ERR"),
        ("auth required pam_yubiotp.so nullok\n", "PAM_PERM_DENIED"),
        ("auth sufficient pam_yubiotp.so nullok\nauth required pam_deny.so\n", "PAM_AUTH_ERR"),
    ] {
        let (place, _) = place(lines);
        let login = place.login("stack", "bob", &[] as &[&str]);
        assert_eq!(login.code("authenticate"), expected, "{lines}");
        assert_eq!(login.prompts().count(), 0, "{lines}");
    }
}

#[test]
fn the_password_before_the_otp_goes_to_the_next_module() {
    let (place, mut key) = place("auth required pam_yubiotp.so\nHUNTER2");
    assert_eq!(code(&place, &[format!("hunter2{}", key.press())]), "PAM_SUCCESS");
    // What pam_exec says where its program fails.
    assert_eq!(code(&place, &[format!("hunter3{}", key.press())]), "PAM_SYSTEM_ERR");
}

/// Keyrings and encrypted homes behind the module open with the password that `pam_unix` obtained, not with a stray
/// character that was typed before the OTP. `Password: ` is answered first.
#[test]
fn a_password_that_a_module_before_us_obtained_is_not_replaced() {
    for arguments in ["", "try_first_pass", "nullok always_prompt", "tries=2"] {
        let (place, mut key) =
            place(&format!("auth optional pam_unix.so\nauth required pam_yubiotp.so {arguments}\nHUNTER2"));
        let answers = ["hunter2".to_owned(), format!("junk{}", key.press())];
        let login = place.login("stack", "alice", &answers);
        assert_eq!(login.code("authenticate"), "PAM_SUCCESS", "{arguments}: {:?}", login.log);
        // In the other order of the two: then it is the password that was typed first which the module behind reads.
        let answers = ["junk".to_owned(), format!("hunter2{}", key.press())];
        let login = place.login("stack", "alice", &answers);
        assert_eq!(login.code("authenticate"), "PAM_SYSTEM_ERR", "{arguments}: {:?}", login.log);
    }
    let (place, _) =
        place("auth optional pam_unix.so\nauth required pam_yubiotp.so nullok always_prompt\nHUNTER2");
    let login = place.login("stack", "bob", &["hunter2", "junk"]);
    assert_eq!(login.code("authenticate"), "PAM_SUCCESS", "excused: {:?}", login.log);
}

#[test]
fn one_prompt_of_the_module_before_us_serves_both() {
    // pam_unix asks, cannot check a user who does not exist, and leaves the answer.
    let (place, mut key) =
        place("auth optional pam_unix.so\nauth required pam_yubiotp.so use_first_pass\nHUNTER2");
    let login = place.login("stack", "alice", &[format!("hunter2{}", key.press())]);
    assert_eq!(login.code("authenticate"), "PAM_SUCCESS", "{:?}", login.log);
    assert_eq!(login.prompts().count(), 1);
    let login = place.login("stack", "alice", &["hunter2"]);
    assert_eq!(login.code("authenticate"), "PAM_AUTH_ERR", "no OTP, and nobody is asked again");
    assert_eq!(login.prompts().count(), 1);
}

#[test]
fn try_first_pass_asks_where_the_first_answer_held_no_otp() {
    let (place, mut key) =
        place("auth optional pam_unix.so\nauth required pam_yubiotp.so try_first_pass\nHUNTER2");
    let login = place.login("stack", "alice", &["hunter2".to_owned(), key.press()]);
    assert_eq!(login.code("authenticate"), "PAM_SUCCESS", "{:?}", login.log);
    assert_eq!(login.prompts().count(), 2);
}

#[test]
fn account_passes_who_was_accepted_here_and_nobody_else() {
    let (place, mut key) = place("auth required pam_yubiotp.so\naccount required pam_yubiotp.so\n");
    let both = place.login("stack", "alice", &[key.press()]);
    assert_eq!((both.code("authenticate"), both.code("acct_mgmt")), ("PAM_SUCCESS", "PAM_SUCCESS"));
    let mut alone = place.drive("stack", "alice");
    let output = alone.args(["--calls", "acct_mgmt"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "acct_mgmt PAM_AUTH_ERR\n");
}

/// As sshd does after a key: no auth line was asked.
#[test]
fn account_with_nullok_excuses_who_is_not_listed() {
    let (place, _) = place("account required pam_yubiotp.so nullok\naccount required pam_permit.so\n");
    for (user, code) in [("bob", "PAM_SUCCESS"), ("alice", "PAM_AUTH_ERR")] {
        let output = place.drive("stack", user).args(["--calls", "acct_mgmt"]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("acct_mgmt {code}\n"));
    }
}

/// If the module is the only one, the calls besides authenticate must not fail a login.
#[test]
fn the_calls_that_do_nothing() {
    let (place, mut key) = place(
        "auth required pam_yubiotp.so\nsession required pam_yubiotp.so\nsession required pam_permit.so\n\
         password required pam_yubiotp.so\npassword required pam_permit.so\n",
    );
    let mut drive = place.drive("stack", "alice");
    drive.args(["--calls", "authenticate,setcred,open_session,close_session,chauthtok", "--", &key.press()]);
    let said = String::from_utf8(drive.output().unwrap().stdout).unwrap();
    for call in ["authenticate", "setcred", "open_session", "close_session", "chauthtok"] {
        assert!(said.contains(&format!("{call} PAM_SUCCESS")), "{said}");
    }
}
