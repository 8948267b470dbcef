//! Both lists on a real file system.

#![expect(clippy::disallowed_methods, reason = "writes and spoils files as others would")]

use super::*;
use crate::file::FileFault;
use crate::settings::PartialConfig;
use crate::store::{TokenKey, write_store_key};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use yubiotp::ledger::{Advance, Ledger as _};
use yubiotp::seal::StoreKey;
use yubiotp::{AesKey, Credential, Position, PrivateId, PublicId};

/// Settings and lists in a temporary folder: the mapping beside the store, or in it.
struct Host {
    folder: tempfile::TempDir,
    settings: Settings,
}

impl Host {
    fn new() -> Self {
        Self::with("mapping = \"etc/mapping\"\nstore = \"store\"")
    }

    fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["etc", "store", "store/keys", "store/positions"] {
            crate::file::make_folder(&folder.path().join(name), 0o700).unwrap();
        }
        let config = format!("{config}\nlock_wait = 0\nstore_key = \"store.key\"\n");
        fs::write(folder.path().join("config.toml"), config).unwrap();
        let path = folder.path().join("config.toml");
        let settings = Settings::load(Some(&path), PartialConfig::default()).unwrap();
        let host = Self { folder, settings };
        host.write("etc/mapping", "# nobody\n");
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(0o644)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// What a login finds.
    fn of(&self, user: &str) -> Result<Enrolment, Fault> {
        mapping::enrolment(&self.settings, user.as_bytes(), true)
    }

    /// Accepts an OTP of `vvcb`, of a user who has these tokens, at a session.
    fn proves(&self, tokens: &[&str], session: u8) -> Proof {
        let (store, token) = (Store::new(&self.settings), ids(&["vvcb"])[0]);
        if !self.path("store.key").exists() {
            self.write("store.key", &write_store_key(&StoreKey::new([1; 32])));
            fs::set_permissions(self.path("store.key"), Permissions::from_mode(0o600)).unwrap();
            store.change().unwrap().enrol(&[key(7)], &|| {}).unwrap();
        }
        let to = Position::from_stored(1 << 8 | u64::from(session));
        let Advance::Fresh(receipt) = store.advance(&token, key(7).fingerprint(), to).unwrap() else {
            panic!("{session} was used")
        };
        Proof::new(&store, &ids(tokens), &receipt).unwrap()
    }

    fn assign(&self, user: &str, tokens: &[&str], only: Only<'_>) -> Result<Assigned, Fault> {
        assign(&self.settings, user.as_bytes(), &ids(tokens), only)
    }
}

/// A key of `vvcb`.
fn key(aes_key: u8) -> TokenKey {
    let id = PublicId::parse(b"vvcb").unwrap();
    let credential = Credential { private_id: PrivateId::new([1; 6]), aes_key: AesKey::new([aes_key; 16]) };
    TokenKey::YubiKey(id, credential)
}

fn ids(tokens: &[&str]) -> Vec<TokenId> {
    tokens.iter().map(|token| TokenId::parse(token.as_bytes()).unwrap()).collect()
}

fn listed(tokens: &[&str]) -> Enrolment {
    Enrolment::Listed(ids(tokens))
}

#[test]
fn a_login_finds_the_tokens_of_both_files() {
    let host = Host::new();
    host.write("etc/mapping", "alice:vvcb:vvcd\nbob:\n");
    assert_eq!(host.of("carol").unwrap(), Enrolment::NotListed, "no file is an empty one");
    host.write("store/enrolled", "alice:oath-a:vvcd\nbob:oath-b\ncarol:oath-c\ndave:\n");
    for (user, tokens) in [
        ("alice", Some(&["vvcb", "vvcd", "oath-a"][..])),
        ("bob", Some(&["oath-b"])),
        ("carol", Some(&["oath-c"])),
        ("dave", Some(&[])),
        ("eve", None),
    ] {
        assert_eq!(host.of(user).unwrap(), tokens.map_or(Enrolment::NotListed, listed), "{user}");
    }
}

