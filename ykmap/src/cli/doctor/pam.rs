//! pam.d: which services ask for a YubiKey, whether it counts, and what their lines say to the module.

pub(super) mod control;
pub(super) mod service;
mod stack;

use super::report::{Level, Report, Room};
use crate::cli::out;
use control::{Action, Answer, Control};
use service::{Entry, Folders, Kind, Place, Service, What};
use stack::End;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;
use ykmap::file::{self, Audience};
use ykmap::options::{FirstPass, Options};

/// Where libpam looks for service files: the host's own, and those of its distributor.
const FOLDERS: [&str; 4] = ["/etc/pam.d", "/usr/lib/pam.d", "/usr/share/pam.d", "/usr/etc/pam.d"];

/// Modules that ask for nothing that somebody knows or has: they say yes or no by who, where and when.
const GATES: [&str; 32] = [
    "pam_access",
    "pam_cap",
    "pam_echo",
    "pam_env",
    "pam_faildelay",
    "pam_faillock",
    "pam_group",
    "pam_issue",
    "pam_keyinit",
    "pam_lastlog",
    "pam_limits",
    "pam_listfile",
    "pam_localuser",
    "pam_loginuid",
    "pam_mail",
    "pam_mkhomedir",
    "pam_motd",
    "pam_nologin",
    "pam_rootok",
    "pam_rhosts",
    "pam_securetty",
    "pam_selinux",
    "pam_sepermit",
    "pam_setquota",
    "pam_shells",
    "pam_succeed_if",
    "pam_systemd",
    "pam_tally2",
    "pam_time",
    "pam_umask",
    "pam_warn",
    "pam_wheel",
];

/// What a module can be expected to answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Character {
    Ours,
    /// Always yes.
    Permit,
    /// Always no.
    Deny,
    /// By who, where and when.
    Gate,
    /// Asks for something: a password, another token.
    Asks,
}

fn character(entry: &Entry) -> Character {
    match entry.module() {
        "pam_yubiotp" => Character::Ours,
        "pam_permit" => Character::Permit,
        "pam_deny" => Character::Deny,
        name if GATES.contains(&name) => Character::Gate,
        _ => Character::Asks,
    }
}

/// A line that loads the module.
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) is_auth: bool,
    /// Its module, as the line names it.
    pub(super) module: String,
    pub(super) options: Options,
    /// The arguments that make up the settings, for telling lines apart.
    pub(super) key: Vec<String>,
}

