//! The line that tells why.

use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

#[test]
fn one_line_with_all_there_is_to_know() {
    let place = Place::new();
    let mut key = SoftYubiKey::numbered(30);
    place.enrol("alice", &key);
    let otp = key.press();
    let login = place.login("otp", "alice", &[&otp]);
    let id = key.public_id();
    assert_eq!(
        login.decisions(),
        [format!(
            "accepted user=alice token={id} mode=offline service=otp rhost=192.0.2.1 tty=none \
             code=accepted reason=\"usage counter 1, session counter 0\""
        )]
    );
    let [line] = login.auth_lines()[..] else { panic!("{:?}", login.log) };
    assert_eq!((line.facility(), line.severity()), (10, 6), "authpriv, information");
    let replay = place.login("otp", "alice", &[&otp]);
    assert_eq!(
        replay.decisions(),
        [format!(
            "refused user=alice token={id} mode=offline service=otp rhost=192.0.2.1 tty=none \
             code=otp-replayed reason=\"the OTP was used before: usage counter 1, session counter 0 is not above usage counter 1, session counter 0\""
        )]
    );
    assert_eq!(replay.auth_lines()[0].severity(), 5, "a notice");
}

/// A stranger's user name reaches the log.
#[test]
fn a_user_name_cannot_forge_a_line() {
    let place = Place::new();
    let login = place.login("otp", "eve\npam_yubiotp(sshd:auth): accepted user=root \"x", &["x"]);
    let [line] = login.auth_lines()[..] else { panic!("{:?}", login.log) };
    assert!(!line.text.contains('\n'), "{}", line.text);
    assert!(line.text.contains("refused user=\"eve\\u{a}pam_yubiotp"), "{}", line.text);
}

#[test]
fn debug_adds_steps_and_never_a_secret() {
    let place = Place::new();
    let mut key = SoftYubiKey::numbered(31);
    place.enrol("alice", &key);
    place.arguments("debug");
    let otp = key.press();
    for answer in [format!("hunter2{otp}"), otp.clone(), "hunter2".to_owned()] {
        let login = place.login("otp", "alice", &[&answer]);
        assert!(login.log.iter().any(|line| line.severity() == 7), "{:?}", login.log);
        for line in &login.log {
            let block = &otp[otp.len() - 32..];
            assert!(!line.text.contains("hunter2") && !line.text.contains(block), "{}", line.text);
            assert!(!line.text.contains(&key.aes_key_hex()) && !line.text.contains(&key.private_id_hex()));
        }
    }
}
