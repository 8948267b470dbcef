//! What somebody types: OTPs on every keyboard layout, passwords before them, and anything else.
//!
//! Whatever reads as an OTP is typed again, under the layout that it was read under, and gives the end of the answer;
//! its block, decrypted by us and encrypted again by the cipher's own crate, is the same block. Modhex is held against
//! data-encoding's, made from the letters of the manual.
//!
//! Input: an answer.
#![no_main]

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use data_encoding::{Encoding, Specification};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use yubiotp::otp::{MAX_ANSWER, readings};
use yubiotp::{AesKey, PublicId, modhex};

/// Of the published vectors.
const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

static MODHEX: LazyLock<Encoding> = LazyLock::new(|| {
    let mut modhex = Specification::new();
    modhex.symbols.push_str("cbdefghijklnrtuv");
    modhex.translate.from.push_str("CBDEFGHIJKLNRTUV");
    modhex.translate.to.push_str("cbdefghijklnrtuv");
    modhex.encoding().unwrap()
});

fuzz_target!(|answer: &[u8]| {
    assert_eq!(modhex::decode(answer).ok(), MODHEX.decode(answer).ok());
    assert_eq!(modhex::encode(answer), MODHEX.encode(answer));
    if let Ok(id) = PublicId::parse(answer) {
        assert!(answer.len() <= 32, "{id}");
        assert_eq!(id.to_string().as_bytes(), answer.to_ascii_lowercase());
    }
    let Ok(readings) = readings(answer) else { return };
    assert!(answer.len() <= MAX_ANSWER);
    let typed = answer.trim_ascii_end();
    let none = PublicId::from_bytes(&[]).unwrap();
    let mut layouts = Vec::new();
    for reading in readings {
        layouts.push(reading.layout.name);
        let ids = [Some(none), reading.whole_id()];
        let otps = ids.iter().flatten().filter_map(|id| Some((id, reading.split(id)?)));
        for (id, otp) in otps {
            let again: String = id
                .as_bytes()
                .iter()
                .chain(otp.block.expose())
                .flat_map(|byte| [otp.layout.typed(byte >> 4), otp.layout.typed(*byte)])
                .collect();
            let end = end(typed, again.chars().count());
            assert_eq!(end.to_lowercase(), again, "{}", otp.layout.name);
            let before = &typed[..typed.len() - end.len()];
            let password = if before.trim_ascii().is_empty() { &[] } else { before };
            assert_eq!(otp.password, password);
            assert_eq!(*otp.modhex(id), MODHEX.encode(&[id.as_bytes(), otp.block.expose()].concat()));
            block(otp.block.expose(), otp.block.decrypt(&AesKey::new(KEY)).ok());
        }
        assert!(reading.split(&none).is_some(), "32 presses are the OTP of a token without an id");
    }
    let usual =
        typed.len() >= 32 && typed[typed.len() - 32..].iter().all(|byte| modhex::nibble(*byte).is_some());
    assert_eq!(usual, layouts.first() == Some(&"QWERTY"), "{layouts:?}");
});

/// The last so many characters.
fn end(text: &[u8], characters: usize) -> &str {
    (0..=text.len())
        .filter_map(|at| str::from_utf8(&text[at..]).ok())
        .find(|end| end.chars().count() == characters)
        .unwrap_or_else(|| panic!("not {characters} characters"))
}

fn block(block: &[u8; 16], plain: Option<yubiotp::Plain>) {
    let Some(plain) = plain else { return };
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(plain.private_id.expose());
    let caps = if plain.caps_lock { 0x8000 } else { 0 };
    assert!(plain.usage_counter < 0x8000);
    bytes[6..8].copy_from_slice(&(plain.usage_counter | caps).to_le_bytes());
    bytes[8..11].copy_from_slice(&plain.timestamp.to_le_bytes()[..3]);
    bytes[11] = plain.session_use;
    bytes[12..14].copy_from_slice(&plain.random.to_le_bytes());
    let crc = !bytes[..14].iter().fold(0xffff_u16, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x8408 } else { crc >> 1 })
    });
    bytes[14..].copy_from_slice(&crc.to_le_bytes());
    let mut again = aes::Block::from(bytes);
    Aes128::new(&KEY.into()).encrypt_block(&mut again);
    assert_eq!(again.as_slice(), block);
}
