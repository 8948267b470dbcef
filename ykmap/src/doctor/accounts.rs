//! Everybody on the host: accounts that can log in and that no mapping lists, and listed users who depend on validation
//! servers.

use super::pam::{Listing, Looked};
use super::report::{Check, Report, shortened};
use super::settings::{Case, mapping_of};
use super::{Whom, rights};
use crate::check::{KeptOut, Users};
use crate::out;
use rustix::fs::{FileType, FsWord, Mode as FileMode, OFlags, PROC_SUPER_MAGIC};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use ykhost::file;
use ykhost::mapping;
use ykhost::settings::{Mode, Settings};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::mapping::Enrolment;
use yubiotp::policy::{Login, Need, RemoteHost};
use yubiotp::shown;

/// The most that is read of passwd and shadow, in bytes.
const LIMIT: u64 = 64 << 20;

/// The most that is read of a user's file of keys, in bytes: the first key is in it.
const MOST_KEYS: u64 = 1 << 20;

/// How long the homes may take, and one of them.
pub(crate) const PATIENCE: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(2)];

/// File systems of the kernel's own, whose files only look like files, apart from /proc: sysfs, debugfs, tracefs.
const KERNEL: [FsWord; 3] = [0x6265_6572, 0x6462_6720, 0x7472_6163];

/// Shells that end at once.
const NO_SHELLS: [&str; 6] = ["nologin", "false", "true", "sync", "halt", "shutdown"];

/// Of the accounts of [`with_a_login`], those whom no list names with a token; `None` if the accounts are not known.
pub(crate) fn without_token(
    settings: Option<&Settings>,
    folder: &Path,
    patience: [Duration; 2],
) -> Option<Vec<String>> {
    let has_token = |name: &String| {
        let of = |settings| mapping::enrolment(settings, name.as_bytes(), false);
        matches!(settings.map(of), Some(Ok(Enrolment::Listed(tokens))) if !tokens.is_empty())
    };
    let names = with_a_login(folder, patience)?;
    Some(names.into_iter().filter(|name| !has_token(name)).collect())
}

/// The accounts of this host that have a password or an ssh key, and a shell. `None` if that cannot be read. Of a home that
/// takes longer than `patience` allows for all of them, or for one, it is not known whether it has a key.
pub(crate) fn with_a_login(folder: &Path, [all, one]: [Duration; 2]) -> Option<Vec<String>> {
    let read = |name: &str| file::read_untrusted(&folder.join(name), LIMIT).ok();
    let (passwd, shadow) = (read("passwd")?, read("shadow")?);
    let (passwd, shadow) = (String::from_utf8_lossy(&passwd), String::from_utf8_lossy(&shadow));
    let has_password = |name: &str| {
        let hash =
            shadow.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.split(':').next());
        hash.is_some_and(|hash| !hash.starts_with(['!', '*']))
    };
    let since = Instant::now();
    let accounts = passwd.lines().filter_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, uid, gid, _, home, shell] = fields.as_slice() else { return None };
        let shell = shell.rsplit('/').next().unwrap_or_default();
        let has_key = || {
            let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { return false };
            let patience = all.saturating_sub(since.elapsed()).min(one);
            !patience.is_zero() && has_key_of(Path::new(home), (uid, gid), patience)
        };
        (!NO_SHELLS.contains(&shell) && (has_password(name) || has_key())).then(|| (*name).to_owned())
    });
    Some(accounts.collect())
}

/// Whether a home has a key that sshd would accept, as far as its defaults say. As with sshd, the user's rights decide what
/// is read: in a home, anything may be a link to anywhere.
fn has_key_of(home: &Path, (uid, gid): (u32, u32), patience: Duration) -> bool {
    let (me, home) = (rustix::process::geteuid(), home.to_owned());
    let found = rights::in_thread(patience, move || {
        if me.is_root() && uid != 0 {
            rights::take(uid, gid)?;
        }
        Ok(has_key(&home))
    });
    found.unwrap_or_default()
}

fn has_key(home: &Path) -> bool {
    ["authorized_keys", "authorized_keys2"].iter().any(|name| {
        let keys = beginning(&home.join(".ssh").join(name)).unwrap_or_default();
        let keys = String::from_utf8_lossy(&keys);
        keys.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'))
    })
}

