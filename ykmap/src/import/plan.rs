//! What an import would change, and changing it: all of it or nothing.

use crate::exchange::{finish, warn_of_mode};
use crate::init::LOST;
use crate::recovery::set_name;
use crate::{Context, Failure, files, out, service};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use ykhost::settings::Settings;
use ykhost::store::{
    Change, EnrolError, Enrolled, OathNotes, RecoveryRecord, Shape, Store, TokenKey, Unfinished,
};
use ykhost::{clock, mapping, random};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::key::{Holders, OathKey};
use yubiotp::mapping::{Enrolment, add};
use yubiotp::oath::window::{Progress, never_used};
use yubiotp::oath::{self, Kind};
use yubiotp::recovery::{self, RecoveryKey};
use yubiotp::{Position, Serial, TokenId, shown};

/// Letters and digits of a serial number that are random.
const RANDOM: usize = 10;
/// Crockford's alphabet in lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A token of another module.
pub(super) struct Coming {
    /// Whose it is.
    pub(super) users: Vec<String>,
    pub(super) key: OathKey,
    /// A window of its own: seconds in each direction for TOTP, codes ahead for HOTP.
    pub(super) window: Option<u16>,
    /// How far it has come there.
    pub(super) progress: Progress,
    /// Emergency codes of eight digits, each once.
    pub(super) emergency: Vec<oath::Code>,
    /// Where it is from, for findings.
    pub(super) place: Location,
}

/// A token as it will be.
struct Planned {
    users: Vec<String>,
    id: TokenId,
    parameters: oath::Parameters,
    enrolled: Enrolled,
    /// The sets of the emergency codes, and how many codes those are.
    sets: Vec<TokenId>,
    codes: usize,
}

/// All tokens as they will be.
#[derive(Default)]
pub(super) struct Plan {
    tokens: Vec<Planned>,
    /// What comes into the store.
    keys: Vec<TokenKey>,
    /// The least position of each of them, and its drift.
    known: BTreeMap<TokenId, (Position, i32)>,
    problems: Vec<Diagnostic>,
}

impl Plan {
    /// Checks everything, and writes nothing. `prefix` begins the serial numbers.
    pub(super) fn check(
        settings: &Settings,
        store: &Store,
        change: &Change<'_>,
        coming: Vec<Coming>,
        prefix: &str,
    ) -> Result<Self, Failure> {
        let (mut plan, mut holders) = (Self::default(), Holders::<TokenId>::default());
        let owners = files::owners(settings);
        let was_lost = settings.store.join(LOST).exists();
        for mut coming in coming {
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
            let parameters = coming.key.parameters;
            let notes = OathNotes { window: coming.window, series: None };
            let key = TokenKey::Oath(new_serial(prefix)?, coming.key, notes);
            let (key, enrolled) = match known_as(change, key) {
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
            holders.note(digest, id);
            if let Some(next) = progress.next {
                plan.known.insert(id, (next, progress.drift));
            }
            // Of a token that was imported before, the emergency codes were, too.
            let is_new = owners.get(&id).is_none_or(Vec::is_empty);
            let emergency = if is_new { coming.emergency } else { Vec::new() };
            let sets = plan.emergency(store, &emergency)?;
            plan.keys.push(key);
            plan.tokens.push(Planned { users, id, parameters, enrolled, sets, codes: emergency.len() });
        }
        Ok(plan)
    }

    /// A secret that came before in this import is one token, as far as either of them has come.
    fn join(&mut self, first: TokenId, coming: Coming) {
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
        planned.users.extend(coming.users);
        if let Some(next) = coming.progress.next {
            let known = self.known.entry(first).or_insert((next, coming.progress.drift));
            known.0 = known.0.max(next);
        }
    }

    /// Sets for emergency codes, as many in one as it holds.
    fn emergency(&mut self, store: &Store, codes: &[oath::Code]) -> Result<Vec<TokenId>, Failure> {
        let mut sets = Vec::new();
        for codes in codes.chunks(usize::from(recovery::MOST)) {
            let (store_key, set) = (store.store_key()?, set_name(store)?);
            let (key, under) = (RecoveryKey::of(&store_key), store_key.id());
            for (number, code) in (1..=recovery::MOST).zip(codes) {
                let mac = recovery::mac_of_digits(code, &key, &set, number);
                let record = RecoveryRecord { shape: Shape::EightDigits, under, mac };
                self.keys.push(TokenKey::RecoveryCode(set, number, record));
            }
            sets.push(TokenId::RecoverySet(set));
        }
        Ok(sets)
    }

    /// The problems, if there are any.
    pub(super) fn problems(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.problems)
    }

