//! `check` and the server agree: what `check` calls an error keeps the server from starting or from answering, and what
//! it finds no error in is served. And `check` changes nothing.

use crate::desk::{chmod, is_root};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{net, thread};
use tests::soft_yubikey::SoftYubiKey;
use tests::tls::{Authority, Kind};
use tests::ykvald::{Question, Site};

const NOBODY: u32 = 65534;

/// One configuration: what to change of a site that is well.
struct Case {
    name: &'static str,
    /// In place of `{at}` is the address that is asked, in place of `{port}` its port.
    settings: &'static str,
    prepare: fn(&Path, &Authority),
    /// The exit status of `check`; `None`: depends on the machine.
    code: Option<i32>,
}

const PLAIN: &str = "listen = \"{at}\"";
const TLS: &str = "listen = \"{at}\"\n[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"";
const CLIENTS: &str = "listen = \"{at}\"\n[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"clients.pem\"";

const fn case(name: &'static str, settings: &'static str, prepare: fn(&Path, &Authority), code: i32) -> Case {
    Case { name, settings, prepare, code: Some(code) }
}

fn nothing(_: &Path, _: &Authority) {}

fn identity(site: &Path, authority: &Authority, kind: Kind) {
    authority.identity(kind).write(site, "server");
}

fn right(site: &Path, authority: &Authority) {
    identity(site, authority, Kind::Right);
}

/// Changes the schema's number in the header of the store.
fn schema(site: &Path, number: u32) {
    let mut store = fs::read(site.join("ykvald.db")).unwrap();
    store[60..64].copy_from_slice(&number.to_be_bytes());
    fs::write(site.join("ykvald.db"), store).unwrap();
}

const CASES: &[Case] = &[
    case("as it should be", PLAIN, nothing, 0),
    case("no address", "listen = []", nothing, 2),
    case("an address twice", "listen = [\"{at}\", \"{at}\"]", nothing, 2),
    case("all addresses, and one", "plain_http = true\nlisten = [\"0.0.0.0:{port}\", \"{at}\"]", nothing, 2),
    case("another host's address", "plain_http = true\nlisten = \"192.0.2.1:{port}\"", nothing, 2),
    case("no connections", "listen = \"{at}\"\n[limits]\nconnections = 0", nothing, 2),
    case("no verifications", "listen = \"{at}\"\n[limits]\nin_flight = 0", nothing, 2),
    case("a pool of none", "listen = \"{at}\"\n[postgres]\npool = 0", nothing, 2),
    case("TLS", TLS, right, 0),
    case("expired", TLS, |site, by| identity(site, by, Kind::Expired), 2),
    case("not valid yet", TLS, |site, by| identity(site, by, Kind::NotYetValid), 2),
    case("about to expire", TLS, |site, by| identity(site, by, Kind::Ending), 1),
    case(
        "another's key",
        TLS,
        |site, by| {
            right(site, by);
            fs::write(site.join("server.key"), by.identity(Kind::Right).key).unwrap();
        },
        2,
    ),
    case(
        "no key",
        TLS,
        |site, by| {
            right(site, by);
            fs::remove_file(site.join("server.key")).unwrap();
        },
        2,
    ),
    case(
        "a key for all to read",
        TLS,
        |site, by| {
            right(site, by);
            chmod(&site.join("server.key"), 0o644);
        },
        2,
    ),
    case(
        "no authority of clients",
        CLIENTS,
        |site, by| {
            right(site, by);
            fs::write(site.join("clients.pem"), "").unwrap();
        },
        2,
    ),
    case(
        "more authorities of clients than a server reads",
        CLIENTS,
        |site, by| {
            right(site, by);
            fs::write(site.join("clients.pem"), by.pem().repeat((2 << 20) / by.pem().len())).unwrap();
        },
        2,
    ),
    case(
        "no socket where that of the decryption is to be",
        "listen = \"{at}\"\n[decrypt]\nlisten = \"unix:decrypt\"",
        |site, _| fs::write(site.join("decrypt"), "").unwrap(),
        2,
    ),
    case("no folder for it", "listen = \"{at}\"\n[decrypt]\nlisten = \"unix:no/decrypt\"", nothing, 2),
    case("a key storage module of no host", "listen = \"{at}\"\n[ksm]\nurls = \"http://\"", nothing, 2),
    case(
        "a key storage module by http",
        "listen = \"{at}\"\n[ksm]\nurls = \"http://192.0.2.1/wsapi/decrypt\"",
        nothing,
        1,
    ),
    case(
        "no authorities of it",
        "listen = \"{at}\"\n[ksm]\nurls = \"https://192.0.2.1/wsapi/decrypt\"\nca = \"no.pem\"",
        nothing,
        2,
    ),
    case("no store", PLAIN, |site, _| fs::remove_file(site.join("ykvald.db")).unwrap(), 2),
    case("another store", PLAIN, |site, _| fs::write(site.join("ykvald.db"), [7; 9000]).unwrap(), 2),
    case("a later store", PLAIN, |site, _| schema(site, 99), 2),
    case("a folder for all to write to", PLAIN, |site, _| chmod(site, 0o777), 2),
    case("a store for all to write to", PLAIN, |site, _| chmod(&site.join("ykvald.db"), 0o666), 2),
    case("no store key", PLAIN, |site, _| fs::remove_file(site.join("store.key")).unwrap(), 2),
    Case { code: None, ..case("syslog", "listen = \"{at}\"\n[log]\nto = \"syslog\"", nothing, 0) },
];

