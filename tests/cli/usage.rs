//! Wrong usage exits with 2 and says so; help is there for every verb.

use crate::desk::{Desk, run, ykmap};

const VERBS: [&[&str]; 76] = [
    &[],
    &["init"],
    &["setup"],
    &["add"],
    &["remove"],
    &["list"],
    &["check"],
    &["doctor"],
    &["verify"],
    &["test"],
    &["otp"],
    &["completions"],
    &["modhex"],
    &["modhex", "encode"],
    &["modhex", "decode"],
    &["modhex", "serial"],
    &["key"],
    &["key", "import"],
    &["key", "export"],
    &["key", "new"],
    &["key", "list"],
    &["key", "show"],
    &["key", "disable"],
    &["key", "enable"],
    &["key", "remove"],
    &["key", "adopt"],
    &["token"],
    &["token", "assign"],
    &["token", "claim"],
    &["token", "disable"],
    &["token", "enable"],
    &["token", "import"],
    &["token", "list"],
    &["token", "remove"],
    &["token", "resync"],
    &["token", "unassign"],
    &["totp"],
    &["totp", "add"],
    &["apply"],
    &["series"],
    &["series", "list"],
    &["series", "allow-claims"],
    &["series", "forbid-claims"],
    &["series", "remove"],
    &["recovery"],
    &["recovery", "new"],
    &["recovery", "status"],
    &["unlock"],
    &["log"],
    &["report"],
    &["reset"],
    &["import"],
    &["import", "google-authenticator"],
    &["import", "oath"],
    &["explain"],
    &["status"],
    &["metrics"],
    &["explain-code"],
    &["self"],
    &["self", "status"],
    &["self", "test"],
    &["self", "add"],
    &["self", "remove"],
    &["self", "recovery"],
    &["help"],
    &["enable"],
    &["disable"],
    &["backup"],
    &["restore"],
    &["key", "rotate-store-key"],
    &["migrate"],
    &["migrate", "pam_yubico"],
    &["migrate", "google-authenticator"],
    &["migrate", "oath"],
    &["migrate", "login_yubikey"],
    &["migrate", "u2f-notice"],
];

#[test]
fn every_verb_has_help() {
    for verb in VERBS {
        let help = if verb == ["help"] { vec!["help"] } else { [verb, &["--help"]].concat() };
        let said = run(ykmap().args(&help)).exits(0).says("Usage: ykmap");
        assert_eq!(said.err, "", "{verb:?}");
        if verb != ["help"] {
            run(ykmap().args(verb).arg("-h")).exits(0).says("--config <FILE>").says("--json");
        }
    }
    run(ykmap().arg("--help"))
        .says("Exit status: 0 done or accepted, 1 rejected or problems found, 2 something");
    run(ykmap().arg("--version")).exits(0).says("ykmap ");
}

/// Scripts go by the exit status, so verbs with one of their own say what it means.
#[test]
fn verbs_say_what_their_exit_status_means() {
    for verb in [
        &["setup"][..],
        &["apply"],
        &["doctor"],
        &["status"],
        &["metrics"],
        &["enable"],
        &["disable"],
        &["explain"],
        &["log"],
        &["report"],
        &["backup"],
        &["restore"],
        &["key", "rotate-store-key"],
        &["migrate", "pam_yubico"],
        &["migrate", "google-authenticator"],
        &["migrate", "oath"],
        &["migrate", "login_yubikey"],
        &["migrate", "u2f-notice"],
    ] {
        let help = run(ykmap().args(verb).arg("--help")).exits(0).out;
        let statuses = help.split("Exit status: 0").nth(1).unwrap_or_else(|| panic!("{verb:?}: {help}"));
        assert!(statuses.contains('2') || *verb == ["explain"], "{verb:?}: {statuses}");
    }
}

