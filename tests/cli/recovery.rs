//! Recovery codes: made, shown once, used once each, replaced; and a user who loses every factor.

use crate::desk::{Desk, hidden};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::soft_yubikey::SoftYubiKey;
use tests::terminal::Terminal;

const SOON: Duration = Duration::from_secs(30);

fn desk() -> (Desk, SoftYubiKey) {
    let key = SoftYubiKey::numbered(1);
    (Desk::with(&[&key]), key)
}

/// The recovery codes in what was printed.
pub(crate) fn codes_in(text: &str) -> Vec<String> {
    let is_code = |word: &&str| word.len() == 14 && word.match_indices('-').map(|(at, _)| at).eq([1, 6, 11]);
    text.split_whitespace().filter(is_code).map(str::to_owned).collect()
}

fn new(desk: &Desk, user: &str) -> Vec<String> {
    codes_in(&desk.ykmap(&["recovery", "new", user]).exits(0).out)
}

/// The recovery codes whose files are in the store.
fn stored(desk: &Desk) -> BTreeSet<String> {
    let names = fs::read_dir(desk.file("keys")).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).filter(|name| name.starts_with("rec-")).collect()
}

/// The sets in the mapping's line of alice.
fn listed(desk: &Desk) -> Vec<String> {
    let mapping = desk.mapping();
    let line = mapping.lines().find(|line| line.starts_with("alice:")).unwrap();
    line.split(':').filter(|field| field.starts_with("rec-")).map(str::to_owned).collect()
}

#[test]
fn each_code_lets_in_once() {
    let (desk, mut key) = desk();
    let codes = new(&desk, "alice");
    assert_eq!(codes.len(), 4);
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), 4);
    let first = |at: usize| codes[at].chars().next().unwrap();
    assert_eq!((first(0), first(3)), ('1', '4'));
    for (at, typed) in [
        (2, codes[2].clone()),
        (0, codes[0].to_lowercase().replace('-', " ")),
        (3, format!("password{}", codes[3])),
    ] {
        let said = desk.verify("alice", &typed).exits(0);
        said.says(&format!("recovery code {}, ", at + 1));
        desk.verify("alice", &typed).exits(1).says("[recovery-code-used]");
        desk.verify("alice", &codes[at]).exits(1).says("[recovery-code-used]");
    }
    desk.verify("bob", &codes[1]).exits(1).says("[user-not-listed]");
    // The YubiKey works as before.
    desk.verify("alice", &key.press()).exits(0);
    desk.verify("alice", &codes[1]).exits(0).says("recovery code 2, 0 left");
}

#[test]
fn status_and_list_say_how_many_are_left() {
    let (desk, _) = desk();
    desk.ykmap(&["recovery", "status"]).exits(0).notes("recovery new USER");
    desk.ykmap(&["recovery", "status", "alice"]).exits(0).notes("recovery new alice");
    let codes = new(&desk, "alice");
    let json = |words: &[&str]| desk.ykmap(words).exits(0).json();
    let set = listed(&desk)[0].clone();
    for (at, left) in [(3, 3), (0, 2), (1, 1)] {
        desk.verify("alice", &codes[at]).exits(0);
        let status = json(&["--json", "recovery", "status", "alice"]);
        assert_eq!(status["sets"][0]["left"], left);
        assert_eq!(status["sets"][0]["set"], set.as_str());
        let listed = json(&["--json", "list", "alice"]);
        assert_eq!(listed[0]["tokens"][1]["state"], format!("{left} left"));
    }
    let status = json(&["--json", "recovery", "status"]);
    assert_eq!(status[0]["user"], "alice");
    assert_eq!(status[0]["used"], serde_json::json!([1, 2, 4]));
    let table = desk.ykmap(&["recovery", "status"]).exits(0).out;
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["alice", &set, "1", "1,", "2,", "4"]);
    desk.ykmap(&["check"]).exits(1).says("[recovery-codes-few]");
}

