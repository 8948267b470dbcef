//! A line of ours, read back.

use super::fields::Fields;
use jiff::Timestamp;

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) time: Timestamp,
    /// The host whose log it is, as the log names it.
    pub(crate) host: String,
    pub(crate) sender: Sender,
    pub(crate) outcome: Outcome,
    /// What an event is called, such as `token-disable`.
    pub(crate) event: Option<String>,
    /// `None` of a change that is no user's.
    pub(crate) user: Option<Vec<u8>>,
    /// As the line names them; a decision names one at most.
    pub(crate) tokens: Vec<String>,
    pub(crate) mode: Option<String>,
    pub(crate) service: Option<Vec<u8>>,
    pub(crate) rhost: Option<Vec<u8>>,
    pub(crate) tty: Option<Vec<u8>>,
    pub(crate) code: Option<String>,
    pub(crate) reason: Option<String>,
    /// Who made the change, if an administrator did.
    pub(crate) by: Option<Vec<u8>>,
    /// Further fields of an event.
    pub(crate) more: Vec<(String, Vec<u8>)>,
}

/// What was decided, or that it is no decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Outcome {
    /// The login may go on: the OTP or code was accepted
    Accepted,
    /// The OTP or code was not accepted
    #[value(alias = "refused")]
    Rejected,
    /// Something failed, and nothing was decided
    Fault,
    /// The user needs no second factor
    Excused,
    /// The user enrolled a token at this login
    Enrolled,
    /// The login ended before an answer
    Abandoned,
    /// The trial of `ykmap enable`, and no login; the code says how it ended
    Trial,
    /// A warning about settings
    Warning,
    /// A change of a user or a token
    Event,
}

impl Outcome {
    /// The name that people and `--json` see.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Fault => "fault",
            Self::Excused => "excused",
            Self::Enrolled => "enrolled",
            Self::Abandoned => "abandoned",
            Self::Trial => "trial",
            Self::Warning => "warning",
            Self::Event => "event",
        }
    }

    /// Of the first word of a line of the module.
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "accepted" => Self::Accepted,
            "refused" => Self::Rejected,
            "fault" => Self::Fault,
            "excused" => Self::Excused,
            "enrolled" => Self::Enrolled,
            "abandoned" => Self::Abandoned,
            "warning" => Self::Warning,
            _ => return None,
        })
    }
}

/// Who wrote a line, as far as the log proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A process of root, by the kernel's word. Nobody but root can write such a line.
    Root,
    /// A set-user-ID program such as sudo or su, which this user started. This user can forge such a line with effort.
    SetUid(u32),
    /// A process of this user. It may be a screen locker, and it may be a forgery.
    User(u32),
    /// A text file does not say it. Every user of the host can write such a line.
    File,
}

impl Sender {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::SetUid(_) => "set-uid",
            Self::User(_) => "user",
            Self::File => "file",
        }
    }

    pub(crate) const fn uid(self) -> Option<u32> {
        match self {
            Self::Root => Some(0),
            Self::SetUid(uid) | Self::User(uid) => Some(uid),
            Self::File => None,
        }
    }
}

/// Where and when a log had a message.
pub(super) struct Origin {
    pub(super) time: Timestamp,
    pub(super) host: String,
    pub(super) sender: Sender,
}

/// What a message is.
pub(super) enum Message {
    /// Of another program, or a step of ours that only debugging logs.
    Other,
    /// Of ours, and not as our programs write it.
    Invalid,
    Entry(Box<Entry>),
}

/// The programs that log events, as syslog and the unit of the self-service name them.
const PROGRAMS: [&str; 3] = ["ykmap", "yubiotp-enroll", "yubiotp-self"];
/// How a program logs, as the journal names it: by syslog(3), or on standard error, as a unit does.
pub(super) fn transport(program: &str) -> &'static str {
    if program == "yubiotp-self" { "stdout" } else { "syslog" }
}

/// The program in which `ykmap enable` tries a login, as it names itself to syslog.
const TRIAL: &str = "yubiotp-try";

/// What libpam puts before each message of the module.
pub(super) const MODULE: &str = "pam_yubiotp(";
const FLOWS: [&str; 5] = ["auth", "account", "setcred", "session", "chauthtok"];

/// Whether a message with this tag and beginning may be ours.
pub(super) fn may_be_ours(program: &str, message: &str) -> bool {
    message.starts_with(MODULE) || (PROGRAMS.contains(&program) && message.starts_with("event="))
}

