//! `ykmap add` and `ykmap remove`: what they change in the mapping, and everything else that stays.

use crate::desk::{Desk, chmod, hidden, is_root, mode};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use tests::soft_yubikey::SoftYubiKey;

const MAPPING: &str =
    "# our people\n\n  alice : vvcccccccccb \n# bob is on leave: \nbob:vvcccccccccd\n\tcarol:\n\n# end";

#[test]
fn comments_and_order_stay() {
    let desk = Desk::new();
    desk.map(MAPPING);
    desk.ykmap(&["add", "alice", "vvcb"]).exits(0);
    assert_eq!(desk.mapping(), MAPPING.replace("vvcccccccccb ", "vvcccccccccb:vvcb "));
    desk.ykmap(&["add", "carol", "vvcb", "vvcd"]).exits(0);
    desk.ykmap(&["add", "dave", "-"]).exits(0);
    let now = desk.mapping();
    assert!(now.contains("\n\tcarol:vvcb:vvcd\n"), "{now}");
    assert!(now.ends_with("\n# end\ndave:-\n"), "{now}");
    desk.ykmap(&["remove", "alice", "vvcb"]).exits(0);
    desk.ykmap(&["remove", "carol", "vvcb", "vvcd"]).exits(0).notes("carol has no token left");
    desk.ykmap(&["remove", "dave"]).exits(0);
    assert_eq!(desk.mapping(), format!("{MAPPING}\n"));
    desk.ykmap(&["remove", "bob"]).exits(0);
    assert_eq!(desk.mapping(), format!("{MAPPING}\n").replace("bob:vvcccccccccd\n", ""));
}

#[test]
fn line_ends_stay() {
    let desk = Desk::new();
    desk.map("# windows\r\nalice:vvcb\r\nbob:vvcd\r\n");
    desk.ykmap(&["add", "alice", "vvce"]).exits(0);
    desk.ykmap(&["add", "dave", "vvcf"]).exits(0);
    assert_eq!(desk.mapping(), "# windows\r\nalice:vvcb:vvce\r\nbob:vvcd\r\ndave:vvcf\r\n");
    desk.ykmap(&["remove", "bob"]).exits(0);
    desk.ykmap(&["remove", "alice", "vvcb"]).exits(0);
    assert_eq!(desk.mapping(), "# windows\r\nalice:vvce\r\ndave:vvcf\r\n");
}

#[test]
fn mode_and_owner_stay() {
    let desk = Desk::new();
    let path = desk.file("authorized_yubikeys");
    for wanted in [0o600, 0o640, 0o444] {
        chmod(&path, wanted);
        desk.ykmap(&["add", "alice", &format!("vv{}", ["cb", "cd", "ce"][usize::from(wanted == 0o640)])])
            .exits(0);
        assert_eq!(mode(&path), wanted);
    }
    if is_root() {
        std::os::unix::fs::chown(&path, Some(0), Some(12345)).unwrap();
        desk.ykmap(&["add", "bob", "vvcb"]).exits(0);
        assert_eq!(fs::metadata(&path).unwrap().gid(), 12345);
    }
}

/// A mapping that is kept elsewhere and linked here stays there, and stays readable by a login.
#[test]
fn a_linked_mapping_stays_linked() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    let (path, kept) = (desk.file("authorized_yubikeys"), desk.beside("people"));
    fs::rename(&path, &kept).unwrap();
    symlink(&kept, &path).unwrap();
    desk.verify("alice", &key.press()).exits(0);
    desk.ykmap(&["add", "bob", "vvcb"]).exits(0);
    desk.verify("alice", &key.press()).exits(0);
    assert!(path.is_symlink(), "the link was replaced by a file of mode {:04o}", mode(&path));
    assert!(fs::read_to_string(&kept).unwrap().contains("bob:vvcb"));
    assert_eq!(mode(&kept), 0o644);
}

#[test]
fn adding_twice_adds_once() {
    let desk = Desk::new();
    desk.ykmap(&["add", "alice", "vvcb", "VVCB", "vvcb"]).exits(0);
    desk.ykmap(&["add", "alice", "vvcb"]).exits(0).says("alice already has token vvcb");
    assert_eq!(desk.mapping().matches("vvcb").count(), 1);
}

