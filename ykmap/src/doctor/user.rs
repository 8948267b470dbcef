//! One user: whether they are listed, with which tokens, and whether each of these can be used.

use super::pam::Looked;
use super::policy;
use super::report::{Check, Report, shortened};
use super::settings::{Case, mapping_of};
use super::store::Seen;
use crate::check::{
    KeptOut, OTHER_MODE, RULED_OUT, adopt, codes_not_here, disabled, few_codes, import, not_here, to_resync,
};
use crate::list::State;
use crate::unlock;
use ykhost::{Fault, mapping};
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, Severity, shell_word};
use yubiotp::guesses::CAPACITY;
use yubiotp::mapping::{BadLine, Enrolment};
use yubiotp::shown;

/// Users of lines whose settings are not known.
pub(super) fn lost(report: &mut Report, user: &str, why: &str) {
    let found = Diagnostic::error(Code::UserRefused, format!("is rejected: {why}"));
    report.add(Check::User, found.at(Location::user(user.as_bytes())));
}

/// Users of a host where no login asks, and nothing is set up.
pub(super) fn not_asked(report: &mut Report, user: &str) {
    let what = "is not asked for a YubiKey by any service that was read";
    let found = Diagnostic::note(Code::UserNotAsked, what);
    report.add(Check::User, found.at(Location::user(user.as_bytes())));
}

/// One user by one case. Whatever is found, there is a row with their name. Call this last.
pub(super) fn look(
    report: &mut Report,
    case: &Case,
    seen: Option<&Seen>,
    (user, unix): (&str, u64),
    services: &[Looked],
) {
    let (settled, services) = policy::of_user(report, case, seen, (user, unix), services);
    if settled && services.is_empty() {
        return;
    }
    let is_left = |line: &str| !settled || services.iter().any(|service| service.asks_by(line));
    let lines = case.lines.iter().filter(|(line, _)| is_left(line)).collect();
    let who = User { name: user, case, services: &services, lines };
    let tokens = match mapping::enrolment(&case.settings, user.as_bytes(), false) {
        Err(fault) if fault.file().is_some_and(|file| report.is_unread(file)) => {
            return who.unknown(report);
        }
        Err(Fault::File(_)) if report.has_errors(Check::Files) => {
            return who.refused(report, Code::UserRefused, "until that is fixed (see files)", |it| it);
        }
        Err(Fault::NoMapping { .. } | Fault::EmptyMapping { .. }) => {
            return who.refused(report, Code::UserRefused, "until that is fixed (see mapping)", |it| it);
        }
        Err(fault) => return who.fault(report, &fault),
        Ok(Enrolment::NotListed) => return who.not_listed(report),
        Ok(Enrolment::Listed(tokens)) if tokens.is_empty() => {
            let what = "because they are listed without a token";
            return who.refused(report, Code::UserWithoutToken, what, |it| case.list(user, it));
        }
        Ok(Enrolment::Listed(tokens)) => tokens,
    };
    let Some(seen) = seen else {
        // If it only could not be read, nothing is known.
        if report.has_errors(Check::Store) || report.has_errors(Check::Files) {
            let what = "while the store cannot be used (see store)";
            return who.refused(report, Code::UserRefused, what, |it| it);
        }
        return who.unknown(report);
    };
    who.tokens(report, seen, &tokens);
}

struct User<'a> {
    name: &'a str,
    case: &'a Case,
    /// Those about which the policy left something to say.
    services: &'a [&'a Looked],
    /// Their auth lines, and which of these have `nullok`.
    lines: Vec<&'a (String, bool)>,
}

