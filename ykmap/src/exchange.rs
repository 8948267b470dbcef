//! Replacing the tokens of a user, in mapping and store, so that a crash at any moment leaves the old ones or the new ones.
//!
//! New codes are in the store, and were shown, before the mapping lists them. The mapping changes in one step. What it does
//! not list any more leaves the store last. A user who enrolled on this host is listed in `enrolled` in place of the mapping, and
//! gets new codes there. Only a user who is in both files loses tokens in two steps: a crash in between leaves some of them, and
//! the same command takes those. [`Unfinished`] names both kinds meanwhile, so that the next change finishes what was cut off.

use super::list::not_listed;
use super::{Context, Failure, account, files};
use std::collections::BTreeSet;
use std::path::Path;
use ykhost::mapping;
use ykhost::settings::Settings;
use ykhost::store::{Change, Store, TokenKey, Unfinished};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};
use yubiotp::mapping::{Enrolment, Line, entries};
use yubiotp::{TokenId, mapping as lines};

/// A change of one user's tokens.
pub(crate) struct Exchange<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) user: &'a str,
    /// The tokens that the mapping and `enrolled` list now.
    pub(crate) tokens: &'a [TokenId],
    /// Those of them that are unassigned. OATH tokens and recovery codes among them are removed from the store, unless
    /// somebody else has them.
    pub(crate) going: &'a [TokenId],
    /// What comes into the store.
    pub(crate) coming: &'a [TokenKey],
    /// The tokens that are listed instead.
    pub(crate) listed: &'a [TokenId],
    /// Whether the user, without any token, stays listed and so rejected.
    pub(crate) stays: bool,
}

impl Exchange<'_> {
    /// Makes the change. `show` is called once what comes is in the store: it shows the codes, and nothing changes if it
    /// fails. Returns what was removed from the store.
    pub(crate) fn run(
        &self,
        store: &Store,
        show: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Vec<TokenId>, Failure> {
        let change = store.change()?;
        finish(self.settings, &change)?;
        let is_ours = |token: &&TokenId| token.yubikey().is_none();
        let tokens = self.going.iter().filter(is_ours).chain(self.listed.iter().filter(is_ours)).copied();
        change
            .begin_unfinished(&Unfinished { users: vec![self.user.to_owned()], tokens: tokens.collect() })?;
        let switched = self.switch(&change, show);
        // Whichever of them the mapping does not list now: the old ones, or the new ones if something failed.
        let finished = finish(self.settings, &change);
        switched?;
        finished
    }

    fn switch(&self, change: &Change<'_>, show: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        if !self.coming.is_empty() {
            change.enrol(self.coming, &|| {})?;
        }
        show()?;
        files::edit(self.settings, self.user, |lists| {
            let user = self.user.as_bytes();
            if lists.tokens(user)? != Enrolment::Listed(self.tokens.to_vec()) {
                return Err(Failure::from(
                    Diagnostic::error(
                        Code::TokenUsedMeanwhile,
                        "the user's tokens were changed meanwhile: nothing was changed",
                    )
                    .at(Location::user(user))
                    .advise("run the command again"),
                ));
            }
            for token in self.going {
                lists.remove(user, Some(token));
            }
            if !self.stays {
                lists.remove(user, None);
            }
            if !self.listed.is_empty() {
                let home = lists.home(user)?;
                home.add(user, self.listed).map_err(|why| Failure::input(why.to_string()))?;
            }
            Ok(())
        })
    }
}

/// Finishes a change that was cut off: removes from the store what it was about and no mapping lists.
pub(crate) fn finish(settings: &Settings, change: &Change<'_>) -> Result<Vec<TokenId>, Failure> {
    let Some(unfinished) = change.unfinished()? else { return Ok(Vec::new()) };
    let listed = Listed::read(settings, &unfinished.users)?;
    let mut removed = Vec::new();
    let (kept, going): (Vec<_>, Vec<_>) =
        unfinished.tokens.into_iter().partition(|token| listed.may_list(token));
    for token in going {
        let is_removed = match &token {
            TokenId::RecoverySet(set) => change.remove_codes(set)? > 0,
            token if change.has_key(token)? => change.remove(token).map(|_| true)?,
            _ => false,
        };
        if is_removed {
            removed.push(token);
        }
    }
    // An enrollment that was cut off is about one user.
    if let [user] = unfinished.users.as_slice() {
        end_taken(settings, user, &kept)?;
    }
    change.end_unfinished()?;
    Ok(removed)
}

/// Ends the offer of an app that is listed now, so that nobody takes it a second time.
fn end_taken(settings: &Settings, user: &str, listed: &[TokenId]) -> Result<(), Failure> {
    let store = Store::new(settings);
    for serial in listed.iter().filter_map(TokenId::oath) {
        if let Some(offer) = store.hold_offer(user.as_bytes(), &serial, None)? {
            offer.end()?;
        }
    }
    Ok(())
}

