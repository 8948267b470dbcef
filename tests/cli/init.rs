//! `ykmap init`: what it creates, with which modes, and what it does not touch.

use crate::desk::{Desk, chmod, is_root, mode, run, ykmap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use tests::built;
use tests::host::Host;
use tests::soft_yubikey::SoftYubiKey;

const SELF_CONTAINED: [(&str, u32); 6] = [
    ("", 0o700),
    ("config.toml", 0o644),
    ("authorized_yubikeys", 0o644),
    ("store.key", 0o600),
    ("keys", 0o700),
    ("positions", 0o700),
];

/// The command under a umask.
fn under(umask: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask $0; exec \"$@\"", umask]).arg(built::program("ykmap"));
    shell
}

#[test]
fn modes_and_owners_whatever_the_umask() {
    for umask in ["000", "022", "077", "777"] {
        let desk = Desk::bare();
        run(under(umask).arg("init").arg("--dir").arg(desk.dir())).exits(0);
        let me = rustix::process::geteuid().as_raw();
        for (name, wanted) in SELF_CONTAINED {
            let path = if name.is_empty() { desk.dir() } else { desk.file(name) };
            assert_eq!(mode(&path), wanted, "umask {umask}: {name}");
            assert_eq!(fs::metadata(&path).unwrap().uid(), me, "umask {umask}: {name}");
        }
        assert_eq!(desk.snapshot().len(), SELF_CONTAINED.len());

        let mut key = SoftYubiKey::numbered(1);
        let config = desk.file("config.toml");
        let log = desk.log(&[&key]);
        run(under(umask).arg("--config").arg(&config).args(["key", "import"]).arg(log)).exits(0);
        run(under(umask).arg("--config").arg(&config).args(["add", "alice", &key.press()])).exits(0);
        assert_eq!(mode(&desk.key_file(&key)), 0o600, "umask {umask}");
        assert_eq!(mode(&desk.position_file(&key)), 0o600, "umask {umask}");
        assert_eq!(mode(&desk.file("authorized_yubikeys")), 0o644, "umask {umask}");
    }
}

#[test]
fn again_keeps_everything() {
    let desk = Desk::with(&[&SoftYubiKey::numbered(1)]);
    let before = desk.snapshot();
    let said = run(ykmap().arg("init").arg("--dir").arg(desk.dir())).exits(0);
    assert_eq!(desk.snapshot(), before);
    for name in ["config.toml", "authorized_yubikeys", "store.key"] {
        assert!(said.out.contains(&format!("kept {}", desk.file(name).display())), "{said:?}");
    }
    assert!(!said.out.contains("created "), "{said:?}");
}

#[test]
fn by_config_does_the_same() {
    let desk = Desk::bare();
    run(desk.command().arg("init")).exits(0);
    assert_eq!(desk.snapshot().len(), SELF_CONTAINED.len());
    desk.ykmap(&["check"]).exits(0);
}

#[test]
fn finishes_what_is_missing() {
    let desk = Desk::with(&[&SoftYubiKey::numbered(1)]);
    let key = fs::read(desk.file("store.key")).unwrap();
    fs::remove_file(desk.file("authorized_yubikeys")).unwrap();
    let said = run(desk.command().arg("init")).exits(0);
    assert!(
        said.out.contains(&format!("created {}", desk.file("authorized_yubikeys").display())),
        "{said:?}"
    );
    assert_eq!(fs::read(desk.file("store.key")).unwrap(), key);
    assert_eq!(mode(&desk.file("authorized_yubikeys")), 0o644);
}

/// What packages do where there was something: an empty mapping in the place of a lost one would excuse everybody.
#[test]
fn upgrading_makes_nothing() {
    for (name, _) in SELF_CONTAINED.into_iter().skip(1) {
        let desk = Desk::new();
        let missing = desk.file(name);
        if missing.is_dir() { fs::remove_dir_all(&missing) } else { fs::remove_file(&missing) }.unwrap();
        let before = desk.snapshot();
        let said = desk.ykmap(&["init", "--upgrade"]).exits(2);
        assert!(said.err.contains(name), "{name}: {said:?}");
        assert_eq!(desk.snapshot(), before, "{name}");
    }
    let desk = Desk::new();
    let before = desk.snapshot();
    desk.ykmap(&["init", "--upgrade"]).exits(0);
    assert_eq!(desk.snapshot(), before);
}