impl User<'_> {
    fn add(&self, report: &mut Report, found: Diagnostic) {
        report.add(Check::User, found.at(Location::user(self.name.as_bytes())));
    }

    /// The finding that rejects the user, and why, as severe as [`KeptOut::severity`] says of a user who is named.
    fn refused(
        &self,
        report: &mut Report,
        code: Code,
        why: &str,
        remedy: impl FnOnce(Diagnostic) -> Diagnostic,
    ) {
        let found = if self.case.asks {
            Diagnostic::error(code, format!("is rejected {why}"))
        } else {
            Diagnostic::note(code, format!("will be rejected as soon as a service asks, {why}"))
        };
        self.add(report, remedy(found));
    }

    fn fault(&self, report: &mut Report, fault: &Fault) {
        let found = fault.diagnostic();
        let why = format!("because of the mapping: {}", found.problem());
        self.refused(report, found.code, &why, |it| match fault {
            Fault::OtherFile { .. } | Fault::Mapping { why: BadLine::OtherSpelling, .. } => {
                self.case.list(self.name, it)
            }
            Fault::Mapping { .. } => {
                it.advise("fix the line").run_when("to find all such lines", Program::Ykmap, "check")
            }
            _ if found.remedies.is_empty() => it.advise("fix that first"),
            _ => Diagnostic { remedies: found.remedies.clone(), ..it },
        });
    }

    fn unknown(&self, report: &mut Report) {
        let what = "is not known: not everything could be read (see rights)";
        self.add(report, Diagnostic::note(Code::NotChecked, what));
    }

    fn not_listed(&self, report: &mut Report) {
        let by = |nullok: bool| {
            let lines = self.lines.iter().filter(|(_, own)| *own == nullok);
            lines.map(|(line, _)| line.as_str()).collect::<Vec<_>>()
        };
        let file = mapping_of(&self.case.settings, self.name);
        let list = |it: Diagnostic| self.case.list(self.name, it);
        let (excusing, refusing) = (by(true).join(", "), by(false));
        if refusing.is_empty() && excusing.is_empty() {
            let why = format!("because {file} does not list them");
            self.refused(report, Code::UserNotListed, &why, list);
        }
        // Other lines may let in the users whom these refuse.
        let ways = |line: &str| {
            let ways = self.services.iter().filter_map(|service| service.ways_of_unlisted(line));
            ways.collect::<Vec<_>>().join(", ")
        };
        let (passable, refusing): (Vec<&str>, Vec<_>) =
            refusing.into_iter().partition(|line| !ways(line).is_empty());
        if !refusing.is_empty() {
            let mut why = format!("by {}, because {file} does not list them", refusing.join(", "));
            let exempt = refusing
                .iter()
                .find_map(|line| self.services.iter().find_map(|service| service.exempt_and_refused(line)));
            if let Some(whom) = exempt {
                let whom = shown::text(&whom);
                why += &format!(
                    "; if \"{whom}\" is true of them, they are not asked and other lines reject them (see pam.d): then a token does not help"
                );
            }
            self.refused(report, Code::UserNotListed, &why, list);
        }
        for line in passable {
            let enrolls = self.services.iter().any(|service| service.enrolls_unlisted(line));
            let what = if enrolls {
                format!(
                    "is not listed in {file}; {line} lets them enroll a token if the policy requires one: {}",
                    ways(line)
                )
            } else {
                format!(
                    "is not listed in {file}, so {line} rejects them without a token; other lines let some of these users in: {}",
                    ways(line)
                )
            };
            self.add(report, list(Diagnostic::note(Code::UserNotListed, what)));
        }
        if !excusing.is_empty() {
            self.excused(report, &excusing);
        }
    }

    /// A user whom `nullok` excuses in these lines.
    fn excused(&self, report: &mut Report, lines: &str) {
        let list = |it: Diagnostic| self.case.list(self.name, it);
        if let Err(fault) = mapping::enrolment(&self.case.settings, self.name.as_bytes(), true) {
            let found = fault.diagnostic();
            let why = format!("by {lines}, because the mapping does not list them: {}", found.problem());
            return self.refused(report, found.code, &why, list);
        }
        // Another line may refuse the users whom this one excuses.
        for (line, _) in self.lines.iter().filter(|(_, nullok)| *nullok) {
            let by = || self.services.iter().filter(|service| service.asks_by(line));
            let names = |open: bool| {
                let own = by().filter(|service| service.ways_of_unlisted(line).is_some() == open);
                own.map(|service| service.name.clone()).collect::<Vec<_>>()
            };
            let (open, closed) = (names(true), names(false));
            if !open.is_empty() || closed.is_empty() {
                let what = format!("is not listed, and passes {line} without a token (nullok)");
                self.add(report, list(Diagnostic::note(Code::UserExcused, what)));
            }
            if !closed.is_empty() {
                let why = format!(
                    "by {}, because the mapping does not list them: {line} excuses them (nullok), and no other line lets them in",
                    closed.join(", ")
                );
                self.refused(report, Code::UserNotListed, &why, list);
            }
        }
    }

    fn tokens(&self, report: &mut Report, seen: &Seen, tokens: &[TokenId]) {
        let servers = self.case.settings.mode.asks_servers();
        let usable = |state: State| KeptOut::by(state, servers).is_none();
        let states: Vec<_> =
            tokens.iter().map(|token| (token, seen.states.of(token), seen.refused.get(token))).collect();
        let one_is_good = states.iter().any(|(_, state, refused)| refused.is_none() && usable(*state));
        let trouble = self.failing_logins(report);
        for (token, state, refused) in states {
            if refused.is_none() && usable(state) {
                let how = match state {
                    State::NoKey => "validation servers decide about it".to_owned(),
                    state => state.to_string(),
                };
                let (severity, end) = match &trouble {
                    Some(which) => {
                        (Severity::Note, format!(" here, but {which} until the errors above are fixed"))
                    }
                    None => (Severity::Ok, String::new()),
                };
                let what = format!("token {token}: {how}{end}");
                self.add(report, Diagnostic::new(Code::TokenUsable, severity, what));
                continue;
            }
            let why = refused.cloned().unwrap_or_else(|| reason(state, token, self.name));
            let what = format!("with token {token}: {}", why.problem);
            let remedies = why.remedies;
            if one_is_good {
                let kept_out = KeptOut::by(state, servers).unwrap_or(KeptOut::ByFault);
                let found = Diagnostic::new(why.code, kept_out.severity(true), format!("is rejected {what}"));
                self.add(report, Diagnostic { remedies, ..found });
            } else {
                self.refused(report, why.code, &what, |it| Diagnostic { remedies, ..it });
            }
        }
        self.tries(report, seen, tokens);
    }

    /// How many codes may still be tried, unless it is all of them.
    fn tries(&self, report: &mut Report, seen: &Seen, tokens: &[TokenId]) {
        let store = &seen.states.store;
        if !unlock::has_counted_codes(store, tokens) {
            return;
        }
        let with_remedy = |found: Diagnostic| {
            found.run_when(
                "to give back all",
                Program::Ykmap,
                format!("unlock {}", shell_word(self.name.as_bytes())),
            )
        };
        match unlock::tries_left(store, self.name.as_bytes()) {
            Ok(CAPACITY..) => {}
            Ok(0) => self.add(report, with_remedy(Diagnostic::warning(Code::CodesNeeded, unlock::few(0)))),
            Ok(left) => self.add(report, with_remedy(Diagnostic::note(Code::CodeWrong, unlock::few(left)))),
            Err(fault) if fault.file().is_some_and(|file| report.is_unread(file)) => {}
            Err(fault) => report.add(Check::User, fault.diagnostic().with_severity(Severity::Warning)),
        }
    }

    /// The logins by these settings that fail however good the token is: `every login fails`. `None` if there are none.
    fn failing_logins(&self, report: &Report) -> Option<String> {
        let is_here = |service: &&Looked| self.case.places.iter().any(|place| service.has(place));
        let (closed, open): (Vec<&Looked>, Vec<&Looked>) =
            self.services.iter().copied().filter(is_here).partition(|service| service.is_closed());
        if closed.is_empty() && open.is_empty() {
            // No service is known that has the lines: libpam does not take it as it is written, or there are no lines.
            let is_broken = !self.case.places.is_empty() && report.has_errors(Check::Pam);
            return (is_broken || self.case.fails.is_some()).then(|| "every login fails".to_owned());
        }
        if closed.is_empty() {
            return None;
        }
        if closed.len() == self.services.len() {
            return Some("every login fails".to_owned());
        }
        let names: Vec<_> = closed.iter().map(|service| shown::text(&service.name).to_string()).collect();
        Some(format!("every login by {} fails", shortened(&names, "service")))
    }
}

