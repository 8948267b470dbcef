//! Key files: what YubiKey programming tools and key servers write, and this project's own export.
//!
//! Four line formats are read, see [`Format`]. The file says itself which it is, and it is read whole or not at all:
//! one line that cannot be read, and none of its keys is handed out. In every format a byte order mark, CRLF, blank
//! lines, blanks around fields, capitals and comment lines (`#`) are taken. No error text holds a secret.

mod export;
mod hex;
mod ksm;
mod problem;
#[cfg(test)]
mod tests;
mod traditional;
mod yubico;

pub use export::{write_plain, write_sealed};
pub use problem::{BadHex, BadKeyLine, Problem};

use crate::seal::{Sealed, StoreKeyId};
use crate::{Credential, PublicId};
use alloc::collections::BTreeMap;
use alloc::collections::btree_map;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use subtle::ConstantTimeEq;

/// The longest line, in bytes, without its line end.
pub const MAX_LINE: usize = 4096;

/// The most problems of a file that are reported; the rest of the file is not read.
pub const MAX_PROBLEMS: usize = 100;

/// No line with a key is shorter, its end counted: `,cc,` and 12 and 32 hex digits with a comma between.
const SHORTEST: usize = 50;

/// A format of key files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The default log of Yubico's personalization tool: `event,time,slot,publicid,privateid,aeskey,…`
    Traditional,
    /// Another log of Yubico's tools: `serial,publicid,privateid,aeskey,accesscode,timestamp,`
    Yubico,
    /// The export of a key storage module: first line `# ykksm 1`, then
    /// `serialNr,publicName,internalName,aesKey,lockCode,created,accessed[,progflags]`
    Ksm,
    /// The output of [`write_plain`] and [`write_sealed`]: first line `# yubiotp keys 1`, then
    /// `PUBLICID plain PRIVATEID AESKEY` or `PUBLICID sealed STOREKEYID BASE64`
    Export,
}

/// A key file, every line of it read and checked.
pub struct KeyFile {
    /// Its format.
    pub format: Format,
    /// The tokens, each once, in the order of the file.
    pub entries: Vec<Entry>,
    /// The lines that give no entry, each with its reason. Blank lines and comments are not told.
    pub passed_over: Vec<(usize, PassedOver)>,
}

/// One token.
pub struct Entry {
    /// The number of its line, counted from 1.
    pub line: usize,
    /// The token of the secret.
    pub public_id: PublicId,
    /// The secret.
    pub secret: Secret,
}

/// One token of a key file.
pub enum Secret {
    /// Private id and AES key, in the clear.
    Plain(Credential),
    /// Both sealed; only in [`Format::Export`].
    Sealed {
        /// The store key that opens it.
        under: StoreKeyId,
        /// The sealed credential. Nobody has tried yet to open it.
        sealed: Sealed,
    },
}

/// Why a line is rightly not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOver {
    /// The tool was started.
    LoggingStart,
    /// Another mode of the YubiKey, or an event without a key.
    OtherMode(&'static str),
    /// The public ID is empty, as it is for slots that do not type one.
    NoPublicId,
    /// An earlier line says the same.
    Repetition {
        /// That line, counted from 1.
        first: usize,
    },
}

/// Reads a key file.
///
/// # Errors
/// Every problem of the file, in the order of its lines, and at most [`MAX_PROBLEMS`]. Only the first if it leaves open
/// which format the file has.
pub fn read(text: &[u8]) -> Result<KeyFile, Vec<Problem>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let format = detect(text).map_err(|problem| vec![problem])?;
    // Room for every entry at once: a vector that grows leaves copies of the secrets behind.
    let entries = Vec::with_capacity(text.len() / SHORTEST + 1);
    let mut file = KeyFile { format, entries, passed_over: Vec::new() };
    let mut problems = Vec::new();
    let mut places = BTreeMap::new();
    for (line, content) in lines(text) {
        match content.and_then(|content| parse_line(format, content)) {
            Ok(Line::Nothing) => {}
            Ok(Line::PassedOver(why)) => file.passed_over.push((line, why)),
            Ok(Line::Token(public_id, secret)) => match places.entry(public_id) {
                btree_map::Entry::Vacant(place) => {
                    place.insert(file.entries.len());
                    file.entries.push(Entry { line, public_id, secret });
                }
                btree_map::Entry::Occupied(place) => {
                    if let Some(Entry { line: first, secret: other, .. }) = file.entries.get(*place.get()) {
                        let first = *first;
                        if secret.same(other) {
                            file.passed_over.push((line, PassedOver::Repetition { first }));
                        } else {
                            problems.push(Problem { line, why: BadKeyLine::OtherSecret { first } });
                        }
                    }
                }
            },
            Err(why) => problems.push(Problem { line, why }),
        }
        if problems.len() >= MAX_PROBLEMS {
            break;
        }
    }
    if problems.is_empty() { Ok(file) } else { Err(problems) }
}

/// The contents of one line.
enum Line {
    Nothing,
    PassedOver(PassedOver),
    Token(PublicId, Secret),
}

