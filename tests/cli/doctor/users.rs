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
    host.doctor(&["alice"]).finds("ok", "user", Path::new("alice"), &["token-usable", &id]);
    host.doctor(&["bob"]).finds(
        "error",
        "user",
        Path::new("bob"),
        &["user-not-listed", "sudo:2", "add bob", mapping.to_str().unwrap()],
    );
    host.place.write("authorized_yubikeys", format!("alice:{id}\ncarol:\n"), 0o644);
    host.doctor(&["carol"]).finds("error", "user", Path::new("carol"), &["user-without-token"]);
    let second = SoftYubiKey::numbered(2);
    host.place.enrol("alice", &second);
    assert!(host.place.ykmap(&["key", "disable", &id]).status.success());
    let visit = host.doctor(&["alice"]);
    visit.finds("note", "user", Path::new("alice"), &["token-disabled", &id, "key enable"]);
    visit.finds("ok", "user", Path::new("alice"), &["token-usable", &second.public_id()]);
    assert!(host.place.ykmap(&["key", "disable", &second.public_id()]).status.success());
    assert_eq!(host.doctor(&["alice"]).of("error").len(), 2, "none of hers is good");
    // Of two, each is reported.
    let both = host.doctor(&["alice", "bob"]);
    both.finds("error", "user", Path::new("bob"), &["user-not-listed"]);
    both.finds("error", "user", Path::new("alice"), &["token-disabled"]);
}

#[test]
fn whom_nullok_excuses() {
    let host = Host::new();
    host.service(
        "login",
        "auth required pam_unix.so\nauth required pam_yubiotp.so nullok\naccount required pam_unix.so\n",
    );
    let visit = host.doctor(&["bob"]);
    visit.finds("error", "user", Path::new("bob"), &["user-not-listed", "sudo:2"]);
    visit.finds("note", "user", Path::new("bob"), &["user-excused", "login:2"]);
}

/// Another spelling of a name that is listed is a fault at a login, and here.
#[test]
fn another_spelling() {
    let host = Host::new();
    for user in ["Alice", "EX+alice", "alice@ex.org"] {
        host.doctor(&[user]).finds("error", "user", Path::new(user), &["mapping-other-spelling", "add "]);
    }
    host.place.write("authorized_yubikeys", format!("alice:{}\n", host.key.public_id()), 0o644);
    host.service("login", "auth required pam_unix.so\nauth required pam_yubiotp.so nullok\n");
    let visit = host.doctor(&["ren\u{e9}"]);
    visit.finds("error", "user", Path::new("ren\u{e9}"), &["mapping-name-not-plain", "login:2"]);
    assert!(!visit.has("user-excused"), "{visit:#?}");
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
    visit.finds("ok", "user", Path::new("alice"), &["token-usable"]);
    visit.finds("error", "user", Path::new("bob"), &["user-not-listed", "users/bob"]);
    let other = host.place.path("users/alice");
    host.doctor(&["Alice"]).finds(
        "error",
        "user",
        Path::new("Alice"),
        &["mapping-other-spelling", &other.display().to_string()],
    );
    host.doctor(&["../alice"]).finds("error", "user", Path::new(""), &["user-name-in-path"]);
}

/// Whatever is wrong, each user who is named has a finding of their own.
#[test]
fn a_row_for_everybody() {
    let row = |spoil: &dyn Fn(&Host), level: &str, words: &[&str]| {
        let host = Host::new();
        spoil(&host);
        for user in ["alice", "dave"] {
            let visit = host.doctor(&["alice", "dave"]);
            let rows = visit.findings.iter().filter(|it| it["area"] == "user");
            let found = rows.filter(|it| it["location"]["user"] == user);
            assert_eq!(found.count(), 1, "{user}: {visit:#?}");
        }
        host.doctor(&["alice"]).finds(level, "user", Path::new(""), words);
    };
    let mapping = |host: &Host, lines: &str| {
        host.place.write("authorized_yubikeys", lines, 0o644);
    };
    row(&|host| mapping(host, "alice:nothex!\ndave:nothex!\n"), "error", &["mapping-line-invalid"]);
    row(&|host| mapping(host, ""), "error", &["user-refused", "(see mapping)"]);
    row(&|host| host.place.write("config.toml", "x", 0o644), "error", &["user-refused", "(see settings)"]);
    let writable = |host: &Host| chmod(&host.place.path("authorized_yubikeys"), 0o666);
    row(&writable, "error", &["user-refused", "(see files)"]);
}

