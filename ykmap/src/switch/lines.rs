//! Editing a service file so that each edit can be taken out again, byte for byte. A comment above each line of ours says
//! what was there.

use crate::doctor::pam::service::names_us;
use crate::doctor::pam::words::{Words, lines, lossy};

const NEW: &[u8] = b"# ykmap enable: the next line is new";
const WAS: &[u8] = b"# ykmap enable: the next line was: ";

/// A line as libpam puts it together.
pub(crate) struct Line {
    /// Its first line in the file, counted from 0.
    pub(crate) start: usize,
    /// The line behind its last one.
    pub(crate) end: usize,
    pub(crate) words: Vec<String>,
}

impl Line {
    /// Its first word without the `-` of a line that may be missing its module: `auth`, `@include`.
    pub(crate) fn kind(&self) -> String {
        let word = self.words.first().map(String::as_str).unwrap_or_default();
        word.strip_prefix('-').unwrap_or(word).to_ascii_lowercase()
    }

    /// The file that it includes.
    pub(crate) fn included(&self) -> Option<&str> {
        if self.kind() == "@include" {
            return self.words.get(1).map(String::as_str);
        }
        let is_include = self.is_include() || self.words.get(1)?.eq_ignore_ascii_case("substack");
        is_include.then(|| self.words.get(2).map(String::as_str))?
    }

    /// Whether it is `KIND include FILE`, which ends all lines of the service if one of the file does.
    pub(crate) fn is_include(&self) -> bool {
        self.words.get(1).is_some_and(|word| word.eq_ignore_ascii_case("include"))
    }

    pub(crate) fn is_one_line(&self) -> bool {
        self.end == self.start.saturating_add(1)
    }
}

