//! The store of clients, tokens and positions: SQLite inside the server, PostgreSQL beside it, or a cluster of etcd. All
//! behave the same, but for imports into etcd, which are all or nothing only for a few tokens.

mod batch;
#[cfg(test)]
mod contract;
mod distinct;
pub mod etcd;
mod fault;
mod moving;
mod opening;
pub mod postgres;
mod presence;
mod restored;
mod seen;
pub mod sqlite;

pub use distinct::{Distinct, SameKey};
pub use fault::StoreFault;
pub use moving::{Mark, MoveId, Moves, Rows, RunId, Stage};
pub use presence::{is_anything_there, place};
pub use restored::{Evidence, LastTouch};

use crate::config::StoreAt;
use crate::etcd::Observed;
use crate::file;
use crate::guard::{Accepted, Forgotten, Guard};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::key::Fingerprint;
use yubiotp::ledger::Receipt;
use yubiotp::protocol::ClientId;
use yubiotp::seal::{Sealed, StoreKeyId, StoreKeyIds};
use yubiotp::{Position, PublicId};

/// An open store.
#[derive(Clone)]
pub enum Store {
    /// SQLite.
    Sqlite(sqlite::Sqlite),
    /// PostgreSQL.
    Postgres(postgres::Postgres),
    /// A cluster of etcd.
    Etcd(etcd::Etcd),
}

/// What [`Store::look`] found.
pub enum Looked {
    /// A store of the current schema, which can be read.
    Current(Store),
    /// A store of an earlier schema, which has to be upgraded before it can be read.
    Earlier {
        /// Where it is.
        at: Location,
        /// The number of its schema.
        found: i64,
        /// The schema that [`Store::open`] upgrades it to.
        known: i64,
    },
    /// A restored backup that was not opened yet. [`Store::open`] finishes the restore.
    Restored {
        /// Where it is.
        at: Location,
    },
}

/// A store opened for a server.
pub struct Serving {
    /// The store.
    pub store: Store,
    /// Why it is not open yet.
    pub unopened: Option<StoreFault>,
    /// Why the state of PostgreSQL or etcd cannot be recorded. Then an older one is refused only while this process runs.
    pub unremembered: Option<Diagnostic>,
}

/// Some tokens in bytewise order of their public IDs.
pub struct Page {
    /// The tokens; fewer than [`PAGE`]: none follows.
    pub tokens: Vec<Token>,
    /// Positions of these tokens with keys that were removed or replaced.
    pub retired: Vec<Retired>,
}

/// A database that is the newest from now on, whatever was seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedDatabase {
    /// A description, for people.
    pub what: String,
    /// How many tokens were marked as restored: all of them, whatever they were before. `None`: none was to be.
    pub marked: Option<u64>,
}

/// Which store it is, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Standing {
    /// Where, for people; never a password.
    pub at: String,
    /// The name and version of the database.
    pub version: String,
    /// Tells it from other stores: the same for all servers that share one.
    pub identity: String,
    /// Grows with each change, where the database counts them; may be empty.
    pub revision: String,
}

/// A host of the database, as it was just found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Member {
    /// Its name in the configuration.
    pub at: String,
    /// In one line: its part, version and numbers, or why it cannot be used.
    pub state: String,
    /// Whether it writes, and the others follow.
    pub leads: bool,
}

/// A client as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Client {
    /// Its ID.
    pub id: ClientId,
    /// Its name for people.
    pub name: String,
    /// Not disabled.
    pub enabled: bool,
    /// Whether its requests must be signed, or come with its certificate; `None`: as configured.
    pub require_signature: Option<bool>,
    /// Its rate (OTPs a second); `None`: as configured; 0: no limit.
    pub rate: Option<u32>,
    /// A DNS name in its certificate, which proves a request as a signature does.
    pub certificate_name: Option<String>,
    /// Its HMAC key, sealed under the store key for this id (`StoreKey::seal_client`).
    pub sealed_key: Vec<u8>,
    /// When it was created, in seconds since 1970.
    pub created: i64,
}

