//! The journal of systemd, by journalctl.

use super::Period;
use super::entry::{self, Entry, Message, Origin, Sender};
use super::lines::{Line, Lines};
use super::tally::Tally;
use jiff::Timestamp;
use rustix::fs::OFlags;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io::{BufReader, ErrorKind, Read};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::shown;

/// Where journald keeps its files.
const FOLDERS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
/// authpriv: pam_syslog(3) logs to no other.
const FACILITY: &str = "10";
/// What is needed of an entry. journald sets those with `_`, by what the kernel says of the sender.
const FIELDS: &str = "MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_FACILITY,_UID,_EXE,_CAP_EFFECTIVE,_HOSTNAME,_TRANSPORT,MESSAGE_ID,N_DROPPED";
/// journald says that it dropped messages because a unit logged too fast.
const DROPPED: &str = "a596d6fe7bfa4994828e72309e95d61e";
/// How long journalctl may take to end, once it has closed its output.
const PATIENCE: Duration = Duration::from_secs(5);

/// The entries of a journal, oldest first.
pub(super) struct Journal {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    errors: Receiver<String>,
    location: Location,
    cursor: Option<String>,
    has_ended: bool,
}

/// Whether this host keeps a journal.
pub(super) fn exists() -> bool {
    FOLDERS.iter().any(|folder| Path::new(folder).is_dir())
}

/// The times of the first and the last entry of any program. `None` if there is none.
pub(super) fn span(folder: Option<&Path>) -> Result<Option<(Timestamp, Timestamp)>, Diagnostic> {
    let time = |arguments: &[&str]| -> Result<Option<Timestamp>, Diagnostic> {
        let mut command = journalctl(folder);
        command.arg("--output-fields=_UID").args(arguments);
        let mut journal = Journal::spawn(command, folder)?;
        match journal.lines.next() {
            Ok(Line::Whole(line)) => Ok(serde_json::from_slice(line).ok().and_then(|entry| time_of(&entry))),
            Ok(Line::TooLong) => Ok(None),
            Ok(Line::End) | Err(_) => journal.end().map_or(Ok(None), |found| {
                Err(match folder {
                    Some(_) => found.advise("name the folder of a journal, such as /var/log/journal"),
                    None => found,
                })
            }),
        }
    };
    Ok(match time(&[])? {
        Some(first) => Some((first, time(&["--lines=1"])?.unwrap_or(first))),
        None => None,
    })
}

fn journalctl(folder: Option<&Path>) -> Command {
    let mut command = Command::new("journalctl");
    command.args(["--no-pager", "--quiet", "--output=json", "--all", "--utc"]).env("LC_ALL", "C");
    command.env_remove("SYSTEMD_PAGER").env_remove("SYSTEMD_LOG_LEVEL");
    if let Some(folder) = folder {
        let mut argument = std::ffi::OsString::from("--directory=");
        argument.push(folder);
        command.arg(argument);
    }
    command
}

impl Journal {
    /// Opens the journal in `folder`, or that of this host. `follow`: to wait for entries that are written later, behind this
    /// cursor.
    pub(super) fn open(
        folder: Option<&Path>,
        period: Period,
        follow: Option<Option<&str>>,
    ) -> Result<Self, Diagnostic> {
        let mut command = journalctl(folder);
        command.arg(format!("--output-fields={FIELDS}"));
        match follow {
            Some(Some(cursor)) => command.arg(format!("--after-cursor={cursor}")),
            _ => command.args(period.since.map(|since| format!("--since=@{}", since.as_second()))),
        };
        command.args(period.until.map(|until| format!("--until=@{}", until.as_second().saturating_add(1))));
        if follow.is_some() {
            // The terminal's interrupt is for this process, which then ends journalctl.
            command.args(["--follow", "--no-tail"]).process_group(0);
        }
        command.args([&format!("SYSLOG_FACILITY={FACILITY}"), "+", &format!("MESSAGE_ID={DROPPED}")]);
        let journal = Self::spawn(command, folder)?;
        if follow.is_some() {
            let _ = rustix::fs::fcntl_setfl(journal.readable(), OFlags::NONBLOCK);
        }
        Ok(journal)
    }

