//! A temporary host without privilege: settings, mapping, store and pam.d in one folder, made by the real `ykmap`,
//! and logins through the real libpam in it.

use crate::built;
use crate::libpam::Services;
use crate::soft_app::SoftApp;
use crate::soft_yubikey::SoftYubiKey;
use crate::syslog::{Capture, Line};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The temporary host. Goes away when dropped.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    services: Services,
}

/// What one login came to.
#[derive(Clone, Debug)]
pub struct Login {
    /// What [`pam-drive`](crate::built::program) printed: prompts and codes, a line each.
    pub said: Vec<String>,
    /// The log.
    pub log: Vec<Line>,
}

impl Login {
    /// The code of a call, `authenticate` or another, as libpam names it.
    ///
    /// # Panics
    /// Where the call was not made.
    #[must_use]
    pub fn code(&self, call: &str) -> &str {
        let line = self.said.iter().find_map(|line| line.strip_prefix(call)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{call} was not called: {:?}", self.said))
    }

    /// The prompts, in order.
    pub fn prompts(&self) -> impl Iterator<Item = &str> {
        self.said.iter().map(String::as_str).filter(|line| line.starts_with("prompt "))
    }

    /// The module's lines of the log that come of an auth line.
    #[must_use]
    pub fn auth_lines(&self) -> Vec<&Line> {
        // Up to the first colon and blank: the text after it may be a stranger's.
        let own = |line: &&Line| {
            line.text
                .split_once(": ")
                .is_some_and(|(from, _)| from.starts_with("pam_yubiotp(") && from.ends_with(":auth)"))
        };
        self.log.iter().filter(own).collect()
    }

    /// The same, without what libpam puts before them, and without warnings.
    #[must_use]
    pub fn decisions(&self) -> Vec<&str> {
        self.said_in_log().filter(|line| !line.starts_with("warning ")).collect()
    }

    /// The warnings.
    #[must_use]
    pub fn warnings(&self) -> Vec<&str> {
        self.said_in_log().filter(|line| line.starts_with("warning ")).collect()
    }

    fn said_in_log(&self) -> impl Iterator<Item = &str> {
        self.auth_lines().into_iter().filter_map(|line| Some(line.text.split_once("): ")?.1))
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty host after `ykmap init`, with a service `otp` whose only module is ours.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// The same, in memory where the machine has a place for that: for tests that would spend their time waiting for
    /// the disk.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::within(tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap()))
    }

    fn within(folder: TempDir) -> Self {
        let confdir = folder.path().join("pam.d");
        fs::create_dir(&confdir).unwrap();
        let place = Self { services: Services::new(&confdir), folder };
        let made = Command::new(built::program("ykmap"))
            .arg("init")
            .arg("--dir")
            .arg(place.host())
            .output()
            .unwrap();
        assert!(made.status.success(), "ykmap init: {}", String::from_utf8_lossy(&made.stderr));
        place.service("otp", "auth required pam_yubiotp.so\naccount required pam_yubiotp.so\n");
        place
    }

    /// The folder that `ykmap init --dir` made.
    #[must_use]
    pub fn host(&self) -> PathBuf {
        self.folder.path().join("yubiotp")
    }

    /// A file in that folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.host().join(name)
    }

    /// Lets the host forget which servers failed, so that they are asked in the order of the settings again.
    pub fn forget_failed_servers(&self) {
        let _ = fs::remove_file(self.path("failed-servers"));
    }

