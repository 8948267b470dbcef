//! The policy of a case beside the lines in pam.d: whom it exempts and excuses by which service, and rules that come to
//! nothing, or to too much, by these lines.

use super::pam::{Listing, Looked, PolicyClasses, has_service};
use super::report::{Check, Report, shortened};
use super::settings::Case;
use super::store::Seen;
use crate::check::Users;
use crate::check::policy::{self, PolicyCheck};
use crate::explain::{
    Decides, Described, Enroll, Explained, HostState, Line, Outcome, Places, subjects, whom,
};
use crate::files;
use std::path::PathBuf;
use ykhost::mapping;
use ykhost::policy::UNKNOWN_HOST;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Severity};
use yubiotp::mapping::Enrolment;
use yubiotp::policy::{
    Exemption, From, Login, Need, OnExempt, Policy, RemoteHost, Require, Rules, Subject, Table,
};
use yubiotp::shown;

/// Services that never name the address of a remote host.
const FROM_HERE: [&str; 16] = [
    "chfn",
    "chsh",
    "gdm-password",
    "kde",
    "lightdm",
    "login",
    "passwd",
    "polkit-1",
    "runuser",
    "sddm",
    "su",
    "su-l",
    "sudo",
    "sudo-i",
    "swaylock",
    "xscreensaver",
];

/// Whether the logins of a service never name a remote host.
pub(super) fn is_from_here(service: &str) -> bool {
    FROM_HERE.contains(&service)
}

/// Has the services take into account the policy by whose settings they ask.
pub(super) fn obey(cases: &[Case], services: &mut [Looked], unix: u64) {
    for service in services {
        if let Some(case) = cases.iter().find(|case| is_of(case, service))
            && case.settings.policy != Policy::default()
        {
            let classes = classes(&case.settings.policy, &service.name, unix);
            service.obey(classes);
        }
    }
}

/// The class of a user at a service now, as far as mapping and policy say it: with a token, whether it can be used or not.
/// `None` if nothing can be decided about them. An exemption counts from wherever it exempts.
pub(super) fn listing(cases: &[Case], service: &Looked, user: &str, unix: u64) -> Option<Listing> {
    let case = cases.iter().find(|case| is_of(case, service))?;
    let policy = &case.settings.policy;
    let is_named = |exemption: &Exemption| match &exemption.who {
        Some(who) => who.iter().any(|subject| subject.is(user.as_bytes(), &policy.groups)),
        None => true,
    };
    let holds = |it: &Exemption| it.when.contains(unix) && !is_never_from(&service.name, it) && is_named(it);
    if exemptions(policy, &service.name).any(|(_, _, it)| holds(it)) {
        return Some(Listing::Exempt);
    }
    let from = RemoteHost::Name;
    let login = Login { user: user.as_bytes(), service: service.name.as_bytes(), from, unix };
    let need = policy.ruling(&login).ok()?.need;
    match mapping::enrolment(&case.settings, user.as_bytes(), true).ok()? {
        Enrolment::Listed(_) => Some(Listing::Token),
        Enrolment::NotListed if need == Need::Required => Some(Listing::NotListed),
        Enrolment::NotListed => Some(Listing::Excused),
    }
}

/// Whether a service asks by these settings.
pub(super) fn is_of(case: &Case, service: &Looked) -> bool {
    case.places.iter().any(|place| service.has(place))
}

/// The classes of users that a policy makes at a service now.
fn classes(policy: &Policy, service: &str, unix: u64) -> PolicyClasses {
    let exempt: Vec<_> = exemptions(policy, service)
        .filter(|(_, _, it)| it.when.contains(unix) && !is_never_from(service, it))
        .map(|(_, _, it)| whom(it))
        .collect();
    let rules = of_service(policy, service);
    let on_exempt = rules.and_then(|rules| rules.on_exempt).or(policy.general.on_exempt).unwrap_or_default();
    let require = rules
        .and_then(|rules| rules.require.as_ref())
        .or(policy.general.require.as_ref())
        .unwrap_or(&Require::All);
    // Whether those whom `require` names have to have one now, by the dates.
    let is_required = || need_of_all(policy, service, unix) == Some(Need::Required);
    let (excuses, required) = match require {
        Require::Enrolled => (true, None),
        Require::All if is_required() => (false, Some(String::new())),
        Require::All => (true, None),
        Require::These(who) if is_required() => (true, Some(named(policy, who))),
        Require::These(_) => (true, None),
    };
    let exempt = (!exempt.is_empty()).then(|| exempt.join("; "));
    let may_postpone = *require == Require::All && is_postponable(policy, service, unix);
    PolicyClasses { exempt, on_exempt, excuses, may_postpone, required }
}

