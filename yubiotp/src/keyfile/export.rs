//! This project's own export, version 1.

use super::{BadKeyLine, Line, Secret, hex};
use crate::seal::{Sealed, StoreKeyId};
use crate::{Credential, PublicId};
use alloc::string::String;
use core::borrow::Borrow;
use core::fmt::Write as _;
use data_encoding::BASE64;
use zeroize::Zeroizing;

const HEADER: &str = "# yubiotp keys 1\n";
const PLAIN: &str = "plain";
const SEALED: &str = "sealed";
/// No line with a plain secret is longer: 32 of a public ID, 12, 32, the word, blanks and the line end.
const LONGEST: usize = 96;

/// Writes tokens in the clear; [`read`](super::read) gives them back. The text is wiped when it is dropped, and no
/// copy of it is left behind while it grows.
#[must_use]
pub fn write_plain<C: Borrow<Credential>>(
    tokens: impl IntoIterator<Item = (PublicId, C)>,
) -> Zeroizing<String> {
    let tokens = tokens.into_iter();
    let room = tokens.size_hint().0.saturating_add(1).saturating_mul(LONGEST);
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str(HEADER);
    for (id, credential) in tokens {
        if text.capacity().saturating_sub(text.len()) < LONGEST {
            let mut larger = Zeroizing::new(String::with_capacity(text.capacity().saturating_mul(2)));
            larger.push_str(&text);
            text = larger;
        }
        let Credential { aes_key, private_id } = credential.borrow();
        // Writing to a string does not fail.
        let _ = write!(text, "{id} {PLAIN} ");
        hex::push(&mut text, private_id.expose());
        text.push(' ');
        hex::push(&mut text, aes_key.expose());
        text.push('\n');
    }
    text
}

/// Writes tokens as they are sealed; [`read`](super::read) gives them back.
#[must_use]
pub fn write_sealed<S: Borrow<Sealed>>(
    tokens: impl IntoIterator<Item = (PublicId, StoreKeyId, S)>,
) -> String {
    let mut text = String::from(HEADER);
    for (id, under, sealed) in tokens {
        // Writing to a string does not fail.
        let _ = write!(text, "{id} {SEALED} {under} ");
        BASE64.encode_append(sealed.borrow().as_bytes(), &mut text);
        text.push('\n');
    }
    text
}

/// Whether a line can only be one of an export.
pub(super) fn is_line(line: &str) -> bool {
    matches!(line.split_ascii_whitespace().nth(1), Some(PLAIN | SEALED))
}

pub(super) fn parse(line: &str) -> Result<Line, BadKeyLine> {
    let words = || line.split_ascii_whitespace();
    let mut word = words();
    let (Some(public_id), Some(kind), Some(third), Some(fourth), None) =
        (word.next(), word.next(), word.next(), word.next(), word.next())
    else {
        return Err(BadKeyLine::Words(words().count()));
    };
    let public_id =
        PublicId::parse(public_id.as_bytes()).map_err(|why| BadKeyLine::PublicId { field: 1, why })?;
    let secret = match kind {
        PLAIN => Secret::Plain(hex::credential((3, third), (4, fourth))?),
        SEALED => {
            let under = StoreKeyId(*hex::decode(third).map_err(BadKeyLine::StoreKeyId)?);
            let sealed = BASE64.decode(fourth.as_bytes()).ok();
            let sealed = sealed.and_then(|bytes| Sealed::from_bytes(&bytes)).ok_or(BadKeyLine::Sealed)?;
            Secret::Sealed { under, sealed }
        }
        _ => return Err(BadKeyLine::Kind),
    };
    Ok(Line::Token(public_id, secret))
}