/// A change of a client; `None` leaves a field as it is.
#[derive(Default)]
pub struct ClientChange {
    /// Enabled or disabled.
    pub enabled: Option<bool>,
    /// A new HMAC key, sealed.
    pub sealed_key: Option<Vec<u8>>,
}

/// A token as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Its public ID.
    pub id: PublicId,
    /// Its sealed credential with the fingerprint; `None` if a key storage module has the key, or if it was removed.
    pub key: Option<(Fingerprint, Sealed)>,
    /// Not disabled.
    pub enabled: bool,
    /// Its position with this key; `None`: not used yet.
    pub position: Option<Position>,
    /// The nonce of the request that moved it there; empty if it had none.
    pub nonce: String,
    /// When that was stored, in seconds since 1970.
    pub modified: Option<i64>,
    /// If set, the position may be too low: nothing is known after this time (seconds since 1970; 0: nothing is known at
    /// all). The token's OTPs are accepted only once two touches prove its position ([`Store::prove`]).
    pub restored: Option<i64>,
}

/// A move of a token to a higher position.
pub struct Step {
    /// The token.
    pub token: PublicId,
    /// The key that decrypted the OTP; [`Fingerprint::ELSEWHERE`] if a key storage module did.
    pub key: Fingerprint,
    /// The new position.
    pub to: Position,
    /// The nonce of the request; empty if it had none.
    pub nonce: String,
    /// The time, in seconds since 1970.
    pub at: i64,
    /// Whether the caller takes the token for [restored](Token::restored), and accepts its OTPs accordingly. If not, it is
    /// taken only if the token is not restored at that moment.
    pub as_restored: bool,
}

/// What [`Store::advance`] found.
#[derive(Debug)]
#[must_use]
pub enum Advanced {
    /// It was above the stored position, and is stored durably now.
    Fresh(Receipt<PublicId>),
    /// This position with this nonce (not empty) is stored already: the request was repeated.
    SameRequest,
    /// It is not above the stored position.
    Replayed {
        /// The stored position.
        stored: Position,
    },
    /// The token is disabled.
    Disabled,
    /// It is above the stored position, and was not stored: the token became restored after the caller had read it.
    Restored {
        /// Since when ([`Token::restored`]).
        since: i64,
    },
}

/// A key to be enrolled.
pub struct Enrolment {
    /// The token.
    pub id: PublicId,
    /// The fingerprint of the key.
    pub fingerprint: Fingerprint,
    /// The credential, sealed under the store key.
    pub sealed: Sealed,
    /// Whether OTPs of this key were used before.
    pub history: History,
}

/// Whether OTPs of a key were used before it is enrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// The administrator stated that none was: the token does not begin as restored.
    NeverUsed,
    /// Nothing was stated: the token begins as restored if the store was lost or restored.
    Unknown,
    /// They may have been, on a host or at another server: the token begins as restored.
    UsedElsewhere,
}

impl History {
    /// What the token begins as restored since, in a store that is restored since then.
    fn restored(self, store: Option<i64>) -> Option<i64> {
        match self {
            Self::NeverUsed => None,
            Self::Unknown => store,
            Self::UsedElsewhere => store.or(Some(0)),
        }
    }
}

/// A secret that was sealed under a new store key.
pub enum Resealed {
    /// The key of a client.
    Client {
        /// The client.
        id: ClientId,
        /// As it was stored.
        from: Vec<u8>,
        /// As it is to be stored.
        to: Vec<u8>,
    },
    /// The credential of a token.
    Token {
        /// The token.
        id: PublicId,
        /// As it was stored.
        from: Sealed,
        /// As it is to be stored.
        to: Sealed,
    },
}

/// The result of enrolling keys.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Enrolled {
    /// Tokens that the store did not know.
    pub added: u64,
    /// Tokens that the store knew, without a key or with another one.
    pub changed: u64,
    /// Tokens that had this key already.
    pub unchanged: u64,
}

