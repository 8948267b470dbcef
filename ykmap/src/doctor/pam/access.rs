//! The factors with which users get in: one service, each class of user, every way through what the application asks
//! before PAM, the auth lines and the account lines.

use super::control::Answer;
use super::first_factor;
use super::policy::PolicyClasses;
use super::role::{CALLED_BY_ROOT, Factors, Fails, MOST_OTHERS, Role, role};
use super::service::{Entry, Kind, Service};
use super::walk::{self, End, Listing, Stack, Typed, Visit};
use std::collections::HashSet;
use yubiotp::diagnostic::{Diagnostic, Location};
use yubiotp::shown;

/// Services whose application runs as root, whatever user logs in: `pam_rootok` says yes to everybody there.
const RUN_BY_ROOT: [&str; 12] = [
    "atd",
    "cron",
    "crond",
    "gdm-password",
    "lightdm",
    "login",
    "remote",
    "sddm",
    "sshd",
    "systemd-user",
    "vsftpd",
    "xrdp-sesman",
];

/// Services whose program runs with the uid of its caller, which is what `pam_rootok` looks at.
const RUN_BY_THEIR_CALLER: [&str; 7] = ["chfn", "chsh", "passwd", "su", "su-l", "sudo", "sudo-i"];

/// Services that run account lines and never any auth line.
const RUN_NO_AUTH: [&str; 4] = ["atd", "cron", "crond", "systemd-user"];

/// Of more questions that deliberate gates ask, the answers are left open.
const MOST_QUESTIONS: usize = 4;

/// How an application runs the auth lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Each prompt is shown, and gets an answer of its own.
    Prompts,
    /// One answer is given to every prompt: sshd's method `password`.
    OneAnswer,
}

/// The questions of an application, one after another.
#[derive(Debug, Clone)]
pub(crate) struct Methods {
    /// As it is written in its settings.
    pub(crate) written: String,
    /// The factors that it proves by itself.
    pub(crate) proofs: Factors,
    /// It has proven one of them before it runs the auth lines for the first time.
    pub(crate) proven_first: bool,
    /// How often it runs the auth lines, and how.
    pub(crate) steps: Vec<Step>,
}

/// The questions of an application before the lines in pam.d.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    /// For whom it is, as the settings of sshd say it; `None` for everybody else.
    pub(crate) condition: Option<String>,
    /// Where that is set.
    pub(crate) place: Option<Location>,
    /// Any of these is enough.
    pub(crate) methods: Vec<Methods>,
    /// Why methods that somebody wrote cannot be used.
    pub(crate) off: Vec<String>,
    /// Somebody wrote these, rather than leaving it to the defaults.
    pub(crate) explicit: bool,
    /// The account lines are looked at.
    pub(crate) use_pam: bool,
    /// The answers to gates about everybody whom this is for: a `Match Group` means the group that a gate asks about.
    pub(crate) known: Vec<(String, bool)>,
}

impl Front {
    /// Of applications that leave it all to the lines in pam.d.
    pub(crate) fn plain() -> Self {
        let methods = Methods {
            written: String::new(),
            proofs: Factors::NONE,
            proven_first: false,
            steps: vec![Step::Prompts],
        };
        Self {
            condition: None,
            place: None,
            methods: vec![methods],
            off: Vec::new(),
            explicit: false,
            use_pam: true,
            known: Vec::new(),
        }
    }

    /// Of applications that run no auth line.
    pub(crate) fn without_auth() -> Self {
        let mut front = Self::plain();
        front.methods.iter_mut().for_each(|methods| methods.steps.clear());
        front
    }
}

/// A class of users, and the ways in: each a smallest set of things to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) listing: Listing,
    /// The answers to the gates, in the order of [`Access::questions`].
    pub(crate) gates: Vec<bool>,
    pub(crate) ways: Vec<Factors>,
}

/// Classes of users that have the same ways in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    /// Their state in the mapping and the store.
    pub(crate) listings: Vec<Listing>,
    /// The same, in words.
    pub(crate) listed_as: String,
    /// The questions of deliberate gates with their answers; only those that matter.
    pub(crate) conditions: Vec<(String, bool)>,
    pub(crate) ways: Vec<Vec<String>>,
}

impl Class {
    /// `if called by root, unless user ingroup robots`; empty if no gate matters.
    pub(crate) fn condition_in_words(&self) -> String {
        let words = self.conditions.iter().map(|(test, holds)| {
            let when = if *holds { "if" } else { "unless" };
            format!("{when} {test}")
        });
        words.collect::<Vec<_>>().join(", ")
    }

    /// All of it in words.
    pub(crate) fn in_words(&self) -> String {
        match self.condition_in_words() {
            condition if condition.is_empty() => self.listed_as.clone(),
            condition => format!("{}, {condition}", self.listed_as),
        }
    }
}

