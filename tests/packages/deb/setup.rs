//! The guided way: installed, set up by `ykmap setup`, switched off, purged, installed again, set up again.

use super::fresh;
use crate::root::Root;
use crate::shipped::debs;
use crate::ways::{PASSWORD, With};
use std::time::Instant;
use tests::guided::{self, KEEP, Person, Token};

impl Root {
    /// Follows `ykmap setup alice`: what it asks, in order, and alice's token.
    fn set_up(&self, has: Token) -> (usize, Token) {
        assert_eq!(guided::PASSWORD, PASSWORD);
        let begun = Instant::now();
        let mut command = self.command("ykmap");
        command.args(["setup", "alice"]);
        let mut person = Person::start(command, has);
        let mut asked = 0;
        while let Some(question) = person.question() {
            asked += 1;
            // bob and root have no token. sudo is for alice.
            if question.ends_with("Enable sudo? [y/N] ") {
                person.types("y");
                continue;
            }
            if question.contains(KEEP) {
                let Token::YubiKey(key) = &mut person.has else { panic!("{question}") };
                assert!(self.sudo(With::Otp(&key.press())), "{:#?}", self.log_lines());
            }
            person.answers(&question);
        }
        let has = person.has.clone();
        let (code, shown) = person.leaves("");
        self.story.did("# ykmap setup alice", &shown);
        self.story.tell(&format!("    ({asked} questions, {:.0} s)", begun.elapsed().as_secs_f32()));
        assert_eq!(code, Some(0), "{shown}");
        (asked, has)
    }
}

#[test]
fn a_host_that_is_set_up_by_asking() {
    let Some((root, before)) = fresh("setup") else { return };
    let pam_d = root.pam_d();
    root.apt_install(&debs().new).ok();
    root.story.step("what is to do");
    root.run("ykmap setup alice").says("key new");
    root.assert_password_suffices();

    root.story.step("set up");
    let (asked, has) = root.set_up(Token::New);
    assert!(asked <= 13, "{asked} questions");
    let Token::YubiKey(key) = has else { panic!("a YubiKey") };
    let mut key = key.with_real_clock();
    assert!(!root.sudo(With::Otp("")), "a password is enough");
    let used = key.press();
    assert!(root.sudo(With::Otp(&used)), "{:#?}", root.log_lines());
    root.run("ykmap setup alice").ok();
    root.run("ykmap doctor alice").says("0 errors");

    root.story.step("not removed while sudo needs it");
    root.apt("remove").fails().says("/etc/pam.d/sudo");
    root.run("ykmap disable sudo").ok();
    // Copies of former files stay, for the administrator.
    root.run("rm /etc/pam.d/*.ykmap-*").ok();
    assert_eq!(root.pam_d(), pam_d, "disabling left pam.d otherwise than it was");
    root.assert_password_suffices();

    root.story.step("purged, and installed again: the token is still there, and used OTPs stay invalid");
    let purged = root.apt("purge").ok();
    root.assert_password_suffices();
    root.apt_install(&debs().new).ok();
    let (asked, has) = root.set_up(Token::YubiKey(key));
    assert!(asked <= 7, "{asked} questions: the token was asked for again");
    let Token::YubiKey(mut key) = has else { panic!("a YubiKey") };
    assert!(!root.sudo(With::Otp(&used)), "an OTP was accepted again");
    assert!(root.sudo(With::Otp(&key.press())), "{:#?}", root.log_lines());

    root.story.step("the disk is lost: the backup and the store key bring everybody back, and no used OTP");
    root.run("ykmap backup /root/host.backup && cp -p /etc/yubiotp/store.key /root").ok();
    let since = key.press();
    assert!(root.sudo(With::Otp(&since)), "{:#?}", root.log_lines());
    root.run("ykmap disable sudo && rm /etc/pam.d/*.ykmap-*").ok();
    root.apt("purge").ok();
    root.run(&purged.deletion()).ok();
    root.apt_install(&debs().new).ok();
    root.run("cp -p /root/store.key /etc/yubiotp && ykmap restore /root/host.backup").ok();
    root.run("ykmap setup alice").fails().says("token resync");
    let (_, has) = root.set_up(Token::YubiKey(key));
    let Token::YubiKey(mut key) = has else { panic!("a YubiKey") };
    for otp in [&used, &since] {
        assert!(!root.sudo(With::Otp(otp)), "an OTP was accepted again");
    }
    assert!(root.sudo(With::Otp(&key.press())), "{:#?}", root.log_lines());

    root.story.step("off and away: nothing is left");
    root.run("ykmap disable sudo").ok();
    root.apt("purge").ok();
    root.run(&purged.deletion()).ok();
    root.run("rm -f /etc/pam.d/*.ykmap-* /root/host.backup /root/store.key /root/.sudo_as_admin_successful")
        .ok();
    root.tree().assert_same(&before, &[]);
    root.assert_password_suffices();
}
