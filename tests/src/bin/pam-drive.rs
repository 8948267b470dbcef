//! `pam-drive`: one login through libpam in a process of its own, so that a test can trace it, preload into it, or
//! kill it.
//!
//! Usage: `pam-drive --confdir DIR --service S [--user U] [--rhost H] [--tty T] [--flags N] [--calls A,B] [--state]
//! [--wait FILE] [--repeat] [--env NAME=VALUE] ANSWER...`
//!
//! An answer `@0` is the code of the app whose secret was shown last. `--env` sets a variable of PAM's own environment.
//!
//! Prints a line for everything that happens: `prompt echo-off "YubiKey for alice: "`, `info "..."`, `error "..."`,
//! `authenticate PAM_SUCCESS`; with `--state`, before the first call and after each, a line `state ...` of what a
//! module could leave behind in the process. With `--wait` it prints `ready` and makes no call before it gets a shared
//! lock on that file: a holder of the exclusive lock releases many together. With `--repeat` it reads lines `USER ANSWER`
//! and makes a login for each, at once, until there are no more. Makes every call that it is told to make,
//! even after one that failed. Exits 0 where all said PAM_SUCCESS, else 1; 2 is a wrong usage.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its lines are its answer")]
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a fixture that fails must stop the test"
)]

use std::ffi::{OsString, c_int};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};
use tests::enrolling::Enrolling;
use tests::libpam::{Code, Conversation, Item, Pam, Prompt, Reply, Style};

/// The command line, as far as it was given.
#[derive(Clone, Default)]
struct Options {
    confdir: OsString,
    service: String,
    user: Option<OsString>,
    rhost: Option<String>,
    tty: Option<String>,
    flags: c_int,
    calls: Option<String>,
    state: bool,
    repeat: bool,
    wait: Option<OsString>,
    env: Vec<String>,
    answers: Vec<Vec<u8>>,
}

