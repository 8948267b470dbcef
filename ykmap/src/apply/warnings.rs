//! What `ykmap check` would warn of, once a plan is carried out.

use super::declared::{Declared, User};
use super::plan::Plan;
use crate::{Context, check, files, list};
use std::collections::BTreeSet;
use ykhost::settings::Settings;
use ykhost::store::Store;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::mapping::Enrolment;
use yubiotp::shown;

/// The warnings about the users who are declared, and about the policy if it is.
pub(super) fn of(
    context: &Context,
    settings: &Settings,
    declared: &Declared,
    plan: &Plan,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let will_be = plan.settings(settings);
    for user in plan.users.iter().filter(|user| user.is_new) {
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