fn physical(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

fn bare(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// The lines of a service file.
pub(crate) fn logical(text: &[u8]) -> Vec<Line> {
    let all = physical(text);
    let whole = |(number, line): (usize, Option<Vec<u8>>)| {
        let start = number.saturating_sub(1);
        let goes_on = |line: &&[u8]| {
            let before = line.split(|byte| *byte == b'#').next().unwrap_or_default();
            let is_commented = before.len() < line.len();
            let content = before.trim_ascii();
            content.is_empty() || (content.ends_with(b"\\") && !is_commented)
        };
        let more = all.get(start..).unwrap_or_default().iter().take_while(|line| goes_on(line)).count();
        let words = Words(&line?).map(lossy).collect();
        Some(Line { start, end: start.saturating_add(more).saturating_add(1), words })
    };
    lines(text).into_iter().filter_map(whole).collect()
}

/// An edit of a file, at a line counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// A new line before this one; behind the last one if there is none.
    Insert(usize, String),
    /// This instead of the line.
    Replace(usize, String),
}

/// The file with these edits.
pub(crate) fn edited(text: &[u8], edits: &[Edit]) -> Vec<u8> {
    let all = physical(text);
    let mut out = Vec::new();
    for at in 0..=all.len() {
        let line = all.get(at).copied().unwrap_or_default();
        for edit in edits {
            if let Edit::Insert(place, new) = edit
                && *place == at
            {
                // Behind a last line without an end, the new one has none.
                let is_behind = at == all.len() && !out.is_empty() && !out.ends_with(b"\n");
                let parts: [&[u8]; 5] = [
                    if is_behind { b"\n" } else { b"" },
                    NEW,
                    b"\n",
                    new.as_bytes(),
                    if is_behind { b"" } else { b"\n" },
                ];
                out.extend_from_slice(&parts.concat());
            }
        }
        let replaced = edits.iter().find_map(|edit| match edit {
            Edit::Replace(place, new) if *place == at => Some(new),
            _ => None,
        });
        match replaced {
            Some(new) => {
                out.extend_from_slice(WAS);
                out.extend_from_slice(bare(line));
                out.push(b'\n');
                out.extend_from_slice(new.as_bytes());
                out.extend_from_slice(line.get(bare(line).len()..).unwrap_or_default());
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

/// The file without the edits of [`edited`]. `Err` is the number, from 1, of a line below such a comment that is not what
/// was written there.
pub(crate) fn restored(text: &[u8]) -> Result<Vec<u8>, usize> {
    let all = physical(text);
    let mut out = Vec::new();
    let mut at = 0_usize;
    while let Some(line) = all.get(at) {
        let next = at.saturating_add(1);
        let was = bare(line).strip_prefix(WAS);
        if bare(line) != NEW && was.is_none() {
            out.extend_from_slice(line);
            at = next;
            continue;
        }
        let ours =
            all.get(next).copied().filter(|ours| is_ours(ours, was)).ok_or_else(|| next.saturating_add(1))?;
        let has_end = ours.ends_with(b"\n");
        match was {
            Some(was) => {
                out.extend_from_slice(was);
                out.extend_from_slice(if has_end { b"\n" } else { b"" });
            }
            None if !has_end => drop(out.pop()),
            None => {}
        }
        at = next.saturating_add(1);
    }
    Ok(out)
}

/// Whether a line is one that [`edited`] may have written: it loads the module, or is the old one with another control.
fn is_ours(line: &[u8], was: Option<&[u8]>) -> bool {
    let words = |line: &[u8]| Words(line).map(lossy).collect::<Vec<_>>();
    let (own, was) = (words(bare(line)), was.map(words).unwrap_or_default());
    let is_module = own.get(2).is_some_and(|word| names_us(word));
    let is_substack = own.get(1).is_some_and(|word| word == "substack") && own.get(2) == was.get(2);
    !bare(line).ends_with(b"\\") && (is_module || is_substack)
}

/// The lines, from 1, that load the module.
pub(crate) fn ours(text: &[u8]) -> Vec<usize> {
    let own = |line: &Line| line.words.get(2).is_some_and(|word| names_us(word));
    logical(text).iter().filter(|line| own(line)).map(|line| line.start.saturating_add(1)).collect()
}

/// The file without any line that loads the module.
pub(crate) fn without_module(text: &[u8]) -> Vec<u8> {
    let own: Vec<_> = logical(text)
        .into_iter()
        .filter(|line| line.words.get(2).is_some_and(|word| names_us(word)))
        .map(|line| line.start..line.end)
        .collect();
    let kept =
        physical(text).into_iter().enumerate().filter(|(at, _)| !own.iter().any(|range| range.contains(at)));
    kept.flat_map(|(_, line)| line.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "auth required pam_yubiotp.so";

    #[test]
    fn every_edit_is_taken_out_byte_for_byte() {
        for text in ["a\nb\n", "a\nb", "a b include\n\nauth include x", "auth include x\n# end\n"] {
            let count = text.split_inclusive('\n').count();
            for at in 0..=count {
                let edits = [Edit::Insert(at, OURS.to_owned())];
                let new = edited(text.as_bytes(), &edits);
                assert!(String::from_utf8_lossy(&new).contains(OURS));
                assert_eq!(restored(&new).unwrap(), text.as_bytes(), "{text:?} at {at}");
            }
        }
        let text = b"auth include x\nauth include y\n";
        let edits = [Edit::Replace(1, "auth substack y".to_owned()), Edit::Insert(2, OURS.to_owned())];
        let new = edited(text, &edits);
        assert_eq!(
            String::from_utf8_lossy(&new),
            "auth include x\n# ykmap enable: the next line was: auth include y\nauth substack y\n\
             # ykmap enable: the next line is new\nauth required pam_yubiotp.so\n"
        );
        assert_eq!(restored(&new).unwrap(), text);
    }

    #[test]
    fn a_line_that_was_edited_is_not_taken_out() {
        let text = edited(b"a\n", &[Edit::Insert(1, OURS.to_owned())]);
        let other = String::from_utf8(text).unwrap().replace(OURS, "auth required pam_permit.so");
        assert_eq!(restored(other.as_bytes()), Err(3));
        assert_eq!(restored(b"# ykmap enable: the next line is new\n"), Err(2));
        assert_eq!(restored(b"x\n").unwrap(), b"x\n");
    }

    #[test]
    fn lines_of_several_lines() {
        let text =
            b"# c\nauth required \\\n  pam_unix.so\n@include x\n-auth optional pam_y.so # z\nauth \\\n";
        let found: Vec<_> = logical(text).iter().map(|line| (line.start, line.end, line.kind())).collect();
        assert_eq!(
            found,
            [(1, 3, "auth".to_owned()), (3, 4, "@include".to_owned()), (4, 5, "auth".to_owned())]
        );
        let text = b"auth required pam_unix.so\nauth required \\\n pam_yubiotp.so\naccount required pam_yubiotp.so\nx";
        assert_eq!(ours(text), [2, 4]);
        assert_eq!(without_module(text), b"auth required pam_unix.so\nx");
    }
}
