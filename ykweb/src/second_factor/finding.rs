//! Why an answer was not accepted, with what the administrator of a web login can do about it.

use crate::user::UserName;
use yubiotp::diagnostic::{Code, Diagnostic, Program, Remedy, shell_word};
use yubiotp::verdict::{Reason, Verdict};

/// The finding; `None` if it was accepted.
pub(super) fn of(verdict: &Verdict, user: &UserName, is_disabled: bool) -> Option<Diagnostic> {
    let name = shell_word(user.as_str().as_bytes());
    let user_verb = |found: Diagnostic, when: &str, verb: &str| {
        found.run_when(when, Program::Ykwebd, format!("user {verb}"))
    };
    match verdict {
        Verdict::Accepted(_) => None,
        Verdict::NotEnrolled => {
            let found = Diagnostic::error(Code::UserNotListed, "the web login does not know the user");
            Some(user_verb(found, "if they may sign in", &format!("add {name}")))
        }
        Verdict::Rejected(_) if is_disabled => {
            let found = Diagnostic::error(Code::UserDisabled, "an administrator disabled the user");
            Some(user_verb(found, "to enable them", &format!("enable {name}")))
        }
        Verdict::Rejected(reason) => Some(match reason {
            Reason::NoTokens => {
                let found = Diagnostic::error(Code::UserWithoutToken, "the user has no token");
                let found = user_verb(found, "for a YubiKey", &format!("add-yubikey {name}"));
                user_verb(found, "for an authenticator app", &format!("add-app {name}"))
            }
            Reason::NotTheirToken(token) => {
                let of = token.map_or_else(|| "a token".to_owned(), |token| format!("token {token}"));
                let problem = format!("the OTP is from {of}, which is not this user's");
                let found = Diagnostic::error(Code::OtherUsersToken, problem);
                let id = token.map_or_else(|| "ID".to_owned(), |token| token.to_string());
                user_verb(found, "if it is theirs", &format!("add-yubikey {name} {id}"))
            }
            Reason::Behind { .. } => of_every_login(reason)
                .advise("if the YubiKey was reprogrammed, program it with another public ID, and add that"),
            Reason::Disabled(token) => {
                let verb = format!("enable-token {name} {token}");
                user_verb(of_every_login(reason), "to enable it", &verb)
            }
            Reason::TwoCodesNeeded => {
                user_verb(of_every_login(reason), "if the user mistyped them all", &format!("unlock {name}"))
            }
            Reason::NotTheirRecoveryCode => {
                let verb = format!("new-recovery-codes {name}");
                user_verb(of_every_login(reason), "if the user has lost them", &verb)
            }
            reason => of_every_login(reason),
        }),
    }
}

/// The finding without the commands of a host.
fn of_every_login(reason: &Reason) -> Diagnostic {
    let mut found = reason.diagnostic();
    let is_of_a_host =
        |it: &Remedy| matches!(it, Remedy::Command { command, .. } if command.program == Program::Ykmap);
    found.remedies.retain(|remedy| !is_of_a_host(remedy));
    found
}
