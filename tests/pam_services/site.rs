//! A private host with our module and command installed, and users with YubiKeys.

use crate::pattern;
use std::cell::{Cell, RefCell};
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tests::built;
use tests::host::{Host, Sshd};
use tests::soft_yubikey::SoftYubiKey;
use tests::terminal::Terminal;

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse";

/// The host, set up by `ykmap init` at the usual places.
pub(crate) struct Site {
    pub(crate) host: Host,
    module: PathBuf,
    ykmap: PathBuf,
    /// The program that asks validation servers.
    pub(crate) ask: PathBuf,
    /// The program that enrolls users.
    pub(crate) enroll: PathBuf,
    secrets: RefCell<Vec<String>>,
    lines_told: Cell<usize>,
}

impl Site {
    /// A host with alice and bob, who both have a password and may use sudo, and none of whom has a token. `None`,
    /// said on the test's output, where this machine cannot have one.
    pub(crate) fn start(tools: &[&str]) -> Option<Self> {
        let all = ["unshare", "nsenter", "setpriv", "setsid", "useradd", "chpasswd"];
        if let Some(missing) = all.iter().chain(tools).find(|tool| !installed(tool)) {
            tests::skip(&format!("needs {missing}"));
            return None;
        }
        let host = match Host::start() {
            Ok(host) => host,
            Err(reason) => {
                tests::skip(&reason);
                return None;
            }
        };
        // A folder that is the same inside; a checkout or target folder may be where users cannot look.
        let install = |from: PathBuf, mode| {
            let to = host.path().join(from.file_name().unwrap());
            fs::copy(from, &to).unwrap();
            fs::set_permissions(&to, Permissions::from_mode(mode)).unwrap();
            to
        };
        let (module, ykmap) = (install(built::module(), 0o644), install(built::program("ykmap"), 0o755));
        let ask = install(built::program("yubiotp-ask"), 0o755);
        let enroll = install(built::program("yubiotp-enroll"), 0o755);
        host.add_user("alice", Some(PASSWORD));
        host.add_user("bob", Some(PASSWORD));
        // As the packages do; the machine may have it.
        let _made = host.run(&["useradd", "--system", "--no-create-home", "yubiotp-ask"]);
        host.write("/etc/sudoers.d/site", "alice,bob ALL=(ALL:ALL) ALL\nDefaults passwd_tries=1\n", 0o440);
        let secrets = RefCell::new(vec![PASSWORD.to_owned()]);
        let site = Self { host, module, ykmap, ask, enroll, secrets, lines_told: Cell::new(0) };
        // The machine may have its own.
        assert!(site.host.run(&["rm", "-rf", "/etc/yubiotp", "/var/lib/yubiotp"]).status.success());
        site.ykmap(&["init"], "");
        Some(site)
    }

    /// Runs `ykmap`, which has to succeed.
    pub(crate) fn ykmap(&self, arguments: &[&str], input: &str) {
        let mut command = self.host.command(self.ykmap.to_str().unwrap());
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "ykmap {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What `ykmap --json` answers, which has to succeed.
    pub(crate) fn ykmap_json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.host.run(&[&[self.ykmap.to_str().unwrap(), "--json"], arguments].concat());
        assert!(output.status.success(), "ykmap {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What `ykmap doctor` says in JSON, whatever it finds.
    pub(crate) fn doctor(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.host.run(&[&[self.ykmap.to_str().unwrap(), "doctor"], arguments].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The `n`th token, its key in the store and listed for `user`.
    pub(crate) fn token(&self, n: u32, user: &str) -> SoftYubiKey {
        let token = SoftYubiKey::numbered(n);
        self.ykmap(&["key", "import", "-"], &(token.traditional_log_line() + "\n"));
        self.ykmap(&["add", user, &token.public_id()], "");
        token
    }

    /// Writes the PAM file of a service, in which `pam_yubiotp.so` is the module under test.
    pub(crate) fn pam(&self, service: &str, lines: &str) {
        self.host.pam(service, &lines.replace(" pam_yubiotp.so", &format!(" {}", self.module.display())));
    }

    /// Waits for a prompt and types the answer, whose parts must never be seen again: not on the terminal, not in a
    /// log.
    pub(crate) fn answer(&self, terminal: &mut Terminal, prompt: &str, parts: &[&str]) {
        terminal.wait_for(prompt, super::ways::SOON);
        self.secrets.borrow_mut().extend(parts.iter().map(|part| (*part).to_owned()));
        terminal.type_line(&parts.concat());
    }

    /// That the module has logged just these decisions since the last call; `*` stands for anything.
    pub(crate) fn assert_decided(&self, expected: &[&str]) {
        let lines = self.host.log_lines();
        let ours = lines.iter().skip(self.lines_told.replace(lines.len())).filter_map(|line| {
            let (_, message) = line.split_once(" pam_yubiotp(")?;
            Some(message.split_once("): ").unwrap().1)
        });
        let ours: Vec<&str> = ours.collect();
        let same = ours.len() == expected.len()
            && expected.iter().zip(&ours).all(|(pattern, line)| pattern::matches(pattern, line));
        assert!(same, "expected {expected:#?} among {lines:#?}");
        self.assert_secret(&lines.concat());
    }

    /// Keeps what a terminal shows, for people to read: in `target/tmp/NAME.txt`.
    pub(crate) fn keep(&self, name: &str, terminal: &Terminal) {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.txt"));
        let _for_people = fs::write(file, terminal.transcript().replace('\r', ""));
    }

    /// Skips the decisions so far.
    pub(crate) fn skip_decisions(&self) {
        self.lines_told.set(self.host.log_lines().len());
    }

    /// That `text` contains no answer that was typed, nor the secret part of an OTP.
    pub(crate) fn assert_secret(&self, text: &str) {
        for secret in self.secrets.borrow().iter() {
            let part = secret.split_at(secret.len().saturating_sub(32)).1;
            assert!(part.is_empty() || !text.contains(part), "{part} was written: {text}");
        }
    }

    /// The same of all that was written anywhere: to syslog and by sshd, which should be set to log everything.
    pub(crate) fn assert_nothing_leaked(&self, sshd: &Sshd) {
        assert!(sshd.log().contains("debug2: "), "{}", sshd.log());
        self.assert_secret(&sshd.log());
        self.assert_secret(&self.host.log_lines().concat());
    }
}

/// Whether the machine has a program, in the folders that root's shell looks into.
pub(crate) fn installed(program: &str) -> bool {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(program).is_file())
}
