//! The text of `keys/rec-SET-N`: one recovery code.

use super::{BadRecord, Lines, RECORD};
use crate::recovery::CodeMac;
use crate::seal::StoreKeyId;
use crate::{SetId, TokenId};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use data_encoding::{BASE64, HEXLOWER};

/// How a recovery code looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `4-KQ7M-2XPD-9F`: [`RecoveryCode`](crate::recovery::RecoveryCode).
    Letters,
    /// Eight digits, as google-authenticator makes them.
    EightDigits,
}

/// A file of a recovery code as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryRecord {
    /// How the code looks.
    pub shape: Shape,
    /// The ID of the store key that the key of the MAC was derived from.
    pub under: StoreKeyId,
    /// The MAC of the code.
    pub mac: CodeMac,
    /// What is left of the store keys before that one, if the store key was replaced since the code was made.
    pub earlier: Option<EarlierMacs>,
}

/// The MACs before the one in a [`RecoveryRecord`]: the MAC of the code is made under the first of these store keys, and
/// [again](crate::recovery::RecoveryKey::again) under each one after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierMacs {
    /// The IDs of these store keys, the first one first. At least one.
    pub under: Vec<StoreKeyId>,
    /// The fingerprint that the code had under the last of them
    /// ([`StoreKey::seal_fingerprint`](crate::seal::StoreKey::seal_fingerprint)): its position may have that one still.
    pub sealed_fingerprint: Vec<u8>,
}

impl RecoveryRecord {
    /// Of a new code.
    #[must_use]
    pub const fn new(shape: Shape, under: StoreKeyId, mac: CodeMac) -> Self {
        Self { shape, under, mac, earlier: None }
    }

    /// The IDs of the store keys that the MAC is made under, in turn.
    pub fn all_under(&self) -> impl Iterator<Item = StoreKeyId> {
        let earlier = self.earlier.iter().flat_map(|earlier| earlier.under.iter().copied());
        earlier.chain([self.under])
    }

    /// The text of the file of the `number`th code of a set.
    #[must_use]
    pub fn write(&self, set: &SetId, number: u8) -> String {
        let shape = match self.shape {
            Shape::Letters => "letters",
            Shape::EightDigits => "eight-digits",
        };
        let version = if self.earlier.is_some() { 3 } else { 2 };
        let earlier = self.earlier.as_ref().map(|earlier| {
            let under: Vec<_> = earlier.under.iter().map(ToString::to_string).collect();
            let sealed = BASE64.encode(&earlier.sealed_fingerprint);
            format!("made-under: {}\nsealed-fingerprint: {sealed}\n", under.join(","))
        });
        format!(
            "{RECORD}{version}. The code is not in it, only a MAC; made by ykmap, do not edit.\n\
             token: {}\nkind: recovery\nshape: {shape}\nmac-under: {}\nmac: {}\n{}",
            TokenId::RecoveryCode(*set, number),
            self.under,
            HEXLOWER.encode(&self.mac.0),
            earlier.unwrap_or_default(),
        )
    }

    /// Reads the file of the `number`th code of a set.
    ///
    /// # Errors
    /// It is not one, or another code's.
    pub fn read(text: &[u8], set: &SetId, number: u8) -> Result<Self, BadRecord> {
        let (mut lines, version) = Lines::begin(text, RECORD, 2..=3)?;
        lines.token(&TokenId::RecoveryCode(*set, number))?;
        lines.field("kind: ", |kind| (kind == "recovery").then_some(()))?;
        let shape = lines.field("shape: ", |shape| match shape {
            "letters" => Some(Shape::Letters),
            "eight-digits" => Some(Shape::EightDigits),
            _ => None,
        })?;
        let under = lines.field("mac-under: ", StoreKeyId::parse)?;
        let mac =
            lines.field("mac: ", |mac| HEXLOWER.decode(mac.as_bytes()).ok()?.try_into().ok().map(CodeMac))?;
        let earlier = (version == 3).then(|| {
            let under = lines.field("made-under: ", |ids| {
                ids.split(',').map(StoreKeyId::parse).collect::<Option<Vec<_>>>()
            })?;
            let sealed = lines.field("sealed-fingerprint: ", |text| BASE64.decode(text.as_bytes()).ok())?;
            Ok(EarlierMacs { under, sealed_fingerprint: sealed })
        });
        Ok(Self { shape, under, mac, earlier: earlier.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_file_as_documented() {
        let set = SetId::new("k7m2qx").unwrap();
        let mut record = RecoveryRecord::new(Shape::Letters, StoreKeyId([1; 8]), CodeMac([0xab; 16]));
        let text = record.write(&set, 3);
        assert_eq!(
            text,
            "# pam_yubiotp key, version 2. The code is not in it, only a MAC; made by ykmap, do not edit.\n\
             token: rec-k7m2qx-3\nkind: recovery\nshape: letters\nmac-under: 0101010101010101\n\
             mac: abababababababababababababababab\n"
        );
        assert_eq!(RecoveryRecord::read(text.as_bytes(), &set, 3).as_ref(), Ok(&record));
        let under = [StoreKeyId([2; 8]), StoreKeyId([3; 8])].to_vec();
        record.earlier = Some(EarlierMacs { under, sealed_fingerprint: [0; 3].to_vec() });
        let later = record.write(&set, 3);
        let behind = "made-under: 0202020202020202,0303030303030303\nsealed-fingerprint: AAAA\n";
        assert_eq!(later, text.replace("version 2", "version 3") + behind);
        assert_eq!(RecoveryRecord::read(later.as_bytes(), &set, 3), Ok(record));
        for damaged in [
            later.replace(",0303030303030303", ","),
            later.replace("made-under", "made"),
            text.replace("version 2", "version 3"),
        ] {
            assert!(matches!(
                RecoveryRecord::read(damaged.as_bytes(), &set, 3),
                Err(BadRecord::Damaged { line: 7, .. })
            ));
        }
        let other = BadRecord::OtherToken(TokenId::RecoveryCode(set, 3));
        assert_eq!(RecoveryRecord::read(text.as_bytes(), &set, 4), Err(other));
    }

    proptest! {
        #[test]
        fn round_trip(under: [u8; 8], mac: [u8; 16], number in 1u8..=9, digits: bool, earlier in proptest::collection::vec(any::<[u8; 8]>(), 0..4), sealed: Vec<u8>) {
            let shape = if digits { Shape::EightDigits } else { Shape::Letters };
            let mut record = RecoveryRecord::new(shape, StoreKeyId(under), CodeMac(mac));
            record.earlier = (!earlier.is_empty()).then(|| EarlierMacs {
                under: earlier.into_iter().map(StoreKeyId).collect(),
                sealed_fingerprint: sealed,
            });
            let set = SetId::new("a").unwrap();
            prop_assert_eq!(RecoveryRecord::read(record.write(&set, number).as_bytes(), &set, number), Ok(record));
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = RecoveryRecord::read(&text, &SetId::new("1").unwrap(), 1);
        }
    }
}
