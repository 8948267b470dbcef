//! The AppArmor profile, as its own compiler understands it, against the real program.

use crate::compiled::{MAP, Profile, READ, WRITE};
use crate::trace::{Need, needs, strace, until};
use crate::{source, tool};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::tls::{Authority, Kind};
use tests::validation::{Server, Wire, dead};

const PROFILE: &str = "packaging/apparmor/usr.libexec.yubiotp.yubiotp-ask";
const PROGRAM: &str = "/usr/libexec/yubiotp/yubiotp-ask";

/// The kernel that mediates most.
const NEWEST: &str = "/etc/apparmor.d/abi/3.0";

/// The kernels that the parser knows: with what only some of them can, and as Linux has it.
fn kernels() -> Vec<PathBuf> {
    let mut kernels: Vec<_> =
        fs::read_dir("/etc/apparmor.d/abi").unwrap().map(|entry| entry.unwrap().path()).collect();
    kernels.sort();
    kernels
}

/// The profile for the kernel that mediates most.
fn compiled(profile: &Path) -> Option<Profile> {
    let Some(parser) = tool("apparmor_parser") else {
        tests::skip("needs apparmor_parser (Debian: apparmor; Fedora has none)");
        return None;
    };
    Some(Profile::compile(parser, profile, Path::new(NEWEST), true).unwrap())
}

fn allows(profile: &Profile, need: &Need) -> bool {
    let file = |path: &str, wanted: u32| profile.file(path) & wanted == wanted;
    match need {
        Need::Read(path) => file(path, READ),
        Need::Map(path) => file(path, READ | MAP),
        Need::Connect(path) => file(path, READ | WRITE),
        Need::Socket(family, kind) => profile.socket(*family, *kind),
        Need::Never(_) => false,
    }
}

/// A host whose alice has a token, with certificates, and where a trace of her logins is written.
struct Host {
    place: Place,
    key: SoftYubiKey,
    authority: Authority,
}

impl Host {
    fn new() -> Option<Self> {
        if tool("strace").is_none() {
            tests::skip("needs strace");
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            tests::skip("needs root: nobody else may look into a process that hides from debuggers");
            return None;
        }
        let (place, key, authority) = (Place::new(), SoftYubiKey::numbered(700), Authority::new("ours"));
        place.enrol("alice", &key);
        place.write("ca.pem", authority.pem(), 0o644);
        fs::create_dir(place.path("cas")).unwrap();
        place.write("cas/ours.pem", authority.pem(), 0o644);
        authority.identity(Kind::Client).write(&place.host(), "host");
        Some(Self { place, key, authority })
    }

    fn server(&self, clients: Option<&Authority>) -> Server {
        Server::start_tls(&[&self.key], self.authority.identity(Kind::Right).server(clients))
    }

    /// What one login needs, and how it ended.
    fn login(&mut self, url: &str, settings: &str) -> (BTreeSet<Need>, String) {
        self.place.online("online", &[url.to_owned()], &format!("deadline = 3\n{settings}"));
        let log = self.place.path("trace");
        let drive = strace(&log, &self.place.whole_login("otp", "alice", &[self.key.press()]));
        let said = self.place.run(drive);
        (self.needs(&log), said.decisions().join("\n"))
    }

    fn needs(&self, log: &Path) -> BTreeSet<Need> {
        let (program, host) = (self.place.ask(), self.place.host());
        needs(log, &program, &[(&program, PROGRAM), (&host, "/etc/yubiotp")])
    }
}

/// What logins of every kind need.
fn all_needs() -> Option<BTreeSet<Need>> {
    let mut host = Host::new()?;
    let client = host.authority.identity(Kind::Client);
    let encrypted = client.encrypted_key("secret", &[]);
    host.place.write("host.pem", &client.certificate, 0o644);
    host.place.write("encrypted.key", encrypted, 0o600);
    host.place.write("passphrase", "secret\n", 0o600);
    let (server, strict) = (host.server(None), host.server(Some(&host.authority)));
    let named = |url: String| url.replace("127.0.0.1", "localhost");
    let mut all = BTreeSet::new();
    let system = ["/etc/ssl/certs", "/etc/pki/tls/certs"];
    let folder = system.iter().find(|folder| Path::new(folder).is_dir()).unwrap();
    let certificate = "ca = \"ca.pem\"\nclient_cert = \"host.pem\"";
    for (what, url, settings, expected) in [
        ("file of authorities", named(server.url()), "ca = \"ca.pem\"", "accepted "),
        ("folder of authorities", named(server.url()), "ca = \"cas\"", "accepted "),
        (
            "client's certificate, encrypted key",
            strict.url(),
            &format!(
                "{certificate}\nclient_key = \"encrypted.key\"\nclient_key_passphrase_file = \"passphrase\""
            ),
            "accepted ",
        ),
        ("the system's bundle", server.url(), "", "not signed by a CA in"),
        ("the system's folder", server.url(), &format!("ca = {folder:?}"), "not signed by a CA in"),
        ("a name that DNS is asked about", "https://name.invalid".to_owned(), "", "name.invalid"),
        ("a proxy", server.url(), &format!("ca = \"ca.pem\"\nproxy = {:?}", named(dead())), "proxy"),
        ("IPv6", "http://[::1]:1".to_owned(), "", "[::1]"),
    ] {
        let (needs, line) = host.login(&url, settings);
        assert!(line.contains(expected), "{what}: {line}");
        println!("{what}: {} needs: {line}", needs.len());
        all.extend(needs);
    }
    Some(all)
}

