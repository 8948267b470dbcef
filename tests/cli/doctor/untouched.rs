//! The doctor only looks: nothing is written, made, locked or used up.

use super::{Host, Visit, well};
use crate::desk::{Said, is_root, run};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::validation::Server;

/// Everything about each thing in a folder but when it was read.
pub(crate) type Picture = BTreeMap<PathBuf, (u64, u32, u32, u64, i64, i64, Vec<u8>)>;

pub(crate) fn picture(path: &Path, found: &mut Picture) {
    let is = fs::symlink_metadata(path).unwrap();
    let mut contents = Vec::new();
    if is.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            picture(&entry.unwrap().path(), found);
        }
    } else if is.is_file() {
        contents = fs::read(path).unwrap();
    }
    let when = (is.mtime(), is.mtime_nsec());
    found.insert(path.to_owned(), (is.ino(), is.mode(), is.uid(), is.nlink(), when.0, when.1, contents));
}

/// A host with something of everything: a server, a token that was used, one that is disabled, something broken.
fn host() -> (Host, Server) {
    let mut host = Host::new();
    let server = Server::start(&[&host.key]);
    let otp = host.key.press();
    assert!(host.place.ykmap(&["verify", "alice", &otp]).status.success());
    host.place.online("online-then-offline", &[server.url()], "");
    fs::write(host.place.path("keys/.vvcb.new"), "").unwrap();
    // Nothing that a lock would have been made for is there.
    for folder in ["", "keys", "positions"] {
        let _ = fs::remove_file(host.place.path(folder).join(".yubiotp.lock"));
    }
    (host, server)
}

#[test]
fn nothing_has_changed() {
    let (host, server) = host();
    let root = host.place.host();
    let root = root.parent().unwrap();
    let (mut before, mut after) = (Picture::new(), Picture::new());
    picture(root, &mut before);
    host.doctor(&["alice", "nobody"]).finds("error", "user", Path::new(""), &["user-not-listed"]);
    picture(root, &mut after);
    assert_eq!(before, after);
    assert_eq!(server.requests().len(), 1, "one question a server");
}

