//! The policy: rules that do nothing, users whom nobody knows, and users whom it locks out.

use crate::account;
use crate::check::Users;
use crate::explain::{HostState, Places, subjects};
use std::collections::{BTreeMap, BTreeSet};
use ykcli::time;
use ykhost::clock;

use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};
use yubiotp::policy::{
    Exemption, From, Interval, Login, Method, Methods, Need, Policy, RemoteHost, Require, Rules, Subject,
    Table,
};
use yubiotp::{TokenId, shown};

/// A policy, and what it is held against.
pub(crate) struct PolicyCheck<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) places: &'a Places,
    /// Seconds since 1970.
    pub(crate) unix: u64,
}

/// The rules of `[policy]` or of one service.
#[derive(Clone, Copy)]
struct Of<'a> {
    table: Table,
    service: &'a str,
    rules: &'a Rules,
}

/// A list of users and groups in a rule.
struct Named<'a> {
    of: Of<'a>,
    setting: &'static str,
    item: Option<usize>,
    who: &'a [Subject],
}

impl<'a> PolicyCheck<'a> {
    /// Everything that can be said without the mapping and the store.
    pub(crate) fn rules(&self, add: &mut dyn FnMut(Diagnostic)) {
        self.groups(add);
        for of in self.all() {
            self.dates(of, add);
            self.idle(of, add);
            self.wide(of, add);
        }
    }

    /// Users of rules and groups who are not accounts of this host, nor listed.
    pub(crate) fn unknown_users(&self, listed: Option<&Users>, add: &mut dyn FnMut(Diagnostic)) {
        let is_listed =
            |name: &str| listed.is_some_and(|users| users.contains_key(&shown::text(name).to_string()));
        let mut places = BTreeMap::<&str, Location>::new();
        for (group, users) in &self.policy.groups {
            for user in users {
                places.entry(user).or_insert_with(|| self.places.of_group(group));
            }
        }
        for Named { of, setting, item, who } in self.named() {
            for subject in who {
                if let Subject::User(user) = subject {
                    places.entry(user).or_insert_with(|| self.place(of, setting, item));
                }
            }
        }
        let names: BTreeSet<_> = places.keys().copied().filter(|name| !is_listed(name)).collect();
        for name in account::unknown_of(&names) {
            let Some(place) = places.remove(name) else { continue };
            let what = format!(
                "{} is named here, and is neither an account of this host nor listed: no login matches",
                shown::text(name)
            );
            let found = Diagnostic::warning(Code::PolicyUserUnknown, what).at(place);
            add(found.advise("check the spelling: a name counts only as the user logs in with it"));
        }
    }

