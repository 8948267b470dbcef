//! One user: whether they are listed, with which tokens, and how each of these stands.

use super::pam::Looked;
use super::report::{Level, Report, Room};
use super::settings::{Case, mapping_of};
use super::store::{Seen, bring_back};
use crate::check::OTHER_MODE;
use crate::list::State;
use ykhost::settings::Mode;
use ykhost::{Fault, mapping};
use yubiotp::PublicId;
use yubiotp::mapping::{BadLine, Enrolment};

/// Users who come by lines whose settings are not known.
pub(super) fn lost(report: &mut Report, user: &str, why: &str) {
    report.add(Room::User, Level::Error, "", format!("{user} is refused: {why}"), "");
}

/// Users of a host where no login asks, and nothing is set up.
pub(super) fn not_asked(report: &mut Report, user: &str) {
    let what = format!("{user} is not asked for a YubiKey by any service that was read");
    report.add(Room::User, Level::Note, "", what, "");
}

/// One user by one case. Whatever is found, there is a row with their name. To be looked at last.
pub(super) fn look(report: &mut Report, case: &Case, seen: Option<&Seen>, user: &str, services: &[Looked]) {
    let who = Who { user, place: mapping_of(&case.settings, user), case, services };
    let tokens = match mapping::enrolment(&case.settings, user.as_bytes(), false) {
        Err(fault) if fault.file().is_some_and(|file| report.is_unread(file)) => {
            return who.unknown(report);
        }
        Err(Fault::Mapping { path, line, why }) => {
            let what = format!("{user} is refused: {why}");
            let place = format!("{}:{line}", path.display());
            let change = match why {
                BadLine::OtherSpelling => format!("ykmap add {user}"),
                _ => "mend the line (ykmap check finds all of them)".to_owned(),
            };
            return who.refused(report, &place, what, &change);
        }
        Err(Fault::File(_)) if report.has_errors(Room::Files) => {
            let what = format!("{user} is refused until that is mended (see files)");
            return who.refused(report, &who.place, what, "");
        }
        Err(Fault::NoMapping { .. } | Fault::EmptyMapping { .. }) => {
            let what = format!("{user} is refused until that is mended (see mapping)");
            return who.refused(report, &who.place, what, "");
        }
        Err(fault) => {
            let what = format!("{user} is refused: {}", who.own(&fault));
            let change = match fault {
                Fault::OtherFile { .. } => format!("ykmap add {user}"),
                _ => "mend that first".to_owned(),
            };
            return who.refused(report, &who.place, what, &change);
        }
        Ok(Enrolment::NotListed) => return who.not_listed(report),
        Ok(Enrolment::Listed(tokens)) if tokens.is_empty() => {
            let what = format!("{user} is listed without a token that counts, and refused");
            return who.refused(report, &who.place, what, &format!("ykmap add {user}"));
        }
        Ok(Enrolment::Listed(tokens)) => tokens,
    };
    let Some(seen) = seen else {
        // If it only could not be read, nothing is known.
        if report.has_errors(Room::Store) || report.has_errors(Room::Files) {
            let what = format!("{user} is refused while the store cannot be used (see store)");
            return who.refused(report, &who.place, what, "");
        }
        return who.unknown(report);
    };
    who.tokens(report, seen, &tokens);
}

struct Who<'a> {
    user: &'a str,
    place: String,
    case: &'a Case,
    services: &'a [Looked],
}

