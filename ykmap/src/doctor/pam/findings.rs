//! Findings about the auth lines: users whom a line lets in with less than it seems to ask for, and users whom the
//! lines keep out.

use super::access::{Access, Front, Row, Unusual};
use super::advice::{SEE_EXAMPLES, text};
use super::analysis::StackAnalysis;
use super::control::{Action, Answer};
use super::role::{self, Factors, Role};
use super::service::{Entry, Kind};
use super::walk::{End, Listing};
use std::collections::HashSet;
use yubiotp::diagnostic::{Code, Diagnostic, Program, Remedy};

/// The remedy for a jump over the module. `required` in place of the jump would keep everybody out, because what it
/// jumps over refuses.
fn below_the_jump() -> Vec<Remedy> {
    text(
        "put the line of pam_yubiotp below the line that it jumps to (in Debian's common-auth below pam_permit, or in the service's own file below the @include)",
    )
}

/// The ends of the logins that the findings are about.
struct Ends {
    /// A user with a token and everything else; the OTP may be typed or not.
    accepted: HashSet<End>,
    /// The same without the OTP.
    refused: HashSet<End>,
    /// A user who shows nothing, and every line that can say no does.
    nobody: HashSet<End>,
    /// A user who shows nothing, and whom no deliberate gate matches.
    unasked: HashSet<End>,
    /// A user who shows an OTP and nothing else.
    otp_only: HashSet<End>,
    /// A user who is not listed, shows everything but an OTP, and whom no deliberate gate matches.
    unlisted: HashSet<End>,
    /// The same user, who shows nothing.
    unlisted_with_nothing: HashSet<End>,
    /// A user who is not listed and shows everything but an OTP.
    all_unlisted: HashSet<End>,
}

impl Ends {
    fn of(access: &Access) -> Option<Self> {
        let (all, usual) = (access.all(), Unusual::default());
        let unmeant = vec![false; access.questions.len()];
        let strict = Unusual { strict: true, ..usual };
        let (none, without) = (Factors::NONE, all.without(Factors::OTP));
        Some(Self {
            accepted: access.any_ends(Listing::Token, all, usual)?,
            refused: access.any_ends(Listing::Token, without, usual)?,
            nobody: access.ends(Listing::Token, &unmeant, none, strict)?,
            unasked: access.ends(Listing::Token, &unmeant, none, usual)?,
            otp_only: access.any_ends(Listing::Token, Factors::OTP, usual)?,
            unlisted: access.ends(Listing::NotListed, &unmeant, without, usual)?,
            unlisted_with_nothing: access.ends(Listing::NotListed, &unmeant, none, usual)?,
            all_unlisted: access.any_ends(Listing::NotListed, without, usual)?,
        })
    }

    /// Whether a login gets in. Account lines that refuse everybody are reported separately: then only the auth lines
    /// count.
    fn gets_in(&self, end: &End) -> bool {
        end.yes || (end.auth && self.account_is_closed())
    }

    /// Account lines other than ours refuse everybody.
    fn account_is_closed(&self) -> bool {
        let open = |end: &End| end.yes || end.refused_by.is_some();
        self.accepted.iter().any(|end| end.auth) && !self.accepted.iter().any(open)
    }
}

