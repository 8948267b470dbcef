//! Series: tokens that were imported together, and are listed and removed together.

use super::{Token, import, json};
use crate::desk::Desk;
use std::fmt::Write as _;

#[test]
fn a_series_is_listed_and_removed() {
    let desk = Desk::new();
    for (series, numbers) in [("spring-2026", 1..=3_u8), ("autumn_2026", 4..=5)] {
        let mut text = String::new();
        for n in numbers {
            writeln!(text, "{},{}", 1000 + u32::from(n), Token::numbered(n).secret).unwrap();
        }
        import(&desk, &text, &["--series", series]).exits(0);
    }
    import(&desk, &format!("2000,{}\n", Token::numbered(9).secret), &[]).exits(0);
    desk.ykmap(&["token", "assign", "1002", "alice"]).exits(0);
    desk.ykmap(&["token", "assign", "1004", "alice"]).exits(0);
    let listed = json(&desk.ykmap(&["--json", "series", "list"]).exits(0));
    assert_eq!(
        listed,
        serde_json::json!([
            { "series": "autumn_2026", "tokens": 2, "assigned": 1, "claims": false },
            { "series": "spring-2026", "tokens": 3, "assigned": 1, "claims": false },
        ])
    );
    claims(&desk);
    let free =
        json(&desk.ykmap(&["--json", "token", "list", "--series", "spring-2026", "--unassigned"]).exits(0));
    assert_eq!(free.as_array().unwrap().len(), 2);
    desk.ykmap(&["series", "remove", "--yes", "spring-2026"]).exits(0);
    assert!(desk.mapping().ends_with("alice:oath-1004\n"), "{}", desk.mapping());
    let claims = std::fs::read_to_string(desk.file("claims")).unwrap();
    assert!(!claims.contains("spring"), "{claims}");
    let said = desk.ykmap(&["series", "remove", "--yes", "spring-2026"]).exits(2);
    assert!(said.err.contains("[series-missing]"), "{said:?}");
    desk.ykmap(&["token", "remove", "--yes", "--series", "autumn_2026"]).exits(0);
    let left = json(&desk.ykmap(&["--json", "token", "list"]).exits(0));
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert_eq!(left[0]["id"], "oath-2000");
    // Neither, or both.
    desk.ykmap(&["token", "remove"]).exits(2);
    desk.ykmap(&["token", "remove", "--series", "x", "2000"]).exits(2);
}

/// Users may take tokens of a series only if the administrator says so, and not of another one that has its name later.
fn claims(desk: &Desk) {
    let claims = || {
        let listed = json(&desk.ykmap(&["--json", "series", "list"]).exits(0));
        let one = |series: &serde_json::Value| series["claims"].as_bool().unwrap();
        listed.as_array().unwrap().iter().map(one).collect::<Vec<_>>()
    };
    let said = desk.ykmap(&["series", "allow-claims", "summer"]).exits(2);
    assert!(said.err.contains("[series-missing]"), "{said:?}");
    for (verb, name, changed, listed) in [
        ("allow-claims", "spring-2026", true, [false, true]),
        ("allow-claims", "spring-2026", false, [false, true]),
        ("allow-claims", "autumn_2026", true, [true, true]),
        ("forbid-claims", "autumn_2026", true, [false, true]),
        ("forbid-claims", "summer", false, [false, true]),
    ] {
        let said = json(&desk.ykmap(&["--json", "series", verb, name]).exits(0));
        assert_eq!((said["changed"].as_bool(), claims()), (Some(changed), listed.to_vec()), "{verb} {name}");
    }
}

/// Nothing goes without a yes.
#[test]
fn removing_asks() {
    let token = Token::numbered(1);
    let desk = super::desk(&[&token]);
    desk.ykmap(&["token", "assign", "1001", "alice"]).exits(0);
    let before = desk.snapshot();
    let said = desk.ykmap(&["token", "remove", "1001"]).exits(2);
    assert!(said.err.contains("[no-terminal]") && said.err.contains("--yes"), "{said:?}");
    assert_eq!(desk.snapshot(), before);
    for (answer, code) in [("no", Some(1)), ("yes", Some(0))] {
        let mut command = desk.command();
        command.args(["token", "remove", "1001"]);
        let mut terminal = tests::terminal::Terminal::spawn(command);
        terminal.wait_for("taken from alice", super::SOON);
        terminal.wait_for("Type yes to remove 1 token: ", super::SOON);
        terminal.type_line(answer);
        assert_eq!(terminal.finish(super::SOON).0, code, "{answer}");
    }
    assert!(!desk.file("keys").join("oath-1001").exists());
}
