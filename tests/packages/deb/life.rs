//! The usual way: installed, set up, switched on, upgraded, switched off and on, removed, installed again, purged,
//! installed again.

use super::{NAME, fresh};
use crate::shipped::debs;
use crate::ways::With;
use tests::soft_yubikey::SoftYubiKey;

/// The files that a day of logins leaves, and the administrator's own.
const OWN: [&str; 1] = ["/root/.sudo_as_admin_successful"];
/// What neither a removal nor a purge deletes.
const STORE: [&str; 4] = ["/etc/yubiotp:", "/etc/yubiotp/", "/var/lib/yubiotp:", "/var/lib/yubiotp/"];

#[test]
fn the_life_of_a_host() {
    let Some((root, before)) = fresh("deb") else { return };
    let pam_d = root.pam_d();

    root.story.step("the package before is installed: it makes what it needs, and nobody notices");
    root.apt_install(&debs().old).ok();
    let installed = root.tree();
    root.story.did("(what came)", &installed.brought(&before).join("\n"));
    assert_eq!(root.status(), "install ok installed");
    root.run("getent passwd yubiotp-ask").ok().says("/nologin");
    let modes = "stat -c '%A %U:%G %n' /etc/yubiotp /etc/yubiotp/* /var/lib/yubiotp /var/lib/yubiotp/*";
    assert_eq!(
        root.run(modes).ok().said.lines().collect::<Vec<_>>(),
        [
            "drwxr-xr-x root:root /etc/yubiotp",
            "-rw-r--r-- root:root /etc/yubiotp/authorized_yubikeys",
            "-rw-r--r-- root:root /etc/yubiotp/config.toml",
            "-rw------- root:root /etc/yubiotp/store.key",
            "drwx--x--x root:root /var/lib/yubiotp",
            "drwx------ root:root /var/lib/yubiotp/keys",
            "drwx------ root:root /var/lib/yubiotp/positions",
        ]
    );
    assert_eq!(root.pam_d(), pam_d, "installing changed pam.d");
    root.run("ykmap doctor").says("0 errors");
    root.assert_password_suffices();
    root.run("ykmap init").ok();
    root.tree().assert_same(&installed, &[]);

    root.story.step("tokens: one that was programmed elsewhere, for alice, and a new one, for root");
    let mut alices = SoftYubiKey::numbered(1);
    root.give(&mut alices, "alice");
    let mut roots = root.program();
    root.add(&mut roots, "root");
    root.assert_password_suffices();

    root.story.step("switched on");
    root.run("pam-auth-update --enable yubiotp").ok();
    let lines = root.lines_of_ours();
    assert!(lines.len() == 1 && lines[0].starts_with("/etc/pam.d/common-auth:"), "{lines:#?}");
    root.run("ykmap doctor alice root").ok().says("0 errors");
    assert!(!root.su(With::Otp("")), "a password was enough");
    root.assert_press_needed(&mut alices);
    root.assert_others_refused(&mut alices);
    assert!(root.root_becomes_alice(), "root's way in");
    assert!(root.console(Some(&roots.press())), "root's way in");

    root.story.step("somebody changes the settings");
    let config = root.read("/etc/yubiotp/config.toml") + "lock_wait = 6\n";
    root.write("/etc/yubiotp/config.toml", &config, 0o644);
    let old = alices.press();
    assert!(root.sudo(With::Otp(&old)));

    root.story.step("upgrade: settings, keys and positions stay, and it stays on");
    let kept = root.run("cd / && md5sum etc/yubiotp/* var/lib/yubiotp/*/*").ok().said;
    let pam_d_on = root.pam_d();
    root.apt_install(&debs().new).ok();
    root.run(&format!("dpkg-query -W {NAME}")).ok().says(env!("CARGO_PKG_VERSION"));
    assert_eq!(root.quietly("cd / && md5sum etc/yubiotp/* var/lib/yubiotp/*/*", "").said, kept);
    assert_eq!(root.pam_d(), pam_d_on, "an upgrade changed pam.d");
    assert!(!root.su(With::Otp(&old)), "an OTP was accepted again after the upgrade");
    root.assert_logged(" code=otp-replayed ");
    root.assert_press_needed(&mut alices);

    root.story.step("switched off");
    root.run("pam-auth-update --disable yubiotp").ok();
    assert_eq!(root.lines_of_ours(), Vec::<String>::new());
    root.assert_password_suffices();

    root.story.step("switched on again, and removed as it is: the line goes before the module");
    root.run("pam-auth-update --enable yubiotp").ok();
    root.assert_press_needed(&mut alices);
    let sums = || root.quietly("cd / && md5sum etc/yubiotp/* var/lib/yubiotp/*/*", "").ok().said;
    let kept = sums();
    root.apt("remove").ok().says("The profile is removed from pam.d: no login asks for a YubiKey any more.");
    assert_eq!(root.lines_of_ours(), Vec::<String>::new());
    assert_eq!(root.pam_d(), pam_d, "removing left pam.d otherwise than it was");
    root.assert_password_suffices();
    assert!(!root.exists("/usr/bin/ykmap") && !root.exists("/usr/libexec/yubiotp"));
    assert_eq!(sums(), kept, "removing changed what it leaves");
    assert_eq!(kept.lines().count(), 7, "{kept}");

    root.story.step("installed again: the old store goes on where it was");
    let last = {
        root.apt_install(&debs().new).ok();
        root.run("pam-auth-update --enable yubiotp").ok();
        let press = alices.press();
        assert!(root.su(With::Otp(&press)));
        press
    };
    assert!(!root.su(With::Otp(&old)) && !root.su(With::Otp(&last)), "an OTP was accepted again");

    root.story.step("purged: what logins go by is kept, to the byte");
    let kept = sums();
    let purged = root.apt("purge").ok();
    assert_eq!(root.status(), "");
    assert_eq!(sums(), kept, "a purge changed what it keeps");
    root.tree().assert_same(&before, &[&OWN[..], &STORE].concat());
    root.assert_password_suffices();

    root.story.step("installed once more: it goes on, and used OTPs stay invalid");
    root.apt_install(&debs().new).ok();
    assert_eq!(sums(), kept);
    root.run("pam-auth-update --enable yubiotp").ok();
    assert!(!root.su(With::Otp(&last)), "an OTP was accepted again after a purge");
    root.assert_logged(" code=otp-replayed ");
    root.assert_press_needed(&mut alices);

    root.story.step("purged, and deleted as it says: nothing is left");
    assert_eq!(root.apt("purge").ok().deletion(), purged.deletion());
    root.run(&purged.deletion()).ok();
    root.tree().assert_same(&before, &OWN);
    root.assert_password_suffices();
}
