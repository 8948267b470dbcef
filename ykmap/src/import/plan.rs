//! What an import would change, and changing it: all of it or nothing.

mod emergency;
mod show;
mod write;

use crate::exchange::finish;
use crate::init::LOST;
use crate::{Failure, codes, files, token};
use emergency::{Emergency, Whose};
use std::collections::{BTreeMap, BTreeSet};
use ykhost::settings::Settings;
use ykhost::store::{Change, EnrolError, Enrolled, OathNotes, Store, TokenKey};
use ykhost::{clock, mapping, random};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::key::{Holders, OathKey};
use yubiotp::mapping::{Enrolment, add};
use yubiotp::oath::window::{Progress, never_used};
use yubiotp::oath::{self, Kind};
use yubiotp::{Position, Serial, TokenId, shown};

/// Letters and digits of a serial number that are random.
const RANDOM: usize = 10;
/// Crockford's alphabet in lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A token of another module.
pub(crate) struct Coming {
    /// Whose it is.
    pub(crate) users: Vec<String>,
    /// Whether the administrator named these users.
    pub(crate) is_named: bool,
    pub(crate) key: OathKey,
    /// A window of its own: seconds in each direction for TOTP, codes ahead for HOTP.
    pub(crate) window: Option<u16>,
    /// Whether what the other module recorded says how far it has come, and not the time.
    pub(crate) is_recorded: bool,
    /// How far it has come there.
    pub(crate) progress: Progress,
    /// Emergency codes of eight digits, each once.
    pub(crate) emergency: Vec<oath::Code>,
    /// Where it is from, for findings.
    pub(crate) place: Location,
}

/// A token as it will be.
struct Planned {
    users: Vec<String>,
    id: TokenId,
    parameters: oath::Parameters,
    enrolled: Enrolled,
    /// Those of its users who do not have it yet.
    unlisted: Vec<String>,
    is_recorded: bool,
    emergency: Emergency,
}