/// Reads the message of a program.
pub(super) fn read(origin: Origin, program: &str, message: &str) -> Message {
    let entry = if let Some(rest) = message.strip_prefix(MODULE) {
        let Some(line) = behind_prefix(rest) else { return Message::Invalid };
        if line.starts_with("user=") {
            return Message::Other;
        }
        let is_trial = is_trial(program, origin.sender);
        decision(origin, line).map(|entry| if is_trial { tried(entry) } else { entry })
    } else if PROGRAMS.contains(&program) && message.starts_with("event=") {
        event(origin, message)
    } else {
        return Message::Other;
    };
    entry.map_or(Message::Invalid, |entry| Message::Entry(Box::new(entry)))
}

/// Whether it is about a trial. Whoever starts sudo can name its process as they like, and would hide a login so: only root tries.
fn is_trial(program: &str, sender: Sender) -> bool {
    program == TRIAL && matches!(sender, Sender::Root | Sender::File)
}

fn tried(entry: Entry) -> Entry {
    match entry.outcome {
        Outcome::Warning => entry,
        _ => Entry { outcome: Outcome::Trial, ..entry },
    }
}

/// What follows `sshd:auth): `. A service that holds `): ` itself makes the line invalid: [`Fields`] does not read its rest.
fn behind_prefix(rest: &str) -> Option<&str> {
    let (place, line) = rest.split_once("): ")?;
    let (_, flow) = place.rsplit_once(':')?;
    FLOWS.contains(&flow).then_some(line)
}

fn decision(origin: Origin, line: &str) -> Option<Entry> {
    let (word, fields) = line.split_once(' ')?;
    let outcome = Outcome::of(word)?;
    let mut fields = Fields::parse(fields)?;
    let token = fields.take_text("token")?;
    let entry = Entry {
        user: Some(fields.take("user")?),
        tokens: if token == "none" { Vec::new() } else { vec![token] },
        mode: Some(fields.take_text("mode")?),
        code: Some(fields.take_text("code")?),
        reason: Some(reason(&mut fields)?),
        // In its place in the line; "none" is no value.
        service: optional(&mut fields, "service")?,
        rhost: optional(&mut fields, "rhost")?,
        tty: optional(&mut fields, "tty")?,
        event: None,
        by: None,
        more: Vec::new(),
        outcome,
        time: origin.time,
        host: origin.host,
        sender: origin.sender,
    };
    // A cut line lacks fields, unless it was cut within its last one.
    Some(Entry { more: fields.rest(), ..entry })
}

/// A field that must be there, and that says `none` for nothing.
#[expect(clippy::option_option, reason = "no field, and a field that says none")]
fn optional(fields: &mut Fields<'_>, name: &str) -> Option<Option<Vec<u8>>> {
    fields.take(name).map(|value| Some(value).filter(|value| value != b"none"))
}

fn reason(fields: &mut Fields<'_>) -> Option<String> {
    let reason = fields.take("reason")?;
    let mut reason = String::from_utf8_lossy(&reason).into_owned();
    if fields.is_cut {
        reason.push('…');
    }
    Some(reason)
}

