//! Files that the administrator names, to be taken in.

use super::Failure;
use std::path::Path;
use ykcli::input;
pub(crate) use ykcli::input::SHOWN;
use zeroize::Zeroizing;

/// The whole text of a file, `-` for standard input. Whoever made it: what it says is checked. `secrets` are what
/// it holds, if it does: then it is remarked on if others may read it.
pub(crate) fn named(path: &Path, secrets: Option<&str>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let named = input::named(path).map_err(|found| Failure::Fault(found.to_string()))?;
    if let Some(secrets) = secrets.filter(|_| named.is_open) {
        input::note_open(path, secrets);
    }
    Ok(named.text)
}

/// Tells what is wrong with a file, and that nothing of it was taken in.
pub(crate) fn refuse(path: &Path, problems: impl ExactSizeIterator<Item = String>) -> Failure {
    let problems = problems.map(|problem| format!("{}: {problem}", path.display()));
    Failure::Fault(input::refuse(path, problems).to_string())
}
