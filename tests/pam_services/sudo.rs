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
    let line = |outcome: &str, user: &str, code: &str, reason: &str| {
        let fields = format!("user={user} token={id} mode=offline service=sudo rhost=none");
        format!("{outcome} {fields} tty=/dev/pts/* code={code} reason=\"{reason}\"")
    };

    let otp = token.press();
    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&otp]);
    site.assert_in(terminal, "root");
    site.assert_decided(&[&line("accepted", "alice", "accepted", "usage counter 1, session counter 0")]);

    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&otp]);
    site.assert_out(terminal);
    site.assert_decided(&[&line("refused", "alice", "otp-replayed", "*")]);

    let mut terminal = site.sudo("bob");
    site.answer(&mut terminal, "YubiKey for bob: ", &[&token.press()]);
    site.assert_out(terminal);
    site.assert_decided(&[&line("refused", "bob", "other-users-token", "*")]);

    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&token.press()]);
    site.assert_in(terminal, "root");
    site.assert_decided(&[&line("accepted", "alice", "accepted", "usage counter 1, session counter 2")]);
}
