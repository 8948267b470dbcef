//! Emergency codes of google-authenticator, which become sets of recovery codes.

use super::{Plan, Remark};
use crate::recovery::set_name;
use crate::{Failure, out};
use std::collections::BTreeMap;
use ykhost::store::{KnownCode, KnownCodes, RecoveryRecord, Shape, Store, TokenKey};
use yubiotp::diagnostic::shell_word;
use yubiotp::recovery::{self, RecoveryKey};
use yubiotp::{TokenId, oath};

/// The emergency codes of a token.
#[derive(Default)]
pub(super) struct Emergency {
    /// Sets that come into the store.
    pub(super) new: Vec<TokenId>,
    /// Sets that are there, and nobody's.
    pub(super) adopted: Vec<TokenId>,
    /// How many codes these sets have of them.
    pub(super) count: usize,
}

/// Whose emergency codes those are.
pub(super) struct Whose<'a> {
    pub(super) users: &'a [String],
    /// The tokens that they have now.
    pub(super) has: &'a [TokenId],
    pub(super) owners: &'a BTreeMap<TokenId, Vec<String>>,
    /// Whether they have the token already, and were not named.
    pub(super) is_again: bool,
    pub(super) was_lost: bool,
    /// What this host knows of codes; `None` if none comes.
    pub(super) known: Option<&'a KnownCodes>,
}

impl Emergency {
    pub(super) const fn is_empty(&self) -> bool {
        self.new.is_empty() && self.adopted.is_empty()
    }

    pub(super) fn sets(&self) -> impl Iterator<Item = TokenId> {
        self.new.iter().chain(&self.adopted).copied()
    }
}

impl Plan {
    /// Sets for emergency codes, as many in one as it holds. A code that was used here stays used.
    pub(super) fn emergency(
        &mut self,
        store: &Store,
        codes: &[oath::Code],
        of: &Whose<'_>,
    ) -> Result<Emergency, Failure> {
        let mut emergency = Emergency::default();
        let Some(known) = of.known.filter(|_| !codes.is_empty()) else { return Ok(emergency) };
        let own: Vec<_> = of.has.iter().filter_map(TokenId::recovery_set).collect();
        let (mut new, mut used, mut removed, mut unknown) = (Vec::new(), 0_usize, 0_usize, 0_usize);
        for code in codes {
            match known.of(code, &own) {
                KnownCode::Here(set) if own.contains(&set) => {}
                KnownCode::Here(set) => {
                    let set = TokenId::RecoverySet(set);
                    if of.owners.contains_key(&set) {
                        used = used.saturating_add(1);
                        continue;
                    }
                    emergency.count = emergency.count.saturating_add(1);
                    if !emergency.adopted.contains(&set) {
                        emergency.adopted.push(set);
                    }
                }
                KnownCode::Used => used = used.saturating_add(1),
                KnownCode::Unknown => unknown = unknown.saturating_add(1),
                KnownCode::New | KnownCode::Removed if of.was_lost => unknown = unknown.saturating_add(1),
                KnownCode::Removed if of.is_again => removed = removed.saturating_add(1),
                KnownCode::New | KnownCode::Removed => new.push(code),
            }
        }
        emergency.count = emergency.count.saturating_add(new.len());
        for codes in new.chunks(usize::from(recovery::MOST)) {
            let (store_key, set) = (store.store_key()?, set_name(store)?);
            let (key, under) = (RecoveryKey::of(&store_key), store_key.id());
            for (number, code) in (1..=recovery::MOST).zip(codes) {
                let mac = recovery::mac_of_digits(code, &key, &set, number);
                let record = RecoveryRecord::new(Shape::EightDigits, under, mac);
                self.keys.push(TokenKey::RecoveryCode(set, number, record));
            }
            emergency.new.push(TokenId::RecoverySet(set));
        }
        for user in of.users {
            let word = shell_word(user.as_bytes());
            for (name, count, what) in [
                (
                    "emergency-codes-used",
                    used,
                    "used on this host or another user's: not imported".to_owned(),
                ),
                (
                    "emergency-codes-removed",
                    removed,
                    format!(
                        "removed here: not imported. To import them: ykmap import google-authenticator {word}"
                    ),
                ),
                (
                    "emergency-codes-unknown",
                    unknown,
                    format!(
                        "perhaps used here before the store or its key was lost: not imported. To make recovery codes: ykmap recovery new {word}"
                    ),
                ),
            ] {
                if count > 0 {
                    let text = format!("{} {what}", out::count(count, "emergency code"));
                    self.remarks.push((user.clone(), Remark { name, text }));
                }
            }
        }
        Ok(emergency)
    }
}
