//! `ykmap doctor alice`: why she would be refused.

use super::{Host, SUDO};
use crate::desk::chmod;
use std::fs;
use std::path::Path;
use tests::soft_yubikey::SoftYubiKey;

#[test]
fn why_alice_is_refused() {
    let host = Host::new();
    let mapping = host.place.path("authorized_yubikeys");
    let id = host.key.public_id();
    host.doctor(&["alice"]).finds("ok", "user", &mapping, &[&format!("alice's token {id}: enabled")]);
    host.doctor(&["bob"]).finds(
        "error",
        "user",
        &mapping,
        &["bob is not listed, and refused by", "sudo:2", "add bob"],
    );
    host.place.write("authorized_yubikeys", format!("alice:{id}\ncarol:\n"), 0o644);
    host.doctor(&["carol"]).finds("error", "user", &mapping, &["carol is listed without a token"]);
    let second = SoftYubiKey::numbered(2);
    host.place.enrol("alice", &second);
    assert!(host.place.ykmap(&["key", "disable", &id]).status.success());
    let visit = host.doctor(&["alice"]);
    visit.finds("warning", "user", &mapping, &[&id, "disabled", "key enable"]);
    visit.finds("ok", "user", &mapping, &[&second.public_id(), "enabled"]);
    assert!(host.place.ykmap(&["key", "disable", &second.public_id()]).status.success());
    assert_eq!(host.doctor(&["alice"]).of("error").len(), 2, "none of hers is good");
    // Both are reported.
    let both = host.doctor(&["alice", "bob"]);
    both.finds("error", "user", &mapping, &["bob is not listed"]);
    both.finds("error", "user", &mapping, &["alice's token"]);
}

#[test]
fn whom_nullok_excuses() {
    let host = Host::new();
    let mapping = host.place.path("authorized_yubikeys");
    host.service(
        "login",
        "auth required pam_unix.so\nauth required pam_yubiotp.so nullok\naccount required pam_unix.so\n",
    );
    let visit = host.doctor(&["bob"]);
    visit.finds("error", "user", &mapping, &["refused by", "sudo:2"]);
    visit.finds("note", "user", &mapping, &["passes", "login:2", "without a token"]);
}

/// Another spelling of a name that is listed is a fault at a login, and here.
#[test]
fn another_spelling() {
    let host = Host::new();
    let mapping = host.place.path("authorized_yubikeys");
    for user in ["Alice", "EX+alice", "alice@ex.org"] {
        host.doctor(&[user]).finds("error", "user", &mapping, &[user, "another spelling"]);
    }
    host.place.write("authorized_yubikeys", format!("alice:{}\n", host.key.public_id()), 0o644);
    host.service("login", "auth required pam_unix.so\nauth required pam_yubiotp.so nullok\n");
    let visit = host.doctor(&["ren\u{e9}"]);
    visit.finds("error", "user", &mapping, &["not listed, and refused by", "login:2", "plain ASCII"]);
    assert!(
        visit.findings.iter().all(|it| !it.to_string().contains("without a token (nullok)")),
        "{visit:#?}"
    );
}

#[test]
fn a_mapping_of_her_own() {
    let host = Host::new();
    fs::create_dir(host.place.path("users")).unwrap();
    chmod(&host.place.path("users"), 0o755);
    host.place.write("users/alice", format!("alice:{}\n", host.key.public_id()), 0o644);
    host.place.write(
        "config.toml",
        "mapping = \"users/%u\"\nstore = \".\"\nstore_key = \"store.key\"\n",
        0o644,
    );
    let visit = host.doctor(&["alice", "bob"]);
    visit.finds("ok", "user", &host.place.path("users/alice"), &["enabled"]);
    visit.finds("error", "user", &host.place.path("users/bob"), &["bob is not listed"]);
    let other = host.place.path("users/alice");
    host.doctor(&["Alice"]).finds(
        "error",
        "user",
        &host.place.path("users/Alice"),
        &[&other.display().to_string()],
    );
    host.doctor(&["../alice"]).finds("error", "user", Path::new(""), &["cannot be part of a path"]);
}

/// Whatever is wrong, each named user has a row with their name.
#[test]
fn a_row_for_everybody() {
    let row = |spoil: &dyn Fn(&Host), level: &str, words: &[&str]| {
        let host = Host::new();
        spoil(&host);
        for user in ["alice", "dave"] {
            let visit = host.doctor(&["alice", "dave"]);
            let rows = visit.findings.iter().filter(|it| it["room"] == "user");
            let found = rows.filter(|it| it["what"].as_str().unwrap().starts_with(user));
            assert_eq!(found.count(), 1, "{user}: {visit:#?}");
        }
        host.doctor(&["alice"]).finds(level, "user", Path::new(""), words);
    };
    let mapping = |host: &Host, lines: &str| {
        host.place.write("authorized_yubikeys", lines, 0o644);
    };
    row(
        &|host| mapping(host, "alice:nothex!\ndave:nothex!\n"),
        "error",
        &["alice is refused: ", "not modhex"],
    );
    row(&|host| mapping(host, ""), "error", &["until that is mended (see mapping)"]);
    row(
        &|host| host.place.write("config.toml", "x", 0o644),
        "error",
        &["the settings cannot be used (see settings)"],
    );
    let writable = |host: &Host| chmod(&host.place.path("authorized_yubikeys"), 0o666);
    row(&writable, "error", &["alice is refused until that is mended (see files)"]);
}

