//! Files that the administrator names, to be taken in.

use super::{Failure, out};
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// The whole text of a file, `-` for standard input. Whoever made it: what it says is checked. `secrets` are what
/// it holds, if it does: then it is remarked on if others may read it.
pub(crate) fn named(path: &Path, secrets: Option<&str>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let fault = |why: std::io::Error| Failure::Fault(format!("{}: {why}", path.display()));
    let mut text = Zeroizing::new(Vec::new());
    if path == Path::new("-") {
        read_all(&mut std::io::stdin().lock(), &mut text).map_err(fault)?;
    } else {
        #[expect(
            clippy::disallowed_methods,
            reason = "the administrator names it, and what it says is checked"
        )]
        let mut file = std::fs::File::open(path).map_err(fault)?;
        let metadata = file.metadata().map_err(fault)?;
        text.reserve_exact(usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1));
        read_all(&mut file, &mut text).map_err(fault)?;
        let is_open = metadata.is_file() && std::os::unix::fs::MetadataExt::mode(&metadata) & 0o077 != 0;
        if let Some(secrets) = secrets.filter(|_| is_open) {
            out::note(&format!(
                "{}: holds {secrets}, and others may read it: remove it soon",
                path.display()
            ));
        }
    }
    Ok(text)
}

/// Reads to the end, and leaves no copy behind where the buffer has to grow.
fn read_all(from: &mut impl Read, text: &mut Zeroizing<Vec<u8>>) -> std::io::Result<()> {
    let mut part = Zeroizing::new([0; 64 * 1024]);
    loop {
        let read = match from.read(part.as_mut_slice()) {
            Ok(0) => return Ok(()),
            Ok(read) => part.get(..read).unwrap_or_default(),
            Err(why) if why.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(why) => return Err(why),
        };
        if text.capacity().saturating_sub(text.len()) < read.len() {
            let mut larger = Zeroizing::new(Vec::with_capacity(text.len().saturating_mul(2).max(1 << 20)));
            larger.extend_from_slice(text);
            *text = larger;
        }
        text.extend_from_slice(read);
    }
}

/// Problems shown before it is said how many more there are.
pub(crate) const SHOWN: usize = 20;

/// Tells what is wrong with a file, and that nothing of it was taken in.
pub(crate) fn refuse(path: &Path, problems: impl ExactSizeIterator<Item = String>) -> Failure {
    let name = path.display();
    let count = problems.len();
    for problem in problems.take(SHOWN) {
        out::note(&format!("{name}: {problem}"));
    }
    if let Some(more) = count.checked_sub(SHOWN).filter(|more| *more > 0) {
        out::note(&format!("{name}: {more} more like these"));
    }
    Failure::Fault(format!("{name}: nothing was imported"))
}
