//! The ledger: how far each token has come, and which recovery codes were used.
//!
//! What was accepted stays used, whatever becomes of the token: a row of `positions` is changed by [`Store::advance_to`] only,
//! always upwards, and never removed. A row belongs to one key of a token. Under zeros ([`Fingerprint::ELSEWHERE`]) it is what
//! validation servers said.

use super::rows::Column;
use super::{Store, StoreFault, used};
use crate::clock;
use rusqlite::{Connection, OptionalExtension as _, params};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::key::Fingerprint;
use yubiotp::recovery::{CodeMac, USED};
use yubiotp::{Advance, Ledger, Position, Receipt, SetId, TokenId};

pub(super) const SCHEMA: &str = "
CREATE TABLE positions (
    token TEXT NOT NULL, -- whether anybody has it now or not
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 8),
    position INTEGER NOT NULL CHECK (position >= 0),
    drift INTEGER NOT NULL, -- of TOTP, in steps
    PRIMARY KEY (token, fingerprint)
) STRICT, WITHOUT ROWID;
";

/// What is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// The new position.
    pub(crate) position: Position,
    /// Of a TOTP token; `None` to keep what is stored.
    pub(crate) drift: Option<i32>,
    /// The position that it goes on from; `None` for any lower one.
    pub(crate) from: Option<Option<Position>>,
}

impl Step {
    pub(crate) const fn to(position: Position) -> Self {
        Self { position, drift: None, from: None }
    }
}

/// What is known of a token.
struct State {
    /// Of its key.
    key: Fingerprint,
    /// Both the token and its user.
    is_enabled: bool,
    position: Option<Position>,
}

/// The decision about a step.
enum Decision {
    Fresh,
    Refused(Advance),
    /// The token is not here, or not with this key.
    Unknown,
    /// The word of a server is not enough for going so far.
    TooFar(Option<Position>),
}

fn state(connection: &Connection, token: &TokenId, key: Fingerprint) -> rusqlite::Result<Option<State>> {
    if let TokenId::RecoveryCode(set, number) = token {
        return state_of_code(connection, set, *number);
    }
    // Only of an OTP that was decrypted here is the key known, so what servers said counts for each key, and the other way.
    let mut find = connection.prepare_cached(
        "SELECT t.fingerprint, t.enabled AND u.enabled, \
         (SELECT max(p.position) FROM positions p \
          WHERE p.token = t.id AND (p.fingerprint IN (?2, zeroblob(8)) OR ?2 = zeroblob(8))) \
         FROM tokens t JOIN users u ON u.name = t.user WHERE t.id = ?1",
    )?;
    find.query_row(params![Column(token), Column(key)], |row| {
        let Column(key) = row.get(0)?;
        let position = row.get::<_, Option<Column<Position>>>(2)?.map(|Column(position)| position);
        Ok(State { key, is_enabled: row.get(1)?, position })
    })
    .optional()
}

fn state_of_code(connection: &Connection, set: &SetId, number: u8) -> rusqlite::Result<Option<State>> {
    let mut find = connection.prepare_cached(
        "SELECT c.mac, u.enabled, c.used IS NOT NULL FROM recovery_codes c \
         JOIN recovery_sets s ON s.id = c.set_id JOIN users u ON u.name = s.user \
         WHERE c.set_id = ?1 AND c.number = ?2",
    )?;
    find.query_row(params![Column(set), number], |row| {
        let Column(mac): Column<CodeMac> = row.get(0)?;
        let is_used: bool = row.get(2)?;
        let position = is_used.then_some(USED);
        Ok(State { key: mac.fingerprint(), is_enabled: row.get(1)?, position })
    })
    .optional()
}

fn decide(state: Option<State>, key: Fingerprint, step: Step) -> Decision {
    let Some(state) = state.filter(|state| state.key == key) else { return Decision::Unknown };
    if !state.is_enabled {
        return Decision::Refused(Advance::Disabled);
    }
    if let Some(stored) = state.position
        && (stored >= step.position || step.from.is_some_and(|from| from != state.position))
    {
        return Decision::Refused(Advance::Replayed { stored });
    }
    if key == Fingerprint::ELSEWHERE && !step.position.may_follow(state.position) {
        return Decision::TooFar(state.position);
    }
    Decision::Fresh
}

