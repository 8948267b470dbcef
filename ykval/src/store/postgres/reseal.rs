//! Secrets sealed anew, when the store key is replaced.

use super::Change;
use super::trouble::Trouble;
use crate::store::fault::url;
use crate::store::{Resealed, StoreFault};
use deadpool_postgres::{ClientWrapper, Transaction};
use std::sync::Arc;
use yubiotp::seal::StoreKeyId;

/// The store key that a change has sealed something under.
pub(super) struct Under {
    pub(super) at: Arc<str>,
    /// `None` for a server, which seals nothing.
    pub(super) key: Option<StoreKeyId>,
}

impl Under {
    /// Fails if it was replaced; until the transaction ends, it is not. [`ready`](super::ready) does not wait for this lock.
    pub(super) async fn must_be(&self, change: &Transaction<'_>) -> Result<(), Trouble> {
        let now = change.query_one("SELECT store_key FROM ykvald.meta FOR KEY SHARE", &[]).await?;
        match self.key {
            Some(key) if now.try_get::<_, &[u8]>(0)? != key.0 => {
                Err(StoreFault::StoreKeyReplaced(url(&self.at)).into())
            }
            _ => Ok(()),
        }
    }
}

/// `false` if the store is under neither.
pub(super) async fn seal_under(
    db: &mut ClientWrapper,
    from: StoreKeyId,
    to: StoreKeyId,
) -> Result<bool, Trouble> {
    let change = Change::begin(db).await?;
    let now = change.query_one("SELECT store_key FROM ykvald.meta FOR UPDATE", &[]).await?;
    let now: Vec<u8> = now.try_get(0)?;
    if now == from.0 {
        change.execute("UPDATE ykvald.meta SET store_key = $1", &[&to.0.as_slice()]).await?;
    }
    change.commit().await?;
    Ok(now == from.0 || now == to.0)
}

const CLIENTS: &str = "UPDATE ykvald.clients c SET sealed_key = k.new
    FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS k (id, old, new) WHERE c.id = k.id AND c.sealed_key = k.old";

const TOKENS: &str = "UPDATE ykvald.tokens t SET sealed = k.new
    FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) AS k (id, old, new)
    WHERE t.public_id = k.id AND t.sealed = k.old";

/// Verifications of these tokens wait until the commit, those of others do not: each batch of them skips locked rows.
pub(super) async fn store(db: &mut ClientWrapper, resealed: Vec<Resealed>) -> Result<u64, Trouble> {
    let (mut clients, mut tokens) = ((vec![], vec![], vec![]), (vec![], vec![], vec![]));
    for one in &resealed {
        match one {
            Resealed::Client { id, from, to } => {
                clients.0.push(id.number().cast_signed());
                clients.1.push(from.as_slice());
                clients.2.push(to.as_slice());
            }
            Resealed::Token { id, from, to } => {
                tokens.0.push(id.as_bytes());
                tokens.1.push(from.as_bytes().as_slice());
                tokens.2.push(to.as_bytes().as_slice());
            }
        }
    }
    let change = Change::begin(db).await?;
    let clients = change.execute(CLIENTS, &[&clients.0, &clients.1, &clients.2]).await?;
    let tokens = change.execute(TOKENS, &[&tokens.0, &tokens.1, &tokens.2]).await?;
    change.commit().await?;
    Ok(clients.saturating_add(tokens))
}
