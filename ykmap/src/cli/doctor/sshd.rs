//! `sshd_config`, as far as it keeps sshd from asking for a YubiKey. What stands in `Match` is for some users only, and
//! is not looked at.

use super::report::{Level, Report, Room};
use std::path::{Path, PathBuf};
use ykmap::file::{self, FileFault};

/// How deep files may include each other.
const MOST_LEVELS: usize = 16;
/// No such file is that long.
const LONGEST: u64 = 1 << 20;

/// The two that matter, each with where it was set first: sshd takes the first value.
#[derive(Default)]
struct Found {
    use_pam: Option<(String, String)>,
    keyboard_interactive: Option<(String, String)>,
}

pub(super) fn look(report: &mut Report, path: &Path) {
    if !path.exists() {
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
            "run it as root, or mend the file",
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
    report.good(Room::Sshd, format!("{}: UsePAM and KbdInteractiveAuthentication are yes", path.display()));
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
            "match" => break,
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
