//! Zips of Info-ZIP's `zip` (ZipCrypto) and of 7-Zip (AES, and ZipCrypto).

use crate::{has, run};
use data_encoding::HEXLOWER;
use std::path::Path;
use ykseeds::{Locked, Options, Password, Problems, Seeds, Wanted, Why, Zip, read};

const PASSWORD: &str = "correct horse";
const CSV: &str = "serial,secret\n1000001,3132333435363738393031323334353637383930\n";

/// Reads a zip with a password.
fn open(zip: &[u8], password: Option<&str>, member: Option<&str>) -> Result<Seeds, Problems> {
    let mut ask = |wanted: Wanted<'_>| {
        assert!(matches!(wanted, Wanted::Zip { .. }), "{wanted:?}");
        password.map(|password| Password::new(password.as_bytes().to_vec().into()))
    };
    read(zip, &Options { member, ..Options::default() }, &mut ask)
}

fn why(zip: &[u8], password: Option<&str>) -> Why {
    let problems = open(zip, password, None).err().expect("a problem");
    assert_eq!(problems.list.len(), 1, "{problems:?}");
    problems.list.into_iter().next().unwrap().why
}

fn is_the_token(seeds: &Seeds) {
    assert_eq!(seeds.tokens.len(), 1);
    assert_eq!(seeds.tokens[0].serial, "1000001");
    assert_eq!(HEXLOWER.encode(seeds.tokens[0].secret.expose()), "3132333435363738393031323334353637383930");
}

/// Makes a zip of `tokens.csv`, by a tool.
fn made(folder: &Path, program: &str, arguments: &[&str]) -> Vec<u8> {
    std::fs::write(folder.join("tokens.csv"), CSV).unwrap();
    let _ = std::fs::remove_file(folder.join("made.zip"));
    run(program, &[arguments, &["made.zip", "tokens.csv"]].concat(), folder);
    std::fs::read(folder.join("made.zip")).unwrap()
}

const WITH_PASSWORD: [(&str, &[&str]); 8] = [
    ("zip", &["-q", "-P", PASSWORD]),
    ("zip", &["-q", "-0", "-P", PASSWORD]),
    ("zip", &["-q", "-fz", "-P", PASSWORD]),
    ("7zz", &["a", "-tzip", "-pcorrect horse"]),
    ("7zz", &["a", "-tzip", "-mem=ZipCrypto", "-pcorrect horse"]),
    ("7zz", &["a", "-tzip", "-mem=AES128", "-pcorrect horse"]),
    ("7zz", &["a", "-tzip", "-mem=AES256", "-mm=Deflate", "-pcorrect horse"]),
    ("7zz", &["a", "-tzip", "-mem=AES256", "-mx=0", "-pcorrect horse"]),
];

#[test]
fn zips_with_a_password() {
    if !has(&["zip", "7zz"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (program, arguments) in WITH_PASSWORD {
        let zip = made(folder.path(), program, arguments);
        let seeds =
            open(&zip, Some(PASSWORD), None).unwrap_or_else(|problems| panic!("{arguments:?}: {problems:?}"));
        is_the_token(&seeds);
        assert_eq!(seeds.member.as_deref(), Some("tokens.csv"));
        assert_eq!(why(&zip, None), Locked::PasswordNeeded.into(), "{arguments:?}");
        assert_eq!(why(&zip, Some("Correct horse")), Locked::WrongPassword.into(), "{arguments:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is unpacked");
}

/// One in 256 passes the check byte of ZipCrypto, and is noticed later.
#[test]
fn every_wrong_password_is_called_one() {
    if !has(&["zip"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["-q", "-P", PASSWORD][..], &["-q", "-0", "-P", PASSWORD]] {
        let zip = made(folder.path(), "zip", arguments);
        for number in 0..2000 {
            assert_eq!(why(&zip, Some(&number.to_string())), Locked::WrongPassword.into(), "{number}");
        }
    }
}

#[test]
fn several_files_and_none() {
    if !has(&["zip"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join("sub/tokens.csv"), CSV).unwrap();
    std::fs::write(folder.path().join("readme.txt"), "The password is on its way.\n").unwrap();
    run("zip", &["-q", "-r", "-P", PASSWORD, "one.zip", "sub"], folder.path());
    run("zip", &["-q", "-r", "-P", PASSWORD, "two.zip", "sub", "readme.txt"], folder.path());
    let one = std::fs::read(folder.path().join("one.zip")).unwrap();
    let two = std::fs::read(folder.path().join("two.zip")).unwrap();
    is_the_token(&open(&one, Some(PASSWORD), None).unwrap_or_else(|problems| panic!("{problems:?}")));
    assert_eq!(why(&two, Some(PASSWORD)), Zip::SeveralMembers(2).into());
    is_the_token(
        &open(&two, Some(PASSWORD), Some("sub/tokens.csv")).unwrap_or_else(|problems| panic!("{problems:?}")),
    );
    // Problems name the line of the file inside.
    let problems = open(&two, Some(PASSWORD), Some("readme.txt")).err().unwrap();
    let found = problems.diagnostics(b"two.zip");
    assert!(found[0].to_string().starts_with("two.zip:readme.txt:1: "), "{}", found[0]);
}

#[test]
fn methods_that_are_not_read_are_named() {
    if !has(&["7zz"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for method in ["-mm=BZip2", "-mm=LZMA", "-mm=PPMd", "-mm=Deflate64"] {
        let zip = made(folder.path(), "7zz", &["a", "-tzip", method, "-pcorrect horse"]);
        // 7-Zip stores what a method makes no smaller.
        match open(&zip, Some(PASSWORD), None) {
            Ok(seeds) => is_the_token(&seeds),
            Err(problems) => assert_eq!(problems.list[0].why, Zip::Method.into(), "{method}"),
        }
    }
    std::fs::write(folder.path().join("tokens.csv"), CSV).unwrap();
    run("7zz", &["a", "made.7z", "tokens.csv"], folder.path());
    let archive = std::fs::read(folder.path().join("made.7z")).unwrap();
    assert_eq!(why(&archive, None), ykseeds::Foreign::Archive.into());
}
