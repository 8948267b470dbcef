//! The characters that a keyboard layout makes of the keys that a YubiKey types.
//!
//! A YubiKey is a USB keyboard: it sends key positions, and the host's layout turns them into letters. The letters
//! of modhex sit on the same keys on QWERTY, QWERTZ and AZERTY; on other layouts something else arrives. Which
//! layout it was is not guessed here: decryption proves it.
//!
//! The tables were read from xkeyboard-config (`xkbcli compile-keymap`), the position of each modhex letter on a
//! US keyboard looked up in the layout.

use crate::modhex;

/// A keyboard layout.
pub struct Layout {
    /// Its usual name.
    pub name: &'static str,
    /// The character for each modhex letter, in the order of [`modhex::ALPHABET`]. Small letters.
    keys: [char; 16],
}

/// Every layout that is tried, the one that modhex was made for first.
pub static LAYOUTS: [Layout; 14] = [
    Layout { name: "QWERTY", keys: modhex::ALPHABET },
    Layout::new("Dvorak", *b"jxe.uidchtnbpygk"),
    Layout::new("Dvorak (German)", *b"jxe.uihcdrnbpygk"),
    Layout::new("Colemak", *b"cbsftdhuneikpglv"),
    Layout::new("Colemak-DH", *b"dzsftgmuneikpblv"),
    Layout::new("Workman", *b"mvhrtgyuneokwbfc"),
    Layout {
        name: "Bépo",
        keys: ['x', 'k', 'i', 'p', 'e', ',', 'c', 'd', 't', 's', 'r', '\'', 'o', 'è', 'v', '.'],
    },
    Layout {
        name: "Neo",
        keys: ['ä', 'z', 'a', 'l', 'e', 'o', 's', 'g', 'n', 'r', 't', 'b', 'c', 'w', 'h', 'p'],
    },
    Layout {
        name: "Turkish Q",
        keys: ['c', 'b', 'd', 'e', 'f', 'g', 'h', 'ı', 'j', 'k', 'l', 'n', 'r', 't', 'u', 'v'],
    },
    Layout {
        name: "Turkish F",
        keys: ['v', 'ç', 'e', 'ğ', 'a', 'ü', 't', 'n', 'k', 'm', 'l', 'z', 'ı', 'o', 'r', 'c'],
    },
    Layout {
        name: "Russian",
        keys: ['с', 'и', 'в', 'у', 'а', 'п', 'р', 'ш', 'о', 'л', 'д', 'т', 'к', 'е', 'г', 'м'],
    },
    Layout {
        name: "Bulgarian",
        keys: ['ъ', 'ф', 'а', 'е', 'о', 'ж', 'г', 'с', 'т', 'н', 'в', 'х', 'и', 'ш', 'к', 'э'],
    },
    Layout {
        name: "Greek",
        keys: ['ψ', 'β', 'δ', 'ε', 'φ', 'γ', 'η', 'ι', 'ξ', 'κ', 'λ', 'ν', 'ρ', 'τ', 'θ', 'ω'],
    },
    Layout {
        name: "Hebrew",
        keys: ['ב', 'נ', 'ג', 'ק', 'כ', 'ע', 'י', 'ן', 'ח', 'ל', 'ך', 'מ', 'ר', 'א', 'ו', 'ה'],
    },
];

impl Layout {
    const fn new(name: &'static str, keys: [u8; 16]) -> Self {
        let [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, ka, kb, kc, kd, ke, kf] = keys;
        Self {
            name,
            keys: [
                k0 as char, k1 as char, k2 as char, k3 as char, k4 as char, k5 as char, k6 as char,
                k7 as char, k8 as char, k9 as char, ka as char, kb as char, kc as char, kd as char,
                ke as char, kf as char,
            ],
        }
    }

    /// The value 0 to 15 of a character typed under this layout, with or without caps lock.
    #[must_use]
    pub fn nibble(&self, typed: char) -> Option<u8> {
        let small = typed.to_lowercase().next().unwrap_or(typed);
        let value = self.keys.iter().position(|key| *key == typed || *key == small)?;
        u8::try_from(value).ok()
    }

    /// The character that arrives for a value; only the low four bits count.
    #[must_use]
    pub fn typed(&self, value: u8) -> char {
        self.keys.get(usize::from(value & 0x0f)).copied().unwrap_or('c')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_of_a_layout_has_one_value() {
        for layout in &LAYOUTS {
            for value in 0..16 {
                let typed = layout.typed(value);
                assert_eq!(layout.nibble(typed), Some(value), "{} {typed}", layout.name);
                let mut capitals = typed.to_uppercase();
                let capital = capitals.next().unwrap();
                // The dotless i of Turkish has the capital of i, which is modhex already.
                if capitals.next().is_none() && typed != 'ı' {
                    assert_eq!(layout.nibble(capital), Some(value), "{} {capital}", layout.name);
                }
            }
        }
    }

    #[test]
    fn dvorak_as_published() {
        let dvorak: alloc::string::String = (0..16).map(|value| LAYOUTS[1].typed(value)).collect();
        assert_eq!(dvorak, "jxe.uidchtnbpygk");
    }
}
