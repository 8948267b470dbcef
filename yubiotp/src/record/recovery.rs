//! The text of `keys/rec-SET-N`: one recovery code.

use super::{BadRecord, Lines, RECORD, store_key_id};
use crate::recovery::CodeMac;
use crate::seal::StoreKeyId;
use crate::{SetId, TokenId};
use alloc::format;
use alloc::string::String;
use data_encoding::HEXLOWER;

/// How a recovery code looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `4-KQ7M-2XPD-9F`: [`RecoveryCode`](crate::recovery::RecoveryCode).
    Letters,
    /// Eight digits, as google-authenticator makes them.
    EightDigits,
}

/// A file of a recovery code as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryRecord {
    /// How the code looks.
    pub shape: Shape,
    /// The ID of the store key that the key of the MAC was derived from.
    pub under: StoreKeyId,
    /// The MAC of the code.
    pub mac: CodeMac,
}

impl RecoveryRecord {
    /// The text of the file of the `number`th code of a set.
    #[must_use]
    pub fn write(&self, set: &SetId, number: u8) -> String {
        let shape = match self.shape {
            Shape::Letters => "letters",
            Shape::EightDigits => "eight-digits",
        };
        format!(
            "{RECORD}2. The code is not in it, only a MAC; made by ykmap, do not edit.\n\
             token: {}\nkind: recovery\nshape: {shape}\nmac-under: {}\nmac: {}\n",
            TokenId::RecoveryCode(*set, number),
            self.under,
            HEXLOWER.encode(&self.mac.0),
        )
    }

    /// Reads the file of the `number`th code of a set.
    ///
    /// # Errors
    /// It is not one, or another code's.
    pub fn read(text: &[u8], set: &SetId, number: u8) -> Result<Self, BadRecord> {
        let mut lines = Lines::begin(text, RECORD, 2)?;
        lines.token(&TokenId::RecoveryCode(*set, number))?;
        lines.field("kind: ", |kind| (kind == "recovery").then_some(()))?;
        let shape = lines.field("shape: ", |shape| match shape {
            "letters" => Some(Shape::Letters),
            "eight-digits" => Some(Shape::EightDigits),
            _ => None,
        })?;
        let under = lines.field("mac-under: ", store_key_id)?;
        let mac =
            lines.field("mac: ", |mac| HEXLOWER.decode(mac.as_bytes()).ok()?.try_into().ok().map(CodeMac))?;
        Ok(Self { shape, under, mac })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn the_file_as_documented() {
        let set = SetId::new("k7m2qx").unwrap();
        let record =
            RecoveryRecord { shape: Shape::Letters, under: StoreKeyId([1; 8]), mac: CodeMac([0xab; 16]) };
        let text = record.write(&set, 3);
        assert_eq!(
            text,
            "# pam_yubiotp key, version 2. The code is not in it, only a MAC; made by ykmap, do not edit.\n\
             token: rec-k7m2qx-3\nkind: recovery\nshape: letters\nmac-under: 0101010101010101\n\
             mac: abababababababababababababababab\n"
        );
        assert_eq!(RecoveryRecord::read(text.as_bytes(), &set, 3), Ok(record));
        let other = BadRecord::OtherToken(TokenId::RecoveryCode(set, 3));
        assert_eq!(RecoveryRecord::read(text.as_bytes(), &set, 4), Err(other));
    }

    proptest! {
        #[test]
        fn round_trip(under: [u8; 8], mac: [u8; 16], number in 1u8..=9, digits: bool) {
            let shape = if digits { Shape::EightDigits } else { Shape::Letters };
            let record = RecoveryRecord { shape, under: StoreKeyId(under), mac: CodeMac(mac) };
            let set = SetId::new("a").unwrap();
            prop_assert_eq!(RecoveryRecord::read(record.write(&set, number).as_bytes(), &set, number), Ok(record));
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = RecoveryRecord::read(&text, &SetId::new("1").unwrap(), 1);
        }
    }
}
