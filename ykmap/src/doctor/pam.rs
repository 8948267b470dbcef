//! pam.d: which services ask for a YubiKey, whether it counts, and what their lines say to the module.

mod access;
mod account;
mod advice;
mod analysis;
mod arguments;
pub(crate) mod both;
mod control;
mod dispatch;
mod enroll;
mod findings;
pub(crate) mod first_factor;
mod lines;
mod policy;
pub(crate) mod role;
pub(crate) mod service;
mod walk;
pub(crate) mod words;

use super::report::{Check, Report, at, shortened};
use crate::explain::Enroll;
pub(super) use access::{Access, Class, Methods, Row, in_words};
pub(crate) use access::{Front, Step};
use analysis::{Findings, StackAnalysis};
pub(crate) use arguments::{ServiceLine, auth_lines, auth_modules, has_service};
pub(super) use policy::PolicyClasses;
use role::CALLED_BY_ROOT;
pub(crate) use role::Factors;
pub(super) use role::Fails;
pub(crate) use role::asks;
use service::Entry;
pub(crate) use service::{Folders, Kind, Place, What};
use std::collections::HashSet;
use std::ffi::CStr;
use std::path::PathBuf;
use std::rc::Rc;
pub(super) use walk::Listing;
pub(crate) use words::Words;
use ykhost::file::{self, Audience};
use ykhost::options::{Options, nearest};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::policy::OnExempt;
use yubiotp::shown;

/// Where libpam looks for service files: the host's own, and those of its distribution.
const FOLDERS: [&str; 4] = ["/etc/pam.d", "/usr/lib/pam.d", "/usr/share/pam.d", "/usr/etc/pam.d"];

pub(crate) fn usual_folders() -> Vec<PathBuf> {
    FOLDERS.iter().map(PathBuf::from).collect()
}

/// Services that are meant by one word, and read two files.
const PAIRS: [(&str, &str); 4] = [("sudo", "sudo-i"), ("sudo-i", "sudo"), ("su", "su-l"), ("su-l", "su")];

/// A line that loads the module.
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) is_auth: bool,
    /// Its module, as the line names it.
    pub(super) module: String,
    /// Its arguments, and those of them that make up the settings, for telling lines apart; `None` if it cannot be told
    /// which settings are meant.
    pub(super) settings: Option<(Options, Vec<String>)>,
}

impl Line {
    fn without_settings(entry: &Entry) -> Self {
        Self { place: entry.place.clone(), is_auth: false, module: path_of(entry), settings: None }
    }
}

/// A service that asks for a YubiKey, and who can get in by it with what.
pub(super) struct Looked {
    pub(super) name: String,
    pub(super) access: Access,
    /// For whom something is asked before, and the classes of users.
    pub(super) fronts: Vec<(Front, Vec<Row>)>,
    /// The same, without the logins that end in a fault.
    pub(super) really: Vec<(Front, Vec<Row>)>,
    /// The lines that load the module.
    ours: Vec<String>,
}

impl Looked {
    /// Whether its users come by this auth line.
    pub(super) fn asks_by(&self, line: &str) -> bool {
        self.ours.iter().any(|own| own == line) && !self.access.runs_no_auth()
    }

    /// The gate that exempts users from this line, whom the account lines then refuse: a token is of no use to them.
    pub(super) fn exempt_and_refused(&self, line: &str) -> Option<String> {
        let rows =
            || self.fronts.iter().flat_map(|(_, rows)| rows).filter(|row| row.listing == Listing::Token);
        let is_open = |row: &&Row| !row.ways.is_empty();
        let is_out = |row: &&Row| row.gates.contains(&true) && row.ways.is_empty();
        if !self.asks_by(line) || !rows().any(|row| is_open(&row)) {
            return None;
        }
        let out = rows().find(is_out)?;
        if rows().any(|row| row.gates == out.gates && is_open(&row)) {
            return None;
        }
        let told = self.access.questions.iter().zip(&out.gates).filter(|(_, is_so)| **is_so);
        let told: Vec<_> = told.map(|(text, _)| text.as_str()).collect();
        // A user whom the administrator named is asked about as an ordinary user.
        (!told.contains(&CALLED_BY_ROOT)).then(|| told.join(", "))
    }

    /// Takes into account whom the policy exempts and excuses.
    pub(super) fn obey(&mut self, policy: PolicyClasses) {
        self.access.policy = policy;
        for (front, rows) in self.fronts.iter_mut().chain(&mut self.really) {
            if let Some(now) = self.access.rows(front) {
                *rows = now;
            }
        }
    }

