//! sudo with one question: the touch.

use crate::site::Site;

#[test]
fn an_otp_makes_root_once() {
    let Some(site) = Site::start(&["sudo"]) else { return };
    site.pam(
        "sudo",
        "auth required pam_yubiotp.so\naccount required pam_unix.so\nsession required pam_permit.so\n",
    );
    let mut token = site.token(1, "alice");
    site.token(2, "bob");
    let id = token.public_id();
    let line = |outcome: &str, user: &str, reason: &str| {
        let fields = format!("user={user} token={id} mode=offline service=sudo rhost=none");
        format!("{outcome} {fields} tty=/dev/pts/* reason=\"{reason}\"")
    };

    let otp = token.press();
    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&otp]);
    site.assert_in(terminal, "root");
    site.assert_decided(&[&line("accepted", "alice", "usage counter 1, session use 0")]);

    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&otp]);
    site.assert_out(terminal);
    site.assert_decided(&[&line("refused", "alice", "the OTP was used before: *")]);

    let mut terminal = site.sudo("bob");
    site.answer(&mut terminal, "YubiKey for bob: ", &[&token.press()]);
    site.assert_out(terminal);
    site.assert_decided(&[&line("refused", "bob", "the OTP is not from a token of this user: *")]);

    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&token.press()]);
    site.assert_in(terminal, "root");
    site.assert_decided(&[&line("accepted", "alice", "usage counter 1, session use 2")]);
}