    /// Writes everything. A crash leaves tokens in the store that nobody has; the same import takes them over.
    pub(super) fn write(
        &self,
        settings: &Settings,
        store: &Store,
        change: &Change<'_>,
    ) -> Result<(), Failure> {
        let sets = self.tokens.iter().flat_map(|token| &token.sets).copied();
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
            files::edit(settings, first, |text| {
                let mut text = text.to_vec();
                for (user, token) in &tokens {
                    let has = match files::tokens_in(settings, &text, user)? {
                        Enrolment::Listed(tokens) => tokens,
                        Enrolment::NotListed => Vec::new(),
                    };
                    let ids = [token.id].into_iter().chain(token.sets.iter().copied());
                    let ids: Vec<_> = ids.filter(|id| !has.contains(id)).collect();
                    text =
                        add(&text, user.as_bytes(), &ids).map_err(|why| Failure::input(why.to_string()))?;
                }
                Ok((text, ()))
            })?;
        }
        Ok(())
    }

    fn users(&self) -> impl Iterator<Item = &String> {
        self.tokens.iter().flat_map(|token| &token.users)
    }

    /// Says what was imported, or would be. `extra` has more about each user, for scripts.
    pub(super) fn say(&self, context: &Context, dry_run: bool, extra: &dyn Fn(&str) -> Value) {
        if context.json {
            let tokens: Vec<_> = self.tokens.iter().flat_map(|token| token.json(extra)).collect();
            out::json(&json!({ "dry_run": dry_run, "tokens": tokens }));
            return;
        }
        for token in &self.tokens {
            for user in &token.users {
                out::line(&format!("{}: {}", shown::text(user), token.text()));
            }
        }
        let did = if dry_run { "would import" } else { "imported" };
        let users = out::count(self.users().count(), "user");
        out::line(&format!("{did} {} of {users}", out::count(self.tokens.len(), "token")));
    }

    /// Notes what an administrator has to know before and after.
    pub(super) fn warn(&self, context: &Context, settings: &Settings) {
        service::warn_of_others(context, settings, None, &[]);
        warn_of_mode(context, settings);
    }
}

impl Planned {
    fn text(&self) -> String {
        let kind = match self.parameters.kind {
            Kind::Totp { period } => format!("TOTP of {} s", period.seconds()),
            Kind::Hotp => "HOTP".to_owned(),
        };
        let codes = match self.codes {
            0 => String::new(),
            codes => {
                let sets: Vec<_> = self.sets.iter().map(ToString::to_string).collect();
                format!(", {} ({})", out::count(codes, "emergency code"), sets.join(", "))
            }
        };
        let state = match self.enrolled {
            Enrolled::Added => "",
            Enrolled::Unchanged => ", in the store already",
            Enrolled::Returned => ", used here before: going on from there",
            Enrolled::Mended => ", could not be opened: written anew",
        };
        format!("{}, {kind}, {} digits{codes}{state}", self.id, self.parameters.digits.get())
    }

    fn json(&self, extra: &dyn Fn(&str) -> Value) -> Vec<Value> {
        let sets: Vec<_> = self.sets.iter().map(ToString::to_string).collect();
        let (kind, period) = match self.parameters.kind {
            Kind::Totp { period } => ("totp", Some(period.seconds())),
            Kind::Hotp => ("hotp", None),
        };
        let of = |user: &String| {
            json!({
                "user": user,
                "token": self.id.to_string(),
                "kind": kind,
                "period": period,
                "digits": self.parameters.digits.get(),
                "is_new": self.enrolled == Enrolled::Added,
                "emergency_codes": self.codes,
                "sets": sets,
                "notes": extra(user),
            })
        };
        self.users.iter().map(of).collect()
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
