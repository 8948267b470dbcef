//! Reads the files in which the secrets of OATH tokens come: values in, values out.
//!
//! [`read`] takes what vendors and other servers write: text with serial and secret, CSV ([`text`]), PSKC (RFC 6030,
//! [`pskc`]), and either of them inside a zip with a password ([`archive`]). [`google_authenticator`] and [`usersfile`]
//! read what the PAM modules of others keep, with the position of each token, so that a used code stays used.
//!
//! A file is read whole or not at all: with one line that cannot be read, none of its secrets is handed out, and every
//! such line is named ([`Problems`]). Nothing is opened, written or asked here, and no text of a problem holds a value of
//! the file: it may be a secret in the wrong place.
#![forbid(unsafe_code)]

pub mod archive;
mod duplicates;
pub mod encoding;
pub mod google_authenticator;
mod lines;
mod password;
mod problem;
pub mod pskc;
pub mod text;
mod token;
pub mod usersfile;

pub use duplicates::SecretSet;
pub use encoding::Encoding;
pub use password::{Password, Wanted};
pub use problem::{
    BadEntry, BadLine, BadPskc, Field, Foreign, Limit, Locked, Place, Problem, Problems, Why, Zip,
};
pub use token::{Format, HashRule, Note, Options, PassedOver, Protection, Seeds, TokenSecret, TokenType};

/// The largest file, in bytes: also unpacked.
pub const MAX_BYTES: usize = 64 << 20;

/// The most tokens of a file.
pub const MAX_TOKENS: usize = 200_000;

/// The most problems of a file that are reported; the rest of the file is not read.
pub const MAX_PROBLEMS: usize = 100;

/// The longest serial of a token.
pub const MAX_SERIAL: usize = 32;

/// What a file is, by how it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Zip,
    Xml,
    Text,
    /// Nothing that is read here.
    Other(Foreign),
}

/// Reads a file of token secrets, in any of the formats of [`Format`], or such a file inside a zip.
///
/// `ask` is called for each password or key that the file needs; `None` means that there is none. It is called once for
/// each, in the order zip, PSKC, and never for a file that needs none.
///
/// # Errors
/// Every problem of the file, in the order of its lines, and at most [`MAX_PROBLEMS`].
pub fn read(
    file: &[u8],
    options: &Options<'_>,
    ask: &mut dyn FnMut(Wanted<'_>) -> Option<Password>,
) -> Result<Seeds, Problems> {
    if file.len() > MAX_BYTES {
        return Err(Problems::whole(Limit::Bytes { most: MAX_BYTES }));
    }
    if shape(file) != Shape::Zip {
        if options.member.is_some() {
            return Err(Problems::whole(Zip::NotZip));
        }
        return read_plain(file, options, ask);
    }
    let (member, content) = archive::read(file, options.member, ask).map_err(Problems::whole)?;
    let inside = |problems: Problems| Problems { member: Some(member.clone()), ..problems };
    if shape(&content) == Shape::Zip {
        return Err(inside(Problems::whole(Foreign::Zip)));
    }
    let seeds = read_plain(&content, options, ask).map_err(inside)?;
    Ok(Seeds { member: Some(member), ..seeds })
}

fn read_plain(
    file: &[u8],
    options: &Options<'_>,
    ask: &mut dyn FnMut(Wanted<'_>) -> Option<Password>,
) -> Result<Seeds, Problems> {
    match shape(file) {
        Shape::Xml => pskc::read(file, options, ask),
        Shape::Other(what) => Err(Problems::whole(what)),
        Shape::Zip | Shape::Text => text::read(file, options),
    }
}

fn shape(file: &[u8]) -> Shape {
    let begins = |with: &[u8]| file.starts_with(with);
    if begins(b"PK\x03\x04") || begins(b"PK\x05\x06") {
        return Shape::Zip;
    }
    for (magic, what) in [
        (&b"7z\xbc\xaf\x27\x1c"[..], Foreign::Archive),
        (b"\x1f\x8b", Foreign::Archive),
        (b"Rar!", Foreign::Archive),
        (b"-----BEGIN PGP", Foreign::Pgp),
        (b"\xd0\xcf\x11\xe0", Foreign::Spreadsheet),
    ] {
        if begins(magic) {
            return Shape::Other(what);
        }
    }
    let text = lines::without_mark(file);
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'<') { Shape::Xml } else { Shape::Text }
}
