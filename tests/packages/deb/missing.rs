//! An upgrade where something is missing: a disk that is not mounted, a file that was lost. Nothing is made in its
//! place: an empty mapping excuses everybody where a line has `nullok`.

use super::fresh;
use crate::root::TARGET;
use crate::shipped::debs;
use crate::ways::With;
use tests::soft_yubikey::SoftYubiKey;

const STORE: &str = "find /etc/yubiotp /var/lib/yubiotp -printf '%p %y %m %u %s\\n' 2>/dev/null | sort";

#[test]
fn what_is_missing_is_not_made() {
    let Some((root, before)) = fresh("missing") else { return };
    root.apt_install(&debs().old).ok();
    let mut token = SoftYubiKey::numbered(1);
    root.give(&mut token, "alice");
    root.run("pam-auth-update --enable yubiotp-rollout").ok();
    assert!(root.su(With::Otp(&token.press())));
    // Asked, and let in by nothing: with an empty mapping, nobody would be asked.
    let refused = |token: &mut SoftYubiKey| !root.su(With::Otp(&token.press()));

    for missing in [
        "/etc/yubiotp/authorized_yubikeys",
        "/etc/yubiotp/store.key",
        "/var/lib/yubiotp",
        "/etc/yubiotp",
        "/etc/yubiotp /var/lib/yubiotp", // as where the module is new, but that a line names it
    ] {
        root.story.step(&format!("without {missing}"));
        root.run(&format!("tar -C / -cf /root/kept.tar {missing} && rm -r {missing}")).ok();
        let left = root.quietly(STORE, "").said;
        let pam_d = root.pam_d();
        assert!(refused(&mut token), "without {missing} a password was enough before the upgrade");
        for (what, line) in [
            ("upgrade by dpkg", format!("dpkg -i {TARGET}/{}", debs().new)),
            ("reinstall by apt", format!("apt-get install -qq --reinstall {TARGET}/{}", debs().new)),
        ] {
            let said = root.run(&line).ok();
            assert_eq!(root.status(), "install ok installed", "{what}");
            assert_eq!(root.quietly(STORE, "").said, left, "{what}: something was made");
            said.says(missing.split(' ').next().unwrap())
                .says("are left as they are; ykmap doctor says what is wrong");
        }
        assert_eq!(root.pam_d(), pam_d);
        assert!(refused(&mut token), "without {missing} a password is enough after the upgrade");
        root.run("tar -C / -xpf /root/kept.tar && rm /root/kept.tar").ok();
        root.run(&format!("dpkg -i {TARGET}/{}", debs().old)).ok();
    }

    root.story.step("all is there again: as before");
    root.apt_install(&debs().new).ok();
    root.assert_press_needed(&mut token);

    root.story.step("purged with a part missing, and deleted: nothing is left");
    root.run("rm /etc/yubiotp/authorized_yubikeys").ok();
    root.purge_and_delete();
    root.tree().assert_same(&before, &[]);
}
