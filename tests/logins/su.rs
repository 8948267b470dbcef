//! su with one question: a press of a token of whom one wants to become.

use crate::site::Site;

#[test]
fn an_otp_makes_bob_once() {
    let Some(site) = Site::start(&["su"]) else { return };
    site.pam(
        "su",
        "auth required pam_yubiotp.so\naccount required pam_unix.so\nsession required pam_permit.so\n",
    );
    let (mut of_alice, mut of_bob) = (site.token(1, "alice"), site.token(2, "bob"));
    let line = |outcome: &str, token: &str, reason: &str| {
        let fields = format!("user=bob token={token} mode=offline service=su rhost=none");
        format!("{outcome} {fields} tty=* reason=\"{reason}\"")
    };

    let otp = of_bob.press();
    let mut terminal = site.su("alice", "bob");
    site.answer(&mut terminal, "YubiKey for bob: ", &[&otp]);
    site.assert_in(terminal, "bob");
    site.assert_decided(&[&line("accepted", &of_bob.public_id(), "usage counter 1, session use 0")]);

    let mut terminal = site.su("alice", "bob");
    site.answer(&mut terminal, "YubiKey for bob: ", &[&otp]);
    site.assert_out(terminal);
    site.assert_decided(&[&line("refused", &of_bob.public_id(), "the OTP was used before: *")]);

    // It is not the caller's token that counts.
    let mut terminal = site.su("alice", "bob");
    site.answer(&mut terminal, "YubiKey for bob: ", &[&of_alice.press()]);
    site.assert_out(terminal);
    site.assert_decided(&[&line(
        "refused",
        &of_alice.public_id(),
        "the OTP is not from a token of this user: *",
    )]);

    let mut terminal = site.su("alice", "bob");
    site.answer(&mut terminal, "YubiKey for bob: ", &[&of_bob.press()]);
    site.assert_in(terminal, "bob");
    site.assert_decided(&[&line("accepted", &of_bob.public_id(), "usage counter 1, session use 1")]);
}
