//! Hostile files: whatever lies where a file should be, nobody is let in, nothing hangs, and no more is read than a
//! file of that kind can have.

use crate::application::{codes, enrolled, run_within};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::libpam::{Code, Pam, Script};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::tls::Authority;
use tests::validation::{self, Server};

/// What one login may take, whatever the files are, and may use. On a busy machine; it is a tenth of a second.
const LONGEST: Duration = Duration::from_secs(10);
const MOST_MEMORY: i64 = 64 << 10; // in KiB

/// What lies there instead. The file that was there is at the second path.
struct Hostile {
    what: &'static str,
    make: fn(&Path, &Path),
    needs_root: bool,
}

const fn hostile(what: &'static str, make: fn(&Path, &Path)) -> Hostile {
    Hostile { what, make, needs_root: false }
}

const fn by_root(what: &'static str, make: fn(&Path, &Path)) -> Hostile {
    Hostile { what, make, needs_root: true }
}

const STRANGER: Option<u32> = Some(65_533);

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn copy(at: &Path, was: &Path) {
    fs::copy(was, at).unwrap();
}

fn filled(at: &Path, was: &Path, contents: &[u8]) {
    copy(at, was);
    fs::write(at, contents).unwrap();
}

const EVERYWHERE: &[Hostile] = &[
    hostile("nothing", |_, _| {}),
    hostile("a folder", |at, _| fs::create_dir(at).unwrap()),
    hostile("a FIFO", |at, _| mknodat(CWD, at, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap()),
    hostile("a socket", |at, _| drop(std::os::unix::net::UnixListener::bind(at).unwrap())),
    hostile("a link to nothing", |at, _| symlink("nothing", at).unwrap()),
    hostile("a link to itself", |at, _| symlink(at, at).unwrap()),
    hostile("a link to a terminal", |at, _| symlink("/dev/tty", at).unwrap()),
    hostile("a link to endless zeros", |at, _| symlink("/dev/zero", at).unwrap()),
    hostile("a link to what cannot be read", |at, _| symlink("/proc/self/mem", at).unwrap()),
    hostile("a link into a folder of everybody's", |at, was| {
        let open = at.with_file_name("open");
        fs::create_dir(&open).unwrap();
        copy(&open.join("file"), was);
        chmod(&open, 0o777);
        symlink("open/file", at).unwrap();
    }),
    hostile("group may write", |at, was| {
        copy(at, was);
        chmod(at, 0o660)
    }),
    hostile("all may write", |at, was| {
        copy(at, was);
        chmod(at, 0o602)
    }),
    hostile("10 GB of nothing", |at, was| {
        copy(at, was);
        File::options().write(true).open(at).unwrap().set_len(10 << 30).unwrap();
    }),
    hostile("10 GB, nothing else", |at, was| {
        filled(at, was, b"");
        File::options().write(true).open(at).unwrap().set_len(10 << 30).unwrap();
    }),
    hostile("a line of a million bytes", |at, was| filled(at, was, &vec![b'x'; 1_000_000])),
    hostile("lines of a million bytes around it", |at, was| {
        let line = "x".repeat(1_000_000);
        let inside = String::from_utf8_lossy(&fs::read(was).unwrap()).into_owned();
        filled(at, was, format!("{line}\n{}\n{line}", inside.replace("alice", "alice;")).as_bytes());
    }),
    hostile("NULs", |at, was| filled(at, was, &[0; 8192])),
    hostile("a NUL in each line", |at, was| {
        let inside = fs::read_to_string(was).unwrap_or_default();
        filled(at, was, inside.replace('\n', "\0\n").as_bytes());
    }),
    hostile("not UTF-8", |at, was| filled(at, was, b"\xff\xfe\xc0\x80\n")),
    hostile("empty", |at, was| filled(at, was, b"")),
    by_root("a device", |at, _| {
        // loop devices are the one kind that a container may make
        mknodat(CWD, at, FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 5)).unwrap();
    }),
    by_root("a stranger's", |at, was| {
        copy(at, was);
        lchown(at, STRANGER, None).unwrap()
    }),
    by_root("a stranger's link", |at, was| {
        symlink(was, at).unwrap();
        lchown(at, STRANGER, None).unwrap()
    }),
    by_root("a stranger's FIFO", |at, _| {
        mknodat(CWD, at, FileType::Fifo, Mode::RUSR, 0).unwrap();
        lchown(at, STRANGER, None).unwrap();
    }),
];