/// Remarks about stacks (kind, place, what, change, level), and for which services each holds.
type Remarks = BTreeMap<(&'static str, String, String, String, Level), Vec<String>>;

/// Looks at all services. Gives the lines that load the module.
pub(super) fn look(report: &mut Report, folders: &[PathBuf]) -> (Vec<Line>, Vec<String>) {
    for folder in folders.iter().filter(|folder| !folder.is_dir()) {
        report.add(Room::Pam, Level::Error, folder.display(), "no such folder", "mend --pam-dir");
    }
    let usual = || FOLDERS.iter().map(PathBuf::from).collect();
    let folders = Folders(if folders.is_empty() { usual() } else { folders.to_vec() });
    let all: Vec<_> = folders.names().iter().map(|name| folders.service(name)).collect();
    let (mut lines, mut remarks, mut names) = (Vec::new(), Remarks::new(), Vec::new());
    let mut files = HashSet::new();
    for service in all.iter().filter(|service| service.entries.iter().any(Entry::is_ours)) {
        files.extend(service.files.iter().cloned());
        for entry in service.entries.iter().filter(|entry| entry.is_ours()) {
            arguments(report, &mut lines, entry);
        }
        // What others include and no application asks for has not all the kinds of lines.
        let has = |kind| service.entries.iter().any(|entry| entry.kind == kind);
        let file = service.files.first();
        let included =
            all.iter().any(|it| it.name != service.name && it.files.iter().any(|it| Some(it) == file));
        if included && !(has(Kind::Auth) && has(Kind::Account)) {
            continue;
        }
        names.push(service.name.clone());
        Judge { service, remarks: &mut remarks }.all();
    }
    for ((kind, place, what, change, level), services) in remarks {
        let what = format!("{}: {kind}: {what}", shortened(&services));
        report.add(Room::Pam, level, place, what, change);
    }
    let mut files: Vec<Rc<_>> = files.into_iter().collect();
    files.sort_unstable();
    for file in files {
        for fault in file::faults(&file, Audience::Everyone) {
            report.file_fault(Room::Files, fault, "put the service file back in its place");
        }
    }
    if names.is_empty() {
        let what = "no service loads pam_yubiotp.so: no login asks for a YubiKey";
        report.add(Room::Pam, Level::Note, "", what, "a line in pam.d asks for it (README: First login)");
    } else {
        report.good(Room::Pam, format!("asked for a YubiKey: {}", shortened(&names)));
    }
    (lines, names)
}

fn shortened(names: &[String]) -> String {
    const MOST: usize = 6;
    match names.len().checked_sub(MOST) {
        Some(more @ 1..) => {
            format!(
                "{} and {}",
                names.iter().take(MOST).cloned().collect::<Vec<_>>().join(", "),
                out::count(more, "more service")
            )
        }
        _ => names.join(", "),
    }
}

/// What a line says to the module, in the module's own words.
fn arguments(report: &mut Report, lines: &mut Vec<Line>, entry: &Entry) {
    let What::Module { args, .. } = &entry.what else { return };
    if lines.iter().any(|line| line.place == entry.place) {
        return;
    }
    let args: Vec<_> = args.iter().map(|arg| arg.as_c_str()).collect();
    let options = match Options::read(&args) {
        Ok(options) => options,
        Err(why) => {
            let change = "mend it: until then the module refuses everybody (PAM_SERVICE_ERR)";
            report.add(Room::Pam, Level::Error, &entry.place, why, change);
            // What the other arguments name is looked at all the same.
            let config =
                args.iter().find_map(|arg| arg.to_str().ok().filter(|arg| arg.starts_with("config=/")));
            let path = config.and_then(|config| config.strip_prefix("config=")).map(PathBuf::from);
            let options = Options { config: path, ..Options::default() };
            let key = config.map(str::to_owned).into_iter().collect();
            let place = entry.place.clone();
            lines.push(Line { place, is_auth: false, module: path_of(entry), options, key });
            return;
        }
    };
    for warning in options.warnings() {
        let (what, change) = warning.split_once(": ").unwrap_or((&warning, ""));
        report.add(Room::Pam, Level::Warning, &entry.place, what, change);
    }
    let settings = |arg: &&str| {
        let own = ["nullok", "always_prompt", "prompt", "echo", "verbose_otp", "tries", "debug"];
        let name = arg.split('=').next().unwrap_or_default();
        !own.contains(&name) && !name.ends_with("_first_pass")
    };
    let mut key: Vec<_> =
        args.iter().filter_map(|arg| arg.to_str().ok()).filter(settings).map(str::to_owned).collect();
    key.sort_unstable();
    let is_auth = entry.kind == Kind::Auth;
    lines.push(Line { place: entry.place.clone(), is_auth, module: path_of(entry), options, key });
}

/// The module of an entry, as its line names it.
fn path_of(entry: &Entry) -> String {
    match &entry.what {
        What::Module { path, .. } => path.clone(),
        What::MustFail(_) | What::Substack => String::new(),
    }
}

/// One service, judged.
struct Judge<'a> {
    service: &'a Service,
    remarks: &'a mut Remarks,
}

