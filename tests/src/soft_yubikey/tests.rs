//! The software key against Yubico's own vectors and Yubico's own programs.

use super::*;
use std::process::Command;

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    assert_eq!(text.len(), 2 * N, "{text}");
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

fn number(text: &str) -> u16 {
    u16::from_str_radix(text, 16).unwrap()
}

/// `fields`: private id, counter, low, high, use, random, in hex.
fn seal(key: &str, fields: [&str; 6]) -> String {
    let [private_id, counter, low, high, session_use, random] = fields;
    let block = Block {
        private_id: unhex(private_id),
        counter: number(counter),
        low: number(low),
        high: unhex::<1>(high)[0],
        session_use: unhex::<1>(session_use)[0],
        random: number(random),
    };
    block.seal(&unhex(key))
}

/// What Yubico's program prints, or nothing where it is not installed.
fn yubico(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
        Err(_) => {
            crate::skip(&format!("needs {program} (libyubikey-dev)"));
            None
        }
    }
}

/// The line of ykparse that begins with `field`, without its white space.
fn field(parsed: &str, field: &str) -> String {
    let line = parsed.lines().find_map(|line| line.trim().strip_prefix(field)).unwrap();
    line.split_whitespace().collect()
}

#[test]
fn agrees_with_the_vectors_of_yubico() {
    let counting = "000102030405060708090a0b0c0d0e0f";
    let vectors = [
        (counting, ["010203040506", "0001", "0001", "01", "01", "0000"], "dvgtiblfkbgturecfllberrvkinnctnn"),
        (counting, ["010203040506", "0001", "0001", "01", "02", "0000"], "rnibcnfhdninbrdebccrndfhjgnhftee"),
        (counting, ["010203040506", "0fff", "0001", "01", "01", "0000"], "iikkijbdknrrdhfdrjltvgrbkkjblcbh"),
        (
            "88888888888888888888888888888888",
            ["888888888888", "8888", "8888", "88", "88", "8888"],
            "dcihgvrhjeucvrinhdfddbjhfjftjdei",
        ),
        (
            "00000000000000000000000000000000",
            ["000000000000", "0000", "0000", "00", "00", "0000"],
            "kkkncjnvcnenkjvjgncjihljiibgbhbh",
        ),
        (
            "c4422890653076cde73d449b191b416a",
            ["33c69e7f249e", "0001", "13a7", "24", "00", "c63c"],
            "iucvrkjiegbhidrcicvlgrcgkgurhjnj",
        ),
        (
            "c68c9df8cbfe7d2f994cb904046c7218",
            ["609963eae7b5", "0001", "8d40", "0f", "00", "5447"],
            "tjduvtcjbfeuvhehdvjjlbchtlenfgku",
        ),
    ];
    for (key, fields, otp) in vectors {
        assert_eq!(seal(key, fields), otp);
    }
    assert_eq!(crc16(&[0, 1, 2, 3, 4]), 62919);
    assert_eq!(modhex(&unhex::<6>("474858596061")), "fifjgjgkhchb");
    assert_eq!(modhex(b"foobar"), "hhhvhvhdhbid");
}

#[test]
fn agrees_with_ykgenerate() {
    let key = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
    let Some(theirs) = yubico("ykgenerate", &[key, "a1b2c3d4e5f6", "0123", "4567", "89", "ab"]) else {
        return;
    };
    // ykgenerate chooses the random field; ykparse tells which
    let Some(parsed) = yubico("ykparse", &[key, theirs.trim()]) else { return };
    let random = field(&parsed, "random:");
    let random = random.split_once("(0x").unwrap().1.trim_end_matches(')');
    assert_eq!(seal(key, ["a1b2c3d4e5f6", "0123", "4567", "89", "ab", random]), theirs.trim());
}

#[test]
fn ykparse_reads_what_a_key_types() {
    let mut key = SoftYubiKey::numbered(7);
    key.set_counter(0x0203);
    key.press();
    for caps in [false, true] {
        let otp = if caps { key.press_caps().to_lowercase() } else { key.press() };
        let (id, token) = otp.split_at(12);
        assert_eq!(id, key.public_id());
        let Some(parsed) = yubico("ykparse", &[&key.aes_key_hex(), token]) else { return };
        assert_eq!(field(&parsed, "uid:"), key.private_id_hex());
        assert_eq!(field(&parsed, "cleaned counter:"), "515(0x0203)");
        assert_eq!(field(&parsed, "session use:"), if caps { "2(0x02)" } else { "1(0x01)" });
        assert_eq!(field(&parsed, "triggered by caps lock:"), if caps { "yes" } else { "no" });
        assert_eq!(field(&parsed, "crc check:"), "ok");
    }
}

#[test]
fn counts_presses_and_power_ups() {
    let mut key = SoftYubiKey::numbered(1);
    assert_eq!(key.position(), (1, 0));
    key.press();
    assert_eq!(key.position(), (1, 1));
    key.replug();
    assert_eq!(key.position(), (2, 0));
    for _ in 0..=255 {
        key.press();
    }
    assert_eq!(key.position(), (3, 0), "the 257th press counts as a power-up");
    key.set_counter(0x7fff);
    key.replug();
    assert_eq!(key.position(), (0x7fff, 0), "the counter stays at its last value");
}

#[test]
fn keyboards_change_the_letters_only() {
    let mut key = SoftYubiKey::numbered(2);
    assert!(key.press().starts_with("vvcccccccccd") && key.press().len() == 44);
    let (plain, dvorak) = (key.clone().press(), key.clone().press_dvorak());
    assert!(plain.starts_with("vvcc") && dvorak.starts_with("kkjj"));
    let back = |c: char| char::from(MODHEX[DVORAK.iter().position(|&d| char::from(d) == c).unwrap()]);
    assert_eq!(dvorak.chars().map(back).collect::<String>(), plain);
    let caps = key.press_caps();
    assert!(caps.chars().all(|c| c.is_ascii_uppercase()), "{caps}");
}

#[test]
fn numbered_keys_differ() {
    let (one, other) = (SoftYubiKey::numbered(1), SoftYubiKey::numbered(2));
    assert_ne!(one.public_id(), other.public_id());
    assert_ne!(one.private_id_hex(), other.private_id_hex());
    assert_ne!(one.aes_key_hex(), other.aes_key_hex());
    assert_eq!(one.aes_key_hex(), SoftYubiKey::numbered(1).aes_key_hex());
}

#[test]
fn logs_as_the_personalization_tool() {
    let key = SoftYubiKey::new(&[0xff; 6], unhex("d17bb68be71e"), unhex("12c676fa8f906cf9505122ac4d5ef058"));
    assert_eq!(
        key.traditional_log_line(),
        "Yubico OTP,19/02/2016 11:04,1,vvvvvvvvvvvv,d17bb68be71e,12c676fa8f906cf9505122ac4d5ef058,,,\
         0,0,0,0,0,0,0,0,0,0"
    );
}
