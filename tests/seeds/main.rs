//! Files with token secrets as the tools of others write them: zips of `zip` and `7zz`, PSKC of python-pskc and pskctool,
//! and what google-authenticator and pam_oath keep after real logins.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

mod google_authenticator;
mod pskc;
mod usersfile;
mod zip;

use data_encoding::HEXLOWER;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};
use yubiotp::oath::window::{self, Found, Progress, Window};
use yubiotp::oath::{Code, Parameters, Secret};

/// Whether all of these programs are here; a skipped test otherwise.
fn has(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|folder| folder.join(program).exists());
        !found
    });
    if let Some(missing) = missing {
        tests::skip(&format!("{missing} is not installed"));
    }
    missing.is_none()
}

/// Runs a program that has to succeed.
fn run(program: &str, arguments: &[&str], folder: &Path) -> Output {
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    output
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Code number `step` of a secret, by oathtool.
fn oathtool(secret: &Secret, parameters: Parameters, step: u64) -> String {
    use yubiotp::oath::Kind;
    let digits = parameters.digits.get().to_string();
    let (mut arguments, at) = match parameters.kind {
        Kind::Hotp => (vec!["--hotp".to_owned()], ["--counter".to_owned(), step.to_string()]),
        Kind::Totp { period } => {
            let mode = format!("--totp={}", parameters.algorithm.name());
            let size = format!("--time-step-size={}s", period.seconds());
            (vec![mode, size], ["--now".to_owned(), format!("@{}", step * period.seconds())])
        }
    };
    arguments.extend(at);
    arguments.extend(["--digits".to_owned(), digits, HEXLOWER.encode(secret.expose())]);
    let output = Command::new("oathtool").args(&arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What the code of a step comes to here, in the widest window.
fn found(secret: &Secret, parameters: Parameters, progress: Progress, step: u64) -> Found {
    let typed = Code::read(oathtool(secret, parameters, step).as_bytes()).unwrap();
    window::decide(secret, parameters, Window { behind: 100, ahead: 100 }, progress, now(), &typed)
}

/// The path of a PAM module of this machine.
fn module(name: &str) -> Option<std::path::PathBuf> {
    let folders = ["/usr/lib64/security", "/lib/security", "/usr/lib/security"].map(std::path::PathBuf::from);
    let triplets = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found = folders
        .into_iter()
        .chain(triplets.map(|entry| entry.path().join("security")))
        .map(|folder| folder.join(name))
        .find(|path| path.exists());
    if found.is_none() {
        tests::skip(&format!("{name} is not installed"));
    }
    found
}

/// Logs in with an answer, and says whether that was accepted.
fn log_in(confdir: &Path, user: &str, answer: &str) -> bool {
    use tests::libpam::{Code, Pam, Script};
    let script = Script::new([answer]);
    Pam::start(confdir, "otp", Some(user.as_bytes()), Box::new(script)).authenticate(0) == Code::SUCCESS
}

/// Waits for the beginning of a step, so that the next second or two are in it.
fn begin_of_step(seconds: u64) -> u64 {
    while now() % seconds > seconds / 2 {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    now() / seconds
}
