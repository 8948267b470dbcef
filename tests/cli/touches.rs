//! Two touches show a token's position: `ykmap token resync`, `ykmap key adopt`. The pause between them is real.

use crate::desk::{Desk, Said, run};
use std::fs;
use std::process::Command;
use std::time::Duration;
use tests::built;
use tests::place::{Login, Place};
use tests::soft_yubikey::SoftYubiKey;
use tests::terminal::Terminal;
use tests::validation::{Exchange, Server};

const SOON: Duration = Duration::from_secs(30);

/// Runs a command that asks for two touches, and gives it these two: the second when it is asked for.
pub(crate) fn touched(
    command: Command,
    first: &str,
    second: impl FnOnce() -> String,
) -> (Option<i32>, String) {
    let mut terminal = Terminal::spawn(command);
    terminal.wait_for("Touch the YubiKey ", SOON);
    terminal.type_line(first);
    terminal.wait_for("Touch it again now: ", SOON);
    terminal.type_line(&second());
    terminal.finish(SOON)
}

/// Verifies, and expects the exit status.
#[track_caller]
fn verify(desk: &Desk, otp: &str, code: i32) -> Said {
    desk.verify("alice", otp).exits(code)
}

/// A key that is at usage counter 1, on a host that refuses all its OTPs, for its position was lost.
fn far_behind(n: u32) -> (Desk, SoftYubiKey) {
    let key = SoftYubiKey::numbered(n);
    let desk = Desk::with(&[&key]);
    fs::remove_file(desk.position_file(&key)).unwrap();
    desk.ykmap(&["key", "remove", &key.public_id()]).exits(0);
    desk.import(&[&key]).exits(0).notes(&format!("token resync {}", key.public_id()));
    (desk, key.with_real_clock())
}

fn resync(desk: &Desk, key: &SoftYubiKey) -> Command {
    let mut command = desk.command();
    command.args(["token", "resync", &key.public_id()]);
    command
}

#[test]
fn a_position_is_set_by_two_touches_and_stays() {
    let (desk, mut key) = far_behind(1);
    verify(&desk, &key.press(), 1).says(" token resync vvcccccccccb [token-needs-resync]");
    let first = key.press();
    let mut second = String::new();
    let (code, shown) = touched(resync(&desk, &key), &first, || {
        second = key.press();
        second.clone()
    });
    assert_eq!(code, Some(0), "{shown}");
    for used in [&first, &second] {
        verify(&desk, used, 1);
    }
    verify(&desk, &key.press(), 0);
    desk.ykmap(&["key", "remove", &key.public_id()]).exits(0);
    desk.import(&[&key]).exits(0);
    verify(&desk, &key.press(), 0);
}

/// As if two OTPs had been recorded that fit: this host accepted a later one of the same key, and continues from there.
#[test]
fn no_touches_go_below_an_otp_of_the_same_key() {
    let mut key = SoftYubiKey::numbered(8).with_real_clock();
    let desk = Desk::with(&[&key]);
    let mut far = key.clone();
    far.set_counter(20_000);
    let used = far.press();
    verify(&desk, &used, 0);
    let before = desk.snapshot();
    let first = key.press();
    let (code, shown) = touched(resync(&desk, &key), &first, || key.press());
    assert_eq!(code, Some(2), "{shown}");
    assert_eq!(desk.snapshot(), before);
    verify(&desk, &used, 1);
    verify(&desk, &far.press(), 0);
}

/// Two OTPs that were made in a row, the second of them typed when it is asked for.
#[test]
fn recorded_otps_prove_nothing() {
    let (desk, mut key) = far_behind(2);
    let (first, second) = (key.press(), key.press());
    let before = desk.snapshot();
    let (code, shown) = touched(resync(&desk, &key), &first, || second);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("wait for each prompt"), "{shown}");
    assert_eq!(desk.snapshot(), before);
    verify(&desk, &key.press(), 1);
}

#[test]
fn one_otp_twice_proves_nothing() {
    let (desk, mut key) = far_behind(3);
    let first = key.press();
    let before = desk.snapshot();
    let (code, shown) = touched(resync(&desk, &key), &first, || first.clone());
    assert_eq!(code, Some(1), "{shown}");
    assert_eq!(desk.snapshot(), before);
}

/// Nobody is there to touch anything, or it is another token.
#[test]
fn nothing_changes_without_touches() {
    let (desk, key) = far_behind(4);
    let before = desk.snapshot();
    run(&mut resync(&desk, &key)).exits(2);
    let mut terminal = Terminal::spawn(resync(&desk, &key));
    terminal.wait_for("Touch the YubiKey ", SOON);
    terminal.type_line(&SoftYubiKey::numbered(9).press());
    assert_eq!(terminal.finish(SOON).0, Some(1));
    desk.ykmap(&["token", "resync", "vvcd"]).exits(2);
    assert_eq!(desk.snapshot(), before);
}

