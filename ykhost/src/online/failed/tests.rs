#![expect(clippy::disallowed_methods, reason = "looks at and spoils files as others would")]

use super::*;
use proptest::prelude::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

const NOW: u64 = 1_796_000_000;

fn server(name: &str) -> Server {
    Server::parse(&format!("https://{name}")).unwrap()
}

fn servers(names: &str) -> Vec<Server> {
    names.split(' ').map(server).collect()
}

fn names(servers: &[Server]) -> String {
    servers.iter().map(|it| it.to_string().replace("https://", "")).collect::<Vec<_>>().join(" ")
}

/// The order of `a b c` after these, at a time after [`NOW`].
fn order(known: &FailedServers, after: u64) -> String {
    names(&known.order(&servers("a b c"), NOW + after))
}

struct Host {
    folder: tempfile::TempDir,
    folders: Folders,
}

impl Host {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), folders: Folders::of_one_login() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(FAILED_SERVERS)
    }

    fn read(&self) -> FailedServers {
        FailedServers::read(&self.folders, self.folder.path())
    }

    /// These servers failed, and those answered, so many seconds after [`NOW`].
    fn note(&self, failed: &str, answered: &str, after: u64) {
        let of = |names: &str| names.split_whitespace().map(server).collect::<Vec<_>>();
        let (failed, answered) = (of(failed), of(answered));
        let seen = failed.iter().map(|it| (it, true)).chain(answered.iter().map(|it| (it, false)));
        FailedServers::note(&self.folders, self.folder.path(), &seen.collect::<Vec<_>>(), NOW + after);
    }
}

#[test]
fn a_server_that_failed_is_asked_last_for_a_while() {
    let host = Host::new();
    assert_eq!(order(&host.read(), 0), "a b c");
    host.note("", "a b", 0);
    assert!(!host.path().exists(), "nothing to remember");
    host.note("a", "b", 0);
    assert_eq!(order(&host.read(), 0), "b c a");
    assert_eq!(order(&host.read(), 29), "b c a");
    assert_eq!(order(&host.read(), 30), "a b c");
    let mode = fs::metadata(host.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644, "for processes of ordinary users");
    // Forgotten after an answer, whatever it was asked after.
    host.note("", "a", 10);
    assert_eq!((order(&host.read(), 11), host.read()), ("a b c".into(), FailedServers::default()));
}

