//! The dialogue of a login: who and why, a choice, an offer, and what the user has then.

use super::eligible::Eligible;
use super::offers::{Offer, Offers, Stop, ascii};
use super::talk::{Gone, Talk, answer, trimmed};
use super::write;
use std::fmt::Write as _;
use ykcli::failure::Failure;
use ykcli::time;
use ykhost::enrolled::Only;
use yubiotp::diagnostic::{Calls, Code, Diagnostic};
use yubiotp::dialogue::{Answer, End};
use yubiotp::otp;
use zeroize::Zeroizing;

/// How many answers that are no choice end the dialogue.
const TRIES: usize = 5;

/// Enrolls the user, or does not. Whatever happens, the user is enrolled as a whole or not at all.
pub(super) fn run(who: &Eligible, talk: &mut impl Talk) -> End {
    match enroll(who, talk) {
        Ok(end) => end,
        Err(Stop::Gone | Stop::Back) => failed(&broken_off()),
        Err(Stop::Refused(found)) => {
            let _ = talk.say("Nothing was changed. Log in again for another try.\n");
            failed(&found)
        }
        Err(Stop::Fault(found)) => {
            let _ = talk.say("You cannot enroll now, and nothing was changed. Ask your administrator.\n");
            failed(&found)
        }
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

fn enroll(who: &Eligible, talk: &mut impl Talk) -> Result<End, Stop> {
    let offers = Offers { origin: who.origin.clone(), ..Offers::new(&who.settings, &who.user, who.methods) };
    let choices = offers.choices()?;
    if choices.is_empty() {
        return Err(Stop::Fault(Diagnostic::error(
            Code::NothingToOffer,
            "the user may not enroll any token here: the policy allows no method that this host can offer",
        )));
    }
    talk.say(&introduction(who))?;
    let mut wrong = 0_usize;
    let proved = loop {
        talk.say(&menu(&choices))?;
        let typed = talk.ask(prompt(who), true)?;
        let (offer, first) = match choose(&typed, &choices) {
            Choice::Enter if who.until.is_some() => return Ok(End::Postponed),
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
    // The user is enrolled from here on.
    let listed: Vec<_> = written.tokens.iter().map(ToString::to_string).collect();
    let done = End::Done(listed.join(":"));
    if talk.say(&format!("\nYou are enrolled: {token} is yours now.\n")).is_ok()
        && let Some(codes) = written.codes
    {
        let texts: Vec<_> = codes.texts().into_iter().map(Zeroizing::new).collect();
        let _ = show(&texts, talk);
    }
    Ok(done)
}

/// Shows recovery codes, together with a question: sshd shows no text without one.
fn show(codes: &[Zeroizing<String>], talk: &mut impl Talk) -> Result<(), Gone> {
    let mut page = Zeroizing::new(String::with_capacity(1024));
    page.push_str("\nYour recovery codes. Each lets you in once, if you do not have your token:\n\n");
    for code in codes {
        // Writing to a String does not fail.
        let _ = writeln!(page, "    {}", code.as_str());
    }
    page.push_str("\nWrite these down, and keep them apart from your token. They are not shown again.\n");
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
            "That secret is not valid any more: another login got a new one or used it, or your administrator ended it. \
             Remove the entry from your app.\n"
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
            "From {} UTC on, logins of {user} on {host} need a second factor. You have none yet.\n",
            time::utc(until)
        ),
        None => format!("Logins of {user} on {host} need a second factor, and you have none yet.\n"),
    }
}

pub(crate) fn menu(choices: &[Offer]) -> String {
    let mut text = String::from("\n");
    for (number, offer) in (1..).zip(choices) {
        let line = match offer {
            Offer::YubiKey => "YubiKey: touch it now, twice in all",
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
        "Set one up: type its number. To do it later, type Enter: "
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
