//! `LemonLDAP::NG` as Debian has it: a web login whose FastCGI server decides about requests for nginx. It has one session of
//! its own, in files, and keeps what it read of it in the memory of each of its processes.

use rustix::process::{Pid, Signal, kill_process_group};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};
use tempfile::TempDir;
use tests::postgres::NOBODY;
use tests::ykvald::free_port;

const PROGRAM: &str = "/usr/sbin/llng-fastcgi-server";

/// Makes a session as its portal does, and prints its number.
const SESSION: &str = r#"use Lemonldap::NG::Common::Session;
my $sessions = "$ARGV[0]/sessions";
my $session = Lemonldap::NG::Common::Session->new({
    storageModule => "Apache::Session::File", kind => "SSO", force => 1,
    storageModuleOptions => { Directory => $sessions, LockDirectory => "$sessions/lock",
        generateModule => "Lemonldap::NG::Common::Apache::Session::Generate::SHA256" },
    info => { uid => "alice", _whatToTrace => "alice", _utime => time, authenticationLevel => 1, ipAddr => "127.0.0.1" } });
die $session->error if $session->error;
print $session->id;"#;

/// It runs until it is dropped.
pub(crate) struct LemonLdap {
    child: Child,
    pub address: SocketAddr,
    pub cookie: String,
    _folder: TempDir,
}

impl LemonLdap {
    /// With so many processes: each serves one connection at a time, for as long as that is kept. `None` where it is not installed.
    pub(crate) fn start(processes: usize, host: &str) -> Option<Self> {
        Path::new(PROGRAM).exists().then(|| Self::begin(processes, host))
    }

    fn begin(processes: usize, host: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        for name in ["conf", "cache", "sessions", "sessions/lock"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let cache = |namespace: &str| {
            serde_json::json!({"namespace": namespace, "default_expires_in": 600, "directory_umask": "007",
                "cache_root": format!("{at}/cache"), "cache_depth": 3})
        };
        let settings = serde_json::json!({
            "cfgNum": 1, "cfgAuthor": "make bench-web", "cfgDate": "1600000000", "key": "of no secret",
            "authentication": "Demo", "userDB": "Same", "passwordDB": "Demo", "registerDB": "Demo",
            "domain": "site.test", "portal": "https://login.site.test/", "cookieName": "lemonldap",
            "globalStorage": "Apache::Session::File",
            "globalStorageOptions": {"Directory": format!("{at}/sessions"), "LockDirectory": format!("{at}/sessions/lock"),
                "generateModule": "Lemonldap::NG::Common::Apache::Session::Generate::SHA256"},
            "localSessionStorage": "Cache::FileCache", "localSessionStorageOptions": cache("sessions"),
            "locationRules": {host: {"default": "$uid eq 'alice'"}}, "exportedHeaders": {host: {"Auth-User": "$uid"}},
            "timeout": 72000, "whatToTrace": "uid",
        });
        fs::write(folder.path().join("conf/lmConf-1.json"), settings.to_string()).unwrap();
        let local = cache("configuration").to_string().replace("\":", "\"=>");
        let ini = format!(
            "[all]\nlogLevel = warn\n[configuration]\ntype = File\ndirName = {at}/conf\nlocalStorage = Cache::FileCache\n\
             localStorageOptions = {local}\n"
        );
        fs::write(folder.path().join("lemonldap-ng.ini"), ini).unwrap();
        let made = Command::new("perl").args(["-e", SESSION]).arg(folder.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let cookie = format!("lemonldap={}", String::from_utf8(made.stdout).unwrap());

        let mut command = Command::new(PROGRAM);
        if rustix::process::geteuid().is_root() {
            let owner = format!("{NOBODY}:{NOBODY}");
            let status = Command::new("chown").args(["-R", &owner]).arg(folder.path()).status().unwrap();
            assert!(status.success());
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
            command.uid(NOBODY).gid(NOBODY); // it refuses to run as root
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        command.args(["--foreground", "--listen", &address.to_string(), "--proc", &processes.to_string()]);
        command.arg("--pid").arg(folder.path().join("pid"));
        command.env("LLNG_DEFAULTCONFFILE", folder.path().join("lemonldap-ng.ini"));
        command.env("LLNG_DEFAULTLOGGER", "Lemonldap::NG::Common::Logger::Std");
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).current_dir("/").process_group(0);
        let child = command.spawn().unwrap();
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{PROGRAM} does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        Self { child, address, cookie, _folder: folder }
    }

    /// Its manager, whose children do the work.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for LemonLdap {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
