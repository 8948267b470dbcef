//! pam.d as libpam would take it: does each line name what is there.

use crate::root::Root;
use std::fs;

impl Root {
    /// That every file and module which pam.d names is there, and libpam found nothing to complain of.
    #[track_caller]
    pub(crate) fn assert_pam_whole(&self) {
        assert_eq!(self.dangling(), Vec::<String>::new());
        let log = self.log_lines();
        let complaints: Vec<_> =
            log.iter().filter(|line| line.contains(": PAM ") || line.contains("(libpam)")).collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }

    /// The lines of pam.d that name a missing module or file.
    pub(crate) fn dangling(&self) -> Vec<String> {
        let mut dangling = Vec::new();
        for service in fs::read_dir(self.inside("/etc/pam.d")).unwrap() {
            let service = service.unwrap().file_name().into_string().unwrap();
            for line in self.read(&format!("/etc/pam.d/{service}")).lines() {
                if named(line).is_some_and(|paths| !paths.iter().any(|path| self.inside(path).exists())) {
                    dangling.push(format!("{service}: {line}"));
                }
            }
        }
        dangling
    }

    /// The lines of pam.d that name our module: `FILE: LINE`.
    pub(crate) fn lines_of_ours(&self) -> Vec<String> {
        let ran = self.quietly("grep -rH '^[^#]*pam_yubiotp' /etc/pam.d", "");
        ran.said.lines().map(str::to_owned).collect()
    }
}

/// Where libpam looks for what a line names; `None` for a line that names nothing, or what may be missing.
fn named(line: &str) -> Option<Vec<String>> {
    let line = line.split('#').next()?.trim();
    if let Some(file) = line.strip_prefix("@include") {
        return Some(vec![format!("/etc/pam.d/{}", file.trim())]);
    }
    let (kind, rest) = line.split_once(char::is_whitespace)?;
    if kind.starts_with('-') {
        return None;
    }
    let rest = rest.trim_start();
    let (control, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => rest.split_once(char::is_whitespace)?,
    };
    let name = rest.split_whitespace().next()?;
    Some(match (control, name.starts_with('/')) {
        ("include" | "substack", _) => vec![format!("/etc/pam.d/{name}")],
        (_, true) => vec![name.to_owned()],
        (_, false) => ["/lib/x86_64-linux-gnu/security", "/lib/aarch64-linux-gnu/security", "/lib/security"]
            .map(|folder| format!("{folder}/{name}"))
            .to_vec(),
    })
}

#[test]
fn lines_name_files() {
    assert_eq!(named("# auth required pam_x.so"), None);
    assert_eq!(named("-session optional pam_systemd.so"), None);
    assert_eq!(named("@include common-auth").unwrap(), ["/etc/pam.d/common-auth"]);
    let found = named("auth\t[success=1 default=ignore]\tpam_unix.so nullok").unwrap();
    assert!(found.iter().any(|path| path.ends_with("/security/pam_unix.so")), "{found:?}");
    assert_eq!(named("auth required /x/pam_y.so # z").unwrap(), ["/x/pam_y.so"]);
}
