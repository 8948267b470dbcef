//! Following a path on open descriptors, every folder and link on the way checked.

use super::folders::Folders;
use super::{
    Audience, FileFault, Folder, checked, kind, open_at, owned, read_all, root, stat, unsafe_folder,
};
use rustix::fs::{FileType, OFlags, Stat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
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
    /// The faults so far, if the caller wants all of them; `None` if the first one ends the walk.
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

    /// The folder that was reached. A folder that may be remembered is opened for reading only when it is read.
    pub(super) fn arrive(self) -> Result<Folder, FileFault> {
        let fd = if self.folders.remembers() {
            self.fd
        } else {
            Arc::new(open_at(&self.fd, OsStr::new("."), OFlags::RDONLY | OFlags::DIRECTORY, &self.current)?)
        };
        Ok(Folder::opened(fd, self.current, self.folders.me()))
    }

    /// Ends the walk with the fault, or notes it and goes on.
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

/// Opening by path: the walk uses the folders that are remembered.
impl Folders {
    /// The folder at `path`; see [`Folder::open`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn folder(&self, path: &Path) -> Result<Folder, FileFault> {
        let mut walk = PathWalk::begin(self, path)?;
        while let Some(name) = walk.next_name() {
            let entry = open_at(&walk.fd, &name, OFlags::PATH, &walk.current.join(&name))?;
            walk.step(name, entry)?;
        }
        walk.arrive()
    }

    /// The regular file at `path`; see [`open`](super::open).
    ///
    /// # Errors
    /// As there.
    pub(crate) fn file(&self, path: &Path, audience: Audience) -> Result<File, FileFault> {
        self.file_and_stat(path, audience).map(|(file, _)| file)
    }

    /// The same, with what was found on its descriptor.
    pub(crate) fn file_and_stat(&self, path: &Path, audience: Audience) -> Result<(File, Stat), FileFault> {
        let mut walk = PathWalk::begin(self, path)?;
        while let Some(name) = walk.next_name() {
            if walk.remaining.is_empty() {
                let here = walk.current.join(&name);
                match open_at(&walk.fd, &name, OFlags::RDONLY, &here) {
                    Ok(fd) => return checked(fd, &here, audience, self.me()),
                    Err(FileFault::Link(_)) => {}
                    Err(fault) => return Err(fault),
                }
            }
            let entry = open_at(&walk.fd, &name, OFlags::PATH, &walk.current.join(&name))?;
            walk.step(name, entry)?;
        }
        Err(FileFault::Kind { path: path.to_owned(), found: "a folder", wanted: "a file" })
    }

    /// The whole of the file at `path`; see [`read`](super::read).
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, path: &Path, limit: u64, audience: Audience) -> Result<Vec<u8>, FileFault> {
        let (file, stat) = self.file_and_stat(path, audience)?;
        read_all(file, &stat, path, limit)
    }
}
