//! `sshd_config`, as far as it keeps sshd from asking for a YubiKey. What stands in `Match` is for some users only, and
//! is not looked at.

use super::report::{Level, Report, Room};
use std::path::{Path, PathBuf};
use ykmap::file::{self, FileFault};

/// How deep files may include each other.
const MOST_LEVELS: usize = 16;
/// No such file is that long.
const LONGEST: u64 = 1 << 20;

/// What matters, each with where it was set first: sshd takes the first value.
#[derive(Default)]
struct Found {
    methods: Option<(Vec<String>, String)>,
    /// Where the first `Match` stands.
    conditions: Option<String>,
    use_pam: Option<(String, String)>,
    keyboard_interactive: Option<(String, String)>,
}

/// Whether sshd lets nobody come to its service in pam.d without an ssh key, as far as can be read.
pub(super) fn key_first(path: &Path) -> bool {
    let mut found = Found::default();
    let read = read(&mut found, path, 0);
    let asks = |list: &String| has(list, "publickey") && has(list, "keyboard-interactive");
    read.is_ok()
        && found.conditions.is_none()
        && found.methods.is_some_and(|(lists, _)| lists.iter().all(asks))
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
    let mut found = Found::default();
    if let Err((path, why)) = read(&mut found, path, 0) {
        let what = format!("cannot be read, and whether sshd asks is not known: {why}");
        return report.add(
            Room::Sshd,
            Level::Warning,
            path.display(),
            what,
            "run it in a root shell, or mend the file",
        );
    }
    let no = |value: &Option<(String, String)>, usual: &str| {
        let (said, place) = value.clone().unwrap_or((usual.to_owned(), path.display().to_string()));
        (!said.eq_ignore_ascii_case("yes")).then_some(place)
    };
    if let Some(place) = no(&found.use_pam, "no") {
        let what = "UsePAM is not yes: sshd does not look at pam.d";
        report.add(Room::Sshd, Level::Error, place, what, "UsePAM yes, before any other line that sets it");
    }
    if let Some(place) = no(&found.keyboard_interactive, "yes") {
        let what = "KbdInteractiveAuthentication is not yes: sshd asks no question of a module";
        let change = "KbdInteractiveAuthentication yes, before any other line that sets it";
        report.add(Room::Sshd, Level::Warning, place, what, change);
    }
    if let Some((lists, place)) = found.methods {
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
    if let Some(place) = found.conditions {
        let what = "what is behind Match holds for some users alone, and was not looked at";
        report.add(Room::Sshd, Level::Note, place, what, "sshd -T -C user=NAME tells what holds for one");
    }
    report.good(Room::Sshd, path.display(), "UsePAM and KbdInteractiveAuthentication are yes");
}

fn read(found: &mut Found, path: &Path, depth: usize) -> Result<(), (PathBuf, String)> {
    // sshd reads it whatever its mode.
    let text = file::read_untrusted(path, LONGEST).map_err(|fault| {
        let why = match fault {
            FileFault::System { why, .. } => why.to_string(),
            other => other.to_string(),
        };
        (path.to_owned(), why)
    })?;
    for (index, line) in String::from_utf8_lossy(&text).lines().enumerate() {
        // `Keyword value`, or `Keyword=value`.
        let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
        let keyword = words.next().unwrap_or_default().to_ascii_lowercase();
        let mut values = words.map(|word| word.trim_matches('"').to_owned());
        let place = || format!("{}:{}", path.display(), index.saturating_add(1));
        match keyword.as_str() {
            "match" => {
                found.conditions = found.conditions.take().or_else(|| Some(place()));
                break;
            }
            "authenticationmethods" if found.methods.is_none() => {
                found.methods = Some((values.collect(), place()));
            }
            "include" if depth < MOST_LEVELS => {
                for file in values.flat_map(|pattern| matching(&pattern)) {
                    read(found, &file, depth.saturating_add(1))?;
                }
            }
            "usepam" => {
                found.use_pam = found.use_pam.take().or_else(|| Some((values.next()?, place())));
            }
            "kbdinteractiveauthentication" | "challengeresponseauthentication" => {
                let first = found.keyboard_interactive.take();
                found.keyboard_interactive = first.or_else(|| Some((values.next()?, place())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The files that an `Include` means, in order. Wildcards are looked for in the last part of the path.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let pattern = Path::new("/etc/ssh").join(pattern);
    let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    if !name.contains(['*', '?']) {
        return if pattern.exists() { vec![pattern] } else { Vec::new() };
    }
    let names = folder
        .read_dir()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> =
        names.filter(|own| fits(name.as_bytes(), own.as_bytes()) && !own.starts_with('.')).collect();
    names.sort_unstable();
    names.iter().map(|name| folder.join(name)).collect()
}

fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], name) => name.is_empty(),
        ([b'*', rest @ ..], name) => {
            fits(rest, name) || matches!(name, [_, behind @ ..] if fits(pattern, behind))
        }
        ([b'?', rest @ ..], [_, name @ ..]) => fits(rest, name),
        ([one, rest @ ..], [other, name @ ..]) => one == other && fits(rest, name),
        (_, []) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, name, fit) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.con", false),
            ("a?c*", "abc", true),
            ("*", "", true),
            ("a", "ab", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), fit, "{pattern} {name}");
        }
    }
}