#[test]
fn what_cannot_be_read_back_is_not_written() {
    let desk = Desk::new();
    let before = desk.snapshot();
    for user in ["", "a:b", "#alice", " alice", "alice\n", "alice\nroot", "a\x07"] {
        desk.ykmap(&["add", user, "vvcb"]).exits(2).has("user-name-invalid");
    }
    for id in ["vvc", "vvca", "zz", "vvcccccccccb,vvcccccccccd", ""] {
        desk.ykmap(&["add", "alice", id]).exits(2);
    }
    for arguments in [&["remove", "alice"][..], &["remove", "alice", "vvcb"]] {
        desk.ykmap(arguments)
            .exits(2)
            .has("user-not-listed")
            .notes("To see who is in it: ykmap --config ")
            .notes(" list [");
    }
    assert_eq!(desk.snapshot(), before);
    desk.map("alice:vvcb\n");
    desk.ykmap(&["remove", "alice", "vvcd"]).exits(2).has("token-not-assigned");
}

/// A mistyped id is called that, and not an OTP that is too short.
#[test]
fn a_mistyped_id_is_called_one() {
    let desk = Desk::new();
    desk.ykmap(&["add", "alice", "vvcccccccccbd"]).exits(2).notes("odd number");
    desk.ykmap(&["add", "alice", "vvcccccccccx"]).exits(2).notes("character 12 is not modhex");
}

/// If the mapping cannot be changed, no touch is asked for or used up.
#[test]
fn a_press_for_a_user_that_cannot_be_is_not_used_up() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    let press = key.press();
    desk.ykmap(&["add", "a:b", &press]).exits(2);
    desk.ykmap(&["add", "bob", &press]).exits(0);
}

#[test]
fn a_press_is_checked() {
    let (mut key, mut unknown) = (SoftYubiKey::numbered(1), SoftYubiKey::numbered(2));
    let desk = Desk::with(&[&key]);
    let before = desk.mapping();
    let press = key.press();
    desk.ykmap(&["add", "bob", &unknown.press()]).exits(2).has("key-missing");
    desk.ykmap(&["add", "bob", &crate::desk::programmed_anew(1).press()]).exits(2).has("otp-not-genuine");
    desk.verify("alice", &press).exits(0);
    desk.ykmap(&["add", "bob", &press]).exits(2).has("otp-replayed");
    desk.ykmap_reading(&["add", "bob"], b"\n").exits(2);
    assert_eq!(desk.mapping(), before);
    desk.ykmap(&["add", "bob", &key.press_dvorak()]).exits(0).says("bob now has token vvcccccccccb");
}

/// A line of the user's with an error may be theirs: they are not removed while it is there.
#[test]
fn a_user_with_a_bad_line_is_not_taken_out_by_half() {
    let desk = Desk::new();
    desk.map("alice:vvcb\nalice:vvcd,vvce\n");
    desk.ykmap(&["add", "alice", "vvcf"]).exits(2).notes("authorized_yubikeys:2: field 2");
    let before = desk.mapping();
    desk.ykmap(&["remove", "alice"]).exits(2).notes("authorized_yubikeys:2: ");
    desk.ykmap(&["remove", "alice", "vvcb"]).exits(2).notes("authorized_yubikeys:2: ");
    assert_eq!(desk.mapping(), before);
}

/// Lines that grow too long for a login to read are continued on another.
#[test]
fn many_tokens_go_on_a_second_line() {
    let desk = Desk::new();
    let ids: Vec<_> = (0..400).map(|n| SoftYubiKey::numbered(n).public_id()).collect();
    let mut arguments = vec!["add".to_owned(), "alice".to_owned()];
    arguments.extend(ids.iter().cloned());
    desk.ykmap(&arguments).exits(0);
    let lines: Vec<_> =
        desk.mapping().lines().filter(|line| line.starts_with("alice:")).map(str::len).collect();
    assert!(lines.len() == 2 && lines.iter().all(|length| *length <= 4096), "{lines:?}");
    let listed = desk.ykmap(&["list", "--json"]).exits(0).json();
    let count: usize =
        listed.as_array().unwrap().iter().map(|user| user["tokens"].as_array().unwrap().len()).sum();
    assert_eq!(count, 400);
}

