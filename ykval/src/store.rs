//! The store of clients, tokens and positions: SQLite inside the server, or PostgreSQL beside it. Both behave the same.

#[cfg(test)]
mod contract;
mod distinct;
mod fault;
pub mod postgres;
mod restored;
pub mod sqlite;

pub use distinct::{Distinct, SameKey};
pub use fault::{StoreFault, location};
pub use restored::{Evidence, LastTouch};

use crate::config::StoreAt;
use crate::guard::{Accepted, Forgotten, Guard};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::key::Fingerprint;
use yubiotp::ledger::Receipt;
use yubiotp::protocol::ClientId;
use yubiotp::seal::{Sealed, StoreKeyId};
use yubiotp::{Position, PublicId};

/// An open store.
#[derive(Clone)]
pub enum Store {
    /// SQLite.
    Sqlite(sqlite::Sqlite),
    /// PostgreSQL.
    Postgres(postgres::Postgres),
}

/// What [`Store::look`] found.
pub enum Looked {
    /// A store of the current schema, which can be read.
    Current(Store),
    /// A store of an earlier schema, which has to be upgraded before it can be read.
    Earlier {
        /// Where it is.
        at: String,
        /// The number of its schema.
        found: i64,
        /// The schema that [`Store::open`] upgrades it to.
        known: i64,
    },
    /// A restored backup that was not opened yet. [`Store::open`] finishes the restore.
    Restored {
        /// Where it is.
        at: String,
    },
}

/// A store opened for a server.
pub struct Serving {
    /// The store.
    pub store: Store,
    /// Why it is not open yet.
    pub unopened: Option<StoreFault>,
    /// Why the state of PostgreSQL cannot be recorded. Then an older one is refused only while this process runs.
    pub unremembered: Option<Diagnostic>,
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
}

/// What [`Store::advance`] found.
#[derive(Debug)]
#[must_use]
pub enum Advanced {
    /// It was above the stored position, and is stored durably now.
    Fresh(Receipt),
    /// This position with this nonce (not empty) is stored already: the request was repeated.
    SameRequest,
    /// Not above the stored position.
    Replayed {
        /// The stored position.
        stored: Position,
    },
    /// The token is disabled.
    Disabled,
}

/// A key to be enrolled.
pub struct Enrolment {
    /// The token.
    pub id: PublicId,
    /// The fingerprint of the key.
    pub fingerprint: Fingerprint,
    /// The credential, sealed under the store key.
    pub sealed: Sealed,
    /// The administrator stated that no OTP of this key was ever used, so it does not begin as restored.
    pub never_used: bool,
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

/// The most tokens that [`Store::tokens`] gives at a time.
pub const PAGE: usize = 1000;

macro_rules! each {
    ($store:expr, $it:ident => $what:expr) => {
        match $store {
            Store::Sqlite($it) => $what,
            Store::Postgres($it) => $what,
        }
    };
}

impl Store {
    /// Creates what is missing of a store (the file, the tables of the latest schema), ties it to this store key, and opens
    /// it. An existing store keeps everything; one of an earlier schema is upgraded.
    ///
    /// # Errors
    /// It cannot be created, is of a later version, or is tied to another store key.
    pub async fn create(at: &StoreAt, key: StoreKeyId) -> Result<Self, StoreFault> {
        match at {
            StoreAt::Sqlite(path) => Ok(Self::Sqlite(sqlite::Sqlite::create(path, key).await?)),
            StoreAt::Postgres(at) => Ok(Self::Postgres(postgres::Postgres::create(at, key).await?)),
        }
    }

    /// Creates a store in place of one that was lost: as [`create`](Self::create), but every new token begins as restored
    /// ([`restored_since`](Self::restored_since)).
    ///
    /// # Errors
    /// There is a store, or it cannot be made.
    pub async fn start_anew(at: &StoreAt, key: StoreKeyId) -> Result<Self, StoreFault> {
        match at {
            StoreAt::Sqlite(path) => Ok(Self::Sqlite(sqlite::Sqlite::start_anew(path, key).await?)),
            StoreAt::Postgres(at) => Ok(Self::Postgres(postgres::Postgres::start_anew(at, key).await?)),
        }
    }

    /// Opens a store that is there, and carries one of an earlier schema forward.
    ///
    /// # Errors
    /// It is not there, cannot be reached, was made by a later version, or is tied to another store key.
    pub async fn open(at: &StoreAt, key: StoreKeyId) -> Result<Self, StoreFault> {
        match at {
            StoreAt::Sqlite(path) => Ok(Self::Sqlite(sqlite::Sqlite::open(path, key).await?)),
            StoreAt::Postgres(at) => Ok(Self::Postgres(postgres::Postgres::open(at, key).await?)),
        }
    }

