//! The rpm, by rpm itself, with its scripts really run. The root is a Debian without Debian's tool for pam.d; Fedora's
//! libpam looks for modules in /usr/lib64/security, Debian's does not, so the lines name the module by its whole path.

use crate::base;
use crate::root::{Ran, Root};
use crate::shipped::rpms;
use crate::ways::With;
use tests::soft_yubikey::SoftYubiKey;

const NAME: &str = "pam_yubiotp";
const MODULE: &str = "/usr/lib64/security/pam_yubiotp.so";
/// Debian's rpm needs an option to be used at all, and keeps its database elsewhere.
const DATABASE: &str = "--force-debian --dbpath /var/lib/rpm";
/// Folders that belong to pam, fish and zsh, which are not all here.
const SHARED: &str =
    "mkdir -p /usr/lib64/security /usr/share/fish/vendor_completions.d /usr/share/zsh/site-functions";
/// What stays: the store, its settings, and rpm's own database.
const STAYS: [&str; 5] =
    ["/etc/yubiotp:", "/etc/yubiotp/", "/var/lib/yubiotp:", "/var/lib/yubiotp/", "/var/lib/rpm"];

impl Root {
    /// The machine's rpm, in this root.
    fn rpm(&self, arguments: &str, package: Option<&str>) -> Ran {
        let path = package.map(|package| base::target().join(package));
        let path = path.as_ref().and_then(|path| path.to_str()).unwrap_or(NAME);
        self.beside(&format!("rpm --root $ROOT {DATABASE} {arguments} {path}"))
    }
}

#[test]
fn the_life_of_a_host_by_rpm() {
    if !base::installed("rpm") {
        return tests::skip("needs rpm");
    }
    let Some(root) = Root::start("rpm") else { return };
    rpms();
    root.quietly("rm /usr/sbin/pam-auth-update", "").ok();
    root.quietly(SHARED, "").ok();
    let fresh = root.tree();

    root.story.step("install the package before");
    root.rpm("--install --nodeps", Some(&rpms().old)).ok();
    let installed = root.tree();
    let came = installed.brought(&fresh).into_iter().filter(|line| !line.starts_with("/var/lib/rpm"));
    let came: Vec<_> = came.collect();
    root.story.did("(what came)", &came.join("\n"));
    for line in [
        "/etc/yubiotp d 755 root:root",
        "/etc/yubiotp/store.key f 600 root:root",
        "/usr/bin/ykmap f 755 root:root",
        "/usr/lib64/security/pam_yubiotp.so f 755 root:root",
        "/usr/libexec/yubiotp/yubiotp-ask f 755 root:root",
        "/usr/libexec/yubiotp/yubiotp-enroll f 755 root:root",
        "/usr/libexec/yubiotp/yubiotp-try f 755 root:root",
        "/var/lib/yubiotp d 711 root:root",
        "/var/lib/yubiotp/positions d 700 root:root",
    ] {
        assert!(came.iter().any(|came| came == line), "{line} is not among {came:#?}");
    }
    root.rpm("--verify --nodeps", None).ok();
    root.run("getent passwd yubiotp-ask").ok();
    root.assert_password_suffices();

    root.story.step("a line in pam.d by hand");
    let mut token = SoftYubiKey::numbered(1);
    root.give(&mut token, "alice");
    let kept = ["/etc/pam.d/su", "/etc/pam.d/sudo"].map(|file| (file, root.read(file)));
    for (file, text) in &kept {
        let line = "@include common-auth\n";
        root.write(file, text.replace(line, &format!("{line}auth required {MODULE}\n")), 0o644);
    }
    root.assert_press_needed(&mut token);
    let old = token.press();
    assert!(root.su(With::Otp(&old)));

    root.story.step("upgrade: the store goes on where it was");
    let store = root.quietly("cd / && md5sum etc/yubiotp/* var/lib/yubiotp/*/*", "").ok().said;
    root.rpm("--upgrade --nodeps", Some(&rpms().new)).ok();
    root.rpm("--query", None).ok().says(env!("CARGO_PKG_VERSION"));
    assert_eq!(root.quietly("cd / && md5sum etc/yubiotp/* var/lib/yubiotp/*/*", "").said, store);
    assert!(!root.su(With::Otp(&old)), "an OTP was accepted again after the upgrade");
    root.assert_press_needed(&mut token);

    root.story.step("it does not go while a line is left");
    let refused = root.rpm("--erase --nodeps", None).fails();
    refused.says("/etc/pam.d/su:").says("/etc/pam.d/sudo:").says(MODULE);
    root.rpm("--verify --nodeps", None).ok();
    root.run("getent passwd yubiotp-ask").ok();
    root.assert_press_needed(&mut token);

    root.story.step("without the lines it goes, and the store stays");
    for (file, text) in &kept {
        root.write(file, text, 0o644);
    }
    root.rpm("--erase --nodeps", None).ok();
    root.assert_password_suffices();
    root.tree().assert_same(&fresh, &STAYS);
    assert!(root.exists(&format!("/var/lib/yubiotp/positions/{}", token.public_id())));
    root.run("find /etc/yubiotp /var/lib/yubiotp").ok();
}
