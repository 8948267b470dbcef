//! The world fails: exit status 2, and a message that names the file and says what to change. One fault a test.

use crate::desk::{Desk, Said, chmod, is_root};
use rustix::fs::FlockOperation;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::built;
use tests::soft_yubikey::SoftYubiKey;

/// Breaks something, and then alice logs in.
fn broken(break_it: impl FnOnce(&Desk, &SoftYubiKey)) -> (Desk, SoftYubiKey, Said) {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    desk.verify("alice", &key.press()).exits(0);
    break_it(&desk, &key);
    let said = desk.verify("alice", &key.press());
    (desk, key, said)
}

/// Breaks the one file that the fault is to name.
#[track_caller]
fn broken_file(
    file: impl Fn(&Desk, &SoftYubiKey) -> PathBuf,
    break_it: impl FnOnce(&Path),
    why: &str,
) -> Desk {
    let (desk, key, said) = broken(|desk, key| break_it(&file(desk, key)));
    said.faults(&file(&desk, &key), why);
    desk
}

fn store_key(desk: &Desk, _: &SoftYubiKey) -> PathBuf {
    desk.file("store.key")
}

fn mapping(desk: &Desk, _: &SoftYubiKey) -> PathBuf {
    desk.file("authorized_yubikeys")
}

fn config(desk: &Desk, _: &SoftYubiKey) -> PathBuf {
    desk.file("config.toml")
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

const ANYBODY: &str = "file-readable-by-others";

#[test]
fn store_key_that_others_may_read() {
    let desk = broken_file(store_key, |path| chmod(path, 0o644), ANYBODY);
    chmod(&desk.file("store.key"), 0o600);
    desk.ykmap(&["check"]).exits(0);
}

#[test]
fn key_file_that_others_may_read() {
    broken_file(Desk::key_file, |path| chmod(path, 0o644), ANYBODY);
}

#[test]
fn position_file_that_others_may_read() {
    broken_file(Desk::position_file, |path| chmod(path, 0o644), ANYBODY);
}

#[test]
fn store_key_gone() {
    broken_file(store_key, |path| fs::remove_file(path).unwrap(), "store-key-missing");
}

#[test]
fn store_key_damaged() {
    broken_file(store_key, |path| replace(path, "key: ", "key: A"), "store-key-damaged");
}

#[test]
fn key_gone() {
    broken_file(Desk::key_file, |path| fs::remove_file(path).unwrap(), "key-missing");
}

#[test]
fn key_damaged() {
    broken_file(
        Desk::key_file,
        |path| File::options().write(true).open(path).unwrap().set_len(200).unwrap(),
        "key-damaged",
    );
}

#[test]
fn key_of_another_token() {
    let other = SoftYubiKey::numbered(2);
    let (desk, key, said) = broken(|desk, key| {
        desk.import(&[&other]).exits(0);
        fs::copy(desk.key_file(&other), desk.key_file(key)).unwrap();
    });
    said.faults(&desk.key_file(&key), "key-damaged").notes("vvcccccccccd");
    replace(&desk.key_file(&key), &other.public_id(), &key.public_id());
    let mut key = key;
    desk.verify("alice", &key.press()).faults(&desk.key_file(&key), "key-seal-broken");
}

#[test]
fn sealed_under_another_store_key() {
    let (desk, key, said) = broken(|desk, _| {
        let other = Desk::new();
        fs::copy(other.file("store.key"), desk.file("store.key")).unwrap();
    });
    let said = said.faults(&desk.key_file(&key), "key-sealed-elsewhere");
    said.notes(&desk.file("store.key").display().to_string());
}

#[test]
fn position_gone() {
    broken_file(Desk::position_file, |path| fs::remove_file(path).unwrap(), "position-missing");
}

#[test]
fn position_truncated() {
    for length in [0, 100, 4096, 8191, 8193] {
        let cut = |path: &Path| File::options().write(true).open(path).unwrap().set_len(length).unwrap();
        broken_file(Desk::position_file, cut, "position-damaged");
    }
}

#[test]
fn position_corrupt_in_both_slots() {
    let damage = |path: &Path| [200, 4096 + 200].into_iter().for_each(|offset| flip(path, offset));
    broken_file(Desk::position_file, damage, "position-damaged");
}

/// Whichever slot it is: the other one counts, never further back than one login, and the damage is reported.
#[test]
fn position_corrupt_in_one_slot() {
    for offset in [130, 4096 + 130] {
        let mut key = SoftYubiKey::numbered(1);
        let desk = Desk::with(&[&key]);
        for _ in 0..3 {
            desk.verify("alice", &key.press()).exits(0);
        }
        flip(&desk.position_file(&key), offset);
        let shown = desk.ykmap(&["key", "show", &key.public_id()]).exits(0);
        shown.says("damage         one of its two slots: a write was cut off, or the disk is failing");
        let json = desk.ykmap(&["--json", "key", "show", &key.public_id()]).json();
        let json = if json.is_array() { json[0].clone() } else { json };
        assert_eq!(json["slot_damaged"], true);
        let press = key.press();
        desk.verify("alice", &press).exits(0);
        desk.verify("alice", &press).exits(1);
        let healed = desk.ykmap(&["key", "show", &key.public_id()]).exits(0);
        assert!(!healed.out.contains("damage"), "the next login wrote over it: {healed:?}");
    }
}

#[test]
fn written_by_a_later_version() {
    let later = |path: &Path| replace(path, "version 1", "version 9");
    broken_file(Desk::position_file, later, "position-damaged");
    broken_file(Desk::key_file, later, "key-damaged");
    broken_file(store_key, later, "store-key-damaged");
}

#[test]
fn position_of_another_token() {
    let other = SoftYubiKey::numbered(2);
    let (desk, key, said) = broken(|desk, key| {
        desk.import(&[&other]).exits(0);
        fs::copy(desk.position_file(&other), desk.position_file(key)).unwrap();
    });
    said.faults(&desk.position_file(&key), "position-damaged").notes("vvcccccccccd");
}

#[test]
fn position_locked_by_somebody() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    let config = desk.file("config.toml");
    fs::write(&config, fs::read_to_string(&config).unwrap() + "lock_wait = 1\n").unwrap();
    let held = File::open(desk.position_file(&key)).unwrap();
    rustix::fs::flock(&held, FlockOperation::LockExclusive).unwrap();
    let press = key.press();
    desk.verify("alice", &press).faults(&desk.position_file(&key), "file-locked");
    drop(held);
    desk.verify("alice", &press).exits(0);
}

