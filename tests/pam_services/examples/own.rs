//! Settings and a store of the user's own, for applications that run as that user, as some screen lockers do.

use crate::site::{PASSWORD, Site};
use serde_json::Value;
use tests::built;
use tests::soft_yubikey::SoftYubiKey;

impl Site {
    /// Runs a line of shell as a user, in their home; whether it succeeded, and what it printed.
    fn as_user(&self, user: &str, line: &str, input: &str) -> (bool, String) {
        let mut shell = self.host.command_as(user, "sh");
        let path = self.host.path().display();
        shell.args(["-c", &format!("cd && PATH={path}:$PATH && {line}")]);
        let input_file = self.host.path().join("input");
        std::fs::write(&input_file, input).unwrap();
        let output =
            shell.stdin(std::fs::OpenOptions::new().read(true).open(input_file).unwrap()).output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }

    /// Runs a locker as the user. Returns whether it unlocks.
    pub(crate) fn unlock(&self, user: &str, answers: &[&str]) -> bool {
        let mut drive = self.host.command_as(user, built::program("pam-drive").to_str().unwrap());
        drive.args(["--confdir", "/etc/pam.d", "--service", "swaylock", "--user", user, "--"]).args(answers);
        let output = drive.output().unwrap();
        assert!(!output.stdout.is_empty(), "{output:?}");
        output.status.success()
    }

    /// The doctor's findings about a user, by level.
    fn findings(&self, user: &[&str], level: &str) -> Vec<Value> {
        let said = self.doctor(&[&["--json"], user].concat());
        let findings = said.get("findings").and_then(Value::as_array).unwrap().clone();
        findings.into_iter().filter(|it| it["severity"] == level).collect()
    }
}

pub(super) fn screen_locker(site: &Site, example: &str) {
    let mut site_token = site.token(1, "alice");
    site.pam("swaylock", example);
    // Of the user's own, by the commands that pam_yubiotp(8) shows.
    let mut token = SoftYubiKey::numbered(7);
    let run = |line: &str, input: &str| {
        let (ok, said) = site.as_user("alice", line, input);
        assert!(ok, "{line}: {said}");
    };
    run("ykmap init --dir ~/.yubiotp", "");
    run("ykmap --config ~/.yubiotp/config.toml key new", "");
    run("ykmap --config ~/.yubiotp/config.toml key import -", &(token.traditional_log_line() + "\n"));
    run("ykmap --config ~/.yubiotp/config.toml add alice", &(token.press() + "\n"));
    run("ykmap --config ~/.yubiotp/config.toml verify alice", &(token.press() + "\n"));

    let otp = token.press();
    assert!(site.unlock("alice", &[PASSWORD, &otp]));
    assert!(!site.unlock("alice", &[PASSWORD, &otp]), "replayed");
    assert!(!site.unlock("alice", &[PASSWORD, &site_token.press()]), "the token of the host's own store");
    site.skip_decisions();
    assert!(!site.unlock("bob", &[PASSWORD, &token.press()]), "has no store");
    site.assert_decided(&[
        "fault user=bob token=none mode=none service=swaylock * code=config-missing reason=\"/home/bob/.yubiotp*\"",
    ]);

    // The doctor judges as the user.
    let errors = site.findings(&["alice"], "error");
    assert!(errors.iter().all(|it| it["area"] != "settings" && it["area"] != "files"), "{errors:#?}");
    assert!(errors.iter().all(|it| it["area"] != "user"), "{errors:#?}");
    let notes = site.findings(&[], "note");
    assert!(notes.iter().any(|it| it["code"] == "settings-of-each-user"), "{notes:#?}");
    let errors = site.findings(&["bob"], "error");
    assert!(
        errors
            .iter()
            .any(|it| it["area"] == "user" && it.pointer("/location/user").is_some_and(|user| user == "bob")),
        "{errors:#?}"
    );
    // What root could use and alice cannot, and what others may write to.
    for (spoil, place) in [
        ("chown root /home/alice/.yubiotp/store.key", "/home/alice/.yubiotp/store.key"),
        (
            "chown alice /home/alice/.yubiotp/store.key; chmod go+w /home/alice/.yubiotp/positions",
            "/home/alice/.yubiotp/positions",
        ),
    ] {
        assert!(site.host.run(&["sh", "-c", spoil]).status.success());
        let errors = site.findings(&["alice"], "error");
        assert!(
            errors.iter().any(|it| it.pointer("/location/file").is_some_and(|file| file == place)),
            "{spoil}: {errors:#?}"
        );
        assert!(!site.unlock("alice", &[PASSWORD, &token.press()]));
    }
}