    fn spawn(mut command: Command, folder: Option<&Path>) -> Result<Self, Diagnostic> {
        let location = match folder {
            Some(folder) => Location::file(folder.as_os_str().as_bytes()),
            None => Location::file(b"journalctl"),
        };
        let fault = |why: std::io::Error| {
            Diagnostic::error(Code::LogUnreadable, format!("cannot start journalctl: {why}"))
                .at(location.clone())
                .advise("install systemd's journalctl, or name text files with --file")
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(fault)?;
        let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(fault(std::io::Error::other("no pipe")));
        };
        let (sender, receiver) = sync_channel(1);
        let collect = move || {
            let _ = sender.send(beginning(errors));
        };
        // Without it, journalctl could block while it complains.
        let _ = std::thread::Builder::new().spawn(collect).map_err(fault)?;
        let lines = Lines::new(BufReader::with_capacity(64 << 10, output));
        Ok(Self { child, lines, errors: receiver, location, cursor: None, has_ended: false })
    }

    /// The next entry; `None` at the end, and where none is there yet.
    pub(super) fn next(&mut self, tally: &mut Tally) -> Option<Entry> {
        while !self.has_ended {
            match self.lines.next() {
                Ok(Line::Whole(line)) => {
                    if let Some(entry) = take_apart(line, &mut self.cursor, tally) {
                        return Some(entry);
                    }
                }
                // Ours are shorter.
                Ok(Line::TooLong) => {}
                Err(why) if why.kind() == ErrorKind::WouldBlock => return None,
                Ok(Line::End) | Err(_) => {
                    self.has_ended = true;
                    if let Some(found) = self.end() {
                        tally.fault(found);
                    }
                }
            }
        }
        None
    }

    /// Where the last entry is, for journalctl.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    pub(super) fn readable(&self) -> BorrowedFd<'_> {
        self.lines.get_ref().get_ref().as_fd()
    }

    /// Whether journalctl has ended.
    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// What journalctl complains of at its end.
    fn end(&mut self) -> Option<Diagnostic> {
        let said = self.errors.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = self.child.kill();
            String::new()
        });
        let said = said.lines().next().unwrap_or_default().trim();
        let failed = !self.child.wait().is_ok_and(|status| status.success());
        (failed || !said.is_empty()).then(|| {
            let what = match said {
                "" => "journalctl failed".to_owned(),
                said => format!("journalctl says: {}", shown::text(said)),
            };
            Diagnostic::warning(Code::LogUnreadable, what).at(self.location.clone())
        })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first 4 KiB of what it says; the rest is read, too, and thrown away.
fn beginning(mut errors: impl Read) -> String {
    let mut said = Vec::new();
    let _ = errors.by_ref().take(4096).read_to_end(&mut said);
    let _ = std::io::copy(&mut errors, &mut std::io::sink());
    String::from_utf8_lossy(&said).into_owned()
}

/// The entry of a line of JSON, if it is one of ours.
fn take_apart(line: &[u8], cursor: &mut Option<String>, tally: &mut Tally) -> Option<Entry> {
    let fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let text = |name: &str| text(fields.get(name)?);
    *cursor = text("__CURSOR").map(Cow::into_owned).or_else(|| cursor.take());
    if text("MESSAGE_ID").is_some_and(|id| id == DROPPED)
        && text("_TRANSPORT").is_some_and(|it| it == "driver")
    {
        tally.dropped(text("N_DROPPED").and_then(|count| count.parse().ok()).unwrap_or(1));
        return None;
    }
    let (program, message) = (text("SYSLOG_IDENTIFIER")?, text("MESSAGE")?);
    // A process may give a field twice, so that the journal finds an entry by either.
    if text("SYSLOG_FACILITY")? != FACILITY || !entry::may_be_ours(&program, &message) {
        return None;
    }
    let Some(time) = time_of(&fields) else {
        tally.invalid("the journal");
        return None;
    };
    let sender = sender(&text, entry::transport(&program));
    let host = text("_HOSTNAME").unwrap_or_default().into_owned();
    match entry::read(Origin { time, host, sender }, &program, &message) {
        Message::Entry(entry) => Some(*entry),
        Message::Other => None,
        Message::Invalid => {
            tally.invalid("the journal");
            None
        }
    }
}

/// A field that an entry has once.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        // Bytes that journalctl does not show as text.
        Value::Array(bytes) => {
            let bytes = bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok());
            String::from_utf8(bytes.collect::<Option<_>>()?).ok().map(Cow::Owned)
        }
        _ => None,
    }
}

fn time_of(fields: &Map<String, Value>) -> Option<Timestamp> {
    let microseconds = text(fields.get("__REALTIME_TIMESTAMP")?)?.parse().ok()?;
    Timestamp::from_microsecond(microseconds).ok()
}

