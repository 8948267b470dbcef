//! PEM files (RFC 7468), as OpenSSL and everybody else writes them.
//!
//! Text around the sections is passed over; anything within a section that is not base64 is an error.
//!
//! rustls-pki-types reads PEM too (`PemObject`), and ykvald uses it. Here it would lose what an administrator needs: it
//! passes over `ENCRYPTED PRIVATE KEY` and `X509 CERTIFICATE` without a word, cannot tell a key with the encryption
//! before PKCS#8 from bad base64, names no line, and leaves the base64 of a key in memory.

use crate::failure::Unable;
use data_encoding::BASE64;
use yubiotp::ask::Obstacle;
use zeroize::Zeroizing;

/// One `-----BEGIN …-----` to `-----END …-----`.
pub(crate) struct Section<'a> {
    /// Its label.
    pub label: &'a str,
    /// It is encrypted in the way that came before PKCS#8 (`Proc-Type: 4,ENCRYPTED`).
    pub old_encryption: bool,
    /// The decoded bytes.
    pub der: Zeroizing<Vec<u8>>,
    /// The line it begins in.
    pub line: usize,
}

/// The sections of a file, or the line that is wrong.
pub(crate) fn sections(text: &[u8]) -> impl Iterator<Item = Result<Section<'_>, usize>> {
    let mut lines = text.split(|byte| *byte == b'\n').enumerate();
    // One for all, for wiping it costs more than filling it. Room for more than any key, so that no part stays behind
    // in memory that was too small.
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

/// PKCS#12 and DER are not read: one command of openssl makes PEM of them. `der` is the obstacle if the file is DER.
pub(crate) fn refuse_binary(name: &str, text: &[u8], der: Obstacle) -> Result<(), Unable> {
    // What the outermost SEQUENCE holds, behind its length: as text, a 0 and what is not UTF-8, or not printed.
    let inside = match text {
        [0x30, long @ 0x80..=0x84, rest @ ..] => rest.get(usize::from(long & 0x0f)..).unwrap_or_default(),
        // Only a key is so short. It begins with its version.
        [0x30, 0..=0x7f, rest @ ..] if rest.starts_with(&[2, 1]) => rest,
        _ => return Ok(()),
    };
    // PKCS#12 begins with its version, 3, and another SEQUENCE. No key or certificate does.
    if inside.starts_with(&[2, 1, 3, 0x30]) {
        return Err(Unable::new(Obstacle::Pkcs12, format!("{name}: is PKCS#12, which is not read")));
    }
    Err(Unable::new(der, format!("{name}: is not PEM")))
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
    fn binary_files_are_refused() {
        let kind = |text: &[u8]| refuse_binary("f", text, Obstacle::DerKey).err().map(|unable| unable.kind);
        for der in [&[0x30, 0x82, 1, 0, 0x30][..], &[0x30, 0x81, 0x90, 0x30], &[0x30, 0x2e, 2, 1, 0, 0x30]] {
            assert_eq!(kind(der), Some(Obstacle::DerKey));
        }
        for pkcs12 in [&[0x30, 0x82, 9, 0, 2, 1, 3, 0x30][..], &[0x30, 0x80, 2, 1, 3, 0x30]] {
            assert_eq!(kind(pkcs12), Some(Obstacle::Pkcs12), "{pkcs12:?}");
        }
        for text in ["", "0", "0 s:CN = localhost\n-----BEGIN A-----\n", "00\n", "-----BEGIN A-----\n"] {
            assert_eq!(kind(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn the_old_encryption_is_seen() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nYWJj\n\
                    -----END RSA PRIVATE KEY-----\n";
        let section = sections(text.as_bytes()).next().unwrap().map_err(drop).ok().unwrap();
        assert!(section.old_encryption);
    }
}
