//! Compares the store with the OTPs that this server accepted (its [`guard`](crate::guard)), and raises a store that
//! lost some.

#[cfg(test)]
pub(crate) mod tests;

use crate::guard::Accepted;
use crate::store::{Store, StoreFault};

/// OTPs compared at each [`look`], in turn, beside the newest.
const IN_TURN: usize = 256;

/// OTPs raised in one transaction.
const CHUNK: usize = 1000;

/// Compares the store with the remembered OTPs: the newest, and some of all in turn.
///
/// # Errors
/// The store could not be read.
pub async fn look(store: &Store) -> Result<(), StoreFault> {
    let guard = store.guard();
    let mut some = guard.newest();
    some.extend(guard.next_in_turn(IN_TURN));
    guard.found(&store.forgotten(some).await?);
    Ok(())
}

/// Raises the store to all remembered OTPs, the newest first, and adds the number of changed tokens to `raised` (not
/// of those that were raised together with a damaged one, which is passed over).
/// Afterwards OTPs are accepted again, unless more lost ones were found meanwhile: then it returns `false`, and has to
/// be called again.
///
/// # Errors
/// It could not be stored, and nothing is accepted before it is.
pub async fn raise(store: &Store, raised: &mut u64) -> Result<bool, StoreFault> {
    let guard = store.guard();
    let finds = guard.finds();
    let mut tell = async |some: Vec<Accepted>| {
        match store.raise_accepted(some).await {
            Ok(some) => *raised = raised.saturating_add(some),
            // The others were raised. Of this token nobody accepts an OTP.
            Err(StoreFault::Damaged { .. }) => {}
            Err(fault) => return Err(fault),
        }
        Ok::<_, StoreFault>(())
    };
    tell(guard.newest()).await?;
    for part in guard.parts() {
        for chunk in part.chunks(CHUNK) {
            tell(chunk.to_vec()).await?;
        }
    }
    guard.found(&store.forgotten(guard.newest()).await?);
    Ok(guard.clear_unless_found(finds))
}
