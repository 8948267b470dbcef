//! Random bytes from the system, for new keys and nonces.

use yubiotp::diagnostic::{Code, Diagnostic};

/// The system has no random source.
#[derive(Debug, thiserror::Error)]
#[error("getrandom(2): {0}")]
pub struct NoRandom(getrandom::Error);

impl From<NoRandom> for Diagnostic {
    fn from(fault: NoRandom) -> Self {
        Self::error(Code::InternalError, fault.to_string())
    }
}

/// `N` random bytes.
///
/// # Errors
/// The system has no random source.
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandom)?;
    Ok(bytes)
}
