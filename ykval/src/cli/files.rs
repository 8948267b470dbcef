//! Files that the administrator names, to be imported.

use super::{Context, Failure};
use std::path::Path;
use ykcli::input;
pub(crate) use ykcli::input::SHOWN;
use yubiotp::diagnostic::Diagnostic;
use zeroize::Zeroizing;

/// The whole text of a file, `-` for standard input. Anybody may own it, so check its content. If it holds `secrets`, such
/// as `AES keys`, and others may read it, a note says so.
pub(crate) fn named(path: &Path, secrets: Option<&str>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let named = input::named(path)?;
    if let Some(secrets) = secrets.filter(|_| named.is_open) {
        input::note_open(path, secrets);
    }
    Ok(named.text)
}

/// Notes what is wrong with a file; the failure says that nothing was imported.
pub(crate) fn refuse(
    context: &Context,
    path: &Path,
    problems: impl ExactSizeIterator<Item = Diagnostic>,
) -> Failure {
    input::refuse(path, problems.map(|found| context.line(&found))).into()
}