/// Who sent an entry. `_UID` is by the kernel, of the moment of sending: the real user of the process, which for sudo and su is
/// their caller. The rest journald looks up a moment later.
///
/// Our programs log in one way, `transport`. A daemon of root that passes on what others send it uses another.
fn sender<'f>(text: &impl Fn(&str) -> Option<Cow<'f, str>>, transport: &str) -> Sender {
    let uid = text("_UID").and_then(|uid| uid.parse().ok()).unwrap_or(u32::MAX);
    if text("_TRANSPORT").is_none_or(|it| it != transport) {
        return Sender::User(uid);
    }
    if uid == 0 {
        return Sender::Root;
    }
    // A program that runs with the rights of root has them all. In a namespace of their own, users have them, too.
    let has_rights = text("_CAP_EFFECTIVE").is_some_and(|set| set.bytes().any(|digit| digit != b'0'));
    match text("_EXE") {
        Some(exe) if has_rights && gives_rights(Path::new(&*exe)) => Sender::SetUid(uid),
        _ => Sender::User(uid),
    }
}

/// Whether a program runs as root whoever starts it. A program of another host is known by its name.
fn gives_rights(exe: &Path) -> bool {
    const NAMES: [&str; 8] =
        ["su", "sudo", "doas", "pkexec", "polkit-agent-helper-1", "login", "passwd", "chsh"];
    match exe.metadata() {
        Ok(file) => file.uid() == 0 && file.mode() & 0o4000 != 0,
        Err(_) => exe.file_name().and_then(|name| name.to_str()).is_some_and(|name| NAMES.contains(&name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LINE: &str = "pam_yubiotp(su:auth): accepted user=root token=vvccccccccbd mode=offline service=su rhost=none \
                        tty=pts/0 code=accepted reason=\"1/2\"";

    fn entry(change: impl Fn(&mut Value)) -> Option<Entry> {
        let mut value = json!({
            "__REALTIME_TIMESTAMP": "1796000000123456", "MESSAGE": LINE, "SYSLOG_IDENTIFIER": "su",
            "SYSLOG_FACILITY": "10", "_UID": "0", "_HOSTNAME": "h", "_TRANSPORT": "syslog",
        });
        change(&mut value);
        take_apart(value.to_string().as_bytes(), &mut None, &mut Tally::default())
    }

    #[test]
    fn an_entry_and_its_sender() {
        let root = entry(|_| {}).unwrap();
        assert_eq!((root.sender, root.host.as_str()), (Sender::Root, "h"));
        assert_eq!(root.time.as_microsecond(), 1_796_000_000_123_456);
        let by = |exe: &str, capabilities: &str| {
            let sender = entry(|it| {
                (it["_UID"], it["_EXE"], it["_CAP_EFFECTIVE"]) =
                    ("1000".into(), exe.into(), capabilities.into());
            });
            sender.unwrap().sender
        };
        assert_eq!(by("/usr/bin/su", "1ffffffffff"), Sender::SetUid(1000));
        assert_eq!(by("/nowhere/bin/sudo", "1ffffffffff"), Sender::SetUid(1000));
        assert_eq!(by("/nowhere/bin/sudo", "0"), Sender::User(1000));
        assert_eq!(by("/nowhere/bin/logger", "1ffffffffff"), Sender::User(1000));
        assert_eq!(by("/bin/sh", "1ffffffffff"), Sender::User(1000));
        for (name, value) in
            [("_UID", json!("1000")), ("_TRANSPORT", json!("journal")), ("_TRANSPORT", json!(null))]
        {
            assert!(
                matches!(entry(|it| it[name] = value.clone()).unwrap().sender, Sender::User(_)),
                "{name}: {value}"
            );
        }
        assert_eq!(entry(|it| it["_UID"] = json!(null)).unwrap().sender, Sender::User(u32::MAX));
    }

    #[test]
    fn fields_that_are_not_one_text() {
        assert!(entry(|it| it["MESSAGE"] = json!(LINE.as_bytes())).is_some());
        for (name, value) in [
            ("MESSAGE", json!([LINE, LINE])),
            ("MESSAGE", json!(null)),
            ("MESSAGE", json!([300])),
            ("MESSAGE", json!("another")),
            ("SYSLOG_FACILITY", json!(["10", "3"])),
            ("SYSLOG_FACILITY", json!("3")),
            ("__REALTIME_TIMESTAMP", json!("x")),
        ] {
            assert!(entry(|it| it[name] = value.clone()).is_none(), "{name}: {value}");
        }
        assert!(take_apart(b"{\"MESSAGE\":", &mut None, &mut Tally::default()).is_none());
    }
}
