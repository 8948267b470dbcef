//! The table: what is found, and what is to do.

use super::super::found::FoundToken;
use super::*;
use yubiotp::diagnostic::{Code, Diagnostic};

fn service(name: &'static str, asks: Asks) -> FoundService {
    FoundService { name, files: vec![name], asks, undone_at: None }
}

/// A host with a store, sshd and sudo, and nobody with a token.
fn host() -> Found {
    Found {
        user: "alice".to_owned(),
        takes_yubikeys: true,
        takes_apps: true,
        takes_recovery: true,
        services: vec![service("sudo", Asks::No), service("ssh", Asks::No)],
        ..Found::default()
    }
}

fn token(is_usable: bool, is_proved: bool) -> FoundToken {
    FoundToken { id: "vvcb".to_owned(), state: "enabled".to_owned(), is_usable, is_proved, fix: None }
}

/// The status of each step, by its first letter, and the commands of the first that is to do.
fn come_to(found: &Found) -> (String, Vec<String>) {
    let steps = plan(found);
    let letters = steps.iter().map(|step| match step.status {
        Status::Done => 'd',
        Status::ToDo => 't',
        Status::Later => 'l',
        Status::Unused => 'u',
    });
    let next = steps.iter().find(|step| step.status == Status::ToDo);
    (
        letters.collect(),
        next.map(|step| step.commands.iter().map(|words| text(words)).collect()).unwrap_or_default(),
    )
}

#[track_caller]
fn assert_plan(found: &Found, letters: &str, commands: &[&str]) {
    let commands: Vec<_> = commands.iter().map(|command| (*command).to_owned()).collect();
    assert_eq!(come_to(found), (letters.to_owned(), commands), "{found:#?}");
    assert_eq!(is_done(&plan(found)), !letters.contains(['t', 'l']));
}

#[test]
fn every_step_is_done_when_the_host_shows_it() {
    let unusable = Some(Diagnostic::error(Code::FileMissing, "does not exist"));
    let with = |change: &dyn Fn(&mut Found)| {
        let mut found = host();
        change(&mut found);
        found
    };
    assert_plan(&with(&|it| it.unusable.clone_from(&unusable)), "tlllll", &["init"]);
    assert_plan(&host(), "dtllll", &["key new", "add alice"]);
    assert_plan(&with(&|it| it.unowned = 1), "dtllll", &["add alice"]);
    assert_plan(&with(&|it| it.asks_servers = true), "dtllll", &["add alice"]);
    assert_plan(&with(&|it| it.takes_yubikeys = false), "dtllll", &["totp add alice"]);
    assert_plan(&with(&|it| it.tokens = vec![token(false, true)]), "dtllll", &["key new", "add alice"]);
    let fix = Some(words(["key", "enable", "vvcb"]));
    let disabled = FoundToken { fix, ..token(false, true) };
    assert_plan(&with(&|it| it.tokens = vec![disabled.clone()]), "dtllll", &["key enable vvcb"]);
    assert_plan(&with(&|it| it.tokens = vec![token(true, false)]), "ddtlll", &["verify alice"]);
    let mut proved = with(&|it| it.tokens = vec![token(true, true)]);
    // A way back is good to have, and services may be enabled without one.
    assert_plan(&proved, "dddttl", &["recovery new alice"]);
    proved.takes_recovery = false;
    assert_plan(&proved, "dddttl", &["add alice"]);
    proved.tokens.push(token(true, false));
    assert_plan(&proved, "ddddtl", &["enable sudo"]);
    proved.tokens.pop();
    proved.codes_left = 1;
    assert_plan(&proved, "ddddtl", &["enable sudo"]);
    proved.services[0].asks = Asks::Yes;
    assert_plan(&proved, "dddddd", &[]);
    proved.services[0].undone_at = Some("14:32".to_owned());
    assert_plan(&proved, "dddddt", &["enable --keep sudo"]);
    proved.codes_left = 0;
    assert_plan(&proved, "dddtdt", &["add alice"]);
}

#[test]
fn a_service_of_another_name_that_asks_is_enough() {
    let mut found = Found { tokens: vec![token(true, true)], codes_left: 9, ..host() };
    found.others_asking = vec!["gdm-password".to_owned()];
    assert_plan(&found, "dddddd", &[]);
    found.others_asking.clear();
    found.services.clear();
    assert_plan(&found, "dddduu", &[]);
}

#[test]
fn a_name_is_one_word_of_the_shell() {
    let found = Found { user: "al ice".to_owned(), tokens: vec![token(true, false)], ..host() };
    assert_plan(&found, "ddtlll", &["verify 'al ice'"]);
}
