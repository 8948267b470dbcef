//! sshd with one question: the touch.

use crate::site::Site;
use crate::ways::TALKATIVE;
use tests::soft_yubikey::SoftYubiKey;

const PAM: &str =
    "auth required pam_yubiotp.so\naccount required pam_yubiotp.so\nsession required pam_permit.so\n";

/// The line of a decision, with `sshd` and a client on this machine in the middle.
fn line(outcome: &str, user: &str, token: &str, code: &str, reason: &str) -> String {
    let fields = format!("user={user} token={token} mode=offline service=sshd rhost=127.0.0.1 tty=ssh");
    format!("{outcome} {fields} code={code} reason=\"{reason}\"")
}

fn site() -> Option<Site> {
    let site = Site::start(&["sshd", "ssh", "ssh-keygen"])?;
    site.pam("sshd", PAM);
    Some(site)
}

#[test]
fn an_otp_lets_in_once() {
    let Some(site) = site() else { return };
    let mut token = site.token(1, "alice");
    let (id, sshd) = (token.public_id(), site.host.sshd(TALKATIVE));

    let first = token.press();
    let mut terminal = site.ssh(&sshd, "alice", &[]);
    site.answer(&mut terminal, "(alice@127.0.0.1) YubiKey for alice: ", &[&first]);
    site.assert_in(terminal, "alice");
    site.assert_decided(&[&line("accepted", "alice", &id, "accepted", "usage counter 1, session counter 0")]);

    let mut terminal = site.ssh(&sshd, "alice", &[]);
    site.answer(&mut terminal, "YubiKey for alice: ", &[&first]);
    site.assert_out(terminal);
    let replayed = "* usage counter 1, session counter 0 is not above usage counter 1, session counter 0";
    site.assert_decided(&[&line("refused", "alice", &id, "otp-replayed", replayed)]);

    let mut terminal = site.ssh(&sshd, "alice", &[]);
    site.answer(&mut terminal, "YubiKey for alice: ", &[&token.press()]);
    site.assert_in(terminal, "alice");
    site.assert_decided(&[&line("accepted", "alice", &id, "accepted", "usage counter 1, session counter 1")]);

    token.replug();
    let mut terminal = site.ssh(&sshd, "alice", &[]);
    site.answer(&mut terminal, "YubiKey for alice: ", &[&token.press()]);
    site.assert_in(terminal, "alice");
    site.assert_decided(&[&line("accepted", "alice", &id, "accepted", "usage counter 2, session counter 0")]);

    site.assert_nothing_leaked(&sshd);
}

#[test]
fn nobody_comes_in_with_what_is_not_theirs() {
    let Some(site) = site() else { return };
    site.pam("sshd", &PAM.replace("auth required pam_yubiotp.so", "auth required pam_yubiotp.so debug"));
    let (mut of_alice, _of_bob) = (site.token(1, "alice"), site.token(2, "bob"));
    let mut stranger = SoftYubiKey::numbered(3);
    site.host.add_user("carol", None);
    let sshd = site.host.sshd(TALKATIVE);

    // All four wait for their refusals at the same time.
    let otp = of_alice.press();
    let answers = [("bob", otp.clone()), ("carol", of_alice.press()), ("alice", stranger.press())];
    let mut terminals: Vec<_> = answers.iter().map(|(user, _)| site.ssh(&sshd, user, &[])).collect();
    for (terminal, (user, answer)) in terminals.iter_mut().zip(&answers) {
        site.answer(terminal, &format!("YubiKey for {user}: "), &[answer]);
    }
    let mut nobody = site.ssh(&sshd, "no-such-user", &[]);
    site.answer(&mut nobody, "YubiKey for no-such-user: ", &[&of_alice.press()]);
    for terminal in terminals.into_iter().chain([nobody]) {
        site.assert_out(terminal);
    }
    let log = site.host.log_lines().join("\n");
    let (id, strange) = (of_alice.public_id(), stranger.public_id());
    for expected in [
        line("refused", "bob", &id, "other-users-token", ""),
        line("refused", "carol", "none", "user-not-listed", ""),
        line("refused", "alice", &strange, "other-users-token", ""),
        line("refused", "no-such-user", "none", "user-not-listed", ""),
    ] {
        let expected = expected.trim_end_matches('"');
        assert!(log.contains(expected), "{expected} is not in {log}");
    }

    // An OTP that was rejected for others is still valid for its owner, and in the end for nobody.
    let mut terminal = site.ssh(&sshd, "alice", &[]);
    site.answer(&mut terminal, "YubiKey for alice: ", &[&otp]);
    site.assert_in(terminal, "alice");
    assert!(
        site.host.log_lines().iter().any(|line| line.starts_with("<87>")),
        "no steps, for all of `debug`"
    );
    site.assert_nothing_leaked(&sshd);
}

#[test]
fn the_second_try_of_one_connection_counts() {
    let Some(site) = site() else { return };
    let mut token = site.token(1, "alice");
    let sshd = site.host.sshd(TALKATIVE);
    let mut terminal = site.ssh(&sshd, "alice", &["-o", "NumberOfPasswordPrompts=2"]);
    site.answer(&mut terminal, "YubiKey for alice: ", &["not a press"]);
    site.answer(&mut terminal, "YubiKey for alice: ", &[&token.press()]);
    site.assert_in(terminal, "alice");
    let accepted =
        line("accepted", "alice", &token.public_id(), "accepted", "usage counter 1, session counter 0");
    site.assert_decided(&[&line("refused", "alice", "none", "answer-too-short", "*"), &accepted]);
    site.assert_nothing_leaked(&sshd);
}
