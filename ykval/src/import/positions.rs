//! `ykval-export`: `active,created,modified,yk_publicname,yk_counter,yk_use,yk_low,yk_high,nonce,notes`

use super::fields::{active, bad, each_line, first, separator, take, time};
use super::{BadLine, Problem};
use crate::store::ImportedPosition;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use yubiotp::{Position, PublicId};

const HEADER: &str = "active,created,modified,yk_publicname,yk_counter,yk_use,yk_low,yk_high,nonce,notes";
const OF: &str = "ykval-export";
/// The minimum length of a line.
const SHORTEST: usize = 24;

/// The content of one line.
pub type PositionEntry = ImportedPosition;

/// A whole export.
pub struct Positions {
    /// Tokens, each once, in the order of the file.
    pub known: Vec<PositionEntry>,
    /// Lines about a token that an earlier line has, too: the higher position counts.
    pub repeated: usize,
}

/// Reads an export of `ykval-export`, with or without the header line.
///
/// # Errors
/// Every problem of the file, in the order of its lines, and at most [`MAX_PROBLEMS`](super::MAX_PROBLEMS).
pub fn positions(text: &[u8]) -> Result<Positions, Vec<Problem>> {
    let room = text.len() / SHORTEST;
    let mut places = HashMap::with_capacity(room.min(1 << 16));
    let mut all = Positions { known: Vec::new(), repeated: 0 };
    each_line(text, HEADER, |_, line| {
        let new = read(line)?;
        match places.entry(new.id) {
            Entry::Vacant(place) => {
                place.insert(all.known.len());
                all.known.push(new);
            }
            Entry::Occupied(place) => {
                all.repeated = all.repeated.saturating_add(1);
                if let Some(old) = all.known.get_mut(*place.get()) {
                    let enabled = old.enabled && new.enabled;
                    if new.position > old.position {
                        *old = new;
                    }
                    old.enabled = enabled;
                }
            }
        }
        Ok(())
    })?;
    Ok(all)
}

fn read(line: &str) -> Result<ImportedPosition, BadLine> {
    // The notes are not needed, and are missing in Yubico's own example.
    let ([is_active, created, modified, id, counter, session, low, high], rest) = take::<8>(line, OF)?;
    let enabled = active(1, &is_active)?;
    time(2, "created", &created)?;
    // -1: the token was never used.
    let modified = if modified == "-1" { None } else { Some(time(3, "modified", &modified)?) };
    // A YubiKey without a public ID has an empty one there.
    let id = if id.is_empty() { b"-" } else { id.as_bytes() };
    let id = PublicId::parse(id).map_err(BadLine::PublicId)?;
    let counter = number(5, "yk_counter", &counter, 0x7fff, "is neither -1 nor a number from 0 to 32767")?;
    let session = number(6, "yk_use", &session, 0xff, "is neither -1 nor a number from 0 to 255")?;
    number(7, "yk_low", &low, 0xffff, "is neither -1 nor a number from 0 to 65535")?;
    number(8, "yk_high", &high, 0xff, "is neither -1 nor a number from 0 to 255")?;
    let position = match (counter, session.map(u8::try_from)) {
        (Some(counter), Some(Ok(session))) => Some(Position::yubikey(counter, session)),
        (None, None) => None,
        _ => return Err(bad(6, "yk_use", "and yk_counter must both be -1 (never used), or neither")),
    };
    let nonce = rest
        .and_then(|rest| first(rest, separator(line)))
        .map(|(nonce, _)| nonce.into_owned())
        .unwrap_or_default();
    let is_nonce = nonce.len() <= 64 && nonce.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_nonce {
        return Err(bad(9, "nonce", "is not up to 64 printable characters"));
    }
    let modified = position.and(modified);
    Ok(ImportedPosition { id, position, nonce, enabled, modified })
}

/// A number; `None` for -1, which means "not used yet".
fn number(
    field: usize,
    name: &'static str,
    text: &str,
    most: u16,
    why: &'static str,
) -> Result<Option<u16>, BadLine> {
    if text == "-1" {
        return Ok(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number <= most);
    number.map(Some).ok_or_else(|| bad(field, name, why))
}
