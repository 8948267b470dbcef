//! sshd with a password and the touch in one answer.

use crate::site::{PASSWORD, Site};
use crate::ways::TALKATIVE;

const PAM: &str = "auth required pam_yubiotp.so\nauth required pam_unix.so use_first_pass\n\
                   account required pam_unix.so\nsession required pam_permit.so\n";
const PROMPT: &str = "YubiKey for alice: ";

#[test]
fn password_and_press_in_one_answer() {
    let Some(site) = Site::start(&["sshd", "ssh", "ssh-keygen"]) else { return };
    site.pam("sshd", PAM);
    let mut token = site.token(1, "alice");
    let sshd = site.host.sshd(TALKATIVE);
    let fields = format!("user=alice token={} mode=offline service=sshd", token.public_id());
    let accepted =
        |n| format!("accepted {fields} * code=accepted reason=\"usage counter 1, session counter {n}\"");

    let first = token.press();
    let mut terminal = site.ssh(&sshd, "alice", &[]);
    site.answer(&mut terminal, PROMPT, &[PASSWORD, &first]);
    site.assert_in(terminal, "alice");
    site.assert_decided(&[&accepted(0)]);

    // The method `password` has one answer and no prompt of ours.
    let mut terminal = site.ssh(&sshd, "alice", &["-o", "PreferredAuthentications=password"]);
    site.answer(&mut terminal, "alice@127.0.0.1's password: ", &[PASSWORD, &token.press()]);
    site.assert_in(terminal, "alice");
    site.assert_decided(&[&accepted(1)]);

    // Wrong in every way, at the same time; each asked once.
    let wrong = [
        ["wrong horse", &*token.press()].concat(), // the press is accepted, the login is not
        [PASSWORD, &first].concat(),
        PASSWORD.to_owned(),
        token.press(),
    ];
    let mut terminals: Vec<_> = wrong.iter().map(|_| site.ssh(&sshd, "alice", &[])).collect();
    for (terminal, answer) in terminals.iter_mut().zip(&wrong) {
        site.answer(terminal, PROMPT, &[answer]);
    }
    for terminal in terminals {
        let shown = site.assert_out(terminal);
        assert_eq!(shown.matches("(alice@127.0.0.1)").count(), 1, "{shown}");
    }
    site.assert_nothing_leaked(&sshd);
}
