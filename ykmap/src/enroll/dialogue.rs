//! The dialogue of a login: who and why, a choice, an offer, and what the user has then.

use super::eligible::Eligible;
use super::offers::{Offer, Offers, Stop, ascii};
use super::talk::{Gone, Talk, answer, trimmed};
use super::write;
use std::fmt::Write as _;
use ykcli::failure::Failure;
use ykcli::time;
use ykhost::enrolled::Only;
use ykhost::mapping;
use yubiotp::TokenId;
use yubiotp::diagnostic::{Calls, Code, Diagnostic};
use yubiotp::dialogue::{Answer, End};
use yubiotp::mapping::Enrolment;
use yubiotp::otp;
use zeroize::Zeroizing;

/// How many answers that are no choice end the dialogue.
const TRIES: usize = 5;

/// Enrolls the user, or does not. Whatever happens, the user is enrolled as a whole or not at all.
pub(super) fn run(who: &Eligible, talk: &mut impl Talk) -> End {
    let offers = Offers { origin: who.origin.clone(), ..Offers::new(&who.settings, &who.user, who.methods) };
    // Before the first question: these failures are not shown.
    let choices = match offers.choices() {
        Ok(choices) if choices.is_empty() => {
            return failed(&Diagnostic::error(
                Code::NothingToOffer,
                "the user may not enroll any token here: the policy allows no method that this host can offer",
            ));
        }
        Ok(choices) => choices,
        Err(fault) => return failed(&fault.diagnostic()),
    };
    match enroll(who, &offers, &choices, talk) {
        Ok(end) => end,
        Err(Stop::Gone | Stop::Back) => {
            let found = broken_off();
            who.log.failed(&found);
            failed(&found)
        }
        Err(Stop::Refused(found)) => close(who, "Nothing was changed.", &found, talk),
        Err(Stop::Fault(found)) => close(
            who,
            "You cannot enroll now, and nothing was changed.\nAsk your administrator.",
            &found,
            talk,
        ),
    }
}

/// The last words, in a question: sshd shows no text without one. A user who may put it off gets in all the same, as with
/// Enter at the menu.
fn close(who: &Eligible, words: &str, found: &Diagnostic, talk: &mut impl Talk) -> End {
    let is_enrolled = found.code == Code::AlreadyEnrolled;
    let may_postpone = who.until.is_some() && !is_enrolled;
    let next = match (is_enrolled, may_postpone) {
        (true, _) => "Log in again, with your token.",
        (false, true) => "You can enroll at your next login.",
        (false, false) => "Log in again for another try.",
    };
    let is_seen = talk.ask(&format!("{words}\n{next}\nPress Enter: "), true).is_ok();
    // Otherwise the module says it.
    if may_postpone || !is_seen {
        who.log.failed(found);
    }
    if may_postpone && is_seen { postponed(who) } else { failed(found) }
}

/// The user puts it off, unless they were enrolled meanwhile: then they have a second factor.
fn postponed(who: &Eligible) -> End {
    match mapping::enrolment(&who.settings, who.user.as_bytes(), true) {
        Ok(Enrolment::NotListed) => End::Postponed,
        Ok(Enrolment::Listed(_)) => failed(&write::already(&who.user)),
        Err(fault) => failed(&fault.diagnostic()),
    }
}

fn broken_off() -> Diagnostic {
    Diagnostic::error(
        Code::EnrollmentBrokenOff,
        "the user went away, or took longer than ten minutes: nothing was changed",
    )
}

/// A finding, for the module's line in the log.
pub(super) fn failed(found: &Diagnostic) -> End {
    End::Failed { code: found.code.name().to_owned(), problem: found.log_text(Calls::PLAIN) }
}

fn enroll(who: &Eligible, offers: &Offers<'_>, choices: &[Offer], talk: &mut impl Talk) -> Result<End, Stop> {
    talk.say(&introduction(who))?;
    let mut wrong = 0_usize;
    let proved = loop {
        talk.say(&menu(choices))?;
        let typed = talk.ask(prompt(who), true)?;
        let (offer, first) = match choose(&typed, choices) {
            Choice::Enter if who.until.is_some() => return Ok(postponed(who)),
            Choice::Offer(offer, first) => (offer, first),
            Choice::Enter | Choice::Unknown => {
                wrong = wrong.saturating_add(1);
                if wrong >= TRIES {
                    return Err(Stop::Refused(Diagnostic::error(
                        Code::EnrollmentBrokenOff,
                        "the user chose none of the offers",
                    )));
                }
                talk.say("Type one of the numbers.\n")?;
                continue;
            }
        };
        match offers.make(offer, first, talk) {
            Err(Stop::Back) => {}
            made => break made?,
        }
    };
    let token = proved.token;
    let written = match write::write(&who.settings, &who.user, proved, offers.has_recovery(), Only::NotListed)
    {
        Ok(written) => written,
        Err(failure) => return Err(told(failure, talk)),
    };
    // The user is enrolled from here on, and may go away at once.
    who.log.enrolled(&written.tokens);
    let listed: Vec<_> = written.tokens.iter().map(ToString::to_string).collect();
    let done = End::Done(listed.join(":"));
    if talk.say(&welcome(who, &token)).is_ok()
        && let Some(codes) = written.codes
    {
        let texts: Vec<_> = codes.texts().into_iter().map(Zeroizing::new).collect();
        let _ = show(&texts, talk);
    }
    Ok(done)
}

