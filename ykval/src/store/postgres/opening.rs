//! Whether a store is open. Until it is, nothing is asked of it but whether it can be opened.

use crate::store::StoreFault;
use std::sync::OnceLock;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use yubiotp::diagnostic::Diagnostic;

/// Whether the store was found to be ours, with this store key and this program's schema.
pub(super) struct Opening {
    /// `Err`: why it is not open.
    pub(super) state: watch::Sender<Result<(), StoreFault>>,
    /// The task that tries to open it.
    pub(super) trying: OnceLock<AbortHandle>,
    /// Why what is seen is not remembered beyond the end of this process.
    pub(super) unremembered: OnceLock<Diagnostic>,
}

/// Open, or about to be opened by its owner.
impl Default for Opening {
    fn default() -> Self {
        Self { state: watch::Sender::new(Ok(())), trying: OnceLock::new(), unremembered: OnceLock::new() }
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