    /// Whether some of these users get in with nothing to show: no password, no ssh key, no token.
    pub(super) fn lets_in_with_nothing(&self, listing: Listing) -> bool {
        let rows = self.plain_rows().filter(|row| row.listing == listing);
        let mut ways = rows.flat_map(|row| &row.ways);
        !self.access.runs_no_auth() && ways.any(|way| *way == Factors::NONE)
    }

    /// Whether users with a token get in, and these do not, whatever they have, unless they enroll. Excused users are no
    /// accounts of their own kind: for them, it is by what sshd asks everybody for whom it has no `Match`.
    pub(super) fn keeps_out(&self, listing: Listing) -> bool {
        let fronts = || {
            self.fronts.iter().filter(|(front, _)| listing != Listing::Excused || front.condition.is_none())
        };
        let of = |listing: Listing| {
            let rows = fronts().flat_map(|(_, rows)| rows);
            rows.filter(move |row| row.listing == listing && !row.gates.contains(&true))
        };
        let is_open =
            |listing| of(listing).flat_map(|row| &row.ways).any(|way| !way.has(Factors::ENROLLMENT));
        is_open(Listing::Token) && of(listing).next().is_some() && !is_open(listing)
    }

    /// Whether these users would get in with `on_exempt = "success"`, and nobody with nothing to show.
    pub(super) fn success_lets_in(&self, listing: Listing) -> bool {
        let mut access = self.access.edited(|_, _| ());
        access.policy = PolicyClasses { on_exempt: OnExempt::Success, ..self.access.policy.clone() };
        let rows: Vec<_> = self.fronts.iter().filter_map(|(front, _)| access.rows(front)).flatten().collect();
        let past = |row: &&Row| matches!(row.listing, Listing::Exempt | Listing::Excused);
        let is_free = rows.iter().filter(past).flat_map(|row| &row.ways).any(|way| *way == Factors::NONE);
        let by_more = |way: &Factors| !way.has(Factors::ENROLLMENT);
        let mut own = rows.iter().filter(|row| row.listing == listing && !row.gates.contains(&true));
        !is_free && own.any(|row| row.ways.iter().any(by_more))
    }

    /// The classes of users whom no gate exempts.
    fn plain_rows(&self) -> impl Iterator<Item = &Row> {
        self.fronts.iter().flat_map(|(_, rows)| rows).filter(|row| !row.gates.contains(&true))
    }

    /// Takes into account by which lines logins end in a fault, and whose.
    pub(super) fn fail(&mut self, at: &dyn Fn(&str) -> Option<Fails>) {
        self.access.fail(at);
        let rows = |(front, before): &(Front, Vec<Row>)| {
            (front.clone(), self.access.rows(front).unwrap_or_else(|| before.clone()))
        };
        self.really = self.fronts.iter().map(rows).collect();
    }

    /// Whether nobody gets in, however good their token is.
    pub(super) fn is_closed(&self) -> bool {
        let mut rows = self.really.iter().flat_map(|(_, rows)| rows);
        rows.all(|row| row.listing != Listing::Token || row.ways.is_empty())
    }

    /// Whether one of its lines that load the module is at this place.
    pub(super) fn has(&self, place: &str) -> bool {
        self.ours.iter().any(|own| own == place)
    }

    /// Whether these users, whom no gate exempts, do not get in by this service, which asks by this line.
    pub(super) fn refuses(&self, line: &str, listing: Listing) -> bool {
        let of_everybody = self.fronts.iter().filter(|(front, _)| front.condition.is_none());
        let plain = |row: &&Row| row.listing == listing && !row.gates.contains(&true);
        let mut rows = of_everybody.flat_map(|(_, rows)| rows).filter(plain).peekable();
        self.asks_by(line) && rows.peek().is_some() && rows.all(|row| row.ways.is_empty())
    }

    /// Whether a login that this line asks offers enrollment to users who need a token and have none.
    pub(super) fn offers_enrollment(&self, line: &str) -> Enroll {
        if !self.asks_by(line) {
            return Enroll::Never;
        }
        let lists =
            self.fronts.iter().filter(|(front, _)| front.use_pam).flat_map(|(front, _)| &front.methods);
        let prompts = lists.filter(|list| list.steps.contains(&Step::Prompts));
        Enroll::of(&prompts.map(|list| self.access.offers_enrollment_after(list)).collect::<Vec<_>>())
    }

    /// Whether users who are not listed can enroll a token at a login that this line asks.
    pub(super) fn enrolls_unlisted(&self, line: &str) -> bool {
        let by_enrolling = |row: &Row| row.ways.iter().any(|way| way.has(Factors::ENROLLMENT));
        self.asks_by(line) && self.fronts.iter().flat_map(|(_, rows)| rows).any(by_enrolling)
    }

