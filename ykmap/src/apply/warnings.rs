//! What `ykmap check` would warn of, once a plan is carried out.

use super::declared::{Declared, User};
use super::plan::Plan;
use crate::{Context, check, files, list};
use std::collections::{BTreeMap, BTreeSet};
use ykhost::enrolled::AllLists;
use ykhost::settings::Settings;
use ykhost::store::Store;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::mapping::{Enrolment, Unlisted};
use yubiotp::shown;

/// The names that are listed, so that not every list is read for each user.
struct Spellings {
    is_per_user: bool,
    /// Names of letters, digits and `._-`: of these, only case makes another spelling. By their lower case.
    simple: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    others: Vec<Vec<u8>>,
}

impl Spellings {
    fn of(lists: &AllLists) -> Self {
        let is_per_user = lists.is_per_user();
        let mut all = Self { is_per_user, simple: BTreeMap::new(), others: Vec::new() };
        for name in lists.listed().into_keys() {
            match is_simple(&name) {
                true => drop(all.simple.entry(name.to_ascii_lowercase()).or_default().insert(name)),
                false => all.others.push(name),
            }
        }
        all
    }

    /// Whether another name that is listed may be the user's.
    fn may_have_another(&self, user: &[u8]) -> bool {
        let rule = Unlisted::new(user);
        let others = self.others.iter().filter(|name| *name != user);
        let of_case = self.simple.get(&user.to_ascii_lowercase());
        self.is_per_user
            || !is_simple(user)
            || of_case.is_some_and(|names| names.iter().any(|name| name != user))
            || others.into_iter().any(|name| rule.may_mean(name))
    }
}

fn is_simple(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// The warnings about the users who are declared, and about the policy if it is.
pub(super) fn of(
    context: &Context,
    settings: &Settings,
    declared: &Declared,
    plan: &Plan,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let will_be = plan.settings(settings);
    let spellings = Spellings::of(&plan.after);
    for user in plan.users.iter().filter(|user| user.is_new && spellings.may_have_another(&user.name)) {
        let name = String::from_utf8_lossy(&user.name);
        found.extend(files::other_spelling(settings, &name));
    }
    for (name, (place, user)) in &declared.users {
        let is_enrolled = || plan.after.enrolled.tokens(name.as_bytes());
        if *user == User::Absent && is_enrolled().is_ok_and(|it| it != Enrolment::NotListed) {
            let problem = format!("{} is declared absent, and is listed in enrolled", shown::text(name));
            let warning = Diagnostic::warning(Code::UserInBothLists, problem).at(place.clone());
            found.push(warning.advise("to declare that file, too, write adopt = true"));
        }
    }
    let states = match Store::new(will_be).store_key() {
        Ok(_) => Some(list::States::new(context, will_be)),
        // Where servers decide, there need not be one.
        Err(_) if will_be.mode.asks_servers() => None,
        Err(fault) => {
            found.push(fault.diagnostic());
            None
        }
    };
    let texts: Vec<_> = plan
        .after
        .mappings()
        .chain([&plan.after.enrolled])
        .map(|list| (list.path().clone(), list.text().to_vec()))
        .collect();
    found.extend(check::of_declared(
        context,
        will_be,
        states.as_ref(),
        &texts,
        &check::Subject {
            users: &declared.users.keys().map(String::as_str).collect::<BTreeSet<_>>(),
            policy: !declared.policy.is_empty(),
            is_written: plan.config.is_none(),
        },
    ));
    found
}
