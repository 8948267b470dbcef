//! One test's own root: a minimal Debian in which packages are really installed and people really log in.

use crate::base;
use crate::story::Story;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tests::host::Log;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the checkout and cargo's folder are seen inside, read-only.
pub(crate) const CHECKOUT: &str = "/mnt/checkout";
pub(crate) const TARGET: &str = "/mnt/target";

/// The root, with alice, bob and root, who have passwords; alice and bob may use sudo. Nothing of it is the machine's
/// but the network. Dropping it kills whatever runs in it, and nothing is left of it.
pub(crate) struct Root {
    pub(crate) story: Story,
    holder: Child,
    first: u32,
    log: Log,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    what: String,
    code: Option<i32>,
    /// Both what it printed and its complaints.
    pub(crate) said: String,
}

impl Root {
    /// `None`, said on the test's output, where this machine cannot have one.
    pub(crate) fn start(name: &'static str) -> Option<Self> {
        let base = match base::base() {
            Ok(base) => base,
            Err(reason) => {
                tests::skip(&reason);
                return None;
            }
        };
        let (holder, first) = base.root();
        let log = Log::bind(&PathBuf::from(format!("/proc/{first}/root/dev/log")));
        Some(Self { story: Story::new(name), holder, first, log })
    }

    /// A command that will run inside as root, in `/`, with the environment of a plain root shell.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        // Not by env_clear, which a terminal does not take over.
        for (name, _) in std::env::vars_os() {
            command.env_remove(name);
        }
        command.env("PATH", PATH).env("LC_ALL", "C.UTF-8").env("HOME", "/root");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command.arg(format!("--target={}", self.first));
        command.args(["--mount", "--pid", "--root", "--wd", "--", program]);
        command
    }

    /// The same as a user.
    pub(crate) fn command_as(&self, user: &str, program: &str) -> Command {
        let mut command = self.command("setpriv");
        command.args([&format!("--reuid={user}"), &format!("--regid={user}")]);
        command.args(["--init-groups", "--", program]);
        command.env("USER", user).env("LOGNAME", user).env("HOME", format!("/home/{user}"));
        command
    }

    /// Runs a line of shell as root, with nothing to read, and tells of it.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_reading(line, "")
    }

    /// The same with something to read.
    pub(crate) fn run_reading(&self, line: &str, input: &str) -> Ran {
        let ran = self.quietly(line, input);
        self.story.did(&format!("# {line}"), &ran.said);
        if ran.code != Some(0) {
            self.story.tell(&format!("    ({:?})", ran.code));
        }
        ran
    }

    /// A line of shell that is no part of the story.
    pub(crate) fn quietly(&self, line: &str, input: &str) -> Ran {
        Ran::of(self.command("sh"), line, input)
    }

    /// A line of shell with the machine's programs, which sees the root as the folder `$ROOT`.
    pub(crate) fn beside(&self, line: &str) -> Ran {
        // /proc/PID/root would do, but for sqlite, which looks where that link says that it leads
        let mut shell = Command::new("nsenter");
        shell.arg(format!("--target={}", self.first)).args(["--mount", "--", "sh"]).env("ROOT", base::tree());
        let ran = Ran::of(shell, line, "");
        self.story.did(&format!("machine# {line}"), &ran.said);
        ran
    }

    /// Where a file of the root is reached from outside. Absolute symbolic links lead out of the root.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.first))
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.inside(path)).unwrap()
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.inside(path)).is_ok()
    }

    /// Writes a file, owned by root, and tells of it.
    pub(crate) fn write(&self, path: &str, contents: impl AsRef<[u8]>, mode: u32) {
        let at = self.inside(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, &contents).unwrap();
        fs::set_permissions(&at, Permissions::from_mode(mode)).unwrap();
        self.story.tell(&format!("(wrote {path})"));
    }

    /// All that was sent to the root's /dev/log so far.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.log.lines()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        drop(self.holder.stdin.take()); // the first process ends, and the kernel ends the others
        self.holder.wait().unwrap();
    }
}

impl Ran {
    fn of(mut shell: Command, line: &str, input: &str) -> Self {
        shell.args(["-c", &format!("exec 2>&1\n{line}")]);
        let mut child =
            shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Self { what: line.to_owned(), code: output.status.code(), said }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}: {}", self.what, self.said);
        self
    }

    #[track_caller]
    pub(crate) fn fails(self) -> Self {
        assert!(self.code.is_some_and(|code| code != 0), "{}: {}", self.what, self.said);
        self
    }

    /// The command that deletes what a purge says it keeps. The purge itself advises no deletion.
    #[track_caller]
    pub(crate) fn deletion(&self) -> String {
        assert!(!self.said.contains("rm -"), "{}: {}", self.what, self.said);
        let kept = self.said.lines().find_map(|line| line.split_once(": kept: /"));
        let (_, kept) = kept.unwrap_or_else(|| panic!("{}: nothing is kept: {}", self.what, self.said));
        format!("rm -r /{kept}")
    }

    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.said.contains(words), "{}: {words:?} is not in: {}", self.what, self.said);
        self
    }
}