#[test]
fn may_not_write_a_whole_position() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 1; exec \"$@\"", "sh"]).arg(built::program("ykmap")).arg("--config");
    let press = key.press();
    let said = crate::desk::run(shell.arg(desk.file("config.toml")).args(["verify", "alice", &press]));
    said.faults(&desk.position_file(&key), "file-size-limit");
    desk.verify("alice", &press).exits(0);
}

#[test]
fn mapping_that_others_may_write() {
    let why = "file-writable-by-others";
    broken_file(mapping, |path| chmod(path, 0o664), why);
    broken_file(config, |path| chmod(path, 0o664), why);
    broken_file(Desk::key_file, |path| chmod(path, 0o620), "file-writable-by-others");
}

#[test]
fn folder_on_the_way_that_others_may_write() {
    for folder in ["", "keys", "positions"] {
        let path = |desk: &Desk| if folder.is_empty() { desk.dir() } else { desk.file(folder) };
        let (desk, _, said) = broken(|desk, _| chmod(&path(desk), 0o777));
        let chmod = format!("chmod go-w {}", path(&desk).display());
        said.faults(&path(&desk), "file-writable-by-others").notes(&chmod);
    }
    let (desk, _, said) = broken(|desk, _| chmod(desk.dir().parent().unwrap(), 0o777));
    said.faults(desk.dir().parent().unwrap(), "file-writable-by-others");
    let (_, _, said) = broken(|desk, _| chmod(desk.dir().parent().unwrap(), 0o1777)); // as /tmp
    said.exits(0);
}

#[test]
fn mapping_gone() {
    broken_file(mapping, |path| fs::remove_file(path).unwrap(), "mapping-missing");
}

#[test]
fn mapping_that_is_no_file() {
    let folder = |path: &Path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    };
    broken_file(mapping, folder, "file-of-wrong-kind");
    let fifo = |path: &Path| {
        fs::remove_file(path).unwrap();
        assert!(Command::new("mkfifo").args(["-m", "644"]).arg(path).status().unwrap().success());
    };
    broken_file(mapping, fifo, "file-of-wrong-kind");
}

#[test]
fn mapping_with_a_bad_line() {
    let (desk, _, said) = broken(|desk, _| desk.map("# people\nbob:vvcccccccccb\nalice:vvcccccccccb,vvcb\n"));
    let said = said.faults(&desk.file("authorized_yubikeys"), "mapping-line-invalid");
    said.notes("authorized_yubikeys:3: field 2: ").notes("character 13 ");
}

#[test]
fn files_of_somebody_else() {
    if !is_root() {
        return tests::skip("needs root");
    }
    let why = "file-of-other-owner";
    let give_away = |path: &Path| std::os::unix::fs::chown(path, Some(12345), None).unwrap();
    for file in [store_key, mapping, config, Desk::key_file, Desk::position_file] {
        broken_file(file, give_away, why);
    }
    broken_file(|desk, _| desk.dir(), give_away, why);
}

#[test]
fn links_in_the_store() {
    let linked = |path: &Path| {
        let target = path.with_file_name("elsewhere");
        fs::rename(path, &target).unwrap();
        symlink(&target, path).unwrap();
    };
    broken_file(Desk::key_file, linked, "file-is-link");
    broken_file(Desk::position_file, linked, "file-is-link");
}

#[test]
fn settings_that_are_none() {
    let with = |line: &'static str| {
        move |path: &Path| fs::write(path, line.to_owned() + &fs::read_to_string(path).unwrap()).unwrap()
    };
    broken_file(config, with("nullok = true\n"), "setting-unknown");
    broken_file(config, with("tries = 0\n"), "setting-invalid");
    broken_file(config, with("token_id_length = 13\n"), "setting-invalid");
    broken_file(config, with("echo = \"yes\"\n"), "setting-invalid");
    broken_file(config, with("tries\n"), "setting-invalid");
    broken_file(config, |path| fs::remove_file(path).unwrap(), "config-missing");
}

/// What one's own token cannot decide, another's fault does not decide either.
#[test]
fn another_tokens_fault_stays_theirs() {
    let (mut first, second) = (SoftYubiKey::numbered(1), SoftYubiKey::numbered(2));
    let desk = Desk::with(&[&first, &second]);
    desk.ykmap(&["add", "alice", &second.public_id()]).exits(0);
    fs::remove_file(desk.key_file(&second)).unwrap();
    fs::remove_file(desk.position_file(&second)).unwrap();
    desk.verify("alice", &first.press()).exits(0);
}
