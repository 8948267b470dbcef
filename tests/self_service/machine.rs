//! A host with the service, and users who ask it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;
use tests::built;
use tests::place::Place;
use tests::said::{Said, is_root, said};
use tests::soft_yubikey::SoftYubiKey;
use tests::terminal::Terminal;

pub(crate) const SOON: Duration = Duration::from_secs(30);
/// All that a user can be allowed.
pub(crate) const ALL: &str = r#""status", "test", "add", "remove", "recovery""#;

/// The uid of alice. Without root, she is whoever runs the tests.
pub(crate) fn alice() -> u32 {
    if is_root() { 12_345 } else { rustix::process::geteuid().as_raw() }
}

/// How the service is started.
#[derive(Clone, Default)]
pub(crate) struct Start {
    /// Before the program, such as strace and its options.
    pub(crate) around: Vec<String>,
    /// More of its options.
    pub(crate) options: Vec<String>,
}

/// The host. What users may reach of it is in a folder of its own.
pub(crate) struct Machine {
    pub(crate) place: Place,
    open: TempDir,
    start: Arc<Mutex<Start>>,
    is_over: Arc<AtomicBool>,
    systemd: Option<JoinHandle<()>>,
}

impl Machine {
    /// Users may do everything.
    pub(crate) fn new() -> Self {
        Self::with(&format!("[self]\nallow = [{ALL}]\n"))
    }

    /// With these lines of config.toml.
    pub(crate) fn with(settings: &str) -> Self {
        let (place, open) = (Place::in_memory(), tempfile::tempdir_in("/tmp").unwrap());
        fs::set_permissions(open.path(), Permissions::from_mode(0o755)).unwrap();
        // Where it was built may be closed to users.
        fs::copy(built::program("ykmap"), open.path().join("ykmap")).unwrap();
        let mut machine = Self { place, open, start: Arc::default(), is_over: Arc::default(), systemd: None };
        machine.configure(settings);
        machine.accounts(&format!(
            "root:x:0:0::/:/bin/sh\nalice:x:{}:1::/:/bin/sh\nbob:x:12346:1::/:/bin/sh\n",
            alice()
        ));
        fs::create_dir(machine.place.path("locks")).unwrap();
        machine.systemd = Some(machine.listen());
        machine
    }

    /// Writes config.toml with these lines at its end.
    pub(crate) fn configure(&self, settings: &str) {
        let template = self.place.path("config.template");
        if !template.exists() {
            fs::copy(self.place.config(), &template).unwrap();
        }
        let text = format!("{}\n{settings}", fs::read_to_string(template).unwrap());
        self.place.write("config.toml", text, 0o600);
    }

    /// Writes the list of accounts.
    pub(crate) fn accounts(&self, passwd: &str) {
        self.place.write("passwd", passwd, 0o644);
    }

    /// How the service is started from now on.
    pub(crate) fn starts(&self, around: &[&str], options: &[&str]) {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        *self.start.lock().unwrap() = Start { around: owned(around), options: owned(options) };
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.open.path().join("self")
    }

    /// Accepts connections, and starts the program for each, until the machine goes away.
    fn listen(&self) -> JoinHandle<()> {
        let listener = UnixListener::bind(self.socket()).unwrap();
        fs::set_permissions(self.socket(), Permissions::from_mode(0o666)).unwrap();
        let (config, passwd) = (self.place.config(), self.place.path("passwd"));
        let (locks, log) = (self.place.path("locks"), self.place.path("service.log"));
        File::create(&log).unwrap();
        let (start, is_over) = (Arc::clone(&self.start), Arc::clone(&self.is_over));
        thread::spawn(move || {
            let mut children: Vec<Child> = Vec::new();
            for socket in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                let socket: OwnedFd = socket.unwrap().into();
                let Start { around, options } = start.lock().unwrap().clone();
                let program = built::program("yubiotp-enroll").display().to_string();
                let mut words = around.into_iter().chain([program]);
                let mut command = Command::new(words.next().unwrap());
                command.args(words).arg("self").arg("--config").arg(&config).arg("--passwd").arg(&passwd);
                command.arg("--locks").arg(&locks).args(options).env_clear().current_dir("/");
                command.stdin(Stdio::from(socket.try_clone().unwrap())).stdout(Stdio::from(socket));
                command.stderr(OpenOptions::new().append(true).open(&log).unwrap());
                children.push(command.spawn().unwrap());
                children.retain_mut(|child| child.try_wait().unwrap().is_none());
            }
            children.iter_mut().for_each(|child| assert!(child.wait().is_ok()));
        })
    }

    /// A command of the user with this uid.
    pub(crate) fn user(&self, uid: u32, program: &str) -> Command {
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            let ids = [format!("--reuid={uid}"), format!("--regid={uid}")];
            command.args(ids).args(["--clear-groups", "--no-new-privs", "--", program]);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/");
        command
    }

    fn ykmap(&self, uid: u32, arguments: &[&str]) -> Command {
        let mut command = self.user(uid, self.open.path().join("ykmap").to_str().unwrap());
        command.arg("self").arg("--socket").arg(self.socket()).args(arguments);
        command
    }

    /// Runs `ykmap self` as a user who types these lines.
    pub(crate) fn asks(&self, uid: u32, arguments: &[&str], lines: &[&str]) -> Said {
        let mut command = self.ykmap(uid, arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let typed: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        // It may have ended before it read everything.
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        said(&command, child.wait_with_output().unwrap())
    }

    /// The same as alice.
    pub(crate) fn alice(&self, arguments: &[&str], lines: &[&str]) -> Said {
        self.asks(alice(), arguments, lines)
    }

    /// `ykmap self` of alice at a terminal.
    pub(crate) fn terminal(&self, arguments: &[&str]) -> Terminal {
        Terminal::spawn(self.ykmap(alice(), arguments))
    }

    /// The whole log of the service.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.place.path("service.log")).unwrap()
    }

    /// Gives a user a YubiKey in the mapping.
    pub(crate) fn gives(&self, user: &str, number: u32) -> SoftYubiKey {
        let key = SoftYubiKey::numbered(number);
        self.place.enrol(user, &key);
        key
    }

    /// Lists a token in `enrolled`, in place of the mapping.
    pub(crate) fn enrolled(&self, text: &str) {
        self.place.write("enrolled", text, 0o644);
    }

    /// The text of a file of the store; empty if it is missing.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.place.path(name)).unwrap_or_default()
    }

    /// Decides as a login does: `accepted` or the code.
    pub(crate) fn login(&self, user: &str, answer: &str) -> String {
        let output = self.place.ykmap(&["--json", "verify", user, answer]);
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        said["finding"]["code"].as_str().unwrap().to_owned()
    }

    /// How many tries a user has left.
    pub(crate) fn tries(&self, user: &str) -> u64 {
        let output = self.place.ykmap(&["--json", "recovery", "status", user]);
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        said["tries_left"].as_u64().unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.socket());
        if let Some(systemd) = self.systemd.take() {
            let _ = systemd.join();
        }
    }
}

/// The recovery codes in what was printed.
pub(crate) fn codes_in(text: &str) -> Vec<String> {
    let is_code = |word: &&str| word.len() == 14 && word.match_indices('-').map(|(at, _)| at).eq([1, 6, 11]);
    text.split_whitespace().filter(is_code).map(str::to_owned).collect()
}
