//! Lines of a file or a program, in bounded memory.

use std::io::{self, BufRead, ErrorKind};

/// The longest line that is kept, in bytes. Users decide how long their messages are; ours are shorter.
const LONGEST: usize = 64 << 10;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'b> {
    /// Without its end.
    Whole(&'b [u8]),
    /// Longer than any line of ours.
    TooLong,
    /// The end of what can be read now. If more is written later, the line goes on.
    End,
}

/// Reads lines one after the other.
pub(super) struct Lines<R> {
    from: R,
    line: Vec<u8>,
    is_too_long: bool,
    is_done: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(from: R) -> Self {
        Self { from, line: Vec::new(), is_too_long: false, is_done: false }
    }

    /// The next line that has an end. What was read of a line without one is kept.
    pub(super) fn next(&mut self) -> io::Result<Line<'_>> {
        if self.is_done {
            self.line.clear();
            (self.is_too_long, self.is_done) = (false, false);
        }
        loop {
            let buffer = match self.from.fill_buf() {
                Ok(buffer) => buffer,
                Err(why) if why.kind() == ErrorKind::Interrupted => continue,
                Err(why) => return Err(why),
            };
            if buffer.is_empty() {
                return Ok(Line::End);
            }
            let end = memchr::memchr(b'\n', buffer);
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            if self.is_too_long || self.line.len().saturating_add(part.len()) > LONGEST {
                self.is_too_long = true;
                self.line.clear();
            } else {
                self.line.extend_from_slice(part);
            }
            let used = part.len().saturating_add(usize::from(end.is_some()));
            self.from.consume(used);
            if end.is_some() {
                self.is_done = true;
                return Ok(if self.is_too_long { Line::TooLong } else { Line::Whole(&self.line) });
            }
        }
    }

    /// The line without an end that was read last, if there is one.
    pub(super) fn unfinished(&mut self) -> Option<&[u8]> {
        let has_one = !self.is_done && !self.is_too_long && !self.line.is_empty();
        self.is_done = true;
        has_one.then_some(self.line.as_slice())
    }

    /// Forgets the line without an end that was read last.
    pub(super) fn forget(&mut self) {
        self.is_done = true;
    }

    pub(super) const fn get_ref(&self) -> &R {
        &self.from
    }

    pub(super) const fn get_mut(&mut self) -> &mut R {
        &mut self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    #[test]
    fn lines_and_their_ends() {
        let long = "x".repeat(LONGEST + 1);
        let text = format!("a\n\n{long}\nb");
        for size in [1, 7, 1 << 20] {
            let mut lines = Lines::new(BufReader::with_capacity(size, text.as_bytes()));
            assert_eq!(lines.next().unwrap(), Line::Whole(b"a"));
            assert_eq!(lines.next().unwrap(), Line::Whole(b""));
            assert_eq!(lines.next().unwrap(), Line::TooLong);
            assert_eq!(lines.next().unwrap(), Line::End);
            assert_eq!(lines.next().unwrap(), Line::End);
            assert_eq!(lines.unfinished(), Some(&b"b"[..]));
            assert_eq!(lines.unfinished(), None);
        }
    }
}
