//! `AuthenticationMethods publickey,password`: sshd's password method asks once and gives that answer to every prompt
//! of the stack. sshd does what the doctor's table says.

use crate::site::{PASSWORD, Site};
use crate::sshd_key::key_of_alice;
use crate::ways::TALKATIVE;
use serde_json::{Value, json};
use tests::host::Sshd;
use tests::terminal::Terminal;

const METHODS: &str = "PasswordAuthentication yes\nAuthenticationMethods publickey,password\n";

const REST: &str = "account required pam_yubiotp.so\nsession required pam_permit.so\n";

/// The ssh client at the prompt of the password method, after its key.
fn at_the_password(site: &Site, sshd: &Sshd, key: &str) -> Terminal {
    let methods = "PreferredAuthentications=publickey,password";
    site.ssh(sshd, "alice", &["-o", methods, "-o", "IdentitiesOnly=yes", "-i", key])
}

/// The factors that let a user with a token in at sshd, as the doctor says.
fn ways_in(site: &Site) -> Value {
    let config = site.host.path().join("sshd_config_of_the_doctor");
    std::fs::write(&config, [TALKATIVE, METHODS, "UsePAM yes\n"].concat()).unwrap();
    let said = site.doctor(&["--json", "--no-servers", "--sshd-config", config.to_str().unwrap()]);
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).unwrap().clone();
    let is_of_sshd = |table: &&Value| list(table, "services").contains(&"sshd".into());
    let is_hers = |row: &&Value| {
        let class = row.get("who").map(|who| list(who, "class")).unwrap();
        class.contains(&"token".into())
    };
    let tables = list(&said, "access");
    let rows = list(tables.iter().find(is_of_sshd).unwrap(), "rows");
    rows.iter().find(is_hers).and_then(|row| row.get("with")).unwrap().clone()
}

#[test]
fn one_answer_does_not_serve_two_questions() {
    let Some(site) = Site::start(&["sshd", "ssh", "ssh-keygen"]) else { return };
    site.pam("sshd", &format!("auth required pam_unix.so\nauth required pam_yubiotp.so\n{REST}"));
    let mut token = site.token(1, "alice");
    let key = key_of_alice(&site);
    let sshd = site.host.sshd(&[TALKATIVE, METHODS].concat());
    for answer in [PASSWORD.to_owned(), token.press(), format!("{PASSWORD}{}", token.press())] {
        let mut terminal = at_the_password(&site, &sshd, &key);
        site.answer(&mut terminal, "password: ", &[&answer]);
        site.assert_out(terminal);
    }
    assert_eq!(ways_in(&site), json!([]));
}

#[test]
fn one_answer_serves_one_question() {
    let Some(site) = Site::start(&["sshd", "ssh", "ssh-keygen"]) else { return };
    site.pam("sshd", &format!("auth required pam_yubiotp.so\n{REST}"));
    let mut token = site.token(1, "alice");
    let key = key_of_alice(&site);
    let sshd = site.host.sshd(&[TALKATIVE, METHODS].concat());
    let mut terminal = at_the_password(&site, &sshd, &key);
    site.answer(&mut terminal, "password: ", &[&token.press()]);
    site.assert_in(terminal, "alice");
    assert_eq!(ways_in(&site), json!([["ssh key", "OTP"]]));
}
