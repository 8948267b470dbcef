//! An import that is killed, at each of its steps, and run again.

use crate::desk::{Desk, hidden};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};
use tests::soft_yubikey::SoftYubiKey;

const COUNT: u32 = 20_000;

fn visible(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

type Moment<'a> = &'a dyn Fn(&Desk) -> bool;

/// Kills the import as soon as `moment` is there; whether it still ran.
fn import_until(desk: &Desk, log: &Path, moment: Moment<'_>) -> bool {
    let mut command = desk.command();
    command.args(["key", "import"]).arg(log).stdout(Stdio::null()).stderr(Stdio::null());
    let mut import = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while import.try_wait().unwrap().is_none() && Instant::now() < deadline {
        if moment(desk) {
            import.kill().unwrap();
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    !import.wait().unwrap().success()
}

#[test]
fn at_every_step_and_run_again() {
    let desk = Desk::in_memory();
    let (mut log, mut export) = (String::new(), String::from("# yubiotp keys 1\n"));
    for key in (0..COUNT).map(SoftYubiKey::numbered) {
        let (private, aes) = (key.private_id_hex(), key.aes_key_hex());
        writeln!(log, "{}", key.traditional_log_line()).unwrap();
        writeln!(export, "{} plain {private} {aes}", key.public_id()).unwrap();
    }
    let log = desk.write_beside("log.csv", log.as_bytes());
    let half = usize::try_from(COUNT).unwrap() / 2;
    let count = |folder: &Path| fs::read_dir(folder).unwrap().count();
    let (keys, positions) = (desk.file("keys"), desk.file("positions"));

    // the folders are only counted, but for one name, so that looking does not take longer than what is looked at
    let last = SoftYubiKey::numbered(COUNT - 1);
    let begun = |desk: &Desk| desk.position_file(&SoftYubiKey::numbered(0)).exists();
    let steps: [(&str, Moment<'_>); 5] = [
        ("before anything", &|_| true),
        ("half of the positions written, hidden", &|desk| count(&desk.file("positions")) > half),
        ("positions are getting their names", &begun),
        ("half of the keys written, hidden", &|desk| count(&desk.file("keys")) > half),
        ("keys are getting their names", &|desk| desk.key_file(&SoftYubiKey::numbered(0)).exists()),
    ];
    for (step, moment) in steps {
        let killed = import_until(&desk, &log, moment);
        let (with_key, with_position) = (visible(&keys), visible(&positions));
        println!("{step}: killed: {killed}; {} keys, {} positions", with_key.len(), with_position.len());
        assert!(with_key.is_subset(&with_position), "{step}: a key came before its position");
        assert!(with_position.iter().all(|name| fs::metadata(positions.join(name)).unwrap().len() == 8192));
        // a token that is there can be used, and no token is half there
        desk.ykmap(&["key", "list"]).exits(0);
        if let Some(id) = with_key.first() {
            desk.ykmap(&["key", "show", id]).exits(0);
        }
    }
    assert!(!desk.key_file(&last).exists() || visible(&keys).len() == half * 2);

    desk.ykmap(&["key", "import", log.to_str().unwrap()]).exits(0);
    assert_eq!((visible(&keys).len(), visible(&positions).len()), (half * 2, half * 2));
    assert_eq!((hidden(&keys), hidden(&positions)), (Vec::new(), Vec::new()));
    assert!(desk.ykmap(&["key", "export", "--in-the-clear"]).exits(0).out == export, "not every key came in");
    for n in [0, 1, COUNT / 3, COUNT / 2, COUNT - 1] {
        let mut key = SoftYubiKey::numbered(n);
        desk.ykmap(&["add", "alice", &key.press()]).exits(0);
        desk.verify("alice", &key.press()).exits(0);
    }
}

/// An import that was cut off is finished as new, not told as if its tokens had been here and come back.
#[test]
fn what_was_cut_off_is_not_called_returned() {
    let desk = Desk::new();
    let keys: Vec<_> = (0..10).map(SoftYubiKey::numbered).collect();
    desk.import(&keys.iter().collect::<Vec<_>>()).exits(0);
    for key in &keys[4..] {
        fs::remove_file(desk.key_file(key)).unwrap(); // as if killed between positions and keys
    }
    let said = desk.import(&keys.iter().collect::<Vec<_>>()).exits(0).says("imported 6 keys");
    assert!(!said.out.contains("going on from there"), "none of them had been used: {said:?}");
}
