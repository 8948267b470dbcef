//! One service, judged: who gets in past the YubiKey, and who does not get in at all.

use super::super::report::Level;
use super::control::{Action, Answer, Control};
use super::service::{Broken, Entry, Kind, Service, What, names_us};
use super::stack::{self, End};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use ykmap::options::{FirstPass, Options, nearest};
use yubiotp::shown;

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

/// Gates that are put there to leave some people out, by name or by group. What another gate leaves out is seldom meant.
const DELIBERATE: [&str; 5] = ["pam_access", "pam_listfile", "pam_rootok", "pam_succeed_if", "pam_wheel"];

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

/// Remarks about stacks (kind, place, what, change, level), and for which services each holds.
pub(super) type Remarks = BTreeMap<(&'static str, String, String, String, Level), Vec<String>>;

/// One service, judged.
pub(super) struct Judge<'a> {
    pub(super) service: &'a Service,
    /// Whoever comes by ssh has shown a key.
    pub(super) key_first: bool,
    /// A line that libpam does not understand keeps everybody out.
    pub(super) hopeless: bool,
    pub(super) remarks: &'a mut Remarks,
}

impl Judge<'_> {
    fn say(&mut self, level: Level, kind: Kind, place: impl ToString, what: impl Into<String>, change: &str) {
        let key = (kind.name(), place.to_string(), what.into(), change.to_owned(), level);
        let services = self.remarks.entry(key).or_default();
        if !services.contains(&self.service.name) {
            services.push(self.service.name.clone());
        }
    }

    fn stack(&self, kind: Kind) -> Vec<Entry> {
        self.service.entries.iter().filter(|entry| entry.kind == kind).cloned().collect()
    }

    pub(super) fn all(&mut self) {
        if let Some(Broken { place, what, change }) = &self.service.broken {
            // What an application has no file for comes from `other`, and libpam reads it each time.
            let all = if self.service.name == "other" { ", and with it every other one" } else { "" };
            return self.say(Level::Error, Kind::Auth, place, format!("{what}{all}"), change);
        }
        let (auth, account) = (self.stack(Kind::Auth), self.stack(Kind::Account));
        if auth.iter().any(Entry::is_ours) {
            self.auth(&auth, &account);
            self.twice(&auth);
        }
        self.account(&auth, &account);
        for entry in &self.service.entries {
            self.misread(entry);
            if entry.is_ours() && matches!(entry.kind, Kind::Session | Kind::Password) {
                let what = "the module does nothing in such a line";
                self.say(Level::Note, entry.kind, &entry.place, what, "take it out");
            }
        }
    }

    /// A line of the service's own below a profile that has it already.
    fn twice(&mut self, auth: &[Entry]) {
        let asks = |entry: &&Entry| {
            let asks_anew = options(entry).is_none_or(|options| options.first_pass == FirstPass::Never);
            entry.is_ours() && asks_anew && matches!(entry.control().as_str(), "required" | "requisite")
        };
        let other = auth.iter().find(|entry| entry.module() == "pam_yubico");
        if let (Some(other), true) = (other, auth.iter().any(|entry| asks(&entry))) {
            let what = "pam_yubico asks for a YubiKey, too: that takes two touches, and each module accepts OTPs that the other has accepted";
            self.say(
                Level::Note,
                Kind::Auth,
                &other.place,
                what,
                "take one of the two lines out (pam-auth-update --disable yubico)",
            );
        }
        let mut lines = auth.iter().filter(asks);
        if let (Some(first), Some(second)) = (lines.next(), lines.next()) {
            let what = format!("asks again, after {}: that takes a second press", first.place);
            self.say(Level::Warning, Kind::Auth, &second.place, what, "take one of the two lines out");
        }
    }

    /// Lines that libpam does not understand, wherever they stand in a service that asks for a YubiKey, or was to.
    fn misread(&mut self, entry: &Entry) {
        let hopeless = self.hopeless && entry.kind == Kind::Auth;
        match (&entry.what, entry.control.misread) {
            (What::MustFail(why), _) => {
                let who = if hopeless { "who is asked gets in" } else { "gets in who comes to it" };
                let what = format!("{why}: libpam takes it for a no, and nobody {who}");
                self.say(Level::Error, entry.kind, &entry.place, what, &entry.mend());
            }
            (What::Module { path, .. }, _) if entry.suspect && !entry.is_ours() => {
                self.other_module(entry, path);
            }
            (What::Module { .. }, Some(why)) => {
                let control = &entry.control_text;
                let end = if hopeless { ": nobody who is asked gets in" } else { "" };
                let what = format!(
                    "libpam does not understand {} ({why}), and takes every answer for a no{end}",
                    shown::quoted(control)
                );
                let words = ["required", "requisite", "sufficient", "optional", "include", "substack"];
                let change = nearest(control, words).map_or_else(
                    || format!("write {} or [answer=action …]", words.join(", ")),
                    |word| format!("write {word}"),
                );
                self.say(Level::Error, entry.kind, &entry.place, what, &change);
            }
            _ => {}
        }
    }

    /// A line that names the module, more or less, and loads something else.
    fn other_module(&mut self, entry: &Entry, path: &str) {
        let (kind, place) = (entry.kind, &entry.place);
        if names_us(path) && path.starts_with('/') && Path::new(path).exists() {
            let what = format!("loads {path}, which is not named pam_yubiotp.so, and is not looked at");
            return self.say(Level::Note, kind, place, what, "");
        }
        let (what, change) = if names_us(path) {
            let what = format!("loads {path}, and the name of the module is pam_yubiotp.so");
            (what, "write pam_yubiotp.so: until then libpam takes the line for a no".to_owned())
        } else if names_us(&entry.control_text) {
            let what =
                format!("has no control field before pam_yubiotp, and loads {} instead", shown::quoted(path));
            (what, format!("write {} required {} …", kind.name(), entry.control_text))
        } else {
            let what =
                format!("names pam_yubiotp, and loads {} instead: one word too many", shown::quoted(path));
            (what, format!("take {} out", shown::quoted(path)))
        };
        self.say(Level::Error, kind, place, what, &change);
    }

    fn auth(&mut self, auth: &[Entry], account: &[Entry]) {
        let Some(ours) = auth.iter().find(|entry| entry.is_ours()) else { return };
        let (Some(accepted), Some(refused), Some(nobody), Some(alone), Some(excused)) = (
            walk(auth, Answer::SUCCESS, Others::Any),
            walk(auth, Answer::AUTH_ERR, Others::Any),
            walk(auth, Answer::AUTH_ERR, Others::Refuse),
            walk(auth, Answer::SUCCESS, Others::AskInVain),
            walk(auth, Answer::IGNORE, Others::AskNothing),
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
            match onto_deny(auth) {
                Some((jump, target)) => {
                    let line = |entry: &Entry| {
                        let place = &entry.place;
                        if place.file == jump.place.file {
                            format!("line {}", place.line)
                        } else {
                            place.to_string()
                        }
                    };
                    let what = format!(
                        "{what}: {} {} jumps over pam_yubiotp ({}) onto {} ({})",
                        jump.control(),
                        jump.module(),
                        line(ours),
                        target.module(),
                        line(target)
                    );
                    self.say(Level::Error, Kind::Auth, &jump.place, what, BELOW_THE_JUMP);
                }
                // Told of the line itself.
                None if auth.iter().any(Entry::is_misread) => self.hopeless = true,
                None => {
                    let change = "look at the lines that say no whatever happens";
                    self.say(Level::Error, Kind::Auth, &ours.place, what, change);
                }
            }
        }
        if nobody.iter().any(|end| end.yes) {
            let what = "lets in everybody: neither an OTP nor anything else is needed for a yes";
            let change = "write required in the lines that ask, this one among them";
            self.say(Level::Error, Kind::Auth, &ours.place, what, change);
        }
        let nullok = auth.iter().find(|entry| entry.is_ours() && has_nullok(entry));
        if let Some(nullok) = nullok.filter(|_| excused.iter().any(|end| end.yes && end.asked)) {
            let what =
                "nullok, and no other line asks: users whom the mapping does not list get in with nothing";
            let change = "take nullok out, or ask for a password as well";
            self.say(Level::Error, Kind::Auth, &nullok.place, what, change);
        }
        self.past(auth, account, &refused);
        if refused.iter().any(|end| end.yes && end.asked) {
            let control = ours.control();
            let what =
                format!("its no does not count ({control}): who passes the other lines needs no YubiKey");
            self.say(Level::Warning, Kind::Auth, &ours.place, what, "write required");
        } else {
            self.faults_that_do_not_count(auth, ours);
        }
        let others = auth.iter().any(asks);
        let ssh = self.service.name == "sshd";
        if alone.iter().any(|end| end.yes && end.asked) && !(ssh && self.key_first && !others) {
            let level = if others { Level::Warning } else { Level::Note };
            let change = match others {
                true => "write required, here and in the line that asks for the password",
                false if ssh => {
                    "if a key is to be needed, too: AuthenticationMethods publickey,keyboard-interactive in sshd_config"
                }
                false => "",
            };
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
        let keeps_out =
            |answer| walk(account, answer, Others::Any).is_some_and(|ends| ends.iter().all(|end| !end.yes));
        let guard = account
            .iter()
            .find(|entry| entry.is_ours())
            .filter(|guard| keeps_out(Answer::AUTH_ERR) && (!has_nullok(guard) || keeps_out(Answer::IGNORE)));
        let unasked = walk(auth, Answer::AUTH_ERR, Others::AskNothing).unwrap_or_default();
        let mut culprits: Vec<_> =
            refused.iter().filter(|end| end.yes && !end.asked).filter_map(|end| end.past).collect();
        culprits.sort_unstable();
        for (at, culprit) in culprits.into_iter().filter_map(|at| Some((at, auth.get(at)?))) {
            let (name, control) = (culprit.module(), culprit.control());
            let by = format!("{control} {name} leads past pam_yubiotp");
            if let Some(guard) = guard {
                let what = format!("{by}, and whoever comes that way is refused by {}", guard.place);
                let change = if culprit.control.jumps() {
                    BELOW_THE_JUMP
                } else {
                    "write required here (for include: substack)"
                };
                self.say(Level::Warning, Kind::Auth, &culprit.place, what, change);
            } else if unasked.iter().any(|end| end.yes && end.past == Some(at)) {
                let what = format!("{by}: who it says yes to gets in, and is asked for nothing at all");
                let change = "take it out, or put the lines that ask above it";
                self.say(Level::Error, Kind::Auth, &culprit.place, what, change);
            } else if is_deliberate(culprit) {
                let what = format!("{by}: who it means is not asked for a YubiKey");
                self.say(Level::Note, Kind::Auth, &culprit.place, what, "");
            } else {
                let by_a_yes =
                    matches!(culprit.control.action(Answer::SUCCESS), Action::Jump(_) | Action::Done);
                let who = if by_a_yes { "whoever it says yes to" } else { "whoever comes that way" };
                let what = format!("{by}: {who} gets in without a YubiKey");
                let change = if culprit.control.jumps() {
                    BELOW_THE_JUMP
                } else {
                    "write required in place of it, or put the line of pam_yubiotp above it; if it is included, substack in place of include"
                };
                self.say(Level::Warning, Kind::Auth, &culprit.place, what, change);
            }
        }
    }

    /// Ways around the account line, for whom no auth line accepted: sshd asks none after a key that it takes for enough.
    fn around(&mut self, account: &[Entry], guard: &Entry) {
        let Some(ends) = walk(account, Answer::AUTH_ERR, Others::Any) else { return };
        let who = "who comes without an OTP (by an ssh key that sshd takes for enough)";
        let mut culprits: Vec<_> =
            ends.iter().filter(|end| end.yes && !end.asked).map(|end| end.past).collect();
        culprits.sort_unstable();
        culprits.dedup();
        for culprit in culprits.into_iter().flatten().filter_map(|at| account.get(at)) {
            let (control, name) = (culprit.control(), culprit.module());
            let what =
                format!("{control} {name} leads past the account line of pam_yubiotp, and lets in {who}");
            let change = "put the account line of pam_yubiotp above it";
            self.say(Level::Warning, Kind::Account, &culprit.place, what, change);
        }
        if ends.iter().any(|end| end.yes && end.asked) {
            let what = format!("its no does not count ({}): it lets in {who}", guard.control());
            self.say(Level::Warning, Kind::Account, &guard.place, what, "write required");
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
        let control = ours.control();
        if !names.is_empty() {
            let what = format!(
                "{control} passes over {} of the module: who brings that about needs no YubiKey",
                names.join(", ")
            );
            self.say(Level::Warning, Kind::Auth, &ours.place, what, "write required");
        }
        if passed_over(Answer::USER_UNKNOWN) {
            let what = format!(
                "{control} passes over user_unknown: users whom the mapping does not list need no YubiKey"
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
        if let (Some(_), Some(guard)) = (asking, guard) {
            self.around(account, guard);
        }
        let nullok = has_nullok;
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

fn has_nullok(entry: &Entry) -> bool {
    options(entry).is_some_and(|options| options.nullok)
}

/// Whether a line leaves somebody out on purpose.
fn is_deliberate(entry: &Entry) -> bool {
    let What::Module { args, .. } = &entry.what else { return false };
    DELIBERATE.contains(&entry.module()) && !args.iter().any(|arg| arg.as_c_str() == c"onerr=succeed")
}

/// What to do where a jump leads past the module: `required` in place of the jump would keep everybody out, for what it
/// jumps over says no.
const BELOW_THE_JUMP: &str = "put the line of pam_yubiotp below the one that it jumps to (in Debian's common-auth: below pam_permit, or in the service's own file below the @include)";

/// The line that jumps over the module onto one that always says no, and that one: the module's line was put between a
/// jump and what it counted.
fn onto_deny(auth: &[Entry]) -> Option<(&Entry, &Entry)> {
    let ours = auth.iter().position(Entry::is_ours)?;
    auth.iter().take(ours).enumerate().find_map(|(at, jump)| {
        let Action::Jump(count) = jump.control.action(Answer::SUCCESS) else { return None };
        let target = at.saturating_add(1).saturating_add(usize::try_from(count).ok()?);
        let level = |entry: &Entry| entry.level == jump.level;
        let plain = target > ours && auth.get(at..=target)?.iter().all(level);
        let target = auth.get(target).filter(|target| plain && character(target) == Character::Deny)?;
        Some((jump, target))
    })
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
    /// The same, and who is meant to be left out is not the one who comes.
    AskNothing,
    /// Everything says no that can.
    Refuse,
}

fn walk(stack: &[Entry], ours: Answer, others: Others) -> Option<HashSet<End>> {
    let answers = |entry: &Entry| {
        let possible = match (character(entry), others) {
            _ if matches!(entry.what, What::MustFail(_)) => vec![Answer::PERM_DENIED],
            (Character::Ours, _) => vec![ours],
            (Character::Permit, _) => vec![Answer::SUCCESS],
            (Character::Deny, _) | (Character::Gate | Character::Asks, Others::Refuse) => {
                vec![Answer::AUTH_ERR]
            }
            (Character::Asks, Others::AskInVain | Others::AskNothing) => vec![Answer::AUTH_ERR],
            (Character::Gate, Others::AskNothing) if is_deliberate(entry) => vec![Answer::AUTH_ERR],
            (Character::Gate | Character::Asks, _) => Answer::all().collect(),
        };
        distinct(&entry.control, possible)
    };
    stack::ends(stack, answers, Entry::is_ours)
}

/// One of each sort: of answers about which libpam does the same, only a yes, a no and none are told apart by what
/// follows, so that fewer ways have to be walked.
fn distinct(control: &Control, answers: Vec<Answer>) -> Vec<Answer> {
    let sort = |answer: Answer| (control.action(answer), answer == Answer::SUCCESS, answer == Answer::IGNORE);
    let mut kept: Vec<Answer> = Vec::new();
    for answer in answers {
        if kept.iter().all(|other| sort(*other) != sort(answer)) {
            kept.push(answer);
        }
    }
    kept
}
