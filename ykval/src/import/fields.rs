//! Lines and their fields. The separator is a comma, or a tab in exports of early YK-VAL (2.0 to 2.2x).

use super::{BadLine, MAX_LINE, MAX_PROBLEMS, Problem};
use std::borrow::Cow;

/// Reads every line except blank ones and comments, until there are too many problems.
pub(super) fn each_line(
    text: &[u8],
    header: &str,
    mut read: impl FnMut(usize, &str) -> Result<(), BadLine>,
) -> Result<(), Vec<Problem>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut problems = Vec::new();
    let mut any = false;
    // The output of gpg without armour begins with a byte that no text begins with.
    if text.starts_with(b"-----BEGIN PGP") || text.first().is_some_and(|first| first & 0xc0 == 0x80) {
        return Err(vec![Problem { line: 1, why: BadLine::Pgp }]);
    }
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() || line.starts_with(b"#") {
            continue;
        }
        let checked = if line.len() > MAX_LINE {
            Err(BadLine::TooLong)
        } else {
            // Notes may be in any encoding; everything else is ASCII.
            Ok(String::from_utf8_lossy(line))
        };
        let done = checked.and_then(|line| {
            let is_header =
                !any && line.replace(['"', ' '], "").replace('\t', ",").eq_ignore_ascii_case(header);
            any = true;
            if is_header { Ok(()) } else { read(number, &line) }
        });
        if let Err(why) = done {
            any = true;
            problems.push(Problem { line: number, why });
        }
        if problems.len() >= MAX_PROBLEMS {
            break;
        }
    }
    if !any {
        problems.push(Problem { line: 1, why: BadLine::Empty });
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Splits off the first `N` fields of a line. The rest is returned unchanged, because it may contain commas that are not
/// separators.
pub(super) fn take<'l, const N: usize>(
    line: &'l str,
    of: &'static str,
) -> Result<([Cow<'l, str>; N], Option<&'l str>), BadLine> {
    let mut fields = [const { Cow::Borrowed("") }; N];
    let between = separator(line);
    let mut rest = Some(line);
    for (at, field) in fields.iter_mut().enumerate() {
        let from = rest.ok_or(BadLine::TooFewFields { needed: N, found: at, of })?;
        let (value, behind) = first(from, between).ok_or(BadLine::Quote(at.saturating_add(1)))?;
        (*field, rest) = (value, behind);
    }
    Ok((fields, rest))
}

/// The separator of the fields of a line. The first field is a number in both files, so it contains neither.
pub(super) fn separator(line: &str) -> char {
    line.chars().find(|c| matches!(c, ',' | '\t')).unwrap_or(',')
}

/// The first field, without quotes and surrounding blanks, and the rest after its separator; `None` if its quote is not
/// closed.
pub(super) fn first(line: &str, between: char) -> Option<(Cow<'_, str>, Option<&str>)> {
    let Some(quoted) = line.strip_prefix('"') else {
        return Some(match line.split_once(between) {
            Some((field, rest)) => (Cow::Borrowed(field.trim()), Some(rest)),
            None => (Cow::Borrowed(line.trim()), None),
        });
    };
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let (before, behind) = rest.split_once('"')?;
        value.push_str(before);
        // Two quotes mean one.
        if let Some(more) = behind.strip_prefix('"') {
            value.push('"');
            rest = more;
        } else if behind.is_empty() {
            return Some((Cow::Owned(value), None));
        } else {
            return Some((Cow::Owned(value), Some(behind.strip_prefix(between)?)));
        }
    }
}

/// The problem of a field.
pub(super) const fn bad(field: usize, name: &'static str, why: &'static str) -> BadLine {
    BadLine::Field { field, name, why }
}

/// `1` or `0`.
pub(super) fn active(field: usize, text: &str) -> Result<bool, BadLine> {
    match text {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(bad(field, "active", "is neither 1 nor 0")),
    }
}

/// Seconds since 1970.
pub(super) fn time(field: usize, name: &'static str, text: &str) -> Result<i64, BadLine> {
    let seconds = text.parse().ok().filter(|seconds| (0..=253_402_300_799).contains(seconds));
    seconds.ok_or_else(|| bad(field, name, "is not a number of seconds since 1970"))
}
