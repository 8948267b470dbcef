//! What `apparmor_parser` makes of a profile, read as the kernel reads it: a serialized profile with two automata, one
//! for files and one for all else, each in tables in the manner of flex. So the parser's own understanding of its
//! globs, classes and `deny` is what decides, and none of ours.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// Permissions to a file, as bits of the file automaton.
const EXEC: u32 = 1;
pub(crate) const WRITE: u32 = 2;
pub(crate) const READ: u32 = 4;
pub(crate) const MAP: u32 = 0x40;

/// The class of sockets in the other automaton.
const NETWORK: u8 = 14;

/// A profile, compiled.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) name: String,
    /// The path that the profile attaches to.
    attachment: Automaton,
    /// A bit for each, by its number in linux/capability.h.
    pub(crate) capabilities: u64,
    files: Automaton,
    others: Automaton,
}

impl Profile {
    /// Has the parser compile a file for a kernel of these features.
    ///
    /// # Errors
    /// The parser's complaints; if strict, warnings count.
    pub(crate) fn compile(
        mut parser: Command,
        profile: &Path,
        features: &Path,
        strict: bool,
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("compiled");
        parser.args(["--skip-kernel-load", "--skip-cache", "--warn=all", "--ofile"]).arg(&out);
        if strict {
            parser.arg("--Werror");
        }
        parser.arg("--kernel-features").arg(features).arg(profile).stdin(Stdio::null());
        let said = parser.output().unwrap();
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        if !said.status.success() {
            return Err(text);
        }
        Ok(Self::read(&std::fs::read(out).unwrap()))
    }

    fn read(bytes: &[u8]) -> Self {
        let mut automata = Vec::new();
        let (mut name, mut numbers, mut of) =
            (String::new(), BTreeMap::<String, Vec<u64>>::new(), String::new());
        for value in (Values { bytes, at: 0 }) {
            match value {
                Value::Text(text) if name.is_empty() => name = text,
                Value::Begin(what) => of = what,
                // Bytes after a structure belong to it: capabilities follow the flags.
                Value::End => of.push('\''),
                Value::Number(number) => numbers.entry(of.clone()).or_default().push(number),
                Value::Blob(tables) => automata.push(Automaton::read(tables)),
                Value::Text(_) => {}
            }
        }
        let [attachment, others, files] = <[Automaton; 3]>::try_from(automata).unwrap();
        // Allowed, audited, quiet, and a fourth; the upper halves in a structure of their own.
        let capabilities = numbers["flags'"][0] | numbers["caps64"][0] << 32;
        Self { name, attachment, capabilities, files, others }
    }

    /// Whether a program at this path runs under the profile.
    pub(crate) fn attaches_to(&self, path: &str) -> bool {
        self.attachment.accepts(1, path.as_bytes()) != 0
    }

    /// The accesses to a file that are allowed, whoever owns it.
    pub(crate) fn file(&self, path: &str) -> u32 {
        // The owner's permissions are the lower half, everybody's the upper.
        (self.files.accepts(1, path.as_bytes()) >> 14) & 0x7f
    }

    /// Whether there is any program that may be run.
    pub(crate) fn runs_anything(&self) -> bool {
        self.files.accept.iter().any(|accept| accept & (EXEC | EXEC << 14) != 0)
    }

    /// Whether a socket of this family and type may be made.
    pub(crate) fn socket(&self, family: u16, kind: u16) -> bool {
        let class = self.others.walk(1, &[NETWORK]);
        self.others.accepts(class, &[family.to_be_bytes(), kind.to_be_bytes()].concat()) != 0
    }
}

/// States, and where each byte leads.
#[derive(Debug)]
struct Automaton {
    accept: Vec<u32>,
    base: Vec<u32>,
    default: Vec<u32>,
    next: Vec<u32>,
    check: Vec<u32>,
    /// The class of each byte, where there are any.
    classes: Option<Vec<u32>>,
}

impl Automaton {
    fn read(bytes: &[u8]) -> Self {
        let number = |at: usize, length: usize| {
            bytes[at..at + length].iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
        };
        assert_eq!(number(0, 4), 0x1b5e_783d, "no tables");
        let mut tables = BTreeMap::new();
        let mut at = usize::try_from(number(4, 4)).unwrap();
        while at + 12 <= bytes.len() {
            let (id, size) = (number(at, 2), usize::try_from(number(at + 2, 2)).unwrap());
            let count = usize::try_from(number(at + 8, 4)).unwrap();
            tables.insert(id, (0..count).map(|n| number(at + 12 + n * size, size)).collect::<Vec<_>>());
            at = (at + 12 + count * size).next_multiple_of(8);
        }
        let mut table = |id| tables.remove(&id);
        Self {
            accept: table(1).unwrap(),
            base: table(2).unwrap(),
            check: table(3).unwrap(),
            default: table(4).unwrap(),
            classes: table(5),
            next: table(8).unwrap(),
        }
    }

    /// From a state on, as the kernel walks.
    fn walk(&self, from: u32, input: &[u8]) -> u32 {
        let index = |number: u32| usize::try_from(number).unwrap();
        let mut state = from;
        for byte in input {
            let class = match &self.classes {
                Some(classes) => index(classes[usize::from(*byte)]),
                None => usize::from(*byte),
            };
            state = loop {
                let base = self.base[index(state)];
                let place = index(base & 0x00ff_ffff) + class;
                if self.check[place] == state {
                    break self.next[place];
                }
                state = self.default[index(state)];
                // Told as the difference to that state: look there.
                if base & 0x8000_0000 == 0 {
                    break state;
                }
            };
        }
        state
    }

    fn accepts(&self, from: u32, input: &[u8]) -> u32 {
        self.accept[usize::try_from(self.walk(from, input)).unwrap()]
    }
}

/// The pieces of a serialized profile, in order.
struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
}

enum Value<'a> {
    Number(u64),
    Text(String),
    Blob(&'a [u8]),
    Begin(String),
    End,
}

impl<'a> Values<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let piece = &self.bytes[self.at..self.at + length];
        self.at += length;
        piece
    }

    fn number(&mut self, length: usize) -> u64 {
        self.take(length).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn text(&mut self) -> String {
        let length = usize::try_from(self.number(2)).unwrap();
        String::from_utf8_lossy(self.take(length)).trim_end_matches('\0').to_owned()
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let mut name = String::new();
        while self.at < self.bytes.len() {
            return Some(match self.number(1) {
                size @ 0..=3 => Value::Number(self.number(1 << size)),
                4 => {
                    name = self.text();
                    continue;
                }
                5 => Value::Text(self.text()),
                6 => {
                    let length = usize::try_from(self.number(4)).unwrap();
                    let begins = self.at;
                    let blob = self.take(length);
                    // Tables begin at a multiple of eight.
                    Value::Blob(&blob[begins.next_multiple_of(8) - begins..])
                }
                kind @ (7 | 9 | 11) => {
                    // An array says how many follow.
                    self.at += if kind == 11 { 2 } else { 0 };
                    Value::Begin(name)
                }
                8 | 10 | 12 => Value::End,
                other => panic!("a piece of kind {other} at {}", self.at),
            });
        }
        None
    }
}
