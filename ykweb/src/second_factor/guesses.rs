//! How many codes may still be tried for the user of one login.

use crate::store::{Store, StoreFault};
use crate::user::UserName;
use std::cell::Cell;
use yubiotp::diagnostic::Diagnostic;
use yubiotp::guesses::Bucket;
use yubiotp::verdict::{Charge, Guesses};

/// Gives a user all tries back, and says how many were left at `unix`, in seconds since 1970. What was used stays used: positions
/// do not change.
///
/// # Errors
/// The store cannot be written.
pub fn give_back_guesses(store: &Store, user: &UserName, unix: u64) -> Result<u64, StoreFault> {
    store.change_bucket(user, |bucket| (Some(Bucket::FULL).filter(|full| *full != bucket), bucket.left(unix)))
}

/// The bucket of one user during one login.
pub(super) struct UserGuesses<'s> {
    store: &'s Store,
    user: &'s UserName,
    unix: u64,
    /// How many tries this login took.
    taken: Cell<u8>,
}

impl<'s> UserGuesses<'s> {
    /// At `unix`, in seconds since 1970.
    pub(super) const fn new(store: &'s Store, user: &'s UserName, unix: u64) -> Self {
        Self { store, user, unix, taken: Cell::new(0) }
    }

    fn give_back(&self, times: u8) {
        if times > 0 {
            // The user is in, also if it stays taken: time gives it back.
            let _ = self.store.change_bucket(self.user, |bucket| (Some(bucket.refund(times)), ()));
        }
    }
}

impl Guesses for UserGuesses<'_> {
    type Fault = Diagnostic;

    fn charge(&self) -> Result<Charge, Diagnostic> {
        let charge = self.store.change_bucket(self.user, |bucket| bucket.take(self.unix))?;
        if charge == Charge::Taken {
            self.taken.set(self.taken.get().saturating_add(1));
        }
        Ok(charge)
    }

    fn refund(&self) {
        self.give_back(self.taken.replace(0));
    }

    fn refund_one(&self) {
        let taken = self.taken.get();
        self.taken.set(taken.saturating_sub(1));
        self.give_back(taken.min(1));
    }
}