#[test]
fn with_a_mapping_of_each_user_there_is_one_file_of_those_who_enrolled() {
    let host = Host::with("mapping = \"etc/%u\"\nstore = \"store\"");
    fs::remove_file(host.path("etc/mapping")).unwrap();
    host.write("etc/alice", "alice:vvcb\n");
    host.write("store/enrolled", "alice:oath-a\ncarol:oath-c\n");
    assert_eq!(host.of("alice").unwrap(), listed(&["vvcb", "oath-a"]));
    assert_eq!(host.of("carol").unwrap(), listed(&["oath-c"]));
    assert_eq!(host.of("eve").unwrap(), Enrolment::NotListed);
    assert!(matches!(host.of("Carol"), Err(Fault::Mapping { line: 2, .. })));
    let taken = host.assign("eve", &["vvcb"], Only::NotListed).unwrap();
    assert_eq!(taken, Assigned::Taken { token: ids(&["vvcb"])[0], owner: b"alice".to_vec() });
}

#[test]
fn a_bad_file_is_a_fault_that_names_it() {
    type Spoil = fn(&Path);
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let empty: Spoil = |path| fs::write(path, "").unwrap();
    let line: Spoil = |path| fs::write(path, "alice:oath-a\n???\n").unwrap();
    let own: Spoil = |path| fs::write(path, "alice:oath-a:!\nzoe:vvcb\n").unwrap();
    let spelling: Spoil = |path| fs::write(path, "zoe:oath-a\nAlice:vvcb\n").unwrap();
    let folder: Spoil = |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    };
    let link: Spoil = |path| {
        fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink("enrolled", path).unwrap();
    };
    for (what, spoil, users) in [
        ("empty", empty, &["alice", "eve"][..]),
        ("a bad line", line, &["eve"]),
        ("the user's bad line", own, &["alice", "eve"]),
        ("another spelling", spelling, &["alice"]),
        ("a folder", folder, &["alice", "eve"]),
        ("a loop", link, &["alice", "eve"]),
    ] {
        let host = Host::new();
        host.write("store/enrolled", "alice:oath-a\n");
        spoil(&host.path("store/enrolled"));
        for user in users {
            let fault = host.of(user).unwrap_err();
            assert_eq!(
                fault.path(),
                Some(host.path("store/enrolled").as_path()),
                "{what}, {user}: {fault:?}"
            );
        }
    }
    let host = Host::new();
    host.write("store/enrolled", "alice:oath-a\n");
    mode(&host.path("store/enrolled"), 0o666);
    assert!(matches!(host.of("eve"), Err(Fault::File(FileFault::Writable { folder: false, .. }))));
    mode(&host.path("store/enrolled"), 0o644);
    mode(&host.path("store"), 0o777);
    assert!(matches!(host.of("eve"), Err(Fault::File(FileFault::Writable { folder: true, .. }))));
}

#[test]
fn a_store_that_is_gone_excuses_nobody() {
    let host = Host::new();
    fs::remove_dir_all(host.path("store")).unwrap();
    assert_eq!(host.of("eve").unwrap(), Enrolment::NotListed, "this host never had a store");
    fs::write(host.path("store.key"), "").unwrap();
    assert!(matches!(host.of("eve"), Err(Fault::NoStore { .. })));
    // The place where its file system was mounted.
    fs::create_dir(host.path("store")).unwrap();
    assert!(matches!(host.of("eve"), Err(Fault::NoStore { .. })));
    host.write("etc/mapping", "alice:vvcb\n");
    assert_eq!(host.of("alice").unwrap(), listed(&["vvcb"]));
}

/// A list that was restored without, or removed: its users must not look like such as never enrolled.
#[test]
fn a_list_that_is_lost_is_missed() {
    let host = Host::new();
    assert_eq!(host.of("eve").unwrap(), Enrolment::NotListed);
    host.assign("carol", &["oath-c"], Only::NotListed).unwrap();
    fs::remove_file(host.path("store/enrolled")).unwrap();
    for user in ["carol", "eve"] {
        assert!(matches!(host.of(user), Err(Fault::NoEnrolled { .. })), "{user}");
    }
    assert!(matches!(host.assign("carol", &["oath-d"], Only::NotListed), Err(Fault::NoEnrolled { .. })));
    // Those whom the mapping lists log in.
    host.write("etc/mapping", "alice:vvcb\n");
    assert_eq!(host.of("alice").unwrap(), listed(&["vvcb"]));
}