/// The beginning of a regular file. Nothing else is opened: to open a device may already do something.
fn beginning(path: &Path) -> Option<Vec<u8>> {
    let found = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, FileMode::empty()).ok()?;
    let is_file = FileType::from_raw_mode(rustix::fs::fstat(&found).ok()?.st_mode) == FileType::RegularFile;
    let system = rustix::fs::fstatfs(&found).ok()?.f_type;
    if !is_file || system == PROC_SUPER_MAGIC || KERNEL.contains(&system) {
        return None;
    }
    // This very file, whatever has its name by now.
    let again = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(again, flags, FileMode::empty()).ok()?);
    let mut contents = Vec::new();
    file.take(MOST_KEYS).read_to_end(&mut contents).ok()?;
    Some(contents)
}

/// Accounts that the mapping of a case does not list.
pub(super) fn not_listed(
    report: &mut Report,
    case: &Case,
    users: Option<&Users>,
    Whom { accounts, unix, .. }: &Whom<'_>,
    services: &[Looked],
) {
    let is_listed = |name: &&String| match users {
        Some(users) if !case.settings.mapping.contains("%u") => {
            users.contains_key(&shown::text(name).to_string())
        }
        _ => !matches!(mapping::enrolment(&case.settings, name.as_bytes(), false), Ok(Enrolment::NotListed)),
    };
    let missing: Vec<_> = accounts.iter().filter(|name| !is_listed(name)).collect();
    if missing.is_empty() {
        return;
    }
    let names: Vec<_> = missing.iter().map(|name| shown::text(name).to_string()).collect();
    let listed = accounts.len().saturating_sub(missing.len());
    let what = format!(
        "{} can log in with a password or an ssh key, {listed} of them listed here. Not listed: {}",
        out::count(accounts.len(), "account"),
        shortened(&names, "account"),
    );
    // What the table says of the classes that they are in.
    let any = |service: &Looked, is_meant: fn(Need) -> bool| {
        missing.iter().any(|user| is_meant(need(case, user, &service.name, *unix)))
    };
    let is_required = |need| need == Need::Required;
    let is_excused = |need| matches!(need, Need::IfEnrolled | Need::Postponable { .. });
    let is_refusing = |service: &&Looked| {
        let refuses = |listing| case.lines.iter().any(|(line, _)| service.refuses(line, listing));
        (refuses(Listing::NotListed) && any(service, is_required))
            || (refuses(Listing::Excused) && any(service, is_excused))
    };
    let names = |services: Vec<&Looked>| {
        services.into_iter().map(|service| shown::text(&service.name).to_string()).collect::<Vec<_>>()
    };
    let refusing = names(services.iter().filter(is_refusing).collect());
    let is_enrolling = |service: &&Looked| case.lines.iter().any(|(line, _)| service.enrolls_unlisted(line));
    let enrolling = names(services.iter().filter(is_enrolling).collect());
    let found = if !refusing.is_empty() {
        let what = format!("{what}. Rejected by: {}", shortened(&refusing, "service"));
        Diagnostic::new(Code::AccountsNotListed, KeptOut::Rejected.severity(false), what)
    } else if case.lines.is_empty() {
        let what = format!("{what}. Services that ask for a YubiKey will reject them");
        Diagnostic::note(Code::AccountsNotListed, what)
    } else if !enrolling.is_empty() {
        let what =
            format!("{what}. They can enroll a token at a login: {}", shortened(&enrolling, "service"));
        Diagnostic::note(Code::AccountsNotListed, what)
    } else {
        let what = format!("{what}. They get in without a YubiKey for now");
        Diagnostic::note(Code::AccountsNotListed, what)
    };
    let place = mapping_of(&case.settings, "USER");
    report.add(Check::Mapping, case.list("USER", found.at(place)));
}

/// The need of a user. One whom nothing can be decided about is rejected, as by [`Need::Required`].
fn need(case: &Case, user: &str, service: &str, unix: u64) -> Need {
    let login = Login { user: user.as_bytes(), service: service.as_bytes(), from: RemoteHost::Name, unix };
    case.settings.policy.ruling(&login).map_or(Need::Required, |ruling| ruling.need)
}

