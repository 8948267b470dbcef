//! Lines of text files.

use crate::problem::{BadLine, Limit, Why};

/// The longest line, in bytes, without its line end.
pub(crate) const MAX_LINE: usize = 4096;

/// A text without its byte order mark.
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Every line with its number, counted from 1, without its end and the blanks around it.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, Result<&str, Why>)> {
    let text = without_mark(text);
    (1..).zip(text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n').map(|line| {
        if line.len() > MAX_LINE {
            return Err(Limit::Line.into());
        }
        let line = str::from_utf8(line).map_err(|_| BadLine::NotUtf8)?;
        if line.contains('\0') { Err(BadLine::Nul.into()) } else { Ok(trim(line)) }
    }))
}

/// Without the blanks, tabs and carriage returns around it.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r'])
}

/// A decimal number. `None` for anything else, a sign too.
pub(crate) fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
