//! Lines whose `config=` has `%u`: each user has settings of their own. They are for applications that run as that
//! user, and a doctor that also runs as that user checks them: who may read and own what depends on it. Where the
//! application runs as root, they are checked as root.

use super::pam::{Line, Looked};
use super::report::{Check, Report, at, shown};
use serde_json::Value;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use ykhost::file;
use ykhost::settings::{config_of, is_per_user};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, Severity, shell_word};

/// The most that is read of /etc/passwd.
const LIMIT: u64 = 64 << 20;

/// The environment variable that makes a doctor check only one user's settings: not an option, so that nobody types it.
const OWN: &str = "YUBIOTP_DOCTOR_OWN";

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

    const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Root => "root",
        }
    }

    /// Whether a line is in a service that such an application reads. A line that no service was found for counts as
    /// one of an application that runs as the user.
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

/// The user whose own settings, and nothing else, this doctor is to look at, and who calls libpam for them.
#[expect(clippy::disallowed_methods, reason = "no login runs this, and it only looks")]
pub(super) fn asked_for() -> Option<Asked> {
    let asked = std::env::var(OWN).ok()?;
    let (caller, user) = asked.split_once(':')?;
    let caller = Caller::ALL.into_iter().find(|it| it.name() == caller)?;
    Some(Asked { user: user.to_owned(), caller })
}

/// See [`asked_for`].
pub(super) struct Asked {
    user: String,
    caller: Caller,
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
    pam_dirs: &[PathBuf],
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
            if let Err(why) = check_as(report, line, &own, caller, pam_dirs, user) {
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
    pam_dirs: &[PathBuf],
    user: &str,
) -> Result<(), String> {
    let config = line.settings.as_ref().and_then(|(options, _)| options.config.clone()).unwrap_or_default();
    let config = match config_of(config, user.as_bytes()) {
        Ok(config) => config,
        Err(fault) => {
            let found = fault.diagnostic();
            let what = format!("is refused by {}: {}", line.place, found.problem());
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
    // Through /proc: that user may not be allowed to reach the folder of this program.
    let mut doctor = Command::new("/proc/self/exe");
    doctor.args(["--json", "doctor", "--no-servers"]).env(OWN, format!("{}:{user}", caller.name()));
    for folder in pam_dirs {
        doctor.arg("--pam-dir").arg(folder);
    }
    if me.is_root() {
        doctor.uid(uid).gid(gid);
    } else if me.as_raw() != uid {
        return Err(match caller {
            Caller::User => "you are neither root nor that user",
            Caller::Root => "you are not root, as whom the application runs",
        }
        .to_owned());
    }
    let not_run = |why: &dyn std::fmt::Display| {
        let program = std::env::current_exe().unwrap_or_default();
        format!("{} cannot be run as uid {uid} ({why})", program.display())
    };
    let output = doctor.current_dir("/").stdin(Stdio::null()).output().map_err(|why| not_run(&why))?;
    let said: Value = serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        match said.lines().next() {
            Some(first) => not_run(&first),
            None => not_run(&output.status),
        }
    })?;
    for finding in said.get("findings").and_then(Value::as_array).into_iter().flatten() {
        take_over(report, finding, user, (caller, &config));
    }
    let places: Vec<_> = own.iter().map(|line| line.place.to_string()).collect();
    let what = format!("for {}: checked as uid {uid}, by {}", shown(Path::new(user)), places.join(", "));
    report.ok(Check::User, Some(at(&config)), what);
    Ok(())
}

/// Adds what the other doctor found.
fn take_over(report: &mut Report, finding: &Value, user: &str, (caller, config): (Caller, &Path)) {
    let Some((check, mut found)) = read(finding) else { return };
    match check {
        // That they are that user's is as it should be.
        Check::Rights if found.severity == Severity::Warning => return,
        Check::Rights => {
            let what = format!("{}, as whom the application runs, cannot read it", shown(Path::new(user)));
            found = Diagnostic { problem: what, remedies: Vec::new(), ..found };
            if let Some(Location::File { path, .. }) = &found.location {
                let chown = format!("chown {} {}", shell_word(user.as_bytes()), path);
                found = found.run(Program::System, chown);
            }
            return report.add(Check::Files, found);
        }
        Check::User => {}
        _ => found.problem += &format!(" (for {})", shown(Path::new(user))),
    }
    // For files that are to be the user's: root would make them root's, in a folder that is not.
    if let Some(folder) =
        config.parent().filter(|_| caller == Caller::User && config.ends_with("config.toml"))
        && found.code == Code::ConfigMissing
    {
        found.remedies.clear();
        let (user, folder) = (shell_word(user.as_bytes()), shell_word(folder.as_os_str().as_encoded_bytes()));
        let init = format!("runuser -u {user} -- ykmap init --dir {folder}");
        found = found.run_when("to create it as that user", Program::System, init);
    }
    report.add(check, found);
}

/// A finding as a doctor printed it.
fn read(finding: &Value) -> Option<(Check, Diagnostic)> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let severities = [Severity::Ok, Severity::Note, Severity::Warning, Severity::Error];
    let named = text(finding, "severity")?;
    let severity = severities.into_iter().find(|severity| severity.name() == named)?;
    let mut found =
        Diagnostic::new(text(finding, "code")?.parse().ok()?, severity, text(finding, "problem")?);
    found.location = finding.get("location").and_then(location);
    for remedy in finding.get("remedies").and_then(Value::as_array).into_iter().flatten() {
        found = match (text(remedy, "command"), text(remedy, "when"), text(remedy, "text")) {
            (Some(command), Some(when), _) => found.run_when(when, Program::System, command),
            (Some(command), None, _) => found.run(Program::System, command),
            (None, _, Some(text)) => found.advise(text),
            (None, _, None) => found,
        };
    }
    Some((Check::named(&text(finding, "area")?)?, found))
}

/// A location as a doctor printed it, of the kinds that settings of one user have.
fn location(value: &Value) -> Option<Location> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let line = value.get("line").and_then(Value::as_u64).and_then(|line| usize::try_from(line).ok());
    // There are few of them, in a command that ends soon.
    let leak = |text: String| -> &'static str { text.leak() };
    text("file")
        .map(|path| Location::File { path, line, setting: text("setting").map(leak) })
        .or_else(|| text("user").map(Location::User))
        .or_else(|| text("setting").map(Location::Setting))
        .or_else(|| text("url").map(Location::Url))
        .or_else(|| text("token").map(Location::Token))
        .or_else(|| text("service").map(Location::Service))
        .or_else(|| text("argument").map(Location::Argument))
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

/// The owner of the settings, for a user of a directory, from the files that exist.
fn owner(config: &Path) -> Option<(u32, u32)> {
    let there = config.ancestors().find_map(|path| path.metadata().ok())?;
    (there.uid() != 0).then(|| (there.uid(), there.gid()))
}

/// Checks the lines of each user's own, and nothing else, as that user.
pub(super) fn run(mut lines: Vec<Line>, services: &[Looked], Asked { user, caller }: &Asked) -> crate::Done {
    let mut report = Report::new();
    lines.retain(|line| caller.has(line, services));
    let found = super::settings::look(&mut report, None, of_user(lines, user), true);
    super::settings::files(&mut report, &found.cases);
    let whom = super::Whom { users: std::slice::from_ref(user), accounts: &[], dead: &[] };
    super::follow(&mut report, &found, &whom, services);
    report.print_json(Value::Array(Vec::new()))
}
