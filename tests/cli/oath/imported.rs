//! `token import`: all or nothing, and no code that was used becomes valid.

use super::{SOON, Token, desk, import, json, now, progress, verified};
use crate::desk::{Desk, chmod, run};
use std::fs;
use std::process::Command;
use tests::terminal::Terminal;

fn zipped(desk: &Desk, text: &str, password: &str) -> String {
    let csv = desk.write_beside("seeds.csv", text.as_bytes());
    let path = desk.beside("seeds.zip");
    let mut zip = Command::new("zip");
    zip.args(["--quiet", "--junk-paths", "--password", password]).arg(&path).arg(csv);
    assert!(zip.status().unwrap().success());
    chmod(&path, 0o600);
    path.to_str().unwrap().to_owned()
}

#[test]
fn all_or_nothing_with_a_message_for_each_bad_line() {
    let desk = Desk::new();
    let before = desk.snapshot();
    let [a, b] = [1, 2].map(|n| Token::numbered(n).secret);
    let said = import(&desk, &format!("1001,{a}\n1002,xyz\n1003,{b}\n,{b}\n"), &[]).exits(2);
    assert!(said.err.contains("tokens.csv:2: ") && said.err.contains("tokens.csv:4: "), "{said:?}");
    assert!(said.err.contains("[nothing-imported]") && !said.err.contains(&a) && !said.err.contains("xyz"));
    assert_eq!(desk.snapshot(), before);
    let dry = import(&desk, &format!("1001,{a}\n1002,{b}\n"), &["--dry-run"]).exits(0);
    assert!(dry.out.starts_with("would import 2 tokens"), "{dry:?}");
    assert_eq!(desk.snapshot(), before);
    import(&desk, &format!("1001,{a}\n1002,{b}\n"), &[]).exits(0);
    let again = import(&desk, &format!("1001,{a}\n1002,{b}\n"), &[]).exits(0);
    assert!(
        again.out.starts_with("imported 0 tokens") && again.out.contains("2 tokens in the store already")
    );
}

#[test]
fn a_secret_in_the_store_comes_under_no_other_serial_number() {
    let token = Token::numbered(1);
    let desk = desk(&[&token]);
    let before = desk.snapshot();
    for (line, code) in [
        (format!("1002,{}\n", token.secret), "secret-of-other-token"),
        (format!("1001,{}\n", Token::numbered(2).secret), "token-has-other-key"),
        (format!("3001,{0}\n3002,{0}\n", Token::numbered(3).secret), "token-file-conflict"),
    ] {
        let said = import(&desk, &line, &[]).exits(2);
        assert!(said.err.contains(&format!("[{code}]")), "{code}: {said:?}");
    }
    let digits = import(&desk, &format!("1001,{}\n", token.secret), &["--digits", "8"]).exits(2);
    assert!(digits.err.contains("[token-has-other-key]"), "{digits:?}");
    assert_eq!(desk.snapshot(), before);
    // Removed is not forgotten.
    desk.ykmap(&["token", "remove", "--yes", "1001"]).exits(0);
    let said = import(&desk, &format!("1002,{}\n", token.secret), &[]).exits(2);
    assert!(said.err.contains("[secret-of-other-token]"), "{said:?}");
}

#[test]
fn the_password_comes_from_a_file_a_descriptor_or_the_terminal() {
    let token = Token::numbered(1);
    let desk = Desk::new();
    let path = zipped(&desk, &format!("1001,{}\n", token.secret), "pass word");
    let needed = desk.ykmap(&["token", "import", "--secret", "hex", &path]).exits(2);
    assert!(needed.err.contains("[token-file-password-needed]"), "{needed:?}");
    let file = desk.write_beside("password", b"pass word\n");
    chmod(&file, 0o600);
    let wrong = desk.write_beside("wrong", b"password\n");
    chmod(&wrong, 0o644);
    let said = desk
        .ykmap(&["token", "import", "--secret", "hex", "--password-file", wrong.to_str().unwrap(), &path])
        .exits(2);
    assert!(said.err.contains("[token-file-password-wrong]"), "{said:?}");
    assert!(said.err.contains("wrong: holds a password"), "{said:?}");
    let dry = ["token", "import", "--dry-run", "--secret", "hex"];
    let said =
        run(desk.command().args(dry).args(["--password-file", file.to_str().unwrap(), &path])).exits(0);
    assert!(said.out.starts_with("would import 1 token"), "{said:?}");
    let mut script = Command::new("sh");
    script.args(["-c", "exec \"$@\" 3<\"$0\""]).arg(&file);
    script.arg(desk.command().get_program()).args(desk.command().get_args());
    let said = run(script.args(dry).args(["--password-fd", "3", &path])).exits(0);
    assert!(said.out.starts_with("would import 1 token"), "{said:?}");

    let mut command = desk.command();
    command.args(["token", "import", "--secret", "hex", &path]);
    let mut terminal = Terminal::spawn(command);
    terminal.wait_for("Password of the zip (seeds.csv): ", SOON);
    // With a mistake, taken back.
    terminal.type_line("pass worx\x7fd");
    let (code, transcript) = terminal.finish(SOON);
    assert_eq!(code, Some(0), "{transcript}");
    assert!(!transcript.contains("pass"), "{transcript}");
    assert!(transcript.contains("imported 1 token"), "{transcript}");
}

