//! The store in SQLite: one file, in WAL mode, with `synchronous=FULL`.
//!
//! A thread of its own advances positions (`writer`), many in one transaction with one sync, and answers after that.
//! Reads have connections of their own (`readers`), which wait for no writer. Changes by an administrator (`admin`)
//! have a connection and a transaction each, in this process or in another one while the server runs. `ykvald check`
//! (`look`) changes nothing.

mod accepted;
mod admin;
mod advance;
mod backup;
mod checkpoint;
mod connect;
mod header;
mod look;
mod moving;
mod place;
mod readers;
mod reseal;
mod restore;
mod restored;
mod rows;
#[cfg(test)]
mod tests;
mod writer;

use super::*;
pub use backup::BackedUp;
use connect::Use;
use place::DatabaseFile;
use readers::Readers;
pub use restore::{FormerStore, Restored, restore};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::sync::Arc;
use writer::Writer;
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// A store in SQLite.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    place: Arc<DatabaseFile>,
    readers: Readers,
    /// `None` if it was opened read-only.
    writer: Option<Writer>,
    guard: Guard,
    /// The store key that everything new is sealed under.
    under: StoreKeyId,
}

impl Inner {
    fn writer(&self) -> Result<&Writer, StoreFault> {
        self.writer.as_ref().ok_or_else(|| self.place.says(Code::DatabaseReadOnly, look::ONLY_LOOKED_AT))
    }

    /// The file, unless the store was closed.
    fn open_place(&self) -> Result<Arc<DatabaseFile>, StoreFault> {
        if self.readers.are_closed() { Err(self.place.closed()) } else { Ok(Arc::clone(&self.place)) }
    }
}

#[expect(missing_docs, reason = "each is what the one of Store says of it")]
impl Sqlite {
    pub async fn create(path: &Path, key: impl Into<StoreKeyIds>) -> Result<Self, StoreFault> {
        let key = key.into();
        let path = path.to_owned();
        off_the_runtime(move || {
            if !place::is_there(&path)? {
                connect::make(&path, key.current, None)?;
            }
            Self::open_now(&path, key)
        })
        .await
    }

    pub async fn start_anew(path: &Path, key: impl Into<StoreKeyIds>) -> Result<Self, StoreFault> {
        let key = key.into();
        let path = path.to_owned();
        off_the_runtime(move || {
            if place::is_there(&path)? {
                if !matches!(DatabaseFile::find(&path), Err(StoreFault::Missing(_))) {
                    return Err(StoreFault::NotLost(file::location(&path)));
                }
                // An empty file.
                std::fs::remove_file(&path).map_err(|why| place::said(&path, why))?;
            }
            connect::make(&path, key.current, Some(0))?;
            Self::open_now(&path, key)
        })
        .await
    }

    pub async fn open(path: &Path, key: impl Into<StoreKeyIds>) -> Result<Self, StoreFault> {
        let key = key.into();
        let path = path.to_owned();
        off_the_runtime(move || Self::open_now(&path, key)).await
    }

    pub async fn open_to_move(path: &Path, key: impl Into<StoreKeyIds>) -> Result<Self, StoreFault> {
        let key = key.into();
        let path = path.to_owned();
        off_the_runtime(move || {
            Self::open_checked(&path, |first, place| connect::check_to_move(first, place, key))
        })
        .await
    }

    fn open_now(path: &Path, key: StoreKeyIds) -> Result<Self, StoreFault> {
        Self::open_checked(path, |first, place| connect::check(first, place, key))
    }

    fn open_checked(
        path: &Path,
        check: impl FnOnce(&mut Connection, &DatabaseFile) -> Result<StoreKeyId, StoreFault>,
    ) -> Result<Self, StoreFault> {
        let mut place = DatabaseFile::find(path)?;
        place.keep_from_being_restored()?;
        header::finish_restore(&mut place)?;
        let mut first = connect::open(&place, Use::Write)?;
        let under = check(&mut first, &place)?;
        // The first read opens the log, too.
        let place = Arc::new(place.hold()?);
        let readers = Readers::new(Arc::clone(&place));
        let writer = Some(Writer::start(Arc::clone(&place), first)?);
        Ok(Self(Arc::new(Inner { place, readers, writer, guard: Guard::default(), under })))
    }

