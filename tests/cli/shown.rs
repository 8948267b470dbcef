//! Names in a mapping that a terminal would obey, or not show.

use crate::desk::{Desk, run};
use serde_json::Value;
use std::fs;
use tests::soft_yubikey::SoftYubiKey;
use yubiotp::shown::is_printable;

const NAMES: [(&str, &str); 5] = [
    ("eve\u{202e}", "eve\\u{202e}"),
    ("eve\u{2028}", "eve\\u{2028}"),
    ("eve\u{200b}", "eve\\u{200b}"),
    ("eve\u{9b}2J", "eve\\u{9b}2J"),
    ("EX\\eve", "EX\\\\eve"),
];

#[test]
fn what_is_not_printable_in_a_name_is_escaped_by_every_verb() {
    let (key, other) = (SoftYubiKey::numbered(60), SoftYubiKey::numbered(61));
    for (name, shown) in NAMES {
        let desk = Desk::with(&[&key]);
        let mapping = desk.file("authorized_yubikeys");
        let mut text = fs::read_to_string(&mapping).unwrap();
        text.push_str(&format!("{name}:{}\n{name}:\n", key.public_id()));
        fs::write(&mapping, text).unwrap();
        let id = other.public_id();
        for arguments in [
            &["list"][..],
            &["list", name],
            &["list", "--json"],
            &["check"],
            &["check", "--json"],
            &["doctor", name],
            &["add", name, &id],
            &["add", name, &id],
            &["add", "bob", &id],
            &["verify", name, "guess"],
            &["remove", name, &id],
            &["remove", name, "cccccccccccc"],
            &["remove", name],
            &["remove", name],
            &["list", name],
        ] {
            let said = desk.ykmap(arguments);
            for text in [&said.out, &said.err] {
                assert!(text.lines().all(|line| line.chars().all(is_printable)), "{arguments:?}: {said:?}");
            }
            let names_it = said.out.contains(shown) || said.err.contains(shown);
            let is_json = arguments.contains(&"--json");
            assert!(
                names_it || is_json || arguments[1..].is_empty() || arguments[1] == "bob",
                "{arguments:?}: {said:?}"
            );
            // JSON means the name itself.
            if arguments == ["list", "--json"] {
                let users: Value = serde_json::from_str(&said.out).unwrap();
                assert!(users.as_array().unwrap().iter().any(|user| user["user"] == name), "{said:?}");
            }
        }
    }
}

/// Two names that are not UTF-8 are two users, and look different.
#[test]
fn bytes_that_are_not_utf8_are_told_apart() {
    let key = SoftYubiKey::numbered(62);
    let desk = Desk::with(&[&key]);
    let mapping = desk.file("authorized_yubikeys");
    let line = |byte: u8| [b"eve", &[byte][..], b":", key.public_id().as_bytes(), b"\n"].concat();
    fs::write(&mapping, [line(0xfe), line(0xff)].concat()).unwrap();
    let said = desk.ykmap(&["list"]);
    assert!(said.out.contains("eve\\xfe") && said.out.contains("eve\\xff"), "{said:?}");
    let said = desk.ykmap(&["check"]);
    assert!(said.out.contains("also belongs to eve\\xfe, by line 1"), "{said:?}");
}

/// The part of the command line that a message quotes.
#[test]
fn what_is_not_understood_is_escaped() {
    for name in ["ykmap", "ykvald"] {
        let disable: &[&str] = if name == "ykmap" { &["key", "disable"] } else { &["client", "disable"] };
        for (verb, word) in
            [(disable, "a\u{202e}b"), (&[][..], "l\u{202e}x"), (&["check"][..], "--x\u{1b}[2J")]
        {
            let mut command = std::process::Command::new(tests::built::program(name));
            let said = run(command.args(verb).arg(word)).exits(2);
            assert_eq!(said.out, "");
            assert!(said.err.lines().all(|line| line.chars().all(is_printable)), "{said:?}");
            assert!(word.contains('\u{1b}') || said.err.contains("\\u{202e}"), "{said:?}");
        }
        let mut command = std::process::Command::new(tests::built::program(name));
        run(command.arg("--help")).exits(0).says("Usage: ");
    }
    let desk = Desk::new();
    desk.ykmap(&["key", "adopt", "alice"]).exits(2).notes(" list USER [");
}
