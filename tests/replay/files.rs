//! The position file itself: damaged, exchanged, replaced, locked.

use crate::login::{login, place};
use crate::position::{self, BLOCK, SLOT};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};
use tests::libpam::Code;
use tests::soft_yubikey::SoftYubiKey;

fn write(path: &Path, contents: &[u8]) {
    fs::write(path, contents).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// One slot torn at any place: the other speaks. Where that is the older one, the OTP of the newest login is accepted
/// once more, as `docs/store.md` says of a disk that loses what it had said it wrote; nothing before it ever is.
#[test]
fn one_slot_torn() {
    let (place, mut key) = place(100);
    let file = position::path(&place, &key);
    let [before, last] = [key.press(), key.press()];
    for otp in [&before, &last] {
        assert_eq!(login(&place, otp), Code::SUCCESS);
    }
    let next = key.press();
    let good = fs::read(&file).unwrap();
    let [first, second] = position::slots(&good).map(Option::unwrap);
    let newest = usize::from(second.sequence > first.sequence);
    let mut torn = 0;
    for slot in [0, 1] {
        for at in (0..SLOT).step_by(23) {
            for filler in [0, b'#', b' ', 0xff] {
                let mut bytes = good.clone();
                bytes[slot * BLOCK + at..][..SLOT - at].fill(filler);
                if bytes == good {
                    continue; // the blanks at its end
                }
                write(&file, &bytes);
                let what = format!("slot {slot} from byte {at} on: {filler}");
                assert_eq!(login(&place, &before), Code::AUTH_ERR, "{what}");
                if slot != newest {
                    assert_eq!(login(&place, &last), Code::AUTH_ERR, "{what}");
                }
                assert_eq!(login(&place, &next), Code::SUCCESS, "{what}");
                for used in [&before, &last, &next] {
                    assert_eq!(login(&place, used), Code::AUTH_ERR, "{what}");
                }
                assert!(position::slots(&fs::read(&file).unwrap()).iter().all(Option::is_some), "{what}");
                torn += 1;
            }
        }
    }
    println!("{torn} torn slots");
}

/// Nobody can tell where the token is, so nobody is let in, by any OTP, and nothing is written.
#[test]
fn what_says_nothing_lets_nobody_in() {
    let (place, mut key) = place(101);
    let file = position::path(&place, &key);
    let used = key.press();
    assert_eq!(login(&place, &used), Code::SUCCESS);
    let good = fs::read(&file).unwrap();
    let mut both = good.clone();
    both[100] ^= 1;
    both[BLOCK + 200] ^= 1;
    let grown = [&good[..], b" "].concat();
    let grown_much = [&good[..], &good[..]].concat();
    let [first, second] = position::slots(&good).map(Option::unwrap);
    let newest = if first.sequence > second.sequence { 0 } else { BLOCK };
    let mut copied = good.clone();
    copied.copy_within(newest..newest + SLOT, BLOCK - newest);
    let other = SoftYubiKey::numbered(102);
    place.enrol("bob", &other);
    let others = fs::read(position::path(&place, &other)).unwrap();
    for (what, contents) in [
        ("both slots torn", &both[..]),
        ("truncated to nothing", b""),
        ("truncated to one slot", &good[..SLOT]),
        ("truncated to one block", &good[..BLOCK]),
        ("a byte short", &good[..2 * BLOCK - 1]),
        ("a byte longer", &grown),
        ("twice as long", &grown_much),
        ("another token's", &others),
        ("zeros, as a file system leaves them", &[0; 2 * BLOCK]),
    ] {
        write(&file, contents);
        for otp in [used.clone(), key.press(), key.press()] {
            assert_eq!(login(&place, &otp), Code::AUTHINFO_UNAVAIL, "{what}");
        }
        assert_eq!(fs::read(&file).unwrap(), contents, "{what}: it was written to");
    }
    // A slot that is whole, in the other's place, is damage there.
    write(&file, &copied);
    assert_eq!(position::slots(&copied).iter().flatten().count(), 2);
    assert_eq!(login(&place, &used), Code::AUTH_ERR, "one slot twice");
    fs::remove_file(&file).unwrap();
    for otp in [used.clone(), key.press()] {
        assert_eq!(login(&place, &otp), Code::AUTHINFO_UNAVAIL, "no file");
    }
    assert!(!file.exists(), "a position was made up");
    write(&file, &good);
    assert_eq!(login(&place, &used), Code::AUTH_ERR);
    assert_eq!(login(&place, &key.press()), Code::SUCCESS);
}

/// The files of two tokens, one for the other, back and forth, while everybody logs in.
#[test]
fn exchanged_with_another_tokens() {
    let (place, mut key) = place(103);
    let mut other = SoftYubiKey::numbered(104);
    place.enrol("alice", &other);
    let files = [position::path(&place, &key), position::path(&place, &other)];
    let third = place.path("positions/.third");
    let swap = || {
        fs::rename(&files[0], &third).unwrap();
        fs::rename(&files[1], &files[0]).unwrap();
        fs::rename(&third, &files[1]).unwrap();
    };
    let mut accepted = 0;
    for round in 0..40 {
        let otps = [key.press(), other.press()];
        let codes: Vec<_> = thread::scope(|scope| {
            let logins: Vec<_> =
                otps.iter().flat_map(|otp| [otp; 4]).map(|otp| scope.spawn(|| login(&place, otp))).collect();
            (0..2 + round % 3).for_each(|_| swap());
            logins.into_iter().map(|login| login.join().unwrap()).collect()
        });
        for codes in codes.chunks(4) {
            let yes = codes.iter().filter(|code| **code == Code::SUCCESS).count();
            assert!(yes <= 1, "round {round}: {codes:?}");
            accepted += yes;
        }
        if round % 3 == 1 {
            swap(); // three times is once
        }
        for (otp, codes) in otps.iter().zip(codes.chunks(4)) {
            let again = login(&place, otp);
            assert!(again != Code::SUCCESS || !codes.contains(&Code::SUCCESS), "round {round}: {codes:?}");
        }
    }
    println!("exchanged: {accepted} of 80 accepted meanwhile");
}

/// Replaced while a login waits for it: the new file speaks, to that login too. What it had open has no name any more.
#[test]
fn replaced_while_open() {
    let (place, mut key) = place(105);
    let file = position::path(&place, &key);
    for _ in 0..5 {
        let used = key.press();
        let held = File::open(&file).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| login(&place, &used));
            thread::sleep(Duration::from_millis(30));
            // Another host's file would not fit; this one is of a login that came by another way.
            let copy = place.path("positions/.copy");
            write(&copy, &fs::read(&file).unwrap());
            fs::rename(&copy, &file).unwrap();
            let other = login(&place, &used);
            flock(&held, FlockOperation::Unlock).unwrap();
            let codes = [other, waiting.join().unwrap()];
            let one = codes.contains(&Code::SUCCESS) && codes.contains(&Code::AUTH_ERR);
            assert!(one, "the new file is locked by nobody, and accepts once: {codes:?}");
        });
    }
    assert_eq!(login(&place, &key.press()), Code::SUCCESS);
}

