//! Files and folders as strangers and mistakes leave them.

use super::*;
use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;
use yubiotp::diagnostic::Code;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    folder
}

fn write(path: &Path, mode: u32) {
    fs::write(path, "hello").unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn try_read(path: &Path, audience: Audience) -> Result<Vec<u8>, Code> {
    read(path, 100, audience).map_err(|fault| fault.diagnostic().code)
}

#[test]
fn modes() {
    let folder = folder();
    let path = folder.path().join("file");
    for (mode, everyone, owner) in [
        (0o600, true, true),
        (0o400, true, true),
        (0o644, true, false),
        (0o640, true, false),
        (0o620, false, false),
        (0o602, false, false),
        (0o666, false, false),
    ] {
        write(&path, mode);
        assert_eq!(try_read(&path, Audience::Everyone).is_ok(), everyone, "{mode:o}");
        assert_eq!(try_read(&path, Audience::Owner).is_ok(), owner, "{mode:o}");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn every_folder_on_the_way_counts() {
    let folder = folder();
    let deep = folder.path().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    let path = deep.join("file");
    write(&path, 0o600);
    for (mode, fine) in [(0o755, true), (0o775, false), (0o757, false), (0o1777, true)] {
        fs::set_permissions(folder.path().join("a"), Permissions::from_mode(mode)).unwrap();
        assert_eq!(try_read(&path, Audience::Owner).is_ok(), fine, "{mode:o}");
        assert_eq!(Folder::open(&deep).is_ok(), fine, "{mode:o}");
    }
}

#[test]
fn what_is_no_file_is_named_and_never_waited_for() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("folder")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    write(&path("file"), 0o600);
    for (name, expected) in [
        ("folder", Some(("a folder", "a file"))),
        ("fifo", Some(("a FIFO", "a file"))),
        ("socket", Some(("a socket or device", "a file"))),
        ("missing", None),
        ("file/x", Some(("a file", "a folder"))),
    ] {
        let fault = read(&path(name), 100, Audience::Everyone).unwrap_err();
        let code = if expected.is_some() { Code::FileOfWrongKind } else { Code::FileMissing };
        assert_eq!(fault.diagnostic().code, code, "{name}");
        let kinds = match fault {
            FileFault::Kind { found, wanted, .. } => Some((found, wanted)),
            _ => None,
        };
        assert_eq!(kinds, expected, "{name}");
    }
    assert!(matches!(open(Path::new("relative"), Audience::Everyone), Err(FileFault::NotAbsolute(_))));
    assert!(matches!(read(&path("file"), 4, Audience::Everyone), Err(FileFault::TooLarge { .. })));
    assert_eq!(read(&path("file"), 5, Audience::Everyone).unwrap(), b"hello");
}

#[test]
fn our_own_links_are_followed_and_checked_at_their_end() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("real")).unwrap();
    write(&path("real/file"), 0o600);
    symlink("real", path("relative")).unwrap();
    symlink(path("real/file"), path("absolute")).unwrap();
    symlink("../absolute", path("real/up")).unwrap();
    symlink("loop", path("loop")).unwrap();
    for name in ["relative/file", "absolute", "real/up", "relative/../relative/up"] {
        assert_eq!(try_read(&path(name), Audience::Owner), Ok(b"hello".to_vec()), "{name}");
    }
    assert!(matches!(open(&path("loop"), Audience::Everyone), Err(FileFault::Link(_))));
    assert!(Folder::open(&path("relative")).is_ok());
    let real = Folder::open(&path("real")).unwrap();
    assert!(matches!(real.file("up", OFlags::RDONLY, Audience::Owner), Err(FileFault::Link(_))));
    fs::set_permissions(path("real"), Permissions::from_mode(0o777)).unwrap();
    assert!(try_read(&path("absolute"), Audience::Owner).is_err(), "the way behind the link counts too");
}

#[test]
fn a_strangers_file_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a file away");
        return;
    }
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    write(&path("file"), 0o600);
    symlink("file", path("link")).unwrap();
    std::os::unix::fs::lchown(path("link"), Some(12345), None).unwrap();
    assert!(matches!(open(&path("link"), Audience::Owner), Err(FileFault::Link(_))));
    std::os::unix::fs::chown(path("file"), Some(12345), None).unwrap();
    assert!(matches!(open(&path("file"), Audience::Owner), Err(FileFault::Owner { owner: 12345, .. })));
}