#[test]
fn twenty_at_once_lose_nothing() {
    let desk = Desk::new();
    desk.map("# before\nuser0:vvcb\n");
    let children: Vec<_> = (0..20)
        .map(|n| {
            let id = SoftYubiKey::numbered(n).public_id();
            let mut command = desk.command();
            command.args(["add", &format!("user{}", n % 7), &id]).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mapping = desk.mapping();
    assert!(mapping.starts_with("# before\nuser0:vvcb:"), "{mapping}");
    for n in 0..20 {
        let id = SoftYubiKey::numbered(n).public_id();
        let user = format!("user{}:", n % 7);
        assert!(mapping.lines().any(|line| line.starts_with(&user) && line.contains(&id)), "{id}: {mapping}");
    }
    assert_eq!(mapping.lines().count(), 8, "{mapping}");
    assert_eq!(hidden(&desk.dir()), Vec::<String>::new());
}

/// Killed at any moment it leaves the old file or the new one.
#[test]
fn killed_it_leaves_the_old_or_the_new() {
    let desk = Desk::new();
    let mut old = String::from("# many\n");
    for n in 0..40_000 {
        old += &format!("user{n}:{}\n", SoftYubiKey::new(&[1, 2, 3, 4], [0; 6], [0; 16]).public_id());
    }
    desk.map(&old);
    let mut finished = 0;
    for round in 0..40 {
        let mut command = desk.command();
        command.args(["add", &format!("extra{round}"), "vvcb"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        thread::sleep(Duration::from_micros(round * 700));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = desk.mapping();
        if now != old {
            assert_eq!(now, format!("{old}extra{round}:vvcb\n"));
            old = now;
            finished += 1;
        }
        assert_eq!(mode(&desk.file("authorized_yubikeys")), 0o644);
    }
    desk.ykmap(&["add", "last", "vvcb"]).exits(0);
    assert_eq!(desk.mapping(), format!("{old}last:vvcb\n"));
    assert_eq!(hidden(&desk.dir()), Vec::<String>::new());
    println!("{finished} of 40 were done before they were killed");
}

/// A mapping without a byte would be a fault for everybody.
#[test]
fn the_last_user_taken_out_leaves_a_mapping_that_can_be_read() {
    let mut key = SoftYubiKey::numbered(1);
    let desk = Desk::with(&[&key]);
    desk.map(format!("alice:{}\n", key.public_id()));
    desk.ykmap(&["remove", "alice"]).exits(0);
    assert!(desk.mapping().starts_with("# "), "{}", desk.mapping());
    desk.verify("alice", &key.press()).exits(1).says("not listed");
    desk.map("");
    desk.verify("alice", &key.press()).exits(2).has("mapping-empty");
}

/// A user who is asked about and not listed is an answer that scripts see. A line that may be theirs is named instead.
#[test]
fn listing_nobody_says_so() {
    let desk = Desk::new();
    desk.ykmap(&["list"]).exits(0);
    desk.ykmap(&["list", "bob"]).exits(1).has("user-not-listed").notes(" add bob [");
    desk.map("alice:vvcb\n");
    desk.ykmap(&["list", "carol"]).exits(1).has("user-not-listed").notes(" add carol [");
    desk.map("alice:vvcb\nbob:vvcd,vvce\n");
    desk.ykmap(&["list", "alice"]).exits(0);
    for user in ["bob", "carol"] {
        let said = desk.ykmap(&["list", user]).exits(1).has("mapping-line-invalid");
        assert_eq!(said.err.matches("authorized_yubikeys:2: ").count(), 1, "{said:?}");
        assert!(!said.err.contains(" add "), "{said:?}");
    }
}

/// What to run next is on lines of its own.
#[test]
fn commands_after_the_last_token_can_be_copied() {
    let desk = Desk::new();
    desk.map("alice:vvcb\n");
    let said = desk.ykmap(&["remove", "alice", "vvcb"]).exits(0);
    let config = desk.file("config.toml").display().to_string();
    for verb in ["add", "remove"] {
        let command = format!("  ykmap --config {config} {verb} alice");
        assert!(said.err.lines().any(|line| line == command), "{said:?}");
    }
}

/// Adding, listing or removing a user mentions another spelling that is listed.
#[test]
fn other_spellings_are_named() {
    let desk = Desk::new();
    desk.map("# people\nalice:vvcb\nJ\u{fc}rgen:vvcd\n");
    let place = |line| format!("authorized_yubikeys:{line}: may list this user in another spelling");
    desk.ykmap(&["list", "Alice"]).exits(1).notes(&place(2));
    desk.ykmap(&["list", "EX+alice"]).exits(1).notes(&place(2));
    desk.ykmap(&["remove", "Alice"]).exits(2).notes(&place(2));
    desk.ykmap(&["add", "jurgen", "vvce"]).exits(0).notes(&place(3));
    desk.ykmap(&["add", "Alice", "vvcf"]).exits(0).notes(&place(2));
    assert_eq!(desk.mapping(), "# people\nalice:vvcb\nJ\u{fc}rgen:vvcd\njurgen:vvce\nAlice:vvcf\n");
    desk.ykmap(&["check"]).says("authorized_yubikeys:5: Alice may be alice of line 2");
    let again = desk.ykmap(&["add", "Alice", "vvcf"]).exits(0);
    assert!(!again.err.contains("another spelling"), "listed as spelt: {again:?}");
}