/// A server that another user runs, checked by root. All files are that user's, except those that a case changes.
const OF_ANOTHER_USER: &[OfAnotherUser] = &[
    ("all theirs", TLS, |_| {}, 0),
    ("a key of root's, for their group", TLS, |site| owner(site, "server.key", 0, NOBODY, 0o640), 0),
    ("a key for root only", TLS, |site| owner(site, "server.key", 0, 0, 0o600), 2),
    (
        "a certificate in a folder for root only",
        "listen = \"{at}\"\n[tls]\ncertificate = \"own/server.pem\"\nkey = \"server.key\"",
        |site| {
            fs::create_dir(site.join("own")).unwrap();
            fs::rename(site.join("server.pem"), site.join("own/server.pem")).unwrap();
            owner(site, "own", 0, 0, 0o700);
        },
        2,
    ),
    ("a store key for root only", PLAIN, |site| owner(site, "store.key", 0, 0, 0o600), 2),
    ("a store of root's", PLAIN, |site| owner(site, "ykvald.db", 0, 0, 0o600), 2),
    ("a folder for root only", PLAIN, |site| owner(site, "", 0, 0, 0o700), 2),
    ("a folder that they cannot write to", PLAIN, |site| owner(site, "", 0, 0, 0o755), 2),
];

/// The same with a cluster of one member, of which `check` warns.
const WITH_ETCD: &[OfAnotherUser] = &[
    ("their record", PLAIN, |_| {}, 1),
    ("a record for root only", PLAIN, |site| owner(site, "etcd.seen", 0, 0, 0o600), 2),
    ("a record of root's, for their group", PLAIN, |site| owner(site, "etcd.seen", 0, NOBODY, 0o640), 1),
    ("no record", PLAIN, |site| fs::remove_file(site.join("etcd.seen")).unwrap(), 1),
];

/// A name, settings, what to change, and the exit status of `check`.
type OfAnotherUser = (&'static str, &'static str, fn(&Path), i32);

fn owner(site: &Path, name: &str, uid: u32, gid: u32, mode: u32) {
    chown(site.join(name), Some(uid), Some(gid)).unwrap();
    chmod(&site.join(name), mode);
}