    /// As [`open`](Self::open), for servers. A PostgreSQL that does not answer, or cannot be written to now, is no error: the
    /// store is opened as soon as it can be, and everything that is asked of it before fails at once. Never makes a store.
    ///
    /// From when it is open, what was seen of PostgreSQL is remembered beyond the end of this process, so that an older
    /// state is refused, and all of its hosts are looked at from time to time.
    ///
    /// # Errors
    /// What does not pass by itself: as far as it is found within two seconds, the store is not there, was made by a later
    /// version, is tied to another store key, or is behind a pooler that shares its connections; or the settings are wrong.
    pub async fn open_for_serving(at: &StoreAt, key: StoreKeyId) -> Result<Serving, StoreFault> {
        match at {
            StoreAt::Sqlite(_) => {
                Ok(Serving { store: Self::open(at, key).await?, unopened: None, unremembered: None })
            }
            StoreAt::Postgres(at) => postgres::Postgres::open_for_serving(at, key).await,
        }
    }

    /// Opens a store to read it. This changes nothing: neither the schema nor any file beside the store.
    ///
    /// # Errors
    /// It is not there, cannot be reached, was made by a later version, or is tied to another store key.
    pub async fn look(at: &StoreAt, key: StoreKeyId) -> Result<Looked, StoreFault> {
        match at {
            StoreAt::Sqlite(path) => sqlite::Sqlite::look_at(path, key).await,
            StoreAt::Postgres(at) => postgres::Postgres::look_at(at, key).await,
        }
    }

    /// Where it is, for people: file, or host and name; never a password.
    #[must_use]
    pub fn at(&self) -> &str {
        each!(self, it => it.at())
    }

    /// What this process remembers of the OTPs that it accepted. All clones of a store have one.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        each!(self, it => it.guard())
    }

    /// Which of these OTPs, which were accepted, the store does not know any more: of the token with this key it has a
    /// lower position or none, or, if the token has another key now, of what is kept for the key that it had.
    ///
    /// # Errors
    /// It could not be asked.
    pub async fn forgotten(&self, accepted: Vec<Accepted>) -> Result<Vec<Forgotten>, StoreFault> {
        each!(self, it => it.forgotten(accepted).await)
    }

