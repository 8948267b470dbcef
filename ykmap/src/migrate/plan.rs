//! Everything that would change, and everything that has to be known before.

use super::codes::{self, Tokens};
use super::config;
use super::old::{Old, Servers, Source};
use super::stacks::{self, OldLine};
use super::yubico::Users;
use crate::homes::Account;
use crate::import::plan::Plan as TokenPlan;
use crate::system::ChangeSet;
use crate::{Context, Done, Failure};
use std::path::{Path, PathBuf};
use ykhost::settings::{CONFIG, Settings};
use ykhost::store::{Change, Store};
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Diagnostic, Severity};
use zeroize::Zeroizing;

/// What the administrator said beside the module.
#[derive(Default, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) keep_config: bool,
    /// A file of `USER:ID` lines.
    pub(super) exported: Option<&'a Path>,
}

/// What is migrated, and where.
pub(super) struct Place<'a> {
    pub(super) old: Old,
    pub(super) folders: &'a [PathBuf],
    pub(super) accounts: &'a [Account],
    /// Users whom the administrator named.
    pub(super) named: &'a [String],
}

pub(super) struct Plan {
    pub(super) old: Old,
    pub(super) lines: Vec<OldLine>,
    /// The files of the host, config.toml before those of pam.d.
    pub(super) files: ChangeSet,
    /// A new file with the client key.
    pub(super) key: Option<(PathBuf, Zeroizing<String>)>,
    /// What comes to the list of each user, and whether they are listed.
    pub(super) additions: Vec<(String, bool, Vec<TokenId>)>,
    pub(super) tokens: Option<TokenPlan>,
    /// Old files that have secrets or mappings.
    pub(super) old_files: Vec<PathBuf>,
    pub(super) findings: Vec<Diagnostic>,
}