impl Who<'_> {
    /// Where nobody is asked, nobody is refused yet.
    fn refused(&self, report: &mut Report, place: &str, what: String, change: &str) {
        if self.case.asks {
            report.add(Room::User, Level::Error, place, what, change);
        } else {
            let what = what.replacen(" refused", " refused, if anything asked,", 1);
            report.add(Room::User, Level::Note, place, what, change);
        }
    }

    /// What a fault says, without the path if that is the user's mapping.
    fn own(&self, fault: &Fault) -> String {
        let why = fault.to_string();
        why.strip_prefix(&format!("{}: ", self.place)).unwrap_or(&why).to_owned()
    }

    fn unknown(&self, report: &mut Report) {
        let what = format!("{}: not known: not all was read (see rights)", self.user);
        report.add(Room::User, Level::Note, &self.place, what, "");
    }

    fn not_listed(&self, report: &mut Report) {
        let user = self.user;
        let by = |nullok: bool| {
            let lines = self.case.lines.iter().filter(|(_, own)| *own == nullok);
            lines.map(|(line, _)| line.as_str()).collect::<Vec<_>>()
        };
        let (excusing, refusing) = (by(true).join(", "), by(false));
        let change = format!("ykmap add {user}");
        if refusing.is_empty() && excusing.is_empty() {
            self.refused(report, &self.place, format!("{user} is not listed, and refused"), &change);
        }
        // Other lines may let in whom these refuse.
        let ways = |line: &str| {
            let ways = self.services.iter().filter_map(|service| service.ways_of_unlisted(line));
            ways.collect::<Vec<_>>().join(", ")
        };
        let (passable, refusing): (Vec<&str>, Vec<_>) =
            refusing.into_iter().partition(|line| !ways(line).is_empty());
        if !refusing.is_empty() {
            let mut what = format!("{user} is not listed, and refused by {}", refusing.join(", "));
            let exempt = refusing
                .iter()
                .find_map(|line| self.services.iter().find_map(|service| service.exempt_and_refused(line)));
            if let Some(whom) = exempt {
                what += &format!(
                    "; with \"{whom}\", not asked and refused by other lines (see pam.d): a token does not help then"
                );
            }
            self.refused(report, &self.place, what, &change);
        }
        for line in passable {
            let what = format!(
                "{user} is not listed: without a token, {line} refuses them; other lines let in some: by {}",
                ways(line)
            );
            report.add(Room::User, Level::Note, &self.place, what, &change);
        }
        if excusing.is_empty() {
            return;
        }
        if let Err(fault) = mapping::enrolment(&self.case.settings, user.as_bytes(), true) {
            let what = format!("{user} is not listed, and refused by {excusing}: {}", self.own(&fault));
            self.refused(report, &self.place, what, &change);
            return;
        }
        // Another line may refuse whom this one excuses.
        for (line, _) in self.case.lines.iter().filter(|(_, nullok)| *nullok) {
            let by = || self.services.iter().filter(|service| service.asks_by(line));
            let names = |open: bool| {
                let own = by().filter(|service| service.ways_of_unlisted(line).is_some() == open);
                own.map(|service| service.name.clone()).collect::<Vec<_>>()
            };
            let (open, closed) = (names(true), names(false));
            if !open.is_empty() || closed.is_empty() {
                let what = format!("{user} is not listed, and passes {line} without a token (nullok)");
                report.add(Room::User, Level::Note, &self.place, what, &change);
            }
            if !closed.is_empty() {
                let what = format!(
                    "{user} is not listed, and refused by {}: {line} excuses them (nullok), and no other line lets them in",
                    closed.join(", ")
                );
                self.refused(report, &self.place, what, &change);
            }
        }
    }

    fn tokens(&self, report: &mut Report, seen: &Seen, tokens: &[PublicId]) {
        let user = self.user;
        let servers = self.case.settings.mode.asks_servers();
        let usable = |state: State| match state {
            State::Enabled | State::Elsewhere | State::SlotDamaged => true,
            State::NoKey => servers,
            _ => false,
        };
        let states: Vec<_> =
            tokens.iter().map(|token| (token, seen.states.of(token), seen.refused.get(token))).collect();
        let one_is_good = states.iter().any(|(_, state, refused)| refused.is_none() && usable(*state));
        let above = self.trouble_above(report);
        for (token, state, refused) in states {
            if refused.is_none() && usable(state) {
                let how = match state {
                    State::NoKey => "validation servers decide about it".to_owned(),
                    state => state.to_string(),
                };
                let what = format!("{user}'s token {token}: {how}");
                match above {
                    true => {
                        let what = format!("{what} here; see the errors above");
                        report.add(Room::User, Level::Note, &self.place, what, "");
                    }
                    false => report.add(Room::User, Level::Ok, &self.place, what, ""),
                }
                continue;
            }
            let (why, change) = refused.cloned().unwrap_or_else(|| (state.to_string(), remedy(state, token)));
            let what = format!("{user}'s token {token} is refused: {why}");
            if one_is_good {
                report.add(Room::User, Level::Warning, &self.place, what, change);
            } else {
                self.refused(report, &self.place, what, &change);
            }
        }
    }

    /// Whether something was found that refuses whoever comes, however good the token is.
    fn trouble_above(&self, report: &Report) -> bool {
        let rooms = [Room::Pam, Room::Module, Room::Settings, Room::Files, Room::Program];
        let no_server = self.case.settings.mode == Mode::Online
            && report.has_errors(Room::Servers)
            && !report.has_good(Room::Servers);
        no_server || rooms.into_iter().any(|room| report.has_errors(room))
    }
}

fn remedy(state: State, token: &PublicId) -> String {
    match state {
        State::Disabled => format!("if it is in its owner's hands: ykmap key enable {token}"),
        State::NoKey | State::Unasked => {
            format!("ykmap key import FILE (with --used if the store was lost), or {OTHER_MODE}")
        }
        State::RuledOut => "change token_id_length, or give the user a token that it allows".to_owned(),
        State::NoPosition => bring_back(token),
        State::OtherStoreKey | State::NoStoreKey => "bring that store key back (see store)".to_owned(),
        _ => format!("ykmap key show {token} says more (see store)"),
    }
}