    /// Tells the store of OTPs that were accepted, all or nothing, each key of a token once; afterwards it has
    /// [forgotten](Self::forgotten) none of them. Positions only grow. How many tokens it changed.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn raise_accepted(&self, accepted: Vec<Accepted>) -> Result<u64, StoreFault> {
        each!(self, it => it.raise_accepted(accepted).await)
    }

    /// Which database it is, with its version, for people.
    ///
    /// # Errors
    /// It could not be asked.
    pub async fn version(&self) -> Result<String, StoreFault> {
        each!(self, it => it.version().await)
    }

    /// A client; `None` if there is none of this id.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn client(&self, id: ClientId) -> Result<Option<Client>, StoreFault> {
        each!(self, it => it.client(id).await)
    }

    /// A token; `None` if nothing is known of it.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn token(&self, id: &PublicId) -> Result<Option<Token>, StoreFault> {
        each!(self, it => it.token(*id).await)
    }

    /// Compares and stores in one durable step, by the contract of [`yubiotp::Ledger::advance`]: of any number of
    /// callers with one position, in any processes, one gets [`Advanced::Fresh`], after it is on stable storage. A
    /// caller that goes away (a future that is dropped) may leave the step done.
    ///
    /// # Errors
    /// The token is not here with this key, or it is not known whether the step was stored. It says nothing about the
    /// OTP, which may or may not have been used up.
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

    /// Whether it can be read and, as far as that is seen without writing, written.
    ///
    /// # Errors
    /// It cannot.
    pub async fn seems_fit(&self) -> Result<(), StoreFault> {
        each!(self, it => it.seems_fit().await)
    }

    /// What an administrator should know of how it is set up. Of PostgreSQL's: its hosts, standbys and poolers.
    pub async fn traps(&self) -> Vec<Diagnostic> {
        match self {
            Self::Sqlite(_) => Vec::new(),
            Self::Postgres(postgres) => postgres.traps().await,
        }
    }

    /// Remembers the state of this PostgreSQL as the newest, whatever was seen before, and whether a store is in it or not.
    /// Says, for people, which it is. The administrator has said that it knows every OTP that was accepted; or lacks those
    /// since a time: then every token is restored first ([`mark_restored`](Self::mark_restored)).
    ///
    /// # Errors
    /// It cannot be reached, or this cannot be remembered; or the store is SQLite's.
    pub async fn accept_database(at: &StoreAt, lost_since: Option<i64>) -> Result<String, StoreFault> {
        match at {
            StoreAt::Sqlite(path) => {
                let sqlite = "is an SQLite store; ykvald records only which PostgreSQL it used last";
                let found = Diagnostic::error(Code::CommandLineInvalid, sqlite);
                Err(StoreFault::of_database(&path.display().to_string(), found))
            }
            StoreAt::Postgres(at) => postgres::Postgres::accept_database(at, lost_since).await,
        }
    }

    /// Remembers the state of the PostgreSQL that this store is in as the newest, at a place that settings name, whatever was
    /// seen before. Only to be called once a store that was opened [as if never seen](StoreAt::as_if_never_seen) was
    /// [marked](Self::mark_restored).
    ///
    /// # Errors
    /// It cannot be remembered.
    pub fn accept_as_seen(&self, at: &StoreAt) -> Result<(), StoreFault> {
        match (self, at) {
            (Self::Postgres(store), StoreAt::Postgres(at)) => store.accept_as_seen(at),
            _ => Ok(()),
        }
    }

    /// Adds a client. Its id is the one given or, if that is `None`, the lowest above all that are there (the first is
    /// 1); `seal` seals its key for that id. `None` if the id is taken.
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

    /// Enrols keys, all or none. A token goes on from the highest position that its key, or one elsewhere, came to
    /// before; what another key of it made does not count against this one, and is remembered. `distinct` has heard of
    /// each of these AES keys ([`Distinct::comes`]), and looks in the same transaction at every key that the store has or
    /// had.
    ///
    /// # Errors
    /// Another token has or had one of the AES keys; or they could not be stored.
    pub async fn enrol(&self, keys: Vec<Enrolment>, distinct: Distinct) -> Result<Enrolled, StoreFault> {
        each!(self, it => it.enrol(keys, distinct).await)
    }

    /// Removes the key of a token, and nothing else: what it came to stays known. `false` if there is no such key.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn remove_key(&self, id: &PublicId) -> Result<bool, StoreFault> {
        each!(self, it => it.remove_key(*id).await)
    }

    /// Switches a token off or on. `false` if nothing is known of it.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn set_enabled(&self, id: &PublicId, enabled: bool) -> Result<bool, StoreFault> {
        each!(self, it => it.set_enabled(*id, enabled).await)
    }

    /// Takes over what another server knows, all or nothing. Positions only grow, and a token that is switched off in
    /// either place is so afterwards. Of a token that has no key here, the position is kept for the one that comes.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn raise(&self, known: Vec<ImportedPosition>) -> Result<ImportedCounts, StoreFault> {
        each!(self, it => it.raise(known).await)
    }

    /// Up to [`PAGE`] tokens by their public ids (bytewise), behind `after`.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn tokens(&self, after: Option<&PublicId>) -> Result<Vec<Token>, StoreFault> {
        each!(self, it => it.tokens(after.copied()).await)
    }

    /// How far tokens had come with keys that were removed or replaced. Few: keys that were never used are not among them.
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

    /// Tokens that are not here begin as restored, with this time ([`Token::restored`]): the store was lost, or a backup
    /// was put back. `None`: they begin as new.
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

    /// Every token, here or not yet here, is restored since this time, or since an earlier one if it was already.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn mark_restored(&self, since: i64) -> Result<(), StoreFault> {
        each!(self, it => it.mark_restored(since).await)
    }

    /// The touch of a restored token that the next one is compared with. It counts only while its position is that of
    /// the token.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn last_touch(&self, id: &PublicId) -> Result<Option<LastTouch>, StoreFault> {
        each!(self, it => it.last_touch(*id).await)
    }

    /// Remembers it, in place of the one before.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn set_last_touch(&self, id: &PublicId, touch: LastTouch) -> Result<(), StoreFault> {
        each!(self, it => it.set_last_touch(*id, touch).await)
    }

    /// A token is restored no more: its position is known to be where it is. To be called after that position is stored.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn prove(&self, id: &PublicId) -> Result<(), StoreFault> {
        each!(self, it => it.prove(*id).await)
    }

    /// No token is restored any more, nor will those be that are not here yet: the administrator accepts that OTPs which
    /// were used may be accepted once more. Returns how many tokens were restored.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn accept_risk(&self) -> Result<u64, StoreFault> {
        each!(self, it => it.accept_risk().await)
    }

    /// Whether what is stored is whole, as far as the database can tell. Reads all of it.
    ///
    /// # Errors
    /// It is not, or could not be read.
    pub async fn integrity(&self) -> Result<(), StoreFault> {
        each!(self, it => it.integrity().await)
    }

    /// Writes back what is in memory and lets go of files and connections. Steps that were begun are finished.
    pub async fn close(&self) {
        each!(self, it => it.close().await);
    }
}
