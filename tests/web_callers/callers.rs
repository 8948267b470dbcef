//! The callers of `ykweb-check`, as their own sources and pages say they call a program.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use tests::built;

/// Those who ask with a password and an OTP behind it.
pub(crate) const BOTH: [&str; 4] = ["pipe", "environment", "pwauth", "checkpassword"];

/// A folder with a link for each caller.
pub(crate) struct Callers {
    folder: TempDir,
    socket: PathBuf,
}

/// What a caller sees.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Callers {
    /// Of the server at this socket.
    pub(crate) fn of(socket: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = built::program("ykweb-check");
        for name in ["cosign", "json"].into_iter().chain(BOTH) {
            symlink(&program, folder.path().join(format!("ykweb-check-{name}"))).unwrap();
        }
        Self { folder, socket: socket.to_owned() }
    }

    /// The program by the name of a caller.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("ykweb-check-{name}"))
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.path(name));
        command.env_clear().env("YKWEB_CHECK_SOCKET", &self.socket).env("PATH", "/usr/bin:/bin");
        command
    }

    /// As `execfactor` of Cosign 3 does: the user as the argument, a form field a line, and the end.
    pub(crate) fn cosign(&self, user: Option<&str>, fields: &[&str]) -> Seen {
        let mut command = self.command("cosign");
        command.args(user);
        run(command, &fields.iter().map(|field| format!("{field}\n")).collect::<String>())
    }

    /// As mod_authnz_external, pwauth's callers and those of checkpassword do.
    pub(crate) fn both(&self, name: &str, user: &str, password: &str) -> Seen {
        let mut command = self.command(name);
        match name {
            "environment" => {
                command.env("USER", user).env("PASS", password).env("IP", "192.0.2.7");
                run(command, "")
            }
            "checkpassword" => {
                let program = self.path(name);
                let mut command = Command::new("sh");
                command.env_clear().env("YKWEB_CHECK_SOCKET", &self.socket).env("PATH", "/usr/bin:/bin");
                // On success it becomes this program, which says for whom.
                command.args(["-c", "exec 3<&0 </dev/null; exec \"$@\"", "sh"]).arg(program);
                command.args(["sh", "-c", "echo for $USER"]);
                run(command, &format!("{user}\0{password}\0Y123456\0"))
            }
            _ => run(command, &format!("{user}\n{password}\n")),
        }
    }

    /// Any input, by name.
    pub(crate) fn raw(&self, name: &str, input: &str) -> Seen {
        run(self.command(name), input)
    }
}

fn run(mut command: Command, input: &str) -> Seen {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who refuses early reads no input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Seen { status: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
}

impl Seen {
    /// Whether anything that was typed is in what the caller logs or shows.
    pub(crate) fn hides(&self, secret: &str) -> bool {
        !self.stdout.contains(secret) && !self.stderr.contains(secret)
    }
}

/// Whether nothing is left behind of these callers.
pub(crate) fn is_clean(callers: &Callers) -> bool {
    fs::read_dir(callers.folder.path()).unwrap().count() == 2 + BOTH.len()
}