/// A position is lost. The log's advice lets nobody in by a used OTP.
#[test]
fn a_lost_position_is_adopted_by_two_touches() {
    let mut key = SoftYubiKey::numbered(5).with_real_clock();
    let desk = Desk::with(&[&key]);
    let used = key.press();
    verify(&desk, &used, 0);
    fs::remove_file(desk.position_file(&key)).unwrap();
    verify(&desk, &key.press(), 2).has("position-missing").notes(" key adopt vv");
    let id = key.public_id();
    let before = desk.snapshot();
    desk.ykmap(&["key", "adopt", &id]).exits(2);
    assert_eq!(desk.snapshot(), before);

    let mut command = desk.command();
    command.args(["key", "adopt", &id]);
    let first = key.press();
    let (code, shown) = touched(command, &first, || key.press());
    assert_eq!(code, Some(0), "{shown}");
    verify(&desk, &used, 1);
    verify(&desk, &first, 1);
    verify(&desk, &key.press(), 0);
}

/// Removed and imported again, a key whose position was lost is not new.
#[test]
fn a_lost_position_is_not_forgotten_by_removing_the_key() {
    let mut key = SoftYubiKey::numbered(6);
    let desk = Desk::with(&[&key]);
    let used = key.press();
    verify(&desk, &used, 0);
    fs::remove_file(desk.position_file(&key)).unwrap();
    desk.ykmap(&["key", "remove", &key.public_id()]).exits(0);
    desk.import(&[&key]).exits(0);
    verify(&desk, &used, 1);
    verify(&desk, &key.press(), 1).says(" token resync vv");
}

/// A host without the key, which asks a server.
fn online(n: u32) -> (Place, SoftYubiKey, Server) {
    let (place, key) = (Place::new(), SoftYubiKey::numbered(n).with_real_clock());
    place.list("alice", &key);
    let server = Server::start(&[&key]);
    place.online_without_key("online", &[server.url()], "");
    (place, key, server)
}

fn code(login: &Login) -> String {
    login.code("authenticate").to_owned()
}

#[test]
fn a_server_that_names_a_false_position() {
    let (place, mut key, server) = online(7);
    let login = |key: &mut SoftYubiKey| place.login("otp", "alice", &[key.press()]);
    // Beyond what one answer may change: nobody is let in, and nothing is stored.
    server.will(|x: &Exchange| x.signed(&x.but("sessioncounter", "32767")));
    let refused = login(&mut key);
    assert_eq!(code(&refused), "PAM_AUTHINFO_UNAVAIL", "{:?}", refused.log);
    server.will_be_honest();
    assert_eq!(code(&login(&mut key)), "PAM_SUCCESS");
    server.will(|x: &Exchange| x.signed(&x.but("sessioncounter", "32767")));
    assert_eq!(code(&login(&mut key)), "PAM_AUTHINFO_UNAVAIL");
    // Not beyond it.
    server.will(|x: &Exchange| x.signed(&x.but("sessioncounter", "3000")));
    assert_eq!(code(&login(&mut key)), "PAM_SUCCESS");
    server.will_be_honest();
    let refused = login(&mut key);
    assert_eq!(code(&refused), "PAM_AUTH_ERR");
    let line = refused.decisions().concat();
    assert!(line.contains(&format!(" token resync {}", key.public_id())), "{line}");

    let id = key.public_id();
    let resync = || {
        let mut command = Command::new(built::program("ykmap"));
        command.arg("--config").arg(place.config()).args(["token", "resync", &id]);
        command
    };
    // A server that does not report the YubiKey's clock proves nothing.
    server.will(|x: &Exchange| x.signed(&x.without(&["timestamp"])));
    let mut terminal = Terminal::spawn(resync());
    terminal.wait_for("Touch the YubiKey ", SOON);
    terminal.type_line(&key.press());
    assert_eq!(terminal.finish(SOON).0, Some(2));
    // Nor does one that does not know it; the log of a login says the same.
    server.will(|x: &Exchange| x.signed(&x.but("status", "BAD_OTP")));
    let mut terminal = Terminal::spawn(resync());
    terminal.wait_for("Touch the YubiKey ", SOON);
    terminal.type_line(&key.press());
    let (refused, shown) = terminal.finish(SOON);
    assert_eq!(refused, Some(1));
    assert!(shown.contains("does not know the token"), "{shown}");
    server.will_be_honest();

    let first = key.press();
    let (done, shown) = touched(resync(), &first, || key.press());
    assert_eq!(done, Some(0), "{shown}");
    let shown = place.ykmap(&["key", "show", &id]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains(", as two touches showed"), "{shown:?}");
    assert_eq!(code(&place.login("otp", "alice", &[&first])), "PAM_AUTH_ERR");
    assert_eq!(code(&place.login("otp", "alice", &[key.press()])), "PAM_SUCCESS");
}
