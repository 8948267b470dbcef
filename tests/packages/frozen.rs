//! A store as version 0.1.0 wrote it, kept in `store-1`: every later version must continue where it ends.
//!
//! alice has a token that was used, bob one that was used and is disabled; the key of a third was removed, and its
//! position set aside. To make one of a later format: the steps are in the store's own `README.md`.

use crate::root::{CHECKOUT, Root, TARGET};
use crate::shipped::debs;
use crate::ways::With;
use tests::soft_yubikey::SoftYubiKey;

/// alice's last OTP that was accepted, and the one of the third token.
const LAST: &str = include_str!("store-1/last");
const LAST_OF_THE_THIRD: &str = include_str!("store-1/last-of-the-third");

#[test]
fn a_store_of_version_1_goes_on() {
    let Some(root) = Root::start("frozen") else { return };
    root.story.step("a host whose files are of version 0.1.0, and today's package");
    let unpack = format!(
        "cd {CHECKOUT}/tests/packages/store-1 && cp -r --no-preserve=all etc var / \
         && cd / && chmod 600 etc/yubiotp/store.key && chmod -R go= var/lib/yubiotp"
    );
    root.run(&unpack).ok();
    let before = root.quietly("cd / && md5sum etc/yubiotp/store.key var/lib/yubiotp/keys/*", "").ok().said;
    root.run(&format!("apt-get install -qq {TARGET}/{}", debs().new)).ok();
    assert_eq!(root.quietly("cd / && md5sum etc/yubiotp/store.key var/lib/yubiotp/keys/*", "").said, before);
    root.run("pam-auth-update --enable yubiotp").ok();
    root.run("ykmap list").ok();
    root.run("ykmap doctor alice").ok().says("0 errors");

    root.story.step("what was used before is refused, and what comes next is not");
    assert!(!root.su(With::Otp(LAST.trim())), "the last OTP was accepted again");
    root.assert_logged(" code=otp-replayed ");
    root.assert_logged(": usage counter 7, session counter 3 is not above");
    let mut alices = SoftYubiKey::numbered(1);
    alices.set_counter(6);
    assert!(!root.su(With::Otp(&alices.press())), "an OTP from before was accepted");
    root.assert_logged(" code=otp-replayed ");
    root.assert_logged(" usage counter 6");
    alices.set_counter(8);
    assert!(root.su(With::Otp(&alices.press())));

    root.story.step("disabled stays disabled, and a key that comes back goes on where it was");
    let mut bobs = SoftYubiKey::numbered(2);
    bobs.set_counter(9);
    root.run(&format!("ykmap add alice {}", bobs.public_id())).ok();
    assert!(!root.su(With::Otp(&bobs.press())), "a disabled token was accepted");
    root.assert_logged(" code=token-disabled ");
    let third = SoftYubiKey::numbered(3);
    root.run_reading("ykmap key import -", &(third.traditional_log_line() + "\n")).ok();
    root.run(&format!("ykmap add alice {}", third.public_id())).ok();
    assert!(!root.su(With::Otp(LAST_OF_THE_THIRD.trim())), "an OTP from before the removal was accepted");
    root.assert_logged(" code=otp-replayed ");
    root.assert_logged(" usage counter 5");
}