    pub async fn look_at(path: &Path, key: impl Into<StoreKeyIds>) -> Result<Looked, StoreFault> {
        let key = key.into();
        let path = path.to_owned();
        off_the_runtime(move || {
            let place = Arc::new(DatabaseFile::find(&path)?.only_looked_at());
            if header::is_restored(&place)? {
                return Ok(Looked::Restored { at: place.location() });
            }
            let first = connect::open(&place, Use::Read)?;
            let (found, under) = connect::recognize(&first, &place, key)?;
            if found < connect::KNOWN {
                return Ok(Looked::Earlier { at: place.location(), found, known: connect::KNOWN });
            }
            let readers = Readers::new(Arc::clone(&place));
            let inner = Inner { place, readers, writer: None, guard: Guard::default(), under };
            Ok(Looked::Current(Store::Sqlite(Self(Arc::new(inner)))))
        })
        .await
    }

    #[must_use]
    pub fn sealed_under(&self) -> Option<StoreKeyId> {
        Some(self.0.under)
    }

    #[expect(clippy::unused_async, reason = "a row that is in memory is read sooner than handed to a thread")]
    pub async fn store_key_now(&self) -> Result<StoreKeyId, StoreFault> {
        let stored = self.0.readers.read("meta", connect::stored_key)?;
        connect::key_of(stored, &self.0.place)
    }

    pub async fn seal_under(&self, from: StoreKeyId, to: StoreKeyId) -> Result<bool, StoreFault> {
        self.change(move |transaction| reseal::seal_under(transaction, from, to)).await
    }

    pub async fn reseal(&self, resealed: Vec<Resealed>) -> Result<u64, StoreFault> {
        self.change(move |transaction| reseal::store(transaction, &resealed)).await
    }

    #[must_use]
    pub fn at(&self) -> &str {
        &self.0.place.at
    }

    pub fn location(&self) -> Location {
        self.0.place.location()
    }

    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// On a new connection: it sees the file as it is now, without the cache of another connection.
    pub async fn forgotten(&self, accepted: Vec<Accepted>) -> Result<Vec<Forgotten>, StoreFault> {
        let place = self.0.open_place()?;
        off_the_runtime(move || {
            place.still_there()?;
            let connection = connect::open(&place, Use::Read)?;
            accepted::forgotten(&connection, &accepted).map_err(|why| place.fault(&why, &"a token"))
        })
        .await
    }

    pub async fn raise_accepted(&self, accepted: Vec<Accepted>) -> Result<u64, StoreFault> {
        let (raised, damaged) =
            self.change(move |transaction| accepted::raise(transaction, &accepted)).await?;
        let damage =
            damaged.map(|id| StoreFault::Damaged { at: self.location(), what: format!("token {id}") });
        damage.map_or(Ok(raised), Err)
    }

    #[expect(clippy::unused_async, reason = "where it is another process, it has to be asked")]
    pub async fn version(&self) -> Result<String, StoreFault> {
        Ok(format!("SQLite {}", rusqlite::version()))
    }

    /// A file of this host: no other host has the same one.
    #[expect(clippy::unused_async, reason = "where it is another process, it has to be asked")]
    #[expect(clippy::disallowed_methods, reason = "the kernel's, and only shown")]
    pub async fn standing(&self) -> Result<(String, String), StoreFault> {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok((format!("{} on {}", self.at(), host.trim()), String::new()))
    }

    #[expect(clippy::unused_async, reason = "a row that is in memory is read sooner than handed to a thread")]
    pub async fn client(&self, id: ClientId) -> Result<Option<Client>, StoreFault> {
        self.0.readers.read(format_args!("client {id}"), |connection| rows::client(connection, id))
    }

    #[expect(clippy::unused_async, reason = "a row that is in memory is read sooner than handed to a thread")]
    pub async fn token(&self, id: PublicId) -> Result<Option<Token>, StoreFault> {
        self.0.readers.read(format_args!("token {id}"), |connection| rows::token(connection, id))
    }

