//! For which machine a program or library is.

use super::report::at;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use yubiotp::diagnostic::{Code, Diagnostic};

/// Class, byte order and machine, at the start of an ELF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine([u8; 4]);

impl Machine {
    /// That of this command.
    pub(super) fn own() -> Option<Self> {
        Self::of(Path::new("/proc/self/exe")).ok().flatten()
    }

    /// That of a file; `None` if it is no ELF file.
    pub(super) fn of(path: &Path) -> std::io::Result<Option<Self>> {
        let mut head = [0; 20];
        #[expect(
            clippy::disallowed_methods,
            reason = "the callers have had owner, mode and folders looked at"
        )]
        let read = File::open(path)?.read_exact(&mut head);
        Ok(match (read, head) {
            (Ok(()), [0x7f, b'E', b'L', b'F', class, order, .., low, high]) => {
                Some(Self([class, order, low, high]))
            }
            _ => None,
        })
    }
}

/// Whether programs may not be run, and libraries not be loaded, where this file is.
pub(super) fn on_noexec(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|is| is.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC))
}

/// The fault of a program or library that exists. `what` is what it should be: `the module`.
pub(super) fn objection(path: &Path, what: &str) -> Option<Diagnostic> {
    let again = || format!("install {what} again");
    let (problem, change) = match Machine::of(path) {
        Err(why) => (format!("cannot be read: {why}"), again()),
        Ok(None) => (format!("is not {what}: it is no ELF file"), again()),
        Ok(machine) if Machine::own().is_some_and(|own| Some(own) != machine) => (
            "is for another kind of machine than ykmap".to_owned(),
            format!("install {what} that is built for this one"),
        ),
        Ok(_) if on_noexec(path) => (
            "is on a file system that is mounted noexec".to_owned(),
            "mount it with exec, or install it elsewhere".to_owned(),
        ),
        Ok(_) => return None,
    };
    Some(Diagnostic::error(Code::BinaryUnusable, problem).at(at(path)).advise(change))
}
