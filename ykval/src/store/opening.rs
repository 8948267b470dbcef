//! Whether a store is open. Until it is, it is only used to open it.

use crate::store::StoreFault;
use std::sync::OnceLock;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use yubiotp::diagnostic::Diagnostic;
use yubiotp::seal::StoreKeyId;

/// Whether the store is known to have this store key and the schema of this program.
pub(super) struct Opening {
    /// The store key that everything new is sealed under; not set for a server.
    pub(super) under: OnceLock<StoreKeyId>,
    /// `Err`: why it is not open.
    pub(super) state: watch::Sender<Result<(), StoreFault>>,
    /// The task that tries to open it.
    pub(super) trying: OnceLock<AbortHandle>,
    /// Why the state of the database cannot be recorded in a file.
    pub(super) unremembered: OnceLock<Diagnostic>,
}

/// Open.
impl Default for Opening {
    fn default() -> Self {
        Self {
            under: OnceLock::new(),
            state: watch::Sender::new(Ok(())),
            trying: OnceLock::new(),
            unremembered: OnceLock::new(),
        }
    }
}

impl Opening {
    /// Why it is not open.
    pub(super) fn must_be_open(&self) -> Result<(), StoreFault> {
        self.state.borrow().clone()
    }

    /// Ends the attempts.
    pub(super) fn give_up(&self) {
        if let Some(trying) = self.trying.get() {
            trying.abort();
        }
    }
}