/// A process that holds the lock and never lets go: a login waits as long as the settings say, and then is a fault. With
/// the process the lock is gone.
#[test]
fn locked_for_ever() {
    let (place, mut key) = place(106);
    let file = position::path(&place, &key);
    let config = fs::read_to_string(place.config()).unwrap();
    for (line, wait) in [("lock_wait = 0\n", 0), ("lock_wait = 1\n", 1), ("lock_wait = 2\n", 2)] {
        place.write("config.toml", format!("{line}{config}"), 0o600);
        let otp = key.press();
        let mut holder = std::process::Command::new("flock")
            .arg("--no-fork")
            .arg(&file)
            .args(["sh", "-c", "echo held; exec sleep 60"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 5];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
        let begun = Instant::now();
        assert_eq!(login(&place, &otp), Code::AUTHINFO_UNAVAIL, "{line}");
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_secs(wait), "{line}: {waited:?}");
        assert!(waited < Duration::from_millis(wait * 1000 + 900), "{line}: {waited:?}");
        let verify = place.ykmap(&["verify", "alice", &otp]);
        let why = String::from_utf8_lossy(&verify.stderr).into_owned();
        assert!(verify.status.code() == Some(2) && why.contains("[file-locked]"), "{why}");
        let disable = place.ykmap(&["key", "disable", &key.public_id()]);
        assert_eq!(disable.status.code(), Some(0), "{line}: {disable:?}");
        assert_eq!(login(&place, &otp), Code::AUTH_ERR, "{line}: disabled");
        holder.kill().unwrap();
        holder.wait().unwrap();
        assert!(place.ykmap(&["key", "enable", &key.public_id()]).status.success());
        assert_eq!(login(&place, &otp), Code::SUCCESS, "{line}");
        println!("{}: refused after {waited:?}", line.trim_end());
    }
}
