//! PSKC: Portable Symmetric Key Container (RFC 6030).
//!
//! Secrets may be plain, or encrypted by AES-CBC under a pre-shared key or a password (PBKDF2). Encrypted ones need a MAC,
//! which is compared before they are decrypted. Each hash function is the one that the file names. Elements are known by
//! their local names: RFC 6030's own examples and its errata disagree about namespaces.

mod crypto;
mod key;
mod protection;
mod tree;

use crate::password::{Password, Wanted};
use crate::problem::{BadPskc, Limit, Place, Problem, Problems, Why};
use crate::text::Known;
use crate::token::{Format, Note, Options, PassedOver, Protection, Seeds};
use crate::{MAX_PROBLEMS, MAX_TOKENS};
use protection::{Opened, Opener};
use tree::{Element, Reader};

/// How often a password may be hashed: some seconds.
pub const MAX_ITERATIONS: u32 = 10_000_000;

/// Reads a PSKC file.
///
/// # Errors
/// Every problem, in the order of the file, and at most [`MAX_PROBLEMS`]. Only the first if the XML is broken there.
pub fn read(
    xml: &[u8],
    options: &Options<'_>,
    ask: &mut dyn FnMut(Wanted<'_>) -> Option<Password>,
) -> Result<Seeds, Problems> {
    let mut reader = Reader::new(xml).map_err(Problems::whole)?;
    let mut container = Container::new(options);
    loop {
        let child = match reader.child() {
            Ok(Some(child)) => child,
            Ok(None) => break,
            Err(why) => {
                container.problems.push(Problem::new(Place::line(reader.line()), why));
                break;
            }
        };
        match container.take(&child, ask) {
            Ok(()) if container.problems.len() < MAX_PROBLEMS => {}
            Ok(()) => break,
            // Without a key, nothing of the rest can be read.
            Err(problem) => return Err(vec![problem].into()),
        }
    }
    container.end()
}

/// A container as it is read, child by child.
struct Container<'a> {
    options: &'a Options<'a>,
    file: Seeds,
    known: Known,
    opener: Opener,
    has_packages: bool,
    problems: Vec<Problem>,
    /// Keys whose MAC matched, and those whose MAC did not.
    macs: (usize, Vec<Place>),
}

impl<'a> Container<'a> {
    fn new(options: &'a Options<'a>) -> Self {
        Self {
            options,
            file: Seeds {
                format: Format::Pskc(Protection::None),
                member: None,
                encoding: None,
                tokens: Vec::new(),
                passed_over: Vec::new(),
                notes: Vec::new(),
            },
            known: Known::default(),
            opener: Opener::default(),
            has_packages: false,
            problems: Vec::new(),
            macs: (0, Vec::new()),
        }
    }

    /// Takes a child of the container. An error ends the reading.
    fn take(
        &mut self,
        child: &Element,
        ask: &mut dyn FnMut(Wanted<'_>) -> Option<Password>,
    ) -> Result<(), Problem> {
        let fatal = |why: Why| match why {
            // A password is that of the whole file.
            Why::Locked(_) => Problem::new(Place::default(), why),
            why => Problem::new(Place::line(child.line), why),
        };
        match child.name.as_str() {
            // Behind a key, it would leave open whether that key was to be protected.
            "EncryptionKey" | "MACMethod" if self.has_packages => {
                return Err(fatal(BadPskc::Misplaced("EncryptionKey or MACMethod").into()));
            }
            "EncryptionKey" => self.opener.encryption_key(child).map_err(fatal)?,
            "MACMethod" => self.opener.mac_method(child).map_err(fatal)?,
            "KeyPackage" => {
                self.has_packages = true;
                self.opener.open_for(child, ask).map_err(fatal)?;
                self.key_package(child);
                if self.file.tokens.len().saturating_add(self.file.passed_over.len()) > MAX_TOKENS {
                    return Err(Problem::new(Place::default(), Limit::Tokens));
                }
            }
            "Signature" => self.file.notes.push((Place::line(child.line), Note::SignatureNotChecked)),
            "Device" => {
                return Err(fatal(BadPskc::Unsupported("the format of a draft before RFC 6030").into()));
            }
            _ => {}
        }
        Ok(())
    }

    fn key_package(&mut self, package: &Element) {
        let place = key::place(package);
        let read = match key::read(package, self.options) {
            Ok(key::Read::Key(read)) => *read,
            Ok(key::Read::PassedOver(why)) => {
                self.file.passed_over.push((place, why));
                return;
            }
            Err(whys) => {
                self.problems.extend(whys.into_iter().map(|why| Problem::new(place.clone(), why)));
                return;
            }
        };
        self.file.notes.extend(read.notes.iter().map(|note| (place.clone(), *note)));
        let secret = match self.opener.secret(read.secret) {
            Ok(Opened { secret, by_mac }) => {
                self.macs.0 = self.macs.0.saturating_add(usize::from(by_mac));
                secret
            }
            Err(Why::Pskc(BadPskc::Mac)) => {
                self.macs.1.push(place);
                return;
            }
            Err(why) => {
                self.problems.push(Problem::new(place, why));
                return;
            }
        };
        let token = read.token.with(place, secret);
        match self.known.check(&self.file.tokens, &token) {
            Ok(None) => self.file.tokens.push(token),
            Ok(Some(first)) => {
                self.file.passed_over.push((token.place, PassedOver::Repetition { first }));
            }
            Err(why) => self.problems.push(Problem::new(token.place, why)),
        }
    }

    fn end(mut self) -> Result<Seeds, Problems> {
        // No MAC matches: the password is wrong. Some do: the others were changed.
        match self.macs {
            (0, failed) if !failed.is_empty() => {
                self.problems.push(Problem::new(Place::default(), self.opener.wrong()));
            }
            (_, failed) => {
                self.problems.extend(failed.into_iter().map(|place| Problem::new(place, BadPskc::Mac)));
            }
        }
        if self.problems.is_empty() && self.file.tokens.is_empty() && self.file.passed_over.is_empty() {
            return Err(Problems::whole(Why::Empty));
        }
        if self.problems.is_empty() {
            self.file.format = Format::Pskc(self.opener.protection());
            return Ok(self.file);
        }
        self.problems.sort_by_key(|problem| problem.place.line);
        self.problems.truncate(MAX_PROBLEMS);
        Err(self.problems.into())
    }
}

#[cfg(test)]
mod tests;
