//! The files that an `Include` of sshd_config names: glob(3) as OpenSSH brings it, in terms of the `glob` crate.

use crate::doctor::pam::service::Overlay;
use glob::MatchOptions;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// The folder that relative patterns start from.
const FOLDER: &str = "/etc/ssh";

/// The files that a pattern names, in the order in which sshd reads them. A pattern that names no file is no error for
/// sshd, either. `overlay` is what would be there after a change.
pub(crate) fn files(pattern: &str, overlay: &Overlay) -> Vec<PathBuf> {
    let pattern = Path::new(FOLDER).join(pattern);
    let Some(translated) = pattern.to_str().map(translated) else { return Vec::new() };
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
    let found = glob::glob_with(&translated, options).into_iter().flatten();
    let mut found: Vec<_> = found.filter_map(Result::ok).collect();
    if let Ok(pattern) = glob::Pattern::new(&translated) {
        let is_new = |path: &&PathBuf| !path.exists() && pattern.matches_path_with(path, options);
        found.extend(overlay.keys().filter(is_new).cloned());
    }
    // Names that begin with a dot are only found by a pattern that does: the crate's option for that finds none at all.
    let is_hidden = |name: Component<'_>| name.as_os_str().as_bytes().starts_with(b".");
    found.retain(|path| {
        path.components().zip(pattern.components()).all(|(name, own)| !is_hidden(name) || is_hidden(own))
    });
    // sshd sorts whole paths, by their bytes.
    found.sort_by(|one, other| one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes()));
    found
}

/// The pattern as the crate writes it: `\` before a letter is `[…]` there, `**` has a meaning that glob(3) does not
/// know, and classes such as `[[:digit:]]` have no names.
fn translated(pattern: &str) -> String {
    const CLASSES: [(&str, &str); 7] = [
        ("[:digit:]", "0-9"),
        ("[:alpha:]", "a-zA-Z"),
        ("[:alnum:]", "0-9a-zA-Z"),
        ("[:lower:]", "a-z"),
        ("[:upper:]", "A-Z"),
        ("[:xdigit:]", "0-9a-fA-F"),
        ("[:space:]", " \t"),
    ];
    let mut out = String::new();
    let mut letters =
        CLASSES.iter().fold(pattern.to_owned(), |text, (class, range)| text.replace(class, range));
    while letters.contains("**") {
        letters = letters.replace("**", "*");
    }
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        match (letter, letters.as_str().chars().next()) {
            ('\\', Some(next)) => {
                letters.next();
                out.push_str(&glob::Pattern::escape(&next.to_string()));
            }
            // Without a bracket that closes it, it is an ordinary character.
            ('[', _) if !letters.as_str().contains(']') => out.push_str("[[]"),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn patterns_as_sshd_expands_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["b", "a", "a-b"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("x.conf"), "").unwrap();
        }
        for name in ["10.conf", "9.conf", "z.conf", ".hidden.conf", "a*b", "[x", "Z.conf"] {
            fs::write(at(name), "").unwrap();
        }
        for (pattern, names) in [
            ("[0-9]*.conf", &["10.conf", "9.conf"][..]),
            ("[[:digit:]]*.conf", &["10.conf", "9.conf"]),
            ("*/x.conf", &["a-b/x.conf", "a/x.conf", "b/x.conf"]),
            ("*.conf", &["10.conf", "9.conf", "Z.conf", "z.conf"]),
            ("**.conf", &["10.conf", "9.conf", "Z.conf", "z.conf"]),
            ("[!0-9]?conf", &["Z.conf", "z.conf"]),
            (".*.conf", &[".hidden.conf"]),
            (r"a\*b", &["a*b"]),
            ("[x", &["[x"]),
            ("z.conf", &["z.conf"]),
            ("none.conf", &[]),
            ("none/*.conf", &[]),
        ] {
            let found = files(at(pattern).to_str().unwrap(), &Overlay::new());
            let expected: Vec<_> = names.iter().map(|name| at(name)).collect();
            assert_eq!(found, expected, "{pattern}");
        }
        assert_eq!(files("no-such-folder/*", &Overlay::new()), Vec::<PathBuf>::new(), "below {FOLDER}");
    }
}
