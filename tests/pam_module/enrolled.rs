//! Logins by the tokens in `enrolled`, the store's own list beside the mapping; and notices to users.

use std::fs;
use tests::libpam::SILENT;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

const FAULT: &str = "PAM_AUTHINFO_UNAVAIL";

/// alice has a token by the mapping, and bob another by `enrolled`. Users who are not listed are excused.
fn place() -> (Place, [SoftYubiKey; 2]) {
    let (place, keys) = (Place::new(), [SoftYubiKey::numbered(1), SoftYubiKey::numbered(2)]);
    place.enrol("alice", &keys[0]);
    place.enrol("bob", &keys[1]);
    let mapping = format!("alice:{}\n", keys[0].public_id());
    place.write("authorized_yubikeys", mapping, 0o644);
    place.write("enrolled", format!("bob:{}\n", keys[1].public_id()), 0o644);
    let lines = ["auth", "account"]
        .map(|kind| format!("{kind} required pam_yubiotp.so nullok\n{kind} required pam_permit.so\n"));
    place.service("stack", &lines.concat());
    (place, keys)
}

#[test]
fn a_token_in_either_file_lets_its_user_in() {
    let (place, [mut hers, mut his]) = place();
    let otp = his.press();
    for (user, otp, code) in [
        ("bob", otp.clone(), "PAM_SUCCESS"),
        ("bob", otp, "PAM_AUTH_ERR"),
        ("bob", hers.press(), "PAM_AUTH_ERR"),
        ("alice", hers.press(), "PAM_SUCCESS"),
        ("alice", his.press(), "PAM_AUTH_ERR"),
    ] {
        for service in ["otp", "stack"] {
            let login = place.login(service, user, &[&otp]);
            let expected = if service == "stack" && code == "PAM_SUCCESS" { "PAM_AUTH_ERR" } else { code };
            assert_eq!(login.code("authenticate"), expected, "{user} {service}: {:?}", login.log);
        }
    }
}

#[test]
fn who_enrolled_is_not_excused() {
    let (place, _) = place();
    let login = |user: &str| place.login("stack", user, &["guess"]);
    assert_eq!(login("carol").code("authenticate"), "PAM_SUCCESS", "she is in neither file");
    assert_eq!(login("bob").code("authenticate"), "PAM_AUTH_ERR");
    for name in ["Bob", "EX\\bob"] {
        assert_eq!(login(name).code("authenticate"), FAULT);
    }
    // Listed without a token, as after a reset.
    place.write("enrolled", "bob:\n", 0o644);
    assert_eq!(login("bob").code("authenticate"), "PAM_AUTH_ERR");
    for (text, mode, code) in [
        ("", 0o644, "mapping-empty"),
        ("???\n", 0o644, "mapping-line-invalid"),
        ("bob:\n", 0o666, "file-writable-by-others"),
    ] {
        place.write("enrolled", text, mode);
        let login = login("carol");
        assert_eq!(login.code("authenticate"), FAULT, "{text:?}");
        let line = login.decisions()[0];
        assert!(line.contains(&format!(" code={code} ")) && line.contains("/enrolled"), "{line}");
        let account = place.drive("stack", "carol").args(["--calls", "acct_mgmt"]).output().unwrap();
        assert_eq!(String::from_utf8(account.stdout).unwrap(), format!("acct_mgmt {FAULT}\n"));
    }
}

/// The texts that were shown beside prompts.
fn shown(login: &tests::place::Login) -> Vec<&str> {
    login.said.iter().filter_map(|line| line.strip_prefix("info ")).collect()
}

#[test]
fn a_notice_is_shown_once_to_the_user_who_is_let_in() {
    let (place, [_, mut his]) = place();
    let made = place.ykmap(&["token", "disable", &his.public_id()]);
    assert!(made.status.success(), "{made:?}");
    place.ykmap(&["token", "enable", &his.public_id()]);
    let file = place.path("notices/bob");
    assert_eq!(shown(&place.login("otp", "bob", &["guess"])), Vec::<&str>::new(), "a stranger");
    let mut silent = place.drive("otp", "bob");
    silent.args(["--flags", &SILENT.to_string(), "--calls", "authenticate", "--", &his.press()]);
    let silent = place.run(silent);
    assert_eq!((silent.code("authenticate"), shown(&silent)), ("PAM_SUCCESS", Vec::new()));
    let login = place.login("otp", "bob", &[his.press()]);
    assert_eq!(login.code("authenticate"), "PAM_SUCCESS");
    let [notice] = shown(&login)[..] else { panic!("{login:?}") };
    assert!(notice.contains("was disabled by ") && notice.contains(" UTC."), "{notice}");
    assert!(!file.exists());
    assert_eq!(shown(&place.login("otp", "bob", &[his.press()])), Vec::<&str>::new());
}

#[test]
fn a_damaged_notice_changes_no_outcome() {
    let (place, [_, mut his]) = place();
    fs::create_dir(place.path("notices")).unwrap();
    place.write("notices/bob", "???", 0o600);
    let login = place.login("otp", "bob", &[his.press()]);
    assert_eq!((login.code("authenticate"), login.code("acct_mgmt")), ("PAM_SUCCESS", "PAM_SUCCESS"));
    assert!(login.warnings()[0].contains(" code=notices-damaged "), "{:?}", login.warnings());
    assert_eq!(shown(&login), Vec::<&str>::new());
}
