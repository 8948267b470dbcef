//! What must not go wrong: lines that the package does not know of, and a host whose files are damaged.

use super::fresh;
use crate::shipped::debs;
use crate::ways::With;
use tests::soft_yubikey::SoftYubiKey;

/// A line that somebody wrote would name a module that is gone, and refuse everybody.
#[test]
fn a_line_by_hand_keeps_the_package() {
    let Some((root, before)) = fresh("by-hand") else { return };
    root.apt_install(&debs().new).ok();
    let mut token = SoftYubiKey::numbered(1);
    root.give(&mut token, "alice");
    let sudo = root.read("/etc/pam.d/sudo");
    let line = "@include common-auth\n";
    let by_hand = sudo.replace(line, &format!("{line}auth required pam_yubiotp.so\n"));

    for on in [false, true] {
        root.story.step(if on {
            "the same with the profile on"
        } else {
            "a line by hand: it is not removed"
        });
        root.write("/etc/pam.d/sudo", &by_hand, 0o644);
        if on {
            root.run("pam-auth-update --enable yubiotp").ok();
        }
        let press = token.press();
        for action in ["remove", "purge"] {
            let refused = root.apt(action).fails();
            refused.says("/etc/pam.d/sudo").says("auth required pam_yubiotp.so");
            root.assert_pam_whole();
            assert!(root.exists("/usr/bin/ykmap") && root.exists("/etc/yubiotp/store.key"), "{action}");
        }
        // With both, sudo asks for two touches.
        assert!(on || root.sudo(With::Otp(&token.press())), "{:#?}", root.log_lines());
        assert!(root.su(if on { With::Otp(&press) } else { With::Password }), "{:#?}", root.log_lines());
        assert_eq!(root.run("dpkg --audit").ok().said, "");
    }

    root.story.step("without the line it goes");
    root.write("/etc/pam.d/sudo", &sudo, 0o644);
    root.purge_and_delete();
    root.assert_password_suffices();
    root.tree().assert_same(&before, &[]);
}

/// A store key that cannot be read is not replaced by another, under which nothing that is stored opens.
#[test]
fn damage_is_left_as_it_is() {
    let Some((root, before)) = fresh("damaged") else { return };
    root.apt_install(&debs().old).ok();
    let mut token = SoftYubiKey::numbered(1);
    root.give(&mut token, "alice");
    let key = root.read("/etc/yubiotp/store.key");

    for (what, damage) in [
        ("garbage for a store key", "echo garbage >/etc/yubiotp/store.key"),
        ("an empty store key", ": >/etc/yubiotp/store.key"),
        ("a store key that everybody can read", "chmod 644 /etc/yubiotp/store.key"),
        ("settings that cannot be read", "echo 'mode = ' >/etc/yubiotp/config.toml"),
        ("a folder that others may change", "chmod 777 /etc/yubiotp"),
    ] {
        root.story.step(&format!("upgrade with {what}"));
        root.run("cp -a /etc/yubiotp /root/copy").ok();
        root.run(damage).ok();
        let damaged = root.quietly("cd /etc/yubiotp && md5sum * && stat -c %a . *", "").said;
        root.apt_install(&debs().new).ok();
        assert_eq!(root.status(), "install ok installed");
        assert_eq!(root.quietly("cd /etc/yubiotp && md5sum * && stat -c %a . *", "").said, damaged);
        root.run("ykmap doctor").fails();
        root.run("rm -rf /etc/yubiotp && mv /root/copy /etc/yubiotp").ok();
        root.run(&format!("cd /mnt/target && dpkg -i {}", debs().old)).ok();
    }
    assert_eq!(root.read("/etc/yubiotp/store.key"), key);

    root.story.step("mended, everything is as it was");
    root.apt_install(&debs().new).ok();
    root.run("pam-auth-update --enable yubiotp").ok();
    root.assert_press_needed(&mut token);

    root.story.step("purged with a damaged store key, and deleted: nothing is left");
    root.run("echo garbage >/etc/yubiotp/store.key").ok();
    root.purge_and_delete();
    root.tree().assert_same(&before, &[]);
    root.assert_password_suffices();
}
