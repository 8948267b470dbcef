//! The whole life as somebody without rights, in a folder that they own.

use crate::desk::{Desk, Said, chmod, is_root, run};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::process::Command;
use tests::built;
use tests::soft_yubikey::SoftYubiKey;

const UID: u32 = 12_345;

struct Somebody(Desk);

impl Somebody {
    /// Their folder, with a copy of the command: where it was built may be closed to them.
    fn new() -> Self {
        let desk = Desk::bare();
        fs::copy(built::program("ykmap"), desk.beside("ykmap")).unwrap();
        chown(desk.beside(""), Some(UID), Some(UID)).unwrap();
        Self(desk)
    }

    fn ykmap(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new("setpriv");
        let ids = [format!("--reuid={UID}"), format!("--regid={UID}")];
        command.args(ids).args(["--clear-groups", "--no-new-privs", "--"]).arg(self.0.beside("ykmap"));
        run(command.arg("--config").arg(self.0.file("config.toml")).args(arguments).current_dir("/"))
    }
}

#[test]
fn the_whole_life() {
    if !is_root() {
        return tests::skip("needs root; without it every other test is this one");
    }
    let (mut key, mut second) = (SoftYubiKey::numbered(1), SoftYubiKey::numbered(2));
    let somebody = Somebody::new();
    somebody.ykmap(&["init"]).exits(0);
    let log = somebody.0.log(&[&key, &second]);
    chown(&log, Some(UID), None).unwrap();
    somebody.ykmap(&["key", "import", log.to_str().unwrap()]).exits(0).says("imported 2 keys");
    somebody.ykmap(&["add", "alice", &key.press(), &second.press()]).exits(0);
    let press = key.press();
    somebody.ykmap(&["verify", "alice", &press]).exits(0);
    somebody.ykmap(&["verify", "alice", &press]).exits(1).says("[otp-replayed]");
    somebody.ykmap(&["verify", "bob", &press]).exits(1).says("not listed");
    somebody.ykmap(&["check"]).exits(0);
    somebody.ykmap(&["list"]).exits(0).says("alice");
    somebody.ykmap(&["otp", &key.press()]).exits(0);
    somebody.ykmap(&["key", "list"]).exits(0);
    somebody.ykmap(&["key", "new"]).exits(0);
    let id = second.public_id();
    for verb in ["show", "disable", "enable", "adopt"] {
        somebody.ykmap(&["key", verb, &id]).exits(0);
    }
    let export = somebody.ykmap(&["key", "export", "--in-the-clear", &id]).exits(0).out;
    assert!(export.contains(&second.aes_key_hex()));
    somebody.ykmap(&["remove", "alice", &id]).exits(0);
    somebody.ykmap(&["key", "remove", &id]).exits(0);
    for (path, (_, uid, _)) in somebody.0.snapshot() {
        assert_eq!(uid, UID, "{}", path.display());
    }
    // root may use files of root or of the running user, and this is neither
    let said = somebody.0.ykmap(&["verify", "alice", &key.press()]);
    assert!(said.code == Some(2) && said.err.contains("belongs to uid 12345"), "{said:?}");
}

#[test]
fn the_systems_files_are_refused_with_the_reason() {
    if !is_root() {
        return tests::skip("needs root");
    }
    let somebody = Somebody::new();
    chown(somebody.0.beside(""), Some(0), Some(0)).unwrap();
    chmod(&somebody.0.beside(""), 0o755);
    run(somebody.0.command().arg("init")).exits(0);
    let said = somebody.ykmap(&["verify", "alice", "x"]);
    said.exits(2).has("file-inaccessible").notes("Permission denied. Run the command as root");
    // Before a touch is asked for.
    chmod(&somebody.0.dir(), 0o755);
    let said = somebody.ykmap(&["add", "alice"]).exits(2).has("not-root");
    assert!(said.err.contains("sudo ykmap --config ") && said.err.contains(" add alice ["), "{said:?}");
    assert!(!said.err.contains("Touch") && !said.err.contains("os error"), "{said:?}");
    assert_eq!(fs::metadata(somebody.0.dir()).unwrap().uid(), 0);
}
