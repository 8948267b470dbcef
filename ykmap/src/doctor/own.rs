//! Lines whose `config=` has `%u`: each user has settings of their own. They are for applications that run as that user,
//! and are checked with that user's rights: who may read and own what depends on it. Where the application runs as root,
//! they are checked as root.
//!
//! The user chooses what these settings name. So no command is printed about it: root could copy and run it.

use super::pam::{self, Line, Looked};
use super::report::{Check, Report, at, shown};
use super::{rights, sshd};
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use ykhost::file;
use ykhost::settings::{config_of, is_per_user};
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Location, Program, Remedy, Severity, shell_word};

/// The most that is read of /etc/passwd.
const LIMIT: u64 = 64 << 20;

/// Services whose applications run as root when they call libpam.
const AS_ROOT: [&str; 24] = [
    "atd",
    "chfn",
    "chsh",
    "cockpit",
    "cron",
    "crond",
    "doas",
    "gdm-password",
    "lightdm",
    "login",
    "passwd",
    "polkit-1",
    "remote",
    "runuser",
    "runuser-l",
    "sddm",
    "sshd",
    "su",
    "su-l",
    "sudo",
    "sudo-i",
    "systemd-user",
    "vsftpd",
    "xrdp-sesman",
];

/// The user who runs the applications of some lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    User,
    Root,
}

impl Caller {
    const ALL: [Self; 2] = [Self::User, Self::Root];

    /// Whether a line is in a service that such an application reads. A line that no service was found for counts as one
    /// of an application that runs as the user.
    fn has(self, line: &Line, services: &[Looked]) -> bool {
        let place = line.place.to_string();
        let mut callers = services
            .iter()
            .filter(|service| service.has(&place))
            .map(|service| if AS_ROOT.contains(&service.name.as_str()) { Self::Root } else { Self::User });
        match callers.next() {
            None => self == Self::User,
            Some(first) => first == self || callers.any(|caller| caller == self),
        }
    }
}

/// Where the lines are read.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) pam_dirs: Vec<PathBuf>,
    pub(super) sshd_config: PathBuf,
}

/// Whether the line has settings of each user.
pub(super) fn is_own(line: &Line) -> bool {
    line.settings.as_ref().and_then(|(options, _)| options.config.as_deref()).is_some_and(is_per_user)
}

/// The lines as they are for one user; those whose settings are everybody's are left out.
fn of_user(lines: Vec<Line>, user: &str) -> Vec<Line> {
    let mut own: Vec<_> = lines.into_iter().filter(is_own).collect();
    for (options, _) in own.iter_mut().filter_map(|line| line.settings.as_mut()) {
        options.config = options.config.take().and_then(|config| config_of(config, user.as_bytes()).ok());
    }
    own
}

/// Looks at the lines that have settings of each user, for each of these users.
pub(super) fn look(
    report: &mut Report,
    own: &[Line],
    services: &[Looked],
    sources: &Sources,
    users: &[String],
) {
    let Some(line) = own.first() else { return };
    if users.is_empty() {
        let what = "each user has settings of their own (%u in config=), which were not checked";
        let found = Diagnostic::note(Code::SettingsOfEachUser, what).at(line.place.location());
        report.add(Check::Settings, found.run_when("to check those of one", Program::Ykmap, "doctor USER"));
    }
    for caller in Caller::ALL {
        let own: Vec<_> = own.iter().filter(|line| caller.has(line, services)).collect();
        let Some(line) = own.first() else { continue };
        for user in users {
            if let Err(why) = check_as(report, line, &own, caller, sources, user) {
                let what = format!("the settings of this user, by {}, were not checked: {why}", line.place);
                let change = match caller {
                    Caller::User => "run ykmap doctor as that user",
                    Caller::Root => "run it in a root shell",
                };
                let found = Diagnostic::warning(Code::NotChecked, what).at(Location::user(user.as_bytes()));
                report.add(Check::User, found.advise(change));
            }
        }
    }
}

fn check_as(
    report: &mut Report,
    line: &Line,
    own: &[&Line],
    caller: Caller,
    sources: &Sources,
    user: &str,
) -> Result<(), String> {
    let config = line.settings.as_ref().and_then(|(options, _)| options.config.clone()).unwrap_or_default();
    let config = match config_of(config, user.as_bytes()) {
        Ok(config) => config,
        Err(fault) => {
            let found = fault.diagnostic();
            let what = format!("is rejected by {}: {}", line.place, found.problem());
            let found = Diagnostic { remedies: found.remedies, ..Diagnostic::error(found.code, what) };
            report.add(Check::User, found.at(Location::user(user.as_bytes())));
            return Ok(());
        }
    };
    let (uid, gid) = match caller {
        Caller::User => ids(user).or_else(|| owner(&config)).ok_or("no such user in /etc/passwd")?,
        Caller::Root => (0, 0),
    };
    let me = rustix::process::geteuid();
    if !me.is_root() && me.as_raw() != uid {
        return Err(match caller {
            Caller::User => "you are neither root nor that user",
            Caller::Root => "you are not root, as whom the application runs",
        }
        .to_owned());
    }
    let (whom, sources, take) = (user.to_owned(), sources.clone(), me.as_raw() != uid);
    let found = rights::in_thread(rights::PATIENCE, move || {
        let fronts = sshd::fronts(&sources.sshd_config);
        let (lines, mut services) = pam::look(&mut Report::new(), &sources.pam_dirs, &fronts);
        if take {
            rights::take(uid, gid)?;
        }
        Ok(findings(lines, &mut services, &whom, (caller, &sources.pam_dirs)))
    })?;
    for (check, finding, ykmap) in found {
        add(report, check, finding, &Owner { user, caller, config: &config, ykmap: &ykmap });
    }
    let places: Vec<_> = own.iter().map(|line| line.place.to_string()).collect();
    let what = format!("for {}: checked as uid {uid}, by {}", shown(Path::new(user)), places.join(", "));
    report.ok(Check::User, Some(at(&config)), what);
    Ok(())
}

