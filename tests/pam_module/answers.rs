//! What people and keyboards type.

use std::process::Command;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

fn enrolled(key: &SoftYubiKey) -> Place {
    let place = Place::new();
    place.enrol("alice", key);
    place
}

fn code(place: &Place, answer: &str) -> String {
    place.login("otp", "alice", &[answer]).code("authenticate").to_owned()
}

#[test]
fn blanks_capitals_and_other_keyboards() {
    let mut key = SoftYubiKey::numbered(10);
    let place = enrolled(&key);
    assert_eq!(code(&place, &format!("  {}\n", key.press())), "PAM_SUCCESS");
    assert_eq!(code(&place, &key.press_caps()), "PAM_SUCCESS");
    assert_eq!(code(&place, &key.press_dvorak()), "PAM_SUCCESS");
    assert_eq!(code(&place, &key.press_dvorak().to_uppercase()), "PAM_SUCCESS");
    let dvorak = key.press_dvorak();
    assert_eq!(code(&place, &dvorak), "PAM_SUCCESS");
    assert_eq!(code(&place, &dvorak), "PAM_AUTH_ERR", "replayed, whatever the keyboard");
}

#[test]
fn public_ids_of_every_length() {
    for bytes in 0..=16_u8 {
        let id: Vec<u8> = (0..bytes).map(|byte| 0xff - byte).collect();
        let mut key = SoftYubiKey::new(&id, [1, 2, 3, 4, 5, 6], [bytes; 16]);
        let place = Place::new();
        let name = if id.is_empty() { "-".to_owned() } else { key.public_id() };
        let line = key.traditional_log_line().replacen(",1,,", ",1,-,", 1);
        std::fs::write(place.path("log"), line).unwrap();
        let log = place.path("log").display().to_string();
        assert!(place.ykmap(&["key", "import", &log]).status.success(), "{bytes} bytes");
        assert!(place.ykmap(&["add", "alice", &name]).status.success() || bytes == 16, "{bytes} bytes");
        if bytes == 16 {
            // 32 characters may be the OTP of a token without an id: by name only in the file.
            place.write("authorized_yubikeys", format!("alice:{name}\n"), 0o644);
        }
        assert_eq!(code(&place, &key.press()), "PAM_SUCCESS", "{bytes} bytes");
        assert_eq!(code(&place, &format!("password{}", key.press())), "PAM_SUCCESS", "{bytes} bytes");
    }
}

#[test]
fn token_id_length_narrows() {
    let [mut long, mut short] = [SoftYubiKey::numbered(11), SoftYubiKey::new(&[0xff, 1], [1; 6], [2; 16])];
    let place = enrolled(&long);
    place.enrol("alice", &short);
    place.arguments("token_id_length=12");
    assert_eq!(code(&place, &short.press()), "PAM_AUTH_ERR");
    assert_eq!(code(&place, &long.press()), "PAM_SUCCESS");
    place.arguments("token_id_length=4");
    assert_eq!(code(&place, &long.press()), "PAM_AUTH_ERR");
    assert_eq!(code(&place, &short.press()), "PAM_SUCCESS");
}

#[test]
fn what_is_no_otp_looks_nothing_up() {
    let key = SoftYubiKey::numbered(12);
    let place = enrolled(&key);
    // Without a store, whatever is looked up there would be a fault.
    std::fs::rename(place.path("keys"), place.path("elsewhere")).unwrap();
    let modhex = "c".repeat(1100);
    for answer in ["", " ", "x", "\u{8}\n\r\u{7f}INCORRECT", "correct horse battery staple, and on", &modhex]
    {
        let login = place.login("otp", "alice", &[answer]);
        assert_eq!(login.code("authenticate"), "PAM_AUTH_ERR", "{answer:?}");
        let decisions = login.decisions();
        assert!(decisions[0].starts_with("refused user=alice token=none"), "{decisions:?}");
        assert!(answer.trim().len() < 2 || !decisions[0].contains(answer.trim()), "{decisions:?}");
    }
}

/// Yubico's own generator, in place of ours.
#[test]
fn otps_of_yubicos_generator() {
    if Command::new("ykgenerate").output().is_err() {
        tests::skip("ykgenerate is missing (libyubikey-dev)");
        return;
    }
    let key = SoftYubiKey::numbered(13);
    let place = enrolled(&key);
    let generate = |counter: &str, session_use: &str| {
        let (aes, private) = (key.aes_key_hex(), key.private_id_hex());
        let output =
            Command::new("ykgenerate").args([&aes, &private, counter, "beef", "01", session_use]).output();
        key.public_id() + String::from_utf8(output.unwrap().stdout).unwrap().trim()
    };
    assert_eq!(code(&place, &generate("0001", "00")), "PAM_SUCCESS");
    assert_eq!(
        code(&place, &generate("0001", "00")),
        "PAM_AUTH_ERR",
        "the same position, another random part"
    );
    assert_eq!(code(&place, &generate("0001", "01")), "PAM_SUCCESS");
    assert_eq!(code(&place, &generate("0000", "ff")), "PAM_AUTH_ERR");
    assert_eq!(code(&place, &generate("7fff", "ff")), "PAM_SUCCESS", "the last OTP that there is");
    assert_eq!(code(&place, &generate("7fff", "ff")), "PAM_AUTH_ERR");
}

/// One character wrong anywhere, and it is no.
#[test]
fn a_mistyped_otp_is_refused_and_not_used_up() {
    let mut key = SoftYubiKey::numbered(14);
    let place = enrolled(&key);
    let otp = key.press();
    for at in [12, 20, 43] {
        let mut typed = otp.clone().into_bytes();
        typed[at] = if typed[at] == b'c' { b'b' } else { b'c' };
        let login = place.login("otp", "alice", &[String::from_utf8(typed).unwrap()]);
        assert_eq!(login.code("authenticate"), "PAM_AUTH_ERR");
        assert!(login.decisions()[0].contains("code=otp-not-genuine "), "{:?}", login.decisions());
    }
    assert_eq!(code(&place, &otp), "PAM_SUCCESS");
}
