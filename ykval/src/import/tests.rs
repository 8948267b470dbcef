//! What exports say, and what is refused of them.

use super::*;
use proptest::prelude::*;
use yubiotp::diagnostic::{Code, Location};
use yubiotp::{Position, PublicId};

fn vector(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/ykval");
    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    std::fs::read(format!("{folder}/{name}")).unwrap()
}

/// Public id, position, whether it is switched on, and when it was used.
type Told = (String, Option<(u64, u64)>, bool, Option<i64>);

fn told(text: &[u8]) -> Vec<Told> {
    let told = |known: PositionEntry| {
        let position = known.position.map(|at| (at.usage_counter(), at.session_use()));
        (known.id.to_string(), position, known.enabled, known.modified)
    };
    positions(text).unwrap_or_else(|why| panic!("{why:?}")).known.into_iter().map(told).collect()
}

#[test]
fn counters_as_ykval_export_writes_them() {
    let told = told(&vector("ykval-export.csv"));
    let wanted = [
        ("cccccccccccb", Some((2, 1)), true, Some(1_359_471_201)),
        ("ccccccdbjrgf", Some((812, 7)), true, Some(1_763_749_201)),
        ("ccccccddrhlk", Some((77, 0)), false, Some(1_501_157_003)),
        ("ccccccfghijk", None, true, None),
        ("vvccccctncll", Some((0x7fff, 255)), true, Some(1_763_751_000)),
        ("vvccccctnclr", None, false, None),
    ];
    assert_eq!(told, wanted.map(|(id, position, enabled, used)| (id.to_owned(), position, enabled, used)));
    let nonces = positions(&vector("ykval-export.csv")).ok().unwrap().known;
    assert_eq!(nonces[1].nonce, "9f1c0d6b3a5e4f7798a1b2c3d4e5f607");
}

#[test]
fn quoted_or_not_with_names_or_without() {
    let plain = told(&vector("ykval-export.csv"));
    assert_eq!(told(&vector("ykval-export-quoted.csv")), plain[..2]);
    assert_eq!(told(&vector("ykval-export-documented.csv"))[0].1, Some((2, 1)));
    let crlf = String::from_utf8(vector("ykval-export.csv")).unwrap().replace('\n', "\r\n");
    assert_eq!(told(format!("\u{feff}{crlf}").as_bytes()), plain);
    // A YubiKey without a public id.
    assert_eq!(told(b"1,1,1,,2,1,0,0,,")[0].0, "-");
    // Notes in an encoding of their own.
    assert_eq!(told(b"1,1,1,cccccccccccb,2,1,0,0,,caf\xe9, r\xe9ception\n").len(), 1);
}

/// What is farther counts, whatever the order, and what is switched off in one line is.
#[test]
fn of_a_token_twice_the_farther_line() {
    let lines =
        ["1,1,5,cccccccccccb,2,1,0,0,aaaaaaaaaaaaaaaa,", "0,1,4,cccccccccccb,1,9,0,0,bbbbbbbbbbbbbbbb,"];
    for text in [lines.join("\n"), [lines[1], lines[0]].join("\n")] {
        let all = positions(text.as_bytes()).ok().unwrap();
        assert_eq!((all.known.len(), all.repeated), (1, 1));
        let known = &all.known[0];
        assert_eq!((known.position, known.enabled), (Some(Position::yubikey(2, 1)), false));
        assert_eq!((known.nonce.as_str(), known.modified), ("aaaaaaaaaaaaaaaa", Some(5)));
    }
}

#[test]
fn counters_that_cannot_be_are_named() {
    let good = "1,1359470658,1359471201,cccccccccccb,2,1,32729,4,aoincuhfuahsoincuhfu,";
    for (bad, why) in [
        (good.replacen("1,", "t,", 1), "field 1, active: is neither 1 nor 0"),
        (good.replacen("1,", ",", 1), "field 1, active: is neither 1 nor 0"),
        (good.replace("1359470658", "2013-01-29"), "field 2, created: is not a number of seconds"),
        (good.replace("1359471201", ""), "field 3, modified: is not a number of seconds"),
        (good.replace("cccb", "ccca"), "field 4, yk_publicname: "),
        (
            good.replace(",2,1,", ",32768,1,"),
            "field 5, yk_counter: is neither -1 nor a number from 0 to 32767",
        ),
        (good.replace(",2,1,", ",+2,1,"), "field 5, yk_counter"),
        (good.replace(",2,1,", ",,1,"), "field 5, yk_counter"),
        (good.replace(",2,1,", ",2,256,"), "field 6, yk_use: is neither -1 nor a number from 0 to 255"),
        (good.replace(",2,1,", ",2,-1,"), "field 6, yk_use: and yk_counter must both be -1"),
        (good.replace(",2,1,", ",-1,0,"), "field 6, yk_use: and yk_counter must both be -1"),
        (good.replace("32729", "65536"), "field 7, yk_low"),
        (good.replace(",4,", ",0x4,"), "field 8, yk_high"),
        (good.replace("aoin", "ao\u{7}n"), "field 9, nonce: is not up to 64 printable characters"),
        (
            good[..40].to_owned(),
            "the line has 6 fields and needs 8: it is cut off, or ykval-export did not write it",
        ),
        (good.replacen("1,", "\"1,", 1), "field 1 begins with a quote that this line does not close"),
        ("x".repeat(MAX_LINE + 1), "the line is longer than 4096 bytes"),
    ] {
        let text = format!("{good}\n{bad}\n{}\n", good.replace("cccb", "cccd"));
        let problems = positions(text.as_bytes()).err().unwrap_or_else(|| panic!("{bad}: taken"));
        let found = problems[0].diagnostic(b"x");
        assert_eq!(found.location, Some(Location::line(b"x", 2)));
        assert!(problems.len() == 1 && found.problem.starts_with(why), "{bad}: {problems:?}");
    }
    let pgp = positions(&vector("ykksm-gen-keys.asc")).err().unwrap()[0].diagnostic(b"x");
    assert_eq!(pgp.code, Code::ExportFileEncrypted);
    assert!(positions(b"\x85\x01\x0c\x03").is_err_and(|why| why[0].why == BadLine::Pgp));
    assert!(positions(b"\n# nothing\n").is_err_and(|why| why[0].why == BadLine::Empty));
    let many = positions("x\n".repeat(500).as_bytes()).err().unwrap();
    assert_eq!(many.len(), MAX_PROBLEMS);
}

