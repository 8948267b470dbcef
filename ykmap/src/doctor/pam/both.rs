//! Whether a service asks everybody for a first factor and for a token, as the lines in pam.d would be after a change.

use super::control::{Action, Answer};
use super::dispatch::behind_jump;
use super::service::{Entry, Folders, Kind, Overlay, Place};
use super::{Access, CALLED_BY_ROOT, Factors, Front, Listing, Report, Row, look_in};
use crate::doctor::report::Check;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Severity};
use yubiotp::shown;

/// What a service asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// No auth line loads the module.
    Nothing,
    /// A first factor and a token.
    Both(Both),
    /// Something else, and why that is not enough.
    Else(Diagnostic),
}

/// A service that asks for a first factor and for a token.
#[derive(Debug)]
pub(crate) struct Both {
    /// The auth lines that load the module.
    pub(crate) places: Vec<Place>,
    /// What users with a token show, in words.
    pub(crate) ways: String,
    /// The users whom a line of pam.d, or a `Match` of sshd_config, exempts, in words.
    pub(crate) exempt: Vec<String>,
}

impl Folders {
    /// These folders, or the usual ones, after a change.
    pub(crate) fn changed(folders: &[PathBuf], overlay: Overlay) -> Self {
        Self(Self::of(folders).0, overlay)
    }
}

/// What the service asks for. `fronts` are the questions of sshd, for its service; `before` is the same of a change that is
/// planned: whom a line exempts must not get in by less than before.
pub(crate) fn asked(
    folders: &Folders,
    name: &str,
    fronts: &[Front],
    before: Option<(&Folders, &[Front])>,
) -> Asked {
    let service = folders.service(name);
    let refuse = |code, what: String| {
        Asked::Else(Diagnostic::error(code, what).at(Location::Service(name.to_owned())))
    };
    if let Some(broken) = &service.broken {
        let found = Diagnostic::error(Code::ServiceFileBroken, broken.what.clone()).at(broken.place.clone());
        return Asked::Else(found.advise(broken.change));
    }
    let other = folders.has("other").then(|| folders.service("other"));
    let access = Access::new(&service, other.as_ref());
    if access.runs_no_auth() {
        let what = "its program never asks users for anything: no auth line is run";
        return refuse(Code::StackUnsuitable, what.to_owned());
    }
    let ours = || service.entries.iter().filter(|entry| entry.kind == Kind::Auth && entry.is_ours());
    if ours().next().is_none() {
        return Asked::Nothing;
    }
    let plain = [Front::plain()];
    let fronts = if name == "sshd" { fronts } else { &plain };
    let former = before.map(|(folders, fronts)| Former::of(folders, name, fronts));
    let before = access.edited(|auth, account| {
        auth.retain(|entry| !entry.is_ours());
        account.retain(|entry| !entry.is_ours());
    });
    let (mut exempt, mut ways) = (Vec::new(), Vec::new());
    for front in fronts {
        let (Some(rows), Some(was)) = (access.rows(front), before.rows(front)) else {
            return refuse(Code::PamLinesTooComplex, "its lines have too many ways through them".to_owned());
        };
        let whom = front.condition.as_ref().map(|it| format!("Match {}", shown::text(it)));
        for row in &rows {
            match verdict(&access, row, &was, front) {
                Verdict::Good => ways.extend_from_slice(&row.ways),
                Verdict::Root => {}
                Verdict::Exempt => {
                    let told = access.questions.iter().zip(&row.gates).filter(|(_, is_so)| **is_so);
                    let told =
                        whom.iter().cloned().chain(told.map(|(text, _)| shown::text(text).to_string()));
                    let told = told.collect::<Vec<_>>().join(", ");
                    if let Some(was) = former.as_ref().and_then(|it| it.wanted_more(&access, row, front)) {
                        let what = format!(
                            "users whom a line exempts ({told}) would get in by: {}. Now they get in by: {was}",
                            access.in_words(&row.ways)
                        );
                        let found = Diagnostic::error(Code::StackUnsuitable, what)
                            .at(Location::Service(name.to_owned()));
                        return Asked::Else(found.advise("a line that jumps over others (success=N) would jump over another one: change it so that it ends or fails by itself"));
                    }
                    if !exempt.contains(&told) {
                        exempt.push(told);
                    }
                }
                Verdict::Bypassed => {
                    let what = format!("users would get in by: {}", access.in_words(&row.ways));
                    return refuse(Code::StackUnsuitable, what);
                }
                Verdict::Closed => {
                    let what = "users with a token would not get in, whatever they show".to_owned();
                    return refuse(Code::StackUnsuitable, what);
                }
            }
        }
    }
    ways.sort_unstable_by_key(|way| (way.0.count_ones(), *way));
    ways.dedup();
    if ways.is_empty() {
        return refuse(Code::StackUnsuitable, "nobody would get in".to_owned());
    }
    let places = ours().map(|entry| entry.place.clone()).collect();
    Asked::Both(Both { places, ways: access.in_words(&ways), exempt })
}

/// A service before a change that is planned.
struct Former {
    access: Access,
    fronts: Vec<Front>,
}

impl Former {
    fn of(folders: &Folders, name: &str, fronts: &[Front]) -> Self {
        let other = folders.has("other").then(|| folders.service("other"));
        let access = Access::new(&folders.service(name), other.as_ref());
        let fronts = if name == "sshd" { fronts.to_vec() } else { vec![Front::plain()] };
        Self { access, fronts }
    }

