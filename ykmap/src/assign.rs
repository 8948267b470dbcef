//! Giving tokens to users and taking them away: what `add`, `totp add`, `token assign`, `token claim` and `token remove` do
//! alike.

use super::check::policy::not_allowed;
use super::explain::HostState;
use super::list::States;
use super::{Context, Failure, account, files, out};
use ykhost::settings::Settings;
use ykhost::store::Store;
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::mapping::{self, BadUserName, Enrolment, Line};
use yubiotp::policy::{Method, Methods, Policy};
use yubiotp::{TokenId, shown};

/// The effect of [`assign`].
pub(crate) struct Assigned {
    /// The tokens that the user did not have before.
    pub(crate) new: Vec<TokenId>,
    others: Vec<String>,
    other_spelling: Option<Diagnostic>,
}

impl Assigned {
    /// Says who else has these tokens, and whether the mapping lists the user in another spelling.
    pub(crate) fn note(&self, context: &Context) {
        for note in &self.others {
            out::note(note);
        }
        if let Some(found) = &self.other_spelling {
            context.note(found);
        }
    }
}

/// Fails unless the mapping can list this user and be changed here, before anybody touches a YubiKey or takes a secret in
/// vain. `words` are the verb and its arguments, for the advice.
pub(crate) fn check(context: &Context, settings: &Settings, user: &str, words: &str) -> Result<(), Failure> {
    mapping::add(b"", user.as_bytes(), &[]).map_err(|why| bad_name(user, why))?;
    let path = ykhost::mapping::path_of(&settings.mapping, user)?;
    files::check_rights(context, settings, &path, words)?;
    files::tokens_of(settings, user)?;
    Ok(())
}

/// Notes that this host knows no account of that name.
pub(crate) fn note_unknown(context: &Context, user: &str) {
    if let Some(unknown) = account::unknown(user) {
        context.note(&unknown);
    }
}

/// Warns if the policy does not allow the user tokens of these methods.
pub(crate) fn warn_of_methods(
    context: &Context,
    settings: &Settings,
    user: &str,
    methods: impl IntoIterator<Item = Method>,
) {
    for method in Methods::of(methods).iter() {
        if let Some(found) = not_allowed(&settings.policy, user, method) {
            context.note(&found);
        }
    }
}

/// The same, of tokens as the store has them.
pub(crate) fn warn_of_tokens(context: &Context, settings: &Settings, user: &str, ids: &[TokenId]) {
    if settings.policy != Policy::default() {
        let states = States::new(context, settings);
        let host = HostState { settings, states: Some(&states) };
        warn_of_methods(context, settings, user, ids.iter().filter_map(|id| host.method(id)));
    }
}

/// Lists these tokens for a user in the mapping, durably, once the user's tries of codes are counted. Those that the user has
/// already stay as they are. `check` may still refuse: nobody changes who has which token between it and the change.
pub(crate) fn assign(
    settings: &Settings,
    user: &str,
    ids: &[TokenId],
    check: impl FnOnce() -> Result<(), Failure>,
) -> Result<Assigned, Failure> {
    if ids.iter().any(|id| id.oath().is_some()) {
        Store::new(settings).make_guesses(user.as_bytes())?;
    }
    let other_spelling = files::other_spelling(settings, user);
    let (new, others) = files::edit(settings, user, |lists| {
        check()?;
        let known = match lists.tokens(user.as_bytes())? {
            Enrolment::Listed(known) => known,
            Enrolment::NotListed => Vec::new(),
        };
        let new: Vec<_> = ids.iter().copied().filter(|id| !known.contains(id)).collect();
        let others = lists.both().flat_map(|list| owned_by_others(list.text(), user, &new)).collect();
        lists.mapping.add(user.as_bytes(), &new).map_err(|why| bad_name(user, why))?;
        Ok((new, others))
    })?;
    Ok(Assigned { new, others, other_spelling })
}

/// Takes a token from a user, durably, out of whichever file lists it. Returns whether the user is still listed, now without
/// any token.
pub(crate) fn unassign(settings: &Settings, user: &str, id: &TokenId) -> Result<bool, Failure> {
    files::edit(settings, user, |lists| {
        lists.tokens(user.as_bytes())?;
        if lists.remove(user.as_bytes(), Some(id)) == 0 {
            let found = Diagnostic::error(Code::TokenNotAssigned, format!("does not have token {id}"));
            return Err(found.at(Location::user(user.as_bytes())).into());
        }
        Ok(lists.tokens(user.as_bytes())? == Enrolment::Listed(Vec::new()))
    })
}

/// The names of the users who have a token, as the files have them. A file that cannot be read is an error.
pub(crate) fn owners(settings: &Settings, id: &TokenId) -> Result<Vec<String>, Failure> {
    let mut owners = Vec::new();
    for (_, text) in files::texts(settings)? {
        for (_, line) in mapping::entries(&text) {
            if let Ok(Line::Entry { user, fields }) = line
                && fields.tokens().any(|own| own == *id)
                && let Ok(user) = str::from_utf8(user)
                && !owners.iter().any(|known| known == user)
            {
                owners.push(user.to_owned());
            }
        }
    }
    Ok(owners)
}

/// A note for each of these IDs that another user has, too.
fn owned_by_others(text: &[u8], user: &str, ids: &[TokenId]) -> Vec<String> {
    let mut notes = Vec::new();
    for (_, line) in mapping::entries(text) {
        if let Ok(Line::Entry { user: owner, fields }) = line
            && owner != user.as_bytes()
        {
            let owner = shown::text(owner);
            let shared = fields.tokens().filter(|id| ids.contains(id));
            notes.extend(shared.map(|id| format!("token {id} is {owner}'s, too")));
        }
    }
    notes
}

fn bad_name(user: &str, why: BadUserName) -> Failure {
    Diagnostic::error(Code::UserNameInvalid, why.to_string()).at(Location::user(user.as_bytes())).into()
}
