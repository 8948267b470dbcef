//! A token for the user: one that is here already, a new key for a YubiKey, or an app.

use super::again;
use crate::enroll::talk::Gone;
use crate::out;
use crate::setup::console::{choose, line};
use crate::setup::dialogue::{Ended, Guide};
use crate::setup::found::Found;
use crate::setup::plan::{Words, text, words};
use crate::setup::show::paragraph;
use std::path::Path;

/// A way to a token.
#[derive(Clone)]
enum Way {
    /// A verb makes one of the user's tokens usable.
    Fix(Words),
    /// Its key is in the store, or validation servers know it.
    Touch,
    /// ykman programs the YubiKey that is plugged in.
    Program,
    /// The administrator programs it elsewhere.
    Show,
    /// Its key is in a file.
    Import,
    App,
}

pub(super) fn run(guide: &mut Guide<'_>, found: &Found) -> Result<Ended, Gone> {
    let ways = ways(found, has_ykman());
    if ways.is_empty() {
        paragraph("The policy allows this user no token that ykmap setup can make. To see the rule:");
        out::line(&format!("  {} explain {}", guide.context.ykmap(), text(&[guide.user.to_owned()])));
        return Ok(Ended::PutOff);
    }
    let texts: Vec<_> = ways.iter().map(|(text, _)| text.clone()).collect();
    let chosen = choose(&mut guide.console, &texts)?;
    let Some((_, way)) = ways.get(chosen).cloned() else { return Ok(Ended::Look) };
    let add = words(["add", guide.user]);
    let is_done = match way {
        Way::Fix(verb) => guide.verb(&verb),
        Way::Touch => guide.verb(&add),
        Way::Program => guide.verb(&words(["key", "new", "--program"])) && guide.verb(&add),
        Way::Show => {
            guide.verb(&words(["key", "new"])) && {
                paragraph("\nRun one of these commands where the YubiKey is plugged in.");
                line(&mut guide.console, "When that is done, press Enter: ")?;
                guide.verb(&add)
            }
        }
        Way::Import => {
            paragraph("A log of Yubico's tools, a YK-KSM key file, or an export of ykmap.");
            let file = line(&mut guide.console, "File, or press Enter to choose again: ")?;
            if file.is_empty() {
                return Ok(Ended::Look);
            }
            guide.verb(&words(["key", "import", &file])) && guide.verb(&add)
        }
        Way::App => guide.verb(&words(["totp", "add", guide.user])),
    };
    if is_done { Ok(Ended::Look) } else { again(guide) }
}

/// The ways that this host has, the most likely first.
fn ways(found: &Found, has_ykman: bool) -> Vec<(String, Way)> {
    let mut ways = Vec::new();
    for verb in found.tokens.iter().filter_map(|token| token.fix.as_ref()) {
        ways.push((format!("make a token work again: ykmap {}", text(verb)), Way::Fix(verb.clone())));
    }
    if found.takes_yubikeys {
        if found.asks_servers {
            ways.push(("YubiKey that the validation servers know: touch it".to_owned(), Way::Touch));
        }
        if found.unowned > 0 {
            let keys = out::count(found.unowned, "key");
            ways.push((format!("YubiKey whose key is in the store already ({keys} unassigned)"), Way::Touch));
        }
        if has_ykman {
            let text = "YubiKey that is plugged in here: ykman programs its empty slot 2";
            ways.push((text.to_owned(), Way::Program));
        }
        ways.push(("YubiKey: show the command that programs its slot 2".to_owned(), Way::Show));
        ways.push(("YubiKey that is programmed: read its key from a file".to_owned(), Way::Import));
    }
    if found.takes_apps {
        ways.push(("authenticator app on a phone".to_owned(), Way::App));
    }
    ways
}

/// Whether ykman is in PATH.
fn has_ykman() -> bool {
    #[expect(clippy::disallowed_methods, reason = "where a shell finds programs, which no login runs")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder: std::path::PathBuf| Path::new(&folder).join("ykman").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_its_ways() {
        let of = |found: &Found, has_ykman: bool| {
            let letter = |(_, way): &(String, Way)| match way {
                Way::Fix(_) => 'f',
                Way::Touch => 't',
                Way::Program => 'p',
                Way::Show => 's',
                Way::Import => 'i',
                Way::App => 'a',
            };
            ways(found, has_ykman).iter().map(letter).collect::<String>()
        };
        let plain = Found { takes_yubikeys: true, takes_apps: true, ..Found::default() };
        assert_eq!(of(&plain, false), "sia");
        assert_eq!(of(&plain, true), "psia");
        assert_eq!(of(&Found { unowned: 2, ..plain.clone() }, false), "tsia");
        assert_eq!(of(&Found { asks_servers: true, takes_apps: false, ..plain.clone() }, false), "tsi");
        assert_eq!(of(&Found { takes_yubikeys: false, ..plain }, true), "a");
        assert_eq!(of(&Found::default(), true), "");
    }
}
