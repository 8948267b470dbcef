//! One thing spoiled at a time: how bad it is, where it is found, by which code, and what to change.

use super::{Host, SUDO, Visit};
use crate::desk::{chmod, is_root, run};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tests::soft_yubikey::SoftYubiKey;

/// Severity, area, place, the code, and values that the finding has.
type Expected = (&'static str, &'static str, PathBuf, &'static [&'static str]);

/// Breaks a healthy host, and checks the doctor's finding.
#[track_caller]
fn spoiled(spoil: impl FnOnce(&Host) -> Expected) -> Visit {
    let host = Host::new();
    let (level, room, place, words) = spoil(&host);
    let visit = host.doctor(&[]);
    visit.finds(level, room, &place, words);
    visit
}

/// Replaces the contents of `sudo`.
#[track_caller]
fn service(lines: &str, expected: (&'static str, usize, &'static [&'static str])) {
    spoiled(|host| {
        host.service("sudo", lines);
        let (level, line, words) = expected;
        let place = format!("{}:{line}", host.pam("sudo").display());
        (level, "pam.d", place.into(), words)
    });
}

const ACCOUNT: &str = "account required pam_unix.so\n";

#[test]
fn lines_in_pam_d() {
    let auth = |lines: &str| lines.to_owned() + ACCOUNT;
    for (lines, expected) in [
        (
            "auth required pam_yubiotp.so nulok\n",
            ("error", 1, &["argument-unknown", "nulok", "write nullok"][..]),
        ),
        (
            "auth required pam_yubiotp.so tries=0\n",
            ("error", 1, &["argument-invalid", "tries=0", "from 1 to 10"]),
        ),
        ("auth required pam_yubiotp.so nullok\n", ("warning", 1, &["nullok-without-effect"])),
        (
            "auth sufficient pam_unix.so\nauth required pam_yubiotp.so nullok\n",
            ("warning", 2, &["nullok-without-effect"]),
        ),
        (
            "auth required pam_unix.so\nauth required pam_yubiotp.so nullok\n",
            ("note", 2, &["unlisted-excused"]),
        ),
        ("auth required pam_yubiotp.so use_first_pass\n", ("error", 1, &["first-pass-without-password"])),
        ("auth required pam_yubiotp.so try_first_pass\n", ("note", 1, &["first-pass-without-password"])),
        (
            "auth required pam_nologin.so\nauth required pam_yubiotp.so use_first_pass\n",
            ("error", 2, &["first-pass-without-password"]),
        ),
        ("auth sufficient pam_yubiotp.so\nauth required pam_unix.so\n", ("warning", 1, &["otp-enough"])),
        ("auth required pam_yubiotp.so\n", ("note", 1, &["otp-enough"])),
        ("auth sufficient pam_unix.so\nauth required pam_yubiotp.so\n", ("warning", 1, &["otp-bypassed"])),
        (
            "auth optional pam_yubiotp.so\nauth required pam_unix.so\n",
            ("warning", 1, &["refusal-not-enforced"]),
        ),
        ("auth optional pam_yubiotp.so\nauth required pam_permit.so\n", ("error", 1, &["no-question-asked"])),
        (
            "auth required pam_unix.so\nauth [success=ok authinfo_unavail=ignore default=bad] pam_yubiotp.so\n",
            ("warning", 2, &["fault-not-enforced"]),
        ),
        (
            "auth required pam_unix.so\nauth [success=ok user_unknown=ignore default=bad] pam_yubiotp.so\n",
            ("note", 2, &["unlisted-excused"]),
        ),
        ("auth requisite pam_deny.so\nauth required pam_yubiotp.so\n", ("error", 2, &["never-asked"])),
        ("auth required pam_deny.so\nauth required pam_yubiotp.so\n", ("error", 2, &["nobody-gets-in"])),
        (
            "auth requird pam_yubiotp.so\n",
            ("error", 1, &["pam-line-misread", "\"requird\"", "write required"]),
        ),
        (
            "auth required pam_yubiotp.so\nauth [success=maybe] pam_unix.so\n",
            ("error", 2, &["pam-line-misread"]),
        ),
        (
            "outh required pam_yubiotp.so\nauth required pam_yubiotp.so\n",
            ("error", 1, &["pam-line-misread", "\"outh\"", "write auth"]),
        ),
        ("auth required pam_yubiotp.so\nauth required\n", ("error", 2, &["pam-line-misread"])),
        (
            "auth include no-such-file\nauth required pam_yubiotp.so\n",
            ("error", 1, &["pam-line-misread", "includes no-such-file"]),
        ),
        ("auth required pam_yubiotp.so\n@include no-such-file\n", ("error", 2, &["service-file-broken"])),
        (
            "auth required pam_yubiotp.so\nsession optional pam_yubiotp.so\n",
            ("note", 2, &["pam-line-unused"]),
        ),
        (
            "auth required pam_yubiotp.so key=EHmo8FMxuhumBlTinC4uYL0Mgwg=\n",
            ("warning", 1, &["client-key-in-pam-d"]),
        ),
    ] {
        service(&auth(lines), expected);
    }
}

#[test]
fn account_lines() {
    for (lines, expected) in [
        (
            "auth required pam_unix.so\naccount required pam_yubiotp.so\n",
            ("error", 2, &["account-line-without-auth"][..]),
        ),
        (
            "auth required pam_yubiotp.so nullok\nauth required pam_unix.so\naccount required pam_yubiotp.so\n",
            ("warning", 3, &["nullok-not-in-account"]),
        ),
        (
            "auth sufficient pam_rootok.so\nauth required pam_unix.so\nauth required pam_yubiotp.so\naccount required pam_yubiotp.so\n",
            ("warning", 1, &["exempt-users-refused", "sudo:4"]),
        ),
    ] {
        service(lines, expected);
    }
}

/// A finding about a file that several services include is printed once, with their names.
#[test]
fn what_is_included_is_told_once() {
    let host = Host::new();
    host.service("common-auth", "auth required pam_unix.so\nauth optional pam_yubiotp.so nullok\n");
    for service in ["sudo", "login"] {
        host.raw_service(service, "@include common-auth\naccount required pam_unix.so\n");
    }
    let visit = host.doctor(&[]);
    let place = format!("{}:2", host.pam("common-auth").display());
    visit.finds("warning", "pam.d", Path::new(&place), &["refusal-not-enforced", "login, sudo: auth: "]);
    let count = |severity| visit.of(severity).into_iter().filter(|it| it["area"] == "pam.d").count();
    assert_eq!((count("warning"), count("note")), (1, 1), "{visit:#?}");
}

/// Copies that editors and packages leave are no services.
#[test]
fn leftovers_are_no_services() {
    let host = Host::new();
    for name in ["sudo~", "sudo.dpkg-old", ".sudo.swp", "sudo.rpmnew", "Sudo"] {
        host.service(name, "auth optional pam_yubiotp.so nonsense\n");
    }
    host.doctor(&[]).is_well();
}

#[test]
fn sshd_config() {
    let host = Host::new();
    host.service("sshd", &(SUDO.to_owned() + "account required pam_yubiotp.so\n"));
    fs::remove_file(host.pam("sudo")).unwrap();
    let folder = host.place.path("sshd.d");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("10.conf"), "KbdInteractiveAuthentication no\n").unwrap();
    let include = format!("# first\nInclude {}/*.conf\nUsePAM yes\n", folder.display());
    let config = host.place.path("sshd_config");
    for (lines, level, place, code) in [
        (include.clone(), "error", folder.join("10.conf:1"), "sshd-without-prompts"),
        (format!("KbdInteractiveAuthentication yes\n{include}"), "ok", PathBuf::new(), "checked"),
        ("Port 22\n".to_owned(), "error", config.clone(), "sshd-without-pam"),
        ("usepam=no\nUsePAM yes\n".to_owned(), "error", host.place.path("sshd_config:1"), "sshd-without-pam"),
        (
            "UsePAM yes\nMatch User bob\nKbdInteractiveAuthentication no\n".to_owned(),
            "note",
            host.place.path("sshd_config:2"),
            "sshd-match",
        ),
        (
            "UsePAM yes\nAuthenticationMethods publickey,keyboard-interactive publickey\n".to_owned(),
            "warning",
            host.place.path("sshd_config:2"),
            "ssh-key-without-otp",
        ),
    ] {
        fs::write(&config, lines).unwrap();
        let visit = host.doctor(&[]);
        visit.finds(level, "sshd", &place, &[code]);
    }
}

/// Users without an ssh key, who get in with password and OTP, are not kept out by the advice.
#[test]
fn an_otp_after_the_key_keeps_the_other_way() {
    for (auth, keeps) in [
        ("auth required pam_unix.so\nauth required pam_yubiotp.so\n", true),
        ("auth required pam_yubiotp.so\n", false),
    ] {
        let host = Host::new();
        host.service("sshd", &format!("{auth}account required pam_unix.so\n"));
        fs::remove_file(host.pam("sudo")).unwrap();
        host.place.write("sshd_config", "UsePAM yes\n", 0o644);
        let visit = host.doctor(&[]);
        let found = visit.of("warning").into_iter().find(|it| it["code"] == "ssh-key-without-otp").unwrap();
        let remedies = found["remedies"].to_string();
        assert_eq!(
            remedies.contains("publickey,keyboard-interactive keyboard-interactive"),
            keeps,
            "{remedies}"
        );
        assert!(remedies.contains("above the first Match line"), "{remedies}");
    }
}

/// Only an OTP is enough for pam.d, but sshd demands a key before.
#[test]
fn a_key_before_the_otp() {
    let host = Host::new();
    host.service("sshd", "auth required pam_yubiotp.so\naccount required pam_yubiotp.so\n");
    fs::remove_file(host.pam("sudo")).unwrap();
    let words = ["otp-enough", "AuthenticationMethods publickey,keyboard-interactive"];
    // A touch from anywhere on the network.
    host.doctor(&[]).finds("warning", "pam.d", &host.pam("sshd:1"), &words);
    let config = "UsePAM yes\nKbdInteractiveAuthentication no\n";
    host.place.write("sshd_config", config, 0o644);
    host.doctor(&[]).finds("warning", "pam.d", &host.pam("sshd:1"), &words);
    let config = "UsePAM yes\nAuthenticationMethods publickey,keyboard-interactive:pam\n";
    host.place.write("sshd_config", config, 0o644);
    host.doctor(&[]).is_well();
    fs::remove_file(host.place.path("sshd_config")).unwrap();
    host.doctor(&[]).finds("error", "sshd", &host.place.path("sshd_config"), &["file-missing"]);
}

/// `sudo` and `sudo -i` are one to those who type them.
#[test]
fn services_that_come_in_pairs() {
    let host = Host::new();
    host.raw_service("sudo-i", "auth required pam_unix.so\n");
    host.doctor(&[]).finds("note", "pam.d", &host.pam("sudo-i"), &["sibling-does-not-ask"]);
    host.service("sudo-i", SUDO);
    host.doctor(&[]).is_well();
}

#[test]
fn the_module() {
    spoiled(|host| {
        fs::remove_file(host.place.path("pam_yubiotp.so")).unwrap();
        ("error", "module", host.place.path("pam_yubiotp.so"), &["module-missing"])
    });
    spoiled(|host| {
        chmod(&host.place.path("pam_yubiotp.so"), 0o666);
        ("error", "module", host.place.path("pam_yubiotp.so"), &["file-writable-by-others", "chmod go-w"])
    });
    spoiled(|host| {
        let file = File::options().write(true).open(host.place.path("pam_yubiotp.so")).unwrap();
        file.write_all_at(&[0xb7, 0], 18).unwrap(); // AArch64; on one of these:
        if cfg!(target_arch = "aarch64") {
            file.write_all_at(&[0x3e, 0], 18).unwrap();
        }
        ("error", "module", host.place.path("pam_yubiotp.so"), &["binary-unusable"])
    });
    spoiled(|host| {
        fs::write(host.place.path("pam_yubiotp.so"), "not a library").unwrap();
        ("error", "module", host.place.path("pam_yubiotp.so"), &["binary-unusable"])
    });
    spoiled(|host| {
        host.raw_service("sudo", &SUDO.replace("pam_yubiotp.so", "a-folder/pam_yubiotp.so"));
        ("error", "module", PathBuf::from("/"), &["module-missing"])
    });
}

#[test]
fn settings() {
    let cases: [(&str, &str, &[&str]); 4] = [
        ("mode = \"offline\"\nlock_wiat = 3\n", "error", &["setting-unknown", "lock_wiat"]),
        ("mode = \"online\"\n", "error", &["setting-missing", "urls"]),
        ("tries = 11\n", "error", &["setting-invalid", "from 1 to 10"]),
        ("mode = \n", "error", &["setting-invalid"]),
    ];
    for (text, level, words) in cases {
        spoiled(|host| {
            host.place.write("config.toml", text, 0o644);
            (level, "settings", host.place.config(), words)
        });
    }
    let visit = spoiled(|host| {
        host.place.write("config.toml", "mode = \"offline\"\nlock_wiat = 3\n", 0o644);
        ("error", "settings", host.place.path("config.toml:2"), &["setting-unknown"])
    });
    assert_eq!(visit.of("error").len(), 1, "nothing that follows from it: {visit:#?}");
    spoiled(|host| {
        fs::remove_file(host.place.config()).unwrap();
        ("error", "settings", host.place.config(), &["config-missing", "init"])
    });
    spoiled(|host| {
        host.place.online("online", &["http://127.0.0.1:1".into()], "");
        chmod(&host.place.config(), 0o644);
        ("warning", "settings", host.place.config(), &["client-key-readable"])
    });
    let online = "[online]\nurls = [\"https://val.example.org\"]\nclient_id = 1\n";
    spoiled(|host| {
        host.place.write("config.toml", &(fs::read_to_string(host.place.config()).unwrap() + online), 0o644);
        ("warning", "settings", host.place.config(), &["online-unused", "[online]", "offline-then-online"])
    });
    // By arguments, the line is to be known.
    spoiled(|host| {
        host.service("sudo", &SUDO.replace("pam_yubiotp.so", "pam_yubiotp.so mode=online"));
        ("error", "settings", host.place.config(), &["setting-missing", "sudo:2"])
    });
}

/// Every file and folder of the path, with all mistakes of one of them together.
#[test]
fn modes_and_owners() {
    let files: [(&str, u32, &[&str]); 8] = [
        ("config.toml", 0o666, &["file-writable-by-others", "mode 0666", "chmod go-w"]),
        ("authorized_yubikeys", 0o664, &["file-writable-by-others", "mode 0664", "chmod go-w"]),
        ("store.key", 0o644, &["file-readable-by-others", "mode 0644", "chmod go= /"]),
        ("keys", 0o777, &["file-writable-by-others", "chmod go-w"]),
        ("positions", 0o770, &["file-writable-by-others", "chmod go-w"]),
        ("keys/vvcccccccccb", 0o640, &["file-readable-by-others", "chmod go="]),
        ("positions/vvcccccccccb", 0o604, &["file-readable-by-others", "chmod go="]),
        ("", 0o777, &["file-writable-by-others", "chmod go-w"]),
    ];
    for (name, mode, words) in files {
        let host = Host::new();
        let path = host.place.path(name);
        chmod(&path, mode);
        let visit = host.doctor(&[]);
        let path = path.components().collect::<PathBuf>();
        let found: Vec<_> = visit
            .of("error")
            .into_iter()
            .filter(|it| super::place_of(it) == path.to_str().unwrap())
            .collect();
        assert!(!found.is_empty(), "{name}: {visit:#?}");
        let area = found[0]["area"].as_str().unwrap();
        visit.finds("error", area, &path, words);
    }
    spoiled(|host| {
        chmod(&host.pam("sudo"), 0o666);
        ("error", "files", host.pam("sudo"), &["file-writable-by-others", "chmod go-w"])
    });
    let visit = spoiled(|host| {
        chmod(&host.place.path("keys"), 0o777);
        chmod(&host.place.path("authorized_yubikeys"), 0o666);
        ("error", "files", host.place.path("authorized_yubikeys"), &["file-writable-by-others", "chmod go-w"])
    });
    assert!(
        visit.of("error").iter().any(|it| it["location"] != visit.of("error")[0]["location"]),
        "both: {visit:#?}"
    );
    if !is_root() {
        return tests::skip("needs root, to give files away");
    }
    for name in ["authorized_yubikeys", "store.key", "keys", "config.toml", "pam_yubiotp.so"] {
        let host = Host::new();
        chown(host.place.path(name), Some(12_345), None).unwrap();
        let visit = host.doctor(&[]);
        let owners = visit
            .of("error")
            .into_iter()
            .filter(|it| {
                let chown = format!("chown root {}", host.place.path(name).display());
                it["code"] == "file-of-other-owner" && super::remedies(it) == [chown]
            })
            .count();
        assert_eq!(owners, 1, "{name}: {visit:#?}");
    }
}

#[test]
fn the_mapping() {
    let cases: [(&str, &str, usize, &[&str]); 7] = [
        ("alice:vvcccccccccb\nbob vvcb\n", "error", 2, &["mapping-line-invalid"]),
        ("alice:vvcccccccccb\nbob:vvcccccccccd\n", "error", 2, &["key-missing", "key import FILE"]),
        ("alice:vvcccccccccb:vvcccccccccd\n", "warning", 1, &["key-missing", "key import FILE"]),
        ("alice:vvcccccccccb\ncarol:\n", "note", 2, &["user-without-token"]),
        ("alice:vvcccccccccb\nbob:vvcccccccccb\n", "note", 2, &["token-shared"]),
        ("alice:vvcccccccccb\nalice:vvcccccccccb\n", "note", 2, &["token-listed-twice"]),
        ("alice:nothex!\n", "error", 1, &["mapping-line-invalid"]),
    ];
    for (text, level, line, words) in cases {
        spoiled(|host| {
            host.place.write("authorized_yubikeys", text, 0o644);
            let place = format!("{}:{line}", host.place.path("authorized_yubikeys").display());
            (level, "mapping", place.into(), words)
        });
    }
    spoiled(|host| {
        fs::remove_file(host.place.path("authorized_yubikeys")).unwrap();
        ("error", "mapping", host.place.path("authorized_yubikeys"), &["mapping-missing"])
    });
    spoiled(|host| {
        host.place.write("authorized_yubikeys", "", 0o644);
        ("error", "mapping", host.place.path("authorized_yubikeys"), &["mapping-empty"])
    });
    spoiled(|host| {
        host.place.write("authorized_yubikeys", "# nobody\n", 0o644);
        ("note", "mapping", host.place.path("authorized_yubikeys"), &["mapping-lists-nobody", "add"])
    });
    spoiled(|host| {
        host.place.write(
            "config.toml",
            "mapping = \"%u/keys\"\nstore = \".\"\nstore_key = \"store.key\"\n",
            0o644,
        );
        ("note", "mapping", host.place.path("%u/keys"), &["not-checked"])
    });
}

fn key_file(host: &Host) -> PathBuf {
    host.place.path("keys").join(host.key.public_id())
}

fn position_file(host: &Host) -> PathBuf {
    host.place.path("positions").join(host.key.public_id())
}

#[test]
fn the_store() {
    spoiled(|host| {
        fs::remove_file(host.place.path("store.key")).unwrap();
        ("error", "store", host.place.path("store.key"), &["store-key-missing"])
    });
    spoiled(|host| {
        let other = Host::new();
        fs::copy(other.place.path("store.key"), host.place.path("store.key")).unwrap();
        ("error", "store", key_file(host), &["key-sealed-elsewhere"])
    });
    spoiled(|host| {
        let text = fs::read_to_string(host.place.path("store.key")).unwrap();
        host.place.write("store.key", text.replace("key: ", "key: A"), 0o600);
        ("error", "store", host.place.path("store.key"), &["store-key-damaged"])
    });
    spoiled(|host| {
        let text = fs::read_to_string(key_file(host)).unwrap();
        fs::write(key_file(host), text.replace("version 1", "version 2")).unwrap();
        ("error", "store", key_file(host), &["key-damaged"])
    });
    spoiled(|host| {
        let (text, at) = (fs::read_to_string(key_file(host)).unwrap(), 20);
        let sealed = text.lines().last().unwrap().to_owned();
        let flipped = if sealed.as_bytes()[at] == b'A' { "B" } else { "A" };
        let mut other = sealed.clone();
        other.replace_range(at..=at, flipped);
        fs::write(key_file(host), text.replace(&sealed, &other)).unwrap();
        let visit = host.doctor(&["alice"]);
        visit.finds("error", "user", Path::new(""), &["key-seal-broken"]);
        ("error", "store", key_file(host), &["key-seal-broken"])
    });
    spoiled(|host| {
        fs::remove_file(position_file(host)).unwrap();
        let visit = host.doctor(&["alice"]);
        visit.finds("error", "user", Path::new("alice"), &["position-missing", "key adopt"]);
        ("error", "store", position_file(host), &["position-missing", "key adopt"])
    });
    spoiled(|host| {
        File::options().write(true).open(position_file(host)).unwrap().set_len(100).unwrap();
        ("error", "store", position_file(host), &["position-damaged"])
    });
    spoiled(|host| {
        let file = File::options().write(true).open(position_file(host)).unwrap();
        file.write_all_at(b"#", 4096 + 300).unwrap();
        ("warning", "store", position_file(host), &["position-slot-damaged"])
    });
    spoiled(|host| {
        let file = File::options().write(true).open(position_file(host)).unwrap();
        file.write_all_at(b"#", 300).unwrap();
        file.write_all_at(b"#", 4096 + 300).unwrap();
        ("error", "store", position_file(host), &["position-damaged"])
    });
    spoiled(|host| {
        // Another key of the same public ID came by other ways than import.
        let other = Host::new();
        fs::copy(other.place.path("store.key"), host.place.path("store.key")).unwrap();
        let anew = crate::desk::programmed_anew(1);
        let log = host.place.path("log.csv");
        fs::write(&log, anew.traditional_log_line()).unwrap();
        assert!(other.place.ykmap(&["key", "remove", &anew.public_id()]).status.success());
        assert!(other.place.ykmap(&["key", "import", log.to_str().unwrap()]).status.success());
        fs::copy(key_file(&other), key_file(host)).unwrap();
        ("error", "store", position_file(host), &["position-of-other-key", "key adopt"])
    });
    spoiled(|host| {
        assert!(host.place.ykmap(&["key", "disable", &host.key.public_id()]).status.success());
        ("note", "store", position_file(host), &["token-disabled"])
    });
    spoiled(|host| {
        fs::write(host.place.path("keys/.vvcccccccccb.new"), "").unwrap();
        ("note", "store", host.place.path("keys/.vvcccccccccb.new"), &["stray-file"])
    });
    spoiled(|host| {
        fs::write(host.place.path("keys/README"), "").unwrap();
        ("note", "store", host.place.path("keys/README"), &["stray-file"])
    });
    spoiled(|host| {
        fs::remove_dir_all(host.place.path("positions")).unwrap();
        ("error", "store", host.place.path("positions"), &["positions-missing", "key adopt"])
    });
    spoiled(|host| {
        fs::remove_dir_all(host.place.path("keys")).unwrap();
        fs::remove_dir_all(host.place.path("positions")).unwrap();
        ("error", "store", host.place.path("keys"), &["store-missing", "key import --used"])
    });
    // As an earlier version imported them: no import brings a key twice now.
    spoiled(|host| {
        let second = two_ids_for_one_key(host);
        ("error", "store", second, &["aes-key-twice", "key remove"])
    });
}

/// The key of alice's YubiKey under a second public ID. Gives its key file.
fn two_ids_for_one_key(host: &Host) -> PathBuf {
    let place = tests::place::Place::new();
    fs::copy(host.place.path("store.key"), place.path("store.key")).unwrap();
    let twin = host.key.under(&[0xff, 0, 0, 0, 0, 9]);
    place.enrol("bob", &twin);
    for folder in ["keys", "positions"] {
        let file = format!("{folder}/{}", twin.public_id());
        let contents = fs::read(place.path(&file)).unwrap();
        host.place.write(&file, contents, 0o600);
    }
    host.place.path("keys").join(twin.public_id())
}

/// Two services, each with a store of its own, and one YubiKey in both.
#[test]
fn two_stores_with_one_key() {
    let other = tests::place::Place::new();
    other.enrol("alice", &Host::new().key);
    let host = Host::new();
    let own = host.pam("su");
    fs::write(
        &own,
        SUDO.replace(
            "pam_yubiotp.so",
            &format!("{} config={}", host.place.path("pam_yubiotp.so").display(), other.config().display()),
        ),
    )
    .unwrap();
    chmod(&own, 0o644);
    let visit = host.doctor(&[]);
    let there = other.path("").display().to_string();
    let here = host.place.path("").display().to_string();
    let found = visit.findings.iter().find(|it| it["code"] == "aes-key-in-two-stores");
    let found = found.unwrap_or_else(|| panic!("{visit:#?}")).to_string();
    assert!(
        found.contains(there.trim_end_matches('/')) && found.contains(here.trim_end_matches('/')),
        "{found}"
    );
    assert_eq!(visit.said.code, Some(2));

    // One store that two services share is one store.
    host.service("su", &SUDO.replace("pam_yubiotp.so", "pam_yubiotp.so prompt=x"));
    let visit = host.doctor(&[]);
    assert!(!visit.has("aes-key-in-two-stores"), "{visit:#?}");
}

#[test]
fn the_clock() {
    spoiled(|host| {
        let file = File::open(host.place.path("store.key")).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(86_400)).unwrap();
        ("warning", "clock", host.place.path("store.key"), &["clock-wrong"])
    });
}

