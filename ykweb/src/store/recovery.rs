//! Sets of recovery codes. A user has one set at most; the codes themselves are not stored, only MACs of them.

use super::rows::Column;
use super::{Store, StoreFault, used, users};
use crate::random::{self, NoRandom};
use crate::user::UserName;
use rusqlite::{Connection, OptionalExtension as _, params};
use yubiotp::SetId;
use yubiotp::recovery::{CodeMac, RANDOM, RecoveryCode, RecoveryKey, USUAL};
use yubiotp::seal::{StoreKey, StoreKeyId};
use zeroize::Zeroizing;

pub(super) const SCHEMA: &str = "
CREATE TABLE recovery_sets (
    id TEXT NOT NULL PRIMARY KEY,
    user TEXT NOT NULL UNIQUE REFERENCES users (name) ON DELETE CASCADE,
    made INTEGER NOT NULL,
    under BLOB NOT NULL CHECK (length(under) = 8) -- ID of the store key that the key of the MACs comes from
) STRICT, WITHOUT ROWID;
CREATE TABLE recovery_codes (
    set_id TEXT NOT NULL REFERENCES recovery_sets (id) ON DELETE CASCADE,
    number INTEGER NOT NULL CHECK (number BETWEEN 1 AND 9),
    mac BLOB NOT NULL CHECK (length(mac) = 16),
    used INTEGER, -- when; NULL: not yet
    PRIMARY KEY (set_id, number)
) STRICT, WITHOUT ROWID;
";

/// Crockford's alphabet in lower case: no i, l, o or u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// How many characters the name of a set has.
const NAME: usize = 8;

/// The recovery codes of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoverySet {
    /// The name of the set.
    pub id: SetId,
    /// When it was made, in seconds since 1970.
    pub made: i64,
    /// How many codes it has.
    pub codes: u8,
    /// How many of them were not used.
    pub left: u8,
}

/// A new set of recovery codes, which is not stored yet. Wiped on drop.
pub struct NewCodes {
    set: SetId,
    under: StoreKeyId,
    codes: Vec<(RecoveryCode, CodeMac)>,
}

impl NewCodes {
    /// Draws a set of [`USUAL`] codes.
    ///
    /// # Errors
    /// The system has no random source.
    pub fn draw(store_key: &StoreKey) -> Result<Self, NoRandom> {
        let set = loop {
            let letters = random::bytes::<NAME>()?;
            let letters = letters.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31)));
            let name: String = letters.map(|letter| char::from(*letter)).collect();
            if let Some(set) = SetId::new(&name) {
                break set;
            }
        };
        let key = RecoveryKey::of(store_key);
        let mut codes = Vec::with_capacity(usize::from(USUAL));
        for number in 1..=USUAL {
            let random = Zeroizing::new(random::bytes::<RANDOM>()?);
            let code = RecoveryCode::new(number, &random);
            codes.extend(code.map(|code| {
                let mac = code.mac(&key, &set);
                (code, mac)
            }));
        }
        Ok(Self { set, under: store_key.id(), codes })
    }

    /// The name of the set.
    #[must_use]
    pub const fn set(&self) -> SetId {
        self.set
    }

    /// The codes, as their owner writes them down. They are shown once.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = Zeroizing<String>> {
        self.codes.iter().map(|(code, _)| code.write())
    }
}

pub(super) fn of_user(connection: &Connection, user: &UserName) -> rusqlite::Result<Option<RecoverySet>> {
    let mut find = connection.prepare_cached(
        "SELECT s.id, s.made, count(c.number), count(c.number) - count(c.used) \
         FROM recovery_sets s LEFT JOIN recovery_codes c ON c.set_id = s.id WHERE s.user = ?1 GROUP BY s.id",
    )?;
    find.query_row([Column(user)], |row| {
        let Column(id) = row.get(0)?;
        Ok(RecoverySet { id, made: row.get(1)?, codes: row.get(2)?, left: row.get(3)? })
    })
    .optional()
}

impl Store {
    /// Gives a user a new set of recovery codes. The codes of the former set end in the same transaction. `false`: there is no
    /// such user.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn new_recovery_codes(&self, user: &UserName, new: &NewCodes, at: i64) -> Result<bool, StoreFault> {
        self.write(|transaction| {
            if users::find(transaction, user)?.is_none() {
                return Ok(false);
            }
            transaction.execute("DELETE FROM recovery_sets WHERE user = ?1", [Column(user)])?;
            used::grow(transaction)?;
            transaction.execute(
                "INSERT INTO recovery_sets (id, user, made, under) VALUES (?1, ?2, ?3, ?4)",
                params![Column(&new.set), Column(user), at, Column(new.under)],
            )?;
            let mut add = transaction
                .prepare("INSERT INTO recovery_codes (set_id, number, mac) VALUES (?1, ?2, ?3)")?;
            for (code, mac) in &new.codes {
                add.execute(params![Column(&new.set), code.number(), Column(mac)])?;
            }
            Ok(true)
        })
    }

    /// What is kept of a recovery code, and the ID of the store key that the key of the MAC comes from. `None`: the set has no
    /// code of this number, or was replaced.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn recovery_code(
        &self,
        set: &SetId,
        number: u8,
    ) -> Result<Option<(CodeMac, StoreKeyId)>, StoreFault> {
        self.read(|connection| {
            let mut find = connection.prepare_cached(
                "SELECT c.mac, s.under FROM recovery_codes c JOIN recovery_sets s ON s.id = c.set_id \
                 WHERE c.set_id = ?1 AND c.number = ?2",
            )?;
            find.query_row(params![Column(set), number], |row| {
                let (Column(mac), Column(under)) = (row.get(0)?, row.get(1)?);
                Ok((mac, under))
            })
            .optional()
        })
    }
}