/// The users who can log in while no validation server of a case answers.
pub(super) fn without_servers(report: &mut Report, case: &Case, users: Option<&Users>, services: &[Looked]) {
    let own = services.iter().filter(|service| case.places.iter().any(|place| service.has(place)));
    let own: Vec<_> = own.map(|service| shown::text(&service.name).to_string()).collect();
    let by = if own.is_empty() || own.len() == services.len() {
        String::new()
    } else {
        format!(" by {}", shortened(&own, "service"))
    };
    let error = |what: String| Diagnostic::error(Code::NoServerDecides, what);
    let found = match (case.settings.mode, users) {
        (Mode::Online, users) => {
            let found = error(format!("no validation server answers, so every login with a token{by} fails"));
            let here = users.map_or(0, |users| users.values().filter(|is_here| **is_here).count());
            if here == 0 {
                found
            } else {
                found.advise(format!(
                    "this host has keys of {}: \"Choose a mode\" in {} says which modes decide without servers, and what they risk",
                    out::count(here, "user"),
                    ykcli::docs::page("validation-servers.md")
                ))
            }
        }
        (_, None) => error(format!(
            "no validation server answers: users whose keys are not on this host cannot log in{by}"
        )),
        (_, Some(users)) => {
            let names = |here: bool| {
                let names = users.iter().filter(|(_, own)| **own == here);
                names.map(|(name, _)| name.clone()).collect::<Vec<_>>()
            };
            let (can, cannot) = (names(true), names(false));
            match (can.is_empty(), cannot.is_empty()) {
                (_, true) => {
                    let what = format!(
                        "no validation server answers. Every listed user can log in{by} without them, with a key on this host"
                    );
                    Diagnostic::warning(Code::NoServerDecides, what)
                }
                (true, false) => error(format!(
                    "no validation server answers, and no listed user has a key on this host: nobody can log in{by} with a token"
                )),
                (false, false) => {
                    let (can, cannot) = (shortened(&can, "user"), shortened(&cannot, "user"));
                    error(format!("no validation server answers. Without them, with a key on this host, can log in{by}: {can}. Cannot: {cannot}"))
                        .run_when("for tokens whose AES keys you have", Program::Ykmap, "key import --used FILE")
                        .run_when(
                            "then, with two touches of each YubiKey (until then its OTPs are rejected)",
                            Program::Ykmap,
                            "token resync ID",
                        )
                }
            }
        }
    };
    let found = found.at(Location::Setting("urls in [online]".to_owned()));
    report.add(Check::Servers, found.advise("fix at least one of these servers"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn an_account_has_a_shell_and_a_password_or_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let home = |name: &str, keys: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.join(".ssh")).unwrap();
            fs::write(path.join(".ssh/authorized_keys"), keys).unwrap();
            path.display().to_string()
        };
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let (key, none) = (home("key", "# mine\nssh-ed25519 AAAA me\n"), home("none", "\n# none\n"));
        let passwd = format!(
            "root:x:0:0::/root-of-nobody:/bin/bash\nlocked:x:1:1::{none}:/bin/sh\nkey:x:{uid}:{gid}::{key}:/bin/sh\n\
             daemon:x:3:3::{key}:/usr/sbin/nologin\nopen:x:4:4::/nowhere:/bin/sh\nshort:x:5:5\nlate:x:6:6::/nowhere:\n"
        );
        fs::write(folder.path().join("passwd"), passwd).unwrap();
        let shadow = "root:$y$hash:1:::::\nlocked:!$y$hash::::::\nkey:*::::::\ndaemon:$y$hash:::::\nopen::::::\nlate:$6$x:::::\n";
        assert_eq!(with_a_login(folder.path(), PATIENCE), None, "without shadow, nobody knows");
        fs::write(folder.path().join("shadow"), shadow).unwrap();
        let expected = ["root", "key", "open", "late"].map(str::to_owned).to_vec();
        assert_eq!(with_a_login(folder.path(), PATIENCE), Some(expected));
    }

    /// The owner of a home chooses where its names lead.
    #[test]
    fn a_link_reveals_nothing_that_its_user_cannot_read() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        open(folder.path());
        let path = |name: &str| folder.path().join(name);
        let key = "ssh-ed25519 AAAA root\n";
        fs::write(path("secret"), key).unwrap();
        fs::set_permissions(path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(path("public"), key).unwrap();
        let has_key = |name: &str, target: &Path, uid: u32| {
            let ssh = path("homes").join(name).join(".ssh");
            fs::create_dir_all(&ssh).unwrap();
            symlink(target, ssh.join("authorized_keys")).unwrap();
            has_key_of(&path("homes").join(name), (uid, uid), Duration::from_secs(60))
        };
        assert!(has_key("public", &path("public"), 65534), "a user's own link is followed, as sshd does");
        assert!(!has_key("secret", &path("secret"), 65534));
        assert!(has_key("root", &path("secret"), 0));
        // Not even as root.
        for (name, target) in [("kernel", "/proc/version"), ("device", "/dev/zero"), ("log", "/proc/kmsg")] {
            assert!(!has_key(name, Path::new(target), 0), "{target}");
        }
        let long = format!("{}\n{key}", "#\n".repeat(1 << 20));
        fs::write(path("long"), long).unwrap();
        assert!(!has_key("late", &path("long"), 0), "more is read than the beginning");
    }
}
