//! Where the lines of the module go in a service file: behind the line that proves the first factor. What each placement
//! comes to is decided by the doctor's analysis.

use super::lines::{Edit, Line, edited, logical};
use crate::doctor::pam::both::{Asked, Both, asked, errors};
use crate::doctor::pam::service::{Entry, Folders, Kind, Overlay};
use crate::doctor::pam::{Front, asks};
use std::path::Path;
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// Where the first factor is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// By a line of the service.
    Line,
    /// By sshd, which asks for an ssh key before.
    Key,
}

/// What is written into a service file.
pub(super) struct Wanted<'a> {
    /// Module and arguments: `pam_yubiotp.so config=…`.
    pub(super) module: &'a str,
    pub(super) first: First,
    /// With an account line, which rejects users whom no auth line accepted.
    pub(super) account: bool,
    /// Whether users whom a line exempts may stay exempt.
    pub(super) exempt: bool,
}

/// The service file with the lines of the module, and what it asks for then. `target` is where it will be, `overlay` what
/// else changes. The questions of sshd are those that it will have, and those that it has now.
pub(super) fn place(
    folders: &Folders,
    (name, target, text): (&str, &Path, &[u8]),
    (fronts, old_fronts): (&[Front], &[Front]),
    wanted: &Wanted<'_>,
) -> Result<(Vec<u8>, Both), Diagnostic> {
    let at = || Location::Service(name.to_owned());
    let service = folders.service(name);
    let source = folders.find(name);
    let asks_here = |line: &Line| {
        let is_here = |entry: &&Entry| {
            Some(&*entry.place.file) == source.as_deref() && entry.place.line == line.start.saturating_add(1)
        };
        match line.included() {
            Some(file) => folders.service(file).entries.iter().any(|it| it.kind == Kind::Auth && asks(it)),
            None => service.entries.iter().filter(is_here).any(asks),
        }
    };
    let all = logical(text);
    let auth: Vec<_> =
        all.iter().filter(|line| ["auth", "@include"].contains(&line.kind().as_str())).collect();
    let proving: Vec<_> = auth.iter().copied().filter(|line| asks_here(line)).collect();
    let Some(last) = proving.last().copied() else {
        let what =
            "no line asks for a password or another first factor: the touch would be all that is needed";
        return Err(Diagnostic::error(Code::StackUnsuitable, what)
            .at(at())
            .advise("see pam_yubiotp(8), EXAMPLES"));
    };
    let ours = format!("auth       required     {}", wanted.module);
    let account = wanted.account.then(|| {
        let is_account = |line: &&Line| {
            line.kind() == "account"
                || line.kind() == "@include"
                    && line.included().is_some_and(|file| {
                        let entries = folders.service(file).entries;
                        entries.iter().any(|it| it.kind == Kind::Account)
                            && entries.iter().all(|it| it.kind != Kind::Auth)
                    })
        };
        let first = all.iter().find(is_account).map_or(last.end, |line| line.start);
        Edit::Insert(first, format!("account    required     {}", wanted.module))
    });
    let candidates: Vec<Vec<Edit>> = match wanted.first {
        First::Key => match proving.as_slice() {
            [only] if only.is_one_line() => vec![vec![Edit::Replace(only.start, ours)]],
            _ => Vec::new(),
        },
        First::Line => behind(&auth, last, &ours),
    };
    let before = errors(&Folders::changed(&folders.0, folders.1.clone()), name, fronts);
    let mut why = None;
    for edits in candidates {
        let edits: Vec<_> = edits.into_iter().chain(account.clone()).collect();
        let new = edited(text, &edits);
        let overlay = folders.1.clone().into_iter().chain([(target.to_owned(), new.clone())]);
        let changed = Folders::changed(&folders.0, overlay.collect::<Overlay>());
        let found = match asked(&changed, name, fronts, Some((folders, old_fronts))) {
            Asked::Both(both) if !wanted.exempt && !both.exempt.is_empty() => is_exempt(name, &both),
            Asked::Both(both) => {
                let known = |it: &Diagnostic| {
                    before.iter().any(|old| old.code == it.code && old.problem == it.problem)
                };
                match errors(&changed, name, fronts).into_iter().find(|it| !known(it)) {
                    Some(error) => error,
                    None => return Ok((new, both)),
                }
            }
            Asked::Else(found) => found,
            Asked::Nothing => {
                Diagnostic::error(Code::StackUnsuitable, "the new line would not be read").at(at())
            }
        };
        why.get_or_insert(found);
    }
    let found = why.unwrap_or_else(|| {
        let what =
            "several lines ask for a first factor, or one goes over several lines: ykmap cannot replace them";
        Diagnostic::error(Code::StackUnsuitable, what).at(at())
    });
    Err(if found.remedies.is_empty() {
        found.advise("add the line by hand: pam_yubiotp(8), EXAMPLES")
    } else {
        found
    })
}

/// The edits that put a line behind the first factor, the least of them first.
fn behind(auth: &[&Line], last: &Line, ours: &str) -> Vec<Vec<Edit>> {
    let new = |end| Edit::Insert(end, ours.to_owned());
    let substack = |line: &Line| Edit::Replace(line.start, as_substack(line));
    let can = |line: &&Line| line.is_include() && line.is_one_line();
    let mut all = vec![vec![new(last.end)]];
    if can(&last) {
        all.push(vec![substack(last), new(last.end)]);
    }
    let includes: Vec<_> = auth.iter().copied().filter(|line| line.start <= last.start).filter(can).collect();
    if includes.len() > 1 {
        all.push(includes.into_iter().map(substack).chain([new(last.end)]).collect());
    }
    let end = auth.last().map_or(last.end, |line| line.end);
    if end != last.end {
        all.push(vec![new(end)]);
        if can(&last) {
            all.push(vec![substack(last), new(end)]);
        }
    }
    all
}

/// `auth include FILE` as `auth substack FILE`: a line in FILE that ends it does not end the service then.
fn as_substack(line: &Line) -> String {
    let word = |at: usize| line.words.get(at).map(String::as_str).unwrap_or_default();
    format!("{:<10} {:<12} {}", word(0), "substack", word(2))
}

pub(super) fn is_exempt(name: &str, both: &Both) -> Diagnostic {
    let what = format!("these users would get in without a token: {}", both.exempt.join("; "));
    Diagnostic::error(Code::StackUnsuitable, what)
        .at(Location::Service(name.to_owned()))
        .advise("remove the line of pam.d or the Match of sshd_config that exempts them")
        .advise("if it is intended, add --with-exemptions")
}
