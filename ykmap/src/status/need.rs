//! What the policy asks of the users, by service, and how far a roll-out has come.

use super::users::{User, Users};
use crate::doctor::Asking;
use serde_json::{Value, json};
use yubiotp::policy::{Login, Need, Policy, RemoteHost, Rules};

/// How many users of one need there are, and how many of them have no token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) users: usize,
    pub(crate) without_token: usize,
}

impl Count {
    fn add(&mut self, user: &User) {
        self.users = self.users.saturating_add(1);
        self.without_token = self.without_token.saturating_add(usize::from(user.tokens.is_empty()));
    }

    fn json(self) -> Value {
        json!({ "users": self.users, "without_token": self.without_token })
    }
}

/// What some services ask of the users now.
pub(crate) struct Needs {
    /// Empty if no service asks: then it is what the general rules say.
    pub(crate) services: Vec<String>,
    pub(crate) counts: Counts,
}

/// How many users there are of each need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Need a token. Those without one are rejected, unless the line excuses them.
    pub(crate) required: Count,
    /// Need one later: those without one may postpone enrolling.
    pub(crate) postponable: Count,
    /// Are asked if they have one: those without one are excused.
    pub(crate) if_enrolled: Count,
    /// Are never asked.
    pub(crate) exempt: Count,
    /// A rule may mean them in another spelling.
    pub(crate) undecided: Count,
    /// Of those without a token whom `required` counts, `nullok` excuses this many.
    pub(crate) by_nullok: usize,
}

impl Counts {
    fn of(policy: &Policy, users: &Users, service: &Asking, unix: u64) -> Self {
        let mut counts = Self::default();
        for user in users.iter() {
            let need = policy.ruling(&login(&user.name, service, unix)).map(|ruling| ruling.need);
            let count = match need {
                Ok(Need::Required) => &mut counts.required,
                Ok(Need::Postponable { .. }) => &mut counts.postponable,
                Ok(Need::IfEnrolled) => &mut counts.if_enrolled,
                Ok(Need::Exempt) => &mut counts.exempt,
                Err(_) => &mut counts.undecided,
            };
            count.add(user);
            if service.nullok && need == Ok(Need::Required) && !user.is_listed() {
                counts.by_nullok = counts.by_nullok.saturating_add(1);
            }
        }
        counts
    }
}

impl Needs {
    pub(super) fn json(&self) -> Value {
        let Counts { required, postponable, if_enrolled, exempt, undecided, by_nullok } = self.counts;
        json!({
            "services": self.services,
            "required": required.json(),
            "postponable": postponable.json(),
            "if_enrolled": if_enrolled.json(),
            "exempt": exempt.json(),
            "undecided": undecided.json(),
            "excused_by_nullok": by_nullok,
        })
    }
}

/// By these services, the users' needs; services of which the same holds are counted together.
pub(super) fn needs(policy: &Policy, users: &Users, services: &[Asking], unix: u64) -> Vec<Needs> {
    let mut found = Vec::<Needs>::new();
    for service in or_general(services) {
        let (counts, name) = (Counts::of(policy, users, service, unix), service.shown());
        match found.iter_mut().find(|needs| needs.counts == counts) {
            Some(same) => same.services.extend(name),
            None => found.push(Needs { services: name.into_iter().collect(), counts }),
        }
    }
    found
}

/// Where no service asks, the general rules are what will hold.
fn or_general(services: &[Asking]) -> &[Asking] {
    static GENERAL: [Asking; 1] = [Asking { name: String::new(), nullok: false, is_local: false }];
    if services.is_empty() { &GENERAL } else { services }
}

/// A roll-out that has not ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RollOut {
    /// Empty if no service asks: then it is that of the general rules.
    pub(crate) services: Vec<String>,
    /// Seconds since 1970.
    pub(crate) not_before: Option<u64>,
    pub(crate) until: Option<u64>,
    /// The users who will need a token and have one, whether it works or not.
    pub(crate) enrolled: Vec<String>,
    /// Those who have none.
    pub(crate) missing: Vec<String>,
}

impl RollOut {
    /// The moment from which on users without a token are rejected.
    pub(crate) fn end(&self) -> u64 {
        self.not_before.max(self.until).unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "services": self.services,
            "not_before": self.not_before,
            "until": self.until,
            "enrolled": self.enrolled.len(),
            "missing": self.missing.len(),
            "missing_users": self.missing,
        })
    }
}

/// The roll-outs that have not ended, by these services.
pub(super) fn roll_outs(policy: &Policy, users: &Users, services: &[Asking], unix: u64) -> Vec<RollOut> {
    let mut found = Vec::<RollOut>::new();
    for service in or_general(services) {
        let of = |date: fn(&Rules) -> Option<u64>| {
            policy.services.get(&service.name).and_then(date).or_else(|| date(&policy.general))
        };
        let (not_before, until) = (of(|rules| rules.not_before), of(|rules| rules.until));
        let Some(end) = not_before.max(until).filter(|end| *end > unix) else { continue };
        let is_required = |user: &&User| {
            let ruling = policy.ruling(&login(&user.name, service, end));
            ruling.is_ok_and(|ruling| ruling.need == Need::Required)
        };
        let (mut enrolled, mut missing) = (Vec::new(), Vec::new());
        for user in users.iter().filter(is_required) {
            if user.tokens.is_empty() { &mut missing } else { &mut enrolled }.push(user.shown());
        }
        let name = service.shown();
        let (dates, users) = ((not_before, until), (&enrolled, &missing));
        let is_same =
            |it: &&mut RollOut| (it.not_before, it.until) == dates && (&it.enrolled, &it.missing) == users;
        match found.iter_mut().find(is_same) {
            Some(same) => same.services.extend(name),
            None => found.push(RollOut {
                services: name.into_iter().collect(),
                not_before,
                until,
                enrolled,
                missing,
            }),
        }
    }
    found
}

fn login<'l>(user: &'l [u8], service: &'l Asking, unix: u64) -> Login<'l> {
    let from = if service.is_local { RemoteHost::Local } else { RemoteHost::Name };
    Login { user, service: service.name.as_bytes(), from, unix }
}