impl Judge<'_> {
    fn say(&mut self, level: Level, kind: Kind, place: &Place, what: impl Into<String>, change: &str) {
        let key = (kind.name(), place.to_string(), what.into(), change.to_owned(), level);
        let services = self.remarks.entry(key).or_default();
        if !services.contains(&self.service.name) {
            services.push(self.service.name.clone());
        }
    }

    fn stack(&self, kind: Kind) -> Vec<Entry> {
        self.service.entries.iter().filter(|entry| entry.kind == kind).cloned().collect()
    }

    fn all(&mut self) {
        if let Some((place, why)) = &self.service.broken {
            let place = place.clone().or_else(|| {
                let file = self.service.files.first().cloned();
                file.map(|file| Place { file, line: 1 })
            });
            if let Some(place) = place {
                let what = format!("libpam refuses the whole service: {why}");
                self.say(Level::Error, Kind::Auth, &place, what, "mend the line: nobody gets in");
            }
            return;
        }
        for entry in &self.service.entries {
            self.misread(entry);
        }
        let (auth, account) = (self.stack(Kind::Auth), self.stack(Kind::Account));
        if auth.iter().any(Entry::is_ours) {
            self.auth(&auth, &account);
        }
        self.account(&auth, &account);
        for entry in &self.service.entries {
            if entry.is_ours() && matches!(entry.kind, Kind::Session | Kind::Password) {
                let what = "the module does nothing in such a line";
                self.say(Level::Note, entry.kind, &entry.place, what, "take it out");
            }
        }
    }

    /// Lines that libpam does not understand, wherever they stand in a service that asks for a YubiKey.
    fn misread(&mut self, entry: &Entry) {
        if let What::MustFail(why) = &entry.what {
            let what = format!("libpam does not understand this line, and takes it for a no: {why}");
            self.say(Level::Error, entry.kind, &entry.place, what, "mend it");
        } else if let (Some(why), false) = (entry.control.misread, entry.is_substack()) {
            let control = &entry.control_text;
            let what =
                format!("libpam does not understand {control:?} ({why}), and takes every answer for a no");
            let change =
                "write required, requisite, sufficient, optional, include, substack or [answer=action …]";
            self.say(Level::Error, entry.kind, &entry.place, what, change);
        }
    }

    fn auth(&mut self, auth: &[Entry], account: &[Entry]) {
        let Some(ours) = auth.iter().find(|entry| entry.is_ours()) else { return };
        let (Some(accepted), Some(refused), Some(nobody), Some(alone)) = (
            walk(auth, Answer::SUCCESS, Others::Any),
            walk(auth, Answer::AUTH_ERR, Others::Any),
            walk(auth, Answer::AUTH_ERR, Others::Refuse),
            walk(auth, Answer::SUCCESS, Others::AskInVain),
        ) else {
            let what = "there are too many ways through these lines to look at";
            return self.say(Level::Warning, Kind::Auth, &ours.place, what, "use fewer jumps");
        };
        if !accepted.iter().any(|end| end.asked) {
            let what = "is never asked: a line above ends it, or jumps over it";
            self.say(Level::Error, Kind::Auth, &ours.place, what, "put this line above that one");
            return self.past(auth, account, &refused);
        }
        if !accepted.iter().any(|end| end.asked && end.yes) {
            let what = "nobody who is asked gets in, not even with an OTP that the module accepts";
            let change = "look at the lines that say no whatever happens";
            self.say(Level::Error, Kind::Auth, &ours.place, what, change);
        }
        if nobody.iter().any(|end| end.yes) {
            let what = "lets in everybody: neither an OTP nor anything else is needed for a yes";
            let change = "write required in the lines that ask, this one among them";
            self.say(Level::Error, Kind::Auth, &ours.place, what, change);
        }
        self.past(auth, account, &refused);
        if refused.iter().any(|end| end.yes && end.asked) {
            let control = &ours.control_text;
            let what =
                format!("its no does not count ({control}): who passes the other lines needs no YubiKey");
            self.say(Level::Warning, Kind::Auth, &ours.place, what, "write required");
        } else {
            self.faults_that_do_not_count(auth, ours);
        }
        if alone.iter().any(|end| end.yes && end.asked) {
            let others = auth.iter().any(asks);
            let level = if others { Level::Warning } else { Level::Note };
            let change =
                if others { "write required, here and in the line that asks for the password" } else { "" };
            let what = if others {
                "the OTP alone lets in, whatever the other lines ask for"
            } else {
                "the OTP alone lets in: no other line asks for anything"
            };
            self.say(level, Kind::Auth, &ours.place, what, change);
        }
        for (at, entry) in auth.iter().enumerate().filter(|(_, entry)| entry.is_ours()) {
            self.first_pass(entry, auth.iter().take(at).any(|before| asks(before) || before.is_ours()));
        }
    }

    /// Ways around the module.
    fn past(&mut self, auth: &[Entry], account: &[Entry], refused: &HashSet<End>) {
        let guard = account.iter().find(|entry| entry.is_ours()).filter(|_| {
            walk(account, Answer::AUTH_ERR, Others::Any).is_some_and(|ends| ends.iter().all(|end| !end.yes))
        });
        let mut culprits: Vec<_> =
            refused.iter().filter(|end| end.yes && !end.asked).filter_map(|end| end.past).collect();
        culprits.sort_unstable();
        for culprit in culprits.into_iter().filter_map(|at| auth.get(at)) {
            let (name, control) = (culprit.module(), &culprit.control_text);
            let by = format!("{control} {name} leads past pam_yubiotp");
            if let Some(guard) = guard {
                let what = format!("{by}, and whoever comes that way is refused by {}", guard.place);
                let change = "write required here (for include: substack), or take the account line out";
                self.say(Level::Warning, Kind::Auth, &culprit.place, what, change);
            } else if character(culprit) == Character::Gate {
                let what = format!("{by}: who it means is not asked for a YubiKey");
                self.say(Level::Note, Kind::Auth, &culprit.place, what, "");
            } else {
                let what = format!("{by}: whoever it says yes to gets in without a YubiKey");
                let change = "write required in place of it, or put the line of pam_yubiotp above it; if it is included, substack in place of include";
                self.say(Level::Warning, Kind::Auth, &culprit.place, what, change);
            }
        }
    }

    /// Answers of the module that are no yes and are passed over, where its no counts.
    fn faults_that_do_not_count(&mut self, auth: &[Entry], ours: &Entry) {
        let passed_over = |answer| {
            walk(auth, answer, Others::Any).is_some_and(|ends| ends.iter().any(|end| end.yes && end.asked))
        };
        let faults = [
            Answer::AUTHINFO_UNAVAIL,
            Answer::SERVICE_ERR,
            Answer::CONV_ERR,
            Answer::MAXTRIES,
            Answer::ABORT,
            Answer::MODULE_UNKNOWN,
        ];
        let names: Vec<_> =
            faults.into_iter().filter(|answer| passed_over(*answer)).map(Answer::name).collect();
        let control = &ours.control_text;
        if !names.is_empty() {
            let what = format!(
                "[{control}] passes over {} of the module: who brings that about needs no YubiKey",
                names.join(", ")
            );
            self.say(Level::Warning, Kind::Auth, &ours.place, what, "write required");
        }
        if passed_over(Answer::USER_UNKNOWN) {
            let what = format!(
                "[{control}] passes over user_unknown: users whom the mapping does not list need no YubiKey"
            );
            self.say(Level::Note, Kind::Auth, &ours.place, what, "");
        }
    }

    fn first_pass(&mut self, entry: &Entry, asked_before: bool) {
        let Some(options) = options(entry) else { return };
        if options.nullok {
            let what = "nullok: users whom the mapping does not list pass this line without a token";
            self.say(Level::Note, Kind::Auth, &entry.place, what, "");
        }
        match options.first_pass {
            FirstPass::Use if !asked_before => {
                let what = "use_first_pass, and no line above asks for anything: everybody is refused";
                self.say(Level::Error, Kind::Auth, &entry.place, what, "take use_first_pass out");
            }
            FirstPass::Try if !asked_before => {
                let what = "try_first_pass, and no line above asks for anything";
                self.say(Level::Note, Kind::Auth, &entry.place, what, "take try_first_pass out");
            }
            _ => {}
        }
    }

    fn account(&mut self, auth: &[Entry], account: &[Entry]) {
        let [asking, guard] = [auth, account].map(|stack| stack.iter().find(|entry| entry.is_ours()));
        let nullok = |entry: &Entry| options(entry).is_some_and(|options| options.nullok);
        match (asking, guard) {
            (None, Some(guard)) => {
                let nullok = nullok(guard);
                let who = if nullok { "everybody whom the mapping lists" } else { "everybody" };
                let what = format!("an account line, and no auth line of this module: {who} is refused");
                let change = "add the auth line, or take this one out";
                self.say(Level::Error, Kind::Account, &guard.place, what, change);
            }
            (Some(asking), Some(guard)) if nullok(asking) && !nullok(guard) => {
                let what = format!("whom nullok excuses in {} is refused here", asking.place);
                self.say(Level::Warning, Kind::Account, &guard.place, what, "write nullok here, too");
            }
            (Some(asking), None) if self.service.name == "sshd" => {
                let what = "no account line of this module: who comes by an ssh key that sshd takes for enough is not asked";
                let change = "if that is not meant: account required pam_yubiotp.so";
                self.say(Level::Note, Kind::Account, &asking.place, what, change);
            }
            _ => {}
        }
    }
}

