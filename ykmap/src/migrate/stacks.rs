//! The lines of pam.d that load another module, and the files that change with them.

use super::old::{Old, Translated, translate};
use super::rewrite;
use crate::Failure;
use crate::doctor::pam::{Folders, Kind, Place, What};
use crate::system::{FileChange, current};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};

/// Where packages keep what pam-auth-update writes into `common-*`.
const PROFILES: &str = "/usr/share/pam-configs";

/// A line that loads another module.
pub(super) struct OldLine {
    /// The services that have it, perhaps by an include.
    pub(super) services: Vec<String>,
    pub(super) place: Place,
    pub(super) new: Translated,
    /// Whether its file may not be changed, such as one that a tool writes.
    pub(super) is_held: bool,
    /// Keys and passwords in its arguments, never shown.
    pub(super) secrets: Vec<String>,
}

/// The lines of every service that load this module, each once. `folders` stand in for `/etc/pam.d` and those of the
/// distribution. Services that cannot be read are in the findings. `config` is the configuration file, if it is not the usual
/// one: the lines name it.
pub(super) fn lines(folders: &[PathBuf], old: Old, config: Option<&Path>) -> (Vec<OldLine>, Vec<Diagnostic>) {
    let folders = Folders::of(folders);
    let (mut lines, mut findings) = (Vec::<OldLine>::new(), Vec::new());
    for name in folders.names() {
        let service = folders.service(&name);
        findings.extend(service.unread.iter().map(|fault| fault.diagnostic()));
        for entry in service.entries {
            let What::Module { args, .. } = &entry.what else { continue };
            if entry.module() != old.module() {
                continue;
            }
            if let Some(known) = lines.iter_mut().find(|line| line.place == entry.place) {
                known.services.push(name.clone());
                continue;
            }
            let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
            let mut new = translate(old, entry.kind == Kind::Auth, &entry.control_text, &args);
            new.args.extend(config.map(|path| format!("config={}", path.display())));
            let secrets = args.iter().filter_map(|arg| secret(arg)).collect();
            lines.push(OldLine {
                services: vec![name.clone()],
                place: entry.place,
                new,
                is_held: false,
                secrets,
            });
        }
    }
    for line in &mut lines {
        line.services.dedup();
    }
    (lines, findings)
}

/// The secret in an argument.
fn secret(arg: &str) -> Option<String> {
    let (name, value) = arg.split_once('=')?;
    match name {
        "key" | "ldap_bind_password" | "mysql_password" => Some(value.to_owned()),
        // What is in front of the @ may be a password.
        "url" | "urllist" | "proxy" => {
            let (before, _) = value.rsplit_once('@')?;
            Some(before.rsplit('/').next().unwrap_or_default().to_owned())
        }
        _ => None,
    }
    .filter(|secret| !secret.is_empty())
}

/// The services that ask this module already: its settings are in use.
pub(super) fn are_ours(folders: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<_> =
        crate::doctor::pam::auth_lines(folders).into_iter().map(|line| line.service).collect();
    names.dedup();
    names
}

impl OldLine {
    /// Whether this command writes it anew.
    pub(super) const fn moves(&self) -> bool {
        self.new.is_movable() && !self.is_held
    }
}

/// The files with every line that can be moved written anew, and the findings about files that a tool writes or that may not
/// be changed.
pub(super) fn files(old: Old, lines: &mut [OldLine]) -> Result<(Vec<FileChange>, Vec<Diagnostic>), Failure> {
    let mut by_file = BTreeMap::<std::rc::Rc<Path>, Vec<&mut OldLine>>::new();
    for line in lines.iter_mut().filter(|line| line.new.is_movable()) {
        by_file.entry(std::rc::Rc::clone(&line.place.file)).or_default().push(line);
    }
    let (mut files, mut owned) = (Vec::new(), Vec::new());
    for (path, mut lines) in by_file {
        let before = match current(&path) {
            Ok(Some(before)) => before,
            Ok(None) => continue,
            Err(Failure::Fault(found)) => {
                lines.iter_mut().for_each(|line| line.is_held = true);
                owned.push(by_owner(old, *found));
                continue;
            }
            Err(other) => return Err(other),
        };
        // From the end, so that the numbers before a line stay right.
        lines.sort_by_key(|line| std::cmp::Reverse(line.place.line));
        let mut after = before.clone();
        for line in lines {
            let control = line.new.control.as_deref();
            let written = rewrite::line(&after, line.place.line, control, "pam_yubiotp.so", &line.new.args);
            after = written.ok_or_else(|| {
                let found = Diagnostic::error(Code::FileEdited, "was edited meanwhile");
                found.at(line.place.location()).advise("run the command again")
            })?;
        }
        files.push(FileChange { path: path.to_path_buf(), before: Some(before), after: Some(after) });
    }
    Ok((files, owned))
}

/// The finding about a file that a tool writes, with the command that moves the line.
fn by_owner(old: Old, found: Diagnostic) -> Diagnostic {
    if found.code != Code::FileGenerated || !found.problem.contains("pam-auth-update") {
        return found;
    }
    let Some(profile) = profile_of(old) else {
        return Diagnostic { remedies: Vec::new(), ..found }
            .advise(format!(
                "no profile in {PROFILES} has the line: remove {}.so from the file by hand",
                old.module()
            ))
            .run_when("then", Program::System, "pam-auth-update --enable yubiotp");
    };
    // pam_yubico takes password and OTP in one field, as its package sets it up.
    let ours = if old == Old::Yubico { "yubiotp-one-field" } else { "yubiotp" };
    Diagnostic { remedies: Vec::new(), ..found }
        .run_when(
            "after this command wrote everything else, and at once",
            Program::System,
            format!("pam-auth-update --disable {profile} --enable {ours}"),
        )
        .run_when("then", Program::Ykmap, format!("migrate {} --write", old.verb()))
}

/// The profile that puts the line into `common-auth`.
fn profile_of(old: Old) -> Option<String> {
    let mut names: Vec<_> = Path::new(PROFILES)
        .read_dir()
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names.into_iter().find(|name| {
        let path = Path::new(PROFILES).join(name);
        let text = ykhost::file::read_untrusted(&path, 1 << 20).unwrap_or_default();
        String::from_utf8_lossy(&text).contains(&format!("{}.so", old.module()))
    })
}

/// The findings of lines, each with its place.
pub(super) fn findings(lines: &[OldLine]) -> impl Iterator<Item = Diagnostic> {
    lines.iter().flat_map(|line| {
        let place = line.place.location();
        line.new.findings.iter().map(move |found| found.clone().at(place.clone()))
    })
}

/// A file as a finding names it.
pub(super) fn at(path: &Path) -> Location {
    use std::os::unix::ffi::OsStrExt as _;
    Location::file(path.as_os_str().as_bytes())
}
