//! The part of sshd_config: which questions sshd asks before the lines in pam.d, and that it shows their prompts.

use super::stage::Stage;
use crate::Failure;
use crate::doctor::SSHD_CONFIG;
use crate::doctor::pam::service::Overlay;
use crate::doctor::sshd::config::words;
use crate::doctor::sshd::include;
use crate::system::FileChange;
use std::path::{Path, PathBuf};
use std::process::Command;
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// Where distributions with an empty /etc have it.
const VENDOR: &str = "/usr/etc/ssh/sshd_config";
const BEGIN: &str = "# ykmap enable: begin";
const END: &str = "# ykmap enable: end";
const NAMES: [&str; 2] = ["10-yubiotp.conf", "00-yubiotp.conf"];

/// The first factor of a login by ssh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum After {
    /// An ssh key
    Key,
    /// The password
    Password,
}

/// The configuration file of sshd.
pub(super) fn usual() -> PathBuf {
    let own = PathBuf::from(SSHD_CONFIG);
    let vendor = PathBuf::from(VENDOR);
    if !own.exists() && vendor.exists() { vendor } else { own }
}

/// What sshd has to do.
fn settings(after: Option<After>) -> String {
    let methods = match after {
        Some(After::Key) => "AuthenticationMethods publickey,keyboard-interactive\n",
        Some(After::Password) => "AuthenticationMethods keyboard-interactive\n",
        None => "",
    };
    format!("UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n{methods}")
}

/// The changes of sshd_config that may do, the least first: none, a file that it includes, lines at its beginning.
pub(super) fn candidates(config: &Path, after: Option<After>) -> Result<Vec<Option<FileChange>>, Failure> {
    let mut all = if after.is_none() { vec![None] } else { Vec::new() };
    let settings = settings(after);
    let folder = dropins(config);
    if folder.is_dir() {
        let text = format!("# Written by ykmap enable. To remove it: ykmap disable ssh\n{settings}");
        for name in NAMES {
            all.push(Some(FileChange::of(&folder.join(name), Some(text.clone().into_bytes()))?));
        }
    }
    if config != Path::new(VENDOR)
        && let Some(text) = crate::system::current(config)?
    {
        let text = without_block(&text);
        let new = [format!("{BEGIN}\n{settings}{END}\n").into_bytes(), text].concat();
        all.push(Some(FileChange::of(config, Some(new))?));
    }
    Ok(all)
}

/// The files that [`candidates`] may have written, without what it wrote.
pub(super) fn removals(config: &Path) -> Result<Vec<FileChange>, Failure> {
    let mut all = Vec::new();
    for name in NAMES {
        let path = dropins(config).join(name);
        if path.symlink_metadata().is_err() {
            continue;
        }
        let found = FileChange::of(&path, None)?;
        let is_ours = |text: &Vec<u8>| text.starts_with(b"# Written by ykmap enable.");
        if found.before.as_ref().is_some_and(is_ours) {
            all.push(found);
        }
    }
    if config.exists()
        && let Some(text) = crate::system::current(config)?
        && without_block(&text) != text
    {
        all.push(FileChange::of(config, Some(without_block(&text)))?);
    }
    Ok(all)
}

/// The folder of drop-ins beside a configuration file.
fn dropins(config: &Path) -> PathBuf {
    if config == Path::new(VENDOR) {
        return PathBuf::from("/etc/ssh/sshd_config.d");
    }
    config.parent().unwrap_or(Path::new("/")).join("sshd_config.d")
}

fn without_block(text: &[u8]) -> Vec<u8> {
    let text_of = String::from_utf8_lossy(text);
    let (begin, end) = (format!("{BEGIN}\n"), format!("{END}\n"));
    let block = text_of.strip_prefix(&begin).and_then(|rest| rest.split_once(&end));
    match block {
        // Its length in bytes: what is before the end is ours, and plain.
        Some((ours, _)) => {
            let length = begin.len().saturating_add(ours.len()).saturating_add(end.len());
            text.get(length..).unwrap_or_default().to_vec()
        }
        None => text.to_vec(),
    }
}

/// Whether sshd takes the configuration as it would be.
///
/// # Errors
/// It does not, and takes the present one.
pub(super) fn check(stage: &Stage, config: &Path, overlay: &Overlay) -> Result<(), Failure> {
    let Some(program) = crate::system::sshd::program() else { return Ok(()) };
    let staged = stage.sshd_config(config, overlay)?;
    let complaint = |path: &Path| {
        let output = Command::new(&program).arg("-t").arg("-f").arg(path).output().ok()?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let said = said.replace(&*path.to_string_lossy(), &config.to_string_lossy());
        (!output.status.success()).then_some(said)
    };
    // One that it complains of now, such as a missing /run/sshd, is not of the change.
    match complaint(&staged) {
        Some(why) if complaint(config).as_ref() != Some(&why) => {
            let what = format!("sshd rejects the new configuration: {why}");
            Err(Diagnostic::error(Code::SshdConfigRejected, what)
                .at(Location::file(config.as_os_str().as_encoded_bytes()))
                .advise("fix the configuration of sshd, then run the command again")
                .into())
        }
        _ => Ok(()),
    }
}

/// The main file of sshd in which an `Include` names copies in `folder`, where one of the files is another after the change.
/// `write` gets each copy.
pub(super) fn with_copies(
    text: &str,
    overlay: &Overlay,
    folder: &Path,
    write: &mut dyn FnMut(&str, &Path) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let mut out = String::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let (keyword, patterns) = words(line);
        let files: Vec<_> = patterns.iter().flat_map(|pattern| include::files(pattern, overlay)).collect();
        if keyword != "include" || !files.iter().any(|file| overlay.contains_key(file)) {
            out.push_str(line);
            continue;
        }
        for (at, file) in files.iter().enumerate() {
            write(&format!("include-{number:04}-{at:04}"), file)?;
        }
        out.push_str(&format!("Include {}/include-{number:04}-*\n", folder.display()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_at_the_beginning_are_taken_out() {
        let text = b"Port 22\n# ykmap enable: end\n";
        let block = format!("{BEGIN}\n{}{END}\n", settings(Some(After::Key)));
        assert_eq!(without_block(&[block.as_bytes(), text].concat()), text);
        assert_eq!(without_block(text), text);
    }
}
