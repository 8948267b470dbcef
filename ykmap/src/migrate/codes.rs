//! Users of google-authenticator and pam_oath: their secrets, and how far they have come.

use super::old::Source;
use super::stacks::{OldLine, at};
use crate::Failure;
use crate::homes::{self, Account};
use crate::import::google_authenticator::{self as google, MOST_AHEAD, MOST_SECONDS};
use crate::import::plan::Coming;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykcli::input;
use ykhost::clock;
use ykhost::settings::Settings;
use ykseeds::google_authenticator::MAX_BYTES;
use ykseeds::usersfile::{self, Pin};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Severity};
use yubiotp::key::OathKey;
use yubiotp::oath::Kind;
use yubiotp::shown;

/// The tokens that come, and what has to be known of them.
#[derive(Default)]
pub(super) struct Tokens {
    pub(super) coming: Vec<Coming>,
    pub(super) findings: Vec<Diagnostic>,
    /// The files that have the secrets.
    pub(super) files: Vec<PathBuf>,
}

/// The tokens of google-authenticator's users. Without a line, those in the usual place: a line may be gone already.
pub(super) fn of_google_authenticator(
    settings: &Settings,
    lines: &[OldLine],
    accounts: &[Account],
    named: &[String],
) -> Tokens {
    let mut tokens = Tokens::default();
    let mut sources: Vec<(Option<&str>, Option<&str>, bool, bool)> = Vec::new();
    for line in lines {
        if let Source::Secrets { path, owner, any_owner } = &line.new.source {
            let nullok = line.new.args.iter().any(|arg| arg == "nullok");
            let source = (path.as_deref(), owner.as_deref(), *any_owner, nullok);
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
    }
    if sources.is_empty() {
        sources.push((None, None, false, false));
    }
    for (template, owner, any_owner, nullok) in sources {
        for account in accounts {
            let (path, found) = match template {
                Some(template) => {
                    let path = path_of(template, account);
                    let reader =
                        owner.map_or(Some(account), |name| accounts.iter().find(|it| it.name == name));
                    let Some(reader) = reader else {
                        let problem = format!(
                            "user= names {}, which is no account of this host",
                            shown::text(owner.unwrap_or_default())
                        );
                        tokens.findings.push(Diagnostic::error(Code::UserUnknown, problem));
                        break;
                    };
                    let found = match path.strip_prefix(account.home()).ok().and_then(Path::to_str) {
                        Some(inside) if reader.uid() == account.uid() && !any_owner => {
                            homes::file_of(account, inside, MAX_BYTES)
                        }
                        _ => homes::file_at(reader, &path, any_owner, MAX_BYTES),
                    };
                    (path, found)
                }
                None => (account.path(google::NAME), homes::file_of(account, google::NAME, MAX_BYTES)),
            };
            match found {
                Ok(None) => {}
                Ok(Some(found)) => {
                    if tokens.files.contains(&path) {
                        continue;
                    }
                    match google::read(settings, &account.name, &path, &found, named.contains(&account.name))
                    {
                        Ok((coming, remarks)) => {
                            tokens.coming.push(coming);
                            tokens.files.push(path);
                            let place = || Location::user(account.name.as_bytes());
                            tokens.findings.extend(
                                remarks
                                    .into_iter()
                                    .map(|remark| Diagnostic::note(Code::NotMoved, remark.text).at(place())),
                            );
                        }
                        Err(found) => tokens.findings.extend(found),
                    }
                }
                // With nullok, a user who is lost here would log in without a code.
                Err(found) if nullok => tokens.findings.push(found),
                Err(found) => tokens.findings.push(Diagnostic { severity: Severity::Warning, ..found }),
            }
        }
    }
    tokens
}

/// The file of a user by `secret=`.
fn path_of(template: &str, account: &Account) -> PathBuf {
    let home = account.home().to_string_lossy();
    let template = match template.strip_prefix('~') {
        Some(rest) => format!("{home}{rest}"),
        None => template.to_owned(),
    };
    template.replace("${HOME}", &home).replace("${USER}", &account.name).into()
}

/// The tokens of pam_oath's users. Without a line, those of the usual file, if there is one.
pub(super) fn of_oath(lines: &[OldLine], named: &[String]) -> Result<Tokens, Failure> {
    let mut tokens = Tokens::default();
    let mut sources = BTreeMap::<&str, Option<u16>>::new();
    for line in lines.iter().filter(|line| line.new.is_movable()) {
        if let Source::UsersFile { path, window } = &line.new.source {
            // Of two lines, the wider window: no user is rejected whom a line accepted.
            let known = sources.entry(path).or_default();
            *known = (*known).max(*window);
        }
    }
    for (path, window) in sources {
        let path = Path::new(path);
        let file = input::named(path)?;
        let name = path.as_os_str().as_bytes();
        if file.is_open {
            let problem = "others may read it, so its secrets may be known to them";
            tokens.findings.push(Diagnostic::warning(Code::FileReadableByOthers, problem).at(at(path)));
        }
        match usersfile::read(&file.text, clock::unix()) {
            Ok(found) => {
                for token in found {
                    tokens.of_users_file(name, token, window, named);
                }
                tokens.files.push(path.to_owned());
            }
            Err(problems) => tokens.findings.extend(problems.diagnostics(name)),
        }
    }
    Ok(tokens)
}

impl Tokens {
    fn of_users_file(&mut self, name: &[u8], token: usersfile::Token, window: Option<u16>, named: &[String]) {
        for user in &token.users {
            let what = match user.pin {
                Pin::None => continue,
                Pin::CheckedElsewhere => {
                    "a password in front of the code was checked by another module (+), and still is: this module hands it on"
                }
                Pin::Stored => "the PIN is not moved: nobody asks for it any more",
            };
            let severity = if user.pin == Pin::Stored { Severity::Warning } else { Severity::Note };
            let problem = format!("{}: {what}", shown::text(&user.name));
            self.findings
                .push(Diagnostic::new(Code::NotMoved, severity, problem).at(Location::line(name, user.line)));
        }
        let place = match token.users.first() {
            Some(user) => Location::line(name, user.line),
            None => Location::file(name),
        };
        let mut users: Vec<_> = token.users.into_iter().map(|user| user.name).collect();
        users.sort_unstable();
        users.dedup();
        let window = window.map(|steps| match token.parameters.kind {
            Kind::Totp { period } => {
                let seconds = u64::from(steps).saturating_mul(period.seconds());
                u16::try_from(seconds).unwrap_or(MOST_SECONDS).min(MOST_SECONDS)
            }
            Kind::Hotp => steps.min(MOST_AHEAD),
        });
        self.coming.push(Coming {
            is_named: users.iter().all(|user| named.contains(user)),
            users,
            is_recorded: token.parameters.kind == Kind::Hotp,
            key: OathKey { secret: token.secret, parameters: token.parameters },
            window,
            progress: token.progress,
            emergency: Vec::new(),
            place,
        });
    }
}
