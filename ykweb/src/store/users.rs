//! Users.

use super::recovery::{self, RecoverySet};
use super::rows::Column;
use super::tokens::{self, Token};
use super::{Store, StoreFault, sessions};
use crate::user::UserName;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

pub(super) const SCHEMA: &str = "
CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created INTEGER NOT NULL -- in seconds since 1970, as every time here
) STRICT, WITHOUT ROWID;
";

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: UserName,
    /// Whether they may sign in.
    pub is_enabled: bool,
    /// When they were added, in seconds since 1970.
    pub created: i64,
}

/// A user, and what they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: User,
    /// Their YubiKeys and OATH tokens, in the order in which they were added.
    pub tokens: Vec<Token>,
    /// Their recovery codes.
    pub recovery: Option<RecoverySet>,
}

fn to_user(row: &Row<'_>) -> rusqlite::Result<User> {
    let Column(name) = row.get(0)?;
    Ok(User { name, is_enabled: row.get(1)?, created: row.get(2)? })
}

pub(super) fn find(connection: &Connection, user: &UserName) -> rusqlite::Result<Option<User>> {
    let mut find = connection.prepare_cached("SELECT name, enabled, created FROM users WHERE name = ?1")?;
    find.query_row([Column(user)], to_user).optional()
}

impl Store {
    /// Adds a user. `false`: there is one of this name.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add_user(&self, user: &UserName, at: i64) -> Result<bool, StoreFault> {
        self.write(|transaction| {
            let add = "INSERT INTO users (name, enabled, created) VALUES (?1, 1, ?2) ON CONFLICT DO NOTHING";
            Ok(transaction.execute(add, params![Column(user), at])? == 1)
        })
    }

    /// Removes a user, their tokens and their recovery codes, and ends their sessions. What they used stays used. `false`: there is none of this name.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove_user(&self, user: &UserName) -> Result<bool, StoreFault> {
        self.write(|transaction| {
            sessions::end_sessions_of(transaction, user)?;
            Ok(transaction.execute("DELETE FROM users WHERE name = ?1", [Column(user)])? == 1)
        })
    }

    /// Lets a user sign in, or not any more: then their sessions end. `false`: there is none of this name.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn set_user_enabled(&self, user: &UserName, is_enabled: bool) -> Result<bool, StoreFault> {
        self.write(|transaction| {
            if !is_enabled {
                sessions::end_sessions_of(transaction, user)?;
            }
            let set = "UPDATE users SET enabled = ?2 WHERE name = ?1";
            Ok(transaction.execute(set, params![Column(user), is_enabled])? == 1)
        })
    }

    /// All users, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn users(&self) -> Result<Vec<User>, StoreFault> {
        self.read(|connection| {
            let all = "SELECT name, enabled, created FROM users ORDER BY name";
            connection.prepare(all)?.query_map([], to_user)?.collect()
        })
    }

    /// A user, and what they have. `None`: there is none of this name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn account(&self, user: &UserName) -> Result<Option<Account>, StoreFault> {
        self.read(|connection| {
            // Of one moment.
            let moment = connection.unchecked_transaction()?;
            let Some(user) = find(&moment, user)? else { return Ok(None) };
            let tokens = tokens::of_user(&moment, &user.name)?;
            let recovery = recovery::of_user(&moment, &user.name)?;
            Ok(Some(Account { user, tokens, recovery }))
        })
    }
}