#[test]
fn never_overwrites_a_store_key() {
    for damage in [b"".as_slice(), b"something else\n", b"# pam_yubiotp store key, version 2. Later.\n"] {
        let desk = Desk::new();
        fs::write(desk.file("store.key"), damage).unwrap();
        run(desk.command().arg("init")).faults(&desk.file("store.key"), "store-key-damaged");
        assert_eq!(fs::read(desk.file("store.key")).unwrap(), damage);
    }
    // a key that others could read may be known to them; that is for the administrator to judge
    let desk = Desk::new();
    let key = fs::read(desk.file("store.key")).unwrap();
    chmod(&desk.file("store.key"), 0o644);
    run(desk.command().arg("init")).faults(&desk.file("store.key"), "file-readable-by-others");
    assert_eq!((fs::read(desk.file("store.key")).unwrap(), mode(&desk.file("store.key"))), (key, 0o644));
    // kept on a stick that is not mounted
    let desk = Desk::new();
    fs::remove_file(desk.file("store.key")).unwrap();
    symlink(desk.beside("stick/store.key"), desk.file("store.key")).unwrap();
    fs::create_dir(desk.beside("stick")).unwrap();
    run(desk.command().arg("init")).faults(&desk.beside("stick/store.key"), "file-missing");
    assert!(desk.file("store.key").is_symlink());
}

#[test]
fn two_have_nothing_in_common() {
    let (one, other) = (Desk::new(), Desk::new());
    assert_ne!(fs::read(one.file("store.key")).unwrap(), fs::read(other.file("store.key")).unwrap());
}

#[test]
fn the_folder_can_be_moved() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    fs::rename(desk.dir(), desk.beside("elsewhere")).unwrap();
    let mut command = ykmap();
    command.arg("--config").arg(desk.beside("elsewhere/config.toml"));
    run(command.args(["verify", "alice", &key.press()])).exits(0).says("accepted: alice");
}

#[test]
fn paths_may_be_relative_to_where_one_stands() {
    let desk = Desk::bare();
    let beside = desk.beside("");
    run(ykmap().current_dir(&beside).args(["init", "--dir", "yubiotp"])).exits(0);
    run(ykmap().current_dir(&beside).args(["--config", "yubiotp/config.toml", "check"])).exits(0);
    run(ykmap().current_dir(desk.dir()).args(["--config", "config.toml", "check"])).exits(0);
}

#[test]
fn refuses_a_place_that_others_may_change() {
    let desk = Desk::bare();
    fs::create_dir(desk.dir()).unwrap();
    chmod(&desk.dir(), 0o777);
    run(ykmap().arg("init").arg("--dir").arg(desk.dir())).faults(&desk.dir(), "file-writable-by-others");
    assert_eq!(desk.snapshot().len(), 1);
}

#[test]
fn the_system_paths() {
    if !is_root() {
        return tests::skip("needs root");
    }
    for umask in ["000", "077"] {
        let host = match Host::start() {
            Ok(host) => host,
            Err(why) => return tests::skip(&why),
        };
        let ykmap = host.path().join("ykmap");
        fs::copy(built::program("ykmap"), &ykmap).unwrap();
        let ykmap = ykmap.to_str().unwrap();
        let script = format!("umask {umask}; exec {ykmap} init");
        let init = host.run(&["sh", "-c", &script]);
        assert_eq!(init.status.code(), Some(0), "{}", String::from_utf8_lossy(&init.stderr));
        for (path, wanted) in [
            ("/etc/yubiotp", 0o755),
            ("/etc/yubiotp/config.toml", 0o644),
            ("/etc/yubiotp/authorized_yubikeys", 0o644),
            ("/etc/yubiotp/store.key", 0o600),
            ("/var/lib/yubiotp", 0o711),
            ("/var/lib/yubiotp/keys", 0o700),
            ("/var/lib/yubiotp/positions", 0o700),
        ] {
            let inside = host.inside(path);
            let metadata = fs::metadata(&inside).unwrap();
            assert_eq!(mode(&inside), wanted, "umask {umask}: {path}");
            assert_eq!((metadata.uid(), metadata.gid()), (0, 0), "{path}");
        }
        let mut key = SoftYubiKey::numbered(1);
        host.write("/root/log.csv", key.traditional_log_line(), 0o600);
        for (arguments, code) in [
            (["key", "import", "/root/log.csv"], 0),
            (["add", "alice", &key.press()], 0),
            (["verify", "alice", &key.press()], 0),
            (["verify", "bob", &key.press()], 1),
        ] {
            let done = host.run(&[&[ykmap], &arguments[..]].concat());
            assert_eq!(done.status.code(), Some(code), "{arguments:?} {done:?}");
        }
    }
}

/// Of many that begin together, one creates the store key, and it stays.
#[test]
fn at_once_one_makes_the_store_key() {
    for round in 0..20 {
        let desk = Desk::bare();
        fs::create_dir(desk.dir()).unwrap();
        let begin = || {
            let mut command = desk.command();
            command.args(["init", "--json"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        };
        let children: Vec<_> = (0..6).map(|_| begin()).collect();
        let made = children
            .into_iter()
            .map(|child| String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
            .filter_map(|said| serde_json::from_str::<serde_json::Value>(&said).ok())
            .filter(|said| {
                said["made"].as_array().unwrap().contains(&desk.file("store.key").to_str().unwrap().into())
            })
            .count();
        assert_eq!(made, 1, "round {round}: two is a store key overwritten, none is every one failed");
    }
}
