//! The key file of a key storage module: `serialNr,publicName,internalName,aesKey,lockCode,created,accessed[,progflags]`
//!
//! Source: yubikey-ksm, "Key Provisioning Format". Only the first four fields say anything about a key.

use super::{BadKeyLine, Line, is_decimal, token_at, trim};

pub(super) fn parse(line: &str) -> Result<Line, BadKeyLine> {
    match line.split(',').next() {
        Some(serial) if !is_decimal(trim(serial)) => Err(BadKeyLine::Serial),
        _ => token_at(line, 2),
    }
}