/// The position of a token at another server.
pub struct ImportedPosition {
    /// The token.
    pub id: PublicId,
    /// Its position there; `None`: not used yet.
    pub position: Option<Position>,
    /// The nonce of the last request there; may be empty.
    pub nonce: String,
    /// Not disabled there.
    pub enabled: bool,
    /// When it was used last, in seconds since 1970.
    pub modified: Option<i64>,
}

/// The position of a token with a key that it had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// The token.
    pub id: PublicId,
    /// The fingerprint of the key; [`Fingerprint::ELSEWHERE`]: without one.
    pub key: Fingerprint,
    /// The position.
    pub position: Position,
}

/// The result of importing positions.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ImportedCounts {
    /// Tokens that the store did not know.
    pub added: u64,
    /// Tokens whose position grew.
    pub raised: u64,
    /// Tokens whose position was as high, or higher, already.
    pub unchanged: u64,
    /// Tokens that were disabled because they were disabled there.
    pub disabled: u64,
}

/// How much is stored.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Clients.
    pub clients: u64,
    /// Tokens, with a key here or without.
    pub tokens: u64,
}

/// Maximum tokens that [`Store::tokens`] returns.
pub const PAGE: usize = 1000;

macro_rules! each {
    ($store:expr, $it:ident => $what:expr) => {
        match $store {
            Store::Sqlite($it) => $what,
            Store::Postgres($it) => $what,
            Store::Etcd($it) => $what,
        }
    };
}

impl Store {
    /// Creates what is missing of a store (the file, the tables of the latest schema), ties it to this store key, and
    /// opens it. An existing store keeps everything; one of an earlier schema is upgraded.
    ///
    /// # Errors
    /// It cannot be created, is of a later version, or is tied to another store key.
    pub async fn create(at: &StoreAt, key: impl Into<StoreKeyIds>) -> Result<Self, StoreFault> {
        let key = key.into();
        match at {
            StoreAt::Sqlite(path) => Ok(Self::Sqlite(sqlite::Sqlite::create(path, key).await?)),
            StoreAt::Postgres(at) => Ok(Self::Postgres(postgres::Postgres::create(at, key).await?)),
            StoreAt::Etcd(at) => Ok(Self::Etcd(etcd::Etcd::create(at, key).await?)),
        }
    }

    /// Creates a store in place of one that was lost: as [`create`](Self::create), but every new token begins as restored
    /// ([`restored_since`](Self::restored_since)).
    ///
    /// # Errors
    /// There is a store, or it cannot be created.
    pub async fn start_anew(at: &StoreAt, key: impl Into<StoreKeyIds>) -> Result<Self, StoreFault> {
        let key = key.into();
        match at {
            StoreAt::Sqlite(path) => Ok(Self::Sqlite(sqlite::Sqlite::start_anew(path, key).await?)),
            StoreAt::Postgres(at) => Ok(Self::Postgres(postgres::Postgres::start_anew(at, key).await?)),
            StoreAt::Etcd(at) => Ok(Self::Etcd(etcd::Etcd::start_anew(at, key).await?)),
        }
    }

    /// Opens an existing store, and upgrades an earlier schema.
    ///
    /// # Errors
    /// It does not exist, cannot be reached, is of a later version, or is tied to another store key.
    pub async fn open(at: &StoreAt, key: impl Into<StoreKeyIds>) -> Result<Self, StoreFault> {
        let key = key.into();
        match at {
            StoreAt::Sqlite(path) => Ok(Self::Sqlite(sqlite::Sqlite::open(path, key).await?)),
            StoreAt::Postgres(at) => Ok(Self::Postgres(postgres::Postgres::open(at, key).await?)),
            StoreAt::Etcd(at) => Ok(Self::Etcd(etcd::Etcd::open(at, key).await?)),
        }
    }