#[test]
fn new_codes_end_the_old_ones() {
    let (desk, mut key) = desk();
    let old = new(&desk, "alice");
    desk.verify("alice", &old[0]).exits(0);
    let before = stored(&desk);
    let said = desk.ykmap(&["--json", "recovery", "new", "alice", "--count", "9"]).exits(0).json();
    assert_eq!(said["codes"].as_array().unwrap().len(), 9);
    assert_eq!(said["ended"], serde_json::json!([before.first().unwrap().trim_end_matches("-1")]));
    assert_eq!(listed(&desk), [said["set"].as_str().unwrap()]);
    assert_eq!(stored(&desk).len(), 9);
    assert!(stored(&desk).is_disjoint(&before), "old codes are in the store");
    assert_eq!(hidden(&desk.file("keys")), Vec::<String>::new());
    for code in &old {
        desk.verify("alice", code).exits(1).says("[recovery-code-wrong]");
    }
    desk.verify("alice", said["codes"][8].as_str().unwrap()).exits(0).says("recovery code 9, 8 left");
    desk.verify("alice", &key.press()).exits(0);
    desk.ykmap(&["check"]).exits(0).says("0 errors, 0 warnings").says("[upgrade-hosts-first]");
    desk.ykmap(&["remove", "alice", &listed(&desk)[0]]).exits(0);
    assert!(!desk.ykmap(&["check"]).exits(0).out.contains("upgrade-hosts-first"));
}

