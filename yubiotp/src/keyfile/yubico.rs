//! The Yubico format: `serial,publicid,privateid,aeskey,accesscode,timestamp,`
//!
//! Source: yubikey-personalization-gui, `yubikeylogger.cpp`, which writes every mode of a YubiKey in this form. The
//! modes that use a 20-byte key put a decimal number in place of the private ID.

use super::{BadKeyLine, Line, PassedOver, is_decimal, ksm, trim};

pub(super) fn parse(line: &str) -> Result<Line, BadKeyLine> {
    let mut fields = line.split(',').map(trim).skip(2);
    if let (Some(counter), Some(key)) = (fields.next(), fields.next())
        && (1..12).contains(&counter.len())
        && is_decimal(counter)
        && key.len() == 40
        && key.bytes().all(|digit| digit.is_ascii_hexdigit())
    {
        return Ok(Line::PassedOver(PassedOver::OtherMode("OATH-HOTP or HMAC-SHA1")));
    }
    ksm::parse(line)
}
