//! What each example promises, tried out.

use super::{variant, wrong_pairs};
use crate::site::{PASSWORD, Site};
use crate::sshd_key::{KEY_THEN_PRESS, key_of_alice, ssh_with};
use crate::ways::{SOON, TALKATIVE};
use std::collections::BTreeSet;

pub(super) fn sshd_key_and_otp(site: &Site, example: &str) {
    site.pam("sshd", example);
    let (mut token, key) = (site.token(1, "alice"), key_of_alice(site));
    let sshd = site.host.sshd(&[TALKATIVE, KEY_THEN_PRESS].concat());
    let otp = token.press();
    let mut terminal = ssh_with(site, &sshd, &key);
    site.answer(&mut terminal, "(alice@127.0.0.1) YubiKey for alice: ", &[&otp]);
    site.assert_in(terminal, "alice");
    // Out: the key with an old touch; a touch without the key.
    let mut terminal = ssh_with(site, &sshd, &key);
    site.answer(&mut terminal, "YubiKey for alice: ", &[&otp]);
    site.assert_out(terminal);
    site.assert_out(site.ssh(&sshd, "alice", &[]));
    // Out, where sshd_config takes a key for enough: the account line.
    let forgetful = site.host.sshd(&[TALKATIVE, "AuthenticationMethods any\n"].concat());
    site.assert_out(ssh_with(site, &forgetful, &key));
    assert!(forgetful.log().contains("Access denied for user alice by PAM account"), "{}", forgetful.log());
    site.assert_nothing_leaked(&sshd);
}

pub(super) fn sshd_password_and_otp(site: &Site, example: &str) {
    let mut token = site.token(1, "alice");
    let sshd = site.host.sshd(&[TALKATIVE, "PasswordAuthentication no\n"].concat());
    let prompts = ["(alice@127.0.0.1) Password: ", "(alice@127.0.0.1) YubiKey for alice: "];
    // Unchanged, and with the includes of the distributions in place of pam_unix.
    let unix = "auth      required    pam_unix.so\n";
    assert!(example.contains(unix));
    let debian = "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n";
    let fedora = "auth sufficient pam_unix.so nullok\nauth required pam_deny.so\n";
    site.host.pam("common-auth", debian);
    site.host.pam("password-auth", fedora);
    for lines in [unix, "@include common-auth\n", "auth substack password-auth\n"] {
        site.pam("sshd", &example.replace(unix, lines));
        let otp = token.press();
        let mut terminal = site.ssh(&sshd, "alice", &[]);
        site.both(&mut terminal, prompts, PASSWORD, &otp);
        site.assert_in(terminal, "alice");
        let wrong = wrong_pairs(&mut token, &otp);
        let wrong = if lines == unix { &wrong[..] } else { &wrong[1..2] };
        let mut terminals: Vec<_> = wrong.iter().map(|_| site.ssh(&sshd, "alice", &[])).collect();
        for (terminal, (password, press)) in terminals.iter_mut().zip(wrong) {
            site.both(terminal, prompts, password, press);
        }
        let shown: BTreeSet<_> = terminals.into_iter().map(|terminal| site.assert_out(terminal)).collect();
        assert_eq!(shown.len(), 1, "a hint which was wrong: {shown:?}");
    }
    // The file's warning is true, and the account line rejects then.
    let trap = example.replace(unix, "auth include password-auth\n");
    let line = "account   required    pam_yubiotp.so\n";
    for (lines, lets_in) in [(trap.replace(line, ""), true), (trap, false)] {
        site.pam("sshd", &lines);
        let mut terminal = site.ssh(&sshd, "alice", &[]);
        site.answer(&mut terminal, prompts[0], &[PASSWORD]);
        if lets_in {
            site.assert_in(terminal, "alice");
        } else {
            site.assert_out(terminal);
        }
    }

    site.pam("sshd", &variant(example));
    let otp = token.press();
    let mut terminal = site.ssh(&sshd, "alice", &[]);
    site.answer(&mut terminal, "(alice@127.0.0.1) Password, then YubiKey: ", &[PASSWORD, &otp]);
    site.assert_in(terminal, "alice");
    let wrong = [["wrong horse", &token.press()].concat(), [PASSWORD, &otp].concat()];
    let terminals = wrong.map(|answer| {
        let mut terminal = site.ssh(&sshd, "alice", &[]);
        site.answer(&mut terminal, "Password, then YubiKey: ", &[&answer]);
        terminal
    });
    for terminal in terminals {
        site.assert_out(terminal);
    }
    site.assert_nothing_leaked(&sshd);
}