/// Every line with its number, counted from 1, without its end and the blanks around it.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, Result<&str, BadKeyLine>)> {
    (1..).zip(text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n').map(|line| {
        if line.len() > MAX_LINE {
            return Err(BadKeyLine::TooLong);
        }
        let line = str::from_utf8(line).map_err(|_| BadKeyLine::NotUtf8)?;
        if line.contains('\0') {
            Err(BadKeyLine::Nul)
        } else {
            Ok(trim(line.strip_suffix('\r').unwrap_or(line)))
        }
    }))
}

/// Without the blanks and tabs around it.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The format of a file: a header in the comments above its first line decides, else the shape of that line.
fn detect(text: &[u8]) -> Result<Format, Problem> {
    for (line, content) in lines(text) {
        let found = match content {
            Ok(content) if content.is_empty() || content.starts_with('#') => header(content),
            Ok(content) if content.starts_with("-----BEGIN PGP") => Err(BadKeyLine::Pgp),
            Ok(content) => match shape(content) {
                // The export is known by its header only: the header carries the version.
                Some(Format::Export) | None => Err(BadKeyLine::UnknownFormat),
                format => Ok(format),
            },
            Err(why) => Err(why),
        };
        if let Some(format) = found.map_err(|why| Problem { line, why })? {
            return Ok(format);
        }
    }
    Err(Problem { line: 1, why: BadKeyLine::Empty })
}

/// The format that a comment line announces, if it announces one.
fn header(comment: &str) -> Result<Option<Format>, BadKeyLine> {
    let mut words = comment.trim_start_matches('#').split_ascii_whitespace();
    let format = match (words.next(), words.clone().next()) {
        (Some("ykksm"), _) => Format::Ksm,
        (Some("yubiotp"), Some("keys")) => {
            words.next();
            Format::Export
        }
        _ => return Ok(None),
    };
    match (words.next(), words.next()) {
        (Some("1"), None) => Ok(Some(format)),
        (Some(version), None) if is_decimal(version) => Err(BadKeyLine::LaterVersion(format)),
        _ => Ok(None),
    }
}

/// The only format that a line can have. `Yubico` means `Ksm` too: their lines are the same to us.
fn shape(line: &str) -> Option<Format> {
    let first = trim(line.split_once(',').map_or(line, |(first, _)| first));
    if traditional::is_event(first) {
        Some(Format::Traditional)
    } else if line.contains(',') {
        is_decimal(first).then_some(Format::Yubico)
    } else {
        export::is_line(line).then_some(Format::Export)
    }
}

fn parse_line(format: Format, line: &str) -> Result<Line, BadKeyLine> {
    let comment = line.is_empty() || line.starts_with('#');
    let here = if comment { header(line)? } else { shape(line) };
    match here {
        Some(Format::Yubico) if format == Format::Ksm => {}
        Some(here) if here != format => return Err(BadKeyLine::Mixed { here, file: format }),
        Some(_) | None => {}
    }
    match format {
        _ if comment => Ok(Line::Nothing),
        Format::Traditional => traditional::parse(line),
        Format::Yubico => yubico::parse(line),
        Format::Ksm => ksm::parse(line),
        Format::Export => export::parse(line),
    }
}

/// Public ID, private ID and AES key from three fields of a line with commas, the first of them field `first`.
fn token_at(line: &str, first: usize) -> Result<Line, BadKeyLine> {
    let mut fields = line.split(',').map(trim).skip(first.saturating_sub(1));
    let (Some(public_id), Some(private_id), Some(aes_key)) = (fields.next(), fields.next(), fields.next())
    else {
        let needed = first.saturating_add(2);
        return Err(BadKeyLine::TooFewFields { needed, found: line.split(',').count() });
    };
    if public_id.is_empty() {
        return Ok(Line::PassedOver(PassedOver::NoPublicId));
    }
    let public_id =
        PublicId::parse(public_id.as_bytes()).map_err(|why| BadKeyLine::PublicId { field: first, why })?;
    let credential =
        hex::credential((first.saturating_add(1), private_id), (first.saturating_add(2), aes_key))?;
    Ok(Line::Token(public_id, Secret::Plain(credential)))
}

/// No characters but decimal digits; also of no characters at all.
fn is_decimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Secret {
    /// Whether both are written the same. Two seals of one credential are not.
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(one), Self::Plain(other)) => {
                one.private_id.matches(&other.private_id)
                    && one.aes_key.expose().ct_eq(other.aes_key.expose()).into()
            }
            (Self::Sealed { under, sealed }, Self::Sealed { under: other_under, sealed: other_sealed }) => {
                under == other_under && sealed == other_sealed
            }
            (Self::Plain(_), Self::Sealed { .. }) | (Self::Sealed { .. }, Self::Plain(_)) => false,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Traditional => "Yubico traditional log",
            Self::Yubico => "Yubico format",
            Self::Ksm => "YK-KSM key file",
            Self::Export => "yubiotp export",
        })
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoggingStart => f.write_str("the log starts here"),
            Self::OtherMode(mode) => write!(f, "it is about {mode}, not about a Yubico OTP"),
            Self::NoPublicId => {
                f.write_str("it has no public ID (write - in its place to take it as a token without one)")
            }
            Self::Repetition { first } => write!(f, "it repeats line {first}"),
        }
    }
}
