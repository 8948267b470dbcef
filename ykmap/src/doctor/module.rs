//! The module itself, as libpam would load it.

use super::elf;
use super::pam::Line;
use super::report::{Level, Report, Room};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use ykhost::file::{self, Audience, FileFault};

pub(super) fn look(report: &mut Report, lines: &[Line]) {
    if lines.is_empty()
        && let Some(path) =
            folders().into_iter().map(|folder| folder.join("pam_yubiotp.so")).find(|path| path.exists())
    {
        report.add(Room::Module, Level::Note, path.display(), "is installed, and no service loads it", "");
    }
    let mut seen = BTreeSet::new();
    for line in lines.iter().filter(|line| seen.insert(line.module.clone())) {
        let Some(path) = find(report, line) else { continue };
        let faults = file::faults(&path, Audience::Everyone);
        let missing = faults.iter().any(|fault| matches!(fault, FileFault::Missing(_)));
        let odd =
            faults.iter().any(|fault| !matches!(fault, FileFault::Owner { .. } | FileFault::Writable { .. }));
        if missing {
            let what = format!("no such file or folder, and {} loads it", line.place);
            report.add(
                Room::Module,
                Level::Error,
                path.display(),
                what,
                "install it (make install), or mend the line",
            );
            continue;
        }
        for fault in faults {
            report.file_fault(Room::Module, fault, "install the module again (make install)");
        }
        if odd {
            continue;
        }
        if let Some((what, change)) = elf::objection(&path, "the module") {
            report.add(Room::Module, Level::Error, path.display(), what, change);
        }
        report.good(Room::Module, path.display(), "is a module for this machine");
    }
}

/// Where libpam finds it.
fn find(report: &mut Report, line: &Line) -> Option<PathBuf> {
    // What `$ISA` stands for is the folder itself.
    let name = line.module.replace("$ISA", ".");
    if name.starts_with('/') {
        return Some(name.into());
    }
    let folders = folders();
    // libpam's own modules show which is its folder.
    let own = folders.iter().find(|folder| folder.join("pam_deny.so").exists()).or(folders.first())?;
    let path = own.join(&name);
    if path.exists() {
        return Some(path);
    }
    let elsewhere = folders.iter().map(|folder| folder.join(&name)).find(|path| path.exists());
    let what = match &elsewhere {
        Some(elsewhere) => format!("is not there, where libpam looks, but in {}", elsewhere.display()),
        None => format!("is not there, where libpam looks, and {} loads it", line.place),
    };
    let change =
        format!("install it (make install pamdir={}), or give the whole path in the line", own.display());
    report.add(Room::Module, Level::Error, path.display(), what, change);
    elsewhere
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
