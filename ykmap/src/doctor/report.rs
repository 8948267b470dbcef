//! What the doctor found, and how it is told.

use super::pam::{Shown, in_words, shortened};
use crate::{Context, Done, Failure, out};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use ykhost::Fault;
use ykhost::file::FileFault;
use yubiotp::shown;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Level {
    /// Looked at, and good.
    Ok,
    /// May be meant so.
    Note,
    /// Works, and may not do what was wanted.
    Warning,
    /// Refuses somebody, or lets in who should not.
    Error,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What is looked at, in the order of a login, after what may be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Room {
    Rights,
    Pam,
    Sshd,
    Module,
    Settings,
    Files,
    Mapping,
    Store,
    Program,
    Servers,
    Clock,
    User,
}

impl Room {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pam => "pam.d",
            Self::Sshd => "sshd",
            Self::Module => "module",
            Self::Settings => "settings",
            Self::Files => "files",
            Self::Mapping => "mapping",
            Self::Store => "store",
            Self::Program => "program",
            Self::Servers => "servers",
            Self::Clock => "clock",
            Self::User => "user",
            Self::Rights => "rights",
        }
    }
}

/// One remark.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Finding {
    level: Level,
    /// A file, `file:line` or a URL; empty if nothing of the kind is to blame.
    place: String,
    what: String,
    /// What to change; empty if nothing need be.
    change: String,
    /// A good one that is told even if others in its room are not.
    stays: bool,
}

/// How many services are named in a command; more are meant by what they have in common.
const MOST_TAGS: usize = 4;

/// How many remarks of one kind are told one by one.
const TOLD: usize = 10;

/// All remarks.
#[derive(Default)]
pub(super) struct Report {
    rooms: BTreeMap<Room, Vec<Finding>>,
    said: HashSet<(String, String)>,
    /// How many of each kind there are.
    kinds: BTreeMap<(Room, Level, &'static str), usize>,
    /// Files that only root can read.
    unread: Vec<String>,
    /// How the command is called for the settings that are looked at, if these are not the usual ones.
    command: Option<String>,
    access: Vec<Table>,
}

/// Who can get in with what, by services that are alike.
struct Table {
    services: Vec<String>,
    /// For whom, of the users of sshd.
    condition: Option<String>,
    /// Classes of users, and their ways in: what they show together.
    rows: Vec<Shown>,
}

/// The verbs that advice may name.
const VERBS: [&str; 9] = ["add", "check", "doctor", "init", "key", "list", "remove", "token", "verify"];

impl Report {
    /// From here on, commands that are advised go on with these settings; `None` for the usual ones.
    pub(super) fn commands_with(&mut self, config: Option<&Path>) {
        let context = |config: &Path| Context { config: Some(config.to_owned()), json: false }.ykmap();
        self.command = config.map(context);
    }

    fn command(&self, text: String) -> String {
        let Some(command) = &self.command else { return text };
        VERBS
            .iter()
            .fold(text, |text, verb| text.replace(&format!("ykmap {verb}"), &format!("{command} {verb}")))
    }

    /// A remark. The same one about the same place is told once, where it was found first.
    pub(super) fn add(
        &mut self,
        room: Room,
        level: Level,
        place: impl ToString,
        what: impl Into<String>,
        change: impl Into<String>,
    ) {
        let [what, change] = [what.into(), change.into()].map(|text| self.command(text));
        let [place, what, change] =
            [place.to_string(), what, change].map(|text| shown::line(&text).to_string());
        if self.said.insert((place.clone(), what.clone())) {
            let found = Finding { level, place, what, change, stays: true };
            self.rooms.entry(room).or_default().push(found);
        }
    }

    /// A remark of a kind that there may be very many of.
    pub(super) fn one_of_many(
        &mut self,
        room: Room,
        kind: &'static str,
        level: Level,
        (place, what, change): (impl ToString, impl Into<String>, impl Into<String>),
    ) {
        let count = self.kinds.entry((room, level, kind)).or_default();
        *count = count.saturating_add(1);
        if *count <= TOLD {
            self.add(room, level, place, what, change);
        }
    }

