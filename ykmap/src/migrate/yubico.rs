//! Users of pam_yubico: a central mapping, the homes, or lines that were exported from elsewhere.

use super::old::Source;
use super::stacks::OldLine;
use crate::homes::{self, Account};
use crate::{Failure, files};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use ykhost::file::{self, Audience, read_untrusted};
use ykhost::mapping;
use ykhost::settings::Settings;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};
use yubiotp::mapping::{Enrolment, add};
use yubiotp::{PublicId, TokenId, shown};

/// The file in a home.
const NAME: &str = ".yubico/authorized_yubikeys";
/// The most that is read of a mapping, and of one in a home, in bytes.
const LONGEST: u64 = 64 << 20;
const HOME_LONGEST: usize = 64 << 10;

/// What comes to the mapping.
#[derive(Default)]
pub(super) struct Users {
    /// Each user's tokens, in the order of the files.
    tokens: BTreeMap<String, Vec<TokenId>>,
    pub(super) findings: Vec<Diagnostic>,
}

impl Users {
    /// The users of all lines. `exported` is a file with what a directory or a database had.
    pub(super) fn of(lines: &[OldLine], accounts: &[Account], exported: Option<&Path>) -> Self {
        let mut users = Self::default();
        let mut sources = BTreeSet::new();
        for line in lines.iter().filter(|line| line.new.is_movable()) {
            let nullok = line.new.args.iter().any(|arg| arg == "nullok");
            match &line.new.source {
                Source::Mapping(path) if sources.insert(path.clone()) => users.central(Path::new(path)),
                Source::Homes if sources.insert(format!("homes {nullok}")) => users.homes(accounts, nullok),
                _ => {}
            }
        }
        if let Some(path) = exported {
            users.central(path);
        }
        if sources.len() > 1 {
            users.findings.push(Diagnostic::warning(
                Code::NotMoved,
                "lines have different mappings, and this host has one: each token opens every service that asks for one",
            ));
        }
        users
    }

    /// A file of all users. pam_yubico reads it whoever owns it.
    fn central(&mut self, path: &Path) {
        match read_untrusted(path, LONGEST) {
            Ok(text) => {
                self.findings.extend(file::faults(path, Audience::Everyone).into_iter().map(|fault| {
                    let found = fault.diagnostic();
                    Diagnostic { severity: yubiotp::diagnostic::Severity::Warning, ..found }
                }));
                self.take(path, &text, None);
            }
            Err(fault) => self.findings.push(fault.diagnostic()),
        }
    }

    /// The file in each home: of its user only.
    fn homes(&mut self, accounts: &[Account], nullok: bool) {
        for account in accounts {
            match homes::file_of(account, NAME, HOME_LONGEST) {
                Ok(None) => {}
                Ok(Some(found)) => self.take(&account.path(NAME), &found.text, Some(&account.name)),
                // With nullok, a user who is lost here would log in without a token.
                Err(found) if nullok => self.findings.push(found),
                Err(found) => {
                    let severity = yubiotp::diagnostic::Severity::Warning;
                    self.findings.push(Diagnostic { severity, ..found });
                }
            }
        }
    }

    /// The lines of a file: read as pam_yubico does, but for IDs that no YubiKey types.
    fn take(&mut self, path: &Path, text: &[u8], only: Option<&str>) {
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let mut fields = line.split(|byte| *byte == b':').filter(|field| !field.is_empty());
            let Some(name) = fields.next().filter(|_| line.contains(&b':') && !line.starts_with(b"#")) else {
                continue;
            };
            let place = || Location::line(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()), number);
            let Some(name) = str::from_utf8(name).ok().filter(|name| add(b"", name.as_bytes(), &[]).is_ok())
            else {
                let found =
                    Diagnostic::warning(Code::NotMoved, "names a user whom no mapping can list: left out");
                self.findings.push(found.at(place()));
                continue;
            };
            if only.is_some_and(|only| only != name) {
                let problem = format!(
                    "is about {}, and counts for the user of this home only: left out",
                    shown::text(name)
                );
                self.findings.push(Diagnostic::note(Code::NotMoved, problem).at(place()));
                continue;
            }
            let mut fields = fields.peekable();
            if fields.peek().is_none() {
                continue;
            }
            let tokens = self.tokens.entry(name.to_owned()).or_default();
            for field in fields {
                match PublicId::parse(field) {
                    Ok(id) if !tokens.contains(&TokenId::YubiKey(id)) => tokens.push(TokenId::YubiKey(id)),
                    Ok(_) => {}
                    Err(why) => {
                        let problem = format!("{}: {why}: left out", shown::quoted(field));
                        self.findings.push(Diagnostic::warning(Code::NotMoved, problem).at(place()));
                    }
                }
            }
        }
    }

    /// What is missing in the mapping: the user, whether they are listed, and the tokens.
    pub(super) fn missing(
        &mut self,
        settings: &Settings,
    ) -> Result<Vec<(String, bool, Vec<TokenId>)>, Failure> {
        let mut missing = Vec::new();
        for (user, tokens) in &self.tokens {
            if mapping::path_of(&settings.mapping, user).is_err() {
                let found =
                    Diagnostic::warning(Code::UserNameInvalid, "no mapping can list this user: left out");
                self.findings.push(found.at(Location::user(user.as_bytes())));
                continue;
            }
            if tokens.is_empty() {
                let problem = "has no token that can be used: not being listed, the user would need none where a line has nullok";
                self.findings.push(
                    Diagnostic::error(Code::LineNotMovable, problem)
                        .at(Location::user(user.as_bytes()))
                        .advise("fix the user's line in the old file"),
                );
                continue;
            }
            let has = match files::tokens_of(settings, user)? {
                Enrolment::NotListed => None,
                Enrolment::Listed(tokens) if tokens.is_empty() => {
                    let word = shell_word(user.as_bytes());
                    let problem = "is listed without a token, as after ykmap reset: left out";
                    self.findings.push(
                        Diagnostic::note(Code::NotMoved, problem)
                            .at(Location::user(user.as_bytes()))
                            .run_when("to give them their tokens", Program::Ykmap, format!("add {word} ID")),
                    );
                    continue;
                }
                Enrolment::Listed(tokens) => Some(tokens),
            };
            let new: Vec<_> = tokens
                .iter()
                .filter(|id| has.as_ref().is_none_or(|has| !has.contains(id)))
                .copied()
                .collect();
            if !new.is_empty() {
                missing.push((user.clone(), has.is_some(), new));
            }
        }
        Ok(missing)
    }
}

/// The accounts of this host, and those that are named.
pub(super) fn accounts(folder: &Path, named: &[String]) -> Result<Vec<Account>, Failure> {
    let mut accounts = homes::accounts(folder, &[])?;
    if named.is_empty() {
        return Ok(accounts);
    }
    for account in homes::accounts(folder, named)? {
        if !accounts.iter().any(|known| known.name == account.name) {
            accounts.push(account);
        }
    }
    Ok(accounts)
}
