//! Secrets in hex and in base32, decoded straight into buffers that are wiped.

use std::fmt;
use zeroize::Zeroizing;

/// How the secrets of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Two hex digits a byte, small or capital.
    Hex,
    /// RFC 4648, small or capital, with or without padding.
    Base32,
}

impl Encoding {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Hex, Self::Base32];

    /// The name that `--secret` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base32 => "base32",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Hex => Self::Base32,
            Self::Base32 => Self::Hex,
        }
    }

    /// Whether a text is whole bytes in this encoding, however many.
    #[must_use]
    pub fn reads(self, text: &str) -> bool {
        self.decode(text).is_some()
    }

    /// The bytes of a text. Blanks and hyphens between groups do not count. `None` if a character is wrong, or one is
    /// missing or too many.
    #[must_use]
    pub fn decode(self, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        let digits = text.bytes().filter(|byte| !b" -".contains(byte));
        match self {
            Self::Hex => Bits::of(4, text.len(), digits, hex_digit)?.whole(),
            Self::Base32 => {
                let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
                let unpadded = text.len().saturating_sub(padding);
                let digits = text.bytes().take(unpadded).filter(|byte| !b" -".contains(byte));
                let bits = Bits::of(5, text.len(), digits, base32_digit)?;
                // With padding there are eight characters to five bytes; never is it longer than six.
                if padding > 6 || (padding > 0 && !bits.digits.wrapping_add(padding).is_multiple_of(8)) {
                    return None;
                }
                bits.whole()
            }
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The bytes of a base32 text as google-authenticator reads it: `0`, `1` and `8` mean the letters that they look like,
/// and bits that make no whole byte are dropped. `None` if a character is wrong.
pub(crate) fn lenient_base32(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits = text.bytes().filter(|byte| !b" -\t\r".contains(byte));
    let bits = Bits::of(5, text.len(), digits, |digit| {
        base32_digit(match digit {
            b'0' => b'O',
            b'1' => b'L',
            b'8' => b'B',
            other => other,
        })
    })?;
    Some(bits.bytes)
}

/// Bytes as they are put together.
struct Bits {
    bytes: Zeroizing<Vec<u8>>,
    /// What is not a whole byte yet, and how many bits that is.
    rest: u32,
    count: u32,
    digits: usize,
    width: u32,
}

impl Bits {
    fn of(
        width: u32,
        most: usize,
        digits: impl Iterator<Item = u8>,
        value: impl Fn(u8) -> Option<u8>,
    ) -> Option<Self> {
        // Room for all at once: a vector that grows leaves copies behind.
        let bytes = Zeroizing::new(Vec::with_capacity(most));
        let mut bits = Self { bytes, rest: 0, count: 0, digits: 0, width };
        for digit in digits {
            bits.rest = bits.rest << width | u32::from(value(digit)?);
            bits.count = bits.count.wrapping_add(width);
            bits.digits = bits.digits.wrapping_add(1);
            if bits.count >= 8 {
                bits.count = bits.count.wrapping_sub(8);
                bits.bytes.push(u8::try_from(bits.rest >> bits.count & 0xff).ok()?);
                bits.rest &= (1_u32 << bits.count).wrapping_sub(1);
            }
        }
        Some(bits)
    }

    /// The bytes, if the text was canonical: no digit too many, and no bit that means nothing.
    fn whole(self) -> Option<Zeroizing<Vec<u8>>> {
        (self.count < self.width && self.rest == 0 && self.digits > 0).then_some(self.bytes)
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

const fn base32_digit(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit.wrapping_sub(b'A')),
        b'a'..=b'z' => Some(digit.wrapping_sub(b'a')),
        b'2'..=b'7' => Some(digit.wrapping_sub(b'2').wrapping_add(26)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::{BASE32, BASE32_NOPAD, HEXLOWER};
    use proptest::prelude::*;

    #[test]
    fn what_reads_as_what() {
        for (text, hex, base32) in [
            ("3132333435363738393031323334353637383930", true, false),
            ("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", false, true),
            ("gezd gnbv-gy3t qojq", false, true),
            ("MZXW6YTBOI======", false, true),
            ("MZXW6YTBOI=====", false, false),
            ("MZXW6YTBOI", false, true),
            ("ABCDEF2345ABCDEF", true, true),
            ("ABC", false, false), // half a byte too many in each
            ("AB", true, false),   // bits behind the byte that are not zero
            ("AA", true, true),
            ("========", false, false),
            ("12", true, false),
            ("", false, false),
            (" ", false, false),
            ("zz", false, false),
        ] {
            assert_eq!((Encoding::Hex.reads(text), Encoding::Base32.reads(text)), (hex, base32), "{text}");
        }
        assert_eq!(**Encoding::Base32.decode("MZXW6YTBOI======").unwrap(), *b"foobar");
    }

    #[test]
    fn google_authenticator_reads_more() {
        assert_eq!(**lenient_base32("MZXW6YT80I").unwrap(), *b"foobar");
        assert_eq!(**lenient_base32("MZXW 6YTB-O1").unwrap(), **lenient_base32("MZXW6YTBOL").unwrap());
        assert!(lenient_base32("MZ9").is_none());
        // 26 characters: 130 bits, two of them too many.
        assert_eq!(lenient_base32("UZCB3JPEPYME7CTRWFSR4W3DTU").unwrap().len(), 16);
    }

    proptest! {
        #[test]
        fn what_others_encode_is_decoded(bytes in prop::collection::vec(any::<u8>(), 1..70)) {
            for text in [BASE32.encode(&bytes), BASE32_NOPAD.encode(&bytes), BASE32.encode(&bytes).to_lowercase()] {
                prop_assert_eq!(&**Encoding::Base32.decode(&text).unwrap(), &bytes);
            }
            prop_assert_eq!(&**Encoding::Hex.decode(&HEXLOWER.encode(&bytes)).unwrap(), &bytes);
        }

        #[test]
        fn data_encoding_agrees(text in "[A-Za-z0-9]{0,40}") {
            let upper = text.to_uppercase();
            prop_assert_eq!(
                Encoding::Base32.decode(&text).map(|bytes| bytes.to_vec()),
                BASE32_NOPAD.decode(upper.as_bytes()).ok().filter(|bytes| !bytes.is_empty())
            );
        }
    }
}