#[test]
fn the_parser_has_nothing_to_say() {
    if compiled(&source(PROFILE)).is_none() {
        return;
    }
    for kernel in kernels() {
        let compiled = Profile::compile(tool("apparmor_parser").unwrap(), &source(PROFILE), &kernel, true);
        // Told of a kernel that has no rules for sockets, the parser says that it leaves them out.
        let vanilla = kernel.to_str().unwrap().ends_with("vanilla");
        match compiled {
            Err(why) if vanilla => {
                assert!(why.lines().all(|line| line.contains("rules not enforced")), "{why}");
            }
            compiled => assert_eq!(compiled.unwrap().name, "yubiotp-ask", "{}", kernel.display()),
        }
    }
}

/// Linux as it is, Debian's for one, tells sockets of this host apart by family and type alone: the finer rules come
/// down to that there.
#[test]
fn kernels_without_the_finer_rules_for_sockets() {
    if compiled(&source(PROFILE)).is_none() {
        return;
    }
    let features = fs::read_to_string(NEWEST).unwrap();
    let (before, rest) = features.split_once("network {af_unix").unwrap();
    let (_, after) = rest.split_once("network_v8 ").unwrap();
    let kernel = tempfile::NamedTempFile::new().unwrap();
    fs::write(&kernel, format!("{before}network_v8 {after}")).unwrap();
    let parser = tool("apparmor_parser").unwrap();
    let profile = Profile::compile(parser, &source(PROFILE), kernel.path(), false).unwrap();
    for (family, kind) in [(1, 1), (2, 1), (2, 2), (10, 1), (10, 2), (16, 3)] {
        assert!(profile.socket(family, kind), "family {family}, type {kind}");
    }
    assert!(!profile.socket(1, 2) && !profile.socket(2, 3));
}

#[test]
fn nothing_that_the_program_does_is_without_a_rule() {
    let Some(profile) = compiled(&source(PROFILE)) else { return };
    let Some(needs) = all_needs() else { return };
    let denied: Vec<_> = needs.iter().filter(|need| !allows(&profile, need)).collect();
    assert!(denied.is_empty(), "no rule of {PROFILE} allows: {denied:#?}");
    // The eyes are open: something of each kind was seen.
    for need in [
        Need::Read("/etc/yubiotp/ca.pem".to_owned()),
        Need::Read("/etc/yubiotp/cas/".to_owned()),
        Need::Read("/etc/yubiotp/encrypted.key".to_owned()),
        Need::Read("/etc/yubiotp/passphrase".to_owned()),
        Need::Read("/etc/nsswitch.conf".to_owned()),
        Need::Read("/proc/4711/fd/".to_owned()),
        Need::Map(PROGRAM.to_owned()),
        Need::Socket(1, 1),
        Need::Socket(2, 1),
        Need::Socket(10, 1),
    ] {
        assert!(needs.contains(&need), "{need:?} was not seen: {needs:#?}");
    }
    let elsewhere = elsewhere();
    let denied: Vec<_> = elsewhere.iter().filter(|need| !allows(&profile, need)).collect();
    assert!(denied.is_empty(), "no rule of {PROFILE} allows: {denied:#?}");
    every_rule_is_missed(&needs.union(&elsewhere).cloned().collect());
}