/// How one login differs from the usual.
#[derive(Clone, Copy, Default)]
pub(crate) struct Unusual {
    pub(crate) one_answer: Option<Typed>,
    pub(crate) ours: Option<Answer>,
    pub(crate) strict: bool,
    pub(crate) skips_auth: bool,
}

/// One service.
pub(crate) struct Access {
    service: String,
    pub(crate) auth: Stack,
    pub(crate) account: Stack,
    /// Modules that have a factor of their own.
    others: Vec<String>,
    /// The questions of deliberate gates.
    pub(crate) questions: Vec<String>,
    /// Whether the auth lines prove a first factor where a line with `enroll` is reached; `None` without such a line.
    pub(crate) first_factor: Option<Result<(), Diagnostic>>,
    /// The classes of users that the policy makes, if there is one.
    pub(crate) policy: PolicyClasses,
}

impl Access {
    /// `other` is the service that libpam takes kinds of lines from that this one has none of.
    pub(crate) fn new(service: &Service, other: Option<&Service>) -> Self {
        let of = |service: &Service, kind: Kind| {
            service.entries.iter().filter(|entry| entry.kind == kind).cloned().collect::<Vec<Entry>>()
        };
        let lines = |kind: Kind| {
            let own = of(service, kind);
            match other {
                Some(other) if own.is_empty() => of(other, kind),
                _ => own,
            }
        };
        Self::of(&service.name, lines(Kind::Auth), lines(Kind::Account))
    }

    fn of(service: &str, auth: Vec<Entry>, account: Vec<Entry>) -> Self {
        let (mut others, mut questions) = (Vec::new(), Vec::new());
        let run_by_root = RUN_BY_ROOT.contains(&service);
        let mut stack = |entries: Vec<Entry>| {
            let mut role = |entry: &Entry| match entry.module() {
                "pam_rootok" if run_by_root => Role::Permit,
                _ => role(entry, &mut others),
            };
            let roles: Vec<_> = entries.iter().map(&mut role).collect();
            for role in &roles {
                if let Role::Gate { question, .. } = role
                    && !questions.contains(&question.text)
                    && questions.len() < MOST_QUESTIONS
                {
                    questions.push(question.text.clone());
                }
            }
            Stack { entries, roles }
        };
        let (auth, account) = (stack(auth), stack(account));
        let first_factor = first_factor::check(&auth.entries);
        let policy = PolicyClasses::default();
        Self { service: service.to_owned(), auth, account, others, questions, first_factor, policy }
    }

    /// The same service with other auth and account lines: what an advice would come to.
    pub(crate) fn edited(&self, edit: impl FnOnce(&mut Vec<Entry>, &mut Vec<Entry>)) -> Self {
        let (mut auth, mut account) = (self.auth.entries.clone(), self.account.entries.clone());
        edit(&mut auth, &mut account);
        Self::of(&self.service, auth, account)
    }

    /// From here on, logins end in a fault at those lines of ours that `at` says it of, by their place.
    pub(crate) fn fail(&mut self, at: &dyn Fn(&str) -> Option<Fails>) {
        for stack in [&mut self.auth, &mut self.account] {
            for (entry, role) in stack.entries.iter().zip(&mut stack.roles) {
                if let Role::Ours { fails, .. } = role {
                    *fails = at(&entry.place.to_string());
                }
            }
        }
    }

    /// Whether `pam_rootok` asks who calls the program, rather than who runs the application.
    pub(crate) fn runs_by_its_caller(&self) -> bool {
        RUN_BY_THEIR_CALLER.contains(&self.service.as_str())
    }

    /// Whether the application never runs an auth line.
    pub(crate) fn runs_no_auth(&self) -> bool {
        RUN_NO_AUTH.contains(&self.service.as_str())
    }

    /// Whether the same people get in by the same ways as before, in all classes. Callers that are root may get in in
    /// more ways, and must not be kept out.
    pub(crate) fn is_the_same_as(&self, before: &Self, front: &Front) -> Option<bool> {
        for listing in [Listing::Token, Listing::NoToken, Listing::NotListed] {
            for gates in before.assignments_behind(front) {
                let told = |text: &String| {
                    let at = before.questions.iter().position(|own| own == text);
                    at.and_then(|at| gates.get(at)).copied().unwrap_or_default()
                };
                let own: Vec<_> = self.questions.iter().map(told).collect();
                let (ways, was) = (
                    self.ways(listing, &own, front, &front.methods)?,
                    before.ways(listing, &gates, front, &front.methods)?,
                );
                let by_root = told(&CALLED_BY_ROOT.to_owned());
                let good = if by_root { was.is_empty() || !ways.is_empty() } else { ways == was };
                if !good {
                    return Some(false);
                }
            }
        }
        Some(true)
    }