#[test]
fn replaced_whole_with_mode_kept() {
    let folder = folder();
    write(&folder.path().join("file"), 0o640);
    let opened = Folder::open(folder.path()).unwrap();
    opened.replace("file", b"new", Mode::from_raw_mode(0o600)).unwrap();
    opened.replace("other", b"new", Mode::from_raw_mode(0o600)).unwrap();
    for (name, mode) in [("file", 0o640), ("other", 0o600)] {
        let path = folder.path().join(name);
        assert_eq!(try_read(&path, Audience::Everyone), Ok(b"new".to_vec()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
    }
    assert_eq!(opened.all_names().unwrap().len(), 2, "no leftover");
}

/// One login's folders: one that somebody put in the place of another, or opened to others, is seen after they were
/// closed; until then, whatever happens to a name, what was checked is used.
#[test]
fn a_login_looks_again_at_folders_that_it_has_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for (folder, contents) in [("here", "old"), ("new", "new")] {
        fs::create_dir(path(folder)).unwrap();
        fs::write(path(folder).join("file"), contents).unwrap();
    }
    symlink(path("here"), path("link")).unwrap();
    let folders = Folders::of_one_login();
    let read =
        |name: &str| folders.read(&path(name), 100, Audience::Everyone).map_err(|why| why.diagnostic().code);
    assert_eq!(read("here/file").unwrap(), b"old");
    assert_eq!(read("link/../here/./file").unwrap(), b"old");
    assert_eq!(folders.folder(&path("here")).unwrap().names().unwrap(), ["file"]);
    folders.close();
    assert_eq!(read("here/file").unwrap(), b"old");

    fs::rename(path("here"), path("old")).unwrap();
    fs::rename(path("new"), path("here")).unwrap();
    assert_eq!(read("here/file").unwrap(), b"old");
    folders.close();
    assert_eq!(read("here/file").unwrap(), b"new");
    assert_eq!(read("link/file").unwrap(), b"new");

    fs::set_permissions(path("here"), Permissions::from_mode(0o777)).unwrap();
    folders.close();
    assert_eq!(read("here/file"), Err(Code::FileWritableByOthers));
    fs::set_permissions(path("here"), Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir_all(path("here")).unwrap();
    folders.close();
    assert_eq!(read("here/file"), Err(Code::FileMissing));
    symlink(path("old"), path("here")).unwrap();
    assert_eq!(read("here/file").unwrap(), b"old", "a link in the place of a folder is followed");
}

/// A file that is not as long as it said when it was opened is read to its end all the same.
#[test]
fn a_file_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for length in [0, 1, 4095, 4096, 4097, 20_000] {
        fs::write(&path, vec![b'x'; length]).unwrap();
        assert_eq!(read(&path, 20_000, Audience::Everyone).unwrap().len(), length);
        for said in [0, 1, 4096, 30_000] {
            let (file, mut stat) = Folders::forgotten().file_and_stat(&path, Audience::Everyone).unwrap();
            stat.st_size = said;
            assert_eq!(read_all(file, &stat, &path, 20_000).unwrap().len(), length, "{said}");
        }
    }
    assert!(matches!(read(&path, 19_999, Audience::Everyone), Err(FileFault::TooLarge { .. })));
}

/// To open a device for writing may already do something. A FIFO tells whether it was opened.
#[test]
fn what_is_no_file_is_not_opened_for_writing() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    write(&path("file"), 0o600);
    symlink(path("file"), path("link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let reader = rustix::fs::open(path("fifo"), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    let opened = Folder::open(folder.path()).unwrap();
    let code = |name: &str| opened.can_write(name).map_err(|fault| fault.diagnostic().code);
    assert_eq!(code("file"), Ok(()));
    assert_eq!(try_read(&path("file"), Audience::Everyone), Ok(b"hello".to_vec()));
    assert_eq!(code("none"), Err(Code::FileMissing));
    assert_eq!(code("link"), Err(Code::FileOfWrongKind));
    assert_eq!(code("fifo"), Err(Code::FileOfWrongKind));
    let mut fds = [rustix::event::PollFd::new(&reader, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap();
    assert!(!fds[0].revents().contains(rustix::event::PollFlags::HUP), "a writer was here");
}

/// Two logins, or two commands, that need the same folder for the first time.
#[test]
fn a_folder_that_several_make_at_once() {
    let place = tempfile::tempdir().unwrap();
    for number in 0..50 {
        let path = place.path().join(number.to_string());
        let start = std::sync::Barrier::new(4);
        let make = || {
            start.wait();
            make_folder(&path, 0o700)
        };
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|made| matches!(made, Ok(true))).count(), 1, "{made:?}");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }
}

/// A child has every descriptor of its parent until it runs its program.
#[test]
fn a_lock_is_not_left_with_a_child() {
    let folder = folder();
    let opened = Folder::open(folder.path()).unwrap();
    let lock = opened.lock(Duration::ZERO).unwrap();
    let of_child = lock.0.try_clone().unwrap();
    assert!(matches!(opened.lock(Duration::ZERO), Err(FileFault::Locked { .. })));
    drop(lock);
    assert!(opened.lock(Duration::ZERO).is_ok());
    drop(of_child);
}
