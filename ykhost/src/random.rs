//! Bytes from the system's random source, for new keys and nonces.

use crate::Fault;
use crate::file::FileFault;
use rustix::io::Errno;
use rustix::rand::GetRandomFlags;
use std::path::Path;

/// `N` random bytes.
///
/// # Errors
/// The system has no random source.
pub fn bytes<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::rand::getrandom(rest, GetRandomFlags::empty()) {
            Ok(count) => filled = filled.saturating_add(count),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(FileFault::system(Path::new("getrandom(2)"), "read", errno).into()),
        }
    }
    Ok(bytes)
}