    pub async fn advance(&self, step: Step) -> Result<Advanced, StoreFault> {
        self.0.writer()?.advance(step).await
    }

    pub async fn ready(&self) -> Result<(), StoreFault> {
        self.0.readers.read("meta", rows::is_readable)?;
        self.0.writer()?.ready().await
    }

    #[expect(clippy::unused_async, reason = "where it is another process, it has to be asked")]
    pub async fn seems_fit(&self) -> Result<(), StoreFault> {
        self.0.readers.read("meta", rows::is_readable)
    }

    pub async fn add_client(
        &self,
        id: Option<ClientId>,
        make: impl Fn(ClientId) -> Client + Send + 'static,
    ) -> Result<Option<Client>, StoreFault> {
        self.change_sealed(move |transaction| admin::add_client(transaction, id, make)).await
    }

    pub async fn clients(&self) -> Result<Vec<Client>, StoreFault> {
        self.look("a client", rows::clients).await
    }

    pub async fn change_client(&self, id: ClientId, change: ClientChange) -> Result<bool, StoreFault> {
        self.change_sealed(move |transaction| admin::change_client(transaction, id, &change)).await
    }

    pub async fn enrol(&self, keys: Vec<Enrolment>, mut distinct: Distinct) -> Result<Enrolled, StoreFault> {
        let enrolled = self.change_sealed(move |transaction| {
            // Before anything is written, so that an empty transaction is committed.
            match admin::compare(transaction, &mut distinct)? {
                Ok(()) => admin::enrol(transaction, keys).map(Ok),
                Err(same) => Ok(Err(same)),
            }
        });
        Ok(enrolled.await??)
    }

    pub async fn remove_key(&self, id: PublicId) -> Result<bool, StoreFault> {
        self.change(move |transaction| admin::remove_key(transaction, id)).await
    }

    pub async fn set_enabled(&self, id: PublicId, enabled: bool) -> Result<bool, StoreFault> {
        self.change(move |transaction| admin::set_enabled(transaction, id, enabled)).await
    }

    pub async fn raise(&self, known: Vec<ImportedPosition>) -> Result<ImportedCounts, StoreFault> {
        self.change(move |transaction| admin::raise(transaction, known)).await
    }

    pub async fn tokens(&self, after: Option<PublicId>) -> Result<Vec<Token>, StoreFault> {
        self.look("a token", move |connection| rows::tokens(connection, after)).await
    }

    pub async fn page(&self, after: Option<PublicId>) -> Result<Page, StoreFault> {
        self.look("a token", move |connection| {
            let tokens = rows::tokens(connection, after)?;
            let retired = rows::retired_of(connection, &tokens)?;
            Ok(Page { tokens, retired })
        })
        .await
    }

    pub async fn retired(&self) -> Result<Vec<Retired>, StoreFault> {
        self.look("a token", rows::retired).await
    }

    pub async fn count(&self) -> Result<Count, StoreFault> {
        self.look("a table", rows::count).await
    }

    pub async fn restored_since(&self) -> Result<Option<i64>, StoreFault> {
        self.look("meta", restored::since).await
    }

    pub async fn restored_count(&self) -> Result<u64, StoreFault> {
        self.look("a token", restored::count).await
    }

    pub async fn mark_restored(&self, since: i64) -> Result<(), StoreFault> {
        self.change(move |transaction| restored::mark_all(transaction, since)).await
    }

    #[expect(clippy::unused_async, reason = "a row that is in memory is read sooner than handed to a thread")]
    pub async fn last_touch(&self, id: PublicId) -> Result<Option<LastTouch>, StoreFault> {
        let what = format_args!("the last touch of token {id}");
        self.0.readers.read(what, |connection| restored::last_touch(connection, id))
    }

    pub async fn set_last_touch(&self, id: PublicId, touch: LastTouch) -> Result<(), StoreFault> {
        self.change(move |transaction| restored::set_last_touch(transaction, id, &touch)).await
    }