fn named(policy: &Policy, who: &[Subject]) -> String {
    let is_empty = |subject: &&Subject| match subject {
        Subject::Group(group) => policy.groups.get(group).is_some_and(Vec::is_empty),
        Subject::User(_) => false,
    };
    subjects(&who.iter().filter(|subject| !is_empty(subject)).cloned().collect::<Vec<_>>())
}

/// Whether those whom `require` names may postpone enrolling now.
fn is_postponable(policy: &Policy, service: &str, unix: u64) -> bool {
    matches!(need_of_all(policy, service, unix), Some(Need::Postponable { .. }))
}

/// The need of somebody whom `require` names and no exemption exempts.
fn need_of_all(policy: &Policy, service: &str, unix: u64) -> Option<Need> {
    let mut of_all = policy.clone();
    for rules in std::iter::once(&mut of_all.general).chain(of_all.services.get_mut(service)) {
        rules.exempt = None;
        rules.require = None;
        rules.methods_for = None;
    }
    let login = Login { user: b"somebody", service: service.as_bytes(), from: RemoteHost::Local, unix };
    of_all.ruling(&login).ok().map(|ruling| ruling.need)
}

fn of_service<'p>(policy: &'p Policy, service: &str) -> Option<&'p Rules> {
    policy.services.get(service)
}

