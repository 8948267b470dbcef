//! The module itself, as libpam would load it.

use super::elf;
use super::pam::Line;
use super::report::{Check, Report, at, shown};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use ykhost::file::{self, Audience, FileFault};
use yubiotp::diagnostic::{Code, Diagnostic};

/// Gives the places of the lines whose module libpam cannot load.
pub(super) fn look(report: &mut Report, lines: &[Line]) -> HashSet<String> {
    let mut unloaded = BTreeSet::new();
    if lines.is_empty()
        && let Some(path) =
            folders().into_iter().map(|folder| folder.join("pam_yubiotp.so")).find(|path| path.exists())
    {
        let found = Diagnostic::note(Code::ModuleUnused, "is installed, and no service loads it");
        report.add(Check::Module, found.at(at(&path)));
    }
    let mut seen = BTreeSet::new();
    for line in lines.iter().filter(|line| seen.insert(line.module.clone())) {
        let (path, is_found) = find(report, line);
        if !is_found {
            unloaded.insert(line.module.clone());
        }
        let Some(path) = path else { continue };
        let faults = file::faults(&path, Audience::Everyone);
        let missing = faults.iter().any(|fault| matches!(fault, FileFault::Missing(_)));
        if missing || faults.iter().any(|fault| matches!(fault, FileFault::Kind { .. })) {
            unloaded.insert(line.module.clone());
        }
        let odd =
            faults.iter().any(|fault| !matches!(fault, FileFault::Owner { .. } | FileFault::Writable { .. }));
        if missing {
            let what = format!("does not exist, and {} loads it", line.place);
            let found = Diagnostic::error(Code::ModuleMissing, what).at(at(&path));
            report.add(Check::Module, found.advise("install the module (make install), or fix the line"));
            continue;
        }
        for fault in faults {
            report.file_fault(Check::Module, fault, "install the module again (make install)");
        }
        if odd {
            continue;
        }
        if let Some(found) = elf::objection(&path, "the module") {
            unloaded.insert(line.module.clone());
            report.add(Check::Module, found);
        }
        report.ok(Check::Module, Some(at(&path)), "is a module for this machine");
    }
    let of_them = lines.iter().filter(|line| unloaded.contains(&line.module));
    of_them.map(|line| line.place.to_string()).collect()
}

/// Where the module is, and whether libpam finds it there.
fn find(report: &mut Report, line: &Line) -> (Option<PathBuf>, bool) {
    // `$ISA` is replaced by the folder itself.
    let name = line.module.replace("$ISA", ".");
    if name.starts_with('/') {
        return (Some(name.into()), true);
    }
    let folders = folders();
    // libpam's own modules show which is its folder.
    let own = folders.iter().find(|folder| folder.join("pam_deny.so").exists()).or(folders.first());
    let Some(own) = own else { return (None, false) };
    let path = own.join(&name);
    if path.exists() {
        return (Some(path), true);
    }
    let elsewhere = folders.iter().map(|folder| folder.join(&name)).find(|path| path.exists());
    let what = match &elsewhere {
        Some(elsewhere) => {
            format!("does not exist: libpam looks here, and the module is in {}", shown(elsewhere))
        }
        None => format!("does not exist: libpam looks here, and {} loads it", line.place),
    };
    let found = Diagnostic::error(Code::ModuleMissing, what).at(at(&path));
    let change =
        format!("install it (make install pamdir={}), or write its whole path into the line", shown(own));
    report.add(Check::Module, found.advise(change));
    (elsewhere, false)
}

fn folders() -> Vec<PathBuf> {
    let triplets = format!("{}-linux-gnu", std::env::consts::ARCH);
    let arm = (std::env::consts::ARCH == "arm").then(|| "arm-linux-gnueabihf".to_owned());
    let x86 = (std::env::consts::ARCH == "x86").then(|| "i386-linux-gnu".to_owned());
    let multiarch = [Some(triplets), arm, x86].into_iter().flatten();
    let multiarch = multiarch.flat_map(|triplet| [format!("/lib/{triplet}"), format!("/usr/lib/{triplet}")]);
    let plain = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(str::to_owned);
    multiarch.chain(plain).map(|folder| Path::new(&folder).join("security")).collect()
}