/// Files of the store say nothing that helps to guess a code.
#[test]
fn the_codes_are_nowhere() {
    let (desk, _) = desk();
    let codes = new(&desk, "alice");
    for (path, (mode, _, contents)) in desk.snapshot() {
        let text = String::from_utf8_lossy(&contents).to_uppercase();
        for code in &codes {
            let letters = code[2..].replace('-', "");
            assert!(!text.contains(&letters) && !text.contains(&code[2..]), "{}", path.display());
        }
        if path.starts_with(desk.file("keys")) && !contents.is_empty() {
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
    }
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let (desk, _) = desk();
    desk.map(format!("{}bad line\nCarol:vvcb\n", desk.mapping()));
    let before = desk.snapshot();
    for verb in [&["recovery", "new"][..], &["unlock"], &["reset", "--yes"]] {
        let of = |user: &str| desk.ykmap(&[verb, &[user]].concat());
        // The line with the mistake may be his.
        of("bob").exits(2).has("mapping-line-invalid");
        of("bad line").exits(2).has("mapping-line-invalid");
        of("a:b").exits(2).has("user-name-invalid");
        of("").exits(2);
    }
    for count in ["0", "10", "x", "-1"] {
        desk.ykmap(&["recovery", "new", "alice", "--count", count]).exits(2);
    }
    assert_eq!(desk.snapshot(), before);
    desk.map(desk.mapping().replace("bad line\n", ""));
    for verb in [&["recovery", "new"][..], &["unlock"], &["reset", "--yes"]] {
        desk.ykmap(&[verb, &["bob"]].concat()).exits(2).has("user-not-listed");
    }
}

/// Codes that nobody has seen let nobody in.
#[test]
fn codes_that_cannot_be_shown_are_not_made() {
    let (desk, _) = desk();
    let old = new(&desk, "alice");
    let (mapping, before) = (desk.mapping(), stored(&desk));
    for to in ["/dev/full", "|true"] {
        for json in [false, true] {
            let mut command = desk.command();
            command.args(json.then_some("--json")).args(["recovery", "new", "alice"]).stderr(Stdio::piped());
            let mut reader = None;
            if to == "/dev/full" {
                command.stdout(fs::OpenOptions::new().write(true).open(to).unwrap());
            } else {
                let mut child = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
                let pipe = child.stdin.take().unwrap();
                child.wait().unwrap();
                command.stdout(Stdio::from(pipe));
                reader = Some(child);
            }
            let output = command.output().unwrap();
            drop(reader);
            assert_eq!(output.status.code(), Some(2), "{to}: {output:?}");
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(json || said.contains("[output-failed]"), "{to}: {said}");
            assert_eq!((desk.mapping(), stored(&desk)), (mapping.clone(), before.clone()), "{to}");
        }
    }
    desk.verify("alice", &old[1]).exits(0);
}

/// Where a change was cut off, nobody gets in by what is left, `check` names it, and the next change removes it.
#[test]
fn what_was_cut_off_is_named_and_finished() {
    let (desk, _) = desk();
    let codes = new(&desk, "alice");
    let set = listed(&desk)[0].clone();
    // As if the command had been killed after the mapping, before the store.
    desk.ykmap(&["remove", "alice", &set]).exits(0);
    fs::write(
        desk.file("keys/.unfinished"),
        format!("# pam_yubiotp change, version 1. Made by ykmap, do not edit.\nuser: alice\ntoken: {set}\n"),
    )
    .unwrap();
    tests::said::chmod(&desk.file("keys/.unfinished"), 0o600);
    desk.verify("alice", &codes[0]).exits(1);
    desk.ykmap(&["check"]).exits(0).says("[change-unfinished]").says("recovery new alice");
    let doctor = desk.ykmap(&["doctor", "--no-servers", "--pam-dir", &desk.empty_pam_dir()]);
    assert!(doctor.out.contains("[change-unfinished]"), "{doctor:?}");
    new(&desk, "alice");
    assert_eq!(stored(&desk).len(), 4);
    assert!(stored(&desk).iter().all(|name| !name.starts_with(&set)));
    desk.ykmap(&["check"]).exits(0).says("0 errors, 0 warnings");

    // What somebody still has stays, whoever wrote the line.
    let set = listed(&desk)[0].clone();
    fs::write(
        desk.file("keys/.unfinished"),
        format!("# pam_yubiotp change, version 1. Made by ykmap, do not edit.\nuser: bob\ntoken: {set}\n"),
    )
    .unwrap();
    tests::said::chmod(&desk.file("keys/.unfinished"), 0o600);
    desk.map(format!("{}bob:\n", desk.mapping()));
    new(&desk, "bob");
    assert_eq!(stored(&desk).len(), 8);
}

#[test]
fn a_reset_takes_every_factor() {
    let (desk, mut key) = desk();
    let codes = new(&desk, "alice");
    desk.ykmap(&["reset", "alice"]).exits(2).has("no-terminal");
    desk.verify("alice", &key.press()).exits(0);
    let said = desk.ykmap(&["reset", "--yes", "alice"]).exits(0);
    assert!(desk.mapping().ends_with("\nalice:\n"), "{}", desk.mapping());
    assert!(codes_in(&said.out).is_empty());
    assert!(stored(&desk).is_empty());
    assert!(desk.key_file(&key).exists(), "the key of a YubiKey stays");
    desk.verify("alice", &key.press()).exits(1).says("[user-without-token]");
    desk.verify("alice", &codes[0]).exits(1);
    // And comes back to where it was.
    desk.ykmap(&["add", "alice", &key.press()]).exits(0);
    desk.ykmap(&["check"]).exits(0).says("0 errors, 0 warnings");
}

/// A lost key: a code that lets in once, and a new key.
#[test]
fn a_temporary_code_lets_in_once() {
    let (desk, mut lost) = desk();
    new(&desk, "alice");
    let said = desk.ykmap(&["reset", "--yes", "--temporary-code", "alice"]).exits(0);
    let codes = codes_in(&said.out);
    assert_eq!((codes.len(), stored(&desk).len(), listed(&desk).len()), (1, 1, 1));
    desk.verify("alice", &lost.press()).exits(1);
    desk.verify("alice", &codes[0]).exits(0).says("recovery code 1, 0 left");
    desk.verify("alice", &codes[0]).exits(1).says("[recovery-code-used]");
    let mut fresh = SoftYubiKey::numbered(2);
    desk.import(&[&fresh]).exits(0);
    desk.ykmap(&["add", "alice", &fresh.press()]).exits(0);
    new(&desk, "alice");
    desk.verify("alice", &fresh.press()).exits(0);
    desk.verify("alice", &lost.press()).exits(1).says("[other-users-token]");
    let said = desk.ykmap(&["--json", "reset", "--yes", "--temporary-code", "alice"]).exits(0).json();
    assert_eq!(said["unassigned"].as_array().unwrap().len(), 2);
    assert_eq!(said["codes"].as_array().unwrap().len(), 1);
}

#[test]
fn a_reset_asks_at_a_terminal() {
    let (desk, mut key) = desk();
    for (answer, code) in [("no", Some(1)), ("", Some(1)), ("yes", Some(0))] {
        desk.verify("alice", &key.press()).exits(0);
        let mut command = desk.command();
        command.args(["reset", "alice"]);
        let mut terminal = Terminal::spawn(command);
        terminal.wait_for("Type yes to reset alice: ", SOON);
        terminal.type_line(answer);
        assert_eq!(terminal.finish(SOON).0, code, "{answer}");
    }
    desk.verify("alice", &key.press()).exits(1);
}

/// Codes are decided here, so a host whose servers decide about everything refuses them, and says so beforehand.
#[test]
fn a_mode_that_refuses_codes_is_named() {
    let (desk, _) = desk();
    let config = desk.file("config.toml");
    let text = fs::read_to_string(&config).unwrap().replace("\"offline\"", "\"online\"");
    let online = "\n[online]\nurls = [\"https://127.0.0.1:9\"]\nclient_id = 1\n";
    fs::write(&config, format!("{text}{online}")).unwrap();
    let said = desk.ykmap(&["recovery", "new", "alice"]).exits(0);
    let codes = codes_in(&said.out);
    said.has("codes-not-here");
    desk.verify("alice", &codes[0]).exits(1).says("[codes-not-here]");
    fs::write(&config, format!("{text}{online}[codes]\nlocal = true\n")).unwrap();
    desk.verify("alice", &codes[0]).exits(0);
    assert!(!desk.ykmap(&["recovery", "new", "alice"]).exits(0).err.contains("codes-not-here"));
}

/// Codes that nobody has any more leave the store, however they are taken away.
#[test]
fn removed_codes_leave_the_store() {
    let (desk, _) = desk();
    for words in [&["remove", "alice"][..], &["token", "remove", "--yes"]] {
        let codes = new(&desk, "alice");
        let set = listed(&desk).remove(0);
        assert_eq!(stored(&desk).len(), codes.len());
        desk.ykmap(&[words, &[&set]].concat()).exits(0);
        assert!(stored(&desk).is_empty() && listed(&desk).is_empty(), "{words:?}");
        assert!(!desk.file("keys/.unfinished").exists());
        desk.verify("alice", &codes[0]).exits(1);
        desk.ykmap(&["token", "remove", "--yes", &set]).exits(2);
    }
    new(&desk, "alice");
    desk.ykmap(&["remove", "alice"]).exits(0);
    assert!(stored(&desk).is_empty(), "and with their user");
}

/// A secret that was not shown is not stored.
#[test]
fn an_app_is_set_up_only_if_its_secret_was_shown() {
    let (desk, _) = desk();
    let before = desk.snapshot();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = desk.command();
    command.args(["--json", "totp", "add", "--unchecked", "kurt"]).stdout(full).stderr(Stdio::piped());
    let said = command.output().unwrap();
    let text = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(2), "{text}");
    assert!(text.contains("[output-failed]") && text.contains("nothing was changed"), "{text}");
    assert_eq!(desk.snapshot(), before);
}

