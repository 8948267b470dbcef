//! One login by the new lines, before they count: the program `yubiotp-try` in a folder with copies of all service files.

use super::stage::Stage;
use crate::{Context, Failure, out};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use ykhost::file::{self, Audience, FileFault};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};

/// The program.
pub(crate) const TRY: &str = "/usr/libexec/yubiotp/yubiotp-try";

/// Whom to try, where.
pub(crate) struct Trial<'a> {
    pub(crate) program: Option<&'a Path>,
    pub(crate) service: &'a str,
    pub(crate) user: &'a str,
}

impl Trial<'_> {
    /// One login of the user by the service files of the folder, at the terminal of this command.
    ///
    /// # Errors
    /// libpam said no, which is shown; or it cannot be tried.
    pub(crate) fn run(&self, context: &Context, stage: &Stage) -> Result<(), Failure> {
        let program = self.program.map_or_else(|| PathBuf::from(TRY), Path::to_path_buf);
        file::open(&program, Audience::Everyone)?;
        out::note(&format!(
            "trying a login of {} by the new lines of {}: answer as in a login",
            yubiotp::shown::text(self.user),
            self.service
        ));
        let mut command = Command::new(&program);
        command.arg("--confdir").arg(stage.path()).args(["--service", self.service, "--user", self.user]);
        if let Some(tty) = tty() {
            command.arg("--tty").arg(tty);
        }
        // As sshd says whence the user comes.
        if let Some(host) = out_of_ssh().filter(|_| self.service == "sshd") {
            command.arg("--rhost").arg(host);
        }
        let fault = |why| FileFault::System { path: program.clone(), doing: "start it", why };
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(fault)?;
        let said = child.stdout.take().map(BufReader::new);
        let codes: Vec<_> = said.into_iter().flat_map(|said| said.lines().map_while(Result::ok)).collect();
        let status = child.wait().map_err(fault)?;
        match (status.code(), codes.last().map(String::as_str)) {
            (Some(0), _) => Ok(()),
            (Some(1), Some(last)) => Err(context.refuse(&self.rejected(last))),
            _ => Err(Diagnostic::error(Code::TrialFailed, "did not try the login")
                .at(Location::file(program.as_os_str().as_encoded_bytes()))
                .advise("look at what it printed; nothing was changed")
                .into()),
        }
    }

    /// `last` is the call that failed, and its code: `authenticate PAM_AUTH_ERR 7`.
    fn rejected(&self, last: &str) -> Diagnostic {
        let mut words = last.split(' ');
        let (call, code) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let lines = if call == "acct_mgmt" { "account" } else { "auth" };
        let problem = format!("the {lines} lines rejected the login ({code}); nothing was changed");
        let user = shell_word(self.user.as_bytes());
        Diagnostic::error(Code::TrialRejected, problem)
            .at(Location::Service(self.service.to_owned()))
            .run_when("to see what the module decides", Program::Ykmap, format!("test {user}"))
            .run_when("for the reason in the log", Program::System, "journalctl -t yubiotp-try -n 5")
    }
}

/// The terminal of this command.
fn tty() -> Option<PathBuf> {
    let name = rustix::termios::ttyname(std::io::stdin(), Vec::new()).ok()?;
    name.into_string().ok().map(PathBuf::from)
}

#[expect(
    clippy::disallowed_methods,
    reason = "where this session comes from, for a trial that lets nobody in"
)]
fn out_of_ssh() -> Option<String> {
    let connection = std::env::var("SSH_CONNECTION").or_else(|_| std::env::var("SSH_CLIENT")).ok()?;
    connection.split(' ').next().map(str::to_owned)
}