/// What refuses everybody keeps a good token from being called good.
#[test]
fn a_good_token_below_something_bad() {
    let host = Host::new();
    let good = |host: &Host| {
        host.doctor(&["alice"]).finds("note", "user", Path::new(""), &["token-usable"]);
    };
    host.service("sudo", &SUDO.replace("pam_yubiotp.so", "pam_yubiotp.so tires=3"));
    good(&host);
    host.service("sudo", "auth required pam_unix.so\naccount required pam_yubiotp.so\n");
    good(&host);
    host.service("sudo", SUDO);
    fs::remove_file(host.place.path("pam_yubiotp.so")).unwrap();
    good(&host);
}

/// One rule for everybody who cannot log in: a fault, a rejection, and what an administrator decided. Another token that
/// works takes one step off, and who is asked about by name is an error.
#[test]
fn how_severe_it_is_that_somebody_cannot_log_in() {
    let second = SoftYubiKey::numbered(2);
    type Spoil = fn(&Host, &str);
    let cases: [(&str, [&str; 2], Spoil); 4] = [
        ("key-missing", ["error", "warning"], |host, id| {
            assert!(host.place.ykmap(&["key", "remove", id]).status.success());
        }),
        ("position-missing", ["error", "warning"], |host, id| {
            fs::remove_file(host.place.path("positions").join(id)).unwrap();
        }),
        ("token-needs-resync", ["warning", "note"], |host, id| {
            fs::remove_file(host.place.path("positions").join(id)).unwrap();
            assert!(host.place.ykmap(&["key", "remove", id]).status.success());
            let line = SoftYubiKey::numbered(1).traditional_log_line();
            host.place.write("log.csv", line, 0o600);
            let log = host.place.path("log.csv");
            assert!(host.place.ykmap(&["key", "import", log.to_str().unwrap()]).status.success());
        }),
        ("token-disabled", ["note", "note"], |host, id| {
            assert!(host.place.ykmap(&["key", "disable", id]).status.success());
        }),
    ];
    for (code, severities, spoil) in cases {
        for (has_another, severity) in [false, true].into_iter().zip(severities) {
            let host = Host::new();
            if has_another {
                host.place.enrol("alice", &second);
            }
            spoil(&host, &host.key.public_id());
            let of = |visit: &super::Visit, area: &str| {
                let found = visit.findings.iter().find(|it| it["code"] == code && it["area"] == area);
                found.unwrap_or_else(|| panic!("{code} in {area}: {visit:#?}"))["severity"].clone()
            };
            assert_eq!(of(&host.doctor(&[]), "mapping"), severity, "{code} {has_another}");
            let named = if has_another { severity } else { "error" };
            assert_eq!(of(&host.doctor(&["alice"]), "user"), named, "{code} {has_another}");
        }
    }
}

/// Only the logins that fail are said to.
#[test]
fn a_good_token_where_one_service_fails() {
    let host = Host::new();
    let end = |host: &Host| {
        let visit = host.doctor(&["alice"]);
        let found = visit.findings.iter().find(|it| it["code"] == "token-usable").cloned().unwrap();
        (found["severity"].as_str().unwrap().to_owned(), found["problem"].as_str().unwrap().to_owned())
    };
    host.service("su", SUDO);
    host.service("login", "auth optional pam_yubiotp.so\naccount required pam_unix.so\n");
    // An error about a service by which everybody gets in.
    let said = end(&host);
    assert_eq!(said.0, "ok", "{said:?}");
    host.service("su", &SUDO.replace("pam_yubiotp.so", "pam_yubiotp.so tires=3"));
    let said = end(&host);
    assert!(said.0 == "note" && said.1.contains(" by su fails ") && !said.1.contains("sudo"), "{said:?}");
    fs::remove_file(host.pam("login")).unwrap();
    host.service("sudo", &SUDO.replace("pam_yubiotp.so", "pam_yubiotp.so tires=3"));
    let said = end(&host);
    assert!(said.0 == "note" && said.1.contains("every login fails"), "{said:?}");
}

