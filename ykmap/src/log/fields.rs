//! Reads the fields of a line back: the exact inverse of [`yubiotp::shown`].

/// The fields of a line in their order, `name=value` with one blank between them.
pub(super) struct Fields<'l> {
    fields: Vec<(&'l str, Vec<u8>)>,
    /// The end of the line is missing, within its last value.
    pub(super) is_cut: bool,
}

impl<'l> Fields<'l> {
    /// `None` if the writer cannot have written it: another form, or a name twice.
    pub(super) fn parse(line: &'l str) -> Option<Self> {
        let (mut fields, mut is_cut): (Vec<(&str, Vec<u8>)>, _) = (Vec::new(), false);
        let mut rest = line;
        loop {
            let (name, after) = rest.split_once('=')?;
            let is_name =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            if !is_name || fields.iter().any(|(known, _)| *known == name) {
                return None;
            }
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => {
                    let quoted = unquote(quoted)?;
                    is_cut = quoted.is_cut;
                    (quoted.value, quoted.rest)
                }
                None => plain(after)?,
            };
            fields.push((name, value));
            if after.is_empty() {
                return Some(Self { fields, is_cut });
            }
            rest = after.strip_prefix(' ')?;
        }
    }

    /// Takes a field out.
    pub(super) fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let at = self.fields.iter().position(|(known, _)| *known == name)?;
        Some(self.fields.remove(at).1)
    }

    /// The same of a field in which the writer writes `none` for nothing.
    pub(super) fn take_or_none(&mut self, name: &str) -> Option<Vec<u8>> {
        self.take(name).filter(|value| value != b"none")
    }

    /// The same as text.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        String::from_utf8(self.take(name)?).ok()
    }

    /// The fields that were not taken.
    pub(super) fn rest(self) -> Vec<(String, Vec<u8>)> {
        self.fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// A value without quotes, and what follows it.
fn plain(text: &str) -> Option<(Vec<u8>, &str)> {
    let end = text.find(' ').unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end)?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    (!value.is_empty() && value.bytes().all(is_plain)).then(|| (value.as_bytes().to_vec(), rest))
}

struct Unquoted<'l> {
    value: Vec<u8>,
    rest: &'l str,
    is_cut: bool,
}

/// A value whose first quote is read already.
fn unquote(text: &str) -> Option<Unquoted<'_>> {
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        let Some(c) = rest.chars().next() else {
            return Some(Unquoted { value, rest, is_cut: true });
        };
        rest = rest.get(c.len_utf8()..)?;
        match c {
            '"' => return Some(Unquoted { value, rest, is_cut: false }),
            c if c.is_ascii_control() => return None,
            '\\' => match escape(rest, &mut value) {
                Some(after) => rest = after,
                None if is_cut_escape(rest) => return Some(Unquoted { value, rest: "", is_cut: true }),
                None => return None,
            },
            c => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Reads what follows a backslash, and gives the text behind it. `None` if it is no escape.
fn escape<'l>(text: &'l str, value: &mut Vec<u8>) -> Option<&'l str> {
    if let Some(rest) = text.strip_prefix("u{") {
        let (number, rest) = rest.split_once('}')?;
        let c = char::from_u32(hex(number, 6)?)?;
        value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        return Some(rest);
    }
    if let Some(rest) = text.strip_prefix('x') {
        let (number, rest) = rest.split_at_checked(2)?;
        value.push(u8::try_from(hex(number, 2)?).ok()?);
        return Some(rest);
    }
    let rest = text.strip_prefix(['\\', '"'])?;
    value.extend_from_slice(text.as_bytes().get(..1)?);
    Some(rest)
}

fn hex(digits: &str, most: usize) -> Option<u32> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_number = (1..=most).contains(&digits.len()) && digits.bytes().all(is_hex);
    is_number.then(|| u32::from_str_radix(digits, 16).ok())?
}

/// Whether the line ended within an escape.
fn is_cut_escape(text: &str) -> bool {
    let digits = text.strip_prefix("u{").or_else(|| text.strip_prefix('x')).unwrap_or_default();
    text.len() < 8
        && (matches!(text, "" | "u") || text.starts_with(['u', 'x']))
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !(text.starts_with('x') && digits.len() >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use yubiotp::shown;

    fn read(line: &str) -> Option<Vec<(String, Vec<u8>)>> {
        Fields::parse(line).filter(|fields| !fields.is_cut).map(Fields::rest)
    }

    #[test]
    fn what_the_writer_writes() {
        let fields = read(r#"user="a \"b\" \\ \u{a}\xff" token=none reason="x=1 y""#).unwrap();
        let expected: [(&str, &[u8]); 3] =
            [("user", b"a \"b\" \\ \n\xff"), ("token", b"none"), ("reason", b"x=1 y")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_vec()));
        assert_eq!(fields, expected);
    }

    #[test]
    fn what_it_never_writes() {
        for line in [
            "",
            "user",
            "user=",
            "user=a b",
            "user=a  token=b",
            " user=a",
            "user=a ",
            "User=a",
            "user=a user=b",
            "user=a=b",
            "user=a\"",
            "user=\"a\"b",
            "user=\"a\"token=b",
            "user=\"a\\q\"",
            "user=\"a\\u{110000}\"",
            "user=\"a\\u{}\"",
            "user=\"a\\xF0\"",
            "user=\"a\\x4\"",
            "user=\"a\nb\"",
            "user=\u{e9}",
        ] {
            assert_eq!(read(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_line_that_was_cut() {
        let line = r#"user=alice reason="wrong \u{202e}\xff \\ \" end""#;
        let is_cut = |end: usize| Fields::parse(&line[..end]).map(|fields| fields.is_cut);
        let quoted = line.find('"').unwrap() + 1;
        assert!((quoted..line.len()).all(|end| is_cut(end) == Some(true)));
        assert_eq!(is_cut(line.len()), Some(false));
        // Here no end is missed: a decision then lacks fields.
        assert_eq!((is_cut("user=ali".len()), is_cut(quoted - 1)), (Some(false), None));
    }

    fn any_text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<char>().prop_map(|c| String::from(c).into_bytes()),
            proptest::sample::select(vec![
                "\\",
                "\"",
                "\" token=x ",
                "\u{202e}",
                "\u{301}",
                "\n",
                "\r\n",
                " ",
                "=",
                "u{a}",
                "x41",
                "none"
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            any::<u8>().prop_map(|byte| vec![byte]),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn it_reads_back_what_was_written(user in any_text(), host in any_text(), reason in any_text()) {
            let line = format!(
                "user={} rhost={} reason={}",
                shown::field(&user), shown::field(&host), shown::quoted(&reason)
            );
            let expected = [("user", user), ("rhost", host), ("reason", reason)];
            let expected = expected.map(|(name, value)| (name.to_owned(), value)).to_vec();
            prop_assert_eq!(read(&line), Some(expected));
        }

        /// Two lines are never read as the same fields.
        #[test]
        fn it_reads_nothing_else(line in "[a-z =\"\\\\xu{}0-9f]{0,40}") {
            if let Some(fields) = read(&line) {
                let written: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", shown::field(value))).collect();
                let again = read(&written.join(" "));
                prop_assert_eq!(again, Some(fields));
            }
        }
    }
}
