//! Backups that are refused, with nothing written.

use crate::host::Host;
use std::fs;
use std::process::Command;

/// The files of the host and their contents.
fn snapshot(host: &Host) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for folder in ["", "keys", "positions"] {
        for entry in fs::read_dir(host.place.path(folder)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() && !entry.file_name().to_str().unwrap().contains(".lock")
            {
                all.push((entry.path().display().to_string(), fs::read(entry.path()).unwrap()));
            }
        }
    }
    all.sort_unstable();
    all
}

#[test]
fn with_a_reason_and_nothing_written() {
    let host = Host::new();
    let file = host.backup();
    let text = fs::read_to_string(&file).unwrap();
    let bad = host.file("bad.backup");
    let bad = bad.to_str().unwrap();
    let refused = |text: &str, code: &str| {
        fs::write(bad, text).unwrap();
        let before = snapshot(&host);
        let said = host.ykmap(&["--json", "restore", bad]).exits(2);
        assert_eq!(said.finding(), code, "{said:?}");
        assert_eq!(snapshot(&host), before);
        said
    };
    refused("", "backup-damaged");
    refused(&text[..text.len() / 2], "backup-damaged");
    refused(&text.replacen("made: 1", "made: 2", 1), "backup-damaged");
    refused(&text.replacen("version 1", "version 2", 1), "backup-later-version");
    let at = text.rfind("sealed: ").unwrap() + 90;
    let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
    refused(&format!("{}{other}{}", &text[..at], &text[at + 1..]), "backup-damaged");
    // Another store key: both are named, and where to put the right one.
    let key = fs::read_to_string(host.place.path("store.key")).unwrap();
    fs::remove_file(host.place.path("store.key")).unwrap();
    host.loses_its_store();
    let init = tests::scratch::command("ykmap").arg("init").arg("--dir").arg(host.place.host()).output();
    assert!(init.unwrap().status.success());
    let said = refused(&text, "backup-other-store-key");
    let id = key.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    assert!(said.out.contains(id) && said.out.contains("store.key"), "{said:?}");
}

/// A file that is no backup is not replaced by one, and a backup is.
#[test]
fn what_is_no_backup_is_not_overwritten() {
    let host = Host::new();
    let (file, other) = (host.backup(), host.file("notes.txt"));
    host.ykmap(&["backup", &file]).exits(0);
    fs::write(&other, "mine\n").unwrap();
    let said = host.ykmap(&["--json", "backup", other.to_str().unwrap()]).exits(2);
    assert_eq!(said.finding(), "backup-not-overwritten");
    assert_eq!(fs::read_to_string(&other).unwrap(), "mine\n");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // Nothing of the settings or keys shows.
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&host.yubikey.public_id()) && text.lines().count() == 5, "{text}");
    let noted = fs::read_to_string(host.place.path("last-backup")).unwrap();
    assert!(noted.contains("made: ") && noted.contains(&file), "{noted}");
}

#[test]
fn of_another_host_only_if_it_is_said() {
    let host = Host::new();
    let file = host.backup();
    let ykmap = tests::scratch::command("ykmap");
    let elsewhere = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--uts", "sh", "-c", "hostname elsewhere.example && exec \"$@\"", "sh"]);
        command
            .arg(ykmap.get_program())
            .args(["--json", "--config"])
            .arg(host.place.config())
            .args(arguments);
        command.output().unwrap()
    };
    let refused = elsewhere(&["restore", &file]);
    let said = String::from_utf8_lossy(&refused.stderr);
    if said.contains("unshare") {
        return tests::skip("no namespace for a host name");
    }
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(String::from_utf8_lossy(&refused.stdout).contains("backup-other-host"), "{refused:?}");
    assert_eq!(elsewhere(&["restore", "--other-host", &file]).status.code(), Some(0));
}

/// A dry run says everything that is to be decided, and that something would change.
#[test]
fn a_dry_run_names_all_that_differs() {
    let host = Host::new();
    let file = host.backup();
    let config = host.place.config();
    fs::write(&config, fs::read_to_string(&config).unwrap() + "lock_wait = 3\n").unwrap();
    host.ykmap(&["remove", "carol"]).exits(0);
    let before = snapshot(&host);
    for (arguments, status) in [(&["--dry-run"][..], 3), (&[], 2)] {
        let said = host.ykmap(&[&["restore"], arguments, &[&file]].concat()).exits(status);
        assert!(said.err.contains("--keep-config") && said.err.contains("--keep-mapping"), "{said:?}");
    }
    assert_eq!(snapshot(&host), before);
}

/// Keys under two store keys open under none of them.
#[test]
fn no_backup_while_the_store_key_is_replaced() {
    let host = Host::new();
    let (earlier, file) = (host.backup(), host.file("none.backup"));
    let path = host.place.path("store.key");
    let [former, current] = ["a", "b"].map(|name| {
        let dir = host.file(name);
        let made = tests::scratch::command("ykmap").arg("init").arg("--dir").arg(&dir).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        fs::read_to_string(dir.join("store.key")).unwrap()
    });
    let of = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned).unwrap()
    };
    // As `ykmap key rotate-store-key` leaves it if it is interrupted (docs/store.md).
    let template = former.lines().next().unwrap().replace("version 1", "version 2");
    let both = format!(
        "{template}\n# The former key is being replaced: rotate-store-key finishes that, and removes it from here.\n\
         id: {}\nkey: {}\nformer-id: {}\nformer-key: {}\n",
        of(&current, "id: "),
        of(&current, "key: "),
        of(&former, "id: "),
        of(&former, "key: ")
    );
    fs::write(&path, both).unwrap();
    let said = host.ykmap(&["--json", "backup", file.to_str().unwrap()]).exits(2);
    assert_eq!(said.finding(), "store-key-rotation-unfinished", "{said:?}");
    assert!(!file.exists());
    // An earlier one stays as it is.
    let before = fs::read(&earlier).unwrap();
    host.ykmap(&["backup", &earlier]).exits(2);
    assert_eq!(fs::read(&earlier).unwrap(), before);
}
