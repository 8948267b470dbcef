//! Name-value pairs (section 3.4), and the parameters of a request.

use super::record::BadRecord;
use std::ops::Range;
use zeroize::Zeroizing;

/// The most bytes that the parameters of a request may have, lengths included.
pub const MOST_BYTES: usize = 64 << 10;

/// The most parameters of a request.
pub const MOST_PAIRS: usize = 256;

/// The pairs in a text, as they are in it.
pub(super) struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Pairs<'a> {
    pub(super) const fn of(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], BadRecord> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(BadRecord::CutParameters)?;
        self.rest = rest;
        Ok(taken)
    }

    /// One byte, or four whose first bit is set.
    fn length(&mut self) -> Result<usize, BadRecord> {
        let &[first] = self.take(1)? else { return Err(BadRecord::CutParameters) };
        if first < 0x80 {
            return Ok(first.into());
        }
        let &[second, third, fourth] = self.take(3)? else { return Err(BadRecord::CutParameters) };
        let length = u32::from_be_bytes([first & 0x7f, second, third, fourth]);
        usize::try_from(length).map_err(|_| BadRecord::CutParameters)
    }

    fn pair(&mut self) -> Result<(&'a [u8], &'a [u8]), BadRecord> {
        let (name, value) = (self.length()?, self.length()?);
        Ok((self.take(name)?, self.take(value)?))
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), BadRecord>;

    /// After an error there is no more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(self.pair().inspect_err(|_| self.rest = &[]))
    }
}

/// Appends a pair.
pub(super) fn write(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for text in [name, value] {
        match u8::try_from(text.len()) {
            Ok(length) if length < 0x80 => to.push(length),
            _ => {
                // Nothing that is written here is longer.
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX) | 1 << 31;
                to.extend(length.to_be_bytes());
            }
        }
    }
    to.extend(name);
    to.extend(value);
}

/// The parameters of a request. Among them are cookies, and passwords of HTTP Basic: wiped on drop, and never printed.
pub struct Params {
    text: Zeroizing<Vec<u8>>,
    /// Where each is in the text: the name, and behind it the value.
    pairs: Vec<Pair>,
}

#[derive(Clone, Copy)]
struct Pair {
    at: u32,
    name: u32,
    value: u32,
}

impl Params {
    /// Those in this part of a text.
    pub(super) fn read(text: Zeroizing<Vec<u8>>, part: Range<usize>) -> Result<Self, BadRecord> {
        let own = text.get(part.clone()).unwrap_or_default();
        if own.len() > MOST_BYTES {
            return Err(BadRecord::TooManyParameters);
        }
        let number = |number: usize| u32::try_from(number).map_err(|_| BadRecord::TooManyParameters);
        let mut pairs = Vec::<Pair>::with_capacity(40);
        let mut rest = Pairs::of(own);
        while let Some(pair) = rest.next() {
            let (name, value) = pair?;
            if pairs.len() == MOST_PAIRS {
                return Err(BadRecord::TooManyParameters);
            }
            let after = text.len().min(part.end).saturating_sub(rest.rest.len());
            let at = number(after.saturating_sub(value.len()).saturating_sub(name.len()))?;
            let pair = Pair { at, name: number(name.len())?, value: number(value.len())? };
            if pairs.iter().any(|other| other.name == pair.name && other.name(&text) == name) {
                return Err(BadRecord::RepeatedParameter);
            }
            pairs.push(pair);
        }
        Ok(Self { text, pairs })
    }

    /// All names and values.
    pub fn all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs.iter().map(|pair| (pair.name(&self.text), pair.value(&self.text)))
    }

    /// The value of this name; `None`: there is none, or it is not UTF-8.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let length = u32::try_from(name.len()).ok()?;
        let is_it = |pair: &&Pair| pair.name == length && pair.name(&self.text) == name.as_bytes();
        let pair = self.pairs.iter().find(is_it)?;
        str::from_utf8(pair.value(&self.text)).ok()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

impl Pair {
    fn name(self, text: &[u8]) -> &[u8] {
        part(text, self.at, self.name)
    }

    fn value(self, text: &[u8]) -> &[u8] {
        part(text, self.at.saturating_add(self.name), self.value)
    }
}

fn part(text: &[u8], at: u32, length: u32) -> &[u8] {
    let range = usize::try_from(at).ok().zip(usize::try_from(length).ok());
    range.and_then(|(at, length)| text.get(at..at.checked_add(length)?)).unwrap_or_default()
}