    pub async fn prove(&self, id: PublicId) -> Result<(), StoreFault> {
        self.change(move |transaction| restored::prove(transaction, id)).await
    }

    pub async fn moves(&self) -> Result<Moves, StoreFault> {
        self.look("its moves", moving::read).await
    }

    pub async fn set_moves(
        &self,
        from: String,
        to: Moves,
        restored: Option<i64>,
    ) -> Result<bool, StoreFault> {
        self.change_if(moving::only_later, move |transaction| moving::set(transaction, &from, &to, restored))
            .await
    }

    pub async fn fill(&self, run: RunId, rows: Rows) -> Result<bool, StoreFault> {
        self.change_if(moving::only_later, move |transaction| moving::fill(transaction, run, &rows)).await
    }

    pub async fn touches(&self) -> Result<Vec<(PublicId, LastTouch)>, StoreFault> {
        self.look("a touch", restored::touches).await
    }

    pub async fn accept_risk(&self) -> Result<u64, StoreFault> {
        self.change(restored::accept_risk).await
    }

    pub async fn integrity(&self) -> Result<(), StoreFault> {
        let place = self.0.open_place()?;
        off_the_runtime(move || restore::whole(&connect::open(&place, Use::Read)?, &place)).await
    }

    /// Writes a copy of the store to `file`, whole and synced, while others use the store. An existing file is replaced
    /// only with `replace`.
    ///
    /// # Errors
    /// The file cannot be written, or exists.
    pub async fn backup(&self, file: &Path, replace: bool) -> Result<BackedUp, StoreFault> {
        let place = self.0.open_place()?;
        let file = file.to_owned();
        off_the_runtime(move || backup::write(&place, &file, replace)).await
    }

    pub async fn close(&self) {
        let inner = Arc::clone(&self.0);
        let closed = off_the_runtime(move || {
            inner.readers.close();
            inner.writer.as_ref().map(Writer::close);
            Ok(())
        });
        // Only the end of the runtime interrupts it; then SQLite finds everything in its log.
        let _ = closed.await;
    }

    /// Reads many rows, on a connection of its own.
    async fn look<T: Send + 'static>(
        &self,
        what: &'static str,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreFault> {
        let place = self.0.open_place()?;
        off_the_runtime(move || {
            look(&connect::open(&place, Use::Read)?).map_err(|why| place.fault(&why, &what))
        })
        .await
    }

    /// Runs a change by an administrator, durably, on a connection and in a transaction of its own.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreFault> {
        self.change_if(connect::refused, change).await
    }

    /// The same, with something that was sealed under the store key as of when the store was opened.
    async fn change_sealed<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreFault> {
        let under = self.0.under;
        let may = move |transaction: &Connection, place: &DatabaseFile| {
            if let Some(refused) = connect::refused(transaction, place)? {
                return Ok(Some(refused));
            }
            let is_replaced = connect::stored_key(transaction)?.as_slice() != under.0;
            Ok(is_replaced.then(|| StoreFault::StoreKeyReplaced(place.location())))
        };
        self.change_if(may, change).await
    }

    /// The same, unless `refused` says why not.
    async fn change_if<T: Send + 'static>(
        &self,
        refused: impl FnOnce(&Connection, &DatabaseFile) -> rusqlite::Result<Option<StoreFault>> + Send + 'static,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreFault> {
        self.0.writer()?;
        let place = self.0.open_place()?;
        off_the_runtime(move || {
            let mut connection = connect::open(&place, Use::Change)?;
            let in_one_transaction = || {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                if let Some(refused) = refused(&transaction, &place)? {
                    return Ok(Err(refused));
                }
                let changed = change(&transaction)?;
                transaction.commit()?;
                Ok(Ok(changed))
            };
            let changed = in_one_transaction().map_err(|why| place.fault(&why, &"a row"))?;
            place.still_there()?;
            changed
        })
        .await
    }
}

/// Runs something that may wait for a disk or for another process.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreFault> + Send + 'static,
) -> Result<T, StoreFault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|why| {
        Err(StoreFault::Database(Box::new(Diagnostic::error(Code::DatabaseFailed, why.to_string()))))
    })
}
