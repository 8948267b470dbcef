//! Why a server could not be started.

use crate::tls::TlsFault;
use std::fmt::{self, Display, Formatter};
use std::io;
use yubiotp::diagnostic::{Code, Diagnostic, cause};

/// Why a server could not be started: the finding.
#[derive(Debug)]
pub struct ServeFault(Box<Diagnostic>);

impl ServeFault {
    /// This finding.
    #[must_use]
    pub fn new(found: Diagnostic) -> Self {
        Self(Box::new(found))
    }

    /// The finding.
    pub const fn diagnostic(&self) -> &Diagnostic {
        &self.0
    }

    /// A socket on which the server cannot listen.
    pub(crate) fn listen(at: &str, why: &io::Error) -> Self {
        let problem = format!("cannot listen on {at}: {}", cause(why));
        Self::new(match why.kind() {
            io::ErrorKind::AddrInUse => Diagnostic::error(Code::AddressInUse, problem)
                .advise("stop the program that listens there, or change listen"),
            _ => Diagnostic::error(Code::CannotListen, problem),
        })
    }

    /// The log cannot be opened, or its thread not started.
    #[must_use]
    pub fn log(why: &io::Error) -> Self {
        let found = Diagnostic::error(Code::LogNotWritten, format!("cannot write the log: {}", cause(why)));
        Self::new(found.advise("if log.to is \"syslog\", start a syslog daemon"))
    }
}

/// In one line, for logs.
impl Display for ServeFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ServeFault {}

impl From<TlsFault> for ServeFault {
    fn from(fault: TlsFault) -> Self {
        Self::new(fault.diagnostic().clone())
    }
}