/// What the user does from now on.
fn welcome(who: &Eligible, token: &TokenId) -> String {
    let how = match token {
        TokenId::YubiKey(_) => "touch your YubiKey",
        TokenId::Oath(serial) if serial.as_str().starts_with("app-") => "type the code of your app",
        TokenId::Oath(_) | TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => {
            "type the code that it shows"
        }
    };
    let prompt = ascii(&who.settings.prompt.replace("%u", &who.user));
    format!(
        "\nYou are enrolled. Your token: {token}\nFrom now on, {how} at this prompt:\n\n    {}\n",
        prompt.trim_end()
    )
}

/// Shows recovery codes, together with a question: sshd shows no text without one.
fn show(codes: &[Zeroizing<String>], talk: &mut impl Talk) -> Result<(), Gone> {
    let mut page = Zeroizing::new(String::with_capacity(1024));
    page.push_str("\nYour recovery codes. Each lets you in once,\nif you do not have your token:\n\n");
    for code in codes {
        // Writing to a String does not fail.
        let _ = writeln!(page, "    {}", code.as_str());
    }
    page.push_str("\nWrite these down, and keep them apart from your token.\nThey are not shown again.\n");
    talk.say(&page)?;
    talk.ask("Press Enter when done: ", true).map(drop)
}

/// What the user has to know of a failure to write.
fn told(failure: Failure, talk: &mut impl Talk) -> Stop {
    let stop = Stop::from(failure);
    let (Stop::Fault(found) | Stop::Refused(found)) = stop else { return stop };
    let text = match found.code {
        Code::AlreadyEnrolled => "You were enrolled meanwhile, in another login.\n",
        Code::OfferEnded => {
            "Another login showed, used or replaced that secret,\n\
             or your administrator ended it.\n\
             If that login was not yours, tell your administrator.\n"
        }
        Code::CodeUsed => "That code was used meanwhile.\n",
        Code::TokenAssigned => "That token was assigned to somebody else meanwhile.\n",
        _ => return Stop::Fault(found),
    };
    match talk.say(text) {
        Ok(()) => Stop::Refused(found),
        Err(gone) => gone.into(),
    }
}

/// Who, why, and until when.
fn introduction(who: &Eligible) -> String {
    let (host, user) = (ascii(&crate::totp::host_name()), ascii(&who.user));
    match who.until {
        Some(until) => format!(
            "You have no second factor yet.\nLogins of {user} on {host} need one\nfrom {} UTC on.\n",
            time::utc(until)
        ),
        None => format!("You have no second factor yet.\nLogins of {user} on {host} need one.\n"),
    }
}

pub(crate) fn menu(choices: &[Offer]) -> String {
    let mut text = String::from("\n");
    for (number, offer) in (1..).zip(choices) {
        let line = match offer {
            Offer::YubiKey => "YubiKey: touch it now, then once more",
            Offer::App => "authenticator app on a phone",
            Offer::Hardware => "hardware token that shows codes",
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {number}  {line}");
    }
    text.push('\n');
    text
}

const fn prompt(who: &Eligible) -> &'static str {
    if who.until.is_some() {
        "Set one up: type its number. For later, press Enter: "
    } else {
        "Set one up: type its number: "
    }
}

/// What an answer to the menu means.
pub(crate) enum Choice {
    Enter,
    Offer(Offer, Option<Answer>),
    Unknown,
}

pub(crate) fn choose(typed: &Answer, choices: &[Offer]) -> Choice {
    let text = trimmed(typed);
    if text.is_empty() {
        return Choice::Enter;
    }
    let number = str::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
    if let Some(offer) = number.and_then(|number| choices.get(number.checked_sub(1)?)) {
        return Choice::Offer(*offer, None);
    }
    if choices.contains(&Offer::YubiKey) && otp::readings(text).is_ok() {
        return Choice::Offer(Offer::YubiKey, Some(answer(text)));
    }
    Choice::Unknown
}