    /// The ways in for users who are not listed, if this service has this line and lets some of them in.
    pub(super) fn ways_of_unlisted(&self, line: &str) -> Option<String> {
        if !self.asks_by(line) {
            return None;
        }
        let rows = self.fronts.iter().flat_map(|(front, rows)| {
            let unlisted = rows.iter().filter(|row| row.listing == Listing::NotListed);
            let classes = self.access.classes(&unlisted.cloned().collect::<Vec<_>>());
            let whom = front.condition.as_ref().map(|it| format!("Match {}, ", shown::text(it)));
            let whom = whom.unwrap_or_default();
            let open = classes.into_iter().filter(|class| !class.ways.is_empty());
            open.map(move |class| format!("{whom}{}: {}", class.in_words(), in_words(&class.ways)))
        });
        let rows = rows.collect::<Vec<_>>().join("; ");
        (!rows.is_empty()).then(|| format!("{} ({rows})", self.name))
    }
}

/// Looks at all services. `sshd` is what sshd asks for before its lines. Gives the lines that load the module, and the
/// services that do.
pub(super) fn look(report: &mut Report, folders: &[PathBuf], sshd: &[Front]) -> (Vec<Line>, Vec<Looked>) {
    look_in(report, &Folders::of(folders), sshd)
}

fn look_in(report: &mut Report, folders: &Folders, sshd: &[Front]) -> (Vec<Line>, Vec<Looked>) {
    let all: Vec<_> = folders.names().iter().map(|name| folders.service(name)).collect();
    let (mut lines, mut found, mut looked) = (Vec::new(), Findings::default(), Vec::<Looked>::new());
    let other = all.iter().find(|service| service.name == "other");
    let (plain, no_auth) = ([Front::plain()], [Front::without_auth()]);
    let mut files = HashSet::new();
    let mut unread = false;
    for service in all.iter().filter(|service| service.concerns_us()) {
        for fault in &service.unread {
            unread |= report.is_unread(fault);
        }
        files.extend(service.files.iter().cloned());
        for entry in service.entries.iter().filter(|entry| entry.is_ours()) {
            arguments(report, &mut lines, entry);
        }
        // A file that others include, and that no application asks for, need not have all the kinds of lines.
        let has = |kind| service.entries.iter().any(|entry| entry.kind == kind);
        let file = service.files.first();
        let from_here = |entry: &Entry| entry.is_ours() && Some(&entry.place.file) == file;
        let included = all.iter().any(|it| it.name != service.name && it.entries.iter().any(from_here));
        let whole = service.broken.is_none() && service.unread.is_empty();
        if !service.unread.is_empty() || (whole && included && !(has(Kind::Auth) && has(Kind::Account))) {
            continue;
        }
        let access = Access::new(service, other);
        let fronts = match service.name.as_str() {
            "sshd" => sshd,
            _ if access.runs_no_auth() => &no_auth,
            _ => &plain,
        };
        let rows = |front: &Front| Some((front.clone(), access.rows(front)?));
        let fronts: Vec<_> = fronts.iter().filter_map(rows).collect();
        let findings = &mut found;
        StackAnalysis {
            service,
            services: &all,
            access: &access,
            fronts: &fronts,
            always_fails: false,
            nullok_is_idle: false,
            findings,
        }
        .all();
        if whole && service.entries.iter().any(Entry::is_ours) {
            let ours = service.entries.iter().filter(|entry| entry.is_ours());
            let ours = ours.map(|entry| entry.place.to_string()).collect();
            let really = fronts.clone();
            looked.push(Looked { name: service.name.clone(), access, fronts, really, ours });
        }
    }
    found.report(report);
    let asking = looked.iter().filter(|service| !service.access.runs_no_auth());
    let names: Vec<_> = asking.map(|service| service.name.clone()).collect();
    let mut files: Vec<Rc<_>> = files.into_iter().collect();
    files.sort_unstable();
    for file in files {
        let text = file::read_untrusted(&file, service::LONGEST).unwrap_or_default();
        if let Some(line) = words::cut_off(&text) {
            let what = "is longer than 1,022 bytes: libpam before 1.6 reads the rest as a line of its own";
            let place = Place { file: file.clone(), line };
            let found = Diagnostic::error(Code::PamLineTooLong, what).at(place.location());
            report.add(Check::Pam, found.advise("move arguments of the line to config.toml"));
        }
        for fault in file::faults(&file, Audience::Everyone) {
            report.file_fault(Check::Files, fault, "restore the service file");
        }
    }
    for (one, other) in PAIRS {
        let asks = |name: &str| names.iter().any(|own| own == name);
        let file = all.iter().find(|service| service.name == other).and_then(|service| service.files.first());
        if let (true, false, Some(file)) = (asks(one), asks(other), file) {
            let what = format!("does not ask for a YubiKey, and {one} does");
            let found = Diagnostic::note(Code::SiblingDoesNotAsk, what).at(at(file));
            let line =
                looked.iter().find(|service| service.name == one).and_then(|service| service.ours.first());
            let from = line.map(|place| format!(" ({place})")).unwrap_or_default();
            let change = format!(
                "unless that is intended, copy the auth line of {one} that loads pam_yubiotp.so{from} to the same place in this file"
            );
            report.add(Check::Pam, found.advise(change));
        }
    }
    if names.is_empty() {
        // Where lines have errors, the errors say what they load.
        if !report.has_errors(Check::Pam) {
            report.add(Check::Pam, nobody_asks(unread));
        }
    } else {
        report.ok(
            Check::Pam,
            None,
            format!("services that ask for a YubiKey: {}", shortened(&names, "service")),
        );
    }
    (lines, looked)
}

