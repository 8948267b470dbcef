//! One line of a service file, written anew. Everything else in the file stays as it is, byte for byte.

use crate::doctor::pam::Words;
use std::ops::Range;

/// The file with another control field, module and arguments in line `number`, counted from 1. Blanks and a comment stay. A
/// line that backslashes join becomes one line; comment lines in it go before it. `None` if there is no such line.
pub(super) fn line(
    text: &[u8],
    number: usize,
    control: Option<&str>,
    module: &str,
    args: &[String],
) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let first = number.checked_sub(1)?;
    let mut written = lines.get(..first)?.concat();
    let (mut content, mut tail, mut used) = (Vec::new(), Vec::new(), 0_usize);
    for line in lines.get(first..)? {
        used = used.saturating_add(1);
        let end = line.iter().position(|byte| *byte == b'#').unwrap_or(line.len());
        let (before, after) = line.split_at(end);
        let is_blank = before.trim_ascii().is_empty();
        if is_blank && !content.is_empty() {
            written.extend_from_slice(line);
            continue;
        }
        let body = before.trim_ascii_end();
        let joins = body.strip_suffix(b"\\").filter(|_| after.is_empty());
        content.extend_from_slice(joins.unwrap_or(body));
        if joins.is_none() {
            tail = line.get(body.len()..).unwrap_or_default().to_vec();
            break;
        }
        content.push(b' ');
    }
    let [_, control_at, module_at] = ranges(&content)?;
    written.extend_from_slice(content.get(..control_at.start)?);
    match control {
        Some(control) => written.extend_from_slice(word(control, true).as_bytes()),
        None => written.extend_from_slice(content.get(control_at.clone())?),
    }
    written.extend_from_slice(content.get(control_at.end..module_at.start)?);
    written.extend_from_slice(module.as_bytes());
    for arg in args {
        written.push(b' ');
        written.extend_from_slice(word(arg, false).as_bytes());
    }
    written.extend_from_slice(&tail);
    written.extend_from_slice(&lines.get(first.saturating_add(used)..)?.concat());
    Some(written)
}

/// Where the first three words of a line are, brackets included.
fn ranges(content: &[u8]) -> Option<[Range<usize>; 3]> {
    let mut words = Words(content);
    let mut next = || {
        let at = content.len().saturating_sub(words.0.len());
        let start = at.saturating_add(words.0.iter().position(|byte| !byte.is_ascii_whitespace())?);
        words.next()?;
        let end = content.len().saturating_sub(words.0.len());
        // The blank that ends a word belongs to it in libpam's reading.
        let word = content.get(start..end)?;
        Some(start..start.saturating_add(word.trim_ascii_end().len()))
    };
    Some([next()?, next()?, next()?])
}

/// A word as a line has it: in brackets if it has blanks.
fn word(text: &str, brackets: bool) -> String {
    if brackets || text.contains([' ', '\t']) || text.starts_with('[') {
        format!("[{}]", text.replace(']', "\\]"))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str, number: usize, control: Option<&str>, args: &[&str]) -> Option<String> {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        line(text.as_bytes(), number, control, "pam_yubiotp.so", &args)
            .map(|it| String::from_utf8(it).unwrap())
    }

    #[test]
    fn only_the_line_changes() {
        for (before, number, control, args, after) in [
            (
                "a\nauth  required\tpam_yubico.so id=1 \t# note\nb\n",
                2,
                None,
                &["nullok"][..],
                "a\nauth  required\tpam_yubiotp.so nullok \t# note\nb\n",
            ),
            (
                "-auth [success=1  default=ignore] /lib/security/pam_yubico.so",
                1,
                None,
                &[],
                "-auth [success=1  default=ignore] pam_yubiotp.so",
            ),
            (
                "auth [a=b]m.so x\r\n",
                1,
                Some("a=b ignore=ignore"),
                &["prompt=a b]"],
                "auth [a=b ignore=ignore]pam_yubiotp.so [prompt=a b\\]]\r\n",
            ),
            (
                "auth \\\n# between\n required \\\n m.so \\\n  id=1 # end\nz",
                1,
                None,
                &["debug"],
                "# between\nauth   required   pam_yubiotp.so debug # end\nz",
            ),
            ("auth required m.so#c\n", 1, None, &[], "auth required pam_yubiotp.so#c\n"),
        ] {
            assert_eq!(rewritten(before, number, control, args).as_deref(), Some(after), "{before:?}");
        }
        for (text, number) in
            [("auth required m.so\n", 2), ("auth required\n", 1), ("", 1), ("auth x m.so", 0)]
        {
            assert_eq!(rewritten(text, number, None, &[]), None, "{text:?}");
        }
    }
}
