//! The clients that sent requests lately, with their keys opened.

use crate::keys::KeyRing;
use crate::store::{Store, StoreFault};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use yubiotp::diagnostic::{Calls, Code};
use yubiotp::protocol::{ClientId, ClientKey};

/// How long a cached client is used: a second after it is disabled, it is rejected.
const FRESH: Duration = Duration::from_secs(1);

/// An enabled client.
pub(super) struct CachedClient {
    pub(super) key: ClientKey,
    pub(super) require_signature: Option<bool>,
    pub(super) rate: Option<u32>,
    pub(super) certificate_name: Option<String>,
}

/// Why there is no enabled client of this id.
pub(super) enum ClientFault {
    /// No client has this id, or it is disabled.
    Refused(Code, &'static str),
    /// The client could not be read.
    Failed(Code, String),
}

impl From<StoreFault> for ClientFault {
    fn from(fault: StoreFault) -> Self {
        let found = fault.diagnostic();
        Self::Failed(found.code, found.log_text(Calls::PLAIN))
    }
}

/// Those of the last second. Only existing clients are cached, so strangers cannot fill it.
#[derive(Default)]
pub(super) struct ClientCache(RwLock<HashMap<ClientId, (Instant, Arc<CachedClient>)>>);

impl ClientCache {
    pub(super) async fn known(
        &self,
        store: &Store,
        keys: &KeyRing,
        id: ClientId,
    ) -> Result<Arc<CachedClient>, ClientFault> {
        let cached = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some((_, known)) = cached.filter(|(read, _)| read.elapsed() < FRESH) {
            return Ok(known);
        }
        let read = Instant::now();
        let client = store
            .client(id)
            .await?
            .ok_or(ClientFault::Refused(Code::ClientUnknown, "there is no such client"))?;
        if !client.enabled {
            return Err(ClientFault::Refused(Code::ClientDisabled, "the client is disabled"));
        }
        let key = keys.open(|keys| keys.open_client(&client.sealed_key, id)).map_err(|_| {
            let why = "the client's key cannot be opened: it is damaged, or sealed under another store key";
            ClientFault::Failed(Code::ClientKeyUnreadable, why.to_owned())
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

    /// Drops the keys of clients that have been idle.
    pub(super) fn evict_idle(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, (read, _)| read.elapsed() < FRESH);
    }
}
