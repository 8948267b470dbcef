//! Codes and recovery codes through sshd, sudo, su and login, on the day that alice loses her YubiKey.

use crate::site::Site;
use crate::ways::{SOON, TALKATIVE};
use std::process::Command;

const LINES: &str =
    "auth required pam_yubiotp.so\naccount required pam_unix.so\nsession required pam_permit.so\n";

/// The code of an app that was set up with this secret, some steps from now.
pub(crate) fn code(secret: &str, steps: i64) -> String {
    let now = format!("now + {} seconds", steps * 30);
    let output =
        Command::new("oathtool").args(["--totp", "--base32", "--now", &now, secret]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The text in a value of an answer.
fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn the_day_of_a_lost_key() {
    let Some(site) = Site::start(&["sshd", "ssh", "ssh-keygen", "sudo", "su", "login", "oathtool"]) else {
        return;
    };
    for service in ["sshd", "sudo", "su", "login"] {
        site.pam(service, LINES);
    }
    let mut lost = site.token(1, "alice");
    let sshd = site.host.sshd(TALKATIVE);
    let made = site.ykmap_json(&["recovery", "new", "alice", "--count", "2"]);
    let codes: Vec<_> = made["codes"].as_array().unwrap().iter().map(text).collect();
    let line = |outcome: &str, token: &str, service: &str, code: &str| {
        format!(
            "{outcome} user=alice token={token} mode=offline service={service} rhost=* tty=* code={code} reason=\"*\""
        )
    };

    // A recovery code lets her in once, at the same prompt.
    let mut terminal = site.ssh(&sshd, "alice", &[]);
    site.answer(&mut terminal, "YubiKey for alice: ", &[&codes[0]]);
    site.assert_in(terminal, "alice");
    site.assert_decided(&[&line("accepted", "rec-*-1", "sshd", "accepted")]);
    let mut terminal = site.ssh(&sshd, "alice", &[]);
    site.answer(&mut terminal, "YubiKey for alice: ", &[&codes[0]]);
    site.assert_out(terminal);
    site.assert_decided(&[&line("refused", "rec-*-1", "sshd", "recovery-code-used")]);

    // The administrator takes everything from her, and gives her an app.
    site.ykmap(&["reset", "alice", "--yes"], "");
    for answer in [lost.press(), codes[1].clone()] {
        let mut terminal = site.sudo("alice");
        site.answer(&mut terminal, "YubiKey for alice: ", &[&answer]);
        site.assert_out(terminal);
    }
    site.skip_decisions();
    let made = site.ykmap_json(&["totp", "add", "alice", "--unchecked"]);
    let (id, secret) = (text(&made["token"]), text(&made["secret"]));

    let first = code(&secret, 0);
    let mut terminal = site.ssh(&sshd, "alice", &[]);
    site.answer(&mut terminal, "YubiKey for alice: ", &[&first]);
    site.assert_in(terminal, "alice");
    site.assert_decided(&[&line("accepted", &id, "sshd", "accepted")]);
    let mut terminal = site.ssh(&sshd, "alice", &[]);
    site.answer(&mut terminal, "YubiKey for alice: ", &[&first]);
    site.assert_out(terminal);
    site.assert_decided(&[&line("refused", &id, "sshd", "code-used")]);

    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&code(&secret, 1)]);
    site.assert_in(terminal, "root");
    site.assert_decided(&[&line("accepted", &id, "sudo", "accepted")]);
    let mut terminal = site.su("bob", "alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&code(&secret, 2)]);
    site.assert_in(terminal, "alice");
    site.assert_decided(&[&line("accepted", &id, "su", "accepted")]);
    let mut terminal = site.login();
    terminal.wait_for("login: ", SOON);
    terminal.type_line("alice");
    // Two successive ones, as for somebody whose codes were guessed at.
    let two = format!("{} {}", code(&secret, 3), code(&secret, 4));
    site.answer(&mut terminal, "YubiKey for alice: ", &[&two]);
    site.assert_shell(terminal, "alice");
    site.assert_decided(&[&line("accepted", &id, "login", "accepted")]);
}
