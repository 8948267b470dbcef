//! Deciding about an answer as the settings say: what a login and `ykmap verify` both do.

use crate::Fault;
use crate::file::Folders;
use crate::online::ByProgram;
use crate::settings::LoginSettings;
use crate::store::{Store, Undisturbed};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::mapping::Enrolment;
use yubiotp::verdict::{self, Answer, Judgement, Servers};
use yubiotp::{Position, PublicId};

/// The warning of a judgement that was made [despite answers](Judgement::despite_answers).
pub fn despite_answers() -> Diagnostic {
    Diagnostic::warning(
        Code::DecidedDespiteAnswers,
        "a validation server answered without deciding, and this host decided: an OTP that was used on another host is accepted here (accept_replays_while_servers_fail)",
    )
    .advise("fix the server, then remove accept_replays_while_servers_fail")
}

/// Decides about an answer, by the store or the validation servers, in the order of the settings' mode.
/// Calls that hold a lock are made [`undisturbed`](Undisturbed).
///
/// # Errors
/// Nothing was decided.
pub fn judge<'a>(
    settings: &LoginSettings,
    answer: &'a [u8],
    enrolment: &Enrolment,
    undisturbed: Undisturbed,
) -> Result<Judgement<'a>, Fault> {
    let servers = TakingTheirTime(ByProgram(settings.online()), &settings.folders);
    let store = Store::new(settings).undisturbed(undisturbed);
    let judged = verdict::judge(answer, enrolment, settings.mode, &store, &servers);
    // The next question may be asked now.
    settings.folders.close();
    judged
}

/// The servers, after whom every folder is looked at again.
struct TakingTheirTime<'a>(ByProgram<'a>, &'a Folders);

impl Servers for TakingTheirTime<'_> {
    type Fault = Fault;

    fn ask(&self, otp: &str, position: Option<Position>) -> Result<Answer, Fault> {
        let answer = self.0.ask(otp, position);
        self.1.close();
        answer
    }

    fn undecided(&self, token: &PublicId, withheld: bool, trail: String) -> Fault {
        self.0.undecided(token, withheld, trail)
    }

    fn accept_replays(&self) -> bool {
        self.0.accept_replays()
    }
}