/// A host and its alice, with everything that a login can read.
struct World {
    place: Place,
    key: SoftYubiKey,
    _server: Server,
}

fn world(number: u32, online: bool) -> World {
    let (place, key) = enrolled(number);
    let server = Server::start(&[&key]);
    if online {
        place.write("client.key", format!("{}\n", validation::KEY), 0o600);
        place.write("ca.pem", Authority::new("nobody's").pem(), 0o600);
        let settings = "api_key_file = \"client.key\"\nca = \"ca.pem\"\n";
        place.online_without_key("online", &[server.url()], settings);
    }
    World { place, key, _server: server }
}

/// The result of a login, within time and memory.
fn login(place: &Place, otp: &str, what: &str) -> (Code, Vec<String>) {
    let begun = Instant::now();
    let acts = ["start", "authenticate", "acct_mgmt", "setcred", "peak"];
    let login = run_within(place, &[otp], &acts, LONGEST);
    let took = begun.elapsed();
    let code = codes(&login, "authenticate");
    assert_eq!(code.len(), 1, "{what}: {:?}, after {took:?}", login.said);
    assert_eq!(codes(&login, "acct_mgmt") == [Code::SUCCESS], code == [Code::SUCCESS], "{what}");
    let peak: i64 = login.code("peak").parse().unwrap();
    assert!(peak < MOST_MEMORY, "{what}: {peak} KiB");
    if took > Duration::from_secs(1) {
        println!("{what}: {took:?}, {peak} KiB");
    }
    (code[0], login.decisions().into_iter().map(str::to_owned).collect())
}

/// Where each of the files lies; `ID` is the token's. And whether servers are asked.
const FILES: &[(&str, bool)] = &[
    ("config.toml", false),
    ("authorized_yubikeys", false),
    ("store.key", false),
    ("keys/ID", false),
    ("positions/ID", false),
    ("client.key", true),
    ("ca.pem", true),
    ("yubiotp-ask", true),
];

#[test]
fn in_place_of_each_file() {
    let root = rustix::process::geteuid().is_root();
    let worlds = [world(1100, false), world(1101, true)];
    let mut worlds = worlds.map(|world| (world.key.public_id(), world));
    for (name, online) in FILES {
        let (id, World { place, key, .. }) = &mut worlds[usize::from(*online)];
        let at = place.path(&name.replace("ID", id));
        let was = place.path("was");
        for Hostile { what, make, needs_root } in EVERYWHERE {
            if *needs_root && !root {
                tests::skip(&format!("{what}: needs root"));
                continue;
            }
            let what = format!("{name}: {what}");
            // Behind its end a program may have what it likes.
            if *name == "yubiotp-ask" && what.ends_with("10 GB of nothing") {
                continue;
            }
            // A file of authorities is judged by the program; over http it is not even read.
            if *name == "ca.pem" && fs::metadata(&at).is_ok() && harmless_to_authorities(&what) {
                continue;
            }
            fs::rename(&at, &was).unwrap();
            make(&at, &was);
            let (code, log) = login(place, &key.press(), &what);
            assert_eq!(code, Code::AUTHINFO_UNAVAIL, "{what}: {log:?}");
            assert!(log.len() == 1 && log[0].starts_with("fault "), "{what}: {log:?}");
            let _ = if at.is_dir() && !at.is_symlink() { fs::remove_dir(&at) } else { fs::remove_file(&at) };
            let _ = fs::remove_dir_all(at.with_file_name("open"));
            fs::rename(&was, &at).unwrap();
        }
        let (code, log) = login(place, &key.press(), name);
        assert_eq!(code, Code::SUCCESS, "{name} as it was: {log:?}");
    }
}

