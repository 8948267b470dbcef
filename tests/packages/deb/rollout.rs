//! While not everybody has a token: the profile that lets the others log in as before.

use super::fresh;
use crate::shipped::debs;
use tests::soft_yubikey::SoftYubiKey;

#[test]
fn who_has_no_token_yet_passes() {
    let Some((root, before)) = fresh("rollout") else { return };
    let pam_d = root.pam_d();
    root.apt_install(&debs().new).ok();

    root.story.step("nobody has a token");
    root.run("pam-auth-update --enable yubiotp-rollout").ok();
    let lines = root.lines_of_ours();
    assert!(lines.len() == 1 && lines[0].contains(" nullok"), "{lines:#?}");
    root.assert_password_suffices();

    root.story.step("alice has one: she is asked, root is not");
    let mut token = SoftYubiKey::numbered(1);
    root.give(&mut token, "alice");
    root.assert_press_needed(&mut token);
    assert!(root.console(None), "root has no token");

    root.story.step("now everybody: the two profiles are one or the other");
    root.run("pam-auth-update --enable yubiotp").says("cannot be used together");
    assert_eq!(root.lines_of_ours().len(), 1, "{:#?}", root.lines_of_ours());
    root.run("pam-auth-update --disable yubiotp-rollout --enable yubiotp").ok();
    let lines = root.lines_of_ours();
    assert!(lines.len() == 1 && !lines[0].contains("nullok"), "{lines:#?}");
    root.assert_press_needed(&mut token);
    assert!(root.root_becomes_alice());

    root.story.step("purged as it is");
    root.purge_and_delete();
    assert_eq!(root.pam_d(), pam_d);
    root.tree().assert_same(&before, &[]);
    root.assert_password_suffices();
}
