//! The profiles of pam-auth-update: the result of Debian's own program, and who gets in with it.

use crate::examples::ftp::Ftp;
use crate::site::{PASSWORD, Site};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const TOOL: &str = "pam-auth-update";
const UNIX: &str = "auth\t[success=1 default=ignore]\tpam_unix.so nullok";
const UNIX_SECOND: &str = "auth\t[success=1 default=ignore]\tpam_unix.so nullok try_first_pass";
const DENY: &str = "auth\trequisite\t\t\tpam_deny.so";
const PERMIT: &str = "auth\trequired\t\t\tpam_permit.so";
const OURS: &str = "auth\trequired\tpam_yubiotp.so";
const ONE_FIELD: &str = "auth\trequired\tpam_yubiotp.so [prompt=Password, then YubiKey: ]";
/// What Debian's libpam-yubico makes, by its settings.
const YUBICO: &str = "Name: Yubico authentication with YubiKey\nDefault: no\nPriority: 704\nAuth-Type: Primary\nAuth:\n\
                      \trequired\tpam_yubico.so\tmode=client try_first_pass id=1 key=K\nAuth-Initial:\n\
                      \trequired\tpam_yubico.so\tmode=client try_first_pass id=1 key=K\n";

/// A folder in the place of `/` for pam-auth-update, with a debconf of its own.
struct Root(TempDir);

impl Root {
    /// Debian's own profile is on. `None`, said, where the machine has no pam-auth-update.
    fn new() -> Option<Self> {
        let profiles = Path::new("/usr/share/pam-configs/unix");
        if !crate::site::installed(TOOL) || !profiles.exists() {
            tests::skip("needs pam-auth-update");
            return None;
        }
        let root = Self(tempfile::tempdir().unwrap());
        let folder = root.0.path();
        for name in ["etc/pam.d", "usr/share/pam-configs", "var/lib/pam"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        for kind in ["auth", "account", "password", "session", "session-noninteractive"] {
            let name = format!("common-{kind}");
            fs::copy(Path::new("/usr/share/pam").join(&name), folder.join("etc/pam.d").join(&name)).unwrap();
        }
        let to = folder.join("usr/share/pam-configs");
        fs::copy(profiles, to.join("unix")).unwrap();
        fs::write(to.join("yubico"), YUBICO).unwrap();
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/pam-configs");
        for profile in fs::read_dir(ours).unwrap() {
            let profile = profile.unwrap();
            fs::copy(profile.path(), to.join(profile.file_name())).unwrap();
        }
        let database =
            |kind: &str| format!("\nName: {kind}\nDriver: File\nFilename: {}/{kind}.dat\n", folder.display());
        let debconf =
            format!("Config: config\nTemplates: templates\n{}{}", database("config"), database("templates"));
        fs::write(folder.join("debconf.conf"), debconf).unwrap();
        assert_eq!(root.update(&["--force"]), [UNIX, DENY, PERMIT]);
        Some(root)
    }

    /// The lines of common-auth after a run.
    fn update(&self, arguments: &[&str]) -> Vec<String> {
        let mut tool = Command::new(TOOL);
        tool.arg("--root").arg(self.0.path()).arg("--package").args(arguments);
        tool.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        tool.env("DEBCONF_SYSTEMRC", self.0.path().join("debconf.conf"));
        let output = tool.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let lines = self.common_auth();
        lines
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }

    fn common_auth(&self) -> String {
        fs::read_to_string(self.0.path().join("etc/pam.d/common-auth")).unwrap()
    }
}

/// Each writes its line where it belongs, and no two that ask are on together: not those of ours, and not one of ours
/// and that of pam_yubico. Where two are chosen, the one that lets in fewer users stays.
#[test]
fn one_of_them_at_a_time() {
    let Some(root) = Root::new() else { return };
    let after = |line: &str| [UNIX, DENY, PERMIT, line].map(str::to_owned);
    let before = [ONE_FIELD, UNIX_SECOND, DENY, PERMIT].map(str::to_owned);
    assert_eq!(root.update(&["--enable", "yubiotp-one-field"]), before);
    assert_eq!(root.update(&["--enable", "yubico"]), before);
    assert_eq!(root.update(&["--enable", "yubiotp-rollout"]), before);
    assert_eq!(root.update(&["--enable", "yubiotp"]), after(OURS));
    assert_eq!(root.update(&["--enable", "yubico"]), after(OURS));
    let rollout = [OURS, " nullok"].concat();
    assert_eq!(
        root.update(&["--disable", "yubiotp", "--enable", "yubico", "yubiotp-rollout"]),
        after(&rollout)
    );
    assert_eq!(root.update(&["--enable", "yubico", "yubiotp"]), after(OURS));
    assert_eq!(root.update(&["--disable", "yubiotp", "--enable", "yubiotp-one-field"]), before);
    assert_eq!(
        root.update(&["--remove", "yubiotp", "yubiotp-rollout", "yubiotp-one-field"]),
        [UNIX, DENY, PERMIT]
    );
}

/// The result of the profile for one field: in an application that asks once, and at sudo, which shows the prompts.
#[test]
fn one_field_takes_both() {
    let Some(root) = Root::new() else { return };
    let Some(site) = Site::start(&["vsftpd", "sudo"]) else { return };
    root.update(&["--enable", "yubiotp-one-field"]);
    let mut token = site.token(1, "alice");
    site.pam("common-auth", &root.common_auth().replace("\tpam_yubiotp.so", " pam_yubiotp.so"));
    for service in ["vsftpd", "sudo"] {
        site.pam(
            service,
            "@include common-auth\naccount required pam_permit.so\nsession required pam_permit.so\n",
        );
    }
    let ftp = Ftp::start(&site.host);
    let otp = token.press();
    assert!(ftp.login("alice", &[PASSWORD, &otp].concat()));
    for wrong in [
        [PASSWORD, &otp].concat(),
        PASSWORD.to_owned(),
        ["wrong horse", &token.press()].concat(),
        token.press(),
    ] {
        assert!(!ftp.login("alice", &wrong), "{wrong}");
    }
    assert!(!ftp.login("bob", PASSWORD));

    let prompt = "Password, then YubiKey: ";
    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, prompt, &[PASSWORD, &token.press()]);
    site.assert_in(terminal, "root");
    // Somebody who touches only the YubiKey is asked for the rest.
    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, prompt, &[&token.press()]);
    site.answer(&mut terminal, "assword", &[PASSWORD]);
    site.assert_in(terminal, "root");
    // The password first, as with the other profile, is refused, whatever follows.
    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, prompt, &[PASSWORD]);
    site.answer(&mut terminal, "assword", &[PASSWORD]);
    site.assert_out(terminal);
}