/// Mistakes in a file of authorities matter only with TLS: `ykask/tests` has that.
fn harmless_to_authorities(what: &str) -> bool {
    ["bytes", "a folder", "NUL", "UTF-8", "empty", "10 GB", "cannot be read"]
        .iter()
        .any(|word| what.contains(word))
}

/// Folders on the way, the same for every file that lies in one.
#[test]
fn in_place_of_each_folder() {
    let root = rustix::process::geteuid().is_root();
    let World { place, mut key, .. } = world(1110, false);
    for name in ["", "keys", "positions"] {
        let at: PathBuf = place.path(name).components().collect();
        let was = at.with_file_name("was");
        let folders: &[Hostile] = &[
            hostile("nothing", |_, _| {}),
            hostile("a file", |at, _| fs::write(at, "").unwrap()),
            hostile("a FIFO", |at, _| mknodat(CWD, at, FileType::Fifo, Mode::RUSR, 0).unwrap()),
            hostile("a link to nothing", |at, _| symlink("nothing", at).unwrap()),
            hostile("a link to itself", |at, _| symlink(at, at).unwrap()),
            hostile("a link to a device", |at, _| symlink("/dev/zero", at).unwrap()),
            hostile("group may write", |at, was| {
                symlink(was, at).unwrap();
                chmod(was, 0o770)
            }),
            hostile("all may write", |at, was| {
                symlink(was, at).unwrap();
                chmod(was, 0o703)
            }),
            by_root("a stranger's", |at, was| {
                symlink(was, at).unwrap();
                lchown(was, STRANGER, None).unwrap()
            }),
            by_root("a stranger's link", |at, was| {
                symlink(was, at).unwrap();
                lchown(at, STRANGER, None).unwrap()
            }),
        ];
        for Hostile { what, make, needs_root } in folders {
            if *needs_root && !root {
                tests::skip(&format!("{what}: needs root"));
                continue;
            }
            let what = format!("{name:?}: {what}");
            let otp = key.press();
            place.write("answers", format!("{otp}\n"), 0o600);
            let answers = File::open(place.path("answers")).unwrap();
            fs::rename(&at, &was).unwrap();
            make(&at, &was);
            let mut pam = Pam::start(place.confdir(), "otp", Some(b"alice"), Box::new(Script::new([&otp])));
            assert_eq!(pam.authenticate(0), Code::AUTHINFO_UNAVAIL, "{what}");
            assert_ne!(pam.acct_mgmt(0), Code::SUCCESS, "{what}");
            drop(answers);
            let _ = fs::remove_file(&at);
            fs::rename(&was, &at).unwrap();
            chmod(&at, 0o700);
            lchown(&at, Some(rustix::process::geteuid().as_raw()), None).unwrap();
        }
        assert_eq!(login(&place, &key.press(), name).0, Code::SUCCESS, "{name} as it was");
    }
}

