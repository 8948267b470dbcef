//! Secrets in hex, decoded straight into buffers that are wiped.

use super::{BadHex, BadKeyLine};
use crate::{AesKey, Credential, PrivateId};
use alloc::string::String;
use zeroize::Zeroizing;

/// `N` bytes from exactly twice as many hex digits, small or capital.
pub(super) fn decode<const N: usize>(text: &str) -> Result<Zeroizing<[u8; N]>, BadHex> {
    let expected = N.saturating_mul(2);
    let found = text.chars().count();
    if found != expected {
        return Err(BadHex::Length { expected, found });
    }
    let mut bytes = Zeroizing::new([0; N]);
    for (at, digit) in text.chars().enumerate() {
        let nibble = digit.to_digit(16).and_then(|value| u8::try_from(value).ok());
        let nibble = nibble.ok_or(BadHex::NotHex { expected, at: at.saturating_add(1) })?;
        if let Some(byte) = bytes.get_mut(at / 2) {
            *byte = *byte << 4 | nibble;
        }
    }
    Ok(bytes)
}

/// Writes bytes in small hex digits. Allocates only if `to` lacks the room.
pub(super) fn push(to: &mut String, bytes: &[u8]) {
    to.extend(
        bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]).filter_map(|n| char::from_digit(n.into(), 16)),
    );
}

/// A credential from two fields, each with its number.
pub(super) fn credential(
    (private_field, private_id): (usize, &str),
    (aes_field, aes_key): (usize, &str),
) -> Result<Credential, BadKeyLine> {
    let private_id = decode(private_id).map_err(|why| BadKeyLine::PrivateId { field: private_field, why })?;
    let aes_key = decode(aes_key).map_err(|why| BadKeyLine::AesKey { field: aes_field, why })?;
    Ok(Credential { private_id: PrivateId::new(*private_id), aes_key: AesKey::new(*aes_key) })
}