fn asks(entry: &Entry) -> bool {
    matches!(&entry.what, What::Module { .. }) && character(entry) == Character::Asks
}

fn options(entry: &Entry) -> Option<Options> {
    let What::Module { args, .. } = &entry.what else { return None };
    Options::read(&args.iter().map(|arg| arg.as_c_str()).collect::<Vec<_>>()).ok()
}

/// What the other modules do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    /// Whatever they may.
    Any,
    /// What asks for something is told something wrong.
    AskInVain,
    /// Everything says no that can.
    Refuse,
}

fn walk(stack: &[Entry], ours: Answer, others: Others) -> Option<HashSet<End>> {
    let any = [Answer::SUCCESS, Answer::AUTH_ERR, Answer::USER_UNKNOWN, Answer::IGNORE];
    let answers = |entry: &Entry| {
        let possible = match (character(entry), others) {
            _ if matches!(entry.what, What::MustFail(_)) => vec![Answer::PERM_DENIED],
            (Character::Ours, _) => vec![ours],
            (Character::Permit, _) => vec![Answer::SUCCESS],
            (Character::Deny, _) | (Character::Gate | Character::Asks, Others::Refuse) => {
                vec![Answer::AUTH_ERR]
            }
            (Character::Asks, Others::AskInVain) => vec![Answer::AUTH_ERR],
            (Character::Gate | Character::Asks, _) => any.to_vec(),
        };
        distinct(&entry.control, possible)
    };
    stack::ends(stack, answers, Entry::is_ours)
}

/// Without answers about which the same is done.
fn distinct(control: &Control, answers: Vec<Answer>) -> Vec<Answer> {
    let mut seen: Vec<(Action, bool)> = Vec::new();
    let new = |answer: &Answer| {
        let done = (control.action(*answer), *answer == Answer::SUCCESS);
        let new = !seen.contains(&done);
        seen.push(done);
        new
    };
    answers.into_iter().filter(new).collect()
}