/// What is not imported of a user, or has to be known.
pub(crate) struct Remark {
    /// For scripts.
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

/// All tokens as they will be.
#[derive(Default)]
pub(crate) struct Plan {
    tokens: Vec<Planned>,
    /// What comes into the store.
    keys: Vec<TokenKey>,
    /// The least position of each of them, and its drift.
    known: BTreeMap<TokenId, (Position, i32)>,
    /// The tokens of users who are listed.
    lists: BTreeMap<String, Vec<TokenId>>,
    /// Users who are listed without a token, and were not named.
    passed_over: Vec<String>,
    remarks: Vec<(String, Remark)>,
    problems: Vec<Diagnostic>,
}

impl Plan {
    /// Checks everything. `prefix` begins the serial numbers. Writes nothing, but for a change that was cut off, which it
    /// finishes first if this is no dry run.
    pub(crate) fn check(
        settings: &Settings,
        store: &Store,
        change: &Change<'_>,
        coming: Vec<Coming>,
        prefix: &str,
        dry_run: bool,
    ) -> Result<Self, Failure> {
        if !dry_run {
            finish(settings, change)?;
        }
        let (mut plan, mut holders) = (Self::default(), Holders::<TokenId>::default());
        let owners = files::owners(settings);
        let has_codes = coming.iter().any(|coming| !coming.emergency.is_empty());
        let known_codes = has_codes.then(|| store.known_codes()).transpose()?;
        let was_lost = settings.store.join(LOST).exists();
        for mut coming in coming {
            let has = match plan.has(settings, &mut coming) {
                Ok(has) => has,
                Err(Failure::Fault(found)) => {
                    plan.problems.push(*found);
                    continue;
                }
                Err(other) => return Err(other),
            };
            if coming.users.is_empty() {
                continue;
            }
            let digest = coming.key.digest();
            let progress = if was_lost { unknown(&coming) } else { coming.progress };
            if let Some(first) = holders.of(digest) {
                plan.join(first, coming);
                continue;
            }
            let (users, place) = (std::mem::take(&mut coming.users), coming.place.clone());
            let mut problem = |found: Diagnostic| {
                plan.problems
                    .push(Diagnostic { problem: found.problem(), location: None, ..found }.at(place.clone()))
            };
            for user in &users {
                if let Err(why) = add(b"", user.as_bytes(), &[]) {
                    problem(Diagnostic::error(Code::UserNameInvalid, why.to_string()));
                }
            }
            if let Err(found) = codes::check_counter(coming.progress) {
                problem(found);
                continue;
            }
            let parameters = coming.key.parameters;
            let notes = OathNotes { window: coming.window, series: None };
            let key = TokenKey::Oath(new_serial(prefix)?, coming.key, notes);
            let (mut key, enrolled) = match known_as(change, key) {
                Ok(known) => known,
                Err(error) => {
                    problem(error.diagnostic());
                    continue;
                }
            };
            let id = key.id();
            let is_of_another =
                |owner: &String| !users.iter().any(|user| shown::text(user).to_string() == *owner);
            if let Some(other) = owners.get(&id).into_iter().flatten().find(|owner| is_of_another(owner)) {
                problem(Diagnostic::error(
                    Code::SecretOfOtherToken,
                    format!("has the same secret as token {id}, which belongs to {other}"),
                ));
                continue;
            }
            if enrolled == Enrolled::Unchanged {
                match (token::is_the_same(store, &key), &mut key) {
                    // Its series and window stay.
                    (Ok(Some(stored)), TokenKey::Oath(.., notes)) => *notes = stored,
                    (Ok(_), _) => {}
                    (Err(found), _) => {
                        let what = format!("token {id} has the same secret, and {}", found.problem());
                        problem(Diagnostic { problem: what, ..found });
                        continue;
                    }
                }
            }
            holders.note(digest, id);
            if let Some(next) = progress.next {
                plan.known.insert(id, (next, progress.drift));
            }
            plan.keys.push(key);
            let is_again = has.contains(&id) && !coming.is_named;
            let of = Whose {
                users: &users,
                has: &has,
                owners: &owners,
                is_again,
                was_lost,
                known: known_codes.as_ref(),
            };
            let emergency = plan.emergency(store, &coming.emergency, &of)?;
            let unlisted = plan.without(&users, id);
            let is_recorded = coming.is_recorded;
            plan.tokens.push(Planned { users, id, parameters, enrolled, unlisted, is_recorded, emergency });
        }
        Ok(plan)
    }

    /// A secret that came before in this import is one token, as far as either of them has come.
    fn join(&mut self, first: TokenId, coming: Coming) {
        let unlisted = self.without(&coming.users, first);
        let Some(planned) = self.tokens.iter_mut().find(|token| token.id == first) else { return };
        if planned.parameters != coming.key.parameters {
            let problem = "has the secret of another token of this import, and counts otherwise";
            self.problems.push(Diagnostic::error(Code::SecretOfOtherToken, problem).at(coming.place));
            return;
        }
        if !coming.emergency.is_empty() {
            let problem = "has the secret of another user of this import, and emergency codes of its own";
            self.problems.push(
                Diagnostic::error(Code::SecretOfOtherToken, problem)
                    .at(coming.place)
                    .advise("give one of the users a secret of their own"),
            );
            return;
        }
        planned.unlisted.extend(unlisted);
        planned.is_recorded &= coming.is_recorded;
        planned.users.extend(coming.users);
        if let Some(next) = coming.progress.next {
            let known = self.known.entry(first).or_insert((next, coming.progress.drift));
            known.0 = known.0.max(next);
        }
    }

    /// The tokens of its users. Takes users from it who are listed without a token: an administrator took theirs away.
    fn has(&mut self, settings: &Settings, coming: &mut Coming) -> Result<Vec<TokenId>, Failure> {
        let (mut has, mut users) = (Vec::new(), Vec::new());
        for user in std::mem::take(&mut coming.users) {
            // What is wrong with a name is found later.
            let listed = match mapping::path_of(&settings.mapping, &user) {
                Ok(_) => files::tokens_of(settings, &user)?,
                Err(_) => Enrolment::NotListed,
            };
            match listed {
                Enrolment::Listed(tokens) if tokens.is_empty() && !coming.is_named => {
                    self.passed_over.push(user);
                    continue;
                }
                Enrolment::Listed(tokens) => {
                    has.extend(tokens.iter().copied());
                    self.lists.insert(user.clone(), tokens);
                }
                Enrolment::NotListed => {}
            }
            users.push(user);
        }
        coming.users = users;
        Ok(has)
    }

