//! The difference between a host and what is declared of it.

use super::config::{self, ConfigChange};
use super::declared::{Declared, User};
use crate::check::{self, codes_not_here};
use crate::{Failure, files, key};
use std::collections::BTreeMap;
use std::path::PathBuf;
use ykhost::enrolled::AllLists;
use ykhost::settings::{Mode, Settings};
use ykhost::store::Store;
use ykhost::{Fault, mapping};
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Severity};
use yubiotp::mapping::{Edits, Line, entries};
use yubiotp::policy::Policy;
use zeroize::Zeroizing;

/// What is compared with a declaration.
pub(super) struct Host<'h> {
    pub(super) settings: &'h Settings,
    pub(super) store: &'h Store,
    pub(super) lists: &'h AllLists,
    /// The text of the configuration file.
    pub(super) config: Option<Zeroizing<Vec<u8>>>,
    /// A change of users' tokens was interrupted.
    pub(super) unfinished: bool,
}

/// What has to change, and what keeps it from changing.
pub(super) struct Plan {
    /// In the order of their names.
    pub(super) users: Vec<UserChange>,
    /// Tokens that are to be enabled or disabled.
    pub(super) states: Vec<(TokenId, bool)>,
    pub(super) config: Option<ConfigChange>,
    pub(super) unfinished: bool,
    /// The lists while the policy changes.
    pub(super) between: AllLists,
    /// The lists as declared.
    pub(super) after: AllLists,
    pub(super) problems: Vec<Diagnostic>,
}

/// What changes for one user.
#[derive(Default)]
pub(super) struct UserChange {
    pub(super) name: Vec<u8>,
    pub(super) gets: Vec<TokenId>,
    from_mapping: Vec<TokenId>,
    from_enrolled: Vec<TokenId>,
    /// Becomes listed.
    pub(super) is_new: bool,
    /// Is listed no more.
    pub(super) goes: bool,
    goes_from_enrolled: bool,
    /// The file does not name them.
    is_unnamed: bool,
}

impl UserChange {
    /// The tokens that the user loses, each once.
    pub(super) fn loses(&self) -> Vec<TokenId> {
        let mut lost = self.from_mapping.clone();
        lost.extend(self.from_enrolled.iter().filter(|id| !self.from_mapping.contains(id)));
        lost
    }

    /// Is taken from a list, whichever it is.
    pub(super) const fn is_listed_no_more(&self) -> bool {
        self.goes || self.goes_from_enrolled
    }

    const fn changes_mapping(&self) -> bool {
        !self.gets.is_empty() || !self.from_mapping.is_empty() || self.is_new || self.goes
    }

    fn is_empty(&self) -> bool {
        self.gets.is_empty()
            && self.from_mapping.is_empty()
            && self.from_enrolled.is_empty()
            && !self.is_new
            && !self.is_listed_no_more()
    }
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.states.is_empty() && self.config.is_none() && !self.unfinished
    }

    /// The settings once the plan is carried out.
    pub(super) fn settings<'p>(&'p self, now: &'p Settings) -> &'p Settings {
        self.config.as_ref().map_or(now, |config| &config.will_be)
    }
}

/// The tokens of a user by the mapping and by `enrolled`; `None` where they are not listed.
#[derive(Default)]
struct Now {
    mapping: Option<Vec<TokenId>>,
    enrolled: Option<Vec<TokenId>>,
}

impl Now {
    fn has(&self, id: &TokenId) -> bool {
        [&self.mapping, &self.enrolled].into_iter().flatten().any(|tokens| tokens.contains(id))
    }
}