/// Why a token in that state is refused, and what to do.
fn reason(state: State, token: &TokenId, user: &str) -> Diagnostic {
    let found = |code| Diagnostic::error(code, state.to_string());
    match state {
        State::CodesLeft(left) => few_codes(user, left),
        State::NotDecidedHere => codes_not_here(found(Code::CodesNotHere)),
        State::NotHere => not_here(token, user, found(Code::KeyMissing)),
        State::Disabled => disabled(token, found(Code::TokenDisabled)),
        State::NoKey | State::Unasked => import(found(Code::KeyMissing)).advise(OTHER_MODE),
        State::RuledOut => found(Code::TokenRuledOut).advise(RULED_OUT),
        State::NeedsResync => found(Code::TokenNeedsResync).run_when(
            to_resync(token),
            Program::Ykmap,
            format!("token resync {token}"),
        ),
        State::NoPosition => adopt(token, found(Code::PositionMissing)),
        State::OtherStoreKey => found(Code::KeySealedElsewhere).advise("restore that store key (see store)"),
        State::NoStoreKey => found(Code::StoreKeyMissing).advise("restore that store key (see store)"),
        State::Enabled | State::Elsewhere | State::SlotDamaged | State::Restored | State::Fault => {
            found(Code::TokenUnusable).run_when("for details", Program::Ykmap, format!("key show {token}"))
        }
    }
}