    /// What is not imported, or has to be known, each with its user.
    pub(crate) fn remarks(&mut self) -> Vec<(String, Remark)> {
        std::mem::take(&mut self.remarks)
    }

    /// The problems, if there are any.
    pub(crate) fn problems(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.problems)
    }

    /// Those of these users who do not have a token.
    fn without(&self, users: &[String], id: TokenId) -> Vec<String> {
        let lacks = |user: &&String| self.lists.get(*user).is_none_or(|has| !has.contains(&id));
        users.iter().filter(lacks).cloned().collect()
    }

    /// Leaves tokens as they are that are here, and whose users have them, unless the other module recorded that they came
    /// further. So the same plan made again has nothing to do.
    pub(crate) fn only_news(&mut self, store: &Store) -> Result<(), Failure> {
        let mut old = BTreeSet::new();
        for token in &self.tokens {
            let here = store.slots(&token.id)?.and_then(|slots| slots.state.position);
            let is_behind = self.known.get(&token.id).is_some_and(|(next, _)| Some(*next) > here);
            let is_same = token.enrolled == Enrolled::Unchanged && token.unlisted.is_empty();
            if is_same && token.emergency.is_empty() && !(is_behind && token.is_recorded) {
                old.insert(token.id);
            }
        }
        self.tokens.retain(|token| !old.contains(&token.id));
        self.keys.retain(|key| !old.contains(&key.id()));
        Ok(())
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_done(&self) -> bool {
        self.tokens.is_empty()
    }

    /// What comes to the list of a user: the tokens, and whether the user was listed.
    pub(crate) fn additions(&self) -> impl Iterator<Item = (&str, bool, Vec<TokenId>)> {
        self.tokens.iter().flat_map(|token| {
            token.users.iter().map(|user| {
                let own = token.unlisted.iter().any(|without| without == user).then_some(token.id);
                let ids = own.into_iter().chain(token.emergency.sets()).collect();
                (user.as_str(), self.lists.contains_key(user), ids)
            })
        })
    }

    fn users(&self) -> impl Iterator<Item = &String> {
        self.tokens.iter().flat_map(|token| &token.users)
    }
}

/// The key under the serial number that this host knows its secret by, if it does, and the effect of enrolling it.
fn known_as(change: &Change<'_>, key: TokenKey) -> Result<(TokenKey, Enrolled), EnrolError> {
    match (change.would_enrol(&key), key) {
        (Ok(enrolled), key) => Ok((key, enrolled)),
        (Err(EnrolError::SameKey { holder: TokenId::Oath(serial), .. }), TokenKey::Oath(_, key, notes)) => {
            let key = TokenKey::Oath(serial, key, notes);
            let enrolled = change.would_enrol(&key)?;
            Ok((key, enrolled))
        }
        (Err(error), _) => Err(error),
    }
}

/// How far a token may have come that was used here before the store was lost: what the file says is not enough.
fn unknown(coming: &Coming) -> Progress {
    let Kind::Totp { period } = coming.key.parameters.kind else {
        return Progress { next: Some(Position::from_stored(u64::MAX)), drift: 0 };
    };
    let Progress { next, drift } = coming.progress;
    Progress { next: next.max(Some(never_used(period, clock::unix()))), drift }
}

fn new_serial(prefix: &str) -> Result<Serial, Failure> {
    let random = random::bytes::<RANDOM>()?;
    let letters = random.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31)));
    let text: String = prefix.chars().chain(letters.map(|letter| char::from(*letter))).collect();
    Serial::new(&text).ok_or_else(|| Failure::input("no serial number"))
}
