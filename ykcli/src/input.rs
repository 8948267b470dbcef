//! Files that the administrator names, to be taken in.

use crate::out;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use yubiotp::diagnostic::{Code, Diagnostic, Location, cause};
use zeroize::Zeroizing;

/// Problems shown before it is said how many more there are.
pub const SHOWN: usize = 20;

/// The contents of a file that an argument names.
pub struct Named {
    /// The whole text. Wiped on drop, and no copy of it stays behind.
    pub text: Zeroizing<Vec<u8>>,
    /// Whether it is a regular file that group or others may read or write.
    pub is_open: bool,
}

/// Reads the whole of a file; `-` is standard input. The file is not trusted: check its contents.
///
/// # Errors
/// It cannot be read. The finding names the file.
pub fn named(path: &Path) -> Result<Named, Diagnostic> {
    let fault = |why: std::io::Error| {
        let found = match why.kind() {
            std::io::ErrorKind::NotFound => Diagnostic::error(Code::FileMissing, "does not exist"),
            _ => Diagnostic::error(Code::FileInaccessible, format!("cannot read: {}", cause(&why))),
        };
        found.at(Location::file(path.as_os_str().as_bytes()))
    };
    let mut text = Zeroizing::new(Vec::new());
    let mut is_open = false;
    if path == Path::new("-") {
        read_all(&mut std::io::stdin().lock(), &mut text).map_err(fault)?;
    } else {
        #[expect(
            clippy::disallowed_methods,
            reason = "the administrator names it, and what it says is checked; no login reads it"
        )]
        let mut file = std::fs::File::open(path).map_err(fault)?;
        let metadata = file.metadata().map_err(fault)?;
        text.reserve_exact(usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1));
        read_all(&mut file, &mut text).map_err(fault)?;
        is_open = metadata.is_file() && metadata.mode() & 0o077 != 0;
    }
    Ok(Named { text, is_open })
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

/// Notes that others may read a file with `secrets`, such as `AES keys`.
pub fn note_open(path: &Path, secrets: &str) {
    out::note(&format!("{}: holds {secrets}, and others may read it: remove it soon", path.display()));
}

/// Notes what is wrong with a file, the first [`SHOWN`] of it, each with its place, and gives the finding that ends the
/// command: that nothing of it was taken in.
pub fn refuse(path: &Path, problems: impl ExactSizeIterator<Item = String>) -> Diagnostic {
    let count = problems.len();
    for problem in problems.take(SHOWN) {
        out::note(&problem);
    }
    if let Some(more) = count.checked_sub(SHOWN).filter(|more| *more > 0) {
        out::note(&format!("{}: {more} more like these", path.display()));
    }
    Diagnostic::error(Code::NothingImported, "nothing was imported")
        .at(Location::file(path.as_os_str().as_bytes()))
        .advise("fix the lines above, and import the file again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_read_whole_and_known_as_open_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let text = vec![b'x'; 200_000];
        fs::write(&path, &text).unwrap();
        for (mode, is_open) in [(0o600, false), (0o640, true), (0o604, true)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let named = named(&path).unwrap();
            assert_eq!((named.text.as_slice(), named.is_open), (text.as_slice(), is_open), "{mode:o}");
        }
    }

    /// A pipe, as of `<(gpg -d keys.gpg)`, has permissions that keep nobody in or out.
    #[test]
    fn what_is_no_regular_file_is_not_open_to_others() {
        let named = named(Path::new("/dev/null")).unwrap();
        assert!(named.text.is_empty() && !named.is_open);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let found = named(Path::new("/nowhere/keys")).err().unwrap();
        assert_eq!((found.code, found.location), (Code::FileMissing, Some(Location::file(b"/nowhere/keys"))));
        let found = named(Path::new("/")).err().unwrap();
        assert_eq!(found.code, Code::FileInaccessible);
        assert!(!found.problem.contains("os error"), "{}", found.problem);
    }

    #[test]
    fn a_buffer_grows_without_losing_anything() {
        let long: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let mut text = Zeroizing::new(Vec::new());
        read_all(&mut long.as_slice(), &mut text).unwrap();
        assert!(*text == long);
    }
}