/// The answer to a question about a fresh OTP, by a client that looks at certificates.
fn ask(site: &Site, key: &mut SoftYubiKey, tls: Option<&Arc<ClientConfig>>) -> io::Result<String> {
    let stream = TcpStream::connect(site.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request =
        Question::new(site.client(), &key.press()).request().replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let mut said = String::new();
    match tls {
        None => {
            (&stream).write_all(request.as_bytes())?;
            (&stream).read_to_string(&mut said)?;
        }
        Some(config) => {
            let connection =
                ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            stream.write_all(request.as_bytes())?;
            // A server may close without a word of TLS.
            let _ = stream.read_to_string(&mut said);
        }
    }
    Ok(said)
}

/// Whether a server answers a good OTP with OK.
fn serves(
    site: &Site,
    key: &mut SoftYubiKey,
    tls: Option<&Arc<ClientConfig>>,
    mut command: Command,
) -> Result<(), String> {
    let log =
        site.path().parent().unwrap().join(format!("log-of-{}", site.path().file_name().unwrap().display()));
    let file = fs::File::create(&log).unwrap();
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let mut server = command.spawn().unwrap();
    let begun = Instant::now();
    let verdict = loop {
        if let Some(status) = server.try_wait().unwrap() {
            break Err(format!("{status}: {}", fs::read_to_string(&log).unwrap()));
        }
        match ask(site, key, tls) {
            Ok(said) if said.contains("status=OK") => break Ok(()),
            answer if begun.elapsed() > Duration::from_secs(3) => break Err(format!("{answer:?}")),
            _ => thread::sleep(Duration::from_millis(20)),
        }
    };
    let _ = server.kill();
    server.wait().unwrap();
    fs::remove_file(log).unwrap();
    verdict
}

/// Compares `check` with the server that `command` starts, on a site of this case that `made` has finished.
fn agree(case: &Case, made: impl Fn(&Path), command: impl Fn(&Site) -> Command) {
    agree_on(Site::sqlite(), case, made, command);
}

fn agree_on(site: Site, case: &Case, made: impl Fn(&Path), command: impl Fn(&Site) -> Command) {
    let Case { name, settings, prepare, code } = case;
    let authority = Authority::new("ours");
    let mut key = site.keys(2800..2801).remove(0);
    let settings = settings.replace("{at}", &site.address().to_string());
    site.settings(&settings.replace("{port}", &site.address().port().to_string()));
    let tls = settings.contains("[tls]").then(|| authority.trusting(None));
    prepare(site.path(), &authority);
    made(site.path());
    let before = picture(site.path());
    let checked = site.command(&["check"]).output().unwrap();
    assert!(picture(site.path()) == before, "{name}: check changed something");
    let said = String::from_utf8_lossy(&checked.stdout);
    let found = checked.status.code().unwrap();
    assert!(code.is_none_or(|code| code == found), "{name}: check exits {found}: {said}");
    let served = serves(&site, &mut key, tls.as_ref(), command(&site));
    assert_eq!(served.is_ok(), found < 2, "{name}: served: {served:?}, check: {said}");
}

#[test]
fn check_and_the_server() {
    for case in CASES {
        agree(case, |_| {}, |site| site.command(&["serve"]));
    }
}

/// Somebody else listens there; or this very server, which is well.
#[test]
fn who_listens_there() {
    if !is_root() {
        return tests::skip("needs root, who sees what others listen on");
    }
    let site = Site::sqlite();
    site.settings(&PLAIN.replace("{at}", &site.address().to_string()));
    let mut key = site.keys(2801..2802).remove(0);
    let check = || site.command(&["check"]).output().unwrap().status.code();
    let taken = net::TcpListener::bind(site.address()).unwrap();
    assert_eq!(check(), Some(2));
    // That one answers nothing.
    let mut server = site.command(&["serve"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(2));
    drop(taken);
    assert_eq!(check(), Some(0));
    let server = site.run(site.command(&["serve"]), site.address());
    assert_eq!(check(), Some(0));
    server.kill();
    assert!(serves(&site, &mut key, None, site.command(&["serve"])).is_ok());
}

/// Root looks at what another user runs: by owners and modes, for root itself may read everything.
#[test]
fn check_by_root_of_a_server_that_another_user_runs() {
    if !is_root() {
        return tests::skip("needs root");
    }
    let other = OtherUser::new();
    for (name, settings, change, code) in OF_ANOTHER_USER {
        agree(
            &case(name, settings, right, *code),
            |site| other.owns(site, *change),
            |site| other.serve(site),
        );
    }
}

/// What the server writes beside its settings is checked, too.
#[test]
fn check_by_root_of_what_a_server_with_etcd_writes() {
    if !is_root() {
        return tests::skip("needs root");
    }
    let other = OtherUser::new();
    for (name, settings, change, code) in WITH_ETCD {
        let site = match Site::etcd() {
            Ok(site) => site,
            Err(why) => return tests::skip(&why),
        };
        // Only a server records.
        drop(site.start());
        agree_on(
            site,
            &case(name, settings, right, *code),
            |site| other.owns(site, *change),
            |site| other.serve(site),
        );
    }
    // It serves, and after a restart it knows nothing: a warning.
    let Ok(site) = Site::etcd() else { return };
    drop(site.start());
    site.settings(&format!(
        "listen = \"{}\"\n[sync]\npeers = [{{ url = \"http://127.0.0.1:9/wsapi/2.0/sync\", from = \"127.0.0.1\" }}]",
        site.address()
    ));
    let warned = |change: fn(&Path)| {
        other.owns(site.path(), change);
        let checked = site.command(&["check", "--json"]).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        let mut warned: Vec<_> = findings
            .filter(|found| found["severity"] == "warning")
            .map(|found| found["code"].as_str().unwrap().to_owned())
            .collect();
        warned.retain(|code| code.ends_with("state-not-written"));
        warned.sort();
        warned
    };
    assert_eq!(warned(|_| {}), [""; 0]);
    let both = ["database-state-not-written", "sync-state-not-written"];
    assert_eq!(warned(|site| owner(site, "", 0, NOBODY, 0o750)), both);
}

/// A user who runs a server, with a copy of the program that they can reach.
struct OtherUser {
    program: PathBuf,
    _outside: tempfile::TempDir,
}

impl OtherUser {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        chmod(outside.path(), 0o755);
        let program = outside.path().join("ykvald");
        fs::copy(tests::built::program("ykvald"), &program).unwrap();
        Self { program, _outside: outside }
    }

    /// Gives them a site, and changes that then.
    fn owns(&self, site: &Path, change: fn(&Path)) {
        for entry in fs::read_dir(site).unwrap() {
            chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        chown(site, Some(NOBODY), Some(NOBODY)).unwrap();
        // As init makes it: root's commands trust nobody else's.
        owner(site, "config.toml", 0, NOBODY, 0o640);
        change(site);
    }

    fn serve(&self, site: &Site) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&self.program);
        command.arg("--config").arg(site.path().join("config.toml")).arg("serve");
        command
    }
}

