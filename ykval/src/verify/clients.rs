//! The clients that asked lately, with their keys opened.

use crate::store::{Store, StoreFault};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use yubiotp::protocol::{ClientId, ClientKey};
use yubiotp::seal::StoreKey;

/// How long a client is taken for what it was: a second after it was switched off, it is.
const FRESH: Duration = Duration::from_secs(1);

/// A client that may ask.
pub(super) struct CachedClient {
    pub(super) key: ClientKey,
    pub(super) require_signature: Option<bool>,
    pub(super) rate: Option<u32>,
    pub(super) certificate_name: Option<String>,
}

/// Why a client may not ask.
pub(super) enum ClientFault {
    /// There is none of this id, or it is switched off.
    None(&'static str),
    /// It could not be read.
    World(String),
}

impl From<StoreFault> for ClientFault {
    fn from(fault: StoreFault) -> Self {
        Self::World(fault.to_string())
    }
}

/// Those of the last second. Only clients that there are, so nobody can fill it.
#[derive(Default)]
pub(super) struct ClientCache(RwLock<HashMap<ClientId, (Instant, Arc<CachedClient>)>>);

impl ClientCache {
    pub(super) async fn known(
        &self,
        store: &Store,
        store_key: &StoreKey,
        id: ClientId,
    ) -> Result<Arc<CachedClient>, ClientFault> {
        let cached = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some((_, known)) = cached.filter(|(read, _)| read.elapsed() < FRESH) {
            return Ok(known);
        }
        let read = Instant::now();
        let client = store.client(id).await?.ok_or(ClientFault::None("there is no such client"))?;
        if !client.enabled {
            return Err(ClientFault::None("the client is switched off"));
        }
        let key = store_key.open_client(&client.sealed_key, id).map_err(|_| {
            ClientFault::World(
                "the client's key cannot be opened: sealed under another store key, or damaged".into(),
            )
        })?;
        let known = Arc::new(CachedClient {
            key,
            require_signature: client.require_signature,
            rate: client.rate,
            certificate_name: client.certificate_name,
        });
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, (read, Arc::clone(&known)));
        Ok(known)
    }

    /// Lets go of keys that nobody asked with.
    pub(super) fn evict_idle(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, (read, _)| read.elapsed() < FRESH);
    }
}