#[test]
fn clients_as_ykval_export_clients_writes_them() {
    let all = clients(&vector("ykval-export-clients.csv")).unwrap_or_else(|why| panic!("{why:?}"));
    let told: Vec<_> =
        all.iter().map(|it| (it.id.number(), it.enabled, it.created, it.name.as_str())).collect();
    assert_eq!(
        told,
        [
            (1, true, 1_359_550_387, "radius@example.com"),
            (2, true, 1_389_174_222, "bastion hosts, all of them"),
            (17, false, 1_389_174_222, "old@example.com"),
        ]
    );
    assert_eq!(*all[0].key.to_base64(), "EHmo8FMxuhumBlTinC4uYL0Mgwg=");
    let with_names =
        [b"id,active,created,secret,email,notes,otp\n".to_vec(), vector("ykval-export-clients.csv")];
    assert_eq!(clients(&with_names.concat()).ok().unwrap().len(), 3);
    // YK-VAL decodes a secret without its end as well.
    let bare = clients(b"1,1,1359550387,EHmo8FMxuhumBlTinC4uYL0Mgwg,radius@example.com,,\n").ok().unwrap();
    assert_eq!(*bare[0].key.to_base64(), "EHmo8FMxuhumBlTinC4uYL0Mgwg=");
}

#[test]
fn clients_that_cannot_be_are_named() {
    let good = "1,1,1359550387,EHmo8FMxuhumBlTinC4uYL0Mgwg=,radius@example.com,,";
    for (bad, why) in [
        (good.replacen("1,", "0,", 1), "field 1, id: is not a number above 0"),
        (good.replacen("1,", "12345678901,", 1), "field 1, id"),
        (good.replace(",1,13", ",yes,13"), "field 2, active: is neither 1 nor 0"),
        (
            good.replace("EHmo8FMxuhumBlTinC4uYL0Mgwg=", "foobar"),
            "field 4, secret: is not base64 of 8 to 64 bytes",
        ),
        (good.replace("EHmo8FMxuhumBlTinC4uYL0Mgwg=", ""), "field 4, secret: is empty"),
        (good.replace("EHmo", "EHmp"), "line 1 gives this client another key"),
        (
            "1,1".to_owned(),
            "the line has 2 fields and needs 4: it is cut off, or ykval-export-clients did not write it",
        ),
    ] {
        let problems =
            clients(format!("{good}\n{bad}\n").as_bytes()).err().unwrap_or_else(|| panic!("{bad}: taken"));
        let found = problems[0].diagnostic(b"x");
        let said = found.to_string();
        assert_eq!(found.location, Some(Location::line(b"x", 2)));
        assert!(found.problem.starts_with(why), "{bad}: {said}");
        assert!(!said.contains("EHmp") && !said.contains("foobar"), "a message shows a key: {said}");
    }
    assert_eq!(clients(format!("{good}\n{good}\n").as_bytes()).ok().unwrap().len(), 1);
}

proptest! {
    #[test]
    fn never_panics(text: Vec<u8>, lines in "([-01,\"a-z=\r\n#]{0,40}\n){0,5}") {
        for text in [&text[..], lines.as_bytes()] {
            let _ = (positions(text), clients(text));
        }
    }

    #[test]
    fn what_is_written_is_read(
        id: [u8; 6], counter in 0u16..=0x7fff, session: u8, active: bool, nonce in "[0-9a-z]{16,40}", notes in "[^\n\r\"]{0,60}",
    ) {
        let id = PublicId::from_bytes(&id).unwrap();
        let line = format!("{},1,2,{id},{counter},{session},0,0,{nonce},{notes}\n", u8::from(active));
        let all = positions(line.as_bytes()).ok().unwrap().known;
        prop_assert_eq!(all[0].position, Some(Position::yubikey(counter, session)));
        prop_assert_eq!((all[0].id, all[0].enabled, &all[0].nonce), (id, active, &nonce));
    }
}