/// Compares a host with what is declared.
///
/// # Errors
/// A file of the host cannot be read.
pub(super) fn compare(
    host: Host<'_>,
    declared: &Declared,
    yes_remove: Option<usize>,
) -> Result<Plan, Failure> {
    let now = users_now(host.settings, host.lists, declared)?;
    let mut users = Vec::new();
    for (name, (_, user)) in &declared.users {
        let unlisted = Now::default();
        let now = now.get(name.as_bytes()).unwrap_or(&unlisted);
        users.push(UserChange { name: name.clone().into_bytes(), ..change(now, user, declared.adopt) });
    }
    let mut problems = Vec::new();
    if declared.exclusive {
        let is_named = |name: &[u8]| str::from_utf8(name).is_ok_and(|name| declared.users.contains_key(name));
        let unnamed = now.iter().filter(|(name, _)| !is_named(name));
        users.extend(unnamed.map(|(name, now)| UserChange {
            name: name.clone(),
            from_mapping: now.mapping.clone().unwrap_or_default(),
            from_enrolled: now.enrolled.clone().filter(|_| declared.adopt).unwrap_or_default(),
            is_unnamed: true,
            ..UserChange::default()
        }));
    }
    problems.extend(too_many(&now, &users, declared, yes_remove));
    users.retain(|user| !user.is_empty());
    users.sort_by(|one, other| one.name.cmp(&other.name));
    for user in &users {
        problems.extend(unusable(&host, user, declared));
    }
    let mut states = Vec::new();
    for (id, (place, enabled)) in &declared.tokens {
        match is_enabled(&host, id) {
            Ok(is_enabled) if is_enabled == *enabled => {}
            Ok(_) => states.push((*id, *enabled)),
            Err(found) => problems.push(placed(found, place)),
        }
    }
    let path = host.settings.config.as_path();
    let config = match config::compare(path, host.config, &declared.policy, &declared.place) {
        Ok(config) => config,
        Err(found) => {
            problems.push(found);
            None
        }
    };
    let will_be = config.as_ref().map_or(host.settings, |config| &config.will_be);
    let has_methods = [host.settings, will_be].iter().any(|settings| has_methods(&settings.policy));
    let (between, after) = lists_after(host.lists, &users, has_methods)?;
    Ok(Plan { users, states, config, unfinished: host.unfinished, between, after, problems })
}

/// The tokens of each user. A line that cannot be read is a fault if it may be one of a user whom the declaration is about.
fn users_now(
    settings: &Settings,
    lists: &AllLists,
    declared: &Declared,
) -> Result<BTreeMap<Vec<u8>, Now>, Failure> {
    let mut users = BTreeMap::<Vec<u8>, Now>::new();
    let is_per_user = settings.mapping.contains("%u");
    for (list, is_enrolled) in lists.mappings().map(|list| (list, false)).chain([(&lists.enrolled, true)]) {
        let counts = |user: &[u8]| {
            let path =
                || str::from_utf8(user).ok().and_then(|user| mapping::path_of(&settings.mapping, user).ok());
            is_enrolled || !is_per_user || path().as_ref() == Some(list.path())
        };
        let mut has_bad_line = false;
        for (line, entry) in entries(list.text()) {
            match entry {
                Ok(Line::Entry { user, fields }) if counts(user) => {
                    let now = users.entry(user.to_vec()).or_default();
                    let tokens = if is_enrolled { &mut now.enrolled } else { &mut now.mapping };
                    let tokens = tokens.get_or_insert_default();
                    for id in fields.tokens() {
                        if !tokens.contains(&id) {
                            tokens.push(id);
                        }
                    }
                }
                Ok(_) => {}
                // Nobody knows whose it is.
                Err(why) if declared.exclusive && (!is_enrolled || declared.adopt) => {
                    return Err(Fault::Mapping { path: list.path().clone(), line, why }.into());
                }
                Err(_) => has_bad_line = true,
            }
        }
        if has_bad_line {
            for user in declared.users.keys().filter(|user| counts(user.as_bytes())) {
                list.tokens(user.as_bytes())?;
            }
        }
    }
    Ok(users)
}

