use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("store")).unwrap();
        fs::create_dir(folder.path().join("pam.d")).unwrap();
        fs::write(folder.path().join("pam.d/sudo"), "old\n").unwrap();
        Self { folder }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("pam.d").join(name)
    }

    fn set(&self) -> ChangeSet {
        let of = |name: &str, after: Option<&str>| {
            FileChange::of(&self.file(name), after.map(|text| text.as_bytes().to_vec())).unwrap()
        };
        let files = vec![of("sudo", Some("new\n")), of("sudo-i", Some("made\n"))];
        ChangeSet { name: "enable-sudo".to_owned(), files, sshd_config: None }
    }

    fn text(&self, name: &str) -> Option<String> {
        read(&self.file(name))
    }

    /// The names in pam.d, in order.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path().join("pam.d")).unwrap();
        let mut names: Vec<_> = names.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    fn is_as_before(&self) -> bool {
        self.names() == ["sudo"] && self.text("sudo").as_deref() == Some("old\n")
    }
}

fn read(path: &Path) -> Option<String> {
    files::read_untrusted(path, 1 << 20).ok().map(|text| String::from_utf8(text).unwrap())
}

fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> Option<Code> {
    result.err().and_then(Failure::diagnostic).map(|found| found.code)
}

#[test]
fn made_kept_and_undone() {
    let place = Place::new();
    fs::set_permissions(place.file("sudo"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(place.set().diff().contains("-old\n+new\n"));
    let deadline = clock::unix() + 600;
    let made = place.set().commit(&place.store(), Some(deadline)).unwrap();
    assert_eq!(place.text("sudo").as_deref(), Some("new\n"));
    assert_eq!(place.file("sudo").metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(place.file("sudo-i").metadata().unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(made.backups.iter().map(|it| read(it).unwrap()).collect::<Vec<_>>(), ["old\n"]);
    assert_eq!(
        pending_changes(&place.store()).unwrap(),
        [Pending { name: "enable-sudo".to_owned(), deadline }]
    );
    assert_eq!(finish_interrupted(&place.store()).unwrap().len(), 0);
    // Of the same name, or of the same file.
    let again = ChangeSet {
        name: "other".to_owned(),
        files: vec![FileChange::of(&place.file("sudo"), None).unwrap()],
        sshd_config: None,
    };
    assert_eq!(code(again.clone().commit(&place.store(), None)), Some(Code::ChangePending));
    assert!(keep(&place.store(), "enable-sudo").unwrap());
    assert!(!keep(&place.store(), "enable-sudo").unwrap() && !keep(&place.store(), "x").unwrap());
    assert_eq!(undo(&place.store(), "enable-sudo").unwrap().files.len(), 2);
    assert!(place.is_as_before(), "{:?}", place.names());
    assert_eq!(code(undo(&place.store(), "enable-sudo")), Some(Code::ChangeUnknown));
    // A file that goes away comes back.
    again.commit(&place.store(), None).unwrap_err();
    let gone = FileChange::of(&place.file("sudo"), None).unwrap();
    ChangeSet { name: "gone".to_owned(), files: vec![gone], sshd_config: None }
        .commit(&place.store(), None)
        .unwrap();
    assert_eq!(place.text("sudo"), None);
    undo(&place.store(), "gone").unwrap();
    assert!(place.is_as_before());
}

#[test]
fn undone_after_the_deadline_and_if_the_clock_goes_back() {
    let place = Place::new();
    place.set().commit(&place.store(), Some(clock::unix())).unwrap();
    let undone = finish_interrupted(&place.store()).unwrap();
    assert_eq!(undone.len(), 1);
    assert!(undone.into_iter().all(|it| it.is_ok_and(|it| it.name == "enable-sudo")));
    assert!(place.is_as_before());
    let record =
        |state| Record { state, since: 1000, by: String::new(), sshd_config: None, files: Vec::new() };
    let waiting = record(State::Waiting { deadline: 1600 });
    assert_eq!([999, 1000, 1599, 1600].map(|now| waiting.is_due(now)), [true, false, false, true]);
    assert!(record(State::Open).is_due(0) && !record(State::Kept).is_due(u64::MAX));
}

#[test]
fn an_interrupted_change_is_undone_from_wherever_it_was() {
    let place = Place::new();
    place.set().commit(&place.store(), Some(u64::MAX)).unwrap();
    let records = Records::open(&place.store(), WAIT).unwrap().unwrap();
    let record = Record { state: State::Open, ..records.read("enable-sudo").unwrap().unwrap() };
    drop(records);
    for (sudo, other, temporary) in [("new\n", true, false), ("new\n", false, true), ("old\n", false, true)] {
        fs::write(place.file("sudo"), sudo).unwrap();
        match other {
            true => fs::write(place.file("sudo-i"), "made\n").unwrap(),
            false => drop(fs::remove_file(place.file("sudo-i"))),
        }
        if temporary {
            fs::write(place.file(".sudo-i.ykmap-new"), "ma").unwrap();
        }
        let records = Records::create(&place.store()).unwrap();
        records.write("enable-sudo", &record).unwrap();
        drop(records);
        assert_eq!(finish_interrupted(&place.store()).unwrap().len(), 1);
        assert!(place.is_as_before(), "{:?}", place.names());
    }
}

#[test]
fn nothing_changes_if_a_file_was_edited() {
    let place = Place::new();
    let set = place.set();
    fs::write(place.file("sudo"), "edited\n").unwrap();
    assert_eq!(code(set.commit(&place.store(), None)), Some(Code::FileEdited));
    assert_eq!(place.names(), ["sudo"]);
    place.set().commit(&place.store(), Some(0)).unwrap();
    fs::write(place.file("sudo"), "again\n").unwrap();
    assert_eq!(code(undo(&place.store(), "enable-sudo")), Some(Code::FileEdited));
    let due = finish_interrupted(&place.store()).unwrap();
    assert_eq!(due.into_iter().map(code).collect::<Vec<_>>(), [Some(Code::FileEdited)]);
    assert_eq!(
        (place.text("sudo").as_deref(), place.text("sudo-i").as_deref()),
        (Some("again\n"), Some("made\n"))
    );
}

#[test]
fn files_that_are_refused() {
    let place = Place::new();
    symlink("/nix/store/sudo", place.file("linked")).unwrap();
    fs::write(place.file("open"), "").unwrap();
    fs::set_permissions(place.file("open"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::write(place.file("common-auth"), "# per-package modules\n").unwrap();
    for (name, expected) in [
        ("linked", Code::FileIsLink),
        ("open", Code::FileWritableByOthers),
        ("common-auth", Code::FileGenerated),
    ] {
        assert_eq!(code(FileChange::of(&place.file(name), None)), Some(expected), "{name}");
    }
    let set = ChangeSet { name: "x".to_owned(), files: Vec::new(), sshd_config: None };
    assert_eq!(code(set.commit(&place.folder.path().join("none"), None)), Some(Code::FileMissing));
}

#[test]
fn one_change_at_a_time() {
    let place = Place::new();
    let records = Records::create(&place.store()).unwrap();
    place.set().check().unwrap();
    let record =
        Record { state: State::Open, since: 0, by: String::new(), sshd_config: None, files: Vec::new() };
    records.write("x", &record).unwrap();
    // A change that is being made is not taken for an interrupted one.
    assert_eq!(finish_interrupted(&place.store()).unwrap().len(), 0);
    drop(records);
    assert_eq!(finish_interrupted(&place.store()).unwrap().len(), 1);
}

/// A record that cannot be read is in the way of its own service only, and is named.
#[test]
fn a_damaged_record_stops_only_its_own_service() {
    let place = Place::new();
    drop(Records::create(&place.store()).unwrap());
    let damaged = |name: &str| {
        let path = place.store().join(CHANGES).join(name);
        fs::write(&path, "garbage").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let path = damaged("enable-sshd");
    place.set().commit(&place.store(), Some(u64::MAX)).unwrap();
    assert_eq!(pending_changes(&place.store()).unwrap().len(), 1);
    let found = super::damaged(&place.store());
    assert_eq!(found.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::ChangeDamaged]);
    assert_eq!(found[0].location, Some(Location::file(path.as_os_str().as_bytes())));
    undo(&place.store(), "enable-sudo").unwrap();
    fs::remove_file(path).unwrap();
    // Of the service itself, of the other one of its pair, and of its file by another change.
    let path = damaged("enable-sudo");
    for name in ["enable-sudo", "disable-sudo", "migrate-pam_yubico-1"] {
        let set = ChangeSet { name: name.to_owned(), ..place.set() };
        assert_eq!(code(set.commit(&place.store(), None)), Some(Code::ChangeDamaged), "{name}");
    }
    let pair = FileChange::of(&place.file("sudo-i"), Some(b"x".to_vec())).unwrap();
    let set = ChangeSet { name: "enable-sudo-i".to_owned(), files: vec![pair], sshd_config: None };
    assert_eq!(code(set.commit(&place.store(), None)), Some(Code::ChangeDamaged));
    fs::remove_file(path).unwrap();
    assert!(place.is_as_before());
}

/// Mode and owner that somebody gave a file after the change stay, and are named.
#[test]
fn an_undo_keeps_the_newer_mode_and_owner() {
    let place = Place::new();
    let stat = |place: &Place| {
        let stat = rustix::fs::stat(place.file("sudo")).unwrap();
        (stat.st_mode & 0o7777, stat.st_gid)
    };
    let before = stat(&place);
    place.set().commit(&place.store(), None).unwrap();
    assert!(undo(&place.store(), "enable-sudo").unwrap().newer.is_empty());
    assert_eq!(stat(&place), before);
    place.set().commit(&place.store(), Some(u64::MAX)).unwrap();
    fs::set_permissions(place.file("sudo"), fs::Permissions::from_mode(0o600)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        std::os::unix::fs::chown(place.file("sudo"), None, Some(4)).unwrap();
    }
    let undone = undo(&place.store(), "enable-sudo").unwrap();
    assert!(place.is_as_before());
    assert_eq!(stat(&place), (0o600, if is_root { 4 } else { before.1 }));
    assert_eq!(undone.newer, [place.file("sudo")]);
}

/// Once a change is kept, backups go that are older than it and than a month. Nothing else goes.
#[test]
fn old_backups_go_when_a_later_change_is_kept() {
    let place = Place::new();
    let others = [
        "sudo.ykmap-20200101-000000.mine",
        "sudo.ykmap-1796000000",
        "sudo.ykmap-29990101-000000",
        "sudo-i.ykmap-20200101-000000",
    ];
    for name in others.into_iter().chain(["sudo.ykmap-20200101-000000"]) {
        fs::write(place.file(name), "older\n").unwrap();
    }
    let made = place.set().commit(&place.store(), Some(u64::MAX)).unwrap();
    assert_eq!(place.names().len(), 8, "waiting: {:?}", place.names());
    keep(&place.store(), "enable-sudo").unwrap();
    let own = made.backups[0].file_name().unwrap().to_str().unwrap();
    let mut left = [&others[..], &["sudo", "sudo-i", own]].concat();
    left.sort_unstable();
    assert_eq!(place.names(), left);
    // Of a change that waits it stays, and so does all where a record cannot be read.
    undo(&place.store(), "enable-sudo").unwrap();
    let path = place.store().join(CHANGES).join("enable-x");
    fs::write(&path, "garbage").unwrap();
    fs::write(place.file("sudo.ykmap-20200101-000000"), "older\n").unwrap();
    place.set().commit(&place.store(), None).unwrap();
    assert!(place.file("sudo.ykmap-20200101-000000").exists());
}