impl StackAnalysis<'_> {
    pub(super) fn all(&mut self) {
        if let Some(broken) = &self.service.broken {
            return self.broken(broken);
        }
        let access = self.access;
        let ours = access.auth.entries.iter().find(|entry| entry.is_ours());
        match (ours, Ends::of(access)) {
            // Nothing of the auth lines matters.
            _ if access.runs_no_auth() => {}
            (Some(ours), Some(ends)) => self.auth(ours, &ends),
            (Some(ours), None) => {
                let what = "there are too many ways through these lines to check them";
                let found = Diagnostic::warning(Code::PamLinesTooComplex, what);
                self.say(Kind::Auth, &ours.place, found, text("use fewer jumps"));
            }
            (None, _) => {}
        }
        self.account();
        self.lines();
    }

    fn auth(&mut self, ours: &Entry, ends: &Ends) {
        if !ends.accepted.iter().any(|end| end.asked) {
            let what = "the module is never reached: a line above ends the stack, or jumps over it";
            let found = Diagnostic::error(Code::NeverAsked, what);
            self.say(Kind::Auth, &ours.place, found, text("put this line above that one"));
            return self.past(ends);
        }
        if !ends.accepted.iter().any(|end| end.accepted && end.auth) {
            self.nobody_who_is_asked(ours);
        } else if ends.account_is_closed() {
            self.account_refuses_everybody(ours);
        }
        if ends.nobody.iter().any(|end| ends.gets_in(end)) {
            let what = "these lines let everybody in: neither an OTP nor anything else is needed";
            self.say(Kind::Auth, &ours.place, Diagnostic::error(Code::NoQuestionAsked, what), self.fix());
        }
        self.past(ends);
        self.exempt_and_out();
        self.excused(ends);
        self.no_is_ignored(ours, ends);
        self.otp_only(ours, ends);
        self.twice(ends);
        self.enroll();
        self.arguments(&self.access.auth);
    }

    fn account_refuses_everybody(&mut self, ours: &Entry) {
        if self.service.entries.iter().any(|entry| entry.kind == Kind::Account) {
            let what = "nobody gets in, not even with an accepted OTP: the account lines reject everybody";
            let place = self.access.account.entries.first().unwrap_or(ours).place.clone();
            let found = Diagnostic::error(Code::NobodyGetsIn, what);
            self.say(Kind::Account, &place, found, text("look for an account line that always rejects"));
        } else {
            // Perhaps no service, but a part of others.
            let what =
                "there are no account lines: libpam uses those of the service other, which reject everybody";
            let change = "unless other files include this one, add a line: account required pam_unix.so";
            let found = Diagnostic::note(Code::AccountLinesMissing, what);
            self.say(Kind::Account, &ours.place, found, text(change));
        }
    }

    fn nobody_who_is_asked(&mut self, ours: &Entry) {
        let broken = |role: &Role| matches!(role, Role::Ours { broken: true, .. });
        if self.access.auth.roles.iter().any(broken) {
            // Reported with the arguments.
            return;
        }
        let mut what = "nobody who is asked for an OTP gets in, not even with an accepted one".to_owned();
        if let Some((jump, target)) = onto_deny(&self.access.auth.entries) {
            let line = |entry: &Entry| {
                let place = &entry.place;
                if place.file == jump.place.file { format!("line {}", place.line) } else { place.to_string() }
            };
            what += &format!(
                ": {} {} jumps over pam_yubiotp ({}) onto {} ({})",
                jump.control(),
                jump.module(),
                line(ours),
                target.module(),
                line(target)
            );
            let found = Diagnostic::error(Code::NobodyGetsIn, what);
            self.say(Kind::Auth, &jump.place, found, below_the_jump());
        } else if self.access.auth.entries.iter().any(Entry::is_misread) {
            // Reported with the line itself.
            self.always_fails = true;
        } else {
            let blame: Vec<_> = self.always_no().into_iter().map(named).collect();
            match blame.len() {
                0 => {}
                1 => what += &format!(": {} always rejects", blame.concat()),
                _ => what += &format!(": {} always reject", blame.join(" and ")),
            }
            let open = |row: &Row| !row.ways.is_empty();
            if self.fronts.iter().any(|(front, rows)| front.use_pam && rows.iter().any(open)) {
                what += "; others get in without being asked (see who gets in)";
            }
            self.say(Kind::Auth, &ours.place, Diagnostic::error(Code::NobodyGetsIn, what), self.fix());
        }
    }

    /// Ways around the module.
    fn past(&mut self, ends: &Ends) {
        let around: Vec<_> = ends.refused.iter().filter(|end| end.auth && !end.asked).collect();
        let mut culprits: Vec<_> = around.iter().filter_map(|end| end.past).collect();
        culprits.sort_unstable();
        culprits.dedup();
        let access = self.access;
        for (at, culprit) in culprits.into_iter().filter_map(|at| Some((at, access.auth.entries.get(at)?))) {
            let own = |end: &&&End| end.past == Some(at);
            let guard = around.iter().filter(own).find_map(|end| end.refused_by);
            let guard = guard.and_then(|at| access.account.entries.get(at));
            let (found, remedies) = if !around.iter().filter(own).any(|end| ends.gets_in(end)) {
                let Some(guard) = guard else { continue };
                self.past_and_refused(at, culprit, guard, ends)
            } else {
                self.past_and_in(at, culprit, ends)
            };
            self.say(Kind::Auth, &culprit.place, found, remedies);
        }
    }

    /// A line that bypasses the module, and an account line that refuses these users.
    fn past_and_refused(
        &self,
        at: usize,
        culprit: &Entry,
        guard: &Entry,
        ends: &Ends,
    ) -> (Diagnostic, Vec<Remedy>) {
        let (by, guarded) = (bypasses(culprit), &guard.place);
        let deliberate = self.access.auth.is_deliberate(at);
        if ends.all_unlisted.iter().any(|end| end.yes && end.past == Some(at)) && !deliberate {
            let what = format!(
                "{by}: users whom it accepts get in without a YubiKey if the mapping does not list them, and {guarded} rejects them if it does"
            );
            return (Diagnostic::warning(Code::OtpBypassedThenRefused, what), self.fix());
        }
        let what = format!("{by}, and {guarded} rejects users who come that way");
        if deliberate {
            let remedies = self.exempt_in_account(culprit, guard);
            return (Diagnostic::warning(Code::ExemptUsersRefused, what), remedies);
        }
        let remedies = if culprit.control.jumps() { below_the_jump() } else { self.fix() };
        (Diagnostic::warning(Code::OtpBypassedThenRefused, what), remedies)
    }

    /// A line that bypasses the module, and lets these users in.
    fn past_and_in(&self, at: usize, culprit: &Entry, ends: &Ends) -> (Diagnostic, Vec<Remedy>) {
        let (access, by) = (self.access, bypasses(culprit));
        if ends.unasked.iter().any(|end| ends.gets_in(end) && end.past == Some(at)) {
            let what = format!("{by}: users whom it accepts get in, and are asked for nothing at all");
            let counted = access.auth.entries.iter().any(|entry| entry.control.jumps());
            let remedies = match !counted && self.is_its_own(culprit) {
                true => text("remove it, or put the lines that ask above it"),
                // A line less would change what jumps skip, and other services have it, too.
                false => text(SEE_EXAMPLES),
            };
            return (Diagnostic::error(Code::NoQuestionAsked, what), remedies);
        }
        if access.auth.is_deliberate(at) {
            let what = format!("{by}: users whom it matches are not asked for a YubiKey");
            return (Diagnostic::note(Code::UsersExempt, what), Vec::new());
        }
        if let (Some(fallbacks), Some(Role::Other { .. })) = (self.fallbacks(), access.auth.roles.get(at)) {
            let what = format!("{by}: {fallbacks} is enough in place of the OTP");
            return (Diagnostic::note(Code::OtherFactorEnough, what), Vec::new());
        }
        let by_a_yes = matches!(culprit.control.action(Answer::SUCCESS), Action::Jump(_) | Action::Done);
        let who = if by_a_yes { "users whom it accepts get in" } else { "users who come that way get in" };
        let remedies = if culprit.control.jumps() { below_the_jump() } else { self.fix() };
        (Diagnostic::warning(Code::OtpBypassed, format!("{by}: {who} without a YubiKey")), remedies)
    }

    /// Users whom a jump exempts, and whom no line accepts then.
    fn exempt_and_out(&mut self) {
        let access = self.access;
        for (at, (entry, role)) in access.auth.entries.iter().zip(&access.auth.roles).enumerate() {
            let Role::Gate { question, yes, no } = role else { continue };
            let jumps = |gates: &Vec<bool>| {
                let asked = access.questions.iter().position(|own| *own == question.text);
                let is_so = asked.and_then(|at| gates.get(at)).copied().unwrap_or_default();
                let answer = if is_so == question.reversed { *no } else { *yes };
                matches!(entry.control.action(answer), Action::Jump(_))
            };
            // With everything that there is to show.
            let ends = |gates: &Vec<bool>| {
                access.ends(Listing::Token, gates, access.all(), Unusual::default()).unwrap_or_default()
            };
            let is_out = |gates: &Vec<bool>| {
                let ends = ends(gates);
                ends.iter().any(|end| end.past == Some(at)) && !ends.iter().any(|end| end.auth)
            };
            let mut exempt = access.assignments();
            exempt.retain(jumps);
            let has_a_way = |gates: &Vec<bool>| {
                let rows = self.fronts.iter().flat_map(|(_, rows)| rows);
                rows.filter(|row| row.gates == *gates).any(|row| !row.ways.is_empty())
            };
            if exempt.is_empty() || !exempt.iter().all(|gates| is_out(gates) && !has_a_way(gates)) {
                continue;
            }
            let what = format!(
                "{}, but no line accepts the users whom it matches: they do not get in",
                bypasses(entry)
            );
            let change = "see pam_yubiotp(8), EXAMPLES, for how to exempt a group";
            let found = Diagnostic::warning(Code::ExemptUsersRefused, what);
            self.say(Kind::Auth, &entry.place, found, text(change));
        }
    }

    /// Users whom `nullok` excuses: who get in with nothing, or not at all.
    fn excused(&mut self, ends: &Ends) {
        let Some(line) = self.access.auth.entries.iter().find(|entry| role::has_nullok(entry)) else {
            return;
        };
        let with_nothing = ends.unlisted_with_nothing.iter().any(|end| end.yes && end.excused);
        let shows_nothing =
            |row: &Row| row.listing == Listing::NotListed && row.ways.contains(&Factors::NONE);
        if with_nothing && self.fronts.iter().any(|(_, rows)| rows.iter().any(shows_nothing)) {
            let what = "nullok, and no other line asks for anything: users whom the mapping does not list get in with nothing";
            let change = "remove nullok, or add a line that asks for a password";
            let found = Diagnostic::error(Code::NoQuestionAsked, what);
            self.say(Kind::Auth, &line.place, found, text(change));
        }
        let excused = || ends.unlisted.iter().filter(|end| end.excused);
        if excused().next().is_some() && !excused().any(|end| end.auth) {
            let what = "nullok excuses users whom the mapping does not list, but no line accepts those who reach it: they are rejected anyway";
            self.nullok_is_idle = true;
            let change = "remove nullok, or add a line that decides about them, such as one that asks for a password (see nullok in pam_yubiotp(8))";
            let found = Diagnostic::warning(Code::NullokWithoutEffect, what);
            self.say(Kind::Auth, &line.place, found, text(change));
        }
    }

    /// Users who get in although the module refuses them.
    fn no_is_ignored(&mut self, ours: &Entry, ends: &Ends) {
        if !ends.refused.iter().any(|end| end.auth && end.asked) {
            return self.faults_that_do_not_count(ours);
        }
        let control = ours.control();
        if let Some(fallbacks) = self.fallbacks() {
            let what = format!("{fallbacks} is enough in place of the OTP ({control})");
            let found = Diagnostic::note(Code::OtherFactorEnough, what);
            return self.say(Kind::Auth, &ours.place, found, Vec::new());
        }
        let asked = || ends.refused.iter().filter(|end| end.auth && end.asked);
        let guard = asked().find_map(|end| end.refused_by).and_then(|at| self.access.account.entries.get(at));
        let what = match guard.filter(|_| !asked().any(|end| ends.gets_in(end))) {
            Some(guard) => format!(
                "its rejection is not enforced ({control}), and {} rejects users who pass the other lines without an OTP",
                guard.place
            ),
            None => {
                format!(
                    "its rejection is not enforced ({control}): users who pass the other lines need no YubiKey"
                )
            }
        };
        let found = Diagnostic::warning(Code::RefusalNotEnforced, what);
        self.say(Kind::Auth, &ours.place, found, self.fix());
    }

    /// Other modules that are enough in place of ours: every way in without an OTP needs another factor in its place.
    /// `None` if a way in needs less.
    fn fallbacks(&self) -> Option<String> {
        let plain = Front::plain();
        let ways = |gates: &Vec<bool>| self.access.ways(Listing::Token, gates, &plain, &plain.methods);
        // Users whom no gate matches, or those whom one exempts from an account line.
        let without_otp = |ways: &Vec<Factors>| ways.iter().any(|way| !way.has(Factors::OTP));
        let ways = self.access.assignments().iter().filter_map(ways).find(without_otp)?;
        let (with, without): (Vec<Factors>, Vec<_>) = ways.into_iter().partition(|way| way.has(Factors::OTP));
        let known = Factors::PASSWORD.and(Factors::OTP);
        let mut instead = Vec::new();
        for way in without {
            let in_place = |own: &&Factors| {
                let rest = own.without(Factors::OTP);
                way.has(rest)
                    && way.without(rest) != Factors::NONE
                    && way.without(rest).without(known) == way.without(rest)
            };
            let own = with.iter().find(in_place)?;
            instead.push(way.without(*own));
        }
        (!instead.is_empty()).then(|| self.access.in_words(&instead))
    }

    /// Answers of the module that are no yes and are passed over, where its no counts.
    fn faults_that_do_not_count(&mut self, ours: &Entry) {
        let access = self.access;
        let passed_over = |answer| {
            let unusual = Unusual { ours: Some(answer), ..Unusual::default() };
            let ends = access.any_ends(Listing::Token, access.all(), unusual);
            ends.is_some_and(|ends| ends.iter().any(|end| end.auth && end.asked))
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
                "{control} ignores {} of the module: a user who can cause that needs no YubiKey",
                names.join(", ")
            );
            let found = Diagnostic::warning(Code::FaultNotEnforced, what);
            self.say(Kind::Auth, &ours.place, found, self.fix());
        }
        if passed_over(Answer::USER_UNKNOWN) {
            let what = format!(
                "{control} ignores user_unknown: users whom the mapping does not list need no YubiKey"
            );
            self.say(Kind::Auth, &ours.place, Diagnostic::note(Code::UnlistedExcused, what), Vec::new());
        }
    }

    /// An OTP that replaces what the other lines ask for.
    fn otp_only(&mut self, ours: &Entry, ends: &Ends) {
        let ssh = self.service.name == "sshd";
        let others = self.access.auth.entries.iter().any(role::asks);
        // After an ssh key, it is not the only thing.
        let base = self.fronts.iter().find(|(front, _)| front.condition.is_none());
        let behind_a_key = base.is_some_and(|(_, rows)| {
            let mut ways = rows.iter().filter(|row| row.listing == Listing::Token).flat_map(|row| &row.ways);
            ways.all(|way| !way.has(Factors::OTP) || way.without(Factors::PROOFS) != *way)
        });
        if !ends.otp_only.iter().any(|end| end.auth && end.accepted) || (ssh && behind_a_key && !others) {
            return;
        }
        let (found, remedies) = if others {
            let what = "an OTP is enough to get in, whatever the other lines ask for";
            (Diagnostic::warning(Code::OtpEnough, what), self.fix())
        } else {
            let what = "an OTP is enough to get in: no other line asks for anything";
            let change = "to ask for an ssh key as well, write above the first Match line of sshd_config: KbdInteractiveAuthentication yes, and in the next line: AuthenticationMethods publickey,keyboard-interactive";
            match ssh {
                // From anywhere on the network, a touch opens it.
                true => (
                    Diagnostic::warning(Code::OtpEnough, what).advise(change).run_when(
                        "then",
                        Program::System,
                        "systemctl reload ssh",
                    ),
                    Vec::new(),
                ),
                false => (Diagnostic::note(Code::OtpEnough, what), Vec::new()),
            }
        };
        self.say(Kind::Auth, &ours.place, found, remedies);
    }

    /// A line of the service's own below a profile that has it already.
    fn twice(&mut self, ends: &Ends) {
        let entries = &self.access.auth.entries;
        if let Some(other) = entries.iter().find(|entry| entry.module() == "pam_yubico") {
            let what = "pam_yubico asks for a YubiKey as well: each login takes two touches, and each module accepts OTPs that the other has accepted";
            let found = Diagnostic::note(Code::AskedByPamYubico, what)
                .advise("remove one of the two lines")
                .run_when("if pam-auth-update added it", Program::System, "pam-auth-update --disable yubico");
            self.say(Kind::Auth, &other.place, found, Vec::new());
        }
        let asked = || ends.accepted.iter().filter(|end| end.auth && end.accepted);
        let second = asked().filter_map(|end| end.second).min();
        let Some(second) = second.and_then(|at| self.access.auth.entries.get(at)) else { return };
        // Not if a single one is enough: then the other line is for other people.
        if asked().all(|end| end.second.is_some()) {
            let first = self.access.auth.entries.iter().find(|entry| entry.is_ours());
            let first = first.map(|first| first.place.to_string()).unwrap_or_default();
            let what = format!("asks again, after {first}: each login takes a second touch");
            let found = Diagnostic::warning(Code::AskedTwice, what);
            self.say(Kind::Auth, &second.place, found, text("remove one of the two lines"));
        }
    }
}

fn bypasses(culprit: &Entry) -> String {
    format!("{} {} bypasses pam_yubiotp", culprit.control(), culprit.module())
}

fn named(entry: &Entry) -> String {
    format!("{} ({})", entry.module(), entry.place)
}

/// The line that jumps over the module onto one that always says no, and that one: the module's line was put between a
/// jump and what it counted.
fn onto_deny(auth: &[Entry]) -> Option<(&Entry, &Entry)> {
    let ours = auth.iter().position(Entry::is_ours)?;
    auth.iter().take(ours).enumerate().find_map(|(at, jump)| {
        let Action::Jump(count) = jump.control.action(Answer::SUCCESS) else { return None };
        let target = at.saturating_add(1).saturating_add(usize::try_from(count).ok()?);
        let level = |entry: &Entry| entry.level == jump.level;
        let plain = target > ours && auth.get(at..=target)?.iter().all(level);
        let denies = |target: &&Entry| role::role(target, &mut Vec::new()) == Role::Deny;
        let target = auth.get(target).filter(denies).filter(|_| plain)?;
        Some((jump, target))
    })
}