/// What a module is called in pam.d is understood, too.
#[test]
fn modules_have_their_names() {
    for verb in [
        ["migrate", "yubico"],
        ["migrate", "pam_google_authenticator"],
        ["migrate", "pam_oath"],
        ["migrate", "pam_u2f"],
        ["import", "pam_google_authenticator"],
        ["import", "pam_oath"],
    ] {
        run(ykmap().args(verb).arg("--help")).exits(0);
    }
}

#[test]
fn every_verb_is_here() {
    for group in [
        &[][..],
        &["key"],
        &["modhex"],
        &["series"],
        &["token"],
        &["totp"],
        &["recovery"],
        &["import"],
        &["self"],
    ] {
        let help = run(ykmap().args(group).arg("--help")).out;
        let verbs = help.split("Commands:\n").nth(1).unwrap().lines().take_while(|line| !line.is_empty());
        let names = verbs.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
            let verb = [group, &[name]].concat();
            assert!(VERBS.contains(&&verb[..]), "{verb:?} has no test");
        }
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let desk = Desk::new();
    let before = desk.snapshot();
    for arguments in [
        &[][..],
        &["nonsense"],
        &["init", "more"],
        &["add"],
        &["remove"],
        &["remove", "alice", "not-an-id"],
        &["list", "alice", "bob"],
        &["check", "more"],
        &["verify"],
        &["verify", "alice", "otp", "more"],
        &["verify", "--no-such-option", "alice"],
        &["key"],
        &["key", "import"],
        &["key", "show"],
        &["key", "remove"],
        &["key", "remove", "vvc"],
        &["key", "new", "--id", "x"],
        &["key", "export", "--in-the-open"],
        &["modhex"],
        &["modhex", "encode"],
        &["test"],
        &["totp", "add"],
        &["totp", "add", "alice", "--digits", "9"],
        &["totp", "add", "alice", "--hotp", "--period", "30"],
        &["token", "assign", "1001"],
        &["token", "assign", "a/b", "alice"],
        &["token", "claim", "alice", "a/b"],
        &["token", "import"],
        &["token", "import", "--used", "--never-used", "x"],
        &["token", "remove"],
        &["series", "remove", "a b"],
        &["apply"],
        &["apply", "--export", "--dry-run"],
        &["apply", "--yes-remove", "x", "file"],
    ] {
        let said = desk.ykmap(arguments).exits(2);
        assert!(
            said.out.is_empty()
                && ["Usage: ", "--help", "[input-invalid]"].iter().any(|text| said.err.contains(text)),
            "{said:?}"
        );
    }
    assert_eq!(desk.snapshot(), before);
}

/// Two places, in either order.
#[test]
fn init_takes_a_folder_or_a_settings_file() {
    for config_first in [true, false] {
        let desk = Desk::bare();
        let (dir, config) = (desk.beside("one"), desk.beside("other/config.toml"));
        let mut command = ykmap();
        if config_first {
            command.arg("--config").arg(&config).arg("init").arg("--dir").arg(&dir);
        } else {
            command.arg("init").arg("--dir").arg(&dir).arg("--config").arg(&config);
        }
        let said = run(&mut command);
        assert!(!dir.exists() && !desk.beside("other").exists(), "config first: {config_first}: {said:?}");
        said.exits(2).notes("cannot be used with");
    }
}

/// The mistake is named with the reason, before the usage.
#[test]
fn a_wrong_id_is_explained() {
    let desk = Desk::new();
    desk.ykmap(&["key", "show", "vvca"]).exits(2).notes("character 4 is not modhex");
    let otp = "cccccccccccbdvgtiblfkbgturecfllberrvkinnctnn";
    desk.ykmap(&["key", "show", otp])
        .exits(2)
        .notes("the public ID is the part before its last 32 characters");
}

#[test]
fn asked_about_nobody_it_says_so() {
    let desk = Desk::new();
    desk.map("alice:vvcb\n");
    let said = desk.ykmap(&["list", "bob"]);
    assert!(!said.err.contains("nobody is in the mapping"), "alice is: {said:?}");
    assert!(said.err.contains("bob"), "{said:?}");
}
