//! Services that ask for a YubiKey: what `ykmap enable` and `ykmap disable` change, and when it is undone.

pub(crate) mod deadline;
pub(crate) mod lines;
mod placement;
pub(crate) mod plan;
mod sshd;
pub(crate) mod stage;
pub(crate) mod trial;

use super::doctor::pam::service::Folders;
use super::system::FileChange;
use super::{Context, Failure, absolute, service};
use clap::ValueHint;
use std::path::{Path, PathBuf};
use ykhost::settings::CONFIG;
use yubiotp::diagnostic::{Code, Diagnostic, Location, shell_word};

/// Where the files of the host are.
#[derive(clap::Args)]
pub(crate) struct Places {
    /// Folder of service files, in place of /etc/pam.d and those of the distribution; may be given several times. Files in the
    /// first one are changed
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pam_dirs: Vec<PathBuf>,
    /// Configuration file of sshd [default: /etc/ssh/sshd_config]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    sshd_config: Option<PathBuf>,
}

/// The files of the host.
pub(crate) struct Host {
    /// Folders of service files: the first one is written to.
    pub(crate) dirs: Vec<PathBuf>,
    pub(crate) sshd_config: PathBuf,
    /// Nobody named other places.
    pub(crate) is_usual: bool,
}

impl Places {
    pub(crate) fn host(&self) -> Result<Host, Failure> {
        let is_usual = self.pam_dirs.is_empty() && self.sshd_config.is_none();
        let dirs = Folders::of(&service::pam_dirs(&self.pam_dirs)?).0;
        let sshd_config = match &self.sshd_config {
            Some(path) => absolute(path.clone())?,
            None => sshd::usual(),
        };
        Ok(Host { dirs, sshd_config, is_usual })
    }
}

impl Host {
    /// The options for the same files, for a command line that goes on.
    pub(crate) fn options(&self) -> String {
        if self.is_usual {
            return String::new();
        }
        let config = shell_word(self.sshd_config.as_os_str().as_encoded_bytes());
        format!("{} --sshd-config {config}", service::pam_dir_options(&self.dirs))
    }

    /// The folder that is written to.
    pub(crate) fn own_dir(&self) -> &Path {
        self.dirs.first().map_or(Path::new("/etc/pam.d"), PathBuf::as_path)
    }
}

/// The service files of a word: `ssh` is sshd. Those of one word are switched together.
pub(crate) fn files_of(word: &str) -> (&str, Option<&'static str>) {
    match word {
        "ssh" => ("sshd", None),
        "polkit" => ("polkit-1", None),
        "gdm" => ("gdm-password", None),
        "sudo" => ("sudo", Some("sudo-i")),
        "su" => ("su", Some("su-l")),
        other => (other, None),
    }
}

/// The word for a service file, the first of its pair.
fn word_of(file: &str) -> &str {
    match file {
        "sshd" => "ssh",
        "polkit-1" => "polkit",
        other => other,
    }
}

/// A service file as messages name it: by the word of `ykmap enable`, and by its file if that is another.
pub(crate) fn shown_name(file: &str) -> String {
    match file {
        "sshd" => "ssh (sshd in pam.d)".to_owned(),
        "polkit-1" => "polkit (polkit-1 in pam.d)".to_owned(),
        other => yubiotp::shown::text(other).to_string(),
    }
}

/// All service files of a word, of those that the host has: `sudo and sudo-i`.
pub(crate) fn shown_names(word: &str, host: &Host) -> String {
    let (first, sibling) = files_of(word);
    let sibling = sibling.filter(|name| Folders::of(&host.dirs).has(name));
    let first = shown_name(first);
    sibling.map_or_else(|| first.clone(), |sibling| format!("{first} and {sibling}"))
}

/// The names of changes that may be meant by a word: its own, and that of a pair.
pub(crate) fn changes_of(word: &str) -> Vec<String> {
    let own = files_of(word).0;
    let pair = [("sudo-i", "sudo"), ("su-l", "su")].into_iter().find(|(name, _)| *name == own);
    std::iter::once(own).chain(pair.map(|(_, first)| first)).map(|name| format!("enable-{name}")).collect()
}

/// Programs that ask PAM as the user, who may not read the store.
const LOCKERS: [&str; 16] = [
    "cinnamon-screensaver",
    "gnome-screensaver",
    "gtklock",
    "hyprlock",
    "i3lock",
    "kde",
    "kscreensaver",
    "mate-screensaver",
    "physlock",
    "swaylock",
    "vlock",
    "waylock",
    "xfce4-screensaver",
    "xlock",
    "xscreensaver",
    "xsecurelock",
];

/// Files that other services include.
const INCLUDED: [&str; 10] = [
    "fingerprint-auth",
    "other",
    "password-auth",
    "postlogin",
    "smartcard-auth",
    "system-auth",
    "system-local-login",
    "system-login",
    "system-remote-login",
    "system-services",
];

/// Programs that have one field for a password, and give its answer to every prompt.
const ONE_FIELD: [&str; 17] = [
    "cups",
    "cyrus",
    "dovecot",
    "ftp",
    "imap",
    "imaps",
    "openvpn",
    "pop",
    "pop3",
    "ppp",
    "proftpd",
    "pure-ftpd",
    "samba",
    "smtp",
    "squid",
    "vsftpd",
    "xrdp-sesman",
];

/// Refuses names that are no services of their own.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let at = || Location::Service(name.to_owned());
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(Failure::input("the name of a service is that of its file in pam.d, without a folder"));
    }
    if LOCKERS.contains(&name) {
        let what = "locks a screen as the user, who may not read the store: the screen would stay locked";
        let found = Diagnostic::error(Code::StackUnsuitable, what).at(at());
        return Err(found
            .advise("give the user a store of their own: pam_yubiotp(8), Screen lockers")
            .into());
    }
    if ONE_FIELD.contains(&name) {
        let what = "has one field for the password, and would give its answer to both questions";
        let found = Diagnostic::error(Code::StackUnsuitable, what).at(at());
        return Err(found
            .advise("let users type the password and touch in the same field: pam_yubiotp(8), EXAMPLES")
            .into());
    }
    if name == "gdm-fingerprint" || name.starts_with("gdm-smartcard") {
        let what = "does not show the prompt for an OTP";
        let found = Diagnostic::error(Code::StackUnsuitable, what).at(at());
        return Err(found.advise("enable gdm-password, and switch the other methods of GDM off").into());
    }
    if INCLUDED.contains(&name) || name.starts_with("common-") {
        let what = "is no service, but a file that other services use: cron, screen lockers and others would ask, too";
        let found = Diagnostic::error(Code::StackUnsuitable, what).at(at());
        return Err(found.advise("name services, such as sudo, ssh, su, login").into());
    }
    Ok(())
}

/// The files of sshd without what `ykmap enable` wrote there.
pub(crate) fn sshd_removals(config: &Path) -> Result<Vec<FileChange>, Failure> {
    sshd::removals(config)
}

/// The store whose `changes` folder has the records.
pub(crate) fn store(context: &Context) -> Result<PathBuf, Failure> {
    Ok(context.settings()?.store)
}

/// The argument that makes the module use the configuration of this command.
pub(crate) fn config_argument(context: &Context) -> Option<String> {
    let config = context.config.as_deref().filter(|config| *config != Path::new(CONFIG))?;
    let argument = format!("config={}", config.display());
    Some(match argument.contains([' ', ']', '[']) {
        true => format!("[{}]", argument.replace(']', "\\]")),
        false => argument,
    })
}
