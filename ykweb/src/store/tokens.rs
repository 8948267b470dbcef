//! YubiKeys and OATH tokens, and whose they are. Each belongs to one user.

use super::rows::Column;
use super::{Store, StoreFault, sessions, users};
use crate::session::Means;
use crate::user::UserName;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use yubiotp::key::{Fingerprint, OathKey};
use yubiotp::oath::window::Progress;
use yubiotp::oath::{Algorithm, Digits, Kind, Parameters, Period};
use yubiotp::seal::StoreKey;
use yubiotp::{PublicId, Serial, TokenId};

pub(super) const SCHEMA: &str = "
CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY, -- as logs name it: ccccccdbjrgf, oath-app-k7m2qx
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    label TEXT NOT NULL,
    added INTEGER NOT NULL,
    last_used INTEGER,
    last_from TEXT, -- an address
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    kind TEXT NOT NULL CHECK (kind IN ('yubikey', 'totp', 'hotp')),
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 8), -- of the key; zeros: validation servers have it
    algorithm TEXT,
    digits INTEGER,
    period INTEGER, -- seconds, of TOTP
    window INTEGER, -- NULL: as of every other token
    sealed BLOB, -- the secret
    CHECK ((kind = 'yubikey') = (sealed IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_of_user ON tokens (user);
";

/// A token, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name in logs: a YubiKey or an OATH token.
    pub id: TokenId,
    /// What it shows: [`Means::YubiKey`], [`Means::Totp`] or [`Means::Hotp`].
    pub means: Means,
    /// What its owner calls it. May be empty.
    pub label: String,
    /// When it was added, in seconds since 1970.
    pub added: i64,
    /// When it was used last, in seconds since 1970.
    pub last_used: Option<i64>,
    /// From which address that was, if it is known.
    pub last_from: Option<String>,
    /// Whether its OTPs or codes are accepted.
    pub is_enabled: bool,
}

/// The result of adding a token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Added {
    /// The user has it now.
    Added,
    /// There is no such user.
    NoUser,
    /// This user, who may be the same one, has it already.
    Taken(UserName),
}

/// An OATH token, to be stored: its secret is sealed.
pub struct NewApp {
    serial: Serial,
    record: OathRecord,
    fingerprint: Fingerprint,
}

/// What is kept of an OATH token.
pub struct OathRecord {
    /// What is public of it.
    pub parameters: Parameters,
    /// A window of its own: seconds in each direction for TOTP, codes ahead for HOTP.
    pub window: Option<u16>,
    /// Its secret, sealed under the store key.
    pub sealed: Vec<u8>,
    /// How far it has come.
    pub progress: Progress,
}

impl NewApp {
    /// Seals the secret of a token. `progress` says what of it is used up already. `nonce` must be fresh from the system's
    /// random source.
    #[must_use]
    pub fn seal(
        serial: Serial,
        key: &OathKey,
        progress: Progress,
        store_key: &StoreKey,
        nonce: [u8; 24],
    ) -> Self {
        let sealed = store_key.seal_oath(key, &serial, nonce);
        let record = OathRecord { parameters: key.parameters, window: None, sealed, progress };
        Self { serial, record, fingerprint: key.fingerprint(&serial) }
    }

    /// Its name in logs.
    #[must_use]
    pub const fn id(&self) -> TokenId {
        TokenId::Oath(self.serial)
    }

    /// That of its key.
    #[cfg(test)]
    pub(super) const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

fn to_token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let (Column(id), Column(means)) = (row.get(0)?, row.get(1)?);
    Ok(Token {
        id,
        means,
        label: row.get(2)?,
        added: row.get(3)?,
        last_used: row.get(4)?,
        last_from: row.get(5)?,
        is_enabled: row.get(6)?,
    })
}

pub(super) fn of_user(connection: &Connection, user: &UserName) -> rusqlite::Result<Vec<Token>> {
    let mut all = connection.prepare_cached(
        "SELECT id, kind, label, added, last_used, last_from, enabled FROM tokens WHERE user = ?1 \
         ORDER BY added, id",
    )?;
    all.query_map([Column(user)], to_token)?.collect()
}

/// Whether a token may be added for a user; `None` if so.
fn obstacle(transaction: &Connection, user: &UserName, id: &TokenId) -> rusqlite::Result<Option<Added>> {
    if users::find(transaction, user)?.is_none() {
        return Ok(Some(Added::NoUser));
    }
    let mut owner = transaction.prepare_cached("SELECT user FROM tokens WHERE id = ?1")?;
    let owner = owner.query_row([Column(id)], |row| row.get::<_, Column<UserName>>(0)).optional()?;
    Ok(owner.map(|Column(owner)| Added::Taken(owner)))
}

