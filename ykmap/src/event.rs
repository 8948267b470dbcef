//! What `ykmap` and `yubiotp-enroll` change about users: a line of syslog for each change, and a notice that the user sees at
//! the next login.

use super::{Context, account};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use syslog::{Facility, Formatter3164};
use ykcli::time;
use ykhost::file::read_untrusted;
use ykhost::store::{Origin, Store};
use ykhost::{Fault, clock};
use yubiotp::diagnostic::Severity;
use yubiotp::{TokenId, shown};

/// Names another socket than that of syslog(3).
const SOCKET: &str = "YKMAP_LOG_SOCKET";
/// How long a log daemon may keep a command. The change was made before.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes the line of a change, facility authpriv: `event=… user=… by=… name=value…`. Never a secret. A host without a log
/// daemon has no line.
pub(crate) fn log(context: &Context, event: &str, user: &str, fields: &[(&str, String)]) {
    write(context, format!("event={event} user={}", shown::field(user)), fields);
}

/// The same without `user=`, of a change that is no user's: a user may have any name.
pub(crate) fn log_host(context: &Context, event: &str, fields: &[(&str, String)]) {
    write(context, format!("event={event}"), fields);
}

fn write(context: &Context, begin: String, fields: &[(&str, String)]) {
    let mut line = begin + &format!(" by={}", shown::field(administrator()));
    for (name, value) in fields {
        line += &format!(" {name}={}", shown::field(value));
    }
    if let Some(config) = &context.config {
        line += &format!(" config={}", shown::field(config.as_os_str().as_bytes()));
    }
    in_time(move || send("ykmap", Severity::Note, line));
}

/// Writes a line of `yubiotp-enroll`.
pub(crate) fn enrolling(line: String) {
    in_time(move || send("yubiotp-enroll", Severity::Note, line));
}

/// Writes the warning that an app that `user` was offered at `made`, in seconds since 1970, gave way to another: somebody may
/// have seen its secret.
pub(crate) fn offer_replaced(user: &str, to: &Origin, made: u64, before: &Origin) {
    let line = replaced(user, to, made, before);
    in_time(move || send("yubiotp-enroll", Severity::Warning, line));
}

fn replaced(user: &str, to: &Origin, made: u64, before: &Origin) -> String {
    let made = time::utc(made);
    format!(
        "event=offer-replaced user={} from={} earlier-from={} earlier-at={}",
        shown::field(user),
        shown::field(to.as_str()),
        shown::field(before.as_str()),
        shown::field(&made)
    )
}

/// A log daemon that is stopped may block it. It is not waited for then, and ends with this process.
fn in_time(write: impl FnOnce() + Send + 'static) {
    let (sender, written) = sync_channel(1);
    let thread = std::thread::Builder::new().spawn(move || {
        write();
        let _ = sender.send(());
    });
    if thread.is_ok() {
        let _ = written.recv_timeout(PATIENCE);
    }
}

fn send(process: &str, severity: Severity, line: String) {
    let formatter = Formatter3164 {
        facility: Facility::LOG_AUTHPRIV,
        hostname: None,
        process: process.to_owned(),
        pid: std::process::id(),
    };
    #[expect(clippy::disallowed_methods, reason = "where a command logs, which no login runs")]
    let socket = std::env::var_os(SOCKET);
    let logger = match socket {
        Some(path) => syslog::unix_custom(formatter, path),
        None => syslog::unix(formatter),
    };
    if let Ok(mut logger) = logger {
        let _ = match severity {
            Severity::Warning | Severity::Error => logger.warning(line),
            _ => logger.notice(line),
        };
    }
}

/// Tokens as a field of a line.
pub(crate) fn tokens(ids: &[TokenId]) -> String {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    if ids.is_empty() { "none".to_owned() } else { ids.join(",") }
}

/// Leaves a notice: `what`, such as "Your YubiKey vvcb was removed", by whom and when. That it cannot be left is only noted.
pub(crate) fn notify(context: &Context, store: &Store, user: &str, what: &str) {
    let (by, now) = (administrator(), time::utc(clock::unix()));
    let text = format!("{what} by {} on {now} UTC.", shown::text(by));
    match store.leave_notice(user.as_bytes(), &text) {
        // Without a store, nobody logs in.
        Ok(()) | Err(Fault::NoStore { .. }) => {}
        Err(fault) => context.note(&fault.diagnostic().with_severity(Severity::Warning)),
    }
}

/// A token as its user knows it, at the beginning of a notice.
pub(crate) fn yours(id: &TokenId) -> String {
    match id {
        TokenId::YubiKey(id) => format!("Your YubiKey {id}"),
        TokenId::Oath(serial) if serial.as_str().starts_with("app-") => {
            format!("Your authenticator app ({serial})")
        }
        TokenId::Oath(serial) => format!("Your token {serial}"),
        TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => "The set of your recovery codes".to_owned(),
    }
}

/// Who runs this command: under sudo who called it, else who logged in, else the user of the process.
pub(crate) fn administrator() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let is_root = rustix::process::geteuid().is_root();
        #[expect(clippy::disallowed_methods, reason = "sudo says so in no other way, and no login runs this")]
        let by_sudo = std::env::var("SUDO_USER").ok().filter(|name| is_root && !name.is_empty());
        by_sudo.unwrap_or_else(|| {
            let uid = login_uid().unwrap_or_else(|| rustix::process::getuid().as_raw());
            account::name_of(uid).unwrap_or_else(|| uid.to_string())
        })
    })
}

/// The uid that logged in, which su does not change. `None` if nobody did, or the kernel does not say.
fn login_uid() -> Option<u32> {
    let text = read_untrusted(Path::new("/proc/self/loginuid"), 64).ok()?;
    let uid: u32 = str::from_utf8(&text).ok()?.trim().parse().ok()?;
    (uid != u32::MAX).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_an_offer_that_was_replaced() {
        let at = |host: &[u8]| Origin::login(b"sshd", Some(host));
        assert_eq!(
            replaced("alice", &at(b"192.0.2.7"), 1_796_000_000, &at(b"203.0.113.66")),
            "event=offer-replaced user=alice from=\"login sshd 192.0.2.7\" earlier-from=\"login sshd 203.0.113.66\" \
             earlier-at=\"2026-11-30 00:53\""
        );
        assert!(
            replaced("a\nb", &Origin::own(), 0, &at(b"x\""))
                .starts_with("event=offer-replaced user=\"a\\u{a}b\" from=self ")
        );
    }
}