impl Plan {
    /// Reads everything, and writes nothing; with `writes`, only what an interrupted change of the store left is finished.
    pub(super) fn of(
        context: &Context,
        settings: &Settings,
        (store, change): (&Store, &Change<'_>),
        place: &Place<'_>,
        request: Request<'_>,
        writes: bool,
    ) -> Result<Self, Failure> {
        let old = place.old;
        let config = context.config.as_deref().filter(|path| *path != Path::new(CONFIG));
        let (mut lines, mut findings) = stacks::lines(place.folders, old, config);
        if old == Old::Yubico {
            keep_those_from_elsewhere(&mut lines, request.exported.is_some());
        }
        findings.extend(stacks::findings(&lines));
        let (mut files, owned) = stacks::files(old, &mut lines)?;
        findings.extend(owned);
        let mut plan = Self {
            old,
            lines,
            files: ChangeSet { name: old.change(), files: Vec::new(), sshd_config: None },
            key: None,
            additions: Vec::new(),
            tokens: None,
            old_files: Vec::new(),
            findings,
        };
        match old {
            Old::Yubico => {
                if !request.keep_config
                    && let Some(servers) = plan.servers()
                {
                    plan.ask(context, settings, &servers, place, &mut files);
                }
                let mut users = Users::of(&plan.lines, place.accounts, request.exported);
                plan.additions = users.missing(settings)?;
                plan.findings.append(&mut users.findings);
            }
            Old::GoogleAuthenticator | Old::Oath => {
                plan.take_tokens(settings, (store, change), place, writes)?;
            }
        }
        plan.files.files.append(&mut files);
        if let Some(finding) = plan.old_file_in_use() {
            plan.findings.push(finding);
        }
        Ok(plan)
    }

    /// The servers of all lines that move; `None` if no line moves, or they differ.
    fn servers(&mut self) -> Option<Servers> {
        let mut moving =
            self.lines.iter().filter(|line| line.new.is_movable() && !line.new.servers.is_empty());
        let first = moving.next()?;
        let (servers, place) = (first.new.servers.clone(), first.place.to_string());
        match moving.find(|line| line.new.servers != servers) {
            None => Some(servers),
            Some(other) => {
                let problem = format!(
                    "asks other validation servers than {place}, or as another client, and a host has one configuration"
                );
                let found = Diagnostic::error(Code::SettingsConflict, problem).at(other.place.location());
                self.findings.push(found.advise("let both lines ask the same servers, or set [online] in config.toml and run the command with --keep-config"));
                None
            }
        }
    }

    /// Plans to ask these servers.
    fn ask(
        &mut self,
        context: &Context,
        settings: &Settings,
        servers: &Servers,
        place: &Place<'_>,
        files: &mut Vec<crate::system::FileChange>,
    ) {
        match config::change(context, settings, servers, &stacks::are_ours(place.folders)) {
            Ok(Some(change)) => {
                self.findings.push(config::names_servers(servers, &settings.config));
                files.insert(0, change.file);
                self.key = change.key;
            }
            Ok(None) => {}
            Err(failure) => {
                let line = self.lines.iter().find(|line| line.new.is_movable());
                self.findings.extend(failure.diagnostic().map(|found| {
                    match (&found.location, line) {
                        (Some(yubiotp::diagnostic::Location::Argument(_)) | None, Some(line)) => {
                            Diagnostic { problem: found.problem(), location: None, ..found }
                                .at(line.place.location())
                        }
                        _ => found,
                    }
                }));
            }
        }
    }

    fn take_tokens(
        &mut self,
        settings: &Settings,
        (store, change): (&Store, &Change<'_>),
        place: &Place<'_>,
        writes: bool,
    ) -> Result<(), Failure> {
        let Tokens { coming, findings, files } = self.tokens_of(settings, place)?;
        self.findings.extend(findings);
        self.old_files = files;
        let mut tokens = TokenPlan::check(settings, store, change, coming, prefix(self.old), !writes)?;
        self.findings.extend(tokens.problems());
        for (user, remark) in tokens.remarks() {
            let found = Diagnostic::note(Code::NotMoved, remark.text);
            self.findings.push(found.at(yubiotp::diagnostic::Location::user(user.as_bytes())));
        }
        tokens.only_news(store)?;
        self.additions =
            tokens.additions().map(|(user, listed, ids)| (user.to_owned(), listed, ids)).collect();
        self.tokens = Some(tokens);
        Ok(())
    }

    fn tokens_of(&self, settings: &Settings, place: &Place<'_>) -> Result<Tokens, Failure> {
        match place.old {
            Old::Oath => codes::of_oath(&self.lines, place.named),
            _ => Ok(codes::of_google_authenticator(settings, &self.lines, place.accounts, place.named)),
        }
    }

    /// The tokens again, as far as they have come by now: while files changed, somebody may have logged in by the old lines.
    pub(super) fn tokens_again(
        &self,
        settings: &Settings,
        (store, change): (&Store, &Change<'_>),
        place: &Place<'_>,
    ) -> Result<TokenPlan, Failure> {
        let Tokens { coming, .. } = self.tokens_of(settings, place)?;
        TokenPlan::check(settings, store, change, coming, prefix(self.old), false)
    }

    /// A line that stays asks by a file whose tokens are used here, too.
    fn old_file_in_use(&self) -> Option<Diagnostic> {
        let stays = self.lines.iter().find(|line| !line.new.is_movable())?;
        let problem = "this line stays with the old module: a code that is used there is not known here, and is accepted here once more";
        let found = Diagnostic::warning(Code::OldModuleStays, problem).at(stays.place.location());
        (self.old != Old::Yubico && self.tokens.is_some()).then(|| found.advise("replace this line, too"))
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.findings
            .iter()
            .any(|found| found.severity == Severity::Error && found.code != Code::FileGenerated)
    }

    /// Whether nothing would change.
    pub(super) fn is_done(&self) -> bool {
        self.files.is_empty()
            && self.additions.is_empty()
            && self.tokens.as_ref().is_none_or(TokenPlan::is_done)
    }

    /// How the command ends once everything that can move has moved.
    pub(super) fn left(&self) -> Done {
        let stays = self.lines.iter().any(|line| !line.new.is_movable());
        let owned = self.findings.iter().any(|found| found.code == Code::FileGenerated);
        match (owned, stays) {
            (true, _) => Err(Failure::Differs),
            (false, true) => Err(Failure::No),
            (false, false) => Ok(()),
        }
    }
}

/// How the serial numbers of tokens begin.
const fn prefix(old: Old) -> &'static str {
    match old {
        Old::Oath => "pam-",
        Old::Yubico | Old::GoogleAuthenticator => "ga-",
    }
}

/// Lines whose users are in a directory or a database stay, unless those were exported.
fn keep_those_from_elsewhere(lines: &mut [OldLine], exported: bool) {
    for line in lines {
        if let Source::Elsewhere { what, export } = &line.new.source
            && !exported
        {
            let problem =
                format!("the users' tokens are in {what}, which no login asks here: the line stays");
            let found = Diagnostic::warning(Code::LineNotMovable, problem)
                .run_when(
                    format!("to write USER:ID lines of what {what} has"),
                    yubiotp::diagnostic::Program::System,
                    export.clone(),
                )
                .advise("look at FILE, and run the command again with --mapping FILE");
            line.new.findings.push(found);
            line.new.stays = true;
        }
    }
}

/// Notes what an administrator has to know of this host's mode.
pub(super) fn warn(context: &Context, settings: &Settings) {
    crate::exchange::warn_of_mode(context, settings);
}
