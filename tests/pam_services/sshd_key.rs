//! sshd with a key first, and then the touch.

use crate::site::Site;
use crate::ways::TALKATIVE;
use tests::host::Sshd;
use tests::terminal::Terminal;

/// The lines for sshd_config in the example.
pub(crate) const KEY_THEN_PRESS: &str =
    "PasswordAuthentication no\nAuthenticationMethods publickey,keyboard-interactive\n";

/// Gives alice a key; the file of its secret half.
pub(crate) fn key_of_alice(site: &Site) -> String {
    key_of(site, "alice")
}

/// Gives a user a key; the file of its secret half.
pub(crate) fn key_of(site: &Site, user: &str) -> String {
    let key = site.host.path().join(format!("key_of_{user}")).to_str().unwrap().to_owned();
    let made = site.host.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &key]);
    assert!(made.status.success(), "{made:?}");
    let public = std::fs::read(format!("{key}.pub")).unwrap();
    site.host.write(&format!("/home/{user}/.ssh/authorized_keys"), public, 0o644);
    key
}

/// The ssh client with a key.
pub(crate) fn ssh_with(site: &Site, sshd: &Sshd, key: &str) -> Terminal {
    ssh_as(site, sshd, "alice", key)
}

/// The same, as another user than alice.
pub(crate) fn ssh_as(site: &Site, sshd: &Sshd, user: &str, key: &str) -> Terminal {
    let methods = "PreferredAuthentications=publickey,keyboard-interactive";
    site.ssh(sshd, user, &["-o", methods, "-o", "IdentitiesOnly=yes", "-i", key])
}

#[test]
fn key_and_then_press() {
    let Some(site) = Site::start(&["sshd", "ssh", "ssh-keygen"]) else { return };
    site.pam(
        "sshd",
        "auth required pam_yubiotp.so\naccount required pam_yubiotp.so\nsession required pam_permit.so\n",
    );
    let mut token = site.token(1, "alice");
    let key = key_of_alice(&site);
    let sshd = site.host.sshd(&[TALKATIVE, KEY_THEN_PRESS].concat());
    let fields =
        format!("user=alice token={} mode=offline service=sshd rhost=127.0.0.1 tty=ssh", token.public_id());

    let otp = token.press();
    let mut terminal = ssh_with(&site, &sshd, &key);
    site.answer(&mut terminal, "(alice@127.0.0.1) YubiKey for alice: ", &[&otp]);
    site.assert_in(terminal, "alice");
    site.assert_decided(&[&format!(
        "accepted {fields} code=accepted reason=\"usage counter 1, session counter 0\""
    )]);
    assert!(sshd.log().contains("Accepted keyboard-interactive/pam for alice"), "{}", sshd.log());

    // The key, and an old touch.
    let mut terminal = ssh_with(&site, &sshd, &key);
    site.answer(&mut terminal, "YubiKey for alice: ", &[&otp]);
    site.assert_out(terminal);
    site.assert_decided(&[&format!("refused {fields} code=otp-replayed reason=\"*\"")]);

    // Without the key nobody is asked for a touch.
    let terminal = site.ssh(&sshd, "alice", &[]);
    site.assert_out(terminal);
    site.assert_decided(&[]);
    site.assert_nothing_leaked(&sshd);
}
