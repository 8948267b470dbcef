//! Everybody on the host: users in the lists, and accounts that can log in.

use crate::{Failure, files};
use std::collections::BTreeMap;
use ykhost::enrolled;
use ykhost::settings::Settings;
use yubiotp::mapping::{Line, entries};
use yubiotp::policy::{Policy, Require, Subject};
use yubiotp::{TokenId, shown};

/// One user.
#[derive(Default)]
pub(crate) struct User {
    /// As it is in the lists.
    pub(crate) name: Vec<u8>,
    /// Those of both lists, each once.
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) is_in_mapping: bool,
    pub(crate) is_enrolled: bool,
}

impl User {
    /// The name, to be shown.
    pub(crate) fn shown(&self) -> String {
        shown::text(&self.name).to_string()
    }

    pub(crate) const fn is_listed(&self) -> bool {
        self.is_in_mapping || self.is_enrolled
    }
}

/// Users by name.
#[derive(Default)]
pub(crate) struct Users(BTreeMap<Vec<u8>, User>);

impl Users {
    /// The users whom the lists name.
    pub(super) fn read(settings: &Settings) -> Result<Self, Failure> {
        let mut users = Self::default();
        let enrolled = enrolled::path(settings);
        for (path, text) in files::texts(settings)? {
            for (_, line) in entries(&text) {
                let Ok(Line::Entry { user, fields }) = line else { continue };
                let user = users.named(user);
                let is_enrolled = path == enrolled;
                user.is_enrolled |= is_enrolled;
                user.is_in_mapping |= !is_enrolled;
                for id in fields.tokens() {
                    if !user.tokens.contains(&id) {
                        user.tokens.push(id);
                    }
                }
            }
        }
        Ok(users)
    }

    /// Adds users who need not be listed: accounts, and those whom the policy names.
    pub(super) fn add(&mut self, accounts: &[String], policy: &Policy) {
        for name in accounts {
            self.named(name.as_bytes());
        }
        for rules in std::iter::once(&policy.general).chain(policy.services.values()) {
            let Some(Require::These(who)) = &rules.require else { continue };
            for subject in who {
                match subject {
                    Subject::User(name) => drop(self.named(name.as_bytes())),
                    Subject::Group(group) => {
                        policy.groups.get(group).into_iter().flatten().for_each(|name| {
                            self.named(name.as_bytes());
                        });
                    }
                }
            }
        }
    }

    fn named(&mut self, name: &[u8]) -> &mut User {
        self.0.entry(name.to_vec()).or_insert_with(|| User { name: name.to_vec(), ..User::default() })
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &User> {
        self.0.values()
    }

    /// Those whom a list names.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &User> {
        self.iter().filter(|user| user.is_listed())
    }
}
