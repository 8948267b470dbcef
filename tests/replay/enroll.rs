//! A crash, a full disk or an error at every system call in turn of the program that enrolls. Whatever happens: the user is
//! enrolled as a whole, or the host is as before but for the offer, and enrolling works.

use crate::traced::{self, Call, Do, numbers};
use rustix::io::Errno;
use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::Command;
use tests::enrolling::{self, Enrolling};
use tests::libpam::{Code, Item, Pam, Script};
use tests::place::Place;
use tests::soft_app::{SoftApp, now};

const KEY: &str = "SSH_AUTH_INFO_0=publickey ssh-ed25519 AAAA\n";

/// A login of alice; what was shown.
fn enroll(place: &Place, answers: &[&str]) -> (Code, Vec<String>) {
    let conversation = Enrolling::new(answers);
    let shown = conversation.shown();
    let mut pam = Pam::start(place.confdir(), "otp", Some(b"alice"), Box::new(conversation));
    pam.set_item_str(Item::Tty, "ssh");
    pam.set_variable(KEY);
    let code = pam.authenticate(0);
    drop(pam);
    let shown = shown.borrow().clone();
    (code, shown)
}

fn login(place: &Place, answer: &str) -> Code {
    Pam::start(place.confdir(), "otp", Some(b"alice"), Box::new(Script::new([answer]))).authenticate(0)
}

/// What the module says to the program, with the answers at once: it reads them one by one.
fn frames(place: &Place, answers: &[&str]) -> Vec<u8> {
    let config = format!("argument=config={}", place.config().display());
    let facts = ["user=alice", "service=otp", &config, "argument=enroll", &format!("ssh={}", &KEY[16..])];
    let facts: String = facts.iter().map(|fact| format!("{fact}\0")).collect();
    let frame = |letter: u8, rest: &str| {
        [&[letter][..], &u32::try_from(rest.len()).unwrap().to_be_bytes(), rest.as_bytes()].concat()
    };
    let answers = answers.iter().flat_map(|answer| frame(b'A', answer));
    frame(b'L', &facts).into_iter().chain(answers).collect()
}

/// The program with these frames as its input. What it says goes to a file.
fn program(place: &Place) -> Command {
    let mut command = Command::new("sh");
    let file = |name: &str| place.path(name).display().to_string();
    command.args(["-c", "exec env -i \"$0\" login <\"$1\" >\"$2\""]);
    command.args([file("yubiotp-enroll"), file("input"), file("output")]);
    command
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort_unstable();
    names
}

fn attack(attacks: &[Do]) {
    let place = Place::in_memory();
    place.offer_enrollment();
    // The attacks take a while, and the codes have to stay good.
    place.widen_window();
    // An offer is open, so that the code is known.
    let (_, shown) = enroll(&place, &["1"]);
    let app = enrolling::app(&shown).unwrap();
    place.write("input", [], 0o600);
    let (host, saved) = (place.host(), place.host().with_extension("saved"));
    copy(&host, &saved);
    let (before, step) = (names(&host.join("keys")), Cell::new(0));
    for &attack in attacks {
        let (mut whole, mut not) = (0, 0);
        let count = traced::each(
            &program(&place),
            attack,
            |call| traced::matters(Do::Kill, call) && !is_output(call),
            || {
                copy(&saved, &host);
                step.set(now());
                place.write("input", frames(&place, &["1", &app.code(step.get()), ""]), 0o600);
            },
            |at, call, _| {
                let what = format!("{attack:?} at call {at}, {}", call.number);
                match judge(&place, &app, step.get(), &before, &what) {
                    true => whole += 1,
                    false => not += 1,
                }
            },
        );
        println!("{attack:?} at each of {count} system calls: {whole} enrolled, {not} not");
        assert!(count > 20 && whole > 0 && not > 0, "{attack:?}: {count} calls, {whole} enrolled, {not} not");
    }
}

/// What it says changes nothing.
fn is_output(call: &Call) -> bool {
    call.number == numbers::WRITE && call.arguments[0] == 1
}

/// Whether alice is enrolled, as a whole. If not, she can enroll.
fn judge(place: &Place, app: &SoftApp, step: u64, before: &[String], what: &str) -> bool {
    let listed = fs::read_to_string(place.path("enrolled")).unwrap_or_default();
    let listed = listed.lines().find(|line| line.starts_with("alice:")).map(str::to_owned);
    let Some(listed) = listed else {
        assert_ne!(login(place, &app.code(step)), Code::SUCCESS, "{what}: not enrolled, and let in");
        // The first code is used, if it was written before the program ended.
        let (code, shown) = enroll(place, &["1", "@0", "@1", ""]);
        assert_eq!(code, Code::SUCCESS, "{what}: cannot enroll: {shown:?}");
        assert_eq!(enrolling::app(&shown).unwrap().secret(), app.secret(), "{what}: another offer");
        // What the attacked program left in the store is gone.
        let keys = names(&place.path("keys"));
        assert_eq!(keys.len(), before.len() + 10, "{what}: {keys:?}");
        return false;
    };
    assert!(listed.starts_with("alice:oath-app-") && listed.contains(":rec-"), "{what}: {listed}");
    let keys = names(&place.path("keys"));
    assert_eq!(keys.len(), before.len() + 10, "{what}: {keys:?}");
    assert_eq!(login(place, &app.code(step)), Code::AUTH_ERR, "{what}: the code that proved it");
    assert_eq!(login(place, &app.code(step + 1)), Code::SUCCESS, "{what}: the next code");
    true
}

#[test]
fn killed_at_each_call() {
    attack(&[Do::Kill]);
}

#[test]
fn full_or_failing_at_each_call() {
    attack(&[Do::Fail(Errno::NOSPC), Do::Fail(Errno::IO)]);
}

#[test]
fn denied_at_each_call() {
    attack(&[Do::Deny(Errno::IO)]);
}