#[test]
fn a_first_token_is_for_users_who_are_nowhere() {
    let host = Host::new();
    host.write("etc/mapping", "alice:vvcb\nbob:\n");
    let only = Only::NotListed;
    assert_eq!(
        host.assign("carol", &["oath-c", "rec-c"], only).unwrap(),
        Assigned::Done { new: ids(&["oath-c", "rec-c"]) }
    );
    assert_eq!(host.of("carol").unwrap(), listed(&["oath-c", "rec-c"]));
    assert!(host.path("store/guesses/carol").exists(), "her tries are counted");
    let text = host.read("store/enrolled");
    assert!(text.starts_with('#') && text.ends_with("\ncarol:oath-c:rec-c\n"), "{text}");
    let mode = fs::metadata(host.path("store/enrolled")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    for (user, token, expected) in [
        ("carol", "oath-d", Assigned::Listed(ids(&["oath-c", "rec-c"]))),
        ("alice", "oath-d", Assigned::Listed(ids(&["vvcb"]))),
        ("bob", "oath-d", Assigned::Listed(Vec::new())),
        ("dave", "vvcb", Assigned::Taken { token: ids(&["vvcb"])[0], owner: b"alice".to_vec() }),
        ("dave", "oath-c", Assigned::Taken { token: ids(&["oath-c"])[0], owner: b"carol".to_vec() }),
        ("#dave", "oath-d", Assigned::BadName(BadUserName)),
    ] {
        assert_eq!(host.assign(user, &[token], only).unwrap(), expected, "{user}");
    }
    // The same account, perhaps, and one that nobody can tell from others.
    assert!(matches!(host.assign("EX\\carol", &["oath-d"], only), Err(Fault::Mapping { .. })));
    assert!(matches!(host.assign("dåve", &["oath-d"], only), Err(Fault::NotPlain { .. })));
    assert_eq!(host.read("store/enrolled"), text);
    assert_eq!(host.read("etc/mapping"), "alice:vvcb\nbob:\n");
}

#[test]
fn another_token_is_nobodys_else() {
    let host = Host::new();
    host.write("etc/mapping", "alice:vvcb\nbob:vvcd\n");
    let proof = host.proves(&["vvcb"], 7);
    let only = Only::Proved(&proof);
    let taken = host.assign("alice", &["vvcd"], only).unwrap();
    assert_eq!(taken, Assigned::Taken { token: ids(&["vvcd"])[0], owner: b"bob".to_vec() });
    assert_eq!(
        host.assign("alice", &["vvcb", "oath-a", "oath-a"], only).unwrap(),
        Assigned::Done { new: ids(&["oath-a"]) }
    );
    assert_eq!(host.of("alice").unwrap(), listed(&["vvcb", "oath-a"]));
    // A proof is for one change.
    assert_eq!(host.assign("alice", &["oath-b"], only).unwrap(), Assigned::Stale(Stale::Tokens));
    host.write("etc/mapping", "alice:vvcb\n?vvcd\n");
    host.write("store/enrolled", "# nobody\n");
    assert!(
        matches!(host.assign("alice", &["vvcd"], only), Err(Fault::Mapping { line: 2, .. })),
        "whose is it?"
    );
}

#[test]
fn a_proof_counts_as_long_as_nothing_of_it_changes() {
    type Change = fn(&Host);
    let disabled = Stale::Disabled(ids(&["vvcb"])[0]);
    let cases: [(&str, Change, Option<Stale>); 11] = [
        ("nothing", |_| {}, None),
        ("another login", |host| drop(host.proves(&["vvcb"], 9)), None),
        ("another user's", |host| host.write("store/enrolled", "bob:oath-b\n"), None),
        ("more", |host| host.write("store/enrolled", "alice:oath-a\n"), Some(Stale::Tokens)),
        ("fewer", |host| host.write("etc/mapping", "alice:vvcb\n"), Some(Stale::Tokens)),
        ("without any", |host| host.write("etc/mapping", "alice:\n"), Some(Stale::Tokens)),
        ("not listed", |host| host.write("etc/mapping", "# nobody\n"), Some(Stale::Tokens)),
        (
            "disabled",
            |host| Store::new(&host.settings).set_enabled(&ids(&["vvcb"])[0], false).unwrap(),
            Some(disabled),
        ),
        (
            "removed",
            |host| {
                Store::new(&host.settings).change().unwrap().remove(&ids(&["vvcb"])[0]).unwrap();
            },
            Some(Stale::Tokens),
        ),
        ("no key", |host| fs::remove_file(host.path("store/keys/vvcb")).unwrap(), Some(Stale::Tokens)),
        (
            "another key",
            |host| {
                let store = Store::new(&host.settings);
                store.change().unwrap().remove(&ids(&["vvcb"])[0]).unwrap();
                store.change().unwrap().enrol(&[key(8)], &|| {}).unwrap();
            },
            Some(Stale::Tokens),
        ),
    ];
    for (what, change, expected) in cases {
        let host = Host::new();
        host.write("etc/mapping", "alice:vvcb:vvcd\n");
        let proof = host.proves(&["vvcb", "vvcd"], 7);
        change(&host);
        let before = host.of("alice").unwrap();
        let assigned = host.assign("alice", &["oath-new"], Only::Proved(&proof)).unwrap();
        match expected {
            None => assert_eq!(assigned, Assigned::Done { new: ids(&["oath-new"]) }, "{what}"),
            Some(stale) => {
                assert_eq!(assigned, Assigned::Stale(stale), "{what}");
                assert_eq!(host.of("alice").unwrap(), before, "{what}");
            }
        }
        let of_carol = host.assign("carol", &["oath-c"], Only::Proved(&proof)).unwrap();
        assert_eq!(of_carol, Assigned::Stale(Stale::Tokens), "{what}: another user's proof");
    }
}

#[test]
fn removing_takes_a_token_out_of_both_files() {
    let host = Host::new();
    host.write("etc/mapping", "alice:vvcb:vvcd\n");
    host.write("store/enrolled", "# theirs\nalice:vvcb:oath-a\nbob:oath-b\n");
    let gone = unassign(&host.settings, b"alice", &ids(&["vvcb", "oath-a", "vvvv"])).unwrap();
    assert_eq!(gone, Unassigned { gone: ids(&["vvcb", "oath-a"]), listed_without: false });
    assert_eq!(host.read("etc/mapping"), "alice:vvcd\n");
    assert_eq!(host.read("store/enrolled"), "# theirs\nalice:\nbob:oath-b\n");
    assert!(unassign(&host.settings, b"bob", &ids(&["oath-b"])).unwrap().listed_without);
    assert_eq!(host.of("bob").unwrap(), listed(&[]), "rejected, and not excused");
}

#[test]
fn nothing_is_changed_by_halves() {
    let host = Host::new();
    host.write("etc/mapping", "alice:vvcb\n");
    host.write("store/enrolled", "alice:vvcb\n");
    // A link is not replaced, so the second of the two writes fails.
    fs::rename(host.path("store/enrolled"), host.path("store/other")).unwrap();
    std::os::unix::fs::symlink("other", host.path("store/enrolled")).unwrap();
    assert!(unassign(&host.settings, b"alice", &ids(&["vvcb"])).is_err());
    assert_eq!(host.read("etc/mapping"), "alice:vvcb\n");
    assert_eq!(host.read("store/other"), "alice:vvcb\n");
}

#[test]
fn changes_of_either_file_wait_for_each_other() {
    let host = Host::new();
    for folder in ["store", "etc"] {
        let lock = crate::file::Folder::open(&host.path(folder)).unwrap().lock(Duration::ZERO).unwrap();
        let assigned = host.assign("alice", &["vvcb"], Only::NotListed);
        assert!(matches!(assigned, Err(Fault::File(FileFault::Locked { .. }))), "{folder}: {assigned:?}");
        drop(lock);
    }
    // A folder that has both is locked once.
    let host = Host::with("mapping = \"mapping\"\nstore = \".\"");
    host.write("mapping", "bob:vvcd\n");
    fs::create_dir(host.path("keys")).unwrap();
    assert!(matches!(host.assign("alice", &["vvcb"], Only::NotListed).unwrap(), Assigned::Done { .. }));
}