    /// What was looked at and is good; told if nothing in the room is worse.
    pub(super) fn good(&mut self, room: Room, place: impl ToString, what: impl Into<String>) {
        let [place, what] = [place.to_string(), what.into()].map(|text| shown::line(&text).to_string());
        if self.said.insert((place.clone(), what.clone())) {
            let found = Finding { level: Level::Ok, place, what, change: String::new(), stays: false };
            self.rooms.entry(room).or_default().push(found);
        }
    }

    /// Who can get in with what, by these services.
    pub(super) fn access(&mut self, services: Vec<String>, condition: Option<String>, rows: Vec<Shown>) {
        let plain = |text: String| shown::line(&text).to_string();
        let way = |way: Vec<String>| way.into_iter().map(plain).collect::<Vec<_>>();
        let rows = rows.into_iter().map(|Shown { who, class, condition, ways }| Shown {
            who: plain(who),
            class: plain(class),
            condition: plain(condition),
            ways: ways.into_iter().map(way).collect(),
        });
        let services = services.into_iter().map(plain).collect();
        self.access.push(Table { services, condition: condition.map(plain), rows: rows.collect() });
    }

    fn show_access(&self) {
        if self.access.is_empty() {
            return;
        }
        out::line("who gets in, and with what");
        for Table { services, condition, rows } in &self.access {
            let condition = condition.as_ref().map(|it| format!(" (Match {it})")).unwrap_or_default();
            out::line(&format!("  {}{condition}", shortened(services, "service")));
            let longest = rows.iter().map(|row| row.class.chars().count()).max().unwrap_or_default();
            let mut heading = "";
            for Shown { class, condition, ways, .. } in rows {
                if condition != heading {
                    heading = condition;
                    out::line(&format!("    {condition}:"));
                }
                let indent = if condition.is_empty() { "    " } else { "      " };
                out::line(&format!("{indent}{class:longest$}  {}", in_words(ways)));
            }
        }
    }

    /// A fault, in its own words. `change` is what to do if these do not say.
    pub(super) fn fault(&mut self, room: Room, fault: &Fault, change: &str) {
        if let Some(file) = fault.file()
            && self.is_unread(file)
        {
            return;
        }
        let (place, what, change) = told(fault, change);
        self.add(room, Level::Error, place, what, change);
    }

    /// A fault of a file.
    pub(super) fn file_fault(&mut self, room: Room, fault: FileFault, change: &str) {
        self.fault(room, &Fault::File(fault), change);
    }

    /// Whether a file was only not read because it is root's, and nobody knows whether something is wrong with it.
    pub(super) fn is_unread(&mut self, fault: &FileFault) -> bool {
        let denied = fault.is_denied() && !rustix::process::geteuid().is_root();
        if denied {
            let path = fault.path().display().to_string();
            if !self.unread.contains(&path) {
                self.unread.push(path);
            }
        }
        denied
    }

    /// Whether anything in this room is an error.
    pub(super) fn has_errors(&self, room: Room) -> bool {
        self.rooms.get(&room).into_iter().flatten().any(|it| it.level == Level::Error)
    }

    /// Whether anything in this room is good.
    pub(super) fn has_good(&self, room: Room) -> bool {
        self.rooms.get(&room).into_iter().flatten().any(|it| it.level == Level::Ok)
    }

