//! Reads the counts in a log, without SQLite: <https://www.sqlite.org/fileformat2.html#walformat>.

use std::io::{ErrorKind, Read, Result};

pub(super) type Header = [u8; 32];

const FRAME: usize = 24;

/// The committed pages of a log that have the count.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Of the header: others if the log began anew. `None`: there is no log.
    pub(super) begun: Option<Header>,
    /// The number of each frame, from 1, with the store and its count; `None`: the page is another one.
    pub(super) counts: Vec<(u64, Option<(i64, u64)>)>,
}

impl Frames {
    /// Reads a log up to the first frame that was not completely written. `page`: the number of the page with the count.
    pub(super) fn read(mut log: impl Read, page: u32) -> Result<Self> {
        let Some((begun, mut sum)) =
            header(&mut log)?.and_then(|begun| Some((begun, Sum::of_header(&begun)?)))
        else {
            return Ok(Self::default());
        };
        let mut found = Self { begun: Some(begun), counts: Vec::new() };
        let size = word(&begun, 8).unwrap_or(0);
        if !(512..=65_536).contains(&size) {
            return Ok(Self::default());
        }
        let mut frame = vec![0; FRAME.saturating_add(size as usize)];
        let mut uncommitted = Vec::new();
        let mut number = 0_u64;
        while fill(&mut log, &mut frame)? {
            number = number.saturating_add(1);
            let (Some((head, content)), Some(salts)) = (frame.split_at_checked(FRAME), begun.get(16..24))
            else {
                break;
            };
            sum.add(head.get(..8).unwrap_or_default());
            sum.add(content);
            if head.get(8..16) != Some(salts) || !sum.is(head, 16) {
                break;
            }
            if word(head, 0) == Some(page) {
                uncommitted.push((number, row(content)));
            }
            // The last frame of a transaction has the size of the database.
            if word(head, 4) != Some(0) {
                found.counts.append(&mut uncommitted);
            }
        }
        Ok(found)
    }
}

/// The header; `None`: it is none, as in an empty file.
pub(super) fn header(log: &mut impl Read) -> Result<Option<Header>> {
    let mut begun = Header::default();
    Ok(fill(log, &mut begun)?.then_some(begun).filter(|begun| Sum::of_header(begun).is_some()))
}

/// `false`: the log ends before.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(why) => Err(why),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

/// The running checksum of a log.
struct Sum {
    is_big: bool,
    sums: [u32; 2],
}

impl Sum {
    /// That of the header; `None`: it is none.
    fn of_header(header: &[u8]) -> Option<Self> {
        let magic = word(header, 0).filter(|magic| magic & !1 == 0x377f_0682)?;
        let mut sum = Self { is_big: magic & 1 == 1, sums: [0; 2] };
        sum.add(header.get(..24)?);
        sum.is(header, 24).then_some(sum)
    }

    fn add(&mut self, bytes: &[u8]) {
        let [mut first, mut second] = self.sums;
        let read = if self.is_big { u32::from_be_bytes } else { u32::from_le_bytes };
        for [a, b, c, d, e, f, g, h] in bytes.as_chunks::<8>().0 {
            first = first.wrapping_add(read([*a, *b, *c, *d])).wrapping_add(second);
            second = second.wrapping_add(read([*e, *f, *g, *h])).wrapping_add(first);
        }
        self.sums = [first, second];
    }

    /// Whether this is the sum that is written there.
    fn is(&self, bytes: &[u8], at: usize) -> bool {
        let [first, second] = self.sums;
        word(bytes, at) == Some(first) && word(bytes, at.saturating_add(4)) == Some(second)
    }
}

/// The row of the table `used`, from its page: `one`, `store`, `count`. `None`: it is no such page.
fn row(page: &[u8]) -> Option<(i64, u64)> {
    // A leaf of a table, with one row.
    let [0x0d, _, _, 0, 1, _, _, _, high, low] = page.first_chunk()? else { return None };
    let mut cell = page.get(usize::from(u16::from_be_bytes([*high, *low]))..)?;
    let (_length, _rowid) = (varint(&mut cell)?, varint(&mut cell)?);
    let columns = cell.get(1..usize::from(*cell.first()?))?;
    let [0, store, count] = columns else { return None };
    let mut values = cell.get(columns.len().saturating_add(1)..)?;
    let (store, count) = (integer(*store, &mut values)?, integer(*count, &mut values)?);
    Some((store, u64::try_from(count).ok()?))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for _ in 0..8 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn integer(kind: u8, bytes: &mut &[u8]) -> Option<i64> {
    let length = match kind {
        1..=4 => usize::from(kind),
        5 => 6,
        6 => 8,
        8 | 9 => return Some(i64::from(kind) - 8),
        _ => return None,
    };
    let (value, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    let sign = if value.first()? & 0x80 == 0 { 0 } else { -1 };
    Some(value.iter().fold(sign, |all, byte| all << 8 | i64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_length() {
        for (kind, bytes, value) in [
            (8, &[][..], Some(0)),
            (9, &[], Some(1)),
            (1, &[0x85], Some(-123)),
            (2, &[1, 0], Some(256)),
            (3, &[0, 0, 7], Some(7)),
            (4, &[0xff; 4], Some(-1)),
            (5, &[0, 0, 0, 0, 1, 0], Some(256)),
            (6, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Some(i64::MAX)),
            (6, &[0], None),
            (7, &[0; 8], None),
        ] {
            assert_eq!(integer(kind, &mut &*bytes), value, "{kind} {bytes:?}");
        }
        assert_eq!(varint(&mut &[0x81, 0x00][..]), Some(128));
        assert_eq!(varint(&mut &[0x81][..]), None);
    }

    #[test]
    fn what_is_no_log_has_no_frames() {
        for bytes in [&[][..], &[0; 32], &[0xff; 5000]] {
            let frames = Frames::read(bytes, 2).unwrap();
            assert!(frames.begun.is_none() && frames.counts.is_empty());
        }
    }
}
