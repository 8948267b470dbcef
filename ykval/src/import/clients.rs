//! `ykval-export-clients`: `id,active,created,secret,email,notes,otp`

use super::fields::{active, bad, each_line, first, separator, take, time};
use super::{BadLine, Problem};
use std::collections::HashMap;
use yubiotp::protocol::{ClientId, ClientKey};
use yubiotp::shown;
use zeroize::Zeroizing;

const HEADER: &str = "id,active,created,secret,email,notes,otp";
const OF: &str = "ykval-export-clients";
const LONGEST_NAME: usize = 100;

/// A client.
pub struct ClientEntry {
    /// Its line, counted from 1.
    pub line: usize,
    /// Its id.
    pub id: ClientId,
    /// Not disabled there.
    pub enabled: bool,
    /// When it was created there, in seconds since 1970.
    pub created: i64,
    /// Its key.
    pub key: ClientKey,
    /// Its email address, or else its notes; may be empty.
    pub name: String,
}

/// Reads an export of `ykval-export-clients`, with or without the header line.
///
/// # Errors
/// Every problem of the file, in the order of its lines, and at most [`MAX_PROBLEMS`](super::MAX_PROBLEMS).
pub fn clients(text: &[u8]) -> Result<Vec<ClientEntry>, Vec<Problem>> {
    let mut all: Vec<ClientEntry> = Vec::new();
    let mut places = HashMap::new();
    each_line(text, HEADER, |number, line| {
        let new = read(number, line)?;
        if let Some(old) = places.get(&new.id).and_then(|place: &usize| all.get(*place)) {
            let first = old.line;
            return if old.key.expose() == new.key.expose() {
                Ok(())
            } else {
                Err(BadLine::OtherKey { first })
            };
        }
        places.insert(new.id, all.len());
        all.push(new);
        Ok(())
    })?;
    Ok(all)
}

fn read(line: usize, text: &str) -> Result<ClientEntry, BadLine> {
    let ([id, is_active, created, secret], rest) = take::<4>(text, OF)?;
    let secret = Zeroizing::new(secret.into_owned());
    let digits = id.bytes().all(|byte| byte.is_ascii_digit());
    let id = id.parse().ok().filter(|id| digits && *id > 0).and_then(ClientId::new);
    let id = id.ok_or_else(|| bad(1, "id", "is not a number above 0, of at most 10 digits"))?;
    let enabled = active(2, &is_active)?;
    let created = time(3, "created", &created)?;
    if secret.is_empty() {
        return Err(BadLine::NoSecret);
    }
    let key = ClientKey::parse(secret.as_bytes())
        .map_err(|_| bad(4, "secret", "is not base64 of 8 to 64 bytes"))?;
    // The address has no comma, and the last field is an OTP, which is not needed; between them are the notes.
    let between = separator(text);
    let (email, rest) = rest.and_then(|rest| first(rest, between)).unwrap_or_default();
    let notes = rest.and_then(|rest| rest.rsplit_once(between)).map_or("", |(notes, _)| notes);
    let name = if email.is_empty() { notes.trim_matches(['"', ' ']) } else { &email };
    let name = shown::line(name).to_string().chars().take(LONGEST_NAME).collect();
    Ok(ClientEntry { line, id, enabled, created, key, name })
}