    /// Tells all of it. The exit status is that of the worst. `services` are those whose log may say more, if somebody wants
    /// to know.
    pub(super) fn tell(mut self, as_json: bool, services: &[String], asked_about: bool) -> Done {
        for ((room, level, _), count) in std::mem::take(&mut self.kinds) {
            if let Some(more) = count.checked_sub(TOLD).filter(|more| *more > 0) {
                self.add(room, level, "", format!("and {more} more like that"), "");
            }
        }
        if let Some(first) = self.unread.first().cloned() {
            let what = match self.unread.len().saturating_sub(1) {
                0 => "you are not root: it was not read".to_owned(),
                more => format!("you are not root: it and {} were not read", out::count(more, "other file")),
            };
            self.add(Room::Rights, Level::Error, first, what, "run it in a root shell");
        }
        for findings in self.rooms.values_mut() {
            if findings.iter().any(|it| it.level > Level::Note) {
                // Of what there are several, the good ones are told, too.
                findings.retain(|it| it.level > Level::Ok || it.stays);
            }
            // The worst first; otherwise as they were found.
            findings.sort_by_key(|it| std::cmp::Reverse(it.level));
        }
        let all = || self.rooms.iter().flat_map(|(room, them)| them.iter().map(move |it| (*room, it)));
        let count = |level| all().filter(|(_, it)| it.level == level).count();
        let (errors, warnings) = (count(Level::Error), count(Level::Warning));
        if as_json {
            let findings: Vec<_> = all()
                .map(|(room, it)| {
                    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
                    json!({
                        "level": it.level.name(),
                        "room": room.name(),
                        "where": given(&it.place),
                        "what": it.what,
                        "change": given(&it.change),
                    })
                })
                .collect();
            let access: Vec<_> = self
                .access
                .iter()
                .map(|Table { services, condition, rows }| {
                    let rows: Vec<_> =
                        rows.iter().map(|row| json!({ "who": row.who, "with": row.ways })).collect();
                    json!({ "services": services, "match": condition, "rows": rows })
                })
                .collect();
            out::json(&json!({
                "errors": errors,
                "warnings": warnings,
                "findings": findings,
                "access": access,
            }));
        } else {
            for (room, findings) in &self.rooms {
                out::line(room.name());
                for it in findings {
                    let parts = [&it.place, &it.what, &it.change];
                    let parts: Vec<_> =
                        parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect();
                    out::line(&format!("  {:8} {}", it.level.name(), parts.join(": ")));
                }
            }
            self.show_access();
            if !services.is_empty() && (errors > 0 || asked_about) {
                let which: String = if services.len() > MOST_TAGS {
                    " SYSLOG_FACILITY=10".to_owned() // authpriv
                } else {
                    services.iter().map(|name| format!(" -t {name}")).collect()
                };
                out::line(&format!(
                    "the log says why each login was refused: journalctl{which} | grep 'pam_yubiotp(' | tail -n 1"
                ));
            }
            out::line(&format!("{}, {}", out::count(errors, "error"), out::count(warnings, "warning")));
        }
        match (errors, warnings) {
            (0, 0) => Ok(()),
            (0, _) => Err(Failure::No),
            _ => Err(Failure::Bad),
        }
    }
}

/// Where a fault is, what it is, and what to change: parts of the one sentence that the log would have.
pub(super) fn told(fault: &Fault, change: &str) -> (String, String, String) {
    // The setting that names a file stands before what is wrong with that.
    let (by, text) = match fault {
        Fault::Setting { setting, fault } => (format!("{setting}: "), fault.to_string()),
        fault => (String::new(), fault.to_string()),
    };
    let path = fault.path().map(Path::display).map(|path| path.to_string());
    let behind = path.as_ref().and_then(|path| text.strip_prefix(path.as_str())?.strip_prefix(": "));
    let (place, rest) = match (&path, behind) {
        (Some(path), Some(rest)) => (path.clone(), rest),
        _ => (String::new(), text.as_str()),
    };
    // Lines are counted as compilers do it.
    let numbered = rest.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
    let (place, rest) = match numbered {
        Some((line, rest)) if line.bytes().all(|digit| digit.is_ascii_digit()) => {
            (format!("{place}:{line}"), rest)
        }
        _ => (place, rest),
    };
    // Of these, what stands behind the last colon says what is wrong.
    let no_advice = matches!(
        fault,
        Fault::Settings { .. }
            | Fault::Mapping { .. }
            | Fault::CannotAsk { .. }
            | Fault::Program { .. }
            | Fault::File(FileFault::System { .. })
            | Fault::Setting { fault: FileFault::System { .. }, .. }
    );
    match rest.rsplit_once(": ").filter(|_| !no_advice) {
        Some((what, advice)) => (place, format!("{by}{what}"), advice.to_owned()),
        None => (place, format!("{by}{rest}"), change.to_owned()),
    }
}