#[test]
fn a_file_that_others_may_read_is_remarked_on() {
    let desk = Desk::new();
    let path = desk.write_beside("open.csv", format!("1001,{}\n", Token::numbered(1).secret).as_bytes());
    chmod(&path, 0o644);
    let said = desk.ykmap(&["token", "import", "--secret", "hex", path.to_str().unwrap()]).exits(0);
    assert!(said.err.contains("others may read it"), "{said:?}");
}

/// Nobody knows which codes were used: none is accepted that may be.
#[test]
fn used_tokens_and_a_store_that_was_lost() {
    let desk = Desk::new();
    fs::write(desk.file("lost"), "").unwrap();
    chmod(&desk.file("lost"), 0o600);
    let token = Token::numbered(1);
    let line = format!("1001,{}\n", token.secret);
    let said = import(&desk, &line, &[]).exits(2);
    assert!(said.err.contains("[store-lost]") && said.err.contains("token import --used FILE"), "{said:?}");
    import(&desk, &line, &["--used"]).exits(0);
    let (next, _) = progress(&desk, "oath-1001");
    assert!(next.unwrap() * 30 > now() + 600, "{next:?}");
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    for ahead in -2..=2 {
        assert_ne!(verified(&desk, "alice", &token.shows(ahead)), "accepted");
    }
    let other = Token::numbered(2);
    import(&desk, &format!("1002,{}\n", other.secret), &["--never-used"]).exits(0);
    desk.ykmap(&["token", "assign", "1002", "bob"]).exits(0);
    assert_eq!(verified(&desk, "bob", &other.shows(0)), "accepted");
}

#[test]
fn what_the_file_says_of_a_counter_counts() {
    let token = Token::hotp(1);
    let desk = Desk::new();
    let pskc = format!(
        "<KeyContainer Version=\"1.0\" xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\"><KeyPackage><DeviceInfo>\
         <SerialNo>77</SerialNo></DeviceInfo><Key Id=\"k\" Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:hotp\">\
         <AlgorithmParameters><ResponseFormat Length=\"6\" Encoding=\"DECIMAL\"/></AlgorithmParameters>\
         <Data><Secret><PlainValue>{}</PlainValue></Secret><Counter><PlainValue>40</PlainValue></Counter></Data>\
         </Key></KeyPackage></KeyContainer>",
        data_encoding::BASE64.encode(&data_encoding::HEXLOWER.decode(token.secret.as_bytes()).unwrap())
    );
    let path = desk.write_beside("pskc.xml", pskc.as_bytes());
    let said = json(&desk.ykmap(&["--json", "token", "import", path.to_str().unwrap()]).exits(0));
    assert_eq!(said["imported"], serde_json::json!(["oath-77"]));
    desk.ykmap(&["token", "assign", "77", "alice"]).exits(0);
    assert_eq!(progress(&desk, "oath-77").0, Some(40));
    assert_eq!(verified(&desk, "alice", &token.code(39)), "code-used");
    assert_eq!(verified(&desk, "alice", &token.code(40)), "accepted");
}

/// A counter that means that nobody knows is none; and a file that is newer than what is here raises the position.
#[test]
fn a_counter_only_grows_and_is_no_sentinel() {
    let token = Token::hotp(1);
    let desk = Desk::new();
    let pskc = |counter: u64| {
        format!(
            "<KeyContainer Version=\"1.0\" xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\"><KeyPackage><DeviceInfo>\
             <SerialNo>77</SerialNo></DeviceInfo><Key Id=\"k\" Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:hotp\">\
             <AlgorithmParameters><ResponseFormat Length=\"6\" Encoding=\"DECIMAL\"/></AlgorithmParameters>\
             <Data><Secret><PlainValue>{}</PlainValue></Secret><Counter><PlainValue>{counter}</PlainValue></Counter></Data>\
             </Key></KeyPackage></KeyContainer>",
            data_encoding::BASE64.encode(&data_encoding::HEXLOWER.decode(token.secret.as_bytes()).unwrap())
        )
    };
    let import = |counter: u64| {
        desk.ykmap_reading(&["token", "import", "--series", "box", "-"], pskc(counter).as_bytes())
    };
    import(u64::MAX).exits(2);
    for (counter, next) in [(40, 40), (60, 60), (50, 60)] {
        import(counter).exits(0);
        assert_eq!(progress(&desk, "oath-77").0, Some(next), "{counter}");
    }
}
