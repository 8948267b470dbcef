//! Each step at the terminal: what it asks, and the verbs that it runs.

mod enabling;
mod token;

pub(super) use enabling::{farewell, more_services, offers_more};

use super::console::{choose, line};
use super::dialogue::{Ended, Guide};
use super::found::Found;
use super::plan::{Name, Step, words};
use super::show::paragraph;
use crate::enroll::talk::Gone;
use yubiotp::shown;

/// The heading of a step.
pub(super) fn title(name: Name, found: &Found) -> String {
    let user = shown::text(&found.user);
    match name {
        Name::Store => "settings and store".to_owned(),
        Name::Token => format!("a token for {user}"),
        Name::Touch => "a check that it works here".to_owned(),
        Name::WayBack => format!("a way back for {user}"),
        Name::Services => "the services that ask for it".to_owned(),
        Name::Keep => "keep the change".to_owned(),
    }
}

/// Does a step.
pub(super) fn run(guide: &mut Guide<'_>, step: &Step, found: &Found) -> Result<Ended, Gone> {
    match step.name {
        Name::Store => store(guide, found),
        Name::Token => token::run(guide, found),
        Name::Touch => touch(guide),
        Name::WayBack => way_back(guide, found),
        Name::Services => enabling::run(guide, found),
        Name::Keep => enabling::keep(guide, found),
    }
}

fn store(guide: &mut Guide<'_>, found: &Found) -> Result<Ended, Gone> {
    if let Some(why) = &found.unusable {
        paragraph(&format!("{}.", why.problem()));
    }
    paragraph("This creates what is missing. Files that exist are kept and checked.");
    if guide.verb(&words(["init"])) && guide.look().unusable.is_none() {
        return Ok(Ended::Look);
    }
    again(guide)
}

fn touch(guide: &mut Guide<'_>) -> Result<Ended, Gone> {
    paragraph("This decides as a login would: touch the YubiKey, or type the code of the app.");
    if guide.verb(&words(["verify", guide.user])) {
        return Ok(Ended::Look);
    }
    again(guide)
}

fn way_back(guide: &mut Guide<'_>, found: &Found) -> Result<Ended, Gone> {
    paragraph(
        "A token can be lost. With recovery codes on paper, or a second token, its owner still gets in.\n",
    );
    let mut choices = Vec::new();
    if found.takes_recovery {
        choices.push(("recovery codes, to write down", Back::Codes));
    }
    choices.push(("a second token", Back::Token));
    choices.push(("not now", Back::Later));
    let texts: Vec<_> = choices.iter().map(|(text, _)| (*text).to_owned()).collect();
    let chosen = choose(&mut guide.console, &texts)?;
    match choices.get(chosen) {
        Some((_, Back::Codes)) => {
            if guide.verb(&words(["recovery", "new", guide.user])) {
                paragraph("\nThese codes are not shown again.");
                line(&mut guide.console, "Write them down, then press Enter: ")?;
                return Ok(Ended::Look);
            }
            again(guide)
        }
        Some((_, Back::Token)) => token::run(guide, found),
        _ => Ok(Ended::PutOff),
    }
}

/// A way back.
#[derive(Clone, Copy)]
enum Back {
    Codes,
    Token,
    Later,
}

/// After a command that failed: once more.
fn again(guide: &mut Guide<'_>) -> Result<Ended, Gone> {
    line(&mut guide.console, "\nPress Enter to try again, or type q to stop: ")?;
    Ok(Ended::Look)
}