/// The exemptions that count for a service, each with its table and number.
fn exemptions<'p>(
    policy: &'p Policy,
    service: &str,
) -> impl Iterator<Item = (Table, usize, &'p Exemption)> + use<'p> {
    let own = of_service(policy, service).and_then(|rules| rules.exempt.as_ref());
    let (table, all) = match own {
        Some(own) => (Table::Service, Some(own)),
        None => (Table::Policy, policy.general.exempt.as_ref()),
    };
    (1..).zip(all.into_iter().flatten()).map(move |(item, exemption)| (table, item, exemption))
}

/// Whether an exemption needs an address that the service never names.
fn is_never_from(service: &str, exemption: &Exemption) -> bool {
    let from = exemption.from.as_deref();
    FROM_HERE.contains(&service) && from.is_some_and(|from| !from.contains(&From::Local))
}

/// The findings about the policy of a case.
pub(super) fn look(
    report: &mut Report,
    case: &Case,
    seen: Option<&Seen>,
    users: Option<&Users>,
    services: &[Looked],
    (pam_dirs, unix): (&[PathBuf], u64),
) {
    let policy = &case.settings.policy;
    if *policy == Policy::default() {
        return;
    }
    let places = Places::of(case.config.as_deref());
    let check = PolicyCheck { policy, places: &places, unix };
    let mut found = Vec::new();
    let mut add = |it| found.push(it);
    check.rules(&mut add);
    check.unknown_users(users, &mut add);
    if let Some(seen) = seen {
        let host = HostState { settings: &case.settings, states: Some(&seen.states) };
        check.locked_out(&host, || files::owners(&case.settings), &mut add);
    }
    for place in &case.nullok {
        policy::nullok(policy, place.clone()).into_iter().for_each(&mut add);
    }
    let own: Vec<_> = services.iter().filter(|service| is_of(case, service)).collect();
    unasked(policy, &places, &own, pam_dirs, &mut add);
    never_from(policy, &places, &own, &mut add);
    found.into_iter().for_each(|it| report.add(Check::Settings, it));
    for service in own {
        let offers = case.enrolls.iter().map(|line| service.offers_enrollment(&line.to_string()));
        let is_postponed =
            offers.max().unwrap_or_default() != Enroll::Never && is_postponable(policy, &service.name, unix);
        let_in(policy, service, is_postponed).into_iter().for_each(|it| report.add(Check::Pam, it));
    }
}

/// Rules of services that do not ask by these settings.
fn unasked(
    policy: &Policy,
    places: &Places,
    own: &[&Looked],
    pam_dirs: &[PathBuf],
    add: &mut dyn FnMut(Diagnostic),
) {
    for service in policy.services.keys() {
        if own.iter().any(|looked| looked.name == *service) {
            continue;
        }
        let name = shown::text(service);
        let (what, advice) = if has_service(pam_dirs, service) {
            let what = format!("no line of {name} in pam.d loads pam_yubiotp.so by this configuration file");
            (what, "add the module to the service, or remove the table")
        } else {
            let what = format!("pam.d has no service {name}");
            (what, "check the name of the service, or remove the table")
        };
        let found =
            Diagnostic::warning(Code::PolicyServiceUnasked, format!("{what}: these rules do nothing"));
        add(found.at(places.of_service(service)).advise(advice));
    }
}

/// Exemptions by network that no login by some services matches.
fn never_from(policy: &Policy, places: &Places, own: &[&Looked], add: &mut dyn FnMut(Diagnostic)) {
    let mut idle = Vec::<(Location, usize, Vec<String>)>::new();
    for service in own {
        for (table, item, exemption) in exemptions(policy, &service.name) {
            if !is_never_from(&service.name, exemption) {
                continue;
            }
            let place = places.of_rule(table, &service.name, "exempt", Some(item));
            let name = shown::text(&service.name).to_string();
            match idle.iter_mut().find(|(own, number, _)| *own == place && *number == item) {
                Some((.., services)) => services.push(name),
                None => idle.push((place, item, vec![name])),
            }
        }
    }
    for (place, item, services) in idle {
        let (never, table) = match services.as_slice() {
            [one] => ("this service never names", format!("[service.{one}]")),
            _ => ("these services never name", "[service.NAME] of each".to_owned()),
        };
        let what = format!(
            "exempt, item {item}: exempts by network, which exempts nobody by {}: {never} the address of a remote host",
            shortened(&services, "service")
        );
        let found = Diagnostic::note(Code::PolicyFromIdle, what).at(place);
        add(found.advise(format!("to exempt these logins too, write an exempt of its own in {table}")));
    }
}

/// Users whom the policy lets past the module, and who get in with nothing, or not at all. `is_postponed` is whether users are
/// offered enrollment, and may postpone it.
fn let_in(policy: &Policy, service: &Looked, is_postponed: bool) -> Vec<Diagnostic> {
    let place = || Location::Service(service.name.clone());
    let on_exempt = of_service(policy, &service.name).and_then(|rules| rules.on_exempt);
    let on_exempt = on_exempt.or(policy.general.on_exempt).unwrap_or_default();
    let mut all = Vec::new();
    for (listing, whom) in [(Listing::Exempt, "exempt users"), (Listing::Excused, "excused users")] {
        if service.lets_in_with_nothing(listing) {
            let what = format!("{whom} get in without a password, an ssh key or a token");
            let found = Diagnostic::error(Code::ExemptEnough, what).at(place());
            all.push(if listing == Listing::Exempt && on_exempt == OnExempt::Success {
                found.advise("set on_exempt = \"ignore\" for this service, or put the line below one that requires the password")
            } else {
                found.advise("put a line that requires the password above the line of pam_yubiotp")
            });
        } else if service.keeps_out(listing) {
            let who = match listing {
                Listing::Excused if is_postponed => "users who postpone enrolling do not get in",
                Listing::Excused => "excused users do not get in, whatever they show",
                _ => "exempt users do not get in, whatever they show",
            };
            let what = format!("{who}: no other line lets them in");
            let found = Diagnostic::warning(Code::ExemptUsersRefused, what).at(place());
            all.push(if on_exempt == OnExempt::Ignore && service.success_lets_in(listing) {
                let table = Table::Service.text(service.name.as_bytes());
                found.advise(format!("write on_exempt = \"success\" in the table {table} of config.toml"))
            } else if listing == Listing::Exempt {
                found.advise("let another line accept them, or do not exempt them")
            } else {
                found.advise("let another line accept them, or require a token of them")
            });
        }
    }
    all
}

/// What the policy says of one user, by the services of a case. Gives whether it settled something, and the services
/// that are left: by these, mapping and store say what comes of a login.
pub(super) fn of_user<'s>(
    report: &mut Report,
    case: &Case,
    seen: Option<&Seen>,
    (user, unix): (&str, u64),
    services: &'s [Looked],
) -> (bool, Vec<&'s Looked>) {
    let policy = &case.settings.policy;
    if *policy == Policy::default() {
        return (false, services.iter().collect());
    }
    let places = Places::of(case.config.as_deref());
    let host = HostState { settings: &case.settings, states: seen.map(|seen| &seen.states) };
    let mut said = Vec::<(Diagnostic, Vec<String>)>::new();
    let mut left = Vec::new();
    for service in services {
        if !is_of(case, service) {
            left.push(service);
            continue;
        }
        let nullok = case.lines.iter().any(|(line, nullok)| *nullok && service.asks_by(line));
        let enroll = case.enrolls.iter().map(|line| service.offers_enrollment(&line.to_string()));
        let enroll = enroll.max().unwrap_or_default();
        let line = Line { nullok, enroll };
        let rhost = if FROM_HERE.contains(&&*service.name) { b"" } else { UNKNOWN_HOST };
        let explained = host.explain(&Described { user, service: &service.name, rhost, unix, line });
        let decides = Decides { policy, places: &places, service: &service.name };
        match of_service_and_user(&explained, decides) {
            None => left.push(service),
            Some(found) => match said.iter_mut().find(|(other, _)| *other == found) {
                Some((_, names)) => names.push(shown::text(&service.name).to_string()),
                None => said.push((found, vec![shown::text(&service.name).to_string()])),
            },
        }
    }
    let settled = !said.is_empty();
    for (mut found, names) in said {
        found.problem = format!("by {}: {}", shortened(&names, "service"), found.problem);
        if found.code != Code::UserExempt && found.severity == Severity::Note {
            found = case.list(user, found);
        }
        report.add(Check::User, found.at(Location::user(user.as_bytes())));
    }
    (settled, left)
}

