//! Lines whose `config=` has `%u`: each user has settings of their own. They are meant for applications that run as that
//! user, and are judged by a doctor that runs as that user, too: who may read and own what depends on it. Where the
//! application runs as root, they are judged as root.

use super::pam::{Line, Looked};
use super::report::{Level, Report, Room};
use crate::Context;
use serde_json::Value;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use ykhost::file;
use ykhost::settings::{config_of, is_per_user};
use yubiotp::shown;

/// The most that is read of /etc/passwd.
const LIMIT: u64 = 64 << 20;

/// How the doctor that runs as a user is told that it is one: no option that somebody might type.
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

/// Who runs the applications of some lines.
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
        let what = "each user has settings of their own (%u in config=), which were not looked at";
        report.add(Room::Settings, Level::Note, &line.place, what, "ykmap doctor USER");
    }
    for caller in Caller::ALL {
        let own: Vec<_> = own.iter().filter(|line| caller.has(line, services)).collect();
        let Some(line) = own.first() else { continue };
        for user in users {
            if let Err(why) = judge(report, line, &own, caller, pam_dirs, user) {
                let what = format!("{user}: the settings of this user were not looked at: {why}");
                let change = match caller {
                    Caller::User => "run ykmap doctor as that user",
                    Caller::Root => "run it in a root shell",
                };
                report.add(Room::User, Level::Warning, &line.place, what, change);
            }
        }
    }
}

fn judge(
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
            let what = format!("{user} is refused: {fault}");
            report.add(Room::User, Level::Error, &line.place, what, "");
            return Ok(());
        }
    };
    let (uid, gid) = match caller {
        Caller::User => ids(user).or_else(|| owner(&config)).ok_or("no such user in /etc/passwd")?,
        Caller::Root => (0, 0),
    };
    let me = rustix::process::geteuid();
    // Through /proc: that user may not be allowed to come to where this program is.
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
    let what = format!("judged as uid {uid}, by {}", places.join(", "));
    report.good(Room::User, config.display(), format!("{user}: {what}"));
    Ok(())
}

/// What the other doctor found, among what this one did.
fn take_over(report: &mut Report, finding: &Value, user: &str, (caller, config): (Caller, &Path)) {
    let field = |name: &str| finding.get(name).and_then(Value::as_str).unwrap_or_default();
    let (what, place) = (field("what"), field("where"));
    let level = match field("level") {
        "error" => Level::Error,
        "warning" => Level::Warning,
        "note" => Level::Note,
        _ => return report_good(report, field("room"), place, what, user),
    };
    match field("room") {
        // That they are that user's is as it should be.
        "rights" if level == Level::Warning => {}
        "rights" => {
            let what = format!("{user}, as whom the application runs, cannot read it");
            report.add(Room::Files, Level::Error, place, what, format!("give it to {user}"));
        }
        name => {
            let room = room(name);
            let what = if room == Room::User { what.to_owned() } else { format!("{what} (for {user})") };
            report.add(room, level, place, what, their_own(field("change"), user, caller, config));
        }
    }
}

/// Advice for files that are to be the user's: root would make them root's, in a folder that is not.
fn their_own(change: &str, user: &str, caller: Caller, config: &Path) -> String {
    let init = format!("ykmap --config {} init", shown::text(config.as_os_str().as_encoded_bytes()));
    match config.parent().filter(|_| caller == Caller::User && config.ends_with("config.toml")) {
        Some(folder) => {
            let folder = shown::text(folder.as_os_str().as_encoded_bytes());
            change.replace(&format!("{init} makes one"), &format!("{user} runs: ykmap init --dir {folder}"))
        }
        None => change.to_owned(),
    }
}

fn report_good(report: &mut Report, name: &str, place: &str, what: &str, user: &str) {
    let room = room(name);
    let what = if room == Room::User { what.to_owned() } else { format!("{what} (for {user})") };
    report.good(room, place, what);
}

fn room(name: &str) -> Room {
    let rooms = [Room::Settings, Room::Files, Room::Mapping, Room::Store];
    rooms.into_iter().find(|room| room.name() == name).unwrap_or(Room::User)
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

/// Whose the settings are, for a user whom a directory has; of what is there.
fn owner(config: &Path) -> Option<(u32, u32)> {
    let there = config.ancestors().find_map(|path| path.metadata().ok())?;
    (there.uid() != 0).then(|| (there.uid(), there.gid()))
}

/// That nothing but the lines of each user's own is to be looked at, as that user.
pub(super) fn run(
    context: &Context,
    mut lines: Vec<Line>,
    services: &[Looked],
    Asked { user, caller }: &Asked,
) -> crate::Done {
    let mut report = Report::default();
    lines.retain(|line| caller.has(line, services));
    let found = super::settings::look(&mut report, None, of_user(lines, user), true);
    super::settings::files(&mut report, &found.cases);
    super::follow(&mut report, found, std::slice::from_ref(user), services);
    report.tell(context.json, &[], false)
}
