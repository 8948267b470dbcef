//! How text that others wrote is shown: names of users and files, words of programs and servers.
//!
//! One rule for logs, terminals and web pages. Printable text stays as it is, and so do letters with combining marks.
//! Everything else is escaped: a character as `\u{202e}`, a byte that is not UTF-8 as `\xff`, a backslash as `\\`. So
//! nothing that is shown ends a line, moves a cursor, turns the reading direction round or hides, and two different
//! texts never look the same to a program that compares them.

use core::fmt::{self, Display, Write};

/// One value, by the rule.
pub fn text<T: AsRef<[u8]> + ?Sized>(value: &T) -> Text<'_> {
    Text { value: value.as_ref(), escapes: Escapes::Value }
}

/// The same between double quotes; those within are `\"`.
pub fn quoted<T: AsRef<[u8]> + ?Sized>(value: &T) -> Quoted<'_> {
    Quoted(value.as_ref())
}

/// A value of `key=value`: quoted, unless it is plain ASCII without a blank, a quote, a backslash or an equals sign.
pub fn field<T: AsRef<[u8]> + ?Sized>(value: &T) -> Field<'_> {
    Field(value.as_ref())
}

/// A sentence whose values were put in by [`text`]: its backslashes are theirs, and stay. The last thing before a
/// terminal, for values that were put in as they are.
#[must_use]
pub const fn line(sentence: &str) -> Text<'_> {
    Text { value: sentence.as_bytes(), escapes: Escapes::Sentence }
}

/// JSON as a serializer wrote it, in which strings hold nothing that is not printable: `\u202e`. It means the same.
#[must_use]
pub const fn json(serialized: &str) -> Json<'_> {
    Json(serialized)
}

/// Whether a character is shown as it is, apart from a backslash. Not: control and format characters, blanks other than
/// the space, unassigned and private ones, and characters that leave no mark.
#[must_use]
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    if is_invisible(c) {
        return false;
    }
    // After another character, core escapes only characters that cannot be printed.
    let mut both = *b"a\0\0\0\0";
    let length = both.get_mut(1..).map_or(0, |rest| c.encode_utf8(rest).len());
    let both = both.get(..=length).and_then(|both| str::from_utf8(both).ok());
    both.is_some_and(|both| both.escape_debug().nth(1) == Some(c))
}

/// Letters and marks without a shape of their own, which Unicode counts as neither format nor control characters
/// (Default_Ignorable_Code_Point), and the blank of Braille.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}'
    )
}

/// Whether a printable character joins the one before it.
fn is_mark(c: char) -> bool {
    !c.is_ascii() && c.escape_debug().next() != Some(c)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// Characters that cannot be printed, and the backslash.
    Value,
    /// That, and the double quote.
    Quoted,
    /// Characters that cannot be printed.
    Sentence,
}

fn write(f: &mut fmt::Formatter<'_>, value: &[u8], escapes: Escapes) -> fmt::Result {
    // A mark needs a letter before it: otherwise it would join a quote, a blank or the end of an escape.
    let mut carries = false;
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' if escapes != Escapes::Sentence => f.write_str("\\\\")?,
                '"' if escapes == Escapes::Quoted => f.write_str("\\\"")?,
                c if is_printable(c) && (carries || !is_mark(c)) => {
                    carries = !c.is_ascii() || c.is_ascii_alphanumeric();
                    f.write_char(c)?;
                    continue;
                }
                c => write!(f, "{}", c.escape_unicode())?,
            }
            carries = false;
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
            carries = false;
        }
    }
    Ok(())
}

/// See [`text`] and [`line()`].
#[derive(Clone, Copy)]
pub struct Text<'a> {
    value: &'a [u8],
    escapes: Escapes,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.value, self.escapes)
    }
}

/// See [`quoted`].
#[derive(Clone, Copy)]
pub struct Quoted<'a>(&'a [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        write(f, self.0, Escapes::Quoted)?;
        f.write_char('"')
    }
}

/// See [`field`].
#[derive(Clone, Copy)]
pub struct Field<'a>(&'a [u8]);

impl Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
        if !self.0.is_empty() && self.0.iter().all(is_plain) {
            write(f, self.0, Escapes::Value)
        } else {
            Quoted(self.0).fmt(f)
        }
    }
}

/// See [`json`].
#[derive(Clone, Copy)]
pub struct Json<'a>(&'a str);