fn event(origin: Origin, line: &str) -> Option<Entry> {
    let mut fields = Fields::parse(line)?;
    let reason = reason(&mut fields);
    if fields.is_cut && reason.is_none() {
        return None;
    }
    let tokens = fields.take_text("tokens").or_else(|| fields.take_text("token"));
    let tokens = tokens.filter(|tokens| tokens != "none").unwrap_or_default();
    Some(Entry {
        event: Some(fields.take_text("event")?),
        user: fields.take("user"),
        by: fields.take_or_none("by"),
        tokens: tokens.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect(),
        mode: None,
        service: fields.take_or_none("service"),
        rhost: fields.take_or_none("rhost"),
        tty: None,
        code: fields.take_text("code"),
        reason,
        outcome: Outcome::Event,
        time: origin.time,
        host: origin.host,
        sender: origin.sender,
        more: fields.rest(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn origin() -> Origin {
        Origin { time: Timestamp::UNIX_EPOCH, host: "host".to_owned(), sender: Sender::Root }
    }

    pub(crate) fn parsed(program: &str, message: &str) -> Option<Entry> {
        match read(origin(), program, message) {
            Message::Entry(entry) => Some(*entry),
            Message::Invalid | Message::Other => None,
        }
    }

    const LINE: &str = "pam_yubiotp(sshd:auth): refused user=alice token=vvccccccccbd mode=offline service=sshd \
                        rhost=192.0.2.7 tty=none code=otp-replayed reason=\"This OTP was used. Run: ykmap test\"";

    #[test]
    fn a_decision() {
        let entry = parsed("sshd", LINE).unwrap();
        assert_eq!(entry.outcome, Outcome::Rejected);
        assert_eq!(
            (entry.user.as_deref(), entry.tokens.as_slice()),
            (Some(&b"alice"[..]), &["vvccccccccbd".to_owned()][..])
        );
        assert_eq!(
            (entry.service.as_deref(), entry.rhost.as_deref()),
            (Some(&b"sshd"[..]), Some(&b"192.0.2.7"[..]))
        );
        assert_eq!((entry.tty, entry.code.as_deref()), (None, Some("otp-replayed")));
        assert_eq!(entry.reason.as_deref(), Some("This OTP was used. Run: ykmap test"));
        let cut = parsed("sshd", &LINE[..LINE.len() - 5]).unwrap();
        assert_eq!(cut.reason.as_deref(), Some("This OTP was used. Run: ykmap …"));
    }

    #[test]
    fn a_trial_is_no_login() {
        let outcome = |program: &str, sender: Sender, line: &str| match read(
            Origin { sender, ..origin() },
            program,
            line,
        ) {
            Message::Entry(entry) => Some((entry.outcome, entry.code)),
            Message::Invalid | Message::Other => None,
        };
        let replayed = Some("otp-replayed".to_owned());
        let warning = LINE.replace("refused", "warning");
        for (program, sender, line, expected) in [
            (TRIAL, Sender::Root, LINE, Outcome::Trial),
            (TRIAL, Sender::File, LINE, Outcome::Trial),
            (TRIAL, Sender::Root, warning.as_str(), Outcome::Warning),
            ("sudo", Sender::Root, LINE, Outcome::Rejected),
            // `exec -a yubiotp-try sudo`
            (TRIAL, Sender::SetUid(1000), LINE, Outcome::Rejected),
            (TRIAL, Sender::User(1000), LINE, Outcome::Rejected),
        ] {
            assert_eq!(outcome(program, sender, line), Some((expected, replayed.clone())), "{sender:?}");
        }
    }

    #[test]
    fn events() {
        let entry =
            parsed("ykmap", "event=add user=alice by=ops tokens=vvccccccccbd,oath-app-1 config=/x").unwrap();
        assert_eq!(
            (entry.outcome, entry.event.as_deref(), entry.by.as_deref()),
            (Outcome::Event, Some("add"), Some(&b"ops"[..]))
        );
        assert_eq!(entry.tokens, ["vvccccccccbd", "oath-app-1"]);
        assert_eq!(entry.more, [("config".to_owned(), b"/x".to_vec())]);
        // Of the host, and of a user whose name is that word.
        let users = ["", " user=none"]
            .map(|user| parsed("ykmap", &format!("event=policy{user} by=ops")).unwrap().user);
        assert_eq!(users, [None, Some(b"none".to_vec())]);
        let line = "event=self-add user=alice uid=1000 token=vvccccccccbd proof=rec-x-1 code=accepted";
        let entry = parsed("yubiotp-self", line).unwrap();
        assert_eq!(
            (entry.code.as_deref(), entry.tokens.as_slice()),
            (Some("accepted"), &["vvccccccccbd".to_owned()][..])
        );
        let entry = parsed(
            "yubiotp-enroll",
            "event=enroll-failed user=a service=sshd rhost=none code=offer-ended reason=\"x\"",
        );
        assert_eq!(entry.unwrap().rhost, None);
    }

    #[test]
    fn other_messages_and_forged_ones() {
        let is_other = |program, message: &str| matches!(read(origin(), program, message), Message::Other);
        let is_invalid =
            |program, message: &str| matches!(read(origin(), program, message), Message::Invalid);
        assert!(is_other("sshd", "Invalid user pam_yubiotp(sshd:auth): accepted user=a from 192.0.2.7"));
        assert!(is_other("other", "event=add user=alice by=ops tokens=none"));
        assert!(is_other("sshd", "pam_yubiotp(sshd:auth): user=alice looks for the mapping"));
        for line in [
            "pam_yubiotp(sshd:auth): ",
            "pam_yubiotp(sshd:auth) accepted",
            "pam_yubiotp(sshd:other): accepted user=a",
            "pam_yubiotp(sshd:auth): accepted user=a",
            "pam_yubiotp(sshd:auth): welcomed user=a token=none mode=offline service=a rhost=a tty=a code=a reason=\"\"",
            // A service that begins a line of its own.
            "pam_yubiotp(x:auth): accepted user=root token=none mode=offline service=x rhost=none tty=none \
             code=accepted reason=\"x:auth): refused user=alice token=none mode=offline service=\"x\" rhost=none \
             tty=none code=no reason=\"\"",
        ] {
            assert!(is_invalid("sshd", line), "{line}");
        }
        assert!(is_invalid("ykmap", "event=add user=alice by=\"ops tokens=none"));
    }
}