/// Commands that are advised continue with the settings that they are about.
#[test]
fn commands_name_the_settings() {
    let host = Host::new();
    let own = format!("ykmap --config {} ", host.place.config().display());
    let visit = host.doctor(&["bob"]);
    visit.finds("error", "user", Path::new(""), &["user-not-listed", &format!("{own}add bob")]);
    assert!(host.place.ykmap(&["key", "disable", &host.key.public_id()]).status.success());
    let visit = host.doctor(&["alice"]);
    visit.finds("error", "user", Path::new(""), &["token-disabled", &format!("{own}key enable")]);
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
    // Root does not make what is to be the user's.
    let visit = doctor();
    let missing = visit.finds("error", "settings", &home.join("config.toml"), &["config-missing"]);
    let init = format!("as nobody and run: ykmap init --dir {}", home.display());
    assert!(super::text_of(missing).contains(&init), "{visit:#?}");
    assert_eq!(commands(&visit), [""; 0]);

    fs::write(
        home.join("config.toml"),
        "mapping = \"authorized_yubikeys\"\nstore = \".\"\nstore_key = \"store.key\"\n",
    )
    .unwrap();
    chown(&home.join("config.toml"));
    let of_another = |visit: &super::Visit| {
        visit.findings.iter().any(|it| it["severity"] == "error" && it["code"] == "file-of-other-owner")
    };
    let visit = doctor();
    assert!(!of_another(&visit), "{visit:#?}");
    fs::rename(host.pam("vlock"), host.pam("sudo")).unwrap();
    let visit = doctor();
    assert!(of_another(&visit), "{visit:#?}");
    visit.exits_by_the_worst();
    assert_eq!(visit.said.code, Some(2));

    // Root's doctor starts nothing as the user: the command itself is not for that user.
    fs::rename(host.pam("sudo"), host.pam("vlock")).unwrap();
    let before = doctor();
    chmod(&ykmap, 0o700);
    let after = doctor();
    assert!(!after.has("not-checked") && !of_another(&after), "{after:#?}");
    assert_eq!(after.findings, before.findings);
}

/// The commands that are shown as such.
fn commands(visit: &super::Visit) -> Vec<&str> {
    let remedies = visit.findings.iter().filter_map(|it| it["remedies"].as_array()).flatten();
    remedies.filter_map(|it| it["command"].as_str()).collect()
}

/// A user chooses what their settings name. Root must not be advised to change that.
#[test]
fn what_a_user_names_is_in_no_command() {
    if !crate::desk::is_root() {
        return;
    }
    let host = Host::new();
    let (home, others) = (host.place.path("users/nobody"), host.place.path("others"));
    fs::create_dir_all(&home).unwrap();
    for folder in [host.place.path(""), host.place.path("users"), home.clone()] {
        chmod(&folder, 0o755);
    }
    host.shown_to_others();
    let chown = |path: &Path, id: u32| std::os::unix::fs::chown(path, Some(id), Some(id)).unwrap();
    chown(&home, 65534);
    fs::write(&others, "nobody:\n").unwrap();
    chmod(&others, 0o666);
    chown(&others, 4242);
    host.place.write("secret", "secret\n", 0o600);
    let module = host.place.path("pam_yubiotp.so");
    let config = host.place.path("users/%u/config.toml");
    fs::remove_file(host.pam("sudo")).unwrap();
    host.raw_service("vlock", &format!("auth required {} config={}\n", module.display(), config.display()));
    let (others, secret) = (others.display().to_string(), host.place.path("secret").display().to_string());
    let online = "mode = \"online\"\n[online]\nurls = [\"https://127.0.0.1:1/\"]\nclient_id = 1\n";
    let mine = "mapping = \"authorized_yubikeys\"\nstore = \".\"\nstore_key = \"store.key\"\n";
    for (settings, place, code) in [
        (format!("{mine}{online}api_key_file = \"{secret}\"\n"), &secret, None),
        (format!("{mine}{online}client_key = \"{others}\"\nclient_cert = \"{others}\"\n"), &others, None),
        (mine.replace("authorized_yubikeys", &others), &others, Some("file-of-other-owner")),
        (mine.replace("store.key", &others), &others, Some("file-of-other-owner")),
    ] {
        fs::write(home.join("config.toml"), settings).unwrap();
        chown(&home.join("config.toml"), 65534);
        let visit = host.doctor(&["nobody"]);
        let about = |it: &&serde_json::Value| super::place_of(it).starts_with(place.as_str());
        let found: Vec<_> = visit.findings.iter().filter(about).collect();
        assert!(!found.is_empty(), "{place}: {visit:#?}");
        assert!(code.is_none_or(|code| found.iter().any(|it| it["code"] == code)), "{visit:#?}");
        let own = format!("{}\n", commands(&visit).join("\n"));
        assert!(!own.contains(place.as_str()) && !own.contains("chown"), "{own}");
        assert!(!own.contains(&home.display().to_string()), "{own}");
        visit.exits_by_the_worst();
    }
}