/// The files of a killed server are read and not changed; nor is a store of an earlier schema.
#[test]
fn check_changes_nothing() {
    let site = Site::sqlite();
    let mut key = site.keys(2802..2803).remove(0);
    let server = site.start();
    let mut asked = || {
        assert_eq!(server.connect().ask(&Question::new(site.client(), &key.press())).unwrap().says(), "OK")
    };
    asked();
    let check = |code: i32, words: &str| {
        let names =
            |all: Vec<File>| all.into_iter().map(|file| (file.0, file.1, file.2, file.3)).collect::<Vec<_>>();
        let before = picture(site.path());
        let checked = site.command(&["check"]).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout);
        assert_eq!(checked.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{said}");
        (names(before.clone()) == names(picture(site.path())), before == picture(site.path()))
    };
    // Its own health takes notes in the store.
    assert!(check(0, "1 key").0);
    asked();
    server.kill();
    assert!(site.path().join("ykvald.db-wal").exists());
    assert_eq!(check(0, "1 key"), (true, true));
    drop(site.start());
    // Closed well, and then of an earlier schema.
    let server = site.start();
    server.signal(rustix::process::Signal::TERM);
    { server }.wait(Duration::from_secs(10));
    schema(site.path(), 0);
    assert_eq!(check(1, "[database-from-earlier-version]"), (true, true));
}

/// A file, as far as it could be changed.
type File = (PathBuf, u32, u32, u32, i64, i64, Vec<u8>);

fn picture(folder: &Path) -> Vec<File> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let is = path.metadata().unwrap();
        let text = fs::read(&path).unwrap_or_default();
        (path, is.uid(), is.gid(), is.mode(), is.mtime(), is.mtime_nsec(), text)
    });
    let mut all: Vec<_> = entries.collect();
    all.sort();
    all
}