    /// As [`open`](Self::open), for servers. It is no error if PostgreSQL or etcd does not answer, or cannot be written to now:
    /// the store is opened as soon as possible, and until then every use of it fails immediately. Never creates a
    /// store.
    ///
    /// Once it is open, the state of PostgreSQL or etcd is recorded in a file, so that an older state is refused, and all
    /// hosts of PostgreSQL are looked at from time to time.
    ///
    /// # Errors
    /// Only faults that do not go away by themselves, if they are found within two seconds: the store does not exist,
    /// is of a later version, is tied to another store key, or is behind a pooler that shares connections; or a setting
    /// is wrong.
    pub async fn open_for_serving(at: &StoreAt, key: impl Into<StoreKeyIds>) -> Result<Serving, StoreFault> {
        let key = key.into();
        match at {
            StoreAt::Sqlite(_) => {
                Ok(Serving { store: Self::open(at, key).await?, unopened: None, unremembered: None })
            }
            StoreAt::Postgres(at) => postgres::Postgres::open_for_serving(at, key).await,
            StoreAt::Etcd(at) => etcd::Etcd::open_for_serving(at, key).await,
        }
    }

    /// Opens a store to read it. This changes nothing: neither the schema nor any file beside the store.
    ///
    /// # Errors
    /// It does not exist, cannot be reached, is of a later version, or is tied to another store key.
    pub async fn look(at: &StoreAt, key: impl Into<StoreKeyIds>) -> Result<Looked, StoreFault> {
        let key = key.into();
        match at {
            StoreAt::Sqlite(path) => sqlite::Sqlite::look_at(path, key).await,
            StoreAt::Postgres(at) => postgres::Postgres::look_at(at, key).await,
            StoreAt::Etcd(at) => etcd::Etcd::look_at(at, key).await,
        }
    }

    /// Opens an existing store to move it, or to move another one to it: also one that was moved, or is not complete. Such a
    /// store does nothing but what a move needs.
    ///
    /// # Errors
    /// As those of [`open`](Self::open).
    pub async fn open_to_move(at: &StoreAt, key: impl Into<StoreKeyIds>) -> Result<Self, StoreFault> {
        let key = key.into();
        match at {
            StoreAt::Sqlite(path) => Ok(Self::Sqlite(sqlite::Sqlite::open_to_move(path, key).await?)),
            StoreAt::Postgres(at) => Ok(Self::Postgres(postgres::Postgres::open_to_move(at, key).await?)),
            StoreAt::Etcd(at) => Ok(Self::Etcd(etcd::Etcd::open_to_move(at, key).await?)),
        }
    }

