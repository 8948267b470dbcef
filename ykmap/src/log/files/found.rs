//! Which files a syslog daemon writes on this host, with those that were rotated.

use super::unreadable;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// Where distributions have the facility authpriv. The first that exists is read.
pub(in crate::log) const USUAL: [&str; 3] = ["/var/log/auth.log", "/var/log/secure", "/var/log/messages"];

/// The files of a log.
#[derive(Debug, Default)]
pub(in crate::log) struct Found {
    pub(in crate::log) paths: Vec<PathBuf>,
    /// The one that is written to, which need not be there just now.
    pub(in crate::log) live: Option<PathBuf>,
    /// Rotated files that are missing or cannot be read.
    pub(in crate::log) remarks: Vec<Diagnostic>,
}

/// The log of this host. `None` if it has none.
pub(in crate::log) fn found(usual: &[&str]) -> Option<Found> {
    usual.iter().map(|path| rotated(Path::new(path))).find(|found| !found.paths.is_empty())
}

/// A file and what it was rotated to: `auth.log.1`, `auth.log.2.gz`, `secure-20261101`, `secure-20261101.gz`.
fn rotated(path: &Path) -> Found {
    let mut found = Found { live: Some(path.to_owned()), ..Found::default() };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return found;
    };
    let names = match std::fs::read_dir(folder) {
        Ok(names) => names,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return found,
        Err(why) => {
            found.remarks.push(unreadable(folder, &why));
            return found;
        }
    };
    let mut numbers = BTreeSet::new();
    for entry in names.filter_map(Result::ok) {
        let file = entry.file_name();
        let Some(suffix) = file.to_str().and_then(|file| file.strip_prefix(name)) else { continue };
        let (stem, packed) = ["gz", "xz", "bz2", "zst"]
            .iter()
            .find_map(|packed| Some((suffix.strip_suffix(packed)?.strip_suffix('.')?, Some(*packed))))
            .unwrap_or((suffix, None));
        let number = stem.strip_prefix('.').and_then(|number| number.parse::<u16>().ok());
        let is_rotation = |stem: &str| {
            stem.strip_prefix('-').is_some_and(|date| {
                date.len() >= 8 && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
            })
        };
        if !(stem.is_empty() && packed.is_none() || number.is_some() || is_rotation(stem)) {
            continue;
        }
        numbers.extend(number);
        match packed {
            None | Some("gz") => found.paths.push(entry.path()),
            Some(_) => found.remarks.push(
                Diagnostic::warning(Code::LogUnreadable, "is not read: only .gz files are unpacked")
                    .at(at(&entry.path()))
                    .advise("unpack it to a folder of your own, and name all files with --file"),
            ),
        }
    }
    let last = numbers.last().copied().unwrap_or(0);
    let missing = (0..last).filter(|number| !numbers.contains(number));
    // Rotation begins at 1, or at 0.
    for number in missing.filter(|number| *number > 0) {
        let missing = folder.join(format!("{name}.{number}"));
        found.remarks.push(
            Diagnostic::warning(Code::LogUnreadable, "is missing between other rotated files")
                .at(at(&missing)),
        );
    }
    found
}

fn at(path: &Path) -> Location {
    use std::os::unix::ffi::OsStrExt as _;
    Location::file(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files() {
        let folder = tempfile::tempdir().unwrap();
        let names = |found: &Found| {
            let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            found.paths.iter().map(name).collect::<BTreeSet<_>>()
        };
        let here = [
            "auth.log",
            "auth.log.1",
            "auth.log.2.gz",
            "auth.log.4.gz",
            "auth.log-20261101",
            "auth.log-20261108.gz",
        ];
        let others = [
            "auth.log.swp",
            "auth.log~",
            "auth.log.gz",
            "auth.logs",
            "my-auth.log",
            "auth.log-old",
            "auth.log.5.xz",
        ];
        for name in here.iter().chain(&others) {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let path = folder.path().join("auth.log");
        let found = found(&["/nowhere/secure", path.to_str().unwrap(), "/var/log/none"]).unwrap();
        assert_eq!(names(&found), here.iter().map(|name| (*name).to_owned()).collect());
        let mut remarks: Vec<_> = found.remarks.iter().map(Diagnostic::problem).collect();
        remarks.sort();
        assert_eq!(remarks.len(), 2, "{remarks:?}");
        assert!(remarks[0].contains("auth.log.3: ") && remarks[1].contains("auth.log.5.xz: "), "{remarks:?}");
        assert!(super::found(&["/nowhere/secure"]).is_none());
    }
}