    /// Everything that somebody can show to the auth lines.
    pub(crate) fn all(&self) -> Factors {
        self.auth.roles.iter().fold(Factors::NONE, |all, role| {
            all.and(match role {
                Role::Ours { .. } => Factors::OTP,
                Role::Password { .. } => Factors::PASSWORD,
                Role::Other { factor, .. } => *factor,
                _ => Factors::NONE,
            })
        })
    }

    /// Whether a login by these methods has proven its first factor where a line with `enroll` is reached.
    pub(crate) fn offers_enrollment_after(&self, methods: &Methods) -> bool {
        let proven = |verdict: &Result<(), _>| verdict.is_ok() || methods.proven_first;
        !methods.steps.is_empty() && self.first_factor.as_ref().is_some_and(proven)
    }

    /// Every way to answer the deliberate gates; all of them no, first.
    pub(crate) fn assignments(&self) -> Vec<Vec<bool>> {
        let count = u32::try_from(self.questions.len()).unwrap_or_default();
        (0..1_u32 << count).map(|bits| (0..count).map(|bit| bits & (1 << bit) != 0).collect()).collect()
    }

    /// Those of them that are possible for whom this is for.
    pub(crate) fn assignments_behind(&self, front: &Front) -> Vec<Vec<bool>> {
        let mut all = self.assignments();
        for (text, is_so) in &front.known {
            if let Some(at) = self.questions.iter().position(|own| own == text) {
                all.retain(|gates| gates.get(at) == Some(is_so));
            }
        }
        all
    }

    /// Every end of a login. `None` if there are too many ways.
    pub(crate) fn ends(
        &self,
        listing: Listing,
        gates: &[bool],
        has: Factors,
        unusual: Unusual,
    ) -> Option<HashSet<End>> {
        let gate = |text: &str| {
            let at = self.questions.iter().position(|own| own == text)?;
            gates.get(at).copied()
        };
        let Unusual { one_answer, ours, strict, skips_auth } = unusual;
        let visit = Visit {
            listing,
            has,
            gate: &gate,
            one_answer,
            ours,
            strict,
            skips_auth,
            on_exempt: self.policy.on_exempt(),
        };
        walk::ends(&self.auth, &self.account, &visit)
    }

    /// The same, for each answer of the gates.
    pub(crate) fn any_ends(&self, listing: Listing, has: Factors, unusual: Unusual) -> Option<HashSet<End>> {
        let mut all = HashSet::new();
        for gates in self.assignments() {
            all.extend(self.ends(listing, &gates, has, unusual)?);
        }
        Some(all)
    }

    fn step(&self, listing: Listing, gates: &[bool], has: Factors, step: Step) -> Option<HashSet<End>> {
        let answers = match step {
            Step::Prompts => vec![None],
            Step::OneAnswer => {
                [Typed::Wrong, Typed::Password, Typed::Otp, Typed::Both].map(Some).into_iter().collect()
            }
        };
        let can = |typed: &Option<Typed>| match typed {
            None | Some(Typed::Wrong) => true,
            Some(Typed::Password) => has.has(Factors::PASSWORD),
            Some(Typed::Otp) => has.has(Factors::OTP),
            Some(Typed::Both) => has.has(Factors::PASSWORD.and(Factors::OTP)),
        };
        let mut all = HashSet::new();
        for one_answer in answers.into_iter().filter(can) {
            all.extend(self.ends(listing, gates, has, Unusual { one_answer, ..Unusual::default() })?);
        }
        Some(all)
    }

    /// Whether somebody who has this gets in by these methods.
    fn lets_in(&self, listing: Listing, gates: &[bool], has: Factors, methods: &Methods) -> Option<bool> {
        let Some((last, before)) = methods.steps.split_last() else {
            let unusual = Unusual { skips_auth: true, ..Unusual::default() };
            return Some(self.ends(listing, gates, has, unusual)?.iter().any(|end| end.yes));
        };
        for step in before {
            if !self.step(listing, gates, has, *step)?.iter().any(|end| end.auth) {
                return Some(false);
            }
        }
        Some(self.step(listing, gates, has, *last)?.iter().any(|end| end.yes))
    }

