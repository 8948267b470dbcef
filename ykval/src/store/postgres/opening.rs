//! Whether a store is open. Until it is, nothing is asked of it but whether it can be opened.

use crate::store::StoreFault;
use std::sync::OnceLock;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Whether the store was found to be ours, with this store key and this program's schema.
pub(super) struct Opening {
    /// Else why not.
    pub(super) state: watch::Sender<Result<(), StoreFault>>,
    /// Who tries.
    pub(super) trying: OnceLock<AbortHandle>,
    /// Why what is seen is not remembered beyond the end of this process.
    pub(super) unremembered: OnceLock<String>,
}

/// Open, or about to be opened by whoever has it.
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
