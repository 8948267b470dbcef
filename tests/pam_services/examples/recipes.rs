//! The promises of the examples for mixed hosts, tried out: accounts without a token beside users who have one, and
//! applications that ask once.

use super::ftp::Ftp;
use super::{sshd_config, variant, wrong_pairs};
use crate::site::{PASSWORD, Site};
use crate::sshd_key::{key_of, key_of_alice, ssh_as, ssh_with};
use crate::ways::TALKATIVE;
use tests::built;
use tests::host::Sshd;

const JUMP: &str = "[success=1 default=ignore]  pam_succeed_if.so quiet user ingroup yubiotp-exempt";
const PROMPT: &str = "(alice@127.0.0.1) YubiKey for alice: ";

impl Site {
    fn group(&self, name: &str, member: &str) {
        assert!(self.host.run(&["groupadd", "--system", name]).status.success());
        assert!(self.host.run(&["gpasswd", "-a", member, name]).status.success());
    }

    fn sshd_with(&self, lines: &str) -> Sshd {
        self.host.sshd(&[TALKATIVE, lines].concat())
    }

    /// That alice gets in by her key and `otp`, and not with the same once more.
    fn assert_key_and_otp(&self, sshd: &Sshd, key: &str, otp: &str) {
        let mut terminal = ssh_with(self, sshd, key);
        self.answer(&mut terminal, PROMPT, &[otp]);
        self.assert_in(terminal, "alice");
        let mut terminal = ssh_with(self, sshd, key);
        self.answer(&mut terminal, PROMPT, &[otp]);
        self.assert_out(terminal);
        self.skip_decisions();
    }
}

pub(super) fn exempt_group(site: &Site, example: &str) {
    let mut token = site.token(1, "alice");
    site.group("yubiotp-exempt", "bob");
    let (alice, bob) = (key_of_alice(site), key_of(site, "bob"));
    let config = sshd_config(example);
    let by_name = config.replace("Match Group yubiotp-exempt", "Match User bob");
    assert_ne!(by_name, config);
    let (sshd, sshd_by_name) = (site.sshd_with(&config), site.sshd_with(&by_name));
    let forgetful = site.sshd_with("AuthenticationMethods any\n");
    site.host.write("/etc/yubiotp/exempt", "bob\n", 0o644);
    site.host.write("/etc/yubiotp/exempt-access.conf", "+ : bob : ALL\n- : ALL : ALL\n", 0o644);
    // By the group, and by the alternatives in the file.
    let other = |lines: &str, module: &str| {
        let mut offers = example.lines().filter_map(|line| line.strip_prefix("#     [success=1"));
        let offer =
            offers.find(|offer| offer.contains(module)).unwrap().replace("backup:deploy", "backup:bob");
        let lines = lines.replace(JUMP, &format!("[success=1{offer}"));
        for kind in ["auth      ", "account   "] {
            assert_eq!(lines.matches(&format!("\n{kind}[success=1{offer}\n")).count(), 1, "{lines}");
        }
        lines
    };
    for (lines, sshd) in [
        (example.to_owned(), &sshd),
        (other(example, "pam_succeed_if.so"), &sshd_by_name),
        (other(example, "pam_access.so"), &sshd_by_name),
    ] {
        site.pam("sshd", &lines);
        site.assert_in(ssh_as(site, sshd, "bob", &bob), "bob");
        site.assert_decided(&[]);
        site.assert_key_and_otp(sshd, &alice, &token.press());
        // Out: bob without his key, where sshd_config does not know the exemption, too: no question is asked.
        for sshd in [sshd, &forgetful] {
            let shown = site.assert_out(site.ssh(sshd, "bob", &[]));
            assert!(!shown.contains("(bob@127.0.0.1)"), "{shown}");
        }
        // Out: alice with her key only, where sshd takes it for enough.
        site.assert_out(ssh_with(site, &forgetful, &alice));
        site.assert_decided(&["refused user=alice token=none * code=not-accepted-here reason=\"*\""]);
    }
    // Each of the parts is needed: only sshd_config, and only the auth line.
    let jump = format!("account   {JUMP}\n");
    assert!(example.contains(&jump));
    site.pam("sshd", &example.replace(&jump, ""));
    site.assert_out(ssh_as(site, &sshd, "bob", &bob));
    site.assert_decided(&["refused user=bob token=none * code=not-accepted-here reason=\"*\""]);
    let mut all = config.lines().take_while(|line| !line.starts_with("Match"));
    let unmatched = site.sshd_with(&all.by_ref().map(|line| format!("{line}\n")).collect::<String>());
    site.pam("sshd", example);
    site.assert_out(ssh_as(site, &unmatched, "bob", &bob));

    // With passwords.
    let with_passwords = variant(example);
    let sshd = site.sshd_with(&config.replace("publickey,keyboard-interactive", "keyboard-interactive"));
    let prompts = ["(alice@127.0.0.1) Password: ", PROMPT];
    for lines in [other(&with_passwords, "pam_listfile.so"), with_passwords] {
        site.pam("sshd", &lines);
        site.assert_in(ssh_as(site, &sshd, "bob", &bob), "bob");
        let otp = token.press();
        let mut terminal = site.ssh(&sshd, "alice", &[]);
        site.both(&mut terminal, prompts, PASSWORD, &otp);
        site.assert_in(terminal, "alice");
        let wrong = wrong_pairs(&mut token, &otp);
        let mut terminals: Vec<_> = wrong.iter().map(|_| site.ssh(&sshd, "alice", &[])).collect();
        for (terminal, (password, press)) in terminals.iter_mut().zip(&wrong) {
            site.both(terminal, prompts, password, press);
        }
        for terminal in terminals {
            site.assert_out(terminal);
        }
    }
    for (password, lets_in) in [(PASSWORD, true), ("wrong horse", false)] {
        let mut terminal = site.ssh(&forgetful, "bob", &[]);
        site.answer(&mut terminal, "(bob@127.0.0.1) Password: ", &[password]);
        if lets_in {
            site.assert_in(terminal, "bob");
        } else {
            site.assert_out(terminal);
        }
    }
    site.assert_nothing_leaked(&sshd);
}

