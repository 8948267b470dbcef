//! The SELinux module: compiled, and held against what a login does in the store.

use crate::{source, tool};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::Server;

/// Compiles a module as README.md says; the package that `semodule -i` takes.
fn package(te: &Path, fc: &Path, folder: &Path) -> Option<Result<PathBuf, String>> {
    let (Some(mut compiler), Some(mut packager)) = (tool("checkmodule"), tool("semodule_package")) else {
        tests::skip("needs checkmodule and semodule_package (checkpolicy, semodule-utils)");
        return None;
    };
    let (module, package) = (folder.join("yubiotp.mod"), folder.join("yubiotp.pp"));
    compiler.args(["-M", "-m", "-o"]).arg(&module).arg(te);
    packager.arg("-o").arg(&package).arg("-m").arg(&module).arg("-f").arg(fc);
    for mut step in [compiler, packager] {
        let said = step.output().unwrap();
        if !said.status.success() {
            return Some(Err(String::from_utf8_lossy(&said.stderr).into_owned()));
        }
    }
    Some(Ok(package))
}

fn te() -> PathBuf {
    source("packaging/selinux/yubiotp.te")
}

fn fc() -> PathBuf {
    source("packaging/selinux/yubiotp.fc")
}

#[test]
fn it_compiles() {
    let folder = tempfile::tempdir().unwrap();
    let Some(package) = package(&te(), &fc(), folder.path()) else { return };
    let text = fs::read(package.unwrap()).unwrap();
    let holds = |part: &str| text.windows(part.len()).any(|piece| piece == part.as_bytes());
    for part in ["var_auth_t", "sudodomain", "su_domain_type", "/var/lib/yubiotp(/.*)?", "authlogin_yubikey"]
    {
        assert!(holds(part), "{part} is not in the package");
    }
}

#[test]
fn a_mistake_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(te()).unwrap();
    let wrong = folder.path().join("yubiotp.te");
    for (part, instead) in [("rename ", "renmae "), ("var_auth_t:file", "unknown_t:file"), (";\n", "\n")] {
        fs::write(&wrong, text.replacen(part, instead, 1)).unwrap();
        let Some(package) = package(&wrong, &fc(), folder.path()) else { return };
        assert!(package.is_err(), "{instead:?} for {part:?} compiles");
    }
}