/// A link to a strange place, a FIFO: told, and never waited for.
#[test]
fn things_that_are_no_files() {
    for name in ["authorized_yubikeys", "store.key", "config.toml", "pam_yubiotp.so", "keys/vvcccccccccb"] {
        let host = Host::new();
        let path = host.place.path(name);
        fs::remove_file(&path).unwrap();
        assert!(run(std::process::Command::new("mkfifo").arg(&path)).code == Some(0));
        let visit = host.doctor(&[]);
        assert!(visit.of("error").iter().any(|it| it["code"] == "file-of-wrong-kind"), "{name}: {visit:#?}");
        visit.exits_by_the_worst();
    }
    spoiled(|host| {
        fs::remove_file(host.place.path("authorized_yubikeys")).unwrap();
        symlink("authorized_yubikeys", host.place.path("authorized_yubikeys")).unwrap();
        ("error", "files", host.place.path("authorized_yubikeys"), &["file-is-link"])
    });
}

/// However many are wrong, people can read the report.
#[test]
fn many_of_a_kind_are_summed_up() {
    let host = Host::new();
    let ids = (0..412).map(|n| SoftYubiKey::numbered(n + 10).public_id());
    let lines = ids.map(|id| format!("bob:{id}\n")).collect::<String>();
    host.place.write("authorized_yubikeys", lines, 0o644);
    let visit = host.doctor(&[]);
    assert_eq!(visit.of("error").len(), 412, "scripts get all of them");
    let said = host.words(&[]).exits(2).says("and 402 more like these  [key-missing]");
    assert_eq!(said.out.lines().filter(|line| line.ends_with("[key-missing]")).count(), 11, "{said:?}");
}
