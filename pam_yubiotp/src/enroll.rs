//! Enrollment at a login: shows what `yubiotp-enroll` says, and hands it what is typed. What is typed is never logged.
//!
//! The program decides and writes. Its yes lets nobody in: the lists are read again here.

use crate::code::Outcome;
use crate::conversation;
use crate::handle::{Handle, Item};
use crate::log::Log;
use pam::constants::PamResultCode;
use std::ffi::CStr;
use ykhost::enroll::Enrollment;
use ykhost::settings::LoginSettings;
use ykhost::store::Store;
use ykhost::{Fault, mapping};
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Diagnostic, Severity};
use yubiotp::dialogue::{Answer, End, LoginFacts, Spoken};
use yubiotp::mapping::Enrolment;
use zeroize::Zeroizing;

/// Where sshd says by which methods the user has authenticated so far.
const SSH_AUTH_INFO: &CStr = c"SSH_AUTH_INFO_0";

/// The most that is shown at once: the largest QR code in ASCII is half of it.
const MOST: usize = 256 << 10;

/// The result of an offer.
pub(crate) enum Offered {
    /// The user saw nothing of it, and why.
    Nothing(Diagnostic),
    /// The user puts it off.
    Postponed,
    /// The application cannot ask what enrollment asks, or the user gave up at once.
    Unasked(PamResultCode),
    /// The login ends with this.
    Ended(Outcome),
}

/// What the program has to know of this login. `None` if nothing is seen of a first factor, so that it would offer nothing.
pub(crate) fn facts(host: &impl Handle, user: &[u8], arguments: &[Zeroizing<Vec<u8>>]) -> Option<LoginFacts> {
    let has_password = host.authtok().is_some_and(|password| !password.is_empty());
    // Of sshd only: elsewhere another module may have set it, as pam_env does.
    let is_sshd = host.item(Item::Terminal).is_some_and(|terminal| terminal == b"ssh");
    let ssh_auth_info = is_sshd.then(|| host.environment(SSH_AUTH_INFO)).flatten();
    (has_password || ssh_auth_info.is_some()).then(|| LoginFacts {
        user: user.to_vec(),
        service: host.item(Item::Service).unwrap_or_default(),
        rhost: host.item(Item::RemoteHost),
        arguments: arguments.to_vec(),
        has_password,
        ssh_auth_info,
    })
}

/// Offers enrollment to a user who is not listed, and shows them first, once, what was left for them. Who may put it
/// off is not kept out by a program that cannot be started.
///
/// # Errors
/// The program cannot be used, or does not do what it says.
pub(crate) fn offer(
    host: &impl Handle,
    settings: &LoginSettings,
    facts: &LoginFacts,
    may_postpone: bool,
    log: &Log,
) -> Result<Offered, Fault> {
    let mut dialogue = match Enrollment::start(settings, facts) {
        Ok(dialogue) => dialogue,
        Err(fault) if may_postpone => {
            return Ok(Offered::Nothing(fault.diagnostic().with_severity(Severity::Warning)));
        }
        Err(fault) => return Err(fault),
    };
    let mut shown = Shown::default();
    let end = loop {
        match dialogue.listen()? {
            Spoken::Text(text) => shown.add(text).map_err(|why| fault(settings, why))?,
            Spoken::Question { prompt, echo } => {
                shown.add(prompt).map_err(|why| fault(settings, why))?;
                // In one: sshd shows a text only with the question after it.
                let is_first = !shown.has_asked;
                let notices = if is_first {
                    Notices::left(settings, &facts.user, host, log)
                } else {
                    Notices::default()
                };
                let text = Zeroizing::new([notices.text().as_str(), shown.take().as_str()].concat());
                match conversation::ask_text(host, &text, echo, &facts.user) {
                    Ok(answer) => {
                        notices.clear(settings, &facts.user, host, log);
                        dialogue.answer(Answer(answer))?;
                    }
                    Err(code) if is_first && code != PamResultCode::PAM_BAD_ITEM => {
                        return Ok(Offered::Unasked(code));
                    }
                    Err(code) => return Ok(Offered::Ended(Outcome::ConversationFailed(code))),
                }
            }
            Spoken::End(end) => break end,
        }
    };
    let has_asked = shown.has_asked;
    let rest = shown.take();
    if has_asked && !rest.is_empty() {
        conversation::tell(host, &rest);
    }
    Ok(match end {
        End::Done(tokens) => Offered::Ended(Outcome::Enrolled(listed(settings, &facts.user, &tokens)?)),
        End::Postponed if has_asked && may_postpone => match still_unlisted(settings, &facts.user)? {
            true => Offered::Postponed,
            false => {
                let problem = "the user enrolled meanwhile, in another login";
                Offered::Ended(Outcome::EnrollmentFailed(Diagnostic::error(Code::AlreadyEnrolled, problem)))
            }
        },
        End::Postponed => {
            return Err(fault(settings, "puts off what the policy does not let the user put off"));
        }
        End::Failed { code, problem } => {
            let code: Code =
                code.parse().map_err(|_| fault(settings, "failed with a code that nobody knows"))?;
            match has_asked {
                true => Offered::Ended(Outcome::EnrollmentFailed(Diagnostic::error(code, problem))),
                false => Offered::Nothing(Diagnostic::warning(
                    code,
                    format!("no enrollment is offered: {problem}"),
                )),
            }
        }
    })
}

