//! The application against modules that every Linux-PAM ships.

use super::*;
use std::fs;

fn login(lines: &str, script: Script) -> (Pam, Seen, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let services = Services::new(dir.path());
    services.write("demo", lines);
    let seen = script.seen();
    (Pam::start(services.path(), "demo", Some(b"alice"), Box::new(script)), seen, dir)
}

fn nothing() -> Script {
    Script::default()
}

#[test]
fn permits_and_denies() {
    let permit = "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n\
                  password required pam_permit.so\n";
    let (mut pam, ..) = login(permit, nothing());
    assert_eq!(pam.authenticate(0), Code::SUCCESS);
    assert_eq!(pam.acct_mgmt(SILENT), Code::SUCCESS);
    assert_eq!(pam.setcred(ESTABLISH_CRED), Code::SUCCESS);
    assert_eq!(pam.open_session(0), Code::SUCCESS);
    assert_eq!(pam.close_session(0), Code::SUCCESS);
    assert_eq!(pam.chauthtok(0), Code::SUCCESS);
    let (mut pam, ..) = login("auth required pam_deny.so\naccount required pam_deny.so\n", nothing());
    assert_eq!(pam.authenticate(0), Code::AUTH_ERR);
    assert_eq!(pam.acct_mgmt(0), Code::AUTH_ERR);
}

#[test]
fn names_codes() {
    assert_eq!(format!("{:?}", Code::AUTHINFO_UNAVAIL), "PAM_AUTHINFO_UNAVAIL");
    assert_eq!(format!("{:?}", Code(77)), "PAM code 77");
}

#[test]
fn reads_and_sets_items() {
    let (mut pam, ..) = login("auth required pam_permit.so\n", nothing());
    assert_eq!(pam.item(Item::User).unwrap(), b"alice");
    assert_eq!(pam.item(Item::Service).unwrap(), b"demo");
    assert_eq!(pam.item(Item::Rhost), None);
    pam.set_item_str(Item::Rhost, "192.0.2.1");
    assert_eq!(pam.item(Item::Rhost).unwrap(), b"192.0.2.1");
}

#[test]
fn shows_what_modules_say() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    fs::write(&text, "hello %u").unwrap();
    let lines = format!("auth required pam_echo.so file={}\nauth required pam_permit.so\n", text.display());
    let (mut pam, seen, _dir) = login(&lines, nothing());
    assert_eq!(pam.authenticate(0), Code::SUCCESS);
    assert_eq!(*seen.borrow(), [Prompt { style: Style::Info, text: "hello alice".into() }]);
}

/// pam_unix asks for a password, finds no such account, and asks for a delay.
const UNIX: &str = "auth required pam_unix.so\n";

#[test]
fn answers_questions_and_notes_the_delay() {
    let (mut pam, seen, _dir) = login(UNIX, Script::new(["a wrong password"]));
    pam.set_item_str(Item::User, "no such user here");
    assert_eq!(pam.authenticate(0), Code::USER_UNKNOWN);
    assert_eq!(*seen.borrow(), [Prompt { style: Style::EchoOff, text: "Password: ".into() }]);
    let delay = pam.fail_delay();
    assert!(delay > Duration::from_millis(900) && delay < Duration::from_millis(3100), "{delay:?}");
}

#[test]
fn a_script_at_its_end_fails_the_conversation() {
    let question = Prompt { style: Style::EchoOn, text: "and now? ".into() };
    assert_eq!(nothing().answer(&[question]), Reply::Error(Code::CONV_ERR.0));
    let (mut pam, seen, _dir) = login(UNIX, nothing());
    assert_eq!(pam.authenticate(0), Code::AUTHTOK_ERR, "what pam_get_authtok makes of it");
    assert_eq!(seen.borrow().len(), 1);
}

struct Careless(Reply);

impl Conversation for Careless {
    fn answer(&mut self, _prompts: &[Prompt]) -> Reply {
        self.0.clone()
    }
}

#[test]
fn careless_applications_do_not_crash_libpam() {
    let dir = tempfile::tempdir().unwrap();
    let services = Services::new(dir.path());
    services.write("demo", UNIX);
    for reply in [Reply::Nothing, Reply::Answers(vec![None]), Reply::Answers(vec![]), Reply::Error(30)] {
        let conversation = Box::new(Careless(reply.clone()));
        let mut pam = Pam::start(services.path(), "demo", Some(b"alice"), conversation);
        assert_ne!(pam.authenticate(0), Code::SUCCESS, "{reply:?}");
    }
}

#[test]
fn asks_for_the_user() {
    let dir = tempfile::tempdir().unwrap();
    let services = Services::new(dir.path());
    services.write("demo", UNIX);
    let script = Script::new(["nobody at all", "x"]);
    let seen = script.seen();
    let mut pam = Pam::start(services.path(), "demo", None, Box::new(script));
    assert_ne!(pam.authenticate(0), Code::SUCCESS);
    assert_eq!(seen.borrow()[0].style, Style::EchoOn);
    assert_eq!(pam.item(Item::User).unwrap(), b"nobody at all");
}

struct Panics;

impl Conversation for Panics {
    fn answer(&mut self, _prompts: &[Prompt]) -> Reply {
        panic!("the conversation disagrees")
    }
}

#[test]
#[should_panic(expected = "the conversation disagrees")]
fn a_panic_comes_out_of_the_call() {
    let dir = tempfile::tempdir().unwrap();
    let services = Services::new(dir.path());
    services.write("demo", UNIX);
    Pam::start(services.path(), "demo", Some(b"alice"), Box::new(Panics)).authenticate(0);
}