    /// Listed users whose every token is of a method that the policy does not allow them.
    pub(crate) fn locked_out(
        &self,
        host: &HostState<'_>,
        owners: impl FnOnce() -> BTreeMap<TokenId, Vec<String>>,
        add: &mut dyn FnMut(Diagnostic),
    ) {
        if self.all().all(|of| of.rules.methods.is_none() && of.rules.methods_for.is_none()) {
            return;
        }
        let mut methods = BTreeMap::<String, Vec<Option<Method>>>::new();
        for (id, users) in owners() {
            let method = host.method(&id);
            for user in users {
                methods.entry(user).or_default().push(method);
            }
        }
        for (user, methods) in methods {
            let has = Methods::of(methods.iter().flatten().copied());
            // Of a token that cannot be read, something else is reported.
            if methods.contains(&None) {
                continue;
            }
            let mut by = Vec::new();
            let mut allowed = Methods::ALL;
            for service in std::iter::once("").chain(self.policy.services.keys().map(String::as_str)) {
                // From no network of an exemption.
                let from = RemoteHost::Name;
                let login =
                    Login { user: user.as_bytes(), service: service.as_bytes(), from, unix: self.unix };
                let Ok(ruling) = self.policy.ruling(&login) else { continue };
                if ruling.need != Need::Exempt && !has.iter().any(|method| ruling.methods.has(method)) {
                    by.push(service);
                    allowed = ruling.methods;
                }
            }
            if let Some(found) = locked_out(&user, has, allowed, &by) {
                add(found);
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = Of<'a>> + use<'a> {
        let general = Of { table: Table::Policy, service: "", rules: &self.policy.general };
        let services = self.policy.services.iter();
        let of_service = |(service, rules)| Of { table: Table::Service, service, rules };
        std::iter::once(general).chain(
            services
                .map(move |(service, rules): (&'a String, &'a Rules)| of_service((service.as_str(), rules))),
        )
    }

    fn named(&self) -> Vec<Named<'a>> {
        let mut named = Vec::new();
        for of in self.all() {
            if let Some(Require::These(who)) = &of.rules.require {
                named.push(Named { of, setting: "require", item: None, who });
            }
            for (item, exemption) in (1..).zip(of.rules.exempt.iter().flatten()) {
                let who = exemption.who.as_deref().unwrap_or_default();
                named.push(Named { of, setting: "exempt", item: Some(item), who });
            }
            for (item, line) in (1..).zip(of.rules.methods_for.iter().flatten()) {
                named.push(Named { of, setting: "methods_for", item: Some(item), who: &line.who });
            }
        }
        named
    }

    fn place(&self, of: Of<'_>, setting: &'static str, item: Option<usize>) -> Location {
        self.places.of_rule(of.table, of.service, setting, item)
    }

    fn groups(&self, add: &mut dyn FnMut(Diagnostic)) {
        let named = self.named();
        for (group, users) in &self.policy.groups {
            let subject = Subject::Group(group.clone());
            let shown = shown::text(group);
            let mut of = named.iter().filter(|named| named.who.contains(&subject));
            match of.next() {
                None => {
                    let what = format!("no rule names the group {shown}");
                    let found =
                        Diagnostic::note(Code::PolicyGroupUnused, what).at(self.places.of_group(group));
                    add(found.advise(format!("write @{shown} in a rule, or remove the group")));
                }
                Some(Named { of, setting, item, .. }) if users.is_empty() => {
                    let what = format!("names @{shown}, which has no users");
                    let found = Diagnostic::warning(Code::PolicyGroupEmpty, what);
                    add(found.at(self.place(*of, setting, *item)).advise("add users to the group"));
                }
                Some(_) => {}
            }
        }
    }

    fn dates(&self, of: Of<'_>, add: &mut dyn FnMut(Diagnostic)) {
        let rules = of.rules;
        let past = |date: Option<u64>| date.filter(|date| *date <= self.unix);
        let mut found = |setting, item, what: String, advice: &str| {
            let found = Diagnostic::note(Code::PolicyDatePast, what).at(self.place(of, setting, item));
            add(found.advise(advice));
        };
        // A roll-out that has begun and not ended is under way.
        if let Some(until) = past(rules.until) {
            let what = format!(
                "the roll-out ended on {} UTC: not_before and until do nothing any more",
                time::utc(until)
            );
            found("until", None, what, "remove not_before and until");
        } else if let Some(begin) = past(rules.not_before)
            && self.effective(of, |rules| rules.until.as_ref()).is_none()
        {
            let what = format!("{} UTC is past: not_before does nothing any more", time::utc(begin));
            found("not_before", None, what, "remove not_before");
        }
        for (item, exemption) in (1..).zip(rules.exempt.iter().flatten()) {
            let Interval { not_before, until } = exemption.when;
            if let Some(end) = past(until) {
                let what = format!("item {item}: the exemption ended on {} UTC", time::utc(end));
                found("exempt", Some(item), what, "remove the item");
            } else if let Some(begin) = past(not_before) {
                let what = format!(
                    "item {item}: {} UTC is past: not_before does nothing any more",
                    time::utc(begin)
                );
                found("exempt", Some(item), what, "remove not_before");
            }
        }
    }

    /// Rules that others make do nothing.
    fn idle(&self, of: Of<'_>, add: &mut dyn FnMut(Diagnostic)) {
        let mut found = |setting, item, what: String, advice: &str| {
            let found = Diagnostic::warning(Code::PolicyRuleIdle, what).at(self.place(of, setting, item));
            add(found.advise(advice));
        };
        let require = self.effective(of, |rules| rules.require.as_ref());
        if require == Some(&Require::Enrolled) {
            let own: &[(&str, bool)] =
                &[("not_before", of.rules.not_before.is_some()), ("until", of.rules.until.is_some())];
            for (setting, _) in own.iter().filter(|(_, is_set)| *is_set) {
                let setting = if *setting == "until" { "until" } else { "not_before" };
                let what = format!(
                    "{setting} does nothing: require = \"enrolled\" asks nobody to enroll, so there is no roll-out"
                );
                found(setting, None, what, "remove it, or let require name users");
            }
        }
        let exempt = self.effective(of, |rules| rules.exempt.as_ref());
        let always =
            |exemption: &&Exemption| exemption.from.is_none() && exemption.when == Interval::default();
        let exempt: Vec<_> = exempt.into_iter().flatten().filter(always).collect();
        if let Some(Require::These(who)) = &of.rules.require {
            let is_exempt = |subject: &&Subject| {
                exempt.iter().any(|exemption| exemption.who.iter().flatten().any(|own| own == *subject))
            };
            let both: Vec<_> = who.iter().filter(is_exempt).cloned().collect();
            if !both.is_empty() {
                let what =
                    format!("names {}, and exempt exempts them: they are never asked", subjects(&both));
                found("require", None, what, "remove them from one of the two");
            }
        }
    }

    /// Exemptions for networks that hold more than they seem to.
    fn wide(&self, of: Of<'_>, add: &mut dyn FnMut(Diagnostic)) {
        for (item, exemption) in (1..).zip(of.rules.exempt.iter().flatten()) {
            let place = || self.place(of, "exempt", Some(item));
            for from in exemption.from.iter().flatten() {
                let found = match from {
                    From::Local if of.table == Table::Policy => Diagnostic::warning(
                        Code::PolicyFromWide,
                        format!(
                            "item {item}: \"local\" holds for every service that names no remote host, web \
                             applications among them"
                        ),
                    )
                    .advise("write the exemption in [service.NAME], for the services that are meant"),
                    From::Network(network) if network.prefix_len() == 0 => Diagnostic::warning(
                        Code::PolicyFromWide,
                        format!("item {item}: {network} is every address"),
                    )
                    .advise("name the networks that are meant, or leave from out"),
                    From::Local | From::Network(_) => continue,
                };
                add(found.at(place()));
            }
        }
    }

    /// The setting that counts for a service.
    fn effective<T>(&self, of: Of<'a>, setting: impl Fn(&'a Rules) -> Option<&'a T>) -> Option<&'a T> {
        setting(of.rules).or_else(|| setting(&self.policy.general))
    }
}

/// The finding about a user of these methods who may use others only, by these services.
fn locked_out(user: &str, has: Methods, allowed: Methods, by: &[&str]) -> Option<Diagnostic> {
    let (first, _) = by.split_first()?;
    let names = |methods: Methods| methods.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ");
    let services: Vec<_> = by.iter().filter(|service| !service.is_empty()).copied().collect();
    let by =
        if first.is_empty() { String::new() } else { format!(" by {}", shown::text(&services.join(", "))) };
    let what =
        format!("is rejected{by}: the policy allows {}, and their tokens are {}", names(allowed), names(has));
    let found = Diagnostic::error(Code::PolicyLocksOut, what).at(Location::user(user.as_bytes()));
    let found =
        found.advise("assign a token of an allowed method, or add the method to methods or methods_for");
    let service =
        if first.is_empty() { String::new() } else { format!("--service {} ", shell_word(first.as_bytes())) };
    Some(found.run_when(
        "to see the rule",
        Program::Ykmap,
        format!("explain {service}{}", shell_word(user.as_bytes())),
    ))
}

/// The finding about a new token of a method that the policy does not allow the user, by every service or by some.
pub(crate) fn not_allowed(policy: &Policy, user: &str, method: Method) -> Option<Diagnostic> {
    let is_refused = |service: &str| {
        let from = RemoteHost::Name;
        let login = Login { user: user.as_bytes(), service: service.as_bytes(), from, unix: clock::unix() };
        policy.ruling(&login).is_ok_and(|ruling| !ruling.methods.has(method))
    };
    let refusing: Vec<_> = policy.services.keys().filter(|service| is_refused(service)).collect();
    let by = match (is_refused(""), refusing.as_slice()) {
        (false, []) => return None,
        (true, all) if all.len() == policy.services.len() => String::new(),
        (true, _) => " by services without methods of their own".to_owned(),
        (false, some) => {
            let names: Vec<_> = some.iter().map(|name| shown::text(name).to_string()).collect();
            format!(" by {}", names.join(", "))
        }
    };
    let what = format!("the policy does not allow them {}: a login{by} does not accept it", method.answer());
    let found = Diagnostic::warning(Code::MethodNotAllowed, what).at(Location::user(user.as_bytes()));
    let found = found.advise(format!("add \"{}\" to methods or methods_for", method.name()));
    Some(found.run_when(
        "to see the rule",
        Program::Ykmap,
        format!("explain {}", shell_word(user.as_bytes())),
    ))
}

/// The finding about `nullok` on a line where the policy would require a token of somebody; `None` if it would not.
pub(crate) fn nullok(policy: &Policy, place: Location) -> Option<Diagnostic> {
    let asks_only_listed = |rules: &Rules| rules.require == Some(Require::Enrolled);
    if *policy == Policy::default() || asks_only_listed(&policy.general) {
        return None;
    }
    let what = "nullok excuses every user who is not listed, whatever [policy] requires";
    let found = Diagnostic::warning(Code::NullokOverridesPolicy, what).at(place);
    Some(found.advise("remove nullok from the line, or set require = \"enrolled\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn these(names: &[&str]) -> Vec<Subject> {
        names.iter().map(|name| Subject::parse(name).unwrap()).collect()
    }

    fn exemption(who: &[&str], from: &[&str], until: Option<u64>) -> Exemption {
        let from: Vec<_> = from.iter().map(|from| From::parse(from).unwrap()).collect();
        Exemption {
            who: (!who.is_empty()).then(|| these(who)),
            from: (!from.is_empty()).then_some(from),
            when: Interval { not_before: None, until },
        }
    }

    fn policy(groups: &[(&str, &[&str])], general: Rules) -> Policy {
        let groups = groups
            .iter()
            .map(|(name, users)| ((*name).to_owned(), users.iter().map(|user| (*user).to_owned()).collect()));
        Policy { groups: groups.collect(), general, services: BTreeMap::new() }
    }

    fn found(policy: &Policy) -> Vec<(Code, String)> {
        let mut all = Vec::new();
        let check = PolicyCheck { policy, places: &Places::default(), unix: 1000 };
        check.rules(&mut |found| all.push((found.code, found.location.unwrap().to_string())));
        all
    }

    #[test]
    fn a_group_is_used_and_has_users() {
        let rules = Rules { require: Some(Require::These(these(&["@ops", "@none"]))), ..Rules::default() };
        let policy = policy(&[("ops", &["alice"]), ("none", &[]), ("idle", &["bob"])], rules);
        assert_eq!(
            found(&policy),
            [
                (Code::PolicyGroupUnused, "idle in [groups]".to_owned()),
                (Code::PolicyGroupEmpty, "require in [policy]".to_owned()),
            ]
        );
    }

    #[test]
    fn a_date_in_the_past_is_reported_once_it_does_nothing() {
        let roll_out = |not_before, until| policy(&[], Rules { not_before, until, ..Rules::default() });
        for (not_before, until, expected) in [
            (Some(2000), Some(3000), None),
            (Some(900), Some(3000), None), // under way
            (Some(900), Some(1000), Some("until in [policy]")),
            (None, Some(1001), None),
            (Some(1000), None, Some("not_before in [policy]")),
            (Some(1001), None, None),
        ] {
            let found = found(&roll_out(not_before, until));
            let expected: Vec<_> =
                expected.map(|place| (Code::PolicyDatePast, place.to_owned())).into_iter().collect();
            assert_eq!(found, expected, "{not_before:?} {until:?}");
        }
        let exempt = Some(vec![exemption(&["a"], &[], Some(1000)), exemption(&["b"], &[], Some(1001))]);
        let found = found(&policy(&[], Rules { exempt, ..Rules::default() }));
        assert_eq!(found, [(Code::PolicyDatePast, "exempt in [policy]".to_owned())]);
    }

    #[test]
    fn a_rule_that_another_overrides_does_nothing() {
        let rules = |exempt| Rules {
            require: Some(Require::These(these(&["@ops", "carol"]))),
            exempt: Some(vec![exempt]),
            ..Rules::default()
        };
        let groups: &[(&str, &[&str])] = &[("ops", &["alice"])];
        for (exempt, is_found) in [
            (exemption(&["@ops"], &[], None), true),
            (exemption(&["carol"], &[], None), true),
            (exemption(&["alice"], &[], None), false), // one of the group
            (exemption(&["@ops"], &["10.0.0.0/8"], None), false),
            (exemption(&["@ops"], &[], Some(2000)), false),
        ] {
            let found = found(&policy(groups, rules(exempt.clone())));
            assert_eq!(!found.is_empty(), is_found, "{exempt:?}");
            assert!(found.iter().all(|(code, _)| *code == Code::PolicyRuleIdle), "{found:?}");
        }
        let rules = Rules { require: Some(Require::Enrolled), until: Some(2000), ..Rules::default() };
        assert_eq!(found(&policy(&[], rules)), [(Code::PolicyRuleIdle, "until in [policy]".to_owned())]);
    }

    #[test]
    fn a_network_that_holds_more_than_it_seems_to() {
        let rules = |from: &[&str]| Rules {
            require: Some(Require::These(these(&["carol"]))),
            exempt: Some(vec![exemption(&["alice"], from, None)]),
            ..Rules::default()
        };
        for (from, in_policy, in_service) in [
            (&["local"][..], 1, 0),
            (&["10.0.0.0/8", "local"], 1, 0),
            (&["0.0.0.0/0"], 1, 1),
            (&["::/0", "0.0.0.0/0"], 2, 2),
            (&["0.0.0.0/1", "2001:db8::/32"], 0, 0),
            (&[], 0, 0),
        ] {
            let count = |policy: &Policy| {
                found(policy).iter().filter(|(code, _)| *code == Code::PolicyFromWide).count()
            };
            assert_eq!(count(&policy(&[], rules(from))), in_policy, "{from:?}");
            let mut of_service = policy(&[], Rules::default());
            of_service.services.insert("login".to_owned(), rules(from));
            assert_eq!(count(&of_service), in_service, "{from:?}");
        }
    }

    #[test]
    fn nullok_wins_where_somebody_would_have_to_have_a_token() {
        let with = |require| policy(&[("ops", &["alice"])], Rules { require, ..Rules::default() });
        let is_found = |policy: &Policy| nullok(policy, Location::Service("x".into())).is_some();
        assert!(is_found(&with(Some(Require::All))));
        assert!(is_found(&with(None)));
        assert!(!is_found(&with(Some(Require::Enrolled))));
        assert!(!is_found(&Policy::default()));
    }
}