/// Whether no list has the user now, by the rule that excuses users.
fn still_unlisted(settings: &LoginSettings, user: &[u8]) -> Result<bool, Fault> {
    settings.folders.close();
    let found = mapping::enrolment(settings, user, true);
    settings.folders.close();
    Ok(found? == Enrolment::NotListed)
}

/// The tokens of a user, as the lists name them now, if those that the program names are among them.
fn listed(settings: &LoginSettings, user: &[u8], named: &str) -> Result<Vec<TokenId>, Fault> {
    settings.folders.close();
    let found = mapping::enrolment(settings, user, false);
    settings.folders.close();
    let named: Result<Vec<_>, _> = named.split(':').map(|token| TokenId::parse(token.as_bytes())).collect();
    match (found?, named) {
        (Enrolment::Listed(tokens), Ok(named)) if named.iter().all(|token| tokens.contains(token)) => {
            Ok(named)
        }
        _ => Err(fault(settings, "says that the user is enrolled, and no list has the token")),
    }
}

fn fault(settings: &LoginSettings, why: &str) -> Fault {
    Fault::EnrollProgram { path: settings.enroll.program.clone(), why: why.to_owned() }
}

/// What was left for a user whose first factor is proven: such as that their token was reset.
#[derive(Default)]
struct Notices(Vec<String>);

impl Notices {
    /// None if they cannot be read, which the log says: that is no reason to enroll nobody.
    fn left(settings: &LoginSettings, user: &[u8], host: &impl Handle, log: &Log) -> Self {
        let notices = Store::new(settings).notices(user);
        settings.folders.close();
        Self(notices.unwrap_or_else(|fault| {
            log.warning(host, &fault.diagnostic());
            Vec::new()
        }))
    }

    fn text(&self) -> String {
        self.0.iter().map(|notice| format!("{notice}\n")).collect()
    }

    /// The user has seen them.
    fn clear(&self, settings: &LoginSettings, user: &[u8], host: &impl Handle, log: &Log) {
        if self.0.is_empty() {
            return;
        }
        let cleared = Store::new(settings).clear_notices(user, &self.0);
        settings.folders.close();
        if let Err(fault) = cleared {
            log.warning(host, &fault.diagnostic());
        }
    }
}

/// What the user has to see with the next question. It may hold the secret of an app.
#[derive(Default)]
struct Shown {
    texts: Vec<Zeroizing<String>>,
    length: usize,
    has_asked: bool,
}

impl Shown {
    fn add(&mut self, text: String) -> Result<(), &'static str> {
        self.length = self.length.saturating_add(text.len());
        self.texts.push(Zeroizing::new(text));
        if self.length > MOST { Err("says more than anybody can read") } else { Ok(()) }
    }

    fn take(&mut self) -> Zeroizing<String> {
        let mut all = Zeroizing::new(String::with_capacity(self.length));
        for text in self.texts.drain(..) {
            all.push_str(&text);
        }
        self.length = 0;
        self.has_asked = true;
        all
    }
}
