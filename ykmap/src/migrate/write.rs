//! Doing it: first the tokens and their users' lists, then the settings, and pam.d last. So logins work at any moment, by
//! the old line or by the new.

use super::openbsd::Keys;
use super::plan::{Place, Plan};
use super::record::Record;
use crate::exchange::finish;
use crate::{Context, Done, Failure, event, files};
use rustix::fs::Mode;
use std::path::PathBuf;
use ykhost::file::locate;
use ykhost::mapping;
use ykhost::settings::Settings;
use ykhost::store::{Change, Store};
use yubiotp::TokenId;
use yubiotp::mapping::Enrolment;

/// What was done.
pub(super) struct Written {
    pub(super) plan: Plan,
    pub(super) backups: Vec<PathBuf>,
}

pub(super) fn run(
    context: &Context,
    settings: &Settings,
    (store, change): (&Store, &Change<'_>),
    place: &Place<'_>,
    mut plan: Plan,
) -> Result<Written, Failure> {
    plan.files.check()?;
    let name = place.old.change();
    let mut record = Record::read(&settings.store, &name)?.unwrap_or_default();
    for (user, was_listed, tokens) in &plan.additions {
        record.add(user, *was_listed, tokens);
    }
    if !plan.files.is_empty() {
        // One record a change, so that a later one does not replace what undoes this one.
        plan.files.name = format!("{name}-{}", record.changes.len().saturating_add(1));
        record.changes.push(plan.files.name.clone());
    }
    record.made.extend(plan.key.as_ref().map(|(path, _)| path.clone()));
    record.write(&settings.store, &name)?;

    match &plan.tokens {
        Some(tokens) => tokens.write(settings, store, change)?,
        None => list(settings, &plan.additions)?,
    }
    if let Some((path, text)) = &plan.key {
        let (folder, name) = locate(path)?;
        folder.replace(&name, text.as_bytes(), Mode::RUSR | Mode::WUSR)?;
    }
    let set = plan.files.clone();
    let backups = if set.is_empty() { Vec::new() } else { set.commit(&settings.store, None)?.backups };
    if plan.tokens.is_some() {
        // From here on nobody logs in by the old lines. What they accepted meanwhile is used here, too.
        plan.tokens_again(settings, (store, change), place)?.write(settings, store, change)?;
    }
    super::plan::warn(context, settings);
    log(context, place.old.verb(), &plan.additions, plan.lines.iter().filter(|line| line.moves()).count());
    Ok(Written { plan, backups })
}

/// A line of syslog for the change, and one for each user whose list changed.
fn log(context: &Context, from: &str, additions: &[(String, bool, Vec<TokenId>)], lines: usize) {
    event::log_host(context, "migrate", &[("from", from.to_owned()), ("lines", lines.to_string())]);
    for (user, _, tokens) in additions {
        event::log(context, "migrate", user, &[("from", from.to_owned()), ("tokens", event::tokens(tokens))]);
    }
}

/// Lists the tokens of users.
fn list(settings: &Settings, additions: &[(String, bool, Vec<TokenId>)]) -> Done {
    let mut by_file = std::collections::BTreeMap::<PathBuf, Vec<(&String, &Vec<TokenId>)>>::new();
    for (user, _, tokens) in additions {
        let path = mapping::path_of(&settings.mapping, user)?;
        by_file.entry(path).or_default().push((user, tokens));
    }
    for users in by_file.into_values() {
        let Some((first, _)) = users.first() else { continue };
        files::edit(settings, first, |lists| {
            for (user, tokens) in &users {
                let has = match lists.tokens(user.as_bytes())? {
                    Enrolment::Listed(tokens) => tokens,
                    Enrolment::NotListed => Vec::new(),
                };
                let new: Vec<_> = tokens.iter().filter(|id| !has.contains(id)).copied().collect();
                lists.mapping.add(user.as_bytes(), &new).map_err(|why| Failure::input(why.to_string()))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The keys of login_yubikey: first the positions and the keys, and then the users' lists.
pub(super) fn keys(context: &Context, settings: &Settings, change: &Change<'_>, keys: &Keys) -> Done {
    let mut record = Record::read(&settings.store, super::LOGIN_YUBIKEY)?.unwrap_or_default();
    for (user, was_listed, tokens) in &keys.additions {
        record.add(user, *was_listed, tokens);
    }
    record.write(&settings.store, super::LOGIN_YUBIKEY)?;
    let known = |key: &ykhost::store::TokenKey| Some((*keys.known.get(&key.id())?, 0));
    change.enrol_known(&keys.keys, known, &|| {})?;
    list(settings, &keys.additions)?;
    finish(settings, change)?;
    log(context, "login_yubikey", &keys.additions, 0);
    Ok(())
}