#[test]
fn each_failure_doubles_the_pause_up_to_an_hour() {
    let host = Host::new();
    let (mut at, mut pauses) = (0, Vec::new());
    for _ in 0..9 {
        host.note("a", "", at);
        let failures = host.read().asked_last(&server("a"), NOW + at).unwrap();
        assert_eq!(failures.since, NOW);
        // During the pause, nothing changes.
        host.note("a", "", at + 1);
        assert_eq!(host.read().asked_last(&server("a"), NOW + at), Some(failures));
        pauses.push(failures.until - NOW - at);
        at = failures.until - NOW;
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    let failures = host.read().0[0].1;
    assert_eq!(failures.count, 9);
    // A day after the last pause it begins anew, also if nobody has asked meanwhile.
    host.note("a", "", at + FORGOTTEN);
    let failures = host.read().0[0].1;
    assert_eq!((failures.count, failures.since), (1, NOW + at + FORGOTTEN));
    for _ in 0..1000 {
        at += FORGOTTEN / 2;
        host.note("a", "", at);
    }
    assert_eq!(fs::metadata(host.path()).unwrap().len(), LENGTH as u64);
}

#[test]
fn a_clock_that_was_set_ends_a_pause() {
    let host = Host::new();
    host.note("a", "", 0);
    let known = host.read();
    let back = |seconds: u64| names(&known.order(&servers("a b"), NOW - seconds));
    assert_eq!([back(0), back(1), back(10_000_000)], ["b a", "a b", "a b"]);
    // Noted by a clock that was a year ahead.
    host.note("b", "", 365 * 86_400);
    host.note("a b", "", 1);
    assert_eq!(order(&host.read(), 2), "c a b");
    assert_eq!(host.read().asked_last(&server("b"), NOW + 1).map(|it| it.since), Some(NOW + 1));
    let long = FailedServers(vec![(
        hash_of(&server("a")),
        Failures { count: 1, since: NOW, until: NOW + 2 * LONGEST_PAUSE },
    )]);
    assert_eq!(order(&long, 0), "a b c", "no file makes it longer than an hour");
}

/// Settings of other lines in pam.d share the store.
#[test]
fn there_is_room_for_as_many_as_a_question_has() {
    let host = Host::new();
    for number in 0..20 {
        host.note(&format!("s{number}"), "", number);
    }
    let known = host.read();
    let is_known: Vec<_> = (0..20)
        .filter(|number| known.asked_last(&server(&format!("s{number}")), NOW + 20).is_some())
        .collect();
    assert_eq!(is_known, (4..20).collect::<Vec<_>>(), "the oldest made room");
}

#[test]
fn what_is_not_whole_is_nothing_known_and_written_anew() {
    let host = Host::new();
    host.note("a b", "", 0);
    let whole = fs::read(host.path()).unwrap();
    assert_eq!(whole.len(), LENGTH);
    let changed = |at: usize| {
        let mut text = whole.clone();
        text[at] ^= 1;
        text
    };
    for text in [Vec::new(), whole[1..].to_vec(), [&whole[..], b"\n"].concat(), vec![0; LENGTH]]
        .into_iter()
        .chain((HEAD.len()..LENGTH).step_by(7).map(changed))
    {
        fs::write(host.path(), &text).unwrap();
        assert_eq!(host.read(), FailedServers::default(), "{}", String::from_utf8_lossy(&text));
        host.note("c", "", 0);
        assert_eq!(order(&host.read(), 1), "a b c");
        assert!(host.read().asked_last(&server("c"), NOW + 1).is_some());
        assert_eq!(fs::metadata(host.path()).unwrap().len(), LENGTH as u64);
    }
}

/// A file of a later version, and what is not a file of ours, stay as they are.
#[test]
fn what_is_not_ours_is_left_alone() {
    let later = |host: &Host| fs::write(host.path(), format!("{KIND}2. More.\n")).unwrap();
    let open = |host: &Host| {
        host.note("a", "", 0);
        fs::set_permissions(host.path(), Permissions::from_mode(0o666)).unwrap();
    };
    let link = |host: &Host| {
        let other = host.folder.path().join("other");
        fs::write(&other, "text").unwrap();
        symlink(other, host.path()).unwrap();
    };
    let fifo = |host: &Host| {
        let path = host.path();
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    };
    let folder = |host: &Host| fs::create_dir(host.path()).unwrap();
    let strangers = |host: &Host| {
        host.note("a", "", 0);
        let owner = Some(rustix::fs::Uid::from_raw(4711));
        // Only root can make one.
        let _ = rustix::fs::chown(host.path(), owner, None);
    };
    let makers: [fn(&Host); 6] = [later, open, link, fifo, folder, strangers];
    for make in makers {
        let host = Host::new();
        make(&host);
        let look = || {
            let is = fs::symlink_metadata(host.path()).unwrap();
            (is.mode(), is.len(), is.mtime_nsec())
        };
        let before = look();
        assert_eq!(host.read(), FailedServers::default());
        host.note("a b", "c", 0);
        assert_eq!((host.read(), look()), (FailedServers::default(), before));
    }
}

/// Nobody is kept waiting or refused where there is no store, or none that can be written.
#[test]
fn without_a_store_nothing_is_known() {
    let (folders, nowhere) = (Folders::of_one_login(), Path::new("/nonexistent/yubiotp"));
    assert_eq!(FailedServers::read(&folders, nowhere), FailedServers::default());
    FailedServers::note(&folders, nowhere, &[(&server("a"), true)], NOW);
    assert!(!nowhere.exists());
}

#[test]
fn the_log_says_so_only_if_the_order_is_another() {
    let host = Host::new();
    let notes = |names: &str, after: u64| host.read().notes(&servers(names), NOW + after);
    host.note("b", "", 0);
    assert_eq!(notes("a b", 5), Vec::<String>::new(), "it is the last anyway");
    assert_eq!(notes("b", 5), Vec::<String>::new());
    assert_eq!(notes("b a", 5), ["https://b is asked last: it failed 5 s ago"]);
    host.note("b", "", 40);
    assert_eq!(notes("b a", 45), ["https://b is asked last: it failed 2 times in 45 s"]);
}

proptest! {
    /// It orders, and nothing else: every server is there, once, and those without failures in the order of the settings.
    #[test]
    fn every_order_has_every_server(
        steps in proptest::collection::vec((0usize..6, any::<bool>(), 0u64..5000), 0..40),
        asked in proptest::collection::vec(0usize..6, 1..8),
    ) {
        let all = servers("a b c d e f");
        let (mut known, mut now) = (FailedServers::default(), NOW);
        for (which, has_failed, later) in steps {
            now += later;
            known.take(&all[which], has_failed, now);
            prop_assert_eq!(FailedServers::parse(known.text().as_bytes()), Some(known.clone()));
        }
        let asked: Vec<_> = asked.into_iter().map(|which| all[which].clone()).collect();
        let order = known.order(&asked, now);
        let sorted = |servers: &[Server]| {
            let mut names: Vec<_> = servers.iter().map(ToString::to_string).collect();
            names.sort();
            names
        };
        prop_assert_eq!(sorted(&order), sorted(&asked));
        let healthy = |servers: &[Server]| -> Vec<Server> {
            servers.iter().filter(|it| known.asked_last(it, now).is_none()).cloned().collect()
        };
        prop_assert_eq!(healthy(&order), healthy(&asked));
    }

    #[test]
    fn never_panics(text: Vec<u8>) {
        prop_assert_eq!(FailedServers::parse(&text), None);
    }
}