fn nobody_asks(unread: bool) -> Diagnostic {
    let note = |what| Diagnostic::note(Code::NoServiceAsks, what);
    if unread {
        note("no service that you can read loads pam_yubiotp.so")
    } else {
        note("no service loads pam_yubiotp.so: no login asks for a YubiKey").run_when(
            "to make one ask",
            yubiotp::diagnostic::Program::Ykmap,
            "enable sudo",
        )
    }
}

/// The arguments of a line, as the module reads them.
fn arguments(report: &mut Report, lines: &mut Vec<Line>, entry: &Entry) {
    let What::Module { args, .. } = &entry.what else { return };
    if lines.iter().any(|line| line.place == entry.place) {
        return;
    }
    let args: Vec<_> = args.iter().map(|arg| arg.as_c_str()).collect();
    let mut args = args;
    let options = match Options::read(&args) {
        Ok(options) => options,
        Err(why) => {
            for found in why.diagnostics().iter().cloned() {
                let what = format!("{}. The module rejects everybody until that is fixed", found.problem());
                let found = Diagnostic { problem: what, ..found }.at(entry.place.location());
                report
                    .add(Check::Pam, if found.remedies.is_empty() { found.advise("fix it") } else { found });
            }
            let Some(rest) = understood(&args) else {
                let what = "the configuration of this line was not checked";
                let found = Diagnostic::note(Code::NotChecked, what).at(entry.place.location());
                report.add(Check::Settings, found.advise("fix the line first (see pam.d)"));
                let line = Line::without_settings(entry);
                return lines.push(line);
            };
            // The files that the other arguments name are checked all the same.
            args = rest;
            Options::read(&args).unwrap_or_default()
        }
    };
    for warning in options.warnings() {
        let what = warning.problem();
        report.add(Check::Pam, Diagnostic { problem: what, ..warning }.at(entry.place.location()));
    }
    let settings = |arg: &&str| {
        let own = ["nullok", "always_prompt", "enroll", "prompt", "echo", "verbose_otp", "tries", "debug"];
        let name = arg.split('=').next().unwrap_or_default();
        !own.contains(&name) && !name.ends_with("_first_pass")
    };
    let mut key: Vec<_> =
        args.iter().filter_map(|arg| arg.to_str().ok()).filter(settings).map(str::to_owned).collect();
    key.sort_unstable();
    let is_auth = entry.kind == Kind::Auth;
    let settings = Some((options, key));
    lines.push(Line { place: entry.place.clone(), is_auth, module: path_of(entry), settings });
}

/// The arguments but for those that are not understood; `None` if one of these may have said where the settings are, or
/// what is in them.
fn understood<'a>(args: &[&'a CStr]) -> Option<Vec<&'a CStr>> {
    let mut rest = Vec::new();
    for arg in args {
        rest.push(*arg);
        if Options::read(&rest).is_err() {
            rest.pop();
            let arg = arg.to_str().ok().filter(|arg| !arg.contains('/'))?;
            let name = arg.split('=').next().unwrap_or_default();
            if nearest(name, ["config", "mapping", "authfile", "mode", "store", "ask"]).is_some() {
                return None;
            }
        }
    }
    Some(rest)
}

/// The module of an entry, as its line names it.
fn path_of(entry: &Entry) -> String {
    match &entry.what {
        What::Module { path, .. } => path.clone(),
        What::MustFail(_) | What::Substack => String::new(),
    }
}
