//! For which machine a program or library is.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Class, byte order and machine, as they stand at the start of an ELF file.
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

/// What is wrong with a program or library that is there, and what to change.
pub(super) fn objection(path: &Path, what: &str) -> Option<(String, String)> {
    match Machine::of(path) {
        Err(why) => Some((format!("cannot be read: {why}"), format!("install {what} again"))),
        Ok(None) => Some((format!("is no {what} (no ELF file)"), format!("install {what} again"))),
        Ok(machine) if Machine::own().is_some_and(|own| Some(own) != machine) => Some((
            "is for another kind of machine than ykmap".to_owned(),
            "install the one that is built for this".to_owned(),
        )),
        Ok(_) if on_noexec(path) => Some((
            "is on a file system that is mounted noexec".to_owned(),
            "mount it with exec, or install it elsewhere".to_owned(),
        )),
        Ok(_) => None,
    }
}
