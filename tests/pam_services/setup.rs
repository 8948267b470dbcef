//! `ykmap setup`, from a host without a store to a sudo that asks for a touch; left at each of its questions, and run again.

use crate::site::{PASSWORD, Site};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tests::built;
use tests::guided::{KEEP, Person, Token};
use tests::terminal::Terminal;

const SOON: Duration = Duration::from_secs(30);

/// A host on which nothing but the package is installed.
struct Fresh {
    site: Site,
    module: PathBuf,
    try_program: PathBuf,
}

impl Fresh {
    fn start() -> Option<Self> {
        let site = Site::start(&["sudo"])?;
        let host = &site.host;
        assert!(host.run(&["rm", "-rf", "/etc/yubiotp", "/var/lib/yubiotp"]).status.success());
        let try_program = host.path().join("yubiotp-try");
        std::fs::copy(built::program("yubiotp-try"), &try_program).unwrap();
        let module = host.path().join("pam_yubiotp.so");
        host.write("/accounts/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n", 0o644);
        host.write("/accounts/shadow", "root:*:1::::::\nalice:$y$hash:1::::::\n", 0o600);
        for name in ["sudo", "sudo-i"] {
            let lines =
                "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n";
            site.pam(name, lines);
        }
        Some(Self { site, module, try_program })
    }

    fn ykmap(&self, arguments: &[&str]) -> Command {
        let mut command = self.site.host.command(self.site.host.path().join("ykmap").to_str().unwrap());
        command.args(arguments);
        command
    }

    fn setup(&self) -> Command {
        let mut command = self.ykmap(&["setup", "alice", "--accounts", "/accounts"]);
        command.arg("--module").arg(&self.module).arg("--try-program").arg(&self.try_program);
        command
    }

    /// The status of each step, and the exit status of the plan.
    fn plan(&self) -> (String, Option<i32>) {
        let output = self.setup().arg("--json").output().unwrap();
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let steps = plan.pointer("/steps").unwrap().as_array().unwrap();
        let status = |step: &serde_json::Value| step.pointer("/status").unwrap().as_str().unwrap().to_owned();
        let all = steps.iter().map(status).collect::<Vec<_>>().join(" ");
        (all, output.status.code())
    }

    /// Whether sudo asks alice for a touch.
    fn asks(&self) -> bool {
        String::from_utf8(self.site.host.read("/etc/pam.d/sudo")).unwrap().contains("pam_yubiotp")
    }

    /// alice becomes root, with her password and what else is asked for.
    fn sudo(&self, touch: Option<&str>) -> bool {
        let mut command = self.site.host.command_as("alice", "sudo");
        command.args(["-k", "id", "-u"]);
        let mut terminal = Terminal::spawn(command);
        terminal.wait_for("password for alice: ", SOON);
        terminal.type_line(PASSWORD);
        if let Some(touch) = touch {
            terminal.wait_for("YubiKey for alice: ", SOON);
            terminal.type_line(touch);
        }
        let (code, shown) = terminal.finish(SOON);
        assert_eq!(code == Some(0), shown.ends_with("\n0\r\n"), "{shown}");
        code == Some(0)
    }

    /// Logins work: with the password, and a touch if sudo asks for one.
    fn assert_works(&self, has: &mut Token, at: &str) {
        let touch = match has {
            Token::YubiKey(key) if self.asks() => Some(key.press()),
            _ => None,
        };
        assert!(self.sudo(touch.as_deref()), "{at}");
    }
}

/// The lines that setup prints itself: from a heading to the next command.
fn own_lines(shown: &str) -> Vec<&str> {
    let mut is_own = false;
    let mut own = Vec::new();
    for line in shown.lines().map(str::trim_end) {
        is_own = (is_own || line.starts_with("Step ") || line.starts_with("Second factor"))
            && !line.starts_with("  # ");
        // Options of this test's own, which no host needs.
        if is_own && !line.contains("--accounts") {
            own.push(line);
        }
    }
    own
}

/// To the end, and what is there then.
#[test]
fn from_an_empty_store_to_a_protected_sudo() {
    let Some(fresh) = Fresh::start() else { return };
    let before = fresh.site.host.read("/etc/pam.d/sudo");
    assert_eq!(fresh.plan(), ("to-do later later later later later".to_owned(), Some(3)));
    let mut person = Person::start(fresh.setup(), Token::New);
    let mut questions = 0;
    while let Some(question) = person.question() {
        questions += 1;
        // In a second terminal, as it says.
        if question.contains(KEEP) {
            fresh.assert_works(&mut person.has, &question);
        }
        person.answers(&question);
    }
    let mut has = person.has.clone();
    let (code, shown) = person.leaves("");
    assert_eq!(code, Some(0), "{shown}");
    assert!(questions <= 13, "{questions}");
    assert_eq!(fresh.plan(), ("done done done done done done".to_owned(), Some(0)));
    fresh.assert_works(&mut has, "at the end");
    assert!(!fresh.sudo(Some("")), "a password is enough");
    let long: Vec<_> = own_lines(&shown).into_iter().filter(|line| line.chars().count() >= 80).collect();
    assert!(long.is_empty(), "{long:#?}");
    assert!(!shown.contains("\\u{"), "{shown}");
    // Run again, it changes nothing.
    let mut again = Person::start(fresh.setup(), has.clone());
    while let Some(question) = again.question() {
        again.answers(&question);
    }
    assert_eq!(again.leaves("").0, Some(0));
    fresh.assert_works(&mut has, "once more");
    assert!(fresh.ykmap(&["disable", "sudo"]).output().unwrap().status.success());
    assert_eq!(fresh.site.host.read("/etc/pam.d/sudo"), before);
    assert_eq!(fresh.plan().1, Some(3));
}

/// Whatever question somebody leaves at, and however: logins work, and the next run goes on.
#[test]
fn left_at_any_question_it_goes_on() {
    let mut leave_at = 0;
    loop {
        let Some(fresh) = Fresh::start() else { return };
        let mut person = Person::start(fresh.setup(), Token::New);
        for _ in 0..leave_at {
            let Some(question) = person.question() else { break };
            person.answers(&question);
        }
        let Some(at) = person.question() else { break };
        let mut has = person.has.clone();
        // To the trial, the end of the input is an empty answer, as to sudo.
        let is_trial = at.ends_with("Password: ") || at.ends_with("YubiKey for alice: ");
        person.leaves(if is_trial || leave_at % 2 == 0 { "\u{3}" } else { "\u{4}" });
        fresh.assert_works(&mut has, &at);
        let mut person = Person::start(fresh.setup(), has);
        while let Some(question) = person.question() {
            person.answers(&question);
        }
        let mut has = person.has.clone();
        let (code, shown) = person.leaves("");
        assert_eq!(code, Some(0), "left at {at}: {shown}");
        assert_eq!(fresh.plan().0, "done done done done done done", "left at {at}");
        fresh.assert_works(&mut has, &at);
        leave_at += 1;
    }
    assert!(leave_at >= 9, "{leave_at} questions");
}