/// Whose settings they are.
struct Owner<'a> {
    user: &'a str,
    caller: Caller,
    config: &'a Path,
    /// How `ykmap` is called for them.
    ykmap: &'a str,
}

/// Adds a finding about settings that a user wrote.
fn add(report: &mut Report, check: Check, mut found: Diagnostic, owner: &Owner<'_>) {
    let user = shown(Path::new(owner.user));
    match check {
        // That they are that user's is as it should be.
        Check::Rights if found.severity == Severity::Warning => return,
        Check::Rights => {
            found.problem = format!("{user}, as whom the application runs, cannot read it");
            found.remedies = vec![owner.other_file()];
            return report.add(Check::Files, found);
        }
        Check::User => {}
        _ => found.problem += &format!(" (for {user})"),
    }
    found.remedies = owner.remedies(&found);
    report.add(check, found);
}

impl Owner<'_> {
    /// What to do about a finding, without a command: root would run it, on what the user chose.
    fn remedies(&self, found: &Diagnostic) -> Vec<Remedy> {
        let folder = self.config.parent().filter(|_| self.config.ends_with("config.toml"));
        match (found.code, folder) {
            // Root would make them root's, in a folder that is not.
            (Code::ConfigMissing, Some(folder)) if self.caller == Caller::User => {
                let init = format!("ykmap init --dir {}", shell_word(folder.as_os_str().as_encoded_bytes()));
                return vec![self.run("to create it", &init)];
            }
            (
                Code::FileOfOtherOwner
                | Code::FileWritableByOthers
                | Code::FileReadableByOthers
                | Code::FileInaccessible
                | Code::FileIsLink,
                _,
            ) => return vec![self.other_file()],
            // Its commands are in an order, and half of them would be worse than none.
            (Code::AesKeyInTwoStores, _) => {
                let text = "program another YubiKey, or another slot, for one of the two stores";
                return vec![Remedy::Text(text.to_owned())];
            }
            _ => {}
        }
        let calls = Calls { ykmap: self.ykmap, ..Calls::PLAIN };
        let remedies: Vec<_> = found
            .remedies
            .iter()
            .filter_map(|remedy| match remedy {
                Remedy::Text(_) => Some(remedy.clone()),
                Remedy::Command { command, .. } if command.program == Program::System => None,
                Remedy::Command { when, command } => {
                    Some(self.run(when.as_deref().unwrap_or_default(), &command.line(calls)))
                }
            })
            .collect();
        if remedies.is_empty() && !found.remedies.is_empty() { vec![self.other_file()] } else { remedies }
    }

    /// A command for the owner of the settings. In root's terminal, a program that runs as a user is a way to root, so it is
    /// not one to copy.
    fn run(&self, when: &str, line: &str) -> Remedy {
        let (whom, comma) = (self.name(), if when.is_empty() { "" } else { ", " });
        Remedy::Text(format!("{when}{comma}log in as {whom} and run: {line}"))
    }

    fn other_file(&self) -> Remedy {
        let (config, whom) = (shown(self.config), self.name());
        Remedy::Text(format!(
            "in {config}, name a file that belongs to {whom} and is closed to others, in a folder of {whom}'s own"
        ))
    }

    fn name(&self) -> String {
        match self.caller {
            Caller::User => shown(Path::new(self.user)),
            Caller::Root => "root".to_owned(),
        }
    }
}

/// What is found at the lines of each user's own, and at nothing else, with the rights of this thread.
fn findings(
    mut lines: Vec<Line>,
    services: &mut [Looked],
    user: &str,
    (caller, pam_dirs): (Caller, &[PathBuf]),
) -> Vec<(Check, Diagnostic, String)> {
    let mut report = Report::new();
    lines.retain(|line| caller.has(line, services));
    let mut found = super::settings::look(&mut report, None, of_user(lines, user), true);
    super::settings::files(&mut report, &mut found.cases);
    let whom = super::Whom {
        users: &[user.to_owned()],
        accounts: &[],
        dead: &[],
        unloaded: &HashSet::new(),
        pam_dirs,
        unix: ykhost::clock::unix(),
    };
    super::follow(&mut report, &mut found, &whom, services);
    report.into_findings()
}

/// The ids of a user of this host.
fn ids(user: &str) -> Option<(u32, u32)> {
    let passwd = file::read_untrusted(Path::new("/etc/passwd"), LIMIT).ok()?;
    let passwd = String::from_utf8_lossy(&passwd);
    passwd.lines().find_map(|line| {
        let mut fields = line.strip_prefix(user)?.strip_prefix(':')?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

/// The owner of the settings, for a user of a directory: the owner of the first folder on the way that is not root's. Only
/// root could create that folder; what is in it may be a link to somewhere else.
fn owner(config: &Path) -> Option<(u32, u32)> {
    let mut folders: Vec<_> = config.ancestors().collect();
    folders.reverse();
    let there =
        folders.into_iter().map_while(|path| path.symlink_metadata().ok()).find(|is| is.uid() != 0)?;
    Some((there.uid(), there.gid()))
}