/// What root, or who runs the application, has made is no attack: links to whole files, and other names of a file. In
/// the store there are no links, see docs/store.md.
#[test]
fn links_of_ones_own() {
    let worlds = [world(1120, false), world(1121, true)];
    let mut worlds = worlds.map(|world| (world.key.public_id(), world));
    for (name, online) in FILES {
        let (id, World { place, key, .. }) = &mut worlds[usize::from(*online)];
        let at = place.path(&name.replace("ID", id));
        let was = at.with_file_name("was");
        for (what, make) in [
            ("another name of it", (|at, was| fs::hard_link(was, at).unwrap()) as fn(&Path, &Path)),
            ("a link", |at, was| symlink(was.file_name().unwrap(), at).unwrap()),
            ("a link by another", |at, was| {
                symlink(was, at.with_file_name("between")).unwrap();
                symlink("between", at).unwrap();
            }),
        ] {
            fs::rename(&at, &was).unwrap();
            make(&at, &was);
            let (code, log) = login(place, &key.press(), what);
            let in_store = name.contains('/') && what.contains("link");
            let expected = if in_store { Code::AUTHINFO_UNAVAIL } else { Code::SUCCESS };
            assert_eq!(code, expected, "{name}: {what}: {log:?}");
            fs::remove_file(&at).unwrap();
            let _ = fs::remove_file(at.with_file_name("between"));
            fs::rename(&was, &at).unwrap();
        }
    }
    // The files of one token under the names of another one: each says whose it is.
    let (id, World { place, .. }) = &worlds[0];
    let mut other = SoftYubiKey::numbered(1122);
    place.enrol("bob", &other);
    for folder in ["keys", "positions"] {
        let at = place.path(&format!("{folder}/{}", other.public_id()));
        fs::rename(&at, place.path("was")).unwrap();
        fs::hard_link(place.path(&format!("{folder}/{id}")), &at).unwrap();
        let mut pam =
            Pam::start(place.confdir(), "otp", Some(b"bob"), Box::new(Script::new([other.press()])));
        assert_eq!(pam.authenticate(0), Code::AUTHINFO_UNAVAIL, "{folder}");
        fs::rename(place.path("was"), &at).unwrap();
    }
}

/// Three mappings, and somebody who renames now one and now another into place. Each login is decided by one of them,
/// and what is checked is what is read: the third lists bob's token, and everybody may write to it.
#[test]
fn a_mapping_that_is_swapped_all_the_time() {
    let (place, mut alices) = enrolled(1130);
    let mut bobs = SoftYubiKey::numbered(1131);
    place.enrol("bob", &bobs);
    place.arguments("nullok");
    // bob is in the first without a token, and not in the second, which has a line that may be anybody's: none of the
    // three excuses him, nor lets him in.
    let filler: String = (0..5_000).map(|number| format!("user{number}:vvcbvvcb\n")).collect();
    let (alice, bob) = (alices.public_id(), bobs.public_id());
    place.write("first", format!("{filler}alice:{alice}\nbob:\n"), 0o644);
    place.write("second", format!("{filler}alice:\nwhose is this\n"), 0o644);
    place.write("third", format!("{filler}alice:\nbob:{bob}\n"), 0o666);
    // The mapping that enrolled bob goes before the first login. The last of the cycle: what has the name already
    // cannot be renamed to it.
    fs::hard_link(place.path("third"), place.path("next")).unwrap();
    fs::rename(place.path("next"), place.path("authorized_yubikeys")).unwrap();
    let stop = AtomicBool::new(false);
    let mut codes = BTreeMap::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Many times within one login: nothing is written, only named.
            for name in ["first", "second", "third"].into_iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                fs::hard_link(place.path(name), place.path("next")).unwrap();
                fs::rename(place.path("next"), place.path("authorized_yubikeys")).unwrap();
            }
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            for (user, key) in [("alice", &mut alices), ("bob", &mut bobs)] {
                let script = Script::new([key.press()]);
                let mut pam = Pam::start(place.confdir(), "otp", Some(user.as_bytes()), Box::new(script));
                *codes.entry((user, pam.authenticate(0).0)).or_insert(0_u32) += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{codes:?}");
    let [yes, no, fault] = [Code::SUCCESS, Code::AUTH_ERR, Code::AUTHINFO_UNAVAIL].map(|code| code.0);
    let expected = [("alice", yes), ("alice", no), ("alice", fault), ("bob", no), ("bob", fault)];
    assert!(codes.keys().copied().eq(expected), "each of them, and no other: {codes:?}");
}