/// What the policy says of a user by a service; `None` if mapping and store decide.
fn of_service_and_user(explained: &Explained<'_>, decides: Decides<'_>) -> Option<Diagnostic> {
    let code = explained.code();
    let ruling = match &explained.ruling {
        Ok(ruling) => ruling,
        Err(fault) => {
            let found = fault.diagnostic();
            let what = format!("is rejected: {}", found.problem());
            let remedies = found.remedies;
            return Some(Diagnostic { remedies, ..Diagnostic::error(found.code, what) });
        }
    };
    let why = decides.need(ruling).in_words();
    match &explained.outcome {
        Outcome::Exempt(_) => {
            Some(Diagnostic::note(code, format!("is exempt, and not asked even with a token. {why}")))
        }
        Outcome::MustEnroll => {
            let what = format!("is not listed: offered enrollment, and rejected without it. {why}");
            Some(Diagnostic::note(code, what))
        }
        Outcome::MayPostpone(_) => {
            let what = format!("is not listed: offered enrollment, and excused if they postpone it. {why}");
            Some(Diagnostic::note(Code::UserMayPostpone, what))
        }
        Outcome::Excused(..) => Some(Diagnostic::note(code, format!("is not listed, and excused. {why}"))),
        Outcome::Rejected(Code::MethodNotAllowed) => {
            let why = decides.methods(ruling).in_words();
            Some(Diagnostic::error(
                code,
                format!("is rejected: none of their tokens is of an allowed method. {why}"),
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use yubiotp::policy::Interval;

    fn these(names: &[&str]) -> Vec<Subject> {
        names.iter().map(|name| Subject::parse(name).unwrap()).collect()
    }

    fn policy(require: Option<Require>) -> Policy {
        let exempt = |who: &[&str], from: Option<&str>| Exemption {
            who: Some(these(who)),
            from: from.map(|from| vec![From::parse(from).unwrap()]),
            when: Interval { not_before: None, until: Some(5000) },
        };
        let exempt = Some(vec![exempt(&["@robots"], None), exempt(&["carol"], Some("10.0.0.0/8"))]);
        let dates = (Some(1000), Some(2000));
        let general = Rules { require, exempt, not_before: dates.0, until: dates.1, ..Rules::default() };
        let group = |name: &str| (name.to_owned(), vec![format!("{name}1")]);
        Policy { groups: BTreeMap::from([group("ops"), group("robots")]), general, services: BTreeMap::new() }
    }

    #[test]
    fn classes_follow_the_dates() {
        let all = policy(None);
        for (unix, excuses, required) in [(999, true, None), (1999, true, None), (2000, false, Some(""))] {
            let classes = classes(&all, "sshd", unix);
            assert_eq!((classes.excuses, classes.required.as_deref()), (excuses, required), "{unix}");
        }
        let ops = policy(Some(Require::These(these(&["@ops"]))));
        assert_eq!(classes(&ops, "sshd", 1999).required, None);
        let late = classes(&ops, "sshd", 2000);
        assert_eq!((late.excuses, late.required.as_deref()), (true, Some("@ops")));
        let enrolled = classes(&policy(Some(Require::Enrolled)), "sshd", 9000);
        assert_eq!((enrolled.excuses, enrolled.required), (true, None));
    }

    #[test]
    fn an_exemption_counts_where_it_can_hold() {
        let all = policy(None);
        let exempt = |service, unix| classes(&all, service, unix).exempt;
        assert_eq!(exempt("sshd", 0).as_deref(), Some("@robots; carol from 10.0.0.0/8"));
        assert_eq!(exempt("sudo", 0).as_deref(), Some("@robots"));
        assert_eq!(exempt("sshd", 5000), None);
    }
}