impl Options {
    /// Everything after the last option is an answer; `--` ends the options.
    fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let name = arg.to_string_lossy().into_owned();
            if name == "--" || !name.starts_with("--") {
                options.answers.extend((name != "--").then(|| arg.into_vec()));
                options.answers.extend(args.by_ref().map(OsString::into_vec));
                break;
            }
            match name.as_str() {
                "--state" => options.state = true,
                "--repeat" => options.repeat = true,
                _ => {}
            }
            if ["--state", "--repeat"].contains(&name.as_str()) {
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            let text = value.to_string_lossy().into_owned();
            match name.as_str() {
                "--confdir" => options.confdir = value,
                "--service" => options.service = text,
                "--user" => options.user = Some(value),
                "--rhost" => options.rhost = Some(text),
                "--tty" => options.tty = Some(text),
                "--flags" => options.flags = text.parse().map_err(|_| "--flags needs a number")?,
                "--calls" => options.calls = Some(text),
                "--env" => options.env.push(text),
                "--wait" => options.wait = Some(value),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        if options.confdir.is_empty() || options.service.is_empty() {
            return Err("--confdir and --service are needed".to_owned());
        }
        Ok(options)
    }
}

/// Prints what it is shown, then answers by the script.
struct Printing(Enrolling);

impl Conversation for Printing {
    fn answer(&mut self, prompts: &[Prompt]) -> Reply {
        for Prompt { style, text } in prompts {
            match style {
                Style::EchoOff => println!("prompt echo-off {text:?}"),
                Style::EchoOn => println!("prompt echo-on {text:?}"),
                Style::Error => println!("error {text:?}"),
                Style::Info => println!("info {text:?}"),
                Style::Other(number) => println!("style {number} {text:?}"),
            }
        }
        self.0.answer(prompts)
    }
}

/// Descriptors, threads, children, signals, and the working folder: everything that a module shares with its host.
fn state() -> String {
    let names = |path: &str| {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort_unstable();
        names
    };
    let descriptors = names("/proc/self/fd").len() - 1; // less the one that reads them
    let threads = names("/proc/self/task");
    let children: String = (threads.iter())
        .map(|thread| {
            fs::read_to_string(format!("/proc/self/task/{}/children", thread.display())).unwrap_or_default()
        })
        .collect();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kept =
        ["Umask:", "Uid:", "Gid:", "Groups:", "SigBlk:", "SigIgn:", "SigCgt:", "NoNewPrivs:", "Seccomp:"];
    let kept: Vec<_> = status.lines().filter(|line| kept.iter().any(|name| line.starts_with(name))).collect();
    let folder = env::current_dir().unwrap();
    let (threads, kept) = (threads.len(), kept.join(" ").replace('\t', " "));
    format!(
        "descriptors={descriptors} threads={threads} children=[{}] folder={} {kept}",
        children.trim(),
        folder.display()
    )
}

/// A login for each line of standard input; whether every call succeeded.
fn repeat(options: &Options) -> Result<bool, String> {
    let mut succeeded = true;
    for line in io::stdin().lines() {
        let line = line.map_err(|why| why.to_string())?;
        let (user, answer) = line.split_once(' ').ok_or("a line is USER ANSWER")?;
        let login = Options { user: Some(user.into()), answers: vec![answer.into()], ..options.clone() };
        succeeded &= drive(login)?;
    }
    Ok(succeeded)
}

/// One login; whether every call succeeded.
fn drive(options: Options) -> Result<bool, String> {
    if options.repeat {
        return repeat(&Options { repeat: false, ..options });
    }
    let conversation = Box::new(Printing(Enrolling::new(options.answers)));
    let user = options.user.as_ref().map(|user| user.as_bytes());
    let mut pam = Pam::start(Path::new(&options.confdir), &options.service, user, conversation);
    for (item, value) in [(Item::Rhost, &options.rhost), (Item::Tty, &options.tty)] {
        if let Some(value) = value {
            pam.set_item_str(item, value);
        }
    }
    options.env.iter().for_each(|variable| pam.set_variable(variable));
    let mut succeeded = true;
    let show = || {
        if options.state {
            println!("state {}", state());
        }
    };
    show();
    if let Some(barrier) = options.wait {
        let barrier = fs::File::open(barrier).unwrap();
        println!("ready");
        rustix::fs::flock(&barrier, rustix::fs::FlockOperation::LockShared).unwrap();
    }
    for call in options.calls.as_deref().unwrap_or("authenticate").split(',') {
        let code = match call {
            "authenticate" => pam.authenticate(options.flags),
            "acct_mgmt" => pam.acct_mgmt(options.flags),
            "setcred" => pam.setcred(options.flags),
            "open_session" => pam.open_session(options.flags),
            "close_session" => pam.close_session(options.flags),
            "chauthtok" => pam.chauthtok(options.flags),
            _ => return Err(format!("unknown call {call}")),
        };
        println!("{call} {code:?}");
        show();
        succeeded &= code == Code::SUCCESS;
    }
    Ok(succeeded)
}

fn main() -> ExitCode {
    match Options::parse(env::args_os().skip(1)).and_then(drive) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("pam-drive: {problem}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod test {
    use std::process::Command;
    use tests::built;
    use tests::libpam::Services;

    /// What it prints and its exit code for a login of nobody.
    fn drive(services: &Services, arguments: &[&str]) -> (String, Option<i32>) {
        let mut command = Command::new(built::program("pam-drive"));
        command.arg("--confdir").arg(services.path()).args(["--service", "demo", "--user", "no one here"]);
        let output = command.args(arguments).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    }

    #[test]
    fn tells_what_happens() {
        let dir = tempfile::tempdir().unwrap();
        let services = Services::new(dir.path());
        services.write("demo", "auth required pam_unix.so\naccount required pam_permit.so\n");
        let (printed, code) = drive(&services, &["--calls", "authenticate,acct_mgmt", "an answer"]);
        assert_eq!(
            printed,
            "prompt echo-off \"Password: \"\nauthenticate PAM_USER_UNKNOWN\nacct_mgmt PAM_SUCCESS\n"
        );
        assert_eq!(code, Some(1));
        assert_eq!(drive(&services, &["--calls", "acct_mgmt"]), ("acct_mgmt PAM_SUCCESS\n".into(), Some(0)));
        let (printed, _) = drive(&services, &["--state", "--calls", "acct_mgmt"]);
        let [before, _, after] = printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
        // Descriptors that the user who runs the tests has left open.
        assert!(before.starts_with("state descriptors="), "{before}");
        assert!(before.contains(" threads=1 children=[] folder=/"), "{before}");
        assert_eq!(before, after);
        assert_eq!(drive(&services, &["--repeat", "--calls", "acct_mgmt"]), (String::new(), Some(0)));
        assert_eq!(drive(&services, &["--nonsense", "x"]).1, Some(2));
        assert_eq!(drive(&services, &["--calls", "nonsense"]).1, Some(2));
    }
}
