//! PEM files (RFC 7468), as OpenSSL and everybody else writes them.
//!
//! Text around the sections is passed over; what stands within a section and is not base64 is an error.

use data_encoding::BASE64;
use zeroize::Zeroizing;

/// One `-----BEGIN …-----` to `-----END …-----`.
pub(crate) struct Section<'a> {
    /// What it says it is.
    pub label: &'a str,
    /// It is encrypted in the way that came before PKCS#8 (`Proc-Type: 4,ENCRYPTED`).
    pub old_encryption: bool,
    /// What was encoded.
    pub der: Zeroizing<Vec<u8>>,
    /// The line it begins in.
    pub line: usize,
}

/// The sections of a file, or the line that is wrong.
pub(crate) fn sections(text: &[u8]) -> impl Iterator<Item = Result<Section<'_>, usize>> {
    let mut lines = text.split(|byte| *byte == b'\n').enumerate();
    // One for all, for wiping it costs more than filling it. Room for more than any key, so that no part stays behind in
    // memory that was too small.
    let mut base64 = Zeroizing::new(Vec::with_capacity(16 << 10));
    std::iter::from_fn(move || {
        let (line, label) =
            lines.by_ref().find_map(|(at, line)| Some((at, between(line, b"-----BEGIN ")?)))?;
        Some(section(label, line, &mut lines, &mut base64))
    })
}

fn section<'a>(
    label: &'a str,
    began: usize,
    lines: &mut impl Iterator<Item = (usize, &'a [u8])>,
    base64: &mut Vec<u8>,
) -> Result<Section<'a>, usize> {
    let line = began.saturating_add(1);
    base64.clear();
    let mut old_encryption = false;
    for (_, part) in lines {
        if let Some(end) = between(part, b"-----END ") {
            let whole = || BASE64.decode(base64).ok().filter(|der| end == label && !der.is_empty());
            let der = Zeroizing::new(whole().ok_or(line)?);
            return Ok(Section { label, old_encryption, der, line });
        }
        if part.contains(&b':') {
            // A header of the encryption before PKCS#8.
            old_encryption |= part.windows(9).any(|word| word == b"ENCRYPTED");
        } else {
            base64.extend_from_slice(part.trim_ascii());
        }
    }
    Err(line)
}

/// The label of a line that begins like this.
fn between<'a>(line: &'a [u8], begin: &[u8]) -> Option<&'a str> {
    let label = line.trim_ascii().strip_prefix(begin)?.strip_suffix(b"-----")?;
    str::from_utf8(label).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<(String, Vec<u8>), usize>> {
        sections(text.as_bytes())
            .map(|section| section.map(|section| (section.label.to_string(), section.der.to_vec())))
            .collect()
    }

    #[test]
    fn sections_come_out() {
        let text = "text: before\n-----BEGIN A-----\r\nYWJj\r\nZGVm\r\n-----END A-----\r\n\nbetween\n\
                    -----BEGIN B C-----\n  Zw==\n-----END B C-----";
        assert_eq!(read(text), [Ok(("A".into(), b"abcdef".into())), Ok(("B C".into(), b"g".into()))]);
        assert!(read("no section\n").is_empty());
    }

    #[test]
    fn a_bad_section_is_named_by_its_line() {
        assert_eq!(read("\n-----BEGIN A-----\nYW*j\n-----END A-----\n"), [Err(2)]);
        assert_eq!(read("-----BEGIN A-----\nYWJj\n-----END B-----\n"), [Err(1)]);
        assert_eq!(read("-----BEGIN A-----\nYWJj\n"), [Err(1)]);
        assert_eq!(read("-----BEGIN A-----\n-----END A-----\n"), [Err(1)]);
        let second = "-----BEGIN A-----\nYWJ\n-----END A-----\n-----BEGIN A-----\nYWJj\n-----END A-----\n";
        assert_eq!(read(second), [Err(1), Ok(("A".into(), b"abc".into()))]);
    }

    #[test]
    fn the_old_encryption_is_seen() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nYWJj\n\
                    -----END RSA PRIVATE KEY-----\n";
        let section = sections(text.as_bytes()).next().unwrap().map_err(drop).ok().unwrap();
        assert!(section.old_encryption);
    }
}
