//! The services and modules that `ykmap setup` knows by name.

/// A service of `ykmap enable`.
pub(super) struct Service {
    /// As `ykmap enable` names it.
    pub(super) name: &'static str,
    /// Its files in pam.d.
    pub(super) files: &'static [&'static str],
    /// By what people log in, in a few words.
    pub(super) what: &'static str,
}

/// In the order in which they are offered: what is easy to get back from first, and the console last.
pub(super) const SERVICES: [Service; 9] = [
    Service { name: "sudo", files: &["sudo", "sudo-i"], what: "to run commands as root" },
    Service { name: "ssh", files: &["sshd"], what: "to log in over the network" },
    Service { name: "su", files: &["su", "su-l"], what: "to become another user" },
    Service { name: "polkit", files: &["polkit-1"], what: "to answer a desktop's questions for a password" },
    Service { name: "gdm", files: &["gdm-password"], what: DESKTOP },
    Service { name: "sddm", files: &["sddm"], what: DESKTOP },
    Service { name: "lightdm", files: &["lightdm"], what: DESKTOP },
    Service { name: "xdm", files: &["xdm"], what: DESKTOP },
    Service { name: "login", files: &["login"], what: "to log in on the console: often the last way in" },
];

const DESKTOP: &str = "to log in on the desktop";

/// Screen lockers, and programs that have one field for every answer: `ykmap enable` does not change their files.
const OTHERS: [&str; 10] = [
    "cinnamon-screensaver",
    "i3lock",
    "kde",
    "mate-screensaver",
    "openvpn",
    "proftpd",
    "swaylock",
    "vsftpd",
    "xrdp-sesman",
    "xscreensaver",
];

/// Whether people log in by this service, which is none of [`SERVICES`].
pub(super) fn is_login(name: &str) -> bool {
    OTHERS.contains(&name)
}

/// What `ykmap migrate` moves for a module, by its name without `.so`: `None` if it is no second factor, `Some(None)` if it
/// is one and nothing of it can be moved.
pub(super) fn migrate(module: &str) -> Option<Option<&'static str>> {
    match module {
        "pam_yubico" => Some(Some("pam_yubico")),
        "pam_google_authenticator" => Some(Some("google-authenticator")),
        "pam_oath" => Some(Some("oath")),
        "pam_login_yubikey" | "login_yubikey" | "pam_yubikey" => Some(Some("login_yubikey")),
        "pam_u2f" => Some(Some("u2f-notice")),
        "pam_duo" => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_leads_to_its_verb() {
        assert_eq!(migrate("pam_unix"), None);
        assert_eq!(migrate("pam_duo"), Some(None));
        assert_eq!(migrate("pam_google_authenticator"), Some(Some("google-authenticator")));
    }

    #[test]
    fn a_file_is_of_one_service() {
        let files: Vec<_> = SERVICES.iter().flat_map(|service| service.files).collect();
        for (number, file) in files.iter().enumerate() {
            assert!(!files[..number].contains(file) && !is_login(file), "{file}");
        }
    }
}
