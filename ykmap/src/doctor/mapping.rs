//! The mapping: what `ykmap check` says of it.

use super::pam::Fails;
use super::report::{Check, Report, at};
use super::settings::Case;
use crate::check::{self, Examined, Users};
use crate::list::States;
use crate::{Failure, files, out};
use std::path::Path;
use ykhost::{Fault, enrolled, mapping};
use yubiotp::diagnostic::{Code, Diagnostic, Program, Remedy};

/// Says whether logins end in a fault because of the mapping.
pub(super) fn fail(case: &mut Case) {
    // A name that nobody has: what is wrong with one line is a fault of its user.
    let read = mapping::look_up(&case.settings, b"nobody.of.that.name");
    let is_bad = match read.map(|_| ()) {
        Err(Fault::File(file)) => !file.is_denied(),
        Err(Fault::NoMapping { .. } | Fault::EmptyMapping { .. }) => true,
        _ => false,
    };
    if is_bad {
        case.fail(Fails::Everybody);
    }
}

/// Gives the users who are listed; `None` if not all of them could be read.
pub(super) fn look(report: &mut Report, case: &Case, states: Option<&States>) -> Option<Users> {
    let settings = &case.settings;
    let place = || at(Path::new(&settings.mapping));
    let paths = match files::mappings(settings) {
        Ok(paths) => paths,
        Err(Failure::Fault(why)) if settings.mapping.contains("%u") => {
            let what = format!("each user has a mapping of their own, and they cannot all be listed ({why})");
            let found = Diagnostic::note(Code::NotChecked, what).at(place());
            report.add(Check::Mapping, found.run_when("to check one", Program::Ykmap, "doctor USER"));
            return None;
        }
        Err(_) => return None,
    };
    let (mut read, mut found, mut texts) = (!paths.is_empty(), Vec::new(), Vec::new());
    for path in paths {
        let text = match mapping::text(&path) {
            Ok(text) => text,
            Err(fault) => {
                report.fault(Check::Mapping, &fault, "restore the mapping");
                read = false;
                continue;
            }
        };
        if text.is_empty() {
            report.fault(Check::Mapping, &Fault::EmptyMapping { path }, "");
            read = false;
            continue;
        }
        texts.push((path, text));
    }
    match mapping::enrolled_text(settings) {
        Ok(text) => texts.extend(text.map(|text| (enrolled::path(settings), text))),
        Err(fault) => {
            report.fault(Check::Mapping, &fault, "restore the file");
            read = false;
        }
    }
    let Examined { lines, users } = check::examine(settings, states, &texts, &mut |it| found.push(it));
    let of_store =
        [Code::PositionMissing, Code::StoreKeyMissing, Code::KeySealedElsewhere, Code::TokenUnusable];
    for mut it in found {
        if of_store.contains(&it.code) && report.has_errors(Check::Store) {
            it.remedies = vec![Remedy::Text("see store".to_owned())];
        }
        report.add(Check::Mapping, it);
    }
    if read && lines == 0 && !report.has_errors(Check::Mapping) {
        let found = Diagnostic::note(Code::MappingListsNobody, "lists nobody").at(place());
        report.add(Check::Mapping, case.list("USER", found));
    }
    if read && lines > 0 {
        report.ok(Check::Mapping, Some(place()), format!("{} with a user", out::count(lines, "line")));
    }
    read.then_some(users)
}