/// Whoever was seen to by the administrator has all tries.
#[test]
fn a_reset_gives_back_all_tries() {
    let (desk, _) = desk();
    desk.ykmap(&["--json", "totp", "add", "--unchecked", "alice"]).exits(0);
    let tries = || desk.ykmap(&["--json", "list", "alice"]).exits(0).json()[0]["tries_left"].as_u64();
    desk.verify("alice", "000000").exits(1);
    assert_eq!(tries(), Some(9));
    desk.ykmap(&["reset", "--yes", "alice"]).exits(0);
    desk.ykmap(&["--json", "totp", "add", "--unchecked", "alice"]).exits(0);
    assert_eq!(tries(), Some(10));
}

/// Where each user has a folder, nobody can list owners.
#[test]
fn owners_that_cannot_be_listed_are_not_nobody() {
    let (desk, _) = desk();
    fs::create_dir_all(desk.beside("m/alice")).unwrap();
    let config = desk.file("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let rest: Vec<_> = text.lines().filter(|line| !line.starts_with("mapping")).collect();
    let mapping = format!("mapping = \"{}/%u/tok\"\n{}", desk.beside("m").display(), rest.join("\n"));
    fs::write(config, mapping).unwrap();
    desk.ykmap(&["--json", "totp", "add", "--unchecked", "alice"]).exits(0);
    let listed = desk.ykmap(&["--json", "token", "list"]).exits(0).json();
    assert!(listed.as_array().unwrap().iter().all(|token| token["owners"].is_null()), "{listed}");
    let said = desk.ykmap(&["token", "list"]).exits(0);
    assert!(!said.out.contains("nobody") && said.err.contains("folder of their own"), "{said:?}");
    desk.ykmap(&["token", "list", "--unassigned"]).exits(2);
}