/// What the mappings and `enrolled` list.
struct Listed {
    tokens: BTreeSet<TokenId>,
    /// Lines with a mistake: whose they are, and with which tokens, nobody knows.
    unread: Vec<Vec<u8>>,
    /// Other users may have mappings that were not found.
    is_partial: bool,
}

impl Listed {
    fn read(settings: &Settings, users: &[String]) -> Result<Self, Failure> {
        let folder = Path::new(&settings.mapping).parent();
        let is_partial = folder.is_some_and(|folder| folder.to_string_lossy().contains("%u"));
        let texts = match is_partial {
            true => {
                let mut texts = Vec::new();
                for user in users {
                    let path = mapping::path_of(&settings.mapping, user)?;
                    texts.push((path.clone(), files::text_of(&path)?));
                }
                texts.extend(files::enrolled_text(settings)?);
                texts
            }
            false => files::texts(settings)?,
        };
        let mut listed = Self { tokens: BTreeSet::new(), unread: Vec::new(), is_partial };
        for (_, text) in texts {
            for (number, line) in entries(&text) {
                match line {
                    Ok(Line::Entry { fields, .. }) => listed.tokens.extend(fields.tokens()),
                    Ok(Line::Nothing) => {}
                    Err(_) => {
                        let line = text.split(|byte| *byte == b'\n').nth(number.saturating_sub(1));
                        listed.unread.extend(line.map(<[u8]>::to_vec));
                    }
                }
            }
        }
        Ok(listed)
    }

    /// Whether somebody has the token, or may have it.
    fn may_list(&self, token: &TokenId) -> bool {
        let name = token.to_string();
        let is_in = |line: &Vec<u8>| line.windows(name.len()).any(|part| part == name.as_bytes());
        // A set of recovery codes is one user's.
        self.tokens.contains(token)
            || self.unread.iter().any(is_in)
            || self.is_partial && !matches!(token, TokenId::RecoverySet(_))
    }
}

/// The finding of a change that was cut off, if there is one.
pub(crate) fn unfinished(store: &Store) -> Option<Diagnostic> {
    let found = match store.unfinished() {
        Ok(None) => return None,
        Err(fault) => return Some(fault.diagnostic()),
        Ok(Some(unfinished)) => unfinished,
    };
    let tokens: Vec<_> = found.tokens.iter().map(ToString::to_string).collect();
    let users: Vec<_> = found.users.iter().map(|user| yubiotp::shown::text(user).to_string()).collect();
    let what = format!(
        "a change of the tokens of {} was interrupted: of {}, the store may have some that no mapping lists. No login can use those",
        users.join(", "),
        tokens.join(", ")
    );
    let note = Diagnostic::note(Code::ChangeUnfinished, what);
    Some(match found.users.as_slice() {
        [user] => note.run_when(
            "to make recovery codes anew, and remove what is left",
            Program::Ykmap,
            format!("recovery new {}", shell_word(user.as_bytes())),
        ),
        _ => note.advise("run the import again, which first removes what is left"),
    })
}

/// The tokens of a user who is listed.
pub(crate) fn tokens_of(settings: &Settings, user: &str) -> Result<Vec<TokenId>, Failure> {
    // A name that no mapping can contain.
    lines::add(b"", user.as_bytes(), &[]).map_err(|why| {
        Diagnostic::error(Code::UserNameInvalid, why.to_string()).at(Location::user(user.as_bytes()))
    })?;
    match files::tokens_of(settings, user)? {
        Enrolment::Listed(tokens) => Ok(tokens),
        Enrolment::NotListed => {
            let found = not_listed(settings, user);
            Err(match found.code {
                // More likely misspelt than forgotten.
                Code::UserNotListed if account::unknown(user).is_some() => {
                    found.run_when("to see who is listed", Program::Ykmap, "list")
                }
                Code::UserNotListed => found.run_when(
                    "to give them a token",
                    Program::Ykmap,
                    format!("add {}", shell_word(user.as_bytes())),
                ),
                _ => found,
            }
            .into())
        }
    }
}

/// Notes settings by which no code is accepted.
pub(crate) fn warn_of_mode(context: &Context, settings: &Settings) {
    if settings.mode == ykhost::settings::Mode::Online && !settings.codes.local {
        let problem = "mode = \"online\" refuses codes: validation servers know none";
        let found = Diagnostic::warning(Code::CodesNotHere, problem)
            .at(Location::Setting("local in [codes]".to_owned()))
            .advise("to have this host decide about codes, set local = true in the table [codes]");
        context.note(&found);
    }
}