    /// The ways in by these methods, for one class.
    pub(crate) fn ways(
        &self,
        listing: Listing,
        gates: &[bool],
        front: &Front,
        methods: &[Methods],
    ) -> Option<Vec<Factors>> {
        let mut ways = Vec::new();
        for methods in methods {
            if !front.use_pam {
                ways.push(methods.proofs);
                continue;
            }
            // What sshd itself wants proved, no module can be shown.
            let all = if methods.steps.is_empty() { Factors::NONE } else { self.all() };
            let is_offered = match listing {
                Listing::NotListed => true,
                Listing::Excused => self.policy.may_postpone,
                Listing::Token | Listing::NoToken | Listing::Exempt => false,
            };
            let enrolls = is_offered && self.offers_enrollment_after(methods);
            let all = if enrolls { all.and(Factors::ENROLLMENT) } else { all };
            for has in all.without(Factors::PROOFS).subsets() {
                let way = methods.proofs.and(has);
                let known = |other: &Factors| way.has(*other);
                if !ways.iter().any(known) && self.lets_in(listing, gates, way, methods)? {
                    ways.push(way);
                }
            }
        }
        let smallest = |way: &Factors| !ways.iter().any(|other| other != way && way.has(*other));
        let mut smallest: Vec<_> = ways.iter().copied().filter(smallest).collect();
        smallest.sort_unstable_by_key(|way| (way.0.count_ones(), *way));
        smallest.dedup();
        Some(smallest)
    }

    /// Every class of users, and their ways in. `None` if there are too many to look at.
    pub(crate) fn rows(&self, front: &Front) -> Option<Vec<Row>> {
        let mut rows = Vec::new();
        for listing in self.policy.listings() {
            for gates in self.assignments_behind(front) {
                let ways = self.ways(listing, &gates, front, &front.methods)?;
                rows.push(Row { listing, gates, ways });
            }
        }
        Some(rows)
    }

    fn names(&self, way: Factors) -> Vec<String> {
        let fixed = Factors::NAMES.iter().map(|name| (*name).to_owned());
        let others = self.others.iter().enumerate().filter_map(|(at, name)| {
            let last = usize::try_from(MOST_OTHERS).ok()?.checked_sub(1)?;
            match at.cmp(&last) {
                std::cmp::Ordering::Less => Some(shown::text(name).to_string()),
                std::cmp::Ordering::Equal if self.others.len() > at.saturating_add(1) => {
                    Some("another module".to_owned())
                }
                std::cmp::Ordering::Equal => Some(shown::text(name).to_string()),
                std::cmp::Ordering::Greater => None,
            }
        });
        let named = fixed.chain(others).zip(0_u32..);
        named.filter(|(_, bit)| way.has(Factors(1 << bit))).map(|(name, _)| name).collect()
    }

    /// The rows as they are shown: classes that have the same ways in are one, and gates that change nothing are not
    /// named.
    pub(crate) fn classes(&self, rows: &[Row]) -> Vec<Class> {
        let ways_of = |listing: Listing, gates: &[bool]| {
            rows.iter().find(|row| row.listing == listing && row.gates == gates).map(|row| &row.ways)
        };
        let matters = |at: usize| {
            rows.iter().any(|row| {
                let mut flipped = row.gates.clone();
                flipped.get_mut(at).into_iter().for_each(|gate| *gate = !*gate);
                ways_of(row.listing, &flipped).is_some_and(|ways| *ways != row.ways)
            })
        };
        let relevant: Vec<_> = (0..self.questions.len()).filter(|at| matters(*at)).collect();
        let mut shown = Vec::<(Vec<Listing>, Vec<bool>, &Vec<Factors>)>::new();
        let mut seen = HashSet::new();
        for row in rows {
            let gates = row.gates.iter().enumerate().map(|(at, gate)| *gate && relevant.contains(&at));
            let gates: Vec<_> = gates.collect();
            if !seen.insert((row.listing, gates.clone())) {
                continue;
            }
            match shown.iter_mut().find(|(_, own, ways)| *own == gates && *ways == &row.ways) {
                Some((listings, ..)) => listings.push(row.listing),
                None => shown.push((vec![row.listing], gates, &row.ways)),
            }
        }
        shown.sort_by_key(|(listings, gates, _)| (gates.clone(), listings.clone()));
        let shown = shown.into_iter().map(|(listings, gates, ways)| {
            let conditions = relevant
                .iter()
                .filter_map(|at| Some((shown::text(self.questions.get(*at)?).to_string(), *gates.get(*at)?)));
            let conditions = conditions.collect();
            let ways = ways.iter().map(|way| self.names(*way)).collect();
            let listed_as = self.policy.in_words(&listings);
            Class { listings, listed_as, conditions, ways }
        });
        shown.collect()
    }

    /// Ways in, in words.
    pub(crate) fn in_words(&self, ways: &[Factors]) -> String {
        in_words(&ways.iter().map(|way| self.names(*way)).collect::<Vec<_>>())
    }
}

/// Ways in, in words.
pub(crate) fn in_words(ways: &[Vec<String>]) -> String {
    if ways.is_empty() {
        return "no way in".to_owned();
    }
    let way = |names: &Vec<String>| {
        if names.is_empty() { "without being asked".to_owned() } else { names.join(" + ") }
    };
    ways.iter().map(way).collect::<Vec<_>>().join(", or ")
}
