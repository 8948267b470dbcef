//! A folder in the store with copies of files as they would be, for programs that read them: libpam in a trial, and
//! `sshd -t`. Removed when dropped.

use super::lines::logical;
use super::sshd;
use crate::Failure;
use crate::doctor::pam::service::{Folders, Overlay, read};
use crate::doctor::pam::words::{Words, lines, lossy};
use crate::system::CHANGES;
use rustix::fs::Mode;
use std::path::{Path, PathBuf};
use ykhost::file::{self, Folder};

const PUBLIC: Mode = Mode::RUSR.union(Mode::WUSR);
/// No file of sshd is that long.
const LONGEST: u64 = 1 << 20;
const NAME: &str = ".try-";

pub(crate) struct Stage {
    folder: Folder,
}

impl Stage {
    /// An empty folder in the store.
    pub(crate) fn new(store: &Path) -> Result<Self, Failure> {
        Folder::open(store)?;
        let changes = store.join(CHANGES);
        file::make_folder(&changes, 0o700)?;
        remove_old(&changes);
        let path = changes.join(format!("{NAME}{}", std::process::id()));
        file::make_folder(&path, 0o700)?;
        Ok(Self { folder: Folder::open(&path)? })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &[u8]) -> Result<(), Failure> {
        self.folder.remove(name)?;
        Ok(self.folder.create(name, text, PUBLIC).map(drop)?)
    }

    /// Copies every service file, as it would be. `pam_rootok` says no in the copies: whoever tries a login as root is to be
    /// asked as users are.
    pub(crate) fn services(&self, folders: &Folders) -> Result<(), Failure> {
        let mut names = folders.names();
        let new = folders.1.keys().filter_map(|path| path.file_name()?.to_str());
        names.extend(new.map(str::to_owned));
        for name in names {
            let Some(path) = folders.find(&name) else { continue };
            let text = match folders.1.get(&path) {
                Some(text) => text.clone(),
                None => read(&path)?,
            };
            self.write(&name, &with_includes_in(self.path(), &as_for_users(&text)))?;
        }
        Ok(())
    }

    /// Copies the configuration of sshd as it would be, and returns its path.
    pub(super) fn sshd_config(&self, config: &Path, overlay: &Overlay) -> Result<PathBuf, Failure> {
        let text_of = |path: &Path| match overlay.get(path) {
            Some(text) => Ok(text.clone()),
            None => file::read_untrusted(path, LONGEST),
        };
        let text = String::from_utf8_lossy(&text_of(config)?).into_owned();
        let mut write = |name: &str, file: &Path| self.write(name, &text_of(file)?);
        let new = sshd::with_copies(&text, overlay, self.path(), &mut write)?;
        self.write("sshd_config", new.as_bytes())?;
        Ok(self.path().join("sshd_config"))
    }
}

/// A service file whose includes name the copies: some versions of libpam look for these in /etc/pam.d, whatever folder the
/// service is in.
fn with_includes_in(folder: &Path, text: &[u8]) -> Vec<u8> {
    let all = logical(text);
    let mut out = Vec::new();
    let mut at = 0_usize;
    let physical: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
    while let Some(own) = physical.get(at) {
        let include = all.iter().find(|line| line.start == at && line.included().is_some());
        match include {
            Some(line) => {
                let name = line.included().unwrap_or_default();
                let words = line.words.iter().take_while(|word| *word != name).cloned().collect::<Vec<_>>();
                out.extend_from_slice(
                    format!("{} {}\n", words.join(" "), folder.join(name).display()).as_bytes(),
                );
                at = line.end;
            }
            None => {
                out.extend_from_slice(own);
                at = at.saturating_add(1);
            }
        }
    }
    out
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.folder.path());
    }
}

/// Removes what a process left that is gone.
fn remove_old(changes: &Path) {
    for entry in changes.read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        if let Some(process) = name.strip_prefix(NAME)
            && !Path::new("/proc").join(process).exists()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The file with `pam_deny` in place of each `pam_rootok`, which is what that says to users.
fn as_for_users(text: &[u8]) -> Vec<u8> {
    let has = |line: &Option<Vec<u8>>| {
        let module = line.as_ref().and_then(|line| Words(line).nth(2)).map(lossy);
        module.is_some_and(|module| module.rsplit('/').next() == Some("pam_rootok.so"))
    };
    if !lines(text).iter().any(|(_, line)| has(line)) {
        return text.to_vec();
    }
    let out = lines(text).into_iter().map(|(_, line)| {
        let is_rootok = has(&line);
        let line = line.unwrap_or_default();
        let text = String::from_utf8_lossy(&line).into_owned();
        if is_rootok {
            format!("{}\n", text.replace("pam_rootok.so", "pam_deny.so"))
        } else {
            format!("{text}\n")
        }
    });
    out.collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_asked_in_a_trial() {
        let text = b"# pam_rootok.so\nauth sufficient pam_rootok.so\n@include common-auth\n";
        assert_eq!(as_for_users(text), b"auth sufficient pam_deny.so\n@include common-auth\n");
        assert_eq!(as_for_users(b"# pam_rootok.so\nx\n"), b"# pam_rootok.so\nx\n");
    }

    #[test]
    fn includes_name_the_copies() {
        let text = b"@include common-auth\n-auth\tsubstack system-auth # z\nauth include /etc/x\nauth required pam_unix.so\n";
        assert_eq!(
            String::from_utf8(with_includes_in(Path::new("/s"), text)).unwrap(),
            "@include /s/common-auth\n-auth substack /s/system-auth\nauth include /etc/x\nauth required pam_unix.so\n"
        );
    }
}