impl Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            // Of ASCII, serializers leave DEL; their own line ends stay.
            if c == '\u{7f}' || !(c.is_ascii() || is_printable(c)) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(f, "\\u{unit:04x}")?;
                }
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn the_rule() {
        for (value, shown) in [
            (&b""[..], ""),
            (b"alice", "alice"),
            (b"al ice's \"x\"=1", "al ice's \"x\"=1"),
            (b"a\\b", "a\\\\b"),
            (b"a\nb\tc\x7f\0", "a\\u{a}b\\u{9}c\\u{7f}\\u{0}"),
            (b"\x1b[2J", "\\u{1b}[2J"),
            (b"a\xffb\xc3", "a\\xffb\\xc3"),
            // Reading direction, line and paragraph ends, no width, soft hyphen, blanks, NEL, byte order mark, tags.
            ("\u{202e}\u{2028}\u{2029}\u{200b}".as_bytes(), "\\u{202e}\\u{2028}\\u{2029}\\u{200b}"),
            (
                "a\u{ad}b\u{a0}c\u{85}\u{feff}\u{e0041}".as_bytes(),
                "a\\u{ad}b\\u{a0}c\\u{85}\\u{feff}\\u{e0041}",
            ),
            (
                "\u{2066}\u{200f}\u{3000}\u{e000}\u{378}".as_bytes(),
                "\\u{2066}\\u{200f}\\u{3000}\\u{e000}\\u{378}",
            ),
            ("\u{3164}\u{115f}\u{fe0f}\u{34f}".as_bytes(), "\\u{3164}\\u{115f}\\u{fe0f}\\u{34f}"),
            ("Jürgen ÅÄÖ ß Ω Ж 王 אב 👍 –…".as_bytes(), "Jürgen ÅÄÖ ß Ω Ж 王 אב 👍 –…"),
            // Marks stay on letters, and join nothing of ours.
            ("Ju\u{308}rgen e\u{301}\u{323}".as_bytes(), "Ju\u{308}rgen e\u{301}\u{323}"),
            ("नमस्ते".as_bytes(), "नमस्ते"),
            ("\u{301}a \u{301}\n\u{301}\\\u{301}".as_bytes(), "\\u{301}a \\u{301}\\u{a}\\u{301}\\\\\\u{301}"),
        ] {
            assert_eq!(text(value).to_string(), shown);
        }
    }

    #[test]
    fn fields() {
        for (value, shown) in [
            (&b"alice"[..], "alice"),
            (b"", "\"\""),
            (b"al ice", "\"al ice\""),
            (b"a\"b", "\"a\\\"b\""),
            (b"x reason=accepted", "\"x reason=accepted\""),
            (b"a\nb", "\"a\\u{a}b\""),
            (b"a\\", "\"a\\\\\""),
            (b"a\xffb", "\"a\\xffb\""),
            ("é".as_bytes(), "\"é\""),
            ("\u{301}".as_bytes(), "\"\\u{301}\""),
        ] {
            assert_eq!(field(value).to_string(), shown);
        }
    }

    #[test]
    fn sentences_and_json() {
        let name = text("a\\\u{202e}").to_string();
        assert_eq!(line(&name).to_string(), name, "what is shown already stays");
        assert_eq!(line("a\n\u{1b}[2J\\").to_string(), "a\\u{a}\\u{1b}[2J\\");
        let written = "{\n \"a\": \"é\u{202e}\u{e0041}\u{7f}\\n\"\n}";
        assert_eq!(json(written).to_string(), "{\n \"a\": \"é\\u202e\\udb40\\udc41\\u007f\\n\"\n}");
    }

    /// The text that was shown.
    fn read(shown: &str) -> Vec<u8> {
        let (mut bytes, mut rest) = (Vec::new(), shown);
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            let mut push = |c: char| bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            if c != '\\' {
                push(c);
                continue;
            }
            let kind = rest.chars().next().unwrap();
            rest = &rest[1..];
            match kind {
                'u' => {
                    let (number, behind) = rest[1..].split_once('}').unwrap();
                    push(char::from_u32(u32::from_str_radix(number, 16).unwrap()).unwrap());
                    rest = behind;
                }
                'x' => {
                    bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                    rest = &rest[2..];
                }
                '\\' | '"' => push(kind),
                other => panic!("an escape that is none: {other:?}"),
            }
        }
        bytes
    }

    fn any_text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<char>().prop_map(|c| String::from(c).into_bytes()),
            proptest::sample::select(alloc::vec![
                "\\", "\"", "\u{202e}", "\u{2028}", "\u{200b}", "\u{301}", "\u{200d}", "\n", " ", "=",
                "u{a}", "x41"
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            any::<u8>().prop_map(|byte| alloc::vec![byte]),
        ];
        proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn every_form_is_one_printable_line(value in any_text()) {
            let sentence = String::from_utf8_lossy(&value).into_owned();
            for shown in
                [text(&value).to_string(), quoted(&value).to_string(), field(&value).to_string(), line(&sentence).to_string()]
            {
                prop_assert!(shown.chars().all(is_printable), "{:?}", shown);
                prop_assert!(!shown.starts_with(is_mark));
                prop_assert_eq!(shown.lines().count().max(1), 1);
            }
        }

        /// A text that can be read back is shown in a form that no other text has.
        #[test]
        fn what_is_shown_can_be_read_back(value in any_text()) {
            prop_assert_eq!(&read(&text(&value).to_string()), &value);
            let quoted = quoted(&value).to_string();
            let within = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            prop_assert_eq!(&read(within), &value);
            // No quote but those around ends it.
            prop_assert!(!within.replace("\\\\", "").replace("\\\"", "").contains('"'));
        }

        #[test]
        fn a_sentence_is_changed_once(value in any_text()) {
            let once = text(&value).to_string();
            prop_assert_eq!(line(&once).to_string(), once);
        }
    }
}