    /// The ways in of these users before the change, in words, if one of the new ways was not enough then: a line that jumps
    /// over others jumps over the new one, too, and so over one less of those that it skipped.
    fn wanted_more(&self, now: &Access, row: &Row, front: &Front) -> Option<String> {
        let of = |condition: &Option<String>| self.fronts.iter().find(|own| own.condition == *condition);
        let front = of(&front.condition).or_else(|| of(&None))?;
        let said = |text: &String| {
            let at = now.questions.iter().position(|own| own == text);
            at.and_then(|at| row.gates.get(at)).copied().unwrap_or_default()
        };
        let gates: Vec<_> = self.access.questions.iter().map(said).collect();
        // Of too many ways, nobody knows whether they were less.
        let ways = self.access.ways(row.listing, &gates, front, &front.methods).unwrap_or_default();
        let was_enough = |way: &Factors| ways.iter().any(|was| way.has(*was));
        (!row.ways.iter().all(was_enough)).then(|| self.access.in_words(&ways))
    }
}

/// What the lines come to for a class of users.
enum Verdict {
    Good,
    /// Root, who may become anybody.
    Root,
    /// A gate or a `Match` lets these users in without a token, or with nothing else.
    Exempt,
    /// They get in without a token, or with nothing else.
    Bypassed,
    /// They got in before.
    Closed,
}

fn verdict(access: &Access, row: &Row, was: &[Row], front: &Front) -> Verdict {
    let is_both = |way: &Factors| way.has(Factors::OTP) && way.without(Factors::OTP) != Factors::NONE;
    let told = |text: &str| {
        let at = access.questions.iter().position(|own| own == text);
        at.and_then(|at| row.gates.get(at)).copied().unwrap_or_default()
    };
    let got_in = || was.iter().any(|it| it.gates == row.gates && !it.ways.is_empty());
    if access.runs_by_its_caller() && told(CALLED_BY_ROOT) {
        return if row.ways.is_empty() && got_in() { Verdict::Closed } else { Verdict::Root };
    }
    let is_good = match row.listing {
        Listing::Token => row.ways.iter().all(is_both),
        _ => row.ways.is_empty(),
    };
    match is_good {
        true if row.listing == Listing::Token && row.ways.is_empty() && got_in() => Verdict::Closed,
        true => Verdict::Good,
        false if row.gates.contains(&true) || front.condition.is_some() => Verdict::Exempt,
        false => Verdict::Bypassed,
    }
}

/// The errors that the doctor finds in the lines of this service: code, place and problem.
pub(crate) fn errors(folders: &Folders, name: &str, fronts: &[Front]) -> Vec<Diagnostic> {
    let mut report = Report::new();
    look_in(&mut report, folders, fronts);
    let files = folders.service(name).files;
    let of_service = |found: &Diagnostic| {
        found.location.as_ref().is_some_and(|at| {
            let at = at.to_string();
            files.iter().any(|file| at.starts_with(&Location::file(file.as_os_str().as_bytes()).to_string()))
        })
    };
    report
        .into_findings()
        .into_iter()
        .filter(|(check, found, _)| {
            *check == Check::Pam && found.severity == Severity::Error && of_service(found)
        })
        .map(|(_, found, _)| found)
        .collect()
}

/// The line that jumps over a line of ours in one of these files: without ours, it would jump over one more of the others.
pub(crate) fn jumps_over_ours(folders: &Folders, name: &str, files: &[&Path]) -> Option<Diagnostic> {
    let entries = folders.service(name).entries;
    [Kind::Auth, Kind::Account].into_iter().find_map(|kind| {
        let lines: Vec<Entry> = entries.iter().filter(|entry| entry.kind == kind).cloned().collect();
        let goes = |entry: &Entry| entry.is_ours() && files.contains(&&*entry.place.file);
        let crosses = |(at, entry): &(usize, &Entry)| {
            let (end, _) = behind_jump(&lines, *at, entry.level, longest_jump(entry));
            lines.iter().take(end).skip(at.saturating_add(1)).any(goes)
        };
        let (_, line) = lines.iter().enumerate().find(crosses)?;
        let what = "jumps over the line of pam_yubiotp: without that line it would jump over another one";
        Some(Diagnostic::error(Code::StackUnsuitable, what).at(line.place.location()))
    })
}

fn longest_jump(entry: &Entry) -> u32 {
    let jumps = Answer::all().filter_map(|answer| match entry.control.action(answer) {
        Action::Jump(count) => Some(count),
        _ => None,
    });
    jumps.max().unwrap_or_default()
}

/// Whether somebody gets in by this service who shows nothing, or nobody does: what a line that is removed must not leave.
pub(crate) fn is_open_or_closed(folders: &Folders, name: &str, fronts: &[Front]) -> Option<Diagnostic> {
    let service = folders.service(name);
    let other = folders.has("other").then(|| folders.service("other"));
    let access = Access::new(&service, other.as_ref());
    let plain = [Front::plain()];
    let fronts = if name == "sshd" { fronts } else { &plain };
    let is_by_root = |row: &Row| {
        let by_root = access.questions.iter().zip(&row.gates);
        by_root.into_iter().any(|(text, is_so)| *is_so && text == CALLED_BY_ROOT)
    };
    let rows: Vec<_> = fronts.iter().filter_map(|front| access.rows(front)).flatten().collect();
    let plain = rows.iter().filter(|row| !row.gates.contains(&true) && !is_by_root(row));
    let found =
        |what: &str| Diagnostic::error(Code::StackUnsuitable, what).at(Location::Service(name.to_owned()));
    let mut plain = plain.peekable();
    if plain.clone().flat_map(|row| &row.ways).any(|way| *way == Factors::NONE) {
        return Some(found("without these lines, users would get in and be asked for nothing"));
    }
    let is_shut = plain.peek().is_some() && rows.iter().all(|row| row.ways.is_empty());
    is_shut.then(|| found("without these lines, nobody would get in"))
}
