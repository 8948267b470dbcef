//! Accounts, and files in the home of each. In a home, anything may be a link to anywhere: so the file is read with the
//! rights of its user, is no link, and belongs to the user.

use crate::doctor::rights;
use crate::{Failure, out};
use rustix::fs::{FileType, Mode, OFlags, fstat, open, openat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use ykhost::file::read_untrusted;
use yubiotp::diagnostic::{Code, Diagnostic, Location, cause};
use yubiotp::shown;
use zeroize::Zeroizing;

/// The most that is read of passwd, in bytes.
const LIMIT: u64 = 64 << 20;

/// How long one home may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An account of this host.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
}

impl Account {
    fn read(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
        let home = PathBuf::from(home);
        let (name, uid, gid) = ((*name).to_owned(), uid.parse().ok()?, gid.parse().ok()?);
        home.is_absolute().then_some(Self { name, uid, gid, home })
    }

    /// Where a file of the home is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) const fn uid(&self) -> u32 {
        self.uid
    }
}

/// The accounts of these names, or all.
pub(crate) fn accounts(folder: &Path, names: &[String]) -> Result<Vec<Account>, Failure> {
    let path = folder.join("passwd");
    let text = read_untrusted(&path, LIMIT).map_err(ykhost::Fault::from)?;
    let text = String::from_utf8_lossy(&text);
    let mut all = Vec::new();
    let mut by_name = BTreeMap::new();
    for account in text.lines().filter_map(Account::read) {
        // Of two lines of one name, the first counts.
        if !by_name.contains_key(&account.name) {
            by_name.insert(account.name.clone(), all.len());
            all.push(account);
        }
    }
    if names.is_empty() {
        return Ok(all);
    }
    let mut named = Vec::<Account>::new();
    for name in names {
        let account = match by_name.get(name).and_then(|at| all.get(*at)).cloned() {
            None if folder == Path::new("/etc") => of_name_services(name),
            account => account,
        };
        let Some(account) = account else {
            let found = Diagnostic::error(Code::UserUnknown, "this host knows no account of that name");
            return Err(found.at(Location::user(name.as_bytes())).advise("check the spelling").into());
        };
        if !named.iter().any(|known| known.name == account.name) {
            named.push(account);
        }
    }
    Ok(named)
}

/// An account that a directory has.
fn of_name_services(name: &str) -> Option<Account> {
    let mut getent = Command::new("getent");
    getent.args(["passwd", "--", name]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = getent.output().ok().filter(|output| output.status.success())?;
    Account::read(String::from_utf8_lossy(&output.stdout).lines().next()?)
        .filter(|account| account.name == name)
}

/// The contents of a user's file.
pub(crate) struct Found {
    pub(crate) text: Zeroizing<Vec<u8>>,
    /// Whether group or others may read or write it.
    pub(crate) is_open: bool,
}

/// Why a file is not read.
enum Unusable {
    Missing,
    Link,
    Kind,
    Owner(u32),
    TooLarge,
    System(Errno),
    Read(std::io::Error),
}

impl From<Errno> for Unusable {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Missing,
            Errno::LOOP => Self::Link,
            errno => Self::System(errno),
        }
    }
}

/// Reads a file in the home of an account: `name` is its path there, with no `..` in it. No folder on the way is a link, and
/// each belongs to the user. `None` if there is none.
pub(crate) fn file_of(account: &Account, name: &str, most: usize) -> Result<Option<Found>, Diagnostic> {
    fetch(account, account.home(), Path::new(name), Some(account.uid), most)
}

/// Reads a file outside of homes, with the rights of `reader`, to whom it belongs unless it may have any owner. It is no
/// link. `None` if there is none.
pub(crate) fn file_at(
    reader: &Account,
    path: &Path,
    any_owner: bool,
    most: usize,
) -> Result<Option<Found>, Diagnostic> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    fetch(reader, folder, Path::new(name), (!any_owner).then_some(reader.uid), most)
}

fn fetch(
    account: &Account,
    folder: &Path,
    name: &Path,
    owner: Option<u32>,
    most: usize,
) -> Result<Option<Found>, Diagnostic> {
    let (me, uid, gid) = (rustix::process::geteuid(), account.uid, account.gid);
    let (from, inside) = (folder.to_owned(), name.to_owned());
    let found = rights::in_thread(PATIENCE, move || {
        if me.is_root() && uid != 0 {
            rights::take(uid, gid)?;
        }
        Ok(read(&from, &inside, owner, most))
    });
    let about = |code, problem: String| {
        Diagnostic::error(code, problem).at(Location::file(folder.join(name).as_os_str().as_bytes()))
    };
    match found.map_err(|why| about(Code::FileInaccessible, why))? {
        Ok(found) => Ok(Some(found)),
        Err(Unusable::Missing) => Ok(None),
        Err(Unusable::Link) => Err(about(
            Code::FileIsLink,
            "is a symbolic link, and its user could name any file by it".to_owned(),
        )
        .advise("replace the link by the file")),
        Err(Unusable::Kind) => Err(about(Code::FileOfWrongKind, "is no regular file".to_owned())),
        Err(Unusable::Owner(owner)) => Err(about(
            Code::FileOfOtherOwner,
            format!("belongs to uid {owner}, not to {} (uid {uid})", shown::text(&account.name)),
        )
        .advise("give the file to its user, or name the users to import")),
        Err(Unusable::TooLarge) => {
            Err(about(Code::FileTooLarge, format!("is larger than {}", out::count(most, "byte"))))
        }
        Err(Unusable::System(errno)) => Err(about(
            Code::FileInaccessible,
            format!("cannot open: {}", cause(&std::io::Error::from(errno))),
        )),
        Err(Unusable::Read(why)) => {
            Err(about(Code::FileInaccessible, format!("cannot read: {}", cause(&why))))
        }
    }
}

fn read(home: &Path, name: &Path, owner: Option<u32>, most: usize) -> Result<Found, Unusable> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let mut found = open(home, flags | OFlags::DIRECTORY, Mode::empty())?;
    let mut stat = fstat(&found)?;
    for part in name {
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(Unusable::Missing);
        }
        // Without O_PATH, to open a device may already do something.
        found = openat(&found, part, flags | OFlags::NOFOLLOW, Mode::empty())?;
        stat = fstat(&found)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return Err(Unusable::Link);
        }
        if owner.is_some_and(|owner| stat.st_uid != owner) {
            return Err(Unusable::Owner(stat.st_uid));
        }
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Unusable::Kind);
    }
    // This very file, whatever has its name by now.
    let again = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(again, flags, Mode::empty())?);
    // One byte more than there may be, and no growing, which would leave copies behind.
    let taken = most.saturating_add(1);
    let mut text = Zeroizing::new(Vec::with_capacity(taken.saturating_mul(2)));
    file.take(u64::try_from(taken).unwrap_or(u64::MAX)).read_to_end(&mut text).map_err(Unusable::Read)?;
    if text.len() > most {
        return Err(Unusable::TooLarge);
    }
    Ok(Found { text, is_open: stat.st_mode & 0o077 != 0 })
}
