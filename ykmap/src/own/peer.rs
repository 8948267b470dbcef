//! Who is at the other end: the uid that the kernel says, and the one name that this host has for it.
//!
//! `/etc/passwd` is read first, without NSS. Only for a uid that it lacks, getent(1) asks the name services, in a process
//! of its own.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use ykhost::Fault;
use ykhost::file::{self, Audience};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::shown;

/// The list of accounts.
pub(super) const PASSWD: &str = "/etc/passwd";
const LIMIT: u64 = 16 << 20;
const GETENT: &str = "/usr/bin/getent";
/// How long the name services may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The name of `uid`, by the accounts in `passwd` or the name services.
///
/// # Errors
/// It has none, or nobody can tell which tokens are theirs: another name has the same uid, or another uid the same name.
pub(super) fn name(uid: u32, passwd: &Path) -> Result<String, Diagnostic> {
    let text =
        file::read(passwd, LIMIT, Audience::Everyone).map_err(|fault| Fault::from(fault).diagnostic())?;
    match in_passwd(&text, uid)? {
        Some(name) => Ok(name),
        None => by_name_services(&getent(uid), uid, &text),
    }
}

fn unclear(problem: String) -> Diagnostic {
    Diagnostic::error(Code::UserUnclear, problem)
        .advise("ask the administrator to add or change tokens for you")
}

/// A line of an account: name and uid.
fn account(line: &[u8]) -> Option<(&[u8], u32)> {
    let mut fields = line.split(|byte| *byte == b':');
    let (name, uid) = (fields.next()?, fields.nth(1)?);
    let uid = str::from_utf8(uid).ok()?;
    let is_plain = !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit());
    (is_plain && !name.is_empty()).then(|| uid.parse().ok()).flatten().map(|uid| (name, uid))
}

fn accounts(text: &[u8]) -> impl Iterator<Item = (&[u8], u32)> {
    text.split(|byte| *byte == b'\n').filter_map(account)
}

/// The name of `uid` in the text of `/etc/passwd`; `None` if it is not there.
fn in_passwd(text: &[u8], uid: u32) -> Result<Option<String>, Diagnostic> {
    let mut names: Vec<_> = accounts(text).filter(|(_, own)| *own == uid).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [] => Ok(None),
        [name] => one(name, uid, text).map(Some),
        names => {
            let names: Vec<_> = names.iter().map(|name| shown::text(name).to_string()).collect();
            Err(unclear(format!("uid {uid} has several names: {}", names.join(", "))))
        }
    }
}

/// The name in what getent prints about `uid`.
fn by_name_services(printed: &[u8], uid: u32, passwd: &[u8]) -> Result<String, Diagnostic> {
    let mut found = accounts(printed);
    match (found.next(), found.next()) {
        (Some((name, own)), None) if own == uid => one(name, uid, passwd),
        _ => Err(unclear(format!("this host knows no user with uid {uid}"))),
    }
}

/// A name that no other account of `/etc/passwd` has: a login looks a user up by name.
fn one(name: &[u8], uid: u32, passwd: &[u8]) -> Result<String, Diagnostic> {
    if accounts(passwd).any(|(other, its)| other == name && its != uid) {
        return Err(unclear(format!("another account is called {}, too", shown::text(name))));
    }
    String::from_utf8(name.to_vec()).map_err(|_| unclear("your name is not text in UTF-8".to_owned()))
}

/// What getent prints; empty if it fails.
fn getent(uid: u32) -> Vec<u8> {
    let mut command = Command::new(GETENT);
    command.arg("passwd").arg("--").arg(uid.to_string()).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return Vec::new() };
    let since = Instant::now();
    // An entry is far shorter than what a pipe holds, so it need not be read meanwhile.
    while matches!(child.try_wait(), Ok(None)) {
        if since.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return Vec::new();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut printed = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = stdout.take(64 << 10).read_to_end(&mut printed);
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"root:x:0:0::/root:/bin/sh\n# comment\nalice:x:1000:1000::/:/bin/sh\nalice:x:1000:7::/:/\n\
        bob:x:1001:1001::/:/\nrob:x:1001:1001::/:/\ncarl:x:1002:1::/:/\ncarl:x:1003:1::/:/\n+::::::\nx:x:-1:1::/:/\n\
        \xff:x:1005:1::/:/\n:x:1006:1::/:/\n";

    #[test]
    fn a_uid_has_one_name_and_the_name_one_uid() {
        assert_eq!(in_passwd(TEXT, 1000).unwrap().as_deref(), Some("alice"));
        assert_eq!(in_passwd(TEXT, 0).unwrap().as_deref(), Some("root"));
        assert_eq!(in_passwd(TEXT, 1004).unwrap(), None);
        assert_eq!(in_passwd(TEXT, 1006).unwrap(), None);
        assert_eq!(in_passwd(b"", 0).unwrap(), None);
        for uid in [1001, 1002, 1003, 1005] {
            assert_eq!(in_passwd(TEXT, uid).unwrap_err().code, Code::UserUnclear, "{uid}");
        }
    }

    #[test]
    fn name_services_say_one_entry_of_that_uid() {
        let of = |printed: &str| by_name_services(printed.as_bytes(), 5000, TEXT);
        assert_eq!(of("dora:*:5000:5000:Dora:/home/dora:/bin/sh\n").unwrap(), "dora");
        for printed in [
            "",
            "dora:*:5001:5000::/:/\n",
            // The account of /etc/passwd is the one that logs in.
            "alice:*:5000:5000::/:/\n",
            "dora:*:5000:5000::/:/\neve:*:5000:5000::/:/\n",
            "dora\n",
        ] {
            assert_eq!(of(printed).unwrap_err().code, Code::UserUnclear, "{printed:?}");
        }
    }

    #[test]
    fn the_machines_own_root_is_found() {
        assert_eq!(name(0, Path::new(PASSWD)).unwrap(), "root");
        assert!(getent(0).starts_with(b"root:"));
        assert_eq!(getent(u32::MAX - 7), b"");
    }
}
