//! What one login touches, by strace: no user database, no resolver, no network.

use crate::site::installed;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tests::built;
use tests::libpam::Services;
use tests::soft_yubikey::SoftYubiKey;

/// What lines hold that only a question to NSS or a resolver brings about.
const NSS: [&str; 11] = [
    "libnss",
    "nscd",
    "sssd",
    "userdb",
    "nsswitch.conf\"",
    "passwd\"",
    "group\"",
    "shadow\"",
    "hosts\"",
    "host.conf\"",
    "resolv.conf\"",
];

/// The calls of one login, in order, and how it ended.
struct Trace {
    printed: String,
    /// Before the module is loaded: the application's and libpam's.
    before: Vec<String>,
    /// The module's, and of libpam those around it.
    module: Vec<String>,
    /// As root, libpam itself at last tells the kernel's audit, and looks up the remote host for that.
    audit: Vec<String>,
}

impl Trace {
    /// One login of alice to a service with these lines, traced.
    fn of(dir: &Path, lines: &str, module: &str, answer: &str) -> Self {
        let services = Services::new(&dir.join("pam.d"));
        services.write("demo", lines);
        let file = dir.join("trace");
        let output = Command::new("strace")
            .args(["-f", "-s", "200", "-e", "trace=%file,%network,%process", "-o"])
            .arg(&file)
            .arg(built::program("pam-drive"))
            .args(["--service", "demo", "--user", "alice", "--rhost", "192.0.2.1", "--confdir"])
            .arg(services.path())
            .arg(answer)
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let trace = fs::read_to_string(file).unwrap();
        let mut before: Vec<String> = trace.lines().map(call).collect();
        let loads = |call: &String| call.starts_with("openat(") && call.contains(&format!("/{module}\""));
        let mut module = before.split_off(before.iter().position(loads).unwrap());
        let end = module.iter().position(|call| call.contains("NETLINK_AUDIT")).unwrap_or(module.len());
        let audit = module.split_off(end);
        Self { printed, before, module, audit }
    }

    /// Prints the counts and checks them. `nothing`: the same login with a module that does nothing.
    fn assert_keeps_to_itself(&self, login: &str, nothing: &Self) {
        let (nss, sockets) = (nss(&self.module), named(&self.module, &["socket", "socketpair"]));
        let connects = named(&self.module, &["connect", "bind", "listen"]);
        let started = named(&self.module, &["execve", "execveat", "fork", "vfork", "clone", "clone3"]);
        println!("{login}: nss lines: {}", nss.len());
        println!("{login}: sockets: {}, processes and threads: {}", sockets.len(), started.len());
        assert!(nss.is_empty(), "{nss:#?}");
        assert!(sockets.iter().all(|call| call.starts_with("socket(AF_UNIX, SOCK_DGRAM")), "{sockets:#?}");
        let to_the_log = |call: &&String| call.starts_with("connect(") && call.contains("\"/dev/log\"");
        assert!(connects.iter().all(to_the_log), "{connects:#?}");
        assert_eq!(sockets.len(), connects.len(), "{sockets:#?} {connects:#?}");
        assert!(started.is_empty(), "{started:#?}");
        // What libpam does of its own accord is none of the module's business, and nothing of the module's is in it.
        for (around, without) in [(&self.before, &nothing.before), (&self.audit, &nothing.audit)] {
            let (around, without) = (named(around, &OUTSIDE), named(without, &OUTSIDE));
            assert_eq!(around.len(), without.len(), "{around:#?} {without:#?}");
        }
    }
}

/// Calls that reach something outside the process.
const OUTSIDE: [&str; 6] = ["open", "openat", "socket", "socketpair", "connect", "execve"];

/// A line of strace without the process id before it.
fn call(line: &str) -> String {
    line.split_once(' ').unwrap().1.trim_start().to_owned()
}

fn nss(calls: &[String]) -> Vec<&String> {
    calls.iter().filter(|call| NSS.iter().any(|word| call.contains(word))).collect()
}

fn named<'a>(calls: &'a [String], names: &[&str]) -> Vec<&'a String> {
    calls.iter().filter(|call| call.split_once('(').is_some_and(|(name, _)| names.contains(&name))).collect()
}