fn store(transaction: &Connection, token: &TokenId, key: Fingerprint, step: Step) -> rusqlite::Result<()> {
    let changed = if let TokenId::RecoveryCode(set, number) = token {
        let mut burn = transaction.prepare_cached(
            "UPDATE recovery_codes SET used = ?3 WHERE set_id = ?1 AND number = ?2 AND used IS NULL",
        )?;
        burn.execute(params![Column(set), number, clock::now()])?
    } else {
        let mut raise = transaction.prepare_cached(
            "INSERT INTO positions (token, fingerprint, position, drift) VALUES (?1, ?2, ?3, coalesce(?4, 0)) \
             ON CONFLICT DO UPDATE SET position = excluded.position, drift = coalesce(?4, drift) \
             WHERE excluded.position > position",
        )?;
        raise.execute(params![Column(token), Column(key), Column(step.position), step.drift])?
    };
    used::grow(transaction)?;
    if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
}

impl Store {
    /// As [`Ledger::advance`], of the tokens and recovery codes that somebody has. What would be refused waits for no other
    /// change.
    ///
    /// # Errors
    /// As [`Ledger::advance`].
    pub(crate) fn advance_to(
        &self,
        token: &TokenId,
        key: Fingerprint,
        step: Step,
    ) -> Result<Advance, StoreFault> {
        // Positions only grow, so what is refused now stays refused. Everything else is decided again where it is stored.
        match self.read(|connection| Ok(decide(state(connection, token, key)?, key, step)))? {
            Decision::Refused(advance) => return Ok(advance),
            Decision::Unknown => return Err(unknown(token)),
            Decision::TooFar(stored) => return Err(too_far(token, step.position, stored)),
            Decision::Fresh => {}
        }
        let decision = self.write(|transaction| {
            let decision = decide(state(transaction, token, key)?, key, step);
            if matches!(decision, Decision::Fresh) {
                store(transaction, token, key, step)?;
            }
            Ok(decision)
        });
        match decision? {
            #[expect(
                clippy::disallowed_methods,
                reason = "`write` returned after the transaction was synced"
            )]
            Decision::Fresh => Ok(Advance::Fresh(Receipt::after_durable_advance(*token, step.position))),
            Decision::Refused(advance) => Ok(advance),
            Decision::Unknown => Err(unknown(token)),
            Decision::TooFar(stored) => Err(too_far(token, step.position, stored)),
        }
    }

    /// Whether a token is enabled, and its user.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn is_token_enabled(&self, token: &TokenId) -> Result<bool, StoreFault> {
        let state = self.read(|connection| state(connection, token, Fingerprint::ELSEWHERE))?;
        Ok(state.is_some_and(|state| state.is_enabled))
    }
}

impl Ledger for Store {
    type Fault = StoreFault;
    type Token = TokenId;

    fn advance(&self, token: &TokenId, key: Fingerprint, to: Position) -> Result<Advance, StoreFault> {
        self.advance_to(token, key, Step::to(to))
    }
}

/// Its user or an administrator removed or replaced it while its OTP was being decided about.
fn unknown(token: &TokenId) -> StoreFault {
    let problem = "nobody has it any more, or it was replaced: nothing was decided";
    let found = Diagnostic::error(Code::TokenNotHere, problem).at(Location::Token(token.to_string()));
    StoreFault::new(found.advise("try again"))
}

fn too_far(token: &TokenId, said: Position, stored: Option<Position>) -> StoreFault {
    let from = stored.map_or_else(|| "none yet".to_owned(), |stored| stored.to_string());
    let problem = format!(
        "a validation server says that it has come to {said}; stored is {from}, and one answer may not raise it so far"
    );
    let found = Diagnostic::error(Code::PositionImplausible, problem).at(Location::Token(token.to_string()));
    StoreFault::new(found.advise("look at the token on the validation server"))
}
