//! `sshd_config`, as far as it keeps sshd from asking for a YubiKey. What stands in `Match` is for some users only, and
//! is not looked at.

mod config;
mod include;

use super::report::{Level, Report, Room};
use config::{Config, Set};
use std::path::Path;

/// Whether sshd lets nobody come to its service in pam.d without an ssh key, as far as can be read.
pub(super) fn key_first(path: &Path) -> bool {
    let asks = |list: &String| has(list, "publickey") && has(list, "keyboard-interactive");
    Config::read(path).is_ok_and(|config| {
        config.variants().next().is_none()
            && config.values.methods.is_some_and(|set| set.value.iter().all(asks))
    })
}

/// Whether a list of `AuthenticationMethods` has this method, whatever device it is for.
fn has(list: &str, method: &str) -> bool {
    list.split(',').any(|own| own.split(':').next().is_some_and(|own| own.eq_ignore_ascii_case(method)))
}

/// `named` is whether somebody said that this is the file.
pub(super) fn look(report: &mut Report, path: &Path, named: bool) {
    if !path.exists() {
        if named {
            report.add(Room::Sshd, Level::Error, path.display(), "no such file", "mend --sshd-config");
        }
        return;
    }
    let config = match Config::read(path) {
        Ok(config) => config,
        Err((path, why)) => {
            let what = format!("cannot be read, and whether sshd asks is not known: {why}");
            let change = "run it in a root shell, or mend the file";
            return report.add(Room::Sshd, Level::Warning, path.display(), what, change);
        }
    };
    let no = |set: &Option<Set<bool>>, usual: bool| match set {
        Some(set) => (!set.value).then(|| set.place.clone()),
        None => (!usual).then(|| path.display().to_string()),
    };
    if let Some(place) = no(&config.values.use_pam, false) {
        let what = "UsePAM is not yes: sshd does not look at pam.d";
        report.add(Room::Sshd, Level::Error, place, what, "UsePAM yes, before any other line that sets it");
    }
    if let Some(place) = no(&config.values.keyboard_interactive, true) {
        let what = "KbdInteractiveAuthentication is not yes: sshd asks no question of a module";
        let change = "KbdInteractiveAuthentication yes, before any other line that sets it";
        report.add(Room::Sshd, Level::Warning, place, what, change);
    }
    if let Some(Set { value: lists, place }) = &config.values.methods {
        let unasked = |list: &&String| {
            !["keyboard-interactive", "password", "any"].iter().any(|method| has(list, method))
        };
        if let Some(list) = lists.iter().find(unasked) {
            let what = format!(
                "AuthenticationMethods: {list} is enough: who comes that way is never asked for a YubiKey"
            );
            let change = "AuthenticationMethods publickey,keyboard-interactive";
            report.add(Room::Sshd, Level::Warning, place, what, change);
        }
    }
    for (block, _) in config.variants() {
        let what = format!("Match {}: holds for some users only, and was not looked at", block.condition);
        let change = "sshd -T -C user=NAME tells what holds for one";
        report.add(Room::Sshd, Level::Note, &block.place, what, change);
    }
    report.good(Room::Sshd, path.display(), "UsePAM and KbdInteractiveAuthentication are yes");
}
