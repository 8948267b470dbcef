//! Folders that were walked to, so that one login walks to each of them once.

use super::{stat, unsafe_folder};
use rustix::fs::{Mode, OFlags, Stat};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Opens files by their paths, and remembers the folders that it has walked to.
///
/// Each folder was checked on its descriptor when it was opened, and every name in it is looked up through that. After
/// [`Folders::close`], a folder is opened by its whole path, and used if it is the very one that was checked, and still
/// safe; else it is walked to again. Use one for one login only: kept longer, it would not see a store that was put
/// in the place of the old one.
#[derive(Debug)]
pub struct Folders {
    me: u32,
    walked: Option<Mutex<Vec<Walked>>>,
}

#[derive(Debug)]
struct Walked {
    path: PathBuf,
    /// Device and number.
    identity: (u64, u64),
    /// None if it was closed.
    fd: Option<Arc<OwnedFd>>,
}

impl Folders {
    /// Walks from `/` each time.
    #[must_use]
    pub(crate) fn forgotten() -> Self {
        Self { me: rustix::process::geteuid().as_raw(), walked: None }
    }

    /// Remembers each folder until it is dropped.
    #[must_use]
    pub fn of_one_login() -> Self {
        Self { walked: Some(Mutex::default()), ..Self::forgotten() }
    }

    /// Closes every folder: before a question to the application, which may close what it does not know, and after
    /// anything that takes its time.
    pub fn close(&self) {
        self.with(|walked| walked.iter_mut().for_each(|walked| walked.fd = None));
    }

    pub(super) const fn me(&self) -> u32 {
        self.me
    }

    pub(super) const fn remembers(&self) -> bool {
        self.walked.is_some()
    }

    /// The last folder on the way to `path` that is remembered, and where that is.
    pub(super) fn nearest(&self, path: &Path) -> Option<(Arc<OwnedFd>, PathBuf)> {
        self.with(|walked| {
            let nearest = walked.iter_mut().filter(|it| path.starts_with(&it.path));
            let nearest = nearest.max_by_key(|it| it.path.as_os_str().len())?;
            if nearest.fd.is_none() {
                nearest.fd = Some(Arc::new(self.open_again(nearest)?));
            }
            Some((Arc::clone(nearest.fd.as_ref()?), nearest.path.clone()))
        })?
    }

    /// `None` if it is another one now, or unsafe: walking there then reports why.
    fn open_again(&self, walked: &Walked) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&walked.path, flags, Mode::empty()).ok()?;
        let stat = stat(&fd, &walked.path).ok()?;
        let is_it = walked.identity == (stat.st_dev, stat.st_ino);
        (is_it && unsafe_folder(&stat, &walked.path, self.me).next().is_none()).then_some(fd)
    }

    pub(super) fn remember(&self, path: &Path, fd: &Arc<OwnedFd>, stat: &Stat) {
        self.with(|walked| {
            walked.retain(|it| it.path != path);
            let (path, fd) = (path.to_owned(), Some(Arc::clone(fd)));
            walked.push(Walked { path, identity: (stat.st_dev, stat.st_ino), fd });
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Walked>) -> T) -> Option<T> {
        let walked = self.walked.as_ref()?;
        Some(act(&mut walked.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
