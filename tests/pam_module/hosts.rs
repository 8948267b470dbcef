//! Applications that misbehave, and limits that they set.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;
use tests::libpam::{Code, Conversation, Pam, Prompt, Reply, SILENT, Script, Style};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

fn enrolled(number: u32) -> (Place, SoftYubiKey) {
    let (place, key) = (Place::new(), SoftYubiKey::numbered(number));
    place.enrol("alice", &key);
    (place, key)
}

/// Answers every message in the same way.
struct Always(fn() -> Reply);

impl Conversation for Always {
    fn answer(&mut self, _: &[Prompt]) -> Reply {
        (self.0)()
    }
}

#[test]
fn conversations_that_give_no_answer() {
    let (place, _) = enrolled(40);
    let one: [(fn() -> Reply, Code); 6] = [
        (|| Reply::Error(Code::CONV_ERR.0), Code::CONV_ERR),
        (|| Reply::Error(Code::ABORT.0), Code::CONV_ERR),
        (|| Reply::Error(12_345), Code::CONV_ERR),
        (|| Reply::Nothing, Code::CONV_ERR),
        (|| Reply::Answers(vec![None]), Code::CONV_ERR),
        (|| Reply::Answers(vec![Some(vec![b'c'; 1 << 20])]), Code::AUTH_ERR),
    ];
    for (number, (reply, expected)) in one.into_iter().enumerate() {
        let mut pam = Pam::start(place.confdir(), "otp", Some(b"alice"), Box::new(Always(reply)));
        assert_eq!(pam.authenticate(0), expected, "conversation {number}");
        assert_eq!(pam.fail_delay().is_zero(), expected == Code::CONV_ERR, "conversation {number}");
    }
}

#[test]
fn one_prompt_for_everybody_silent_or_not() {
    let (place, mut key) = enrolled(41);
    for (user, flags) in [(&b"alice"[..], 0), (b"alice", SILENT), (b"bob", 0), (b"bob", SILENT), (b"", 0)] {
        let script = Script::new([key.press()]);
        let seen = script.seen();
        let mut pam = Pam::start(place.confdir(), "otp", Some(user), Box::new(script));
        let code = pam.authenticate(flags);
        assert_eq!(code == Code::SUCCESS, user == b"alice", "{code:?}");
        let name = String::from_utf8_lossy(user);
        let seen: Vec<_> = seen.borrow().iter().map(|prompt| (prompt.style, prompt.text.clone())).collect();
        assert_eq!(seen, [(Style::EchoOff, format!("YubiKey for {name}: "))]);
    }
}

#[test]
fn echo_and_a_prompt_of_ones_own() {
    let (place, mut key) = enrolled(42);
    place.arguments("echo [prompt=Password, then press (%u): ]");
    let login = place.login("otp", "alice", &[key.press()]);
    assert_eq!(login.code("authenticate"), "PAM_SUCCESS");
    assert_eq!(login.prompts().collect::<Vec<_>>(), ["prompt echo-on \"Password, then press (alice): \""]);
}

#[test]
fn names_and_answers_that_are_not_utf8() {
    let (place, mut key) = enrolled(43);
    let mapping = [b"al\xefce:".as_slice(), key.public_id().as_bytes(), b"\n"].concat();
    place.write("authorized_yubikeys", mapping, 0o644);
    let answer = [b"p\xe9ss".as_slice(), key.press().as_bytes()].concat();
    let drive = |answer: &[u8]| {
        let mut drive = Command::new(tests::built::program("pam-drive"));
        drive.arg("--confdir").arg(place.confdir()).args(["--service", "otp", "--user"]);
        drive.arg(OsStr::from_bytes(b"al\xefce")).arg("--").arg(OsStr::from_bytes(answer));
        String::from_utf8(drive.output().unwrap().stdout).unwrap()
    };
    assert!(drive(&answer).contains("authenticate PAM_SUCCESS"));
    assert!(drive(b"\xff\xfe\xfd").contains("authenticate PAM_AUTH_ERR"));
}

#[test]
fn two_handles_and_many_rounds_in_one_process() {
    let (place, mut key) = enrolled(44);
    for _ in 0..20 {
        let [first, second] = [key.press(), key.press()];
        let start =
            |otp: &String| Pam::start(place.confdir(), "otp", Some(b"alice"), Box::new(Script::new([otp])));
        let (mut one, mut two) = (start(&second), start(&first));
        assert_eq!(one.authenticate(0), Code::SUCCESS);
        assert_eq!(two.authenticate(0), Code::AUTH_ERR, "the older one");
        assert_eq!((one.acct_mgmt(0), two.acct_mgmt(0)), (Code::SUCCESS, Code::AUTH_ERR));
    }
}

/// Past the limit the kernel would not only refuse to write but kill the application.
#[test]
fn a_file_size_limit_is_told_and_kills_nobody() {
    let (place, mut key) = enrolled(45);
    let otp = key.press();
    let drive = place.drive("otp", "alice");
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 1; exec \"$0\" \"$@\""]).arg(drive.get_program()).args(drive.get_args());
    let output = limited.args(["--", &otp]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("authenticate PAM_AUTHINFO_UNAVAIL"), "{said} {output:?}");
    assert_eq!(
        place.login("otp", "alice", &[otp]).code("authenticate"),
        "PAM_SUCCESS",
        "and nothing was used up"
    );
}

/// Only the entry points of a PAM module may be visible from outside: another name of ours could replace one of the
/// application's.
#[test]
fn only_pam_sm_is_exported() {
    let output =
        Command::new("nm").args(["-D", "--defined-only"]).arg(tests::built::module()).output().unwrap();
    let mut names: Vec<_> = std::str::from_utf8(&output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "pam_sm_acct_mgmt",
            "pam_sm_authenticate",
            "pam_sm_chauthtok",
            "pam_sm_close_session",
            "pam_sm_open_session",
            "pam_sm_setcred"
        ]
    );
    let output = Command::new("readelf").arg("-d").arg(tests::built::module()).output().unwrap();
    let dynamic = String::from_utf8(output.stdout).unwrap();
    for flag in ["NODELETE", "BIND_NOW"] {
        assert!(dynamic.contains(flag), "linked without {flag}: {dynamic}");
    }
}
