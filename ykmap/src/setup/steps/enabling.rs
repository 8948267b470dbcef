//! Services that ask for a token: enabled one by one, and kept after a second login.

use super::again;
use crate::enable::rejects;
use crate::enroll::talk::Gone;
use crate::out;
use crate::setup::console::{choose, choose_some, line, yes};
use crate::setup::dialogue::{Ended, Guide};
use crate::setup::found::{Asks, Found, FoundService};
use crate::setup::plan::words;
use crate::setup::services::SERVICES;
use crate::setup::show::{self, paragraph};
use std::os::unix::ffi::OsStrExt as _;
use yubiotp::diagnostic::shell_word;
use yubiotp::shown;

pub(super) fn run(guide: &mut Guide<'_>, found: &Found) -> Result<Ended, Gone> {
    show::notes(guide.context, found);
    paragraph("Before a service depends on it, look for mistakes:");
    if !guide.verb(&words(["check"])) {
        out::line("");
        if !yes(&mut guide.console, "Go on all the same?", false)? {
            return Ok(Ended::PutOff);
        }
    }
    paragraph("\nKeep a root shell open in another terminal: it is the way back, whatever happens here.\n");
    choose_and_enable(guide, found)
}

/// Whether a service is left that does not ask.
pub(in crate::setup) fn offers_more(found: &Found) -> bool {
    found.services.iter().any(|service| service.asks != Asks::Yes)
        && found.services.iter().any(|service| service.asks != Asks::No)
}

/// Asks once whether more services should ask.
pub(in crate::setup) fn more_services(guide: &mut Guide<'_>, found: &Found) -> Result<(), Gone> {
    show::heading("More services");
    choose_and_enable(guide, found).map(drop)
}

fn choose_and_enable(guide: &mut Guide<'_>, found: &Found) -> Result<Ended, Gone> {
    let services: Vec<_> = found.services.iter().filter(|service| service.asks != Asks::Yes).collect();
    let is_first = services.len() == found.services.len();
    let texts: Vec<_> = services.iter().map(|service| describe(service)).collect();
    let usual: (&[usize], String) = match services.first() {
        Some(first) if is_first => (&[0], format!("1 ({})", first.name)),
        _ => (&[], "none".to_owned()),
    };
    let chosen = choose_some(&mut guide.console, &texts, (usual.0, &usual.1))?;
    if chosen.is_empty() {
        return Ok(Ended::PutOff);
    }
    for place in chosen {
        let Some(service) = services.get(place) else { continue };
        if enable(guide, found, service.name)? == Ended::PutOff {
            return Ok(Ended::PutOff);
        }
    }
    Ok(Ended::Look)
}

fn describe(service: &FoundService) -> String {
    let what = SERVICES.iter().find(|own| own.name == service.name).map_or("", |own| own.what);
    let partly = if service.asks == Asks::Partly { " (one of its files asks already)" } else { "" };
    format!("{:<7} {what}{partly}", service.name)
}

/// Shows the change, and makes it: a login of the user is tried first.
fn enable(guide: &mut Guide<'_>, found: &Found, name: &str) -> Result<Ended, Gone> {
    let mut verb = words(["enable", name]);
    if name == "ssh" {
        paragraph("\nWhat do users show before the token when they log in by ssh?\n");
        let choices = ["an ssh key: passwords are refused then", "their password"];
        let after = choose(&mut guide.console, &choices.map(str::to_owned))?;
        verb.extend(words(["--after", if after == 0 { "key" } else { "password" }]));
    }
    let dry_run: Vec<_> = verb.iter().cloned().chain(["--dry-run".to_owned()]).collect();
    if !guide.verb(&dry_run) {
        return again(guide);
    }
    let without = found.without_token.as_deref().unwrap_or_default();
    if !without.is_empty() {
        paragraph(&format!("\n{}", rejects(name, without)));
    }
    out::line("");
    // Enter never keeps somebody out.
    if !yes(&mut guide.console, &format!("Enable {name}?"), without.is_empty())? {
        return Ok(Ended::PutOff);
    }
    verb.extend(words(["--user", guide.user]));
    paragraph("\nA login of that user is tried first, by the new lines. Nothing changes if it fails.");
    if guide.verb(&verb) { Ok(Ended::Look) } else { again(guide) }
}

/// Keeps each change that waits for it, or undoes it.
pub(super) fn keep(guide: &mut Guide<'_>, found: &Found) -> Result<Ended, Gone> {
    for service in found.services.iter().filter(|service| service.undone_at.is_some()) {
        let (name, user) = (service.name, shown::text(guide.user).to_string());
        let when = service.undone_at.as_deref().unwrap_or_default();
        paragraph(&format!("{name} asks for a token now. Unless you keep it, that is undone at {when} UTC."));
        paragraph(&format!("Log in by it as {user} from a second terminal, such as with:\n"));
        out::lines(&format!("  {}\n", try_it(name, guide.user)));
        // Only a word keeps it: nobody knows yet whether that login works.
        paragraph("If that login works, type keep. To undo the change now, type undo.");
        loop {
            let option =
                match line(&mut guide.console, "keep, undo, or Enter to let it be undone: ")?.as_str() {
                    "keep" => "--keep",
                    "undo" => "--undo",
                    "" => return Ok(Ended::PutOff),
                    _ => continue,
                };
            guide.verb(&words(["enable", option, name]));
            break;
        }
    }
    Ok(Ended::Look)
}

/// A login by a service.
fn try_it(name: &str, user: &str) -> String {
    let word = shell_word(user.as_bytes());
    match name {
        "sudo" => "sudo -k true".to_owned(),
        "ssh" => format!("ssh {word}@{}", crate::totp::host_name()),
        "su" => format!("su - {word}"),
        "polkit" => "pkexec true".to_owned(),
        _ => "the console's login prompt".to_owned(),
    }
}

/// What is done, and how to undo it.
pub(in crate::setup) fn farewell(guide: &Guide<'_>, found: &Found) {
    let asking = || found.services.iter().filter(|service| service.asks != Asks::No);
    paragraph("\nAll steps are done. Nothing else is needed.\n");
    let mut lines = Vec::new();
    for service in asking() {
        lines.push((guide.line(&words(["disable", service.name])), format!("{} asks no more", service.name)));
    }
    lines.push((guide.line(&words(["doctor"])), "who gets in with what".to_owned()));
    lines.push((guide.line(&words(["setup", "USER"])), "the next user".to_owned()));
    for (command, what) in lines {
        out::line(&format!("  {command:<26}  {what}"));
    }
    paragraph(
        "\nCopy the store key to a safe place, apart from the store: keys and codes are sealed under it, and nothing opens \
         them without it.",
    );
    if let Ok(settings) = guide.context.settings() {
        out::line(&format!("  {}", shown::text(settings.store_key.as_os_str().as_bytes())));
    }
}