    /// The settings file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path("config.toml")
    }

    /// The folder of service files.
    #[must_use]
    pub fn confdir(&self) -> &Path {
        self.services.path()
    }

    /// Writes one of its files anew, with a mode.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>, mode: u32) {
        fs::write(self.path(name), contents).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    /// Runs `ykmap` on this host.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn ykmap(&self, args: &[impl AsRef<OsStr>]) -> Output {
        let mut command = crate::scratch::command("ykmap");
        command.arg("--config").arg(self.config()).args(args).output().unwrap()
    }

    /// Imports the key of a YubiKey and gives it to a user.
    ///
    /// # Panics
    /// Where `ykmap` refuses.
    pub fn enrol(&self, user: &str, key: &SoftYubiKey) {
        let log = self.folder.path().join("log.csv");
        fs::write(&log, key.traditional_log_line() + "\n").unwrap();
        for args in [["key", "import", log.to_str().unwrap()], ["add", user, &key.public_id()]] {
            let output = self.ykmap(&args);
            assert!(output.status.success(), "ykmap {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    /// Assigns a token to a user only in the mapping: the host does not have its key.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn list(&self, user: &str, key: &SoftYubiKey) {
        let mapping = fs::read_to_string(self.path("authorized_yubikeys")).unwrap();
        self.write("authorized_yubikeys", format!("{mapping}{user}:{}\n", key.public_id()), 0o644);
    }

    /// Makes codes good for ten minutes, for a test that types one again and again.
    ///
    /// # Panics
    /// Where the settings cannot be written.
    pub fn widen_window(&self) {
        let config = fs::read_to_string(self.config()).unwrap();
        self.write("config.toml", format!("{config}\n[codes]\nwindow = 600\n"), 0o600);
    }

    /// Gives a user the app of this secret.
    ///
    /// # Panics
    /// Where it is refused.
    pub fn enrol_app(&self, user: &str, app: &SoftApp) {
        self.enrol_codes(&[(user, app)], &[]);
    }

    /// Gives a user a set of recovery codes. The codes, in their order.
    ///
    /// # Panics
    /// Where it is refused.
    #[must_use]
    pub fn enrol_recovery(&self, user: &str) -> Vec<String> {
        self.enrol_codes(&[], &[user]).remove(0)
    }

    /// Gives users apps, and others or the same ones sets of recovery codes: the codes of each set. In one process, for tests
    /// with thousands of users.
    ///
    /// # Panics
    /// Where it is refused.
    pub fn enrol_codes(&self, apps: &[(&str, &SoftApp)], recovery: &[&str]) -> Vec<Vec<String>> {
        let mut lines = String::new();
        let mut tokens: BTreeMap<&str, String> = BTreeMap::new();
        for (user, app) in apps {
            let secret = data_encoding::HEXLOWER.encode(app.secret());
            writeln!(lines, "{user} {} {secret}", app.serial()).unwrap();
            write!(tokens.entry(user).or_default(), ":oath-{}", app.serial()).unwrap();
        }
        for user in recovery {
            writeln!(lines, "{user} {user}").unwrap();
            write!(tokens.entry(user).or_default(), ":rec-{user}").unwrap();
        }
        let mut enrol = Command::new(built::program("enrol-codes"));
        let mut enrol =
            enrol.arg(self.config()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        enrol.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = enrol.wait_with_output().unwrap();
        assert!(output.status.success(), "enrol-codes failed");
        // What a user has stays.
        let mut mapping = String::new();
        for line in fs::read_to_string(self.path("authorized_yubikeys")).unwrap().lines() {
            let more = line.split_once(':').and_then(|(user, _)| tokens.remove(user)).unwrap_or_default();
            writeln!(mapping, "{line}{more}").unwrap();
        }
        tokens.iter().for_each(|(user, tokens)| writeln!(mapping, "{user}{tokens}").unwrap());
        self.write("authorized_yubikeys", mapping, 0o644);
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().map(|codes| codes.split(' ').map(str::to_owned).collect()).collect()
    }

    /// Settings that ask these servers, as [`CLIENT`](crate::validation::CLIENT) with its key.
    ///
    /// # Panics
    /// Where they cannot be written.
    pub fn online(&self, mode: &str, urls: &[String], settings: &str) {
        let key = format!("api_key = {:?}\n{settings}", crate::validation::KEY);
        self.online_without_key(mode, urls, &key);
    }

    /// The same without the client's key; `settings` are further lines of `[online]`.
    ///
    /// # Panics
    /// Where they cannot be written.
    pub fn online_without_key(&self, mode: &str, urls: &[String], settings: &str) {
        let mut lines = format!(
            "mode = {mode:?}\nmapping = \"authorized_yubikeys\"\nstore = \".\"\nstore_key = \"store.key\"\n\n\
             [online]\nurls = {urls:?}\nclient_id = {}\n{settings}\n",
            crate::validation::CLIENT
        );
        if !settings.lines().any(|line| line.starts_with("ask =")) {
            writeln!(lines, "ask = {:?}", self.ask()).unwrap();
        }
        self.write("config.toml", lines, 0o600);
    }

    /// The program that asks, in a folder that nobody else may write to, wherever it was built.
    ///
    /// # Panics
    /// Where it cannot be put there.
    #[must_use]
    pub fn ask(&self) -> PathBuf {
        let path = self.path("yubiotp-ask");
        if !path.exists() {
            self.install(&built::program("yubiotp-ask"), "yubiotp-ask", 0o755);
        }
        path
    }

    /// Copies a program into the folder. By another process: where one of ours had it open for writing while a test
    /// starts a process, the kernel would not run it.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn install(&self, program: &Path, name: &str, mode: u32) {
        let mode = format!("--mode={mode:o}");
        let copied = Command::new("install").arg(mode).arg(program).arg(self.path(name)).output().unwrap();
        assert!(copied.status.success(), "install: {}", String::from_utf8_lossy(&copied.stderr));
    }

    /// The program that enrolls, in a folder that nobody else may write to, wherever it was built; the settings name it. The
    /// service `otp` offers it.
    ///
    /// # Panics
    /// Where it cannot be put there.
    pub fn offer_enrollment(&self) {
        self.install_enroll();
        self.arguments("enroll");
    }

    /// The same, and no service offers it.
    ///
    /// # Panics
    /// Where it cannot be put there.
    pub fn install_enroll(&self) {
        self.install(&built::program("yubiotp-enroll"), "yubiotp-enroll", 0o755);
        self.settings(&format!("[enroll]\nprogram = {:?}\n", self.path("yubiotp-enroll")));
    }

    /// Adds lines to the settings.
    ///
    /// # Panics
    /// Where they cannot be written.
    pub fn settings(&self, lines: &str) {
        let config = fs::read_to_string(self.config()).unwrap();
        self.write("config.toml", format!("{config}\n{lines}"), 0o600);
    }

    /// Adds lines to a table of the settings, which is there.
    ///
    /// # Panics
    /// Where they cannot be written.
    pub fn settings_in(&self, table: &str, lines: &str) {
        let (config, head) = (fs::read_to_string(self.config()).unwrap(), format!("\n[{table}]\n"));
        assert!(config.contains(&head), "{config}");
        self.write("config.toml", config.replace(&head, &format!("{head}{lines}")), 0o600);
    }

    /// Adds lines to the settings before every table.
    ///
    /// # Panics
    /// Where they cannot be written.
    pub fn settings_first(&self, lines: &str) {
        let config = fs::read_to_string(self.config()).unwrap();
        self.write("config.toml", format!("{lines}{config}"), 0o600);
    }

    /// Writes a service file. `pam_yubiotp.so` in it becomes the built module with this host's settings.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn service(&self, name: &str, lines: &str) {
        let module = format!("{} config={}", built::module().display(), self.config().display());
        self.services.write(name, &lines.replace("pam_yubiotp.so", &module));
    }

    /// A service `otp` whose only module is ours, with these arguments.
    pub fn arguments(&self, arguments: &str) {
        self.service(
            "otp",
            &format!("auth required pam_yubiotp.so {arguments}\naccount required pam_yubiotp.so\n"),
        );
    }

    /// A `pam-drive` on this host's service files, for a test that needs more than [`Place::login`].
    #[must_use]
    pub fn drive(&self, service: &str, user: &str) -> Command {
        let mut command = Command::new(built::program("pam-drive"));
        command.arg("--confdir").arg(self.confdir()).args(["--service", service, "--user", user]);
        command
    }

    /// A `pam-drive` for one login as `user` with these answers: authenticate, acct_mgmt and setcred.
    #[must_use]
    pub fn whole_login(&self, service: &str, user: &str, answers: &[impl AsRef<OsStr>]) -> Command {
        let mut drive = self.drive(service, user);
        drive.args(["--rhost", "192.0.2.1", "--calls", "authenticate,acct_mgmt,setcred", "--"]).args(answers);
        drive
    }

    /// Runs it, or what it is wrapped in.
    ///
    /// # Panics
    /// Where it cannot be started, or writes to standard error.
    #[must_use]
    pub fn run(&self, mut drive: Command) -> Login {
        let capture = Capture::new(self.folder.path());
        let output = drive.envs(capture.envs()).output().unwrap();
        assert!(output.stderr.is_empty(), "stderr: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        Login { said: said.lines().map(str::to_owned).collect(), log: capture.lines() }
    }

    /// One login as `user` with these answers: authenticate, acct_mgmt and setcred.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn login(&self, service: &str, user: &str, answers: &[impl AsRef<OsStr>]) -> Login {
        self.run(self.whole_login(service, user, answers))
    }
}