pub(super) fn roll_out(site: &Site, example: &str) {
    let mut token = site.token(1, "alice");
    assert!(site.host.run(&["groupadd", "yubikey"]).status.success());
    assert!(site.host.run(&["gpasswd", "-a", "alice", "yubikey"]).status.success());
    let sshd = site.host.sshd(&[TALKATIVE, "PasswordAuthentication no\n"].concat());
    // Unchanged, and by the group.
    for (lines, excused) in [(example.to_owned(), true), (by_group(example), false)] {
        site.pam("sshd", &lines);
        let mut terminal = site.ssh(&sshd, "bob", &[]);
        site.answer(&mut terminal, "(bob@127.0.0.1) Password: ", &[PASSWORD]);
        site.assert_in(terminal, "bob");
        let line = ["excused user=bob token=none mode=offline service=sshd *"];
        site.assert_decided(if excused { &line } else { &[] });

        let otp = token.press();
        let mut terminal = site.ssh(&sshd, "alice", &[]);
        site.both(&mut terminal, ["Password: ", "YubiKey for alice: "], PASSWORD, &otp);
        site.assert_in(terminal, "alice");
        // Out: bob with a wrong password; alice with a wrong one, or with an old touch.
        let mut bob = site.ssh(&sshd, "bob", &[]);
        site.answer(&mut bob, "(bob@127.0.0.1) Password: ", &["wrong horse"]);
        let wrong = wrong_pairs(&mut token, &otp);
        let mut terminals = vec![site.ssh(&sshd, "alice", &[]), site.ssh(&sshd, "alice", &[])];
        for (terminal, (password, press)) in terminals.iter_mut().zip(&wrong) {
            site.both(terminal, ["Password: ", "YubiKey for alice: "], password, press);
        }
        for terminal in terminals.into_iter().chain([bob]) {
            site.assert_out(terminal);
        }
        site.skip_decisions();
    }
    // A mapping with a fault excuses nobody.
    site.pam("sshd", example);
    site.host.write("/etc/yubiotp/authorized_yubikeys", "alice:not-an-id\n", 0o644);
    let mut terminal = site.ssh(&sshd, "bob", &[]);
    site.both(&mut terminal, ["Password: ", "YubiKey for bob: "], PASSWORD, "");
    site.assert_out(terminal);
    site.assert_decided(&["fault user=bob *"]);
}

pub(super) fn sudo(site: &Site, example: &str) {
    site.pam("sudo", example);
    let mut token = site.token(1, "alice");
    let prompts = ["[sudo] password for alice: ", "YubiKey for alice: "];
    let otp = token.press();
    let mut terminal = site.sudo("alice");
    site.both(&mut terminal, prompts, PASSWORD, &otp);
    site.assert_in(terminal, "root");
    // Programs that ask no question continue to work.
    site.host.write("/etc/sudoers.d/zz", "alice ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440);
    site.assert_in(site.sudo("alice"), "root");
    site.host.write("/etc/sudoers.d/zz", "", 0o440);
    let wrong = wrong_pairs(&mut token, &otp);
    let mut terminals: Vec<_> = wrong.iter().map(|_| site.sudo("alice")).collect();
    for (terminal, (password, press)) in terminals.iter_mut().zip(&wrong) {
        site.both(terminal, prompts, password, press);
    }
    for terminal in terminals {
        site.assert_out(terminal);
    }
}

pub(super) fn su(site: &Site, example: &str) {
    site.pam("su", example);
    let mut token = site.token(1, "bob");
    let prompts = ["Password: ", "YubiKey for bob: "];
    let otp = token.press();
    let mut terminal = site.su("alice", "bob");
    site.both(&mut terminal, prompts, PASSWORD, &otp);
    site.assert_in(terminal, "bob");
    site.assert_in(site.su("root", "bob"), "bob");
    let wrong = wrong_pairs(&mut token, &otp);
    let mut terminals: Vec<_> = wrong.iter().map(|_| site.su("alice", "bob")).collect();
    for (terminal, (password, press)) in terminals.iter_mut().zip(&wrong) {
        site.both(terminal, prompts, password, press);
    }
    for terminal in terminals {
        site.assert_out(terminal);
    }
}

pub(super) fn login(site: &Site, example: &str) {
    site.pam("login", example);
    let mut token = site.token(1, "alice");
    let otp = token.press();
    let mut terminal = site.login();
    terminal.wait_for("login: ", SOON);
    terminal.type_line("alice");
    site.both(&mut terminal, ["Password: ", "YubiKey for alice: "], PASSWORD, &otp);
    site.assert_shell(terminal, "alice");
    let mut terminal = site.login();
    for (password, press) in wrong_pairs(&mut token, &otp) {
        terminal.wait_for("login: ", SOON);
        terminal.type_line("alice");
        site.both(&mut terminal, ["Password: ", "YubiKey for alice: "], password, &press);
        site.assert_incorrect(&mut terminal);
    }
}

pub(super) fn console_otp_only(site: &Site, example: &str) {
    site.pam("login", example);
    let mut token = site.token(1, "alice");
    let otp = token.press();
    let mut terminal = site.login();
    terminal.wait_for("login: ", SOON);
    terminal.type_line("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&otp]);
    site.assert_shell(terminal, "alice");
    let mut terminal = site.login();
    for (user, answer) in [("alice", otp), ("bob", token.press())] {
        terminal.wait_for("login: ", SOON);
        terminal.type_line(user);
        site.answer(&mut terminal, &format!("YubiKey for {user}: "), &[&answer]);
        site.assert_incorrect(&mut terminal);
    }
}

/// The roll-out with its other two lines in place of the one with nullok.
fn by_group(example: &str) -> String {
    let unix = "auth      required    pam_unix.so\n";
    variant(example).replacen("\nauth ", &format!("\n{unix}auth "), 1)
}