impl Store {
    /// Gives a YubiKey to a user. Validation servers decide about its OTPs; those that were accepted here before stay used.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add_yubikey(
        &self,
        user: &UserName,
        id: PublicId,
        label: &str,
        at: i64,
    ) -> Result<Added, StoreFault> {
        let id = TokenId::YubiKey(id);
        self.write(|transaction| {
            if let Some(obstacle) = obstacle(transaction, user, &id)? {
                return Ok(obstacle);
            }
            transaction.execute(
                "INSERT INTO tokens (id, user, label, added, enabled, kind, fingerprint) \
                 VALUES (?1, ?2, ?3, ?4, 1, 'yubikey', ?5)",
                params![Column(&id), Column(user), label, at, Column(Fingerprint::ELSEWHERE)],
            )?;
            Ok(Added::Added)
        })
    }

    /// Gives an authenticator app, or another OATH token, to a user. Its codes that were accepted here before stay used.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add_oath(&self, user: &UserName, app: &NewApp, label: &str, at: i64) -> Result<Added, StoreFault> {
        let id = app.id();
        let OathRecord { parameters, window, sealed, progress } = &app.record;
        let (means, period) = match parameters.kind {
            Kind::Totp { period } => (Means::Totp, u16::try_from(period.seconds()).ok()),
            Kind::Hotp => (Means::Hotp, None),
        };
        self.write(|transaction| {
            if let Some(obstacle) = obstacle(transaction, user, &id)? {
                return Ok(obstacle);
            }
            transaction.execute(
                "INSERT INTO tokens \
                 (id, user, label, added, enabled, kind, fingerprint, algorithm, digits, period, window, sealed) \
                 VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    Column(&id),
                    Column(user),
                    label,
                    at,
                    Column(means),
                    Column(app.fingerprint),
                    parameters.algorithm.name(),
                    parameters.digits.get(),
                    period,
                    window,
                    sealed,
                ],
            )?;
            if let Some(next) = progress.next {
                // Never back, if the same token was here before.
                transaction.execute(
                    "INSERT INTO positions (token, fingerprint, position, drift) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT DO UPDATE SET position = max(position, excluded.position), drift = excluded.drift",
                    params![Column(&id), Column(app.fingerprint), Column(next), progress.drift],
                )?;
            }
            Ok(Added::Added)
        })
    }

    /// Takes a token from a user. What was accepted of it stays used, if it comes back. `false`: the user does not have it.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove_token(&self, user: &UserName, id: &TokenId) -> Result<bool, StoreFault> {
        self.write(|transaction| {
            sessions::end_sessions_of(transaction, user)?;
            let remove = "DELETE FROM tokens WHERE id = ?1 AND user = ?2";
            Ok(transaction.execute(remove, params![Column(id), Column(user)])? == 1)
        })
    }

    /// Accepts a token's OTPs or codes, or not any more: then the user's sessions end. `false`: the user does not have it.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn set_token_enabled(
        &self,
        user: &UserName,
        id: &TokenId,
        is_enabled: bool,
    ) -> Result<bool, StoreFault> {
        self.write(|transaction| {
            if !is_enabled {
                sessions::end_sessions_of(transaction, user)?;
            }
            let set = "UPDATE tokens SET enabled = ?3 WHERE id = ?1 AND user = ?2";
            Ok(transaction.execute(set, params![Column(id), Column(user), is_enabled])? == 1)
        })
    }

    /// Notes when a token was used last, and from which address. Of recovery codes nothing is noted: see
    /// [`RecoverySet`](super::RecoverySet).
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn note_use(&self, id: &TokenId, from: Option<&str>, at: i64) -> Result<(), StoreFault> {
        self.write(|transaction| {
            let note = "UPDATE tokens SET last_used = ?2, last_from = ?3 WHERE id = ?1 AND coalesce(last_used, ?2) <= ?2";
            transaction.execute(note, params![Column(id), at, from]).map(|_| ())
        })
    }

    /// What is kept of an OATH token. `None`: there is none of this serial number.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn oath(&self, serial: &Serial) -> Result<Option<OathRecord>, StoreFault> {
        self.read(|connection| {
            let mut find = connection.prepare_cached(
                "SELECT t.kind, t.algorithm, t.digits, t.period, t.window, t.sealed, p.position, p.drift \
                 FROM tokens t LEFT JOIN positions p ON p.token = t.id AND p.fingerprint = t.fingerprint \
                 WHERE t.id = ?1 AND t.sealed IS NOT NULL",
            )?;
            find.query_row([Column(&TokenId::Oath(*serial))], to_oath).optional()
        })
    }
}

fn to_oath(row: &Row<'_>) -> rusqlite::Result<OathRecord> {
    let damaged = |column, kind| {
        rusqlite::Error::FromSqlConversionFailure(column, kind, FromSqlError::InvalidType.into())
    };
    let Column(means) = row.get(0)?;
    let kind = match means {
        Means::Totp => Kind::Totp {
            period: Period::new(row.get(3)?).ok_or_else(|| damaged(3, rusqlite::types::Type::Integer))?,
        },
        _ => Kind::Hotp,
    };
    let algorithm = Algorithm::by_name(&row.get::<_, String>(1)?);
    let digits = Digits::new(row.get(2)?);
    let parameters = Parameters {
        kind,
        algorithm: algorithm.ok_or_else(|| damaged(1, rusqlite::types::Type::Text))?,
        digits: digits.ok_or_else(|| damaged(2, rusqlite::types::Type::Integer))?,
    };
    let next = row.get::<_, Option<Column<yubiotp::Position>>>(6)?.map(|Column(next)| next);
    let progress = Progress { next, drift: row.get::<_, Option<i32>>(7)?.unwrap_or(0) };
    Ok(OathRecord { parameters, window: row.get(4)?, sealed: row.get(5)?, progress })
}
