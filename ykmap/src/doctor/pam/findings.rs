//! What follows from who can get in with what: whom a line lets in with less than it seems to want, and whom the lines
//! keep out.

use super::super::report::Level;
use super::access::{Access, Front, Row, Unusual};
use super::advice::SEE_EXAMPLES;
use super::control::{Action, Answer};
use super::role::{self, Factors, Role};
use super::service::{Entry, Kind, Service};
use super::walk::{End, Listing};
use std::collections::{BTreeMap, HashSet};

/// Findings about stacks (kind, place, what, change, level), and for which services each holds.
pub(super) type Findings = BTreeMap<(&'static str, String, String, String, Level), Vec<String>>;

/// What is done about a jump that leads past the module: `required` in place of the jump would keep everybody out, for
/// what it jumps over says no.
const BELOW_THE_JUMP: &str = "put the line of pam_yubiotp below the one that it jumps to (in Debian's common-auth: below pam_permit, or in the service's own file below the @include)";

/// One service, and who can get in by it with what.
pub(super) struct StackAnalysis<'a> {
    pub(super) service: &'a Service,
    /// All services of the host.
    pub(super) services: &'a [Service],
    pub(super) access: &'a Access,
    /// For whom what is asked before, and what that comes to.
    pub(super) fronts: &'a [(Front, Vec<Row>)],
    /// A line that libpam does not understand keeps everybody out.
    pub(super) always_fails: bool,
    pub(super) findings: &'a mut Findings,
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

    /// Whether a login gets in. Account lines that refuse everybody are told of by themselves: then it is what the auth
    /// lines say.
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
    pub(super) fn say(
        &mut self,
        level: Level,
        kind: Kind,
        place: impl ToString,
        what: impl Into<String>,
        change: &str,
    ) {
        let key = (kind.name(), place.to_string(), what.into(), change.to_owned(), level);
        let services = self.findings.entry(key).or_default();
        if !services.contains(&self.service.name) {
            services.push(self.service.name.clone());
        }
    }

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
                let what = "there are too many ways through these lines to look at";
                self.say(Level::Warning, Kind::Auth, &ours.place, what, "use fewer jumps");
            }
            (None, _) => {}
        }
        self.account();
        self.lines();
    }

    fn auth(&mut self, ours: &Entry, ends: &Ends) {
        if !ends.accepted.iter().any(|end| end.asked) {
            let what = "is never asked: a line above ends it, or jumps over it";
            self.say(Level::Error, Kind::Auth, &ours.place, what, "put this line above that one");
            return self.past(ends);
        }
        if !ends.accepted.iter().any(|end| end.accepted && end.auth) {
            self.nobody_who_is_asked(ours);
        } else if ends.account_is_closed() {
            self.account_refuses_everybody(ours);
        }
        if ends.nobody.iter().any(|end| ends.gets_in(end)) {
            let what = "lets in everybody: neither an OTP nor anything else is needed for a yes";
            self.say(Level::Error, Kind::Auth, &ours.place, what, &self.fix());
        }
        self.past(ends);
        self.exempt_and_out();
        self.excused(ends);
        self.no_is_ignored(ours, ends);
        self.otp_only(ours, ends);
        self.twice(ends);
        self.arguments(&self.access.auth);
    }

    fn account_refuses_everybody(&mut self, ours: &Entry) {
        if self.service.entries.iter().any(|entry| entry.kind == Kind::Account) {
            let what = "nobody gets in, not even with an OTP that the module accepts: the account lines refuse everybody";
            let place = self.access.account.entries.first().unwrap_or(ours).place.clone();
            let change = "look at the account lines that say no whatever happens";
            self.say(Level::Error, Kind::Account, place, what, change);
        } else {
            // Perhaps no service, but a part of others.
            let what = "there are no account lines: libpam takes those of other, which refuse everybody";
            let change = "account required pam_unix.so, unless other files include this one";
            self.say(Level::Note, Kind::Account, &ours.place, what, change);
        }
    }

    fn nobody_who_is_asked(&mut self, ours: &Entry) {
        let broken = |role: &Role| matches!(role, Role::Ours { broken: true, .. });
        if self.access.auth.roles.iter().any(broken) {
            // Told of the arguments.
            return;
        }
        let mut what = "nobody who is asked gets in, not even with an OTP that the module accepts".to_owned();
        if let Some((jump, target)) = onto_deny(&self.access.auth.entries) {
            let line = |entry: &Entry| {
                let place = &entry.place;
                if place.file == jump.place.file { format!("line {}", place.line) } else { place.to_string() }
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
        } else if self.access.auth.entries.iter().any(Entry::is_misread) {
            // Told of the line itself.
            self.always_fails = true;
        } else {
            let blame: Vec<_> = self.always_no().into_iter().map(named).collect();
            if !blame.is_empty() {
                what += &format!(": {} says no whatever happens", blame.join(" and "));
            }
            let open = |row: &Row| !row.ways.is_empty();
            if self.fronts.iter().any(|(front, rows)| front.use_pam && rows.iter().any(open)) {
                what += "; others get in without being asked (see who gets in)";
            }
            self.say(Level::Error, Kind::Auth, &ours.place, what, &self.fix());
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
            let (name, control) = (culprit.module(), culprit.control());
            let by = format!("{control} {name} leads past pam_yubiotp");
            let own = |end: &&&End| end.past == Some(at);
            let guard = around.iter().filter(own).find_map(|end| end.refused_by);
            let guard = guard.and_then(|at| access.account.entries.get(at));
            let deliberate = access.auth.is_deliberate(at);
            if !around.iter().filter(own).any(|end| ends.gets_in(end)) {
                let Some(guard) = guard else { continue };
                if ends.all_unlisted.iter().any(|end| end.yes && end.past == Some(at)) && !deliberate {
                    let what = format!(
                        "{by}: whoever it says yes to gets in without a YubiKey if the mapping does not list them, and is refused by {} if it does",
                        guard.place
                    );
                    self.say(Level::Warning, Kind::Auth, &culprit.place, what, &self.fix());
                    continue;
                }
                let what = format!("{by}, and whoever comes that way is refused by {}", guard.place);
                let change = if deliberate {
                    self.exempt_in_account(culprit, guard)
                } else if culprit.control.jumps() {
                    BELOW_THE_JUMP.to_owned()
                } else {
                    self.fix()
                };
                self.say(Level::Warning, Kind::Auth, &culprit.place, what, &change);
            } else if ends.unasked.iter().any(|end| ends.gets_in(end) && end.past == Some(at)) {
                let what = format!("{by}: who it says yes to gets in, and is asked for nothing at all");
                let counted = access.auth.entries.iter().any(|entry| entry.control.jumps());
                let change = match !counted && self.is_its_own(culprit) {
                    true => "take it out, or put the lines that ask above it",
                    // A line less would change what jumps skip, and other services have it, too.
                    false => SEE_EXAMPLES,
                };
                self.say(Level::Error, Kind::Auth, &culprit.place, what, change);
            } else if deliberate {
                let what = format!("{by}: who it means is not asked for a YubiKey");
                self.say(Level::Note, Kind::Auth, &culprit.place, what, "");
            } else if let (Some(fallbacks), Some(Role::Other { .. })) =
                (self.fallbacks(), access.auth.roles.get(at))
            {
                let what = format!("{by}: {fallbacks} is enough in place of the OTP");
                self.say(Level::Note, Kind::Auth, &culprit.place, what, "");
            } else {
                let by_a_yes =
                    matches!(culprit.control.action(Answer::SUCCESS), Action::Jump(_) | Action::Done);
                let who = if by_a_yes { "whoever it says yes to" } else { "whoever comes that way" };
                let what = format!("{by}: {who} gets in without a YubiKey");
                let change = if culprit.control.jumps() { BELOW_THE_JUMP.to_owned() } else { self.fix() };
                self.say(Level::Warning, Kind::Auth, &culprit.place, what, &change);
            }
        }
    }

    /// Users whom a jump exempts, and to whom no line says yes then.
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
                "{} {} skips pam_yubiotp for users it matches, and no line says yes to them: they do not get in",
                entry.control(),
                entry.module()
            );
            let change = "pam_yubiotp(8) says how to exempt a group (EXAMPLES)";
            self.say(Level::Warning, Kind::Auth, &entry.place, what, change);
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
            let what =
                "nullok, and no other line asks: users whom the mapping does not list get in with nothing";
            let change = "take nullok out, or ask for a password as well";
            self.say(Level::Error, Kind::Auth, &line.place, what, change);
        }
        let excused = || ends.unlisted.iter().filter(|end| end.excused);
        if excused().next().is_some() && !excused().any(|end| end.auth) {
            let what = "nullok excuses users whom the mapping does not list, and no line says yes to them: they are refused all the same";
            let change = "take nullok out, or let another line decide about them, such as one that asks for a password (pam_yubiotp(8) says what nullok does)";
            self.say(Level::Warning, Kind::Auth, &line.place, what, change);
        }
    }

    /// Users who get in although the module refuses them.
    fn no_is_ignored(&mut self, ours: &Entry, ends: &Ends) {
        if !ends.refused.iter().any(|end| end.auth && end.asked) {
            return self.faults_that_do_not_count(ours);
        }
        if let Some(fallbacks) = self.fallbacks() {
            let what = format!("{fallbacks} is enough in place of the OTP ({})", ours.control());
            return self.say(Level::Note, Kind::Auth, &ours.place, what, "");
        }
        let control = ours.control();
        let asked = || ends.refused.iter().filter(|end| end.auth && end.asked);
        let guard = asked().find_map(|end| end.refused_by).and_then(|at| self.access.account.entries.get(at));
        if let Some(guard) = guard.filter(|_| !asked().any(|end| ends.gets_in(end))) {
            let what = format!(
                "its no does not count ({control}), and users who pass the other lines without it are refused by {}",
                guard.place
            );
            return self.say(Level::Warning, Kind::Auth, &ours.place, what, &self.fix());
        }
        let what = format!("its no does not count ({control}): who passes the other lines needs no YubiKey");
        self.say(Level::Warning, Kind::Auth, &ours.place, what, &self.fix());
    }

    /// Other modules that are enough in place of ours: every way in without an OTP needs another factor in its place. `None`
    /// if a way in needs less.
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
                "{control} passes over {} of the module: who brings that about needs no YubiKey",
                names.join(", ")
            );
            self.say(Level::Warning, Kind::Auth, &ours.place, what, &self.fix());
        }
        if passed_over(Answer::USER_UNKNOWN) {
            let what = format!(
                "{control} passes over user_unknown: users whom the mapping does not list need no YubiKey"
            );
            self.say(Level::Note, Kind::Auth, &ours.place, what, "");
        }
    }

    /// An OTP that replaces what the other lines ask for.
    fn otp_only(&mut self, ours: &Entry, ends: &Ends) {
        let ssh = self.service.name == "sshd";
        let others = self.access.auth.entries.iter().any(role::asks);
        // Behind an ssh key, it is not the only thing.
        let base = self.fronts.iter().find(|(front, _)| front.condition.is_none());
        let behind_a_key = base.is_some_and(|(_, rows)| {
            let mut ways = rows.iter().filter(|row| row.listing == Listing::Token).flat_map(|row| &row.ways);
            ways.all(|way| !way.has(Factors::OTP) || way.without(Factors::PROOFS) != *way)
        });
        if !ends.otp_only.iter().any(|end| end.auth && end.accepted) || (ssh && behind_a_key && !others) {
            return;
        }
        let (level, what, change) = match others {
            true => (Level::Warning, "the OTP alone lets in, whatever the other lines ask for", self.fix()),
            false => (
                Level::Note,
                "the OTP alone lets in: no other line asks for anything",
                if ssh {
                    "if a key is to be needed, too: AuthenticationMethods publickey,keyboard-interactive in sshd_config".to_owned()
                } else {
                    String::new()
                },
            ),
        };
        self.say(level, Kind::Auth, &ours.place, what, &change);
    }

    /// A line of the service's own below a profile that has it already.
    fn twice(&mut self, ends: &Ends) {
        let entries = &self.access.auth.entries;
        if let Some(other) = entries.iter().find(|entry| entry.module() == "pam_yubico") {
            let what = "pam_yubico asks for a YubiKey, too: that takes two touches, and each module accepts OTPs that the other has accepted";
            let change = "take one of the two lines out (pam-auth-update --disable yubico)";
            self.say(Level::Note, Kind::Auth, &other.place, what, change);
        }
        let asked = || ends.accepted.iter().filter(|end| end.auth && end.accepted);
        let second = asked().filter_map(|end| end.second).min();
        let Some(second) = second.and_then(|at| self.access.auth.entries.get(at)) else { return };
        // Not if a single one is enough: then the other line is for other people.
        if asked().all(|end| end.second.is_some()) {
            let first = self.access.auth.entries.iter().find(|entry| entry.is_ours());
            let first = first.map(|first| first.place.to_string()).unwrap_or_default();
            let what = format!("asks again, after {first}: that takes a second press");
            self.say(Level::Warning, Kind::Auth, &second.place, what, "take one of the two lines out");
        }
    }
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