/// Her next OTP and the one before have the same state as before, here and at the server.
#[test]
fn no_otp_is_used_up() {
    let (mut host, server) = host();
    let next = host.key.press();
    host.doctor(&["alice"]).finds("ok", "servers", Path::new("http://127.0.0.1"), &["server-answers"]);
    let asked = server.requests()[0].get("otp").unwrap().to_owned();
    assert!(asked.len() == 44 && !asked.starts_with(&host.key.public_id()), "{asked}");
    let said = host.place.ykmap(&["verify", "alice", &next]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

/// The system calls of a command, and of the programs that it starts, that change a file or a lock, or could: by strace, which
/// writes to `log`.
pub(crate) fn calls_that_change(command: &Command, log: &Path) -> Vec<String> {
    let mut strace = Command::new("strace");
    let calls = "openat,open,creat,mkdir,mkdirat,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,\
                 symlinkat,chmod,fchmod,fchmodat,chown,fchown,fchownat,truncate,ftruncate,fallocate,fsync,fdatasync,\
                 sync,syncfs,flock,pwrite64,pwritev,pwritev2,writev,utimensat,mknod,mknodat,setxattr,fsetxattr";
    // -y: with the path of each descriptor.
    strace.args(["-f", "-y", "-o"]).arg(log).arg("-e").arg(format!("trace={calls}"));
    run(strace.arg(command.get_program()).args(command.get_args())).exits(well());
    let seen = fs::read_to_string(log).unwrap();
    assert!(seen.contains("authorized_yubikeys") && seen.contains("openat"), "{seen}");
    // Positions are opened for writing, as a login does, and nothing is written to them.
    let opens = |line: &&str| {
        let is_position = line.contains("/positions/") && !line.contains("O_RDWR");
        line.contains("open")
            && !["O_CREAT", "O_TRUNC", "O_RDWR"].iter().any(|how| line.contains(how))
            && (is_position || !line.contains("O_WRONLY"))
    };
    // "???(": a call of a thread that was gone before strace could look at it.
    let other = |line: &&str| !["+++", "---", "resumed", " ???("].iter().any(|unseen| line.contains(unseen));
    // Rust's runtime opens /dev/null for standard streams that a child lacks.
    let changes = seen.lines().filter(other).filter(|line| !opens(line) && !line.contains("/dev/null"));
    changes.map(str::to_owned).collect()
}

/// What strace sees of the command and the program that it starts: no call that changes a file, none that could.
#[test]
fn no_call_that_changes_anything() {
    if Command::new("strace").arg("-V").output().is_err() {
        return tests::skip("needs strace");
    }
    let (host, server) = host();
    let mut command = host.command();
    assert_eq!(calls_that_change(command.arg("alice"), &host.place.path("strace")), Vec::<String>::new());
    assert_eq!(server.requests().len(), 1);
}

/// On a file system that is mounted read-only, as in a rescue system, the doctor runs, and nobody could log in.
#[test]
fn on_a_disk_that_cannot_be_written() {
    if !is_root() {
        return tests::skip("needs root, to mount");
    }
    let (host, _server) = host();
    let folder = host.place.host();
    let folder = folder.parent().unwrap().display();
    let mut command = Command::new("unshare");
    let script = format!(
        "mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && ! touch {folder}/x 2>/dev/null && exec \"$@\""
    );
    command.args(["-m", "sh", "-c", &script, "sh"]);
    command.arg(host.command().get_program()).args(host.command().get_args());
    let visit = Visit::new(command.arg("--json"));
    visit.finds("error", "store", &host.place.path("positions"), &["store-not-writable", "findmnt -T "]);
    assert_eq!(visit.of("error").len(), 1, "{visit:#?}");
}

/// One note that root is needed, not one for each file.
#[test]
fn without_the_rights() {
    if !is_root() {
        return tests::skip("needs root, to be somebody else");
    }
    let host = Host::new();
    let ykmap = host.shown_to_others();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=12345", "--regid=12345", "--clear-groups", "--"]).arg(&ykmap);
    command.args(host.command().get_args()).arg("--json").arg("alice").current_dir("/");
    let visit = Visit::new(&mut command);
    visit.finds("error", "rights", Path::new(""), &["not-root"]);
    assert_eq!(visit.of("error").len(), 1, "{visit:#?}");
    // Users can check their own files.
    for entry in ["", "config.toml", "authorized_yubikeys", "store.key", "keys", "positions"] {
        chown(host.place.path(entry), Some(12_345), None).unwrap();
    }
    for folder in ["keys", "positions"] {
        chown(host.place.path(folder).join(host.key.public_id()), Some(12_345), None).unwrap();
    }
    let visit = Visit::new(&mut command);
    assert!(visit.of("error").is_empty(), "{visit:#?}");
    let found = visit.finds("warning", "rights", Path::new(""), &["files-of-caller"]);
    assert!(visit.of("warning").len() == 1 && found["location"]["file"].is_string(), "once: {visit:#?}");
}

/// A hundred thousand take five times as long, which is still seconds.
#[test]
fn very_many_tokens() {
    use crate::desk::Desk;
    use std::fmt::Write as _;
    const TOKENS: u32 = 20_000;
    let desk = Desk::in_memory();
    let (mut log, mut mapping) = (String::new(), String::new());
    for n in 0..TOKENS {
        let id = format!("vv{}", tests::soft_yubikey::SoftYubiKey::numbered(n).public_id().split_off(2));
        writeln!(log, "Yubico OTP,19/02/2016 11:04,1,{id},{n:012x},{n:032x},,,0,0,0,0,0,0,0,0,0,0").unwrap();
        writeln!(mapping, "user{n}:{id}").unwrap();
    }
    let log = desk.write_beside("log.csv", log.as_bytes());
    desk.ykmap(&["key", "import", log.to_str().unwrap()]).exits(0);
    desk.map(mapping);
    let pam = desk.beside("pam.d");
    fs::create_dir(&pam).unwrap();
    let begun = Instant::now();
    let said: Said = desk.ykmap(&["doctor", "--pam-dir", pam.to_str().unwrap(), "user19999"]).exits(well());
    let took = begun.elapsed();
    assert!(said.out.contains("20000 keys") && said.out.contains("user user19999: token "), "{said:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    // The health of all of them is a page.
    let begun = Instant::now();
    let log = desk.write_beside("auth.log", "");
    let said = desk.ykmap(&["status", "--pam-dir", pam.to_str().unwrap(), "--file", log.to_str().unwrap()]);
    let took = begun.elapsed();
    assert!(said.out.contains("20000 YubiKeys") && said.out.lines().count() < 40, "{said:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}
