//! PSKC of python-pskc, plain and protected in every way that is read, and of pskctool.

use crate::{has, run};
use data_encoding::HEXLOWER;
use std::path::Path;
use ykseeds::{BadPskc, Locked, Note, Options, Password, Problems, Seeds, Wanted, read};
use yubiotp::Position;
use yubiotp::oath::window::Progress;
use yubiotp::oath::{Algorithm, Digits, Kind, Parameters, Period};

const MAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds/make_pskc.py");
const PYTHON: &str = "/usr/bin/python3";

/// The files of python-pskc. `None` where it is not installed.
fn made() -> Option<tempfile::TempDir> {
    let here = std::process::Command::new(PYTHON).args(["-c", "import pskc"]).output();
    if !here.is_ok_and(|output| output.status.success()) {
        tests::skip("python3-pskc is not installed");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    run(PYTHON, &[MAKE, folder.path().to_str().unwrap()], folder.path());
    Some(folder)
}

/// Reads a file with a secret for whatever it wants.
fn open(path: &Path, secret: &str) -> Result<Seeds, Problems> {
    let mut ask = |_: Wanted<'_>| Some(Password::new(secret.as_bytes().to_vec().into()));
    read(&std::fs::read(path).unwrap(), &Options::default(), &mut ask)
}

fn are_the_tokens(path: &Path, seeds: &Seeds) {
    let tokens: Vec<_> = seeds
        .tokens
        .iter()
        .map(|token| {
            (token.serial.as_str(), HEXLOWER.encode(token.secret.expose()), token.parameters, token.progress)
        })
        .collect();
    let hotp = Parameters { kind: Kind::Hotp, algorithm: Algorithm::Sha1, digits: Digits::new(8).unwrap() };
    let kind = Kind::Totp { period: Period::new(60).unwrap() };
    let totp = Parameters { kind, algorithm: Algorithm::Sha256, digits: Digits::SIX };
    let first = HEXLOWER.encode(b"12345678901234567890");
    let second = HEXLOWER.encode(b"12345678901234567890123456789012");
    assert_eq!(
        tokens,
        [
            ("1000001", first, hotp, Progress { next: Some(Position::from_stored(42)), drift: 0 }),
            ("1000002", second, totp, Progress { next: None, drift: -2 }),
        ],
        "{path:?}"
    );
}

#[test]
fn what_python_pskc_writes() {
    let Some(folder) = made() else { return };
    let mut count = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (secret, wrong, problem) = match name.split('-').nth(1) {
            Some(length) if name.starts_with("key-") => {
                let length: u8 = length.parse().unwrap();
                let key: Vec<u8> = (0..length).collect();
                let wrong: Vec<u8> = (1..=length).collect();
                (HEXLOWER.encode(&key), HEXLOWER.encode(&wrong), Locked::WrongKey)
            }
            _ => ("correct horse".to_owned(), "wrong".to_owned(), Locked::WrongPassword),
        };
        let seeds = open(&path, &secret).unwrap_or_else(|problems| panic!("{path:?}: {problems:?}"));
        are_the_tokens(&path, &seeds);
        assert_eq!(seeds.tokens[0].manufacturer.as_deref(), Some("Acme"));
        if name != "plain.xml" {
            let problems = open(&path, &wrong).err().expect("a problem");
            assert_eq!((problems.list.len(), &problems.list[0].why), (1, &problem.into()), "{path:?}");
        }
        count += 1;
    }
    assert_eq!(count, 1 + 3 * 5 + 5 + 1);
}

/// One character of a secret changed, in each way of protection: its MAC says it.
#[test]
fn secrets_that_were_changed() {
    let Some(folder) = made() else { return };
    for (name, secret) in
        [("key-16-hmac-sha1.xml", "000102030405060708090a0b0c0d0e0f"), ("password.xml", "correct horse")]
    {
        let path = folder.path().join(name);
        let xml = std::fs::read_to_string(&path).unwrap();
        let data = xml.rfind("CipherValue>").unwrap();
        let begin = xml[..data].rfind("CipherValue>").unwrap() + "CipherValue>".len();
        let changed = if &xml[begin..=begin] == "A" { "B" } else { "A" };
        let changed = format!("{}{changed}{}", &xml[..begin], &xml[begin + 1..]);
        std::fs::write(&path, changed).unwrap();
        let problems = open(&path, secret).err().expect("a problem");
        assert_eq!(problems.list[0].place.key.as_deref(), Some("second"));
        assert_eq!(problems.list[0].why, BadPskc::Mac.into(), "{name}");
    }
}

/// pskctool reads the same of a file, and what it signs is read.
#[test]
fn what_pskctool_reads_and_writes() {
    if !has(&["pskctool", "openssl"]) {
        return;
    }
    let Some(folder) = made() else { return };
    let at = folder.path();
    let info = run("pskctool", &["--info", "plain.xml"], at);
    let info = String::from_utf8(info.stdout).unwrap();
    let seeds = open(&at.join("plain.xml"), "").unwrap_or_else(|problems| panic!("{problems:?}"));
    for token in &seeds.tokens {
        assert!(info.contains(&format!("SerialNo: {}", token.serial)), "{info}");
        let secret = data_encoding::BASE64.encode(token.secret.expose());
        assert!(info.contains(&secret), "{info}");
    }
    let subject = ["-subj", "/CN=signer", "-days", "2", "-nodes", "-newkey", "rsa:2048"];
    run("openssl", &[&["req", "-x509", "-keyout", "key.pem", "-out", "crt.pem"][..], &subject].concat(), at);
    let signed = run("pskctool", &["--sign", "--sign-key=key.pem", "--sign-crt=crt.pem", "plain.xml"], at);
    std::fs::write(at.join("signed.xml"), signed.stdout).unwrap();
    let seeds = open(&at.join("signed.xml"), "").unwrap_or_else(|problems| panic!("{problems:?}"));
    are_the_tokens(&at.join("signed.xml"), &seeds);
    assert_eq!(seeds.notes.iter().map(|(_, note)| *note).collect::<Vec<_>>(), [Note::SignatureNotChecked]);
}
