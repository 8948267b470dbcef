//! Following a path on open descriptors, every folder and link on the way checked.

use super::folders::Folders;
use super::{FileFault, Folder, kind, open_at, owned, root, stat};
use rustix::fs::{FileType, OFlags, Stat};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Links followed on one path before it is called a loop, as the kernel does.
const MOST_LINKS: usize = 40;

/// A path being followed, one name at a time.
pub(super) struct PathWalk<'f> {
    /// Where folders are remembered.
    pub(super) folders: &'f Folders,
    /// The folder reached so far, and where that is.
    pub(super) fd: Arc<OwnedFd>,
    pub(super) current: PathBuf,
    /// Names still to go, the last first.
    pub(super) remaining: Vec<OsString>,
    links: usize,
    /// What was passed over, by whoever wants to know all that is wrong; for everybody else the first is the end.
    pub(super) passed_over: Option<Vec<FileFault>>,
}

impl<'f> PathWalk<'f> {
    pub(super) fn begin(folders: &'f Folders, path: &Path) -> Result<Self, FileFault> {
        if !path.is_absolute() {
            return Err(FileFault::NotAbsolute(path.to_owned()));
        }
        let (fd, here) = match folders.nearest(path) {
            Some(nearest) => nearest,
            None => (Arc::new(root()?), PathBuf::from("/")),
        };
        let remaining = path.strip_prefix(&here).unwrap_or(path).to_owned();
        let mut walk =
            Self { folders, fd, current: here, remaining: Vec::new(), links: 0, passed_over: None };
        walk.push(&remaining);
        Ok(walk)
    }

    fn push(&mut self, path: &Path) {
        self.remaining.extend(path.components().rev().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        }));
    }

    /// The folder that was reached. One that may be remembered is opened for reading when somebody does that.
    pub(super) fn arrive(self) -> Result<Folder, FileFault> {
        let fd = if self.folders.remembers() {
            self.fd
        } else {
            Arc::new(open_at(&self.fd, OsStr::new("."), OFlags::RDONLY | OFlags::DIRECTORY, &self.current)?)
        };
        Ok(Folder::opened(fd, self.current, self.folders.me()))
    }

    /// Ends the walk, or goes on and remembers why it should not.
    pub(super) fn reject(&mut self, fault: FileFault) -> Result<(), FileFault> {
        match &mut self.passed_over {
            Some(faults) => {
                faults.push(fault);
                Ok(())
            }
            None => Err(fault),
        }
    }

    pub(super) fn next_name(&mut self) -> Option<OsString> {
        self.remaining.pop()
    }

    /// Goes into `entry`, a folder, or follows it, a link.
    pub(super) fn step(&mut self, name: OsString, entry: OwnedFd) -> Result<(), FileFault> {
        let path = self.current.join(&name);
        let stat = stat(&entry, &path)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                for fault in unsafe_folder(&stat, &path, self.folders.me()) {
                    self.reject(fault)?;
                }
                let up = name == "..";
                self.current =
                    if up { self.current.parent().map(Path::to_owned).unwrap_or(path) } else { path };
                self.fd = Arc::new(entry);
                if !up {
                    self.folders.remember(&self.current, &self.fd, &stat);
                }
                Ok(())
            }
            FileType::Symlink => {
                self.links = self.links.saturating_add(1);
                if self.links > MOST_LINKS || owned(&stat, &path, self.folders.me()).is_err() {
                    return Err(FileFault::Link(path));
                }
                let target = rustix::fs::readlinkat(&entry, "", Vec::new())
                    .map_err(|errno| FileFault::system(&path, "read the link", errno))?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    (self.fd, self.current) = (Arc::new(root()?), PathBuf::from("/"));
                }
                self.push(&target);
                Ok(())
            }
            other => Err(FileFault::Kind { path, found: kind(other), wanted: "a folder" }),
        }
    }
}

/// What the owner and mode of a folder have against it: somebody else could change what is in it.
pub(super) fn unsafe_folder(stat: &Stat, path: &Path, me: u32) -> impl Iterator<Item = FileFault> {
    let mode = stat.st_mode & 0o7777;
    // In a sticky folder such as /tmp others may add names but not change ours.
    let writable = mode & 0o022 != 0 && mode & 0o1000 == 0;
    let writable = writable.then(|| FileFault::Writable { path: path.to_owned(), folder: true, mode });
    owned(stat, path, me).err().into_iter().chain(writable)
}
