//! `nullok` and the spellings of a name. A directory may take many spellings for one account, so that only a name of
//! plain ASCII that cannot mean anybody listed is excused.

use tests::place::{Login, Place};
use tests::soft_yubikey::SoftYubiKey;

/// The letter that Unicode, and so a directory, lowercases to `k`.
const KELVIN: &str = "\u{212a}";
const EXCUSED: &str = "PAM_SUCCESS";
const FAULT: &str = "PAM_AUTHINFO_UNAVAIL";

/// A host whose mapping lists these names, each without a token. A neighbour says yes, so that an excused user gets in.
fn listing(names: &[&str], arguments: &str) -> Place {
    let place = Place::new();
    let lines: String = names.iter().map(|name| format!("{name}:\n")).collect();
    place.write("authorized_yubikeys", format!("# names\n{lines}"), 0o644);
    stack(&place, arguments);
    place
}

fn stack(place: &Place, arguments: &str) {
    let lines = ["auth", "account"]
        .map(|kind| format!("{kind} required pam_yubiotp.so {arguments}\n{kind} required pam_permit.so\n"));
    place.service("stack", &lines.concat());
}

fn login(place: &Place, user: &str) -> Login {
    place.login("stack", user, &["guess"])
}

/// The code of an `account` line for a user who passed no `auth` line, as after an ssh key.
fn account(place: &Place, user: &str) -> String {
    let output = place.drive("stack", user).args(["--calls", "acct_mgmt"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Each of these may be the account that the mapping lists, by the rules of SSSD, winbind, Active Directory or LDAP.
#[test]
fn a_spelling_of_a_listed_name_is_a_fault_with_nullok() {
    let kelvin = format!("{KELVIN}ate");
    for (listed, users) in [
        ("kate", &["KATE", &kelvin, "EX+kate", "EX/kate", "EX\\Kate", "kate@ex.org"][..]),
        ("kate", &["kate+EX", "EX+kate@ex.org", "kate/EX", "EX%kate", "kate ", "k\u{ad}ate", "ｋａｔｅ"]),
        ("EX+kate", &["kate", "Kate", "kate@ex.org", "EX\\kate", "EX/KATE"]),
        ("jürgen", &["JÜRGEN", "ju\u{308}rgen", "EX+JÜRGEN", "jurgen", "juergen", "EX/Jurgen"]),
        ("ju\u{308}rgen", &["jurgen", "juergen", "jürgen"]),
        ("straße", &["strasse", "STRASSE", "STRAẞE"]),
        ("ıvan", &["ivan", "IVAN"]),
        ("İbrahim", &["ibrahim", "i\u{307}brahim"]),
        (&kelvin, &["kate", "KATE"]),
        ("ｋａｔｅ", &["kate"]),
        ("john smith", &["john_smith", "johnsmith"]),
    ] {
        let place = listing(&["zoe", listed], "nullok");
        for user in users {
            let login = login(&place, user);
            assert_eq!(login.code("authenticate"), FAULT, "{listed} {user}: {:?}", login.log);
            assert_eq!(account(&place, user), format!("acct_mgmt {FAULT}"), "{listed} {user}");
        }
    }
}

/// Nobody can foresee what a directory makes of a name beyond ASCII: such a user is listed, or does not get in.
#[test]
fn a_name_that_is_not_plain_ascii_is_never_excused() {
    let place = listing(&["zoe"], "nullok");
    for user in ["rené", "мария", "a b", "\u{200b}bob", "b\u{f6}b@ex.org"] {
        let login = login(&place, user);
        assert_eq!(login.code("authenticate"), FAULT, "{user}: {:?}", login.log);
        assert!(login.decisions()[0].contains("code=mapping-name-not-plain "), "{:?}", login.log);
        assert_eq!(account(&place, user), format!("acct_mgmt {FAULT}"), "{user}");
    }
}

/// And a listed user is found, to the letter.
#[test]
fn names_beyond_ascii_can_be_listed() {
    let place = Place::new();
    let mut key = SoftYubiKey::numbered(1);
    place.enrol("jürgen", &key);
    place.enrol("EX+кате", &key);
    stack(&place, "nullok");
    assert_eq!(place.login("stack", "jürgen", &[key.press()]).code("authenticate"), "PAM_SUCCESS");
    assert_eq!(place.login("stack", "EX+кате", &[key.press()]).code("acct_mgmt"), "PAM_SUCCESS");
    assert_eq!(login(&place, "jürgen").code("authenticate"), "PAM_AUTH_ERR");
    let without = listing(&["jürgen"], "nullok");
    assert_eq!(login(&without, "jürgen").code("authenticate"), "PAM_AUTH_ERR");
}

/// Everybody else is excused, whatever else is listed.
#[test]
fn who_cannot_be_anybody_listed_is_excused() {
    let listed = ["kate", "EX+alice", "bob@ex.org", "мария", "田中.太郎", "jürgen", "josé"];
    let place = listing(&listed, "nullok");
    for user in
        ["ivan", "kat", "EX+carol", "EX\\carol", "carol@ex.org", "m.tanaka", "joseph", "svc-kate", "k.ate"]
    {
        let login = login(&place, user);
        assert_eq!(login.code("authenticate"), EXCUSED, "{user}: {:?}", login.log);
        assert!(login.decisions()[0].starts_with("excused "), "{:?}", login.log);
        assert_eq!(account(&place, user), format!("acct_mgmt {EXCUSED}"), "{user}");
    }
}

/// Without `nullok` nobody is excused, and the code shows who is not listed.
#[test]
fn without_nullok() {
    let place = listing(&["kate"], "");
    for (user, code) in [
        ("rené", "PAM_USER_UNKNOWN"),
        ("bob", "PAM_USER_UNKNOWN"),
        ("EX+kate", FAULT),
        ("kate", "PAM_AUTH_ERR"),
    ] {
        let login = login(&place, user);
        assert_eq!(login.code("authenticate"), code, "{user}: {:?}", login.log);
    }
}

/// A file that is not there excuses nobody whose file is there under another spelling.
#[test]
fn one_file_a_user() {
    for template in ["users/%u", "users/keys of %u.txt", "homes/%u/keys"] {
        let place = Place::new();
        for name in ["alice", "EX+bob", "jürgen"] {
            let file = place.path(&template.replace("%u", name));
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            place.write(&template.replace("%u", name), format!("{name}:\n"), 0o644);
        }
        for name in ["carol", "Alice", "bob"] {
            if template.starts_with("homes/") {
                std::fs::create_dir_all(place.path(&template.replace("/keys", "").replace("%u", name)))
                    .unwrap();
            }
        }
        stack(&place, &format!("nullok [mapping={}]", place.path(template).display()));
        for (user, code) in [
            ("carol", EXCUSED),
            ("alice", "PAM_AUTH_ERR"),
            ("Alice", FAULT),
            ("alice@ex.org", FAULT),
            ("EX\\alice", FAULT),
            ("bob", FAULT),
            ("EX+bob", "PAM_AUTH_ERR"),
            ("jurgen", FAULT),
            ("rené", FAULT),
            ("EX/alice", FAULT),
        ] {
            let login = login(&place, user);
            assert_eq!(login.code("authenticate"), code, "{template} {user}: {:?}", login.log);
        }
    }
}

/// Nor does a file that lists somebody else.
#[test]
fn a_file_of_ones_own_that_lists_nobody() {
    let place = Place::new();
    std::fs::create_dir(place.path("users")).unwrap();
    place.write("users/alice", "alice:\n", 0o644);
    place.write("users/Alice", "# nobody yet\n", 0o644);
    place.write("users/carol", "# nobody yet\n", 0o644);
    stack(&place, &format!("nullok mapping={}", place.path("users/%u").display()));
    assert_eq!(login(&place, "Alice").code("authenticate"), FAULT);
    assert_eq!(login(&place, "carol").code("authenticate"), EXCUSED);
}

/// If the folder of these files cannot be read, nobody knows which users are listed.
#[test]
fn a_folder_that_cannot_be_listed_excuses_nobody() {
    let place = Place::new();
    std::fs::create_dir(place.path("users")).unwrap();
    place.write("users/alice", "alice:\n", 0o644);
    stack(&place, &format!("nullok mapping={}", place.path("users/%u").display()));
    assert_eq!(login(&place, "carol").code("authenticate"), EXCUSED);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(place.path("users"), mode).unwrap();
    assert_eq!(login(&place, "carol").code("authenticate"), FAULT);
}
