//! `multipart/form-data` (RFC 7578), as far as clients use it for requests: the fields of a body in memory. It is strict:
//! nothing precedes the first boundary, lines end with CRLF, and each part has one name.

use std::borrow::Cow;
use yubiotp::protocol::MOST_PARAMETERS;

/// The boundary in a content type; `None` if it is another type, or has no valid boundary.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(rest, "boundary")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let fits = (1..=70).contains(&boundary.len()) && boundary.bytes().all(plain) && !boundary.ends_with(' ');
    fits.then_some(boundary)
}

/// The fields in their order, without files. Stops at one more than the maximum, so that the caller sees that there are
/// too many. `None` if it is not a valid form.
pub(super) fn fields<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<(Cow<'a, str>, Cow<'a, str>)>> {
    let delimiter = format!("\r\n--{boundary}");
    let mut fields = Vec::new();
    let mut rest = body.strip_prefix(delimiter.trim_start().as_bytes())?;
    while !rest.starts_with(b"--") {
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        rest = rest.get(blanks..)?.strip_prefix(b"\r\n")?;
        let (head, behind) = split(rest, b"\r\n\r\n")?;
        let (value, next) = split(behind, delimiter.as_bytes())?;
        let disposition = disposition(str::from_utf8(head).ok()?)?;
        let name = parameter(disposition, "name")?;
        if parameter(disposition, "filename").is_none() && fields.len() <= MOST_PARAMETERS {
            fields.push((Cow::Borrowed(name), String::from_utf8_lossy(value)));
        }
        rest = next;
    }
    Some(fields)
}

/// Splits at the first occurrence of these bytes.
fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = bytes.windows(at.len()).position(|window| window == at)?;
    let (before, rest) = bytes.split_at_checked(found)?;
    Some((before, rest.get(at.len()..)?))
}

/// The parameters of `Content-Disposition: form-data`, if the headers contain exactly one.
fn disposition(head: &str) -> Option<&str> {
    let mut values = head.split("\r\n").filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let (kind, rest) = values.next()?.split_once(';')?;
    (values.next().is_none() && kind.trim().eq_ignore_ascii_case("form-data")).then_some(rest)
}

/// A parameter of a header, in quotes or not. `None` if it is missing, occurs twice, or the header is malformed.
fn parameter<'a>(mut rest: &'a str, wanted: &str) -> Option<&'a str> {
    let mut found = None;
    loop {
        let (name, behind) = rest.split_once('=')?;
        let value = match behind.strip_prefix('"') {
            Some(quoted) => {
                let (value, behind) = quoted.split_once('"')?;
                rest = behind;
                if value.contains('\\') {
                    return None;
                }
                value
            }
            None => {
                let (value, _) = behind.split_once(';').unwrap_or((behind, ""));
                rest = behind.strip_prefix(value)?;
                value.trim_end()
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) && found.replace(value).is_some() {
            return None;
        }
        rest = rest.trim_start();
        if rest.is_empty() {
            return found;
        }
        rest = rest.strip_prefix(';')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn boundaries() {
        for (kind, expected) in [
            ("multipart/form-data; boundary=ab", Some("ab")),
            ("Multipart/Form-Data;charset=utf-8; BOUNDARY=\"a b;c\"", None),
            ("multipart/form-data; boundary=\"a b/c\"", Some("a b/c")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=a; boundary=b", None),
            ("multipart/form-data; boundary=\"a", None),
            ("multipart/mixed; boundary=ab", None),
            ("multipart/form-data; boundary=a\u{e9}", None),
        ] {
            assert_eq!(boundary(kind), expected, "{kind}");
        }
        assert_eq!(boundary(&format!("multipart/form-data; boundary={}", "x".repeat(71))), None);
    }

    fn read(body: &str) -> Option<Vec<(String, String)>> {
        let fields = fields(body.as_bytes(), "b")?;
        Some(fields.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    fn part(name: &str, value: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    #[test]
    fn fields_as_libraries_write_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let two = part("id", "1") + &part("otp", " a\r\n--c\n");
        assert_eq!(read(&format!("{two}--b--\r\n")), Some(vec![pair("id", "1"), pair("otp", " a\r\n--c\n")]));
        assert_eq!(read("--b--"), Some(Vec::new()));
        let curl = "--b \r\ncontent-type: text/plain\r\nCONTENT-DISPOSITION:form-data;name=id\r\n\r\n\r\n--b--what follows";
        assert_eq!(read(curl), Some(vec![pair("id", "")]));
        let file =
            "--b\r\nContent-Disposition: form-data; name=\"otp\"; filename=\"x\"\r\n\r\nx\r\n--b--\r\n";
        assert_eq!(read(file), Some(Vec::new()));
        assert_eq!(read(&(part("x", "y").repeat(99) + "--b--")).unwrap().len(), MOST_PARAMETERS + 1);
    }

    #[test]
    fn what_is_none() {
        let whole = part("id", "1");
        for wrong in [
            String::new(),
            whole.clone(),
            format!("\r\n{whole}--b--"),
            format!("{whole}--b"),
            whole.replace("\r\n", "\n") + "--b--",
            whole.replace("name", "nome") + "--b--",
            whole.replace("form-data", "attachment") + "--b--",
            whole.replace("Content-Disposition", "Content-Type") + "--b--",
            whole.replace("\"id\"", "\"id") + "--b--",
            whole.replace("\"id\"", "\"i\\\"d\"") + "--b--",
            whole.replace("\"id\"", "\"id\"; name=\"otp\"") + "--b--",
            whole.replace("\r\n\r\n", "\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n") + "--b--",
            format!("{whole}--bx\r\n{whole}--b--").replace("--bx\r\n--b", "--bx"),
        ] {
            assert_eq!(read(&wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(sent in proptest::collection::vec(("[a-z]{0,9}", "[^-]{0,20}"), 0..9)) {
            let body: String = sent.iter().map(|(name, value)| part(name, value)).collect();
            prop_assert_eq!(read(&(body + "--b--\r\n")), Some(sent));
        }

        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..300), kind in ".{0,60}") {
            let _ = fields(&[b"--b\r\nContent-Disposition: form-data; name=", &body[..], b"\r\n--b--"].concat(), "b");
            let _ = fields(&body, &kind);
            let _ = boundary(&kind);
        }
    }
}