/// What it was seen to need where `hosts:` in nsswitch.conf names other modules (Debian 12: resolve, myhostname,
/// mymachines, mdns and mdns4_minimal, sss, hesiod, systemd; glibc looks for each in many folders), and where other
/// systems keep their bundle.
fn elsewhere() -> BTreeSet<Need> {
    let read = |path: &str| Need::Read(path.to_owned());
    let connect = |path: &str| Need::Connect(path.to_owned());
    let map = |path: &str| Need::Map(path.to_owned());
    BTreeSet::from([
        Need::Socket(16, 3),
        Need::Socket(10, 2),
        read("/etc/gai.conf"),
        read("/etc/mdns.allow"),
        map("/lib/x86_64-linux-gnu/libnss_resolve.so.2"),
        map("/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v3/libnss_mymachines.so.2"),
        map("/usr/lib/x86_64-linux-gnu/libcap.so.2.66"),
        map("/lib64/libnss_myhostname.so.2"),
        connect("/run/systemd/resolve/io.systemd.Resolve"),
        connect("/run/avahi-daemon/socket"),
        connect("/var/lib/sss/pipes/nss"),
        connect("/var/run/nscd/socket"),
        read("/run/NetworkManager/resolv.conf"),
        read("/run/systemd/resolve/stub-resolv.conf"),
        read("/etc/ssl/ca-bundle.pem"),
        read("/usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt"),
        read("/usr/local/share/ca-certificates/ours.crt"),
        read("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
        read("/etc/ca-certificates/extracted/tls-ca-bundle.pem"),
        read("/var/lib/ca-certificates/ca-bundle.pem"),
    ])
}

/// Every rule of the profile is removed in turn: the access that was seen is then denied.
fn every_rule_is_missed(needs: &BTreeSet<Need>) {
    let text = fs::read_to_string(source(PROFILE)).unwrap();
    let rule =
        |line: &str| line.starts_with("  /") || line.starts_with("  @") || line.starts_with("  network");
    let folder = tempfile::tempdir().unwrap();
    // A standard stream that is closed, a terminal; other versions of glibc; what nscd hands over.
    let unseen =
        ["/dev/", "@{sys}/", "@{PROC}/sys/vm/", "/{,var/}run/nscd/hosts ", "/var/{cache,db,lib}/nscd/"];
    for left_out in text.lines().filter(|line| rule(line)) {
        let without = folder.path().join("profile");
        fs::write(&without, text.replace(&format!("{left_out}\n"), "")).unwrap();
        let without = compiled(&without).unwrap();
        let missed = needs.iter().any(|need| !allows(&without, need));
        let expected = !unseen.iter().any(|begin| left_out.trim_start().starts_with(begin));
        assert_eq!(missed, expected, "without the rule {left_out:?}");
    }
}

/// The same test on a file that no rule names, and on one that the profile denies.
#[test]
fn a_file_without_a_rule_is_seen() {
    let Some(profile) = compiled(&source(PROFILE)) else { return };
    let Some(mut host) = Host::new() else { return };
    let server = host.server(None);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("ca.pem");
    fs::write(&file, host.authority.pem()).unwrap();
    for (ca, path) in [
        (file.clone(), fs::canonicalize(&file).unwrap()),
        (host.place.path("authorized_yubikeys"), "/etc/yubiotp/authorized_yubikeys".into()),
    ] {
        let (needs, _) = host.login(&server.url(), &format!("ca = {ca:?}"));
        let denied: Vec<_> = needs.iter().filter(|need| !allows(&profile, need)).collect();
        assert_eq!(denied, [&Need::Read(path.to_str().unwrap().to_owned())]);
    }
}

#[test]
fn nothing_else_is_allowed() {
    let Some(profile) = compiled(&source(PROFILE)) else { return };
    assert!(profile.attaches_to(PROGRAM) && !profile.attaches_to("/usr/bin/ykmap"));
    assert!(!profile.runs_anything(), "a rule lets it run a program");
    for path in [
        "/etc/yubiotp/store.key",
        "/etc/yubiotp/config.toml",
        "/etc/yubiotp/authorized_yubikeys",
        "/var/lib/yubiotp/",
        "/var/lib/yubiotp/keys/vvcccccccccb",
        "/var/lib/yubiotp/positions/vvcccccccccb",
        "/etc/shadow",
        "/etc/group",
        "/root/.ssh/id_ed25519",
        "/home/alice/file",
        "/tmp/file",
        "/dev/log",
        "/dev/sda",
        "/run/dbus/system_bus_socket",
        "/run/systemd/private",
        "/proc/4711/mem",
        "/proc/4711/environ",
        "/usr/bin/ykmap",
        "/bin/sh",
    ] {
        assert_eq!(profile.file(path), 0, "{path}");
    }
    for path in
        [PROGRAM, "/etc/yubiotp/ca.pem", "/etc/ssl/cert.pem", "/usr/lib/libc.so.6", "/etc/resolv.conf"]
    {
        assert_eq!(profile.file(path) & !(READ | MAP), 0, "{path}");
    }
    // Raw and packet sockets, datagrams to this host's own, bluetooth, vsock.
    for (family, kind) in [(2, 3), (10, 3), (17, 3), (1, 2), (1, 5), (31, 3), (40, 1)] {
        assert!(!profile.socket(family, kind), "family {family}, type {kind}");
    }
}

/// What the profile lets the resolver read, the program's own confinement must let it read too.
#[test]
fn the_resolvers_files_are_those_that_the_program_leaves_itself() {
    let Some(profile) = compiled(&source(PROFILE)) else { return };
    let code = fs::read_to_string(source("ykask/src/confine.rs")).unwrap();
    let list = code.split_once("const READ: ").unwrap().1.split_once("];\n").unwrap().0;
    let left: Vec<&Path> = list.split('"').skip(1).step_by(2).map(Path::new).collect();
    assert!(left.len() > 15, "{left:?}");
    for path in [
        "/etc/nsswitch.conf",
        "/usr/etc/nsswitch.conf",
        "/etc/host.conf",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/gai.conf",
        "/etc/mdns.allow",
        "/etc/ld.so.cache",
        "/lib/x86_64-linux-gnu/libnss_resolve.so.2",
        "/usr/lib64/libnss_sss.so.2",
        "/run/resolvconf/resolv.conf",
        "/run/NetworkManager/resolv.conf",
        "/run/systemd/resolve/stub-resolv.conf",
    ] {
        assert_ne!(profile.file(path) & READ, 0, "{PROFILE}: {path}");
        assert!(left.iter().any(|left| Path::new(path).starts_with(left)), "ykask/src/confine.rs: {path}");
    }
}

/// With the profile's capabilities and no others it does all that it should; without one of them it does not.
#[test]
fn the_capabilities_are_those_that_it_uses() {
    let Some(profile) = compiled(&source(PROFILE)) else { return };
    if !rustix::process::geteuid().is_root() {
        return tests::skip("needs root, to take capabilities away");
    }
    let names = [(6, "setgid"), (7, "setuid"), (23, "sys_nice"), (24, "sys_resource")];
    let bits: u64 = names.iter().map(|(bit, _)| 1_u64 << bit).sum();
    assert_eq!(profile.capabilities, bits, "{:#x}", profile.capabilities);
    let left: Vec<&str> = names.iter().map(|(_, name)| *name).collect();
    assert_eq!(with(&left), (true, true), "with {left:?}: nobody, and as nice as others");
    assert!(!with(&["setuid", "sys_nice"]).0, "without setgid");
    assert!(!with(&["setgid", "sys_nice"]).0, "without setuid");
    assert_eq!(with(&["setuid", "setgid"]), (true, false), "without sys_nice");
    // sys_resource is missed where a limit is to be raised, which a container's root may not do anyway.
}

/// Whether it becomes nobody, and as nice as others, when it is started at the nicest with these capabilities.
fn with(capabilities: &[&str]) -> (bool, bool) {
    let server = Server::start(&[]);
    server.will(|x| x.honest().by(Wire::Hang));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let set = capabilities.iter().fold("-all".to_owned(), |set, name| set + ",+" + name);
    let output = OwnedFd::from(theirs.try_clone().unwrap());
    // The program refuses an environment, so there is no PATH.
    let mut child = Command::new("/usr/bin/nice");
    child.args(["-n", "19", "/usr/bin/setpriv", "--bounding-set", &set]);
    child.arg(tests::built::program("yubiotp-ask")).env_clear();
    let mut child = child.stdin(OwnedFd::from(theirs)).stdout(output).stderr(Stdio::null()).spawn().unwrap();
    let url = server.url();
    (&ours)
        .write_all(format!("yubiotp-ask 2\ndeadline 5000\nhedge 300\nurl {url}?id=1\n\n").as_bytes())
        .unwrap();
    let passwd = fs::read("/etc/passwd").unwrap();
    let uid = yubiotp::account::find(&passwd).map_or(65534, |account| account.uid);
    let nobody = until(&child, "status", &format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}"));
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    // The 19th field, counted behind the name, which is the second.
    let nice = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16) == Some("0");
    child.kill().unwrap();
    child.wait().unwrap();
    (nobody, nice)
}
