//! `ykmap setup`: the plan, and the steps up to the services. `pam_services` has the rest, on a host.

use crate::desk::{Desk, ykmap};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use tests::guided::{Person, Token};
use tests::said::{Said, run};
use tests::screen::{DARK, picture, read, screen};
use tests::soft_yubikey::SoftYubiKey;

/// A host in a folder: service files, accounts, and no store yet.
struct World {
    desk: Desk,
    pam: PathBuf,
    accounts: PathBuf,
}

impl World {
    fn new() -> Self {
        let desk = Desk::bare();
        let (pam, accounts) = (desk.beside("pam.d"), desk.beside("accounts"));
        for folder in [&pam, &accounts] {
            fs::create_dir(folder).unwrap();
        }
        let world = Self { desk, pam, accounts };
        world.service("sudo", "auth required pam_permit.so\naccount required pam_permit.so\n");
        world.service("sshd", "auth required pam_permit.so\naccount required pam_permit.so\n");
        for (name, text) in [
            ("passwd", "root:x:0:0::/nowhere:/bin/sh\nalice:x:1000:1000::/nowhere:/bin/sh\n"),
            ("shadow", "root:*:1::::::\nalice:$y$hash:1::::::\n"),
        ] {
            fs::write(world.accounts.join(name), text).unwrap();
        }
        world
    }

    fn service(&self, name: &str, text: &str) {
        let path = self.pam.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.desk.command();
        command.arg("setup").args(arguments).arg("--pam-dir").arg(&self.pam);
        command.arg("--accounts").arg(&self.accounts).env("PATH", "/usr/bin:/bin");
        command
    }

    /// The plan for alice, as a script gets it.
    fn plan(&self) -> Said {
        run(&mut self.command(&["--json", "alice"]))
    }

    /// The status of each step.
    fn statuses(&self) -> String {
        let plan = self.plan().json();
        let status = |step: &serde_json::Value| step["status"].as_str().unwrap().to_owned();
        plan["steps"].as_array().unwrap().iter().map(status).collect::<Vec<_>>().join(" ")
    }

    fn start(&self, has: Token) -> Person {
        Person::start(self.command(&["alice"]), has)
    }
}

#[test]
fn without_a_terminal_it_prints_the_plan() {
    let world = World::new();
    let plan = world.plan().exits(3).json();
    assert_eq!((plan["done"].as_bool(), plan["user"].as_str()), (Some(false), Some("alice")));
    assert_eq!(plan["steps"][0]["commands"][0].as_str().unwrap().split(' ').next_back(), Some("init"));
    assert_eq!(world.statuses(), "to-do later later later later later");
    let said = run(&mut world.command(&["alice"])).exits(3).says(" init\n");
    assert!(said.out.lines().all(|line| line.starts_with(' ') || line.chars().count() < 80), "{said:?}");
    assert!(!world.desk.dir().exists(), "a plan changed something");
    run(world.desk.command().arg("init")).exits(0);
    assert_eq!(world.statuses(), "done to-do later later later later");
    // Whoever does a step, and by whichever verb.
    let mut key = SoftYubiKey::numbered(1);
    world.desk.import(&[&key]).exits(0);
    world.desk.ykmap(&["add", "alice", &key.public_id()]).exits(0);
    assert_eq!(world.statuses(), "done done to-do later later later");
    world.desk.verify("alice", &key.press()).exits(0);
    assert_eq!(world.statuses(), "done done done to-do to-do later");
    world.desk.ykmap(&["key", "disable", &key.public_id()]).exits(0);
    let plan = world.plan().exits(3).json();
    let fix = plan["steps"][1]["commands"][0].as_str().unwrap();
    assert!(fix.ends_with(&format!(" key enable {}", key.public_id())), "{fix}");
}

#[test]
fn what_the_host_has_is_named() {
    let world = World::new();
    let old = "auth required pam_google_authenticator.so nullok\n@include other\n";
    world.service("sshd", old);
    world.service("other", "auth required pam_yubico.so id=1\naccount required pam_permit.so\n");
    world.service("swaylock", "auth required pam_permit.so\n");
    let plan = world.plan().exits(3).json();
    let old: Vec<_> =
        plan["old"].as_array().unwrap().iter().map(|it| it["migrate"].as_str().unwrap()).collect();
    assert_eq!(old, ["pam_yubico", "google-authenticator"]);
    assert_eq!(plan["others"], serde_json::json!(["swaylock"]));
    let names: Vec<_> =
        plan["services"].as_array().unwrap().iter().map(|it| it["service"].as_str().unwrap()).collect();
    assert_eq!(names, ["sudo", "ssh"]);
    assert_eq!(plan["without_token"], serde_json::json!([]));
}

#[test]
fn wrong_arguments_change_nothing() {
    let world = World::new();
    run(&mut world.command(&["#x"])).exits(2);
    run(&mut world.command(&["no-such-user-here"])).exits(2).has("user-unknown");
    run(ykmap().args(["setup", "--accounts", "/nowhere", "alice"])).exits(2);
    assert!(!world.desk.dir().exists());
}

/// A question that comes once a token and a way back are there.
const SERVICES: &str = "to run commands as root";

#[test]
fn an_app_is_set_up_by_its_qr_code() {
    let world = World::new();
    let mut person = world.start(Token::Phone);
    let shown = person.answers_until("Code that the app of alice shows: ");
    let uri = shown.lines().find_map(|line| line.strip_prefix("URI     ")).unwrap();
    let is_code =
        |line: &&str| !line.trim_end().is_empty() && line.trim_end().chars().all(|it| " █▀▄".contains(it));
    let code: Vec<_> = shown.lines().filter(is_code).collect();
    let picture = picture(&screen(&format!("{}\r\n", code.join("\r\n")), 80, DARK));
    let read = read(&world.desk.beside("code.pgm"), &picture, false);
    assert_eq!(read.as_deref(), Some(uri.trim()), "{shown}");
    person.answers(&shown);
    person.answers_until(SERVICES);
    let (code, shown) = person.leaves("\x04");
    assert_eq!(code, Some(3), "{shown}");
    assert_eq!(world.statuses(), "done done done done to-do later", "{shown}");
    assert!(world.desk.mapping().contains("alice:oath-app-"), "{}", world.desk.mapping());
}
