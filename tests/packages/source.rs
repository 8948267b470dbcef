//! `make install`, from a checkout that cannot be written to.

use crate::root::{CHECKOUT, Root, TARGET};
use std::path::Path;
use tests::soft_yubikey::SoftYubiKey;

/// Folders that belong to fish and AppArmor, which are not here.
const SHARED: &str = "mkdir -p /usr/share/fish/vendor_completions.d /usr/share/apparmor/extra-profiles";
/// The files that stay after an uninstallation.
const STAYS: [&str; 4] = ["/etc/yubiotp:", "/etc/yubiotp/", "/var/lib/yubiotp:", "/var/lib/yubiotp/"];

/// Does not change the machine, and is removed with the test.
#[test]
fn a_root_of_its_own() {
    let (mounts, log) =
        (std::fs::read_to_string("/proc/self/mounts").unwrap(), Path::new("/dev/log").exists());
    let Some(root) = Root::start("root") else { return };
    let before = root.tree();
    root.assert_password_suffices();
    assert!(root.root_becomes_alice() && root.console(None));
    root.tree().assert_same(&before, &[]);
    root.quietly(&format!("touch {CHECKOUT}/x || touch {TARGET}/x"), "").fails().says("Read-only");
    root.write("/etc/pam.d/fixture", "auth required pam_nowhere.so\n@include common-auth\n", 0o644);
    assert_eq!(root.dangling(), ["fixture: auth required pam_nowhere.so"]);
    let came = root.tree().brought(&before);
    assert_eq!(came, ["/etc/pam.d/fixture f 644 root:root"]);
    assert_eq!(std::fs::read_to_string("/proc/self/mounts").unwrap(), mounts);
    assert!(!Path::new("/etc/pam.d/fixture").exists());
    assert_eq!(Path::new("/dev/log").exists(), log);
}

#[test]
fn the_life_of_a_host_from_source() {
    let Some(root) = Root::start("source") else { return };
    let make = |goal: &str| root.run(&format!("cd {CHECKOUT} && make -s {goal} CARGO_TARGET_DIR={TARGET}"));
    root.quietly(SHARED, "").ok();
    let fresh = root.tree();

    root.story.step("install");
    make("install").ok();
    let installed = root.tree();
    root.story.did("(what came)", &installed.brought(&fresh).join("\n"));
    let libexec = "/usr/libexec/yubiotp";
    for file in [
        "/usr/bin/ykmap",
        &format!("{libexec}/yubiotp-ask"),
        &format!("{libexec}/yubiotp-enroll"),
        &format!("{libexec}/yubiotp-try"),
    ] {
        root.run(&format!("{file} --version")).ok();
    }
    root.run("find /usr/lib* -name pam_permit.so -o -name pam_yubiotp.so").ok();
    root.quietly("cd $(dirname $(find /usr/lib* -name pam_permit.so)) && stat -c '%a %U' pam_yubiotp.so", "")
        .ok()
        .says("644 root");
    root.assert_password_suffices();

    root.story.step("again: the same");
    make("install").ok();
    root.tree().assert_same(&installed, &[]);

    root.story.step("set up, and a line in pam.d by hand");
    root.run("systemd-sysusers yubiotp-ask.conf && getent passwd yubiotp-ask").ok();
    root.run("ykmap init").ok();
    let set_up = root.tree();
    root.run("ykmap init").ok();
    root.tree().assert_same(&set_up, &[]);
    let mut token = SoftYubiKey::numbered(1);
    root.give(&mut token, "alice");
    let kept = ["/etc/pam.d/su", "/etc/pam.d/sudo"].map(|file| (file, root.read(file)));
    for (file, text) in &kept {
        let line = "@include common-auth\n";
        root.write(file, text.replace(line, &format!("{line}auth required pam_yubiotp.so\n")), 0o644);
    }
    assert_eq!(root.lines_of_ours().len(), 2);
    root.run("ykmap doctor alice");
    root.assert_press_needed(&mut token);
    root.assert_others_refused(&mut token);
    assert!(root.root_becomes_alice());

    root.story.step("installed again while people log in: what they have goes on");
    make("install").ok();
    root.assert_press_needed(&mut token);

    root.story.step("uninstall is refused while a line is left");
    let refused = make("uninstall").fails();
    refused.says("/etc/pam.d/su").says("/etc/pam.d/sudo");
    root.assert_press_needed(&mut token);

    root.story.step("the lines out, and uninstall");
    for (file, text) in &kept {
        root.write(file, text, 0o644);
    }
    make("uninstall").ok();
    root.assert_password_suffices();
    root.tree().assert_same(&fresh, &STAYS);
    assert!(root.exists("/etc/yubiotp/store.key"));
    let left = root.run("find /etc/yubiotp /var/lib/yubiotp").ok();
    left.says(&format!("/positions/{}", token.public_id()));
}