/// What changes for a user whom the file names.
fn change(now: &Now, user: &User, adopt: bool) -> UserChange {
    let enrolled = now.enrolled.as_ref().filter(|_| adopt);
    match user {
        User::Named => UserChange::default(),
        User::Absent => UserChange {
            from_mapping: now.mapping.clone().unwrap_or_default(),
            from_enrolled: enrolled.cloned().unwrap_or_default(),
            goes: now.mapping.is_some(),
            goes_from_enrolled: enrolled.is_some(),
            ..UserChange::default()
        },
        User::Has(tokens) => {
            // Recovery codes are made on the host. Who has a token keeps them.
            let stays = |id: &TokenId| {
                tokens.contains(id) || !tokens.is_empty() && matches!(id, TokenId::RecoverySet(_))
            };
            let loses = |tokens: Option<&Vec<TokenId>>| {
                tokens.into_iter().flatten().filter(|id| !stays(id)).copied().collect()
            };
            UserChange {
                gets: tokens.iter().filter(|id| !now.has(id)).copied().collect(),
                from_mapping: loses(now.mapping.as_ref()),
                from_enrolled: loses(enrolled),
                is_new: now.mapping.is_none() && now.enrolled.is_none(),
                ..UserChange::default()
            }
        }
    }
}

/// The problem of a declaration that takes the tokens of more than half of the users without a word about it.
fn too_many(
    now: &BTreeMap<Vec<u8>, Now>,
    users: &[UserChange],
    declared: &Declared,
    yes_remove: Option<usize>,
) -> Option<Diagnostic> {
    let touched = |now: &&Now| now.mapping.is_some() || declared.adopt && now.enrolled.is_some();
    let has_tokens = |now: &&Now| {
        let tokens = [Some(&now.mapping), Some(&now.enrolled).filter(|_| declared.adopt)];
        tokens.into_iter().flatten().flatten().any(|tokens| !tokens.is_empty())
    };
    let unnamed: Vec<_> = users.iter().filter(|user| user.is_unnamed).collect();
    let listed = unnamed.iter().filter(|user| now.get(&user.name).as_ref().is_some_and(touched)).count();
    let emptied = unnamed.iter().filter(|user| !user.is_empty()).count();
    let all = now.values().filter(has_tokens).count();
    let problem = match yes_remove {
        Some(number) if number == listed => return None,
        Some(number) => format!(
            "--yes-remove {number}, and the file leaves out {}",
            ykcli::out::count(listed, "listed user")
        ),
        None if emptied.saturating_mul(2) > all => format!(
            "exclusive: the file leaves out {}, and {emptied} of {} with tokens would lose them",
            ykcli::out::count(listed, "listed user"),
            ykcli::out::count(all, "user")
        ),
        None => return None,
    };
    let found = Diagnostic::error(Code::DeclarationRemovesMany, problem).at(declared.place.clone());
    let found = found.advise("name the users in the file, or remove exclusive");
    Some(if declared.exclusive {
        found.advise(format!("if that is meant, add --yes-remove {listed}"))
    } else {
        found.advise("leave out --yes-remove")
    })
}

/// A finding with the place in the declaration that it is about.
fn placed(found: Diagnostic, place: &Location) -> Diagnostic {
    Diagnostic { problem: found.problem(), ..found }.at(place.clone())
}

/// The reasons why a user cannot get a token.
fn unusable(host: &Host<'_>, user: &UserChange, declared: &Declared) -> Vec<Diagnostic> {
    let name = String::from_utf8_lossy(&user.name);
    let place = declared.users.get(&*name).map_or(&declared.place, |(place, _)| place);
    let tokens = user.gets.iter();
    tokens
        .filter_map(|id| is_unusable(host, &name, id).transpose())
        .map(|found| {
            let found = found.unwrap_or_else(|fault| fault.diagnostic());
            placed(found.with_severity(Severity::Error), place)
        })
        .collect()
}

/// As `add` has it, but that nobody is there to import the key afterwards.
fn is_unusable(host: &Host<'_>, user: &str, id: &TokenId) -> Result<Option<Diagnostic>, Fault> {
    let Host { settings, store, .. } = host;
    if !settings.allows(id) {
        let found = Diagnostic::error(Code::TokenRuledOut, format!("token_id_length rules out token {id}"));
        return Ok(Some(found.advise(check::RULED_OUT)));
    }
    if settings.mode.asks_servers() && id.yubikey().is_some() {
        return Ok(None);
    }
    if settings.mode == Mode::Online && !settings.codes.local {
        let problem = format!("mode = \"online\" refuses codes, and so token {id}");
        return Ok(Some(codes_not_here(Diagnostic::error(Code::CodesNotHere, problem))));
    }
    let is_here = match id {
        TokenId::RecoverySet(set) => !store.recovery_codes(set)?.is_empty(),
        id => store.keys()?.has(&id.to_string())?,
    };
    if is_here {
        return Ok(None);
    }
    let found = Diagnostic::error(Code::KeyMissing, format!("the store has no key for token {id}"));
    Ok(Some(match id {
        TokenId::YubiKey(_) => check::import(found),
        id => check::not_here(id, user, found),
    }))
}

