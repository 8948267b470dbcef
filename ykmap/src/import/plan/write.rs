//! Writing a plan: the tokens first, and then their users' lists.

use super::{Plan, Planned};
use crate::exchange::finish;
use crate::{Failure, files};
use std::collections::BTreeMap;
use std::path::PathBuf;
use ykhost::mapping;
use ykhost::settings::Settings;
use ykhost::store::{Change, Store, Unfinished};
use yubiotp::mapping::Enrolment;

impl Plan {
    /// Writes everything. A crash leaves tokens in the store that nobody has; the same import takes them over.
    pub(crate) fn write(
        &self,
        settings: &Settings,
        store: &Store,
        change: &Change<'_>,
    ) -> Result<(), Failure> {
        if self.tokens.is_empty() {
            return Ok(());
        }
        let sets = self.tokens.iter().flat_map(|token| &token.emergency.new).copied();
        let users: Vec<_> = self.users().cloned().collect();
        change.begin_unfinished(&Unfinished { users: users.clone(), tokens: sets.collect() })?;
        let written = (|| {
            change.enrol_known(&self.keys, |key| self.known.get(&key.id()).copied(), &|| {})?;
            for user in &users {
                store.make_guesses(user.as_bytes())?;
            }
            self.assign(settings)
        })();
        let finished = finish(settings, change);
        written?;
        finished.map(drop)
    }

    /// Lists every token for its users, each mapping in one step.
    fn assign(&self, settings: &Settings) -> Result<(), Failure> {
        let mut paths = BTreeMap::<PathBuf, Vec<(&String, &Planned)>>::new();
        for token in &self.tokens {
            for user in &token.users {
                let path = mapping::path_of(&settings.mapping, user)?;
                paths.entry(path).or_default().push((user, token));
            }
        }
        for tokens in paths.into_values() {
            let Some((first, _)) = tokens.first() else { continue };
            files::edit(settings, first, |lists| {
                for (user, token) in &tokens {
                    let has = match lists.tokens(user.as_bytes())? {
                        Enrolment::Listed(tokens) => tokens,
                        Enrolment::NotListed => Vec::new(),
                    };
                    let ids = [token.id].into_iter().chain(token.emergency.sets());
                    let ids: Vec<_> = ids.filter(|id| !has.contains(id)).collect();
                    let added = lists.mapping.add(user.as_bytes(), &ids);
                    added.map_err(|why| Failure::input(why.to_string()))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