/// Each file is labelled by the pattern that is meant for it, and nothing else is.
#[test]
fn labels() {
    let text = fs::read_to_string(fc()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let patterns: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    assert!(patterns.iter().all(|line| line.last() == Some(&"system_u:object_r:var_auth_t:s0")), "{text}");
    for (path, expected) in [
        ("/var/lib/yubiotp", true),
        ("/var/lib/yubiotp/positions/vvcccccccccb", true),
        ("/etc/yubiotp/store.key", true),
        ("/etc/yubiotp/client.key", true),
        ("/etc/yubiotp/host.key", true),
        ("/etc/yubiotp/ca/host.key", false),
        ("/etc/yubiotp/config.toml", false),
        ("/etc/yubiotp/authorized_yubikeys", false),
        ("/var/lib/yubiotp2", false),
    ] {
        // By grep: a pattern of file contexts is an extended one, from one end to the other.
        let matches = |pattern: &str| {
            let mut grep = Command::new("sh");
            grep.args(["-c", "printf '%s\\n' \"$1\" | grep -Exq -- \"$2\"", "sh", path, pattern]);
            grep.status().unwrap().success()
        };
        assert_eq!(patterns.iter().any(|line| matches(line[0])), expected, "{path}");
    }
}

/// Permissions by class.
type Permissions = BTreeMap<&'static str, BTreeSet<&'static str>>;

/// What logins do in the store is what the module allows where the system's policy does not: no less, and no more.
#[test]
fn a_login_does_in_the_store_what_the_module_allows() {
    if tool("strace").is_none() {
        return tests::skip("needs strace");
    }
    let (place, mut key, mut stranger) =
        (Place::new(), SoftYubiKey::numbered(710), SoftYubiKey::numbered(711));
    place.enrol("alice", &key);
    place.list("bob", &stranger);
    let server = Server::start(&[&key, &stranger]);
    place.online("offline-then-online", &[server.url()], "");
    let log = place.path("trace");
    let mut needs = Permissions::new();
    let (first, second, theirs) = (key.press(), key.press(), stranger.press());
    // The first, a later one, one that was used, and a token whose key is not here.
    for (user, otp, expected) in [
        ("alice", &first, "PAM_SUCCESS"),
        ("alice", &second, "PAM_SUCCESS"),
        ("alice", &second, "PAM_AUTH_ERR"),
        ("bob", &theirs, "PAM_SUCCESS"),
        ("bob", &stranger.press(), "PAM_SUCCESS"),
    ] {
        let drive = place.whole_login("otp", user, &[otp]);
        let mut strace = Command::new("strace");
        strace.args(["-y", "-qqq", "-e", "signal=none", "-e", "trace=%file,%desc", "-o"]).arg(&log);
        strace.arg(drive.get_program()).args(drive.get_args());
        let said = place.run(strace);
        assert_eq!(said.code("authenticate"), expected, "{user}: {:?}", said.log);
        let text = fs::read_to_string(&log).unwrap();
        for call in text.lines() {
            for (class, permission) in done(call, &place.host()) {
                needs.entry(class).or_default().insert(permission);
            }
        }
    }
    println!("{needs:#?}");
    let text = fs::read_to_string(te()).unwrap();
    let allowed = |domain: &str, class: &str| -> BTreeSet<String> {
        let begins = format!("allow {domain} var_auth_t:{class} {{");
        let rule = text.split_once(&begins).unwrap().1.split_once('}').unwrap().0;
        rule.split_whitespace().map(str::to_owned).collect()
    };
    for domain in ["sudodomain", "su_domain_type"] {
        for (class, needs) in &needs {
            let allowed = allowed(domain, class);
            let denied: Vec<_> = needs.iter().filter(|need| !allowed.contains(**need)).collect();
            assert!(denied.is_empty(), "{domain} may not {denied:?} a {class} of the store");
            let idle: Vec<_> = allowed.iter().filter(|allowed| !needs.contains(allowed.as_str())).collect();
            assert!(idle.is_empty(), "{domain} may {idle:?} a {class} of the store, and no login does");
        }
    }
}

/// What one system call needs in the store, as SELinux names it.
fn done(call: &str, host: &Path) -> Vec<(&'static str, &'static str)> {
    let (name, arguments) = call.split_once('(').unwrap_or((call, ""));
    let host = host.to_str().unwrap();
    let ours = ["keys", "positions", ".yubiotp.lock"]
        .iter()
        .any(|part| arguments.contains(&format!("{host}/{part}")));
    let inside = arguments.contains(&format!("{host}>, \"keys\""))
        || arguments.contains(&format!("{host}>, \"positions\""))
        || arguments.contains(&format!("{host}>, \".yubiotp.lock\""));
    if !(ours || inside) {
        return Vec::new();
    }
    let is_dir = |call: &str| {
        let descriptor = call.rsplit_once("= ").map_or("", |(_, result)| result);
        let path =
            descriptor.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path);
        call.contains("O_DIRECTORY") || path.is_some_and(|path| Path::new(path).is_dir())
    };
    let made = [("dir", "search"), ("dir", "write"), ("dir", "add_name")];
    match name {
        "open" | "openat" | "openat2" if call.contains("O_PATH") => vec![("dir", "search")],
        "open" | "openat" | "openat2" if call.contains("= -1") && !call.contains("O_CREAT") => {
            vec![("dir", "search")]
        }
        "open" | "openat" | "openat2" if is_dir(call) => {
            vec![("dir", "search"), ("dir", "open"), ("dir", "read"), ("dir", "getattr")]
        }
        "open" | "openat" | "openat2" => {
            let mut needs = vec![("dir", "search"), ("file", "open"), ("file", "getattr")];
            if !call.contains("O_WRONLY") {
                needs.push(("file", "read"));
            }
            if call.contains("O_WRONLY") || call.contains("O_RDWR") {
                needs.push(("file", "write"));
            }
            if call.contains("O_CREAT") {
                needs.extend(made);
                needs.push(("file", "create"));
            }
            needs
        }
        "flock" => {
            let descriptor = arguments.split_once('<').unwrap().1.split_once('>').unwrap().0;
            vec![(if Path::new(descriptor).is_dir() { "dir" } else { "file" }, "lock")]
        }
        "rename" | "renameat" | "renameat2" => {
            [made.as_slice(), &[("dir", "remove_name"), ("file", "rename")]].concat()
        }
        "link" | "linkat" => [made.as_slice(), &[("file", "link")]].concat(),
        "unlink" | "unlinkat" => vec![("dir", "write"), ("dir", "remove_name"), ("file", "unlink")],
        "fchmod" | "fchmodat" | "chmod" | "fchown" | "ftruncate" | "fallocate" => vec![("file", "setattr")],
        "write" | "pwrite64" | "pwritev" | "pwritev2" => vec![("file", "write")],
        "read" | "pread64" | "preadv" | "preadv2" => vec![("file", "read")],
        "getdents64" => vec![("dir", "read")],
        "fstat" | "newfstatat" | "statx" | "fstatfs" | "statfs" | "stat" | "lstat" => {
            vec![("file", "getattr")]
        }
        "close" | "fsync" | "fdatasync" | "lseek" | "fcntl" | "dup" | "readlink" | "poll" => Vec::new(),
        "execve" => Vec::new(),
        _ => panic!("what does this need? {call}"),
    }
}
