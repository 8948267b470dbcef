//! Why the store did not do what was asked.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use yubiotp::diagnostic::{Code, Diagnostic};

/// Why the store did not do what was asked: it failed, and nothing was decided. No part of it holds a secret.
#[derive(Debug, Clone)]
pub struct StoreFault(Box<Diagnostic>);

impl StoreFault {
    pub(super) fn new(found: Diagnostic) -> Self {
        Self(Box::new(found))
    }

    /// The kind of fault: [`Code::DatabaseMissing`] if there is no store.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The finding: where, what is wrong, and what to do.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::clone(&self.0)
    }
}

impl From<StoreFault> for Diagnostic {
    fn from(fault: StoreFault) -> Self {
        *fault.0
    }
}

/// In one line, for logs.
impl Display for StoreFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for StoreFault {}
