//! `enrolled`, in the store: this host's own list of who has which token, in the grammar of the mapping.
//!
//! A login reads it beside the mapping, whose tokens come first. The mapping may belong to configuration management; this
//! file is written by `yubiotp-enroll` and `ykmap` only. Both files are changed under the lock of the store's folder, so a
//! rule about both of them holds from the check until the change is durable.

mod all;
mod lists;
mod proof;
#[cfg(test)]
mod tests;

pub use all::{AllLists, LockedFiles};
pub use lists::{HEAD, List, Lists, MAPPING_HEAD, edit, read};
pub use proof::{Proof, Stale};

use crate::settings::Settings;
use crate::store::Store;
use crate::{Fault, mapping};
use std::path::PathBuf;
use yubiotp::TokenId;
use yubiotp::mapping::{BadUserName, Enrolment};

/// The file, in the store.
pub const ENROLLED: &str = "enrolled";

/// Where the file is, or would be.
#[must_use]
pub fn path(settings: &Settings) -> PathBuf {
    settings.store.join(ENROLLED)
}

/// What must hold for [`assign`] to change anything. It is checked under the lock, over both files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only<'p> {
    /// The user is in neither file, also not without a token, by the rule that excuses users with `nullok`: the name is
    /// plain, and no line may mean it in another spelling. Each token is nobody's. For a first token.
    NotListed,
    /// The proof counts: the user has the tokens that they had when they proved a factor, and it is still good. Each token is
    /// nobody's, or this user's already. For users who have a token and get another.
    Proved(&'p Proof),
}

/// The effect of [`assign`].
#[derive(Debug, PartialEq, Eq)]
pub enum Assigned {
    /// The user has these tokens, durably.
    Done {
        /// Those that they did not have before.
        new: Vec<TokenId>,
    },
    /// Nothing was changed: [`Only::NotListed`], and the user is listed.
    Listed(Vec<TokenId>),
    /// Nothing was changed: the proof of [`Only::Proved`] does not count any more.
    Stale(Stale),
    /// Nothing was changed: a token is, or may be, another user's.
    Taken {
        /// The token.
        token: TokenId,
        /// Its owner, as the file has the name.
        owner: Vec<u8>,
    },
    /// Nothing was changed: no file can list a user of that name.
    BadName(BadUserName),
}

/// Lists `ids` for `user` in `enrolled`, all or none, once the user's tries of codes are counted. Durable when this returns
/// [`Assigned::Done`].
///
/// # Errors
/// A file cannot be used, or a line in it that may decide has an error. Nothing was changed, but for a system that failed
/// after the rename and could not say what is on its disk.
pub fn assign(settings: &Settings, user: &[u8], ids: &[TokenId], only: Only<'_>) -> Result<Assigned, Fault> {
    if let Err(why) = yubiotp::mapping::add(b"", user, ids) {
        return Ok(Assigned::BadName(why));
    }
    edit(settings, user, |lists| {
        let known = match (only, lists.tokens(user)?) {
            (Only::NotListed, Enrolment::Listed(tokens)) => return Ok(Assigned::Listed(tokens)),
            (Only::NotListed, Enrolment::NotListed) => {
                mapping::enrolment(settings, user, true)?;
                Vec::new()
            }
            (Only::Proved(proof), listed) => match (proof.stale(settings, lists, user)?, listed) {
                (Some(stale), _) => return Ok(Assigned::Stale(stale)),
                (None, Enrolment::Listed(tokens)) => tokens,
                (None, Enrolment::NotListed) => return Ok(Assigned::Stale(Stale::Tokens)),
            },
        };
        if let Some((token, owner)) = lists::owned_by_another(settings, user, ids)? {
            return Ok(Assigned::Taken { token, owner });
        }
        let mut new = Vec::new();
        for id in ids {
            if !known.contains(id) && !new.contains(id) {
                new.push(*id);
            }
        }
        if new.iter().any(|id| id.oath().is_some()) {
            Store::new(settings).make_guesses(user)?;
        }
        match lists.enrolled.add(user, &new) {
            Ok(()) => Ok(Assigned::Done { new }),
            Err(why) => Ok(Assigned::BadName(why)),
        }
    })
}

/// The effect of [`unassign`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unassigned {
    /// The tokens that the user had, and has no more.
    pub gone: Vec<TokenId>,
    /// The user is still listed, now without any token.
    pub listed_without: bool,
}

/// Takes tokens from `user`, out of whichever file lists them. Durable when this returns. A user whose last token goes stays
/// listed, and is rejected.
///
/// # Errors
/// A file cannot be used, or a line of the user's has an error.
pub fn unassign(settings: &Settings, user: &[u8], ids: &[TokenId]) -> Result<Unassigned, Fault> {
    edit(settings, user, |lists| {
        lists.tokens(user)?;
        let mut done = Unassigned::default();
        for id in ids {
            if lists.remove(user, Some(id)) > 0 {
                done.gone.push(*id);
            }
        }
        done.listed_without = !done.gone.is_empty() && lists.tokens(user)? == Enrolment::Listed(Vec::new());
        Ok::<_, Fault>(done)
    })
}