/// Whether a token is enabled. One that only validation servers know is.
///
/// # Errors
/// It is not known here, or its position cannot be used.
fn is_enabled(host: &Host<'_>, id: &TokenId) -> Result<bool, Diagnostic> {
    match host.store.slots(id) {
        Ok(Some(slots)) => Ok(slots.state.enabled),
        Ok(None) => match host.store.key_file(id) {
            Ok(_) => {
                let found = Diagnostic::error(Code::PositionMissing, format!("token {id} has no position"));
                Err(check::adopt(id, found))
            }
            Err(Fault::NoKey { .. }) => match key::servers_may_decide(host.settings, id) {
                Ok(true) if id.yubikey().is_some() => Ok(true),
                _ => Err(files::not_here(id)),
            },
            Err(fault) => Err(fault.diagnostic()),
        },
        Err(fault) => Err(fault.diagnostic()),
    }
}

/// Whether a policy takes tokens of some methods only.
fn has_methods(policy: &Policy) -> bool {
    let mut all = std::iter::once(&policy.general).chain(policy.services.values());
    all.any(|rules| rules.methods.is_some() || rules.methods_for.is_some())
}

/// The lists for the change of the policy, and the lists as declared. In the former, users have their new tokens unless one
/// policy may take them and the other not, and nobody is unlisted.
fn lists_after(
    lists: &AllLists,
    users: &[UserChange],
    has_methods: bool,
) -> Result<(AllLists, AllLists), Failure> {
    let mut between = lists.clone();
    each_mapping(&mut between, users, |mapping, user| {
        let name = user.name.as_slice();
        for id in &user.from_mapping {
            mapping.remove(name, Some(id));
        }
        if user.is_new {
            mapping.list(name).map_err(bad_name(name))?;
        }
        if !has_methods && !user.gets.is_empty() {
            mapping.add(name, &user.gets).map_err(bad_name(name))?;
        }
        Ok(())
    })?;
    between.enrolled.edit(|enrolled| {
        for user in users {
            for id in &user.from_enrolled {
                enrolled.remove(&user.name, Some(id));
            }
        }
        Ok::<_, Failure>(())
    })?;
    let mut after = between.clone();
    each_mapping(&mut after, users, |mapping, user| {
        let name = user.name.as_slice();
        if has_methods && !user.gets.is_empty() {
            mapping.add(name, &user.gets).map_err(bad_name(name))?;
        }
        if user.goes {
            mapping.remove(name, None);
        }
        Ok(())
    })?;
    after.enrolled.edit(|enrolled| {
        for user in users.iter().filter(|user| user.goes_from_enrolled) {
            enrolled.remove(&user.name, None);
        }
        Ok::<_, Failure>(())
    })?;
    Ok((between, after))
}

/// Edits the mapping of each user who is not in `enrolled` only. One of many users is read once.
fn each_mapping(
    lists: &mut AllLists,
    users: &[UserChange],
    edit: impl Fn(&mut Edits, &UserChange) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut by_path = BTreeMap::<PathBuf, Vec<&UserChange>>::new();
    for user in users.iter().filter(|user| user.changes_mapping()) {
        by_path.entry(lists.mapping_of(&user.name)?.path().clone()).or_default().push(user);
    }
    for users in by_path.into_values() {
        let Some(first) = users.first() else { continue };
        lists
            .mapping_of(&first.name)?
            .edit(|mapping| users.iter().try_for_each(|user| edit(mapping, user)))?;
    }
    Ok(())
}

fn bad_name(user: &[u8]) -> impl FnOnce(yubiotp::mapping::BadUserName) -> Failure {
    let place = Location::user(user);
    move |why| Diagnostic::error(Code::UserNameInvalid, why.to_string()).at(place).into()
}
