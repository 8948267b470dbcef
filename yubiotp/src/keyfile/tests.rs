//! The vector files of `tests/vectors/keyfile`, and properties.

extern crate std;

use super::*;
use crate::seal::StoreKey;
use crate::{AesKey, PrivateId, modhex};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use proptest::prelude::*;
use std::path::Path;

/// The contents of a vector's `.expect` file: the outcome, every entry, every line passed over; or every problem.
fn told(text: &[u8]) -> String {
    match read(text) {
        Err(problems) => problems
            .iter()
            .map(|it| format!("error {} line {}: {:?}\n", it.diagnostic(b"FILE").code, it.line, it.why))
            .collect(),
        Ok(file) => {
            let (entries, passed) = (file.entries.len(), file.passed_over.len());
            let mut told = format!("ok: {}, {entries} entries, {passed} passed over\n", file.format);
            for Entry { line, public_id, secret } in &file.entries {
                let secret = match secret {
                    Secret::Plain(credential) => {
                        let [mut private, mut key] = [const { String::new() }; 2];
                        hex::push(&mut private, credential.private_id.expose());
                        hex::push(&mut key, credential.aes_key.expose());
                        format!("plain {private} {key}")
                    }
                    Secret::Sealed { under, sealed } => {
                        format!("sealed under {under}, first byte {}", sealed.as_bytes()[0])
                    }
                };
                told.push_str(&format!("line {line}: {public_id} {secret}\n"));
            }
            for (line, why) in &file.passed_over {
                told.push_str(&format!("line {line} passed over: {why}\n"));
            }
            told
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads its vectors")]
fn vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/keyfile");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let (expectations, vectors): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.ends_with(".expect"));
    assert!(!vectors.is_empty(), "no vectors in {}", folder.display());
    for expectation in expectations {
        let vector = expectation.strip_suffix(".expect").unwrap();
        assert!(vectors.iter().any(|name| *name == vector), "{expectation} has no vector");
    }
    let mut wrong = String::new();
    for name in vectors {
        let expected = std::fs::read_to_string(folder.join(format!("{name}.expect")))
            .unwrap_or_else(|why| panic!("{name}.expect: {why}"));
        let found = told(&std::fs::read(folder.join(name)).unwrap());
        if found != expected {
            wrong.push_str(&format!("{name}: expected\n{expected}found\n{found}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn at_most_so_many_problems_are_told() {
    let text = "x,y\n".repeat(2 * MAX_PROBLEMS);
    let problems = read(format!("# ykksm 1\n{text}").as_bytes()).err().unwrap();
    assert_eq!(problems.len(), MAX_PROBLEMS);
}

/// A vector that grows leaves copies of the secrets behind.
#[test]
fn the_shortest_lines_have_room() {
    let lines =
        (0..=255u8).map(|id| format!(",{},{},{}", modhex::encode(&[id]), hexed(&[1; 6]), hexed(&[2; 16])));
    let text = lines.collect::<Vec<_>>().join("\n");
    let file = read(text.as_bytes()).ok().unwrap();
    assert_eq!((file.entries.len(), file.entries.capacity()), (256, 256));
}

type Tokens = BTreeMap<Vec<u8>, ([u8; 6], [u8; 16])>;

fn tokens(shortest_id: usize) -> impl Strategy<Value = Tokens> {
    proptest::collection::btree_map(
        proptest::collection::vec(any::<u8>(), shortest_id..=16),
        any::<([u8; 6], [u8; 16])>(),
        0..20,
    )
}

fn credentials(tokens: &Tokens) -> impl Iterator<Item = (PublicId, Credential)> {
    tokens.iter().map(|(id, (private, key))| {
        let credential = Credential { private_id: PrivateId::new(*private), aes_key: AesKey::new(*key) };
        (PublicId::from_bytes(id).unwrap(), credential)
    })
}

/// The tokens of a file in which all are plain.
fn plain(file: &KeyFile) -> Tokens {
    let token = |entry: &Entry| match &entry.secret {
        Secret::Plain(credential) => (
            entry.public_id.as_bytes().to_vec(),
            (*credential.private_id.expose(), *credential.aes_key.expose()),
        ),
        Secret::Sealed { .. } => panic!("sealed"),
    };
    assert!(file.passed_over.is_empty());
    file.entries.iter().map(token).collect()
}

fn hexed(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

proptest! {
    #[test]
    fn a_plain_export_is_read_again(tokens in tokens(0)) {
        let file = read(write_plain(credentials(&tokens)).as_bytes()).ok().unwrap();
        prop_assert_eq!(file.format, Format::Export);
        prop_assert_eq!(plain(&file), tokens);
    }

    #[test]
    fn a_plain_export_of_unknown_length_is_the_same(tokens in tokens(0)) {
        let unknown = credentials(&tokens).filter(|_| true);
        prop_assert_eq!(&*write_plain(unknown), &*write_plain(credentials(&tokens)));
    }

    #[test]
    fn a_sealed_export_is_read_again(tokens in tokens(0), key: [u8; 32], nonce: [u8; 24]) {
        let key = StoreKey::new(key);
        let sealed: Vec<_> =
            credentials(&tokens).map(|(id, secret)| (id, key.id(), key.seal(&secret, &id, nonce))).collect();
        let text = write_sealed(sealed.iter().map(|(id, under, sealed)| (*id, *under, sealed)));
        let file = read(text.as_bytes()).ok().unwrap();
        prop_assert_eq!(file.entries.len(), sealed.len());
        for (entry, (id, ..)) in file.entries.iter().zip(&sealed) {
            prop_assert_eq!(entry.public_id, *id);
            let Secret::Sealed { under, sealed } = &entry.secret else { panic!("not sealed") };
            prop_assert_eq!(*under, key.id());
            let secret = key.open(sealed, id).ok().unwrap();
            prop_assert_eq!((*secret.private_id.expose(), *secret.aes_key.expose()), tokens[id.as_bytes()]);
        }
    }

    /// Every foreign format, in capitals or not, with blanks and any line end.
    #[test]
    fn what_other_tools_write_is_read(
        tokens in tokens(1), format in 0..3, capitals: bool, crlf: bool, blanks in "[ \t]{0,2}", mark: bool,
    ) {
        let mut text = String::from(if format == 2 { "# ykksm 1\n" } else { "" });
        if tokens.is_empty() {
            text.push_str(["LOGGING START,now\n", "1,,,\n", "# nothing\n"][format as usize]);
        }
        for (id, (private, key)) in &tokens {
            let (mut id, mut private, mut key) = (modhex::encode(id), hexed(private), hexed(key));
            if capitals {
                for field in [&mut id, &mut private, &mut key] {
                    field.make_ascii_uppercase();
                }
            }
            let fields = format!("{blanks}{id}{blanks},{blanks}{private}{blanks},{blanks}{key}{blanks}");
            text.push_str(&match format {
                0 => format!("Yubico OTP,19/02/2016 11:04,1,{fields},,,0,0,0,0,0,0,0,0,0,0\n"),
                1 => format!(",{fields},000000000000,2016-02-19T11:04:00,\n"),
                _ => format!("7,{fields},,2009-01-22 00:25:11,\n"),
            });
        }
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        if mark {
            text.insert(0, '\u{feff}');
        }
        let mut file = read(text.as_bytes()).ok().unwrap();
        prop_assert_eq!(file.format, [Format::Traditional, Format::Yubico, Format::Ksm][format as usize]);
        if tokens.is_empty() {
            file.passed_over.clear();
        }
        prop_assert_eq!(plain(&file), tokens);
    }

    /// Fields that hold something else than they should, as somebody mistook the order: the text is silent about it.
    #[test]
    fn an_error_does_not_tell_a_field(a in "[A-Z0-9é]{8,44}", b in "[A-Z0-9 ]{8,44}", format in 0..5) {
        let line = match format {
            0 => format!("Yubico OTP,now,1,vvcb,{a},{b},"),
            1 => format!("1,{a},{b},{b},"),
            2 => format!("# ykksm 1\n{a},{b}"),
            3 => format!("# yubiotp keys 1\n- plain {a} {b}"),
            _ => format!("{a},{b},{a}"),
        };
        for problem in read(line.as_bytes()).err().into_iter().flatten() {
            let told = format!("{problem} {problem:?}");
            prop_assert!(![a.trim(), b.trim()].iter().any(|secret| secret.len() > 6 && told.contains(secret)), "{told}");
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        told(&bytes);
    }

    /// The same for what looks like a key file; and what is refused in whole has a problem to tell.
    #[test]
    fn any_lines_are_read_or_refused(
        header in "(# ykksm [12]\r?\n|# yubiotp keys [12x]\n|\u{feff})?",
        lines in "((Yubico OTP|LOGGING START|OATH-HOTP|#|-|vvcb|[0-9]{0,3}|plain|sealed|[0-9a-fA-F]{12}|[0-9a-f]{32}|[cbé\0]{1,3})[, \t\r\n]{1,2}){0,24}",
    ) {
        let text = header + &lines;
        match read(text.as_bytes()) {
            Ok(file) => prop_assert!(file.entries.iter().all(|entry| entry.line <= text.lines().count())),
            Err(problems) => prop_assert!(!problems.is_empty() && problems.is_sorted_by_key(|problem| problem.line)),
        }
    }

    #[test]
    fn problems_show_their_line(line in 1usize..) {
        let problem = Problem { line, why: BadKeyLine::Kind };
        let prefix = format!("line {line}: ");
        prop_assert!(problem.to_string().starts_with(&prefix));
    }
}