/// What refuses everybody keeps a good token from being called good.
#[test]
fn a_good_token_below_something_bad() {
    let host = Host::new();
    let good = |host: &Host| {
        host.doctor(&["alice"]).finds("note", "user", Path::new(""), &["enabled here; see the errors above"]);
    };
    host.service("sudo", &SUDO.replace("pam_yubiotp.so", "pam_yubiotp.so tires=3"));
    good(&host);
    host.service("sudo", "auth required pam_unix.so\naccount required pam_yubiotp.so\n");
    good(&host);
    host.service("sudo", SUDO);
    fs::remove_file(host.place.path("pam_yubiotp.so")).unwrap();
    good(&host);
}

/// Commands that are advised continue with the settings that they are about.
#[test]
fn commands_name_the_settings() {
    let host = Host::new();
    let own = format!("ykmap --config {} ", host.place.config().display());
    let visit = host.doctor(&["bob"]);
    visit.finds("error", "user", Path::new(""), &[&format!("{own}add bob")]);
    assert!(host.place.ykmap(&["key", "disable", &host.key.public_id()]).status.success());
    let visit = host.doctor(&["alice"]);
    visit.finds("error", "user", Path::new(""), &[&format!("{own}key enable")]);
    for it in &visit.findings {
        assert!(!it.to_string().contains("ykmap key"), "{it}");
    }
}

/// Where to look on is said to people, if there is something to look for.
#[test]
fn the_log_says_more() {
    let host = Host::new();
    let line = "journalctl -t sudo | grep 'pam_yubiotp(' | tail -n 1";
    assert!(!host.words(&[]).out.contains("journalctl"));
    host.words(&["alice"]).says(line);
    chmod(&host.place.path("authorized_yubikeys"), 0o666);
    host.words(&[]).exits(2).says(line);
    host.words(&[""]).exits(2).notes("a value is required");
    // as with a profile of pam-auth-update
    for service in ["su", "login", "chfn", "chsh"] {
        host.service(service, "auth required pam_yubiotp.so\n");
    }
    host.words(&[]).exits(2).says("journalctl SYSLOG_FACILITY=10 | grep 'pam_yubiotp(' | tail -n 1");
}

/// `%u` in `config=`: of whom the files have to be depends on who runs the application.
#[test]
fn settings_of_each_user() {
    if !crate::desk::is_root() {
        return;
    }
    let host = Host::new();
    let ykmap = host.shown_to_others();
    let home = host.place.path("homes/nobody");
    fs::create_dir_all(&home).unwrap();
    let module = host.place.path("pam_yubiotp.so");
    let config = host.place.path("homes/%u/config.toml");
    let line = format!("auth required {} config={}\n", module.display(), config.display());
    fs::remove_file(host.pam("sudo")).unwrap();
    let doctor = || {
        let mut command = std::process::Command::new(&ykmap);
        command.arg("--json").arg("doctor").arg("--pam-dir").arg(host.place.confdir()).arg("nobody");
        super::Visit::new(&mut command)
    };
    let chown = |path: &Path| std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    for folder in ["", "homes", "homes/nobody"] {
        chmod(&host.place.path(folder), 0o755);
    }
    chown(&home);
    host.raw_service("vlock", &line);
    // Root gets no advice to create a file that must belong to the user.
    let visit = doctor();
    let missing = visit.finds("error", "settings", &home.join("config.toml"), &["no such file"]);
    let change = format!("nobody runs: ykmap init --dir {}", home.display());
    assert!(missing["change"].as_str().unwrap().ends_with(&change), "{visit:#?}");

    fs::write(
        home.join("config.toml"),
        "mapping = \"authorized_yubikeys\"\nstore = \".\"\nstore_key = \"store.key\"\n",
    )
    .unwrap();
    chown(&home.join("config.toml"));
    let of_another = |visit: &super::Visit| {
        visit
            .findings
            .iter()
            .any(|it| it["level"] == "error" && it["what"].as_str().unwrap().contains("belongs to uid 65534"))
    };
    let visit = doctor();
    assert!(!of_another(&visit), "{visit:#?}");
    fs::rename(host.pam("vlock"), host.pam("sudo")).unwrap();
    let visit = doctor();
    assert!(of_another(&visit), "{visit:#?}");
    visit.exits_by_the_worst();
    assert_eq!(visit.said.code, Some(2));

    // A user who cannot run the command.
    fs::rename(host.pam("sudo"), host.pam("vlock")).unwrap();
    chmod(&ykmap, 0o700);
    let visit = doctor();
    let said = format!("{} cannot be run as uid 65534", ykmap.display());
    visit.finds("warning", "user", Path::new(""), &[&said]);
}