/// A folder with settings, a store, and alice's token; nobody needs to be root.
fn folder() -> Option<(TempDir, SoftYubiKey)> {
    if !installed("strace") {
        tests::skip("needs strace");
        return None;
    }
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().unwrap().success() {
        tests::skip("strace may not trace here");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let token = SoftYubiKey::numbered(1);
    let log = dir.path().join("keys.csv");
    fs::write(&log, token.traditional_log_line() + "\n").unwrap();
    let config = dir.path().join("y/config.toml");
    let (config, log) = (config.to_str().unwrap(), log.to_str().unwrap());
    let id = token.public_id();
    let init = ["init", "--dir", dir.path().join("y").to_str().unwrap()].map(str::to_owned).to_vec();
    let import = ["--config", config, "key", "import", log].map(str::to_owned).to_vec();
    let add = ["--config", config, "add", "alice", &id].map(str::to_owned).to_vec();
    for arguments in [init, import, add] {
        let mut command = Command::new(built::program("ykmap"));
        let output = command.args(&arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    Some((dir, token))
}

#[test]
fn an_offline_login_asks_no_user_database_and_no_network() {
    let Some((dir, mut token)) = folder() else { return };
    let (module, config) = (built::module(), dir.path().join("y/config.toml"));
    let name = module.file_name().unwrap().to_str().unwrap();
    let lines = format!("auth required {} config={}\n", module.display(), config.display());
    let otp = token.press();
    for (login, expected, answer) in [
        ("accepted", "PAM_SUCCESS", otp.as_str()),
        ("replayed", "PAM_AUTH_ERR", otp.as_str()),
        ("no otp", "PAM_AUTH_ERR", "hello"),
    ] {
        let idle = if expected == "PAM_SUCCESS" { "pam_permit.so" } else { "pam_deny.so" };
        let nothing = Trace::of(dir.path(), &format!("auth required {idle}\n"), idle, answer);
        let trace = Trace::of(dir.path(), &lines, name, answer);
        assert!(trace.printed.ends_with(&format!("authenticate {expected}\n")), "{}", trace.printed);
        assert!(
            trace.module.iter().any(|call| call.contains("\"authorized_yubikeys\"")),
            "{:#?}",
            trace.module
        );
        trace.assert_keeps_to_itself(login, &nothing);
    }
}

/// Everything that one login of alice asks of the system, from the start of the process to its end. Left out is what is
/// not of each login: that the C library reads the time zone for the log, once a process; that a build for debugging
/// looks at each descriptor before it is closed; and how many segments the loader maps of a library, which depends on
/// where the linker let each of them end.
fn all_calls(dir: &Path, lines: &str, answer: &str, expected: &str) -> Vec<String> {
    let services = Services::new(&dir.join("pam.d"));
    services.write("demo", lines);
    let file = dir.join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o"]).arg(&file).arg(built::program("pam-drive")).env("TZ", "UTC0");
    // In it, `cargo test` names a folder of each crate with C inside, and libraries are looked for in all of them.
    strace.env_remove("LD_LIBRARY_PATH");
    strace.args(["--service", "demo", "--user", "alice", "--confdir"]).arg(services.path()).arg(answer);
    let output = strace.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.ends_with(&format!("authenticate {expected}\n")), "{printed}");
    let calls = fs::read_to_string(file).unwrap();
    let of_each_login = |call: &String| !call.contains(", F_GETFD)") && !call.contains("|MAP_FIXED|");
    calls.lines().map(call).filter(of_each_login).collect()
}

/// The second login: the first also syncs the folder of positions.
#[test]
fn an_offline_login_makes_few_system_calls() {
    let Some((dir, mut token)) = folder() else { return };
    let (module, config) = (built::module(), dir.path().join("y/config.toml"));
    let lines = format!("auth required {} config={}\n", module.display(), config.display());
    all_calls(dir.path(), &lines, &token.press(), "PAM_SUCCESS");
    let ours = all_calls(dir.path(), &lines, &token.press(), "PAM_SUCCESS");
    let permit = all_calls(dir.path(), "auth required pam_permit.so\n", "", "PAM_SUCCESS");
    let more = ours.len() - permit.len();
    println!("{} system calls, {more} more than with pam_permit", ours.len());
    assert_eq!(named(&ours, &["geteuid"]).len() - named(&permit, &["geteuid"]).len(), 1, "{ours:#?}");
    assert!(more <= 60, "{more}: {ours:#?}");
}

/// The same eyes on a module that does ask: else the counts above would say nothing.
#[test]
fn a_module_that_asks_nss_is_seen() {
    let Some((dir, _)) = folder() else { return };
    let trace = Trace::of(dir.path(), "auth required pam_unix.so\n", "pam_unix.so", "x");
    println!("pam_unix: nss lines: {}", nss(&trace.module).len());
    assert!(!nss(&trace.module).is_empty(), "{:#?}", trace.module);
}