pub(super) fn roll_out_key_and_otp(site: &Site, example: &str) {
    let mut token = site.token(1, "alice");
    site.group("yubikey", "alice");
    let (alice, bob) = (key_of_alice(site), key_of(site, "bob"));
    let config = sshd_config(example);
    let (sshd, forgetful) = (site.sshd_with(&config), site.sshd_with("AuthenticationMethods any\n"));
    site.pam("sshd", example);
    site.assert_in(ssh_as(site, &sshd, "bob", &bob), "bob");
    site.assert_decided(&["excused user=bob token=none mode=offline service=sshd *"]);
    site.assert_key_and_otp(&sshd, &alice, &token.press());
    // Out: bob without his key, whatever sshd_config says; with pam_permit.so he would be in with nothing.
    site.assert_out(site.ssh(&sshd, "bob", &[]));
    site.assert_out(site.ssh(&forgetful, "bob", &[]));
    let guard = example.lines().find(|line| line.contains("pam_exec.so")).unwrap();
    site.pam("sshd", &example.replace(guard, "auth required pam_permit.so"));
    site.assert_in(site.ssh(&forgetful, "bob", &[]), "bob");
    // Out: bob with his key, by nullok only; alice with an OTP only, and with her key only.
    site.pam("sshd", &example.replace(guard, ""));
    site.assert_out(ssh_as(site, &sshd, "bob", &bob));
    site.pam("sshd", example);
    let mut terminal = site.ssh(&forgetful, "alice", &[]);
    site.answer(&mut terminal, PROMPT, &[&token.press()]);
    site.assert_out(terminal);
    site.assert_out(ssh_with(site, &forgetful, &alice));
    // Programs that answer no prompt, unless sshd_config wants only their key.
    let methods = "PreferredAuthentications=publickey,keyboard-interactive";
    let options = ["-o", "BatchMode=yes", "-o", methods, "-o", "IdentitiesOnly=yes", "-i", &bob];
    let batch = |sshd| site.ssh(sshd, "bob", &options);
    site.assert_out(batch(&sshd));
    let exempt = site.sshd_with(&format!("{config}Match User bob\nAuthenticationMethods publickey\n"));
    site.assert_in(batch(&exempt), "bob");
    // A mapping with a fault excuses nobody.
    site.skip_decisions();
    let mapping = site.host.read("/etc/yubiotp/authorized_yubikeys");
    site.host.write("/etc/yubiotp/authorized_yubikeys", "alice:not-an-id\n", 0o644);
    let mut terminal = ssh_as(site, &sshd, "bob", &bob);
    site.answer(&mut terminal, "YubiKey for bob: ", &[""]);
    site.assert_out(terminal);
    site.assert_decided(&["fault user=bob *"]);
    site.host.write("/etc/yubiotp/authorized_yubikeys", mapping, 0o644);

    // By the group.
    site.pam("sshd", &variant(example));
    let both = "AuthenticationMethods publickey,keyboard-interactive\n";
    let grouped =
        config.replace(both, &format!("AuthenticationMethods publickey\nMatch Group yubikey\n{both}"));
    assert_ne!(grouped, config);
    let sshd = site.sshd_with(&grouped);
    site.assert_in(ssh_as(site, &sshd, "bob", &bob), "bob");
    site.assert_key_and_otp(&sshd, &alice, &token.press());
    // Listed, and not in the group.
    assert!(site.host.run(&["gpasswd", "-d", "alice", "yubikey"]).status.success());
    site.assert_out(ssh_with(site, &sshd, &alice));
    site.assert_nothing_leaked(&sshd);
}

pub(super) fn one_field(site: &Site, example: &str) {
    let mut token = site.token(1, "alice");
    for service in ["vsftpd", "xrdp-sesman"] {
        site.pam(service, example);
    }
    // What xrdp does: whatever is asked, it answers with the same text.
    let drive = built::program("pam-drive");
    let xrdp = |text: &str| {
        let mut drive = site.host.command(drive.to_str().unwrap());
        drive.args(["--confdir", "/etc/pam.d", "--service", "xrdp-sesman", "--user", "alice"]);
        drive.args(["--calls", "authenticate,acct_mgmt", "--", text, text, text]);
        let output = drive.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.matches("prompt ").count(), 1, "{said}");
        output.status.success()
    };
    let ftp = Ftp::start(&site.host);
    let vsftpd = |text: &str| ftp.login("alice", text);
    let services: [&dyn Fn(&str) -> bool; 2] = [&xrdp, &vsftpd];
    for lets_in in services {
        let otp = token.press();
        assert!(lets_in(&[PASSWORD, &otp].concat()));
        let mut wrong: Vec<_> = wrong_pairs(&mut token, &otp)
            .into_iter()
            .map(|(password, press)| [password, &press].concat())
            .collect();
        wrong.extend([PASSWORD.to_owned(), token.press()]);
        for answer in wrong {
            assert!(!lets_in(&answer), "{answer}");
        }
        assert!(lets_in(&[PASSWORD, &token.press()].concat()));
    }
    // Lines that ask twice, as the file says.
    let (_, others) = example.split_once("\naccount ").unwrap();
    let twice = "auth required pam_unix.so\nauth required pam_yubiotp.so\naccount ";
    site.pam("vsftpd", &[twice, others].concat());
    assert!(!vsftpd(&[PASSWORD, &token.press()].concat()));
}
