//! login, as on the console, with one question: the touch.

use crate::site::Site;
use crate::ways::SOON;

#[test]
fn an_otp_gives_a_shell_once() {
    let Some(site) = Site::start(&["login"]) else { return };
    site.pam(
        "login",
        "auth required pam_yubiotp.so\naccount required pam_unix.so\nsession required pam_permit.so\n",
    );
    let mut token = site.token(1, "alice");
    site.token(2, "bob");
    let id = token.public_id();
    let line = |outcome: &str, user: &str, code: &str, reason: &str| {
        let fields = format!("user={user} token={id} mode=offline service=login rhost=none");
        format!("{outcome} {fields} tty=/dev/pts/* code={code} reason=\"{reason}\"")
    };

    let otp = token.press();
    let mut terminal = site.login();
    terminal.wait_for("login: ", SOON);
    terminal.type_line("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&otp]);
    site.assert_shell(terminal, "alice");
    site.assert_decided(&[&line("accepted", "alice", "accepted", "usage counter 1, session counter 0")]);

    let mut terminal = site.login();
    terminal.wait_for("login: ", SOON);
    terminal.type_line("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&otp]);
    site.assert_incorrect(&mut terminal);
    site.assert_decided(&[&line("refused", "alice", "otp-replayed", "*")]);

    // The same terminal continues.
    terminal.wait_for("login: ", SOON);
    terminal.type_line("bob");
    site.answer(&mut terminal, "YubiKey for bob: ", &[&token.press()]);
    site.assert_incorrect(&mut terminal);
    site.assert_decided(&[&line("refused", "bob", "other-users-token", "*")]);

    terminal.wait_for("login: ", SOON);
    terminal.type_line("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&token.press()]);
    site.assert_shell(terminal, "alice");
    site.assert_decided(&[&line("accepted", "alice", "accepted", "usage counter 1, session counter 2")]);
}
