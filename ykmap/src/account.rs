//! Whether this host knows an account, and the name of one. Only for remarks: the login itself asks no name service.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use ykhost::file::read_untrusted;
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// The most that is read of `/etc/passwd`.
const LIMIT: u64 = 16 << 20;

/// The file of this host's accounts.
const PASSWD: &str = "/etc/passwd";

/// Whether an account has this name.
pub(crate) fn exists(user: &str) -> bool {
    in_passwd(Path::new(PASSWD), user) || by_name_services(user)
}

/// The same, and those of a folder of passwd and shadow.
pub(crate) fn exists_in(folder: &Path, user: &str) -> bool {
    in_passwd(&folder.join("passwd"), user) || exists(user)
}

/// A remark if no account has this name, neither in `/etc/passwd` nor by the host's name services.
pub(crate) fn unknown(user: &str) -> Option<Diagnostic> {
    (!exists(user)).then(|| {
        Diagnostic::note(Code::UserUnknown, "this host knows no account of that name")
            .at(Location::user(user.as_bytes()))
            .advise("check the spelling")
    })
}

/// Those of these names that no account has, by the same reading. Name services are asked once about many.
pub(crate) fn unknown_of<'n>(names: &BTreeSet<&'n str>) -> Vec<&'n str> {
    let text = read_untrusted(Path::new(PASSWD), LIMIT).unwrap_or_default();
    let known = accounts_in(&text);
    let unknown: Vec<_> = names.iter().copied().filter(|name| !known.contains(name.as_bytes())).collect();
    unknown.chunks(MOST_ASKED).flat_map(not_in_name_services).collect()
}

/// How many names are asked about at once.
const MOST_ASKED: usize = 256;

fn accounts_in(text: &[u8]) -> BTreeSet<&[u8]> {
    let name_of = |line: &'_ [u8]| line.iter().position(|byte| *byte == b':');
    text.split(|byte| *byte == b'\n').filter_map(|line| line.get(..name_of(line)?)).collect()
}

fn not_in_name_services<'n>(names: &[&'n str]) -> Vec<&'n str> {
    let mut getent = Command::new("getent");
    getent.args(["passwd", "--"]).args(names).stdin(Stdio::null()).stderr(Stdio::null());
    // A host without getent knows what is in the file.
    let said = getent.output().map(|output| output.stdout).unwrap_or_default();
    let known = accounts_in(&said);
    names.iter().copied().filter(|name| !known.contains(name.as_bytes())).collect()
}

fn in_passwd(path: &Path, user: &str) -> bool {
    let text = read_untrusted(path, LIMIT).unwrap_or_default();
    text.split(|byte| *byte == b'\n')
        .any(|line| line.split(|byte| *byte == b':').next() == Some(user.as_bytes()))
}

/// The name of the account with this uid.
pub(crate) fn name_of(uid: u32) -> Option<String> {
    let by_files = |text: &[u8]| {
        let entry = text.split(|byte| *byte == b'\n').find_map(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            let name = fields.next()?;
            (fields.nth(1)? == uid.to_string().as_bytes()).then_some(name)
        });
        entry.map(|name| String::from_utf8_lossy(name).into_owned()).filter(|name| !name.is_empty())
    };
    by_files(&read_untrusted(Path::new(PASSWD), LIMIT).unwrap_or_default()).or_else(|| {
        let mut getent = Command::new("getent");
        let getent = getent.args(["passwd", "--", &uid.to_string()]).stdin(Stdio::null());
        by_files(&getent.stderr(Stdio::null()).output().ok()?.stdout)
    })
}

fn by_name_services(user: &str) -> bool {
    let mut getent = Command::new("getent");
    getent.args(["passwd", "--", user]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A host without getent knows what is in the file.
    getent.status().is_ok_and(|status| status.success())
}

/// The first names of many.
pub(crate) fn first_of(names: &[String]) -> String {
    /// More are counted.
    const NAMED: usize = 8;
    let named: Vec<_> = names.iter().take(NAMED).map(|name| yubiotp::shown::text(name).to_string()).collect();
    match names.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_an_account_are_found() {
        let names = BTreeSet::from(["root", "no-such-user-1", "no-such-user-2"]);
        assert_eq!(unknown_of(&names), ["no-such-user-1", "no-such-user-2"]);
        assert_eq!(accounts_in(b"a:x\n\nb:y\nbad"), BTreeSet::from([&b"a"[..], b"b"]));
    }
}
