//! One user: whether they are listed, with which tokens, and how each of these stands.

use super::report::{Level, Report, Room};
use super::settings::{Case, mapping_of};
use crate::cli::list::{State, States};
use ykmap::{Fault, mapping};
use yubiotp::mapping::Enrolment;

pub(super) fn look(report: &mut Report, case: &Case, states: Option<&States>, user: &str) {
    let settings = &case.settings;
    let place = mapping_of(settings, user);
    let tokens = match mapping::enrolment(settings, user.as_bytes()) {
        Err(fault) if fault.file().is_some_and(|file| report.is_unread(file)) => return,
        Err(Fault::Mapping { path, line, why }) => {
            let place = format!("{}:{line}", path.display());
            let change = format!("mend the line: until then {user} is refused");
            return report.add(Room::User, Level::Error, place, why.to_string(), change);
        }
        Err(fault) => {
            let why = fault.to_string();
            let own = why.strip_prefix(&format!("{place}: ")).unwrap_or(&why);
            let what = format!("{user} is refused: {own}");
            return error(report, &place, what, "mend that first".to_owned());
        }
        Ok(Enrolment::NotListed) => {
            let by = |nullok: bool| {
                let lines =
                    case.lines.iter().filter(|(_, own)| *own == nullok).map(|(line, _)| line.as_str());
                lines.collect::<Vec<_>>().join(", ")
            };
            let (excusing, refusing) = (by(true), by(false));
            let change = format!("ykmap add {user}");
            if excusing.is_empty() && refusing.is_empty() {
                error(report, &place, format!("{user} is not listed, and refused"), change.clone());
            }
            if !refusing.is_empty() {
                error(
                    report,
                    &place,
                    format!("{user} is not listed, and refused by {refusing}"),
                    change.clone(),
                );
            }
            if !excusing.is_empty() {
                let what = format!("{user} is not listed, and passes {excusing} without a token (nullok)");
                report.add(Room::User, Level::Note, &place, what, change);
            }
            return;
        }
        Ok(Enrolment::Listed(tokens)) if tokens.is_empty() => {
            let what = format!("{user} is listed without a token that counts, and refused");
            return error(report, &place, what, format!("ykmap add {user}"));
        }
        Ok(Enrolment::Listed(tokens)) => tokens,
    };
    let Some(states) = states else {
        // If it only could not be read, nothing is known.
        if report.has_errors(Room::Store) || report.has_errors(Room::Files) {
            let what = format!("{user} is refused while the store cannot be used");
            report.add(Room::User, Level::Error, &place, what, "mend the store first");
        }
        return;
    };
    let usable = |state: State| match state {
        State::Enabled | State::Elsewhere | State::SlotDamaged => true,
        State::NoKey => settings.mode.asks_servers(),
        _ => false,
    };
    let states: Vec<_> = tokens.iter().map(|token| (token, states.of(token))).collect();
    let one_is_good = states.iter().any(|(_, state)| usable(*state));
    for (token, state) in states {
        if usable(state) {
            let who = if state == State::NoKey {
                "validation servers decide about it".to_owned()
            } else {
                state.to_string()
            };
            report.add(Room::User, Level::Ok, &place, format!("{user}'s token {token}: {who}"), "");
            continue;
        }
        let level = if one_is_good { Level::Warning } else { Level::Error };
        let change = match state {
            State::Disabled => format!("ykmap key enable {token}"),
            State::NoKey => "ykmap key import FILE".to_owned(),
            State::NoPosition => format!("ykmap key adopt {token}"),
            _ => format!("ykmap key show {token}"),
        };
        report.add(Room::User, level, &place, format!("{user}'s token {token} is refused: {state}"), change);
    }
}

fn error(report: &mut Report, place: &str, what: String, change: String) {
    report.add(Room::User, Level::Error, place, what, change);
}
