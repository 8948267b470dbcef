//! `yubiotp-try`: one login to a PAM service whose file is in a folder of its own, to try lines before they count.
//!
//! It lets nobody in: it starts nothing, changes no user and no session, and prints what libpam says. `ykmap enable` runs
//! it. Messages of modules are on standard error and answers on standard input; with `--frames`, messages are lines of
//! standard output, for another program. The codes of libpam are lines of standard output.

#[path = "../sys/application.rs"]
mod application;

use application::{Application, Conversation, Item, Style};
use pam::constants::PamResultCode;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::ffi::{CString, OsString, c_int};
use std::io::{BufRead as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::process::ExitCode;
use ykhost::file::{Audience, FileFault, Folder};
use yubiotp::shown;
use zeroize::Zeroizing;

const USAGE: &str =
    "usage: yubiotp-try --confdir DIR --service SERVICE --user USER [--rhost HOST] [--tty TTY] [--frames]";
/// No answer is longer; libpam has a limit of 512 bytes.
const LONGEST_ANSWER: usize = 4096;
/// No service file is that long.
const LONGEST_FILE: u64 = 1 << 20;

/// What the command line says.
#[derive(Default)]
struct Options {
    confdir: PathBuf,
    service: CString,
    user: CString,
    rhost: Option<CString>,
    tty: Option<CString>,
    frames: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            if arg == "--frames" {
                options.frames = true;
                continue;
            }
            let value = args.next()?.into_vec();
            if arg == "--confdir" {
                options.confdir = OsString::from_vec(value).into();
                continue;
            }
            let value = CString::new(value).ok()?;
            match arg.as_bytes() {
                b"--service" => options.service = value,
                b"--user" => options.user = value,
                b"--rhost" => options.rhost = Some(value),
                b"--tty" => options.tty = Some(value),
                _ => return None,
            }
        }
        let is_file = !options.service.is_empty() && !options.service.as_bytes().contains(&b'/');
        (is_file && !options.user.is_empty()).then_some(options)
    }
}

/// Shows messages to a person or a program, and reads answers from standard input.
struct Terminal {
    frames: bool,
}

impl Conversation for Terminal {
    fn message(&mut self, style: Style, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let is_question = matches!(style, Style::EchoOff | Style::EchoOn);
        let text = shown::text(text);
        if self.frames {
            let name = match style {
                Style::EchoOff => "prompt-echo-off",
                Style::EchoOn => "prompt-echo-on",
                Style::Error => "error",
                Style::Info => "info",
            };
            print(&format!("{name} {text}"))?;
        } else {
            let end = if is_question { "" } else { "\n" };
            let mut stderr = std::io::stderr().lock();
            write!(stderr, "{text}{end}").and_then(|()| stderr.flush()).ok()?;
        }
        let _hidden = (style == Style::EchoOff).then(Hidden::begin);
        is_question.then(answer).flatten()
    }
}

/// One line of standard input without its end; `None` at the end of the input.
fn answer() -> Option<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST_ANSWER));
    let mut stdin = std::io::stdin().lock();
    loop {
        let available = stdin.fill_buf().ok()?;
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = available.get(..end.unwrap_or(available.len()))?;
        let used = part.len().saturating_add(usize::from(end.is_some()));
        if used == 0 || line.len().saturating_add(part.len()) > LONGEST_ANSWER {
            return None;
        }
        line.extend_from_slice(part);
        stdin.consume(used);
        if end.is_some() {
            return Some(line);
        }
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Option<Termios>);

impl Hidden {
    fn begin() -> Self {
        let Ok(before) = tcgetattr(std::io::stdin()) else { return Self(None) };
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        let is_set = tcsetattr(std::io::stdin(), OptionalActions::Drain, &hidden);
        Self(is_set.is_ok().then_some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Prints a line to standard output; `None` if nobody reads it.
fn print(line: &str) -> Option<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).ok()
}

fn complain(why: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "yubiotp-try: {why}");
    ExitCode::from(2)
}

/// Whether nobody but root and the running user can change a file in that folder, or put one there.
fn check(options: &Options) -> Result<(), FileFault> {
    let folder = Folder::open(&options.confdir)?;
    for name in folder.names()? {
        folder.read(&name, LONGEST_FILE, Audience::Everyone)?;
    }
    let service = options.service.to_string_lossy();
    folder.read(&service, LONGEST_FILE, Audience::Everyone).map(drop)
}

/// The login; whether libpam said yes to both.
fn log_in(options: &Options) -> Result<bool, String> {
    let confdir = CString::new(options.confdir.as_os_str().as_bytes()).map_err(|why| why.to_string())?;
    let mut terminal = Terminal { frames: options.frames };
    let said = |call: &str, code: c_int| {
        let name =
            PamResultCode::try_from(code).map_or_else(|_| "unknown".to_owned(), |it| format!("{it:?}"));
        print(&format!("{call} {name} {code}")).ok_or("standard output is closed")?;
        Ok::<_, String>(code == 0)
    };
    let mut login = match Application::start(&confdir, &options.service, &options.user, &mut terminal) {
        Ok(login) => login,
        Err(code) => return said("start", code),
    };
    // As sudo and su say who calls them.
    login.set(Item::Ruser, &options.user);
    for (item, value) in [(Item::Rhost, &options.rhost), (Item::Tty, &options.tty)] {
        if let Some(value) = value {
            login.set(item, value);
        }
    }
    Ok(said("authenticate", login.authenticate())? && said("acct_mgmt", login.account())?)
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|arg| arg == "--version") {
        let _ = print(concat!("yubiotp-try ", env!("CARGO_PKG_VERSION")));
        return ExitCode::SUCCESS;
    }
    let Some(options) = Options::parse(std::env::args_os().skip(1)) else { return complain(USAGE) };
    if let Err(why) = check(&options) {
        return complain(&why.diagnostic().to_string());
    }
    match log_in(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => complain(&why),
    }
}