    /// The moves that it took part in.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn moves(&self) -> Result<Moves, StoreFault> {
        each!(self, it => it.moves().await)
    }

    /// Records `to`, durably, if `from` is recorded now; `false` if something else is. Once a record that
    /// [fences](Moves::is_fenced) the store is stored, no step or change that had not ended before is stored any more, by
    /// any process.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn set_moves(&self, from: &Moves, to: &Moves) -> Result<bool, StoreFault> {
        each!(self, it => it.set_moves(from.to_text(), to.clone(), None).await)
    }

    /// The same, and makes every token restored since this time, all in one step ([`mark_restored`](Self::mark_restored)).
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn set_moves_restored(&self, from: &Moves, to: &Moves, since: i64) -> Result<bool, StoreFault> {
        each!(self, it => it.set_moves(from.to_text(), to.clone(), Some(since)).await)
    }

    /// Stores rows of another store, all or nothing (in etcd perhaps a part, if it fails); `false`, and nothing, if this
    /// store is not being filled by this move. A token whose key is replaced keeps the position of its former key. Whoever
    /// calls it opened the store [to move](Self::open_to_move).
    ///
    /// # Errors
    /// They could not be stored.
    pub async fn fill(&self, run: RunId, rows: Rows) -> Result<bool, StoreFault> {
        each!(self, it => it.fill(run, rows).await)
    }

    /// The last touches of restored tokens ([`last_touch`](Self::last_touch)).
    ///
    /// # Errors
    /// They could not be read.
    pub async fn touches(&self) -> Result<Vec<(PublicId, LastTouch)>, StoreFault> {
        each!(self, it => it.touches().await)
    }

    /// The store key that everything new is sealed under, as of when the store was opened. `None` if it was opened for a
    /// server, which seals nothing.
    #[must_use]
    pub fn sealed_under(&self) -> Option<StoreKeyId> {
        each!(self, it => it.sealed_under())
    }

    /// The store key that everything new is sealed under now.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn store_key_now(&self) -> Result<StoreKeyId, StoreFault> {
        each!(self, it => it.store_key_now().await)
    }

    /// From now on, seals everything new under `to`. `false` if the store is neither under `from` nor under `to`.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn seal_under(&self, from: StoreKeyId, to: StoreKeyId) -> Result<bool, StoreFault> {
        each!(self, it => it.seal_under(from, to).await)
    }

    /// Stores secrets that were sealed anew, where nobody else has changed them since. Returns how many.
    ///
    /// # Errors
    /// They could not be stored.
    pub async fn reseal(&self, resealed: Vec<Resealed>) -> Result<u64, StoreFault> {
        each!(self, it => it.reseal(resealed).await)
    }

    /// Where it is, for people: file, or host and name; never a password.
    #[must_use]
    pub fn at(&self) -> &str {
        each!(self, it => it.at())
    }

    /// Where it is, as the location of a finding.
    #[must_use]
    pub fn location(&self) -> Location {
        each!(self, it => it.location())
    }

    /// The OTPs that this process accepted. All clones of a store share it.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        each!(self, it => it.guard())
    }

    /// Which of these accepted OTPs the store has lost: its position of the token with this key is lower or missing. If
    /// the token has another key now, the position that is kept for the former key counts. A token whose stored values are
    /// damaged is passed over: that is a fault for whoever asks for it.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn forgotten(&self, accepted: Vec<Accepted>) -> Result<Vec<Forgotten>, StoreFault> {
        each!(self, it => it.forgotten(accepted).await)
    }

    /// Stores accepted OTPs again, all or nothing (in etcd: of up to 40 tokens), so that none of them is [forgotten](Self::forgotten). Each key of a
    /// token occurs once. Positions only grow. Returns how many tokens were changed.
    ///
    /// # Errors
    /// It could not be stored. [`StoreFault::Damaged`]: it was, of all tokens but those that are damaged.
    pub async fn raise_accepted(&self, accepted: Vec<Accepted>) -> Result<u64, StoreFault> {
        each!(self, it => it.raise_accepted(accepted).await)
    }

    /// The name and version of the database, for people.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn version(&self) -> Result<String, StoreFault> {
        each!(self, it => it.version().await)
    }

    /// Which store it is, and how far it has come.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn standing(&self) -> Result<Standing, StoreFault> {
        let (identity, revision) = each!(self, it => it.standing().await)?;
        Ok(Standing { at: self.at().to_owned(), version: self.version().await?, identity, revision })
    }

    /// Each host that the configuration names; none for SQLite.
    pub async fn members(&self) -> Vec<Member> {
        match self {
            Self::Sqlite(_) => Vec::new(),
            Self::Postgres(postgres) => postgres.members().await,
            Self::Etcd(etcd) => etcd.members().await,
        }
    }

    /// What is known of a cluster of etcd without asking it. `None`: the store is another one.
    #[must_use]
    pub fn observed(&self) -> Option<Observed> {
        match self {
            Self::Sqlite(_) | Self::Postgres(_) => None,
            Self::Etcd(etcd) => Some(etcd.observed()),
        }
    }

    /// A client; `None` if there is none with this ID.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn client(&self, id: ClientId) -> Result<Option<Client>, StoreFault> {
        each!(self, it => it.client(id).await)
    }

    /// A token; `None` if the store does not know it.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn token(&self, id: &PublicId) -> Result<Option<Token>, StoreFault> {
        each!(self, it => it.token(*id).await)
    }

    /// Compares and stores in one durable step, by the contract of [`yubiotp::Ledger::advance`]: of all callers with
    /// the same position, in any process, only one gets [`Advanced::Fresh`], once the position is on stable storage. If
    /// the future is dropped, the step may have been taken.
    ///
    /// # Errors
    /// The store does not have the token with this key, or it is unknown whether the step was stored. Then the OTP may
    /// or may not have been used up.
    pub async fn advance(&self, step: Step) -> Result<Advanced, StoreFault> {
        each!(self, it => it.advance(step).await)
    }

    /// Whether it can be read and written now.
    ///
    /// # Errors
    /// It cannot.
    pub async fn ready(&self) -> Result<(), StoreFault> {
        each!(self, it => it.ready().await)
    }

    /// Whether it can be read and, as far as can be seen without writing, written.
    ///
    /// # Errors
    /// It cannot.
    pub async fn seems_fit(&self) -> Result<(), StoreFault> {
        each!(self, it => it.seems_fit().await)
    }

    /// Findings about its setup. For PostgreSQL: hosts, standbys and poolers. For etcd: members, space and compaction.
    pub async fn traps(&self) -> Vec<Diagnostic> {
        match self {
            Self::Sqlite(_) => Vec::new(),
            Self::Postgres(postgres) => postgres.traps().await,
            Self::Etcd(etcd) => etcd.traps().await,
        }
    }

    /// Records the state of this PostgreSQL or etcd as the newest, whatever was seen before, with or without a store in it.
    /// The administrator stated that it has every accepted OTP, or lacks those
    /// since a time: then every token becomes restored first ([`mark_restored`](Self::mark_restored)).
    ///
    /// # Errors
    /// It cannot be reached, the state cannot be recorded, or the store is SQLite.
    pub async fn accept_database(
        at: &StoreAt,
        lost_since: Option<i64>,
    ) -> Result<AcceptedDatabase, StoreFault> {
        match at {
            StoreAt::Sqlite(path) => {
                let sqlite = "is an SQLite store; ykvald records only which PostgreSQL or etcd it used last";
                let found = Diagnostic::error(Code::CommandLineInvalid, sqlite);
                Err(StoreFault::of_database(file::location(path), found))
            }
            StoreAt::Postgres(at) => postgres::Postgres::accept_database(at, lost_since).await,
            StoreAt::Etcd(at) => etcd::Etcd::accept_database(at, lost_since).await,
        }
    }

    /// Records the state of the PostgreSQL or etcd of this store as the newest, in the file that the configuration names,
    /// whatever was seen before. Call it only after a store that was opened [as if never
    /// seen](StoreAt::as_if_never_seen) was [marked](Self::mark_restored).
    ///
    /// # Errors
    /// It cannot be recorded.
    pub fn accept_as_seen(&self, at: &StoreAt) -> Result<(), StoreFault> {
        match (self, at) {
            (Self::Postgres(store), StoreAt::Postgres(at)) => store.accept_as_seen(at),
            (Self::Etcd(store), StoreAt::Etcd(at)) => store.accept_as_seen(at),
            _ => Ok(()),
        }
    }

    /// Adds a client, with this ID or, if `None`, with the lowest above all existing ones (the first is 1). `seal`
    /// seals its key for that ID. Returns `None` if the ID is taken.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn add_client(
        &self,
        id: Option<ClientId>,
        make: impl Fn(ClientId) -> Client + Send + 'static,
    ) -> Result<Option<Client>, StoreFault> {
        each!(self, it => it.add_client(id, make).await)
    }

    /// All clients, by their ids.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn clients(&self) -> Result<Vec<Client>, StoreFault> {
        each!(self, it => it.clients().await)
    }

    /// Changes a client. `false` if there is none of this id.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn change_client(&self, id: ClientId, change: ClientChange) -> Result<bool, StoreFault> {
        each!(self, it => it.change_client(id, change).await)
    }

    /// Enrolls keys, all or none (in etcd: of up to 40 tokens; after an interruption, the same call goes on). A token continues from the highest position of this key, or without a key, so far.
    /// The position of another key does not count for this one, and is kept. `distinct` knows each of these AES keys
    /// ([`Distinct::comes`]), and compares them in the same transaction with every key that the store has or had.
    ///
    /// # Errors
    /// Another token has or had one of the AES keys; or they could not be stored.
    pub async fn enrol(&self, keys: Vec<Enrolment>, distinct: Distinct) -> Result<Enrolled, StoreFault> {
        each!(self, it => it.enrol(keys, distinct).await)
    }

    /// Removes the key of a token; its position is kept. `false` if there is no such key.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn remove_key(&self, id: &PublicId) -> Result<bool, StoreFault> {
        each!(self, it => it.remove_key(*id).await)
    }

    /// Enables or disables a token. `false` if the store does not know it.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn set_enabled(&self, id: &PublicId, enabled: bool) -> Result<bool, StoreFault> {
        each!(self, it => it.set_enabled(*id, enabled).await)
    }

    /// Imports positions of another server, all or nothing (in etcd: of up to 40 tokens; after an interruption, the same call
    /// goes on). Positions only grow, and a token that is disabled in either
    /// place is disabled afterwards. The position of a token without a key is kept for its next key.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn raise(&self, known: Vec<ImportedPosition>) -> Result<ImportedCounts, StoreFault> {
        each!(self, it => it.raise(known).await)
    }

    /// Up to [`PAGE`] tokens after `after`, in bytewise order of their public IDs.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn tokens(&self, after: Option<&PublicId>) -> Result<Vec<Token>, StoreFault> {
        each!(self, it => it.tokens(after.copied()).await)
    }

    /// The same, with the positions of these tokens that [`retired`](Self::retired) would return.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn page(&self, after: Option<&PublicId>) -> Result<Page, StoreFault> {
        each!(self, it => it.page(after.copied()).await)
    }

    /// The positions of tokens with keys that were removed or replaced. They are few: keys that were never used have
    /// none.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn retired(&self) -> Result<Vec<Retired>, StoreFault> {
        each!(self, it => it.retired().await)
    }

    /// How many clients and tokens there are.
    ///
    /// # Errors
    /// They could not be counted.
    pub async fn count(&self) -> Result<Count, StoreFault> {
        each!(self, it => it.count().await)
    }

    /// If set, the store was lost or restored, and tokens that it does not have begin as restored since this time
    /// ([`Token::restored`]). `None`: they begin as new.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn restored_since(&self) -> Result<Option<i64>, StoreFault> {
        each!(self, it => it.restored_since().await)
    }

    /// How many tokens are restored.
    ///
    /// # Errors
    /// They could not be counted.
    pub async fn restored_count(&self) -> Result<u64, StoreFault> {
        each!(self, it => it.restored_count().await)
    }

    /// Makes every token restored since this time, or since an earlier one if it was already, including tokens that are
    /// added later.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn mark_restored(&self, since: i64) -> Result<(), StoreFault> {
        each!(self, it => it.mark_restored(since).await)
    }

    /// The last touch of a restored token, which the next one is compared with. It counts only while its position is
    /// that of the token.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn last_touch(&self, id: &PublicId) -> Result<Option<LastTouch>, StoreFault> {
        each!(self, it => it.last_touch(*id).await)
    }

    /// Stores the last touch, instead of the one before.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn set_last_touch(&self, id: &PublicId, touch: LastTouch) -> Result<(), StoreFault> {
        each!(self, it => it.set_last_touch(*id, touch).await)
    }

    /// Makes a token no longer restored: its position is proved. Call it after that position was stored.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn prove(&self, id: &PublicId) -> Result<(), StoreFault> {
        each!(self, it => it.prove(*id).await)
    }

    /// Makes no token restored any more, including tokens that are added later: the administrator accepts that used
    /// OTPs may be accepted once more. Returns how many tokens were restored.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn accept_risk(&self) -> Result<u64, StoreFault> {
        each!(self, it => it.accept_risk().await)
    }

    /// Checks the whole store for damage, as far as the database can.
    ///
    /// # Errors
    /// It is damaged, or could not be read.
    pub async fn integrity(&self) -> Result<(), StoreFault> {
        each!(self, it => it.integrity().await)
    }

    /// Finishes the steps that were begun, writes everything to the disk, and closes files and connections.
    pub async fn close(&self) {
        each!(self, it => it.close().await);
    }
}
