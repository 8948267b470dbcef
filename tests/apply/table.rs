//! Single differences, and what each of them makes of the host.

use crate::host::{Host, id, with_ids};
use std::fs;
use tests::soft_yubikey::SoftYubiKey;

/// The mapping before, a declaration, the lines that it prints, and the mapping after.
const CASES: &[(&str, &str, &[&str], &str)] = &[
    ("# ours\n", "", &[], "# ours\n"),
    ("# ours\n", "[users.alice]\ntokens = ['#0']", &["+ user alice: token #0"], "# ours\nalice:#0\n"),
    (
        "# ours\n alice : #0 \r\nbob:#1\n",
        "[users.alice]\ntokens = ['#2', '#0']",
        &["+ user alice: token #2"],
        "# ours\n alice : #0:#2 \r\nbob:#1\n",
    ),
    ("alice:#0:#1\n", "[users.alice]\ntokens = ['#1']", &["- user alice: token #0"], "alice:#1\n"),
    ("alice:#0:#1\n", "[users.alice]\ntokens = ['#1', '#0', '#1']", &[], "alice:#0:#1\n"),
    (
        "alice:#0\n",
        "[users.alice]\ntokens = ['#1']",
        &["- user alice: token #0", "+ user alice: token #1"],
        "alice:#1\n",
    ),
    ("alice:#0\n", "[users.alice]\ntokens = []", &["- user alice: token #0"], "alice:\n"),
    (
        "# ours\n",
        "[users.alice]\ntokens = []",
        &["+ user alice: listed, without a token"],
        "# ours\nalice:\n",
    ),
    ("alice:\n", "[users.alice]\ntokens = []", &[], "alice:\n"),
    (
        "# ours\nalice:#0\nalice:#1\nbob:#1\n",
        "[users.alice]\nstate = 'absent'",
        &["- user alice: token #0", "- user alice: token #1", "- user alice: listed"],
        "# ours\nbob:#1\n",
    ),
    ("bob:#1\n", "[users.alice]\nstate = 'absent'", &[], "bob:#1\n"),
    // Only named.
    ("alice:#0\n", "[users.alice]\n[users.bob]", &[], "alice:#0\n"),
    ("alice:#0\nbob:#1\n", "[users.alice]\ntokens = ['#0']", &[], "alice:#0\nbob:#1\n"),
    (
        "alice:#0\nbob:#1\ncarol:#2\n",
        "exclusive = true\n[users.alice]\ntokens = ['#0']\n[users.carol]",
        &["- user bob: token #1"],
        "alice:#0\nbob:\ncarol:#2\n",
    ),
    ("alice:#0\nbob:\n", "exclusive = true\n[users.alice]\ntokens = ['#0']", &[], "alice:#0\nbob:\n"),
    // Tokens may be shared, and move.
    (
        "alice:#0\nbob:#1\n",
        "[users.alice]\ntokens = ['#1']\n[users.bob]\ntokens = ['#0']",
        &["- user alice: token #0", "+ user alice: token #1", "- user bob: token #1", "+ user bob: token #0"],
        "alice:#1\nbob:#0\n",
    ),
];

#[test]
fn each_difference_is_a_line_and_apply_makes_it() {
    let host = Host::new(3);
    for (before, declared, lines, after) in CASES {
        host.map(before);
        let declared = format!("version = 1\n{declared}\n");
        let status = if lines.is_empty() { 0 } else { 3 };
        let said = host.check(&declared).exits(status);
        let expected: Vec<_> = lines.iter().map(|line| with_ids(line)).collect();
        let shown: Vec<_> = said.out.lines().filter(|line| line.starts_with(['+', '-', '~'])).collect();
        assert_eq!(shown, expected, "{declared}");
        assert_eq!(host.mapping(), with_ids(before), "--dry-run changed it: {declared}");
        host.apply(&declared).exits(0);
        assert_eq!(host.mapping(), with_ids(after), "{declared}");
        host.check(&declared).exits(0);
        host.apply(&declared).exits(0).says("as declared");
        assert_eq!(host.mapping(), with_ids(after), "{declared}");
    }
}

#[test]
fn json_says_the_same_and_is_read_as_well() {
    let host = Host::new(2);
    host.map("alice:#0\n");
    let text = host.declare(r##"{"version": 1, "users": {"alice": {"tokens": ["#1"]}}}"##);
    let expected = serde_json::json!({
        "changed": true,
        "changes": [
            { "change": "-", "kind": "unassign", "user": "alice", "token": id(0) },
            { "change": "+", "kind": "assign", "user": "alice", "token": id(1) },
        ],
        "problems": [],
        "warnings": [],
    });
    assert_eq!(host.json(&["apply", "--dry-run", &text], 3), expected);
    assert_eq!(host.json(&["apply", &text], 0), expected);
    let nothing = serde_json::json!({ "changed": false, "changes": [], "problems": [], "warnings": [] });
    assert_eq!(host.json(&["apply", &text], 0), nothing);
    assert_eq!(host.json(&["apply", "--dry-run", &text], 0), nothing);
    // By standard input.
    let text = fs::read(&text).unwrap();
    host.run_reading(&["apply", "--dry-run", "-"], &text).exits(0);
    host.run_reading(&["apply", "-"], b"version = 1\nexclusiv = true\n")
        .exits(2)
        .notes("standard input:2: ")
        .has("declaration-invalid");
}

/// A problem, by its code; nothing is changed, whatever else the file declares.
#[test]
fn problems_change_nothing() {
    let host = Host::new(2);
    host.map("alice:#0\nbob:#5\n");
    let before = host.snapshot();
    for (declared, code) in [
        ("[users.alice]\ntokens = ['#9']", "key-missing"),
        ("[users.alice]\ntokens = ['oath-1']", "key-missing"),
        ("[users.alice]\ntokens = ['rec-abc']", "key-missing"),
        ("[tokens.'#9']\nstate = 'disabled'", "token-not-here"),
        ("[tokens.'#9']\nstate = 'enabled'", "token-not-here"),
        ("[tokens.oath-1]\nstate = 'disabled'", "token-not-here"),
    ] {
        let declared = format!("version = 1\n[users.zoe]\ntokens = ['#1']\n{declared}\n");
        host.check(&declared).exits(1).has(code).says("nothing was changed");
        host.apply(&declared).exits(1).has(code).says("nothing was changed");
        let said = host.json(&["apply", &host.declare(&declared)], 1);
        assert_eq!((&said["changed"], &said["problems"][0]["code"]), (&false.into(), &code.into()));
        assert!(said["problems"][0]["location"]["line"].as_u64() > Some(2), "{said}");
        assert_eq!(said["warnings"], serde_json::json!([]), "of what will not be");
        assert_eq!(host.snapshot(), before, "{declared}");
    }
    // A token that a user has already is theirs, key or not: `check` reports it.
    host.check("version = 1\n[users.bob]\ntokens = ['#5']\n").exits(0).has("key-missing");
    // Where servers decide, no key is needed.
    let config = host.read("config.toml");
    host.write("config.toml", &config.replace("mode = \"offline\"", "mode = \"online\""));
    host.apply("version = 1\n[users.alice]\ntokens = ['#0', '#9']\n").exits(0);
    assert_eq!(host.mapping(), with_ids("alice:#0:#9\nbob:#5\n"));
    // Nobody saw the token here yet.
    host.apply("version = 1\n[tokens.'#9']\nstate = 'enabled'\n").exits(0).says("as declared");
    host.apply("version = 1\n[tokens.'#9']\nstate = 'disabled'\n").exits(0).says("1 change made");
    host.check("version = 1\n[tokens.'#9']\nstate = 'disabled'\n").exits(0);
}

#[test]
fn token_id_length_holds() {
    let host = Host::new(1);
    let config = host.read("config.toml");
    host.write("config.toml", &format!("token_id_length = 8\n{config}"));
    host.apply("version = 1\n[users.alice]\ntokens = ['#0']\n").exits(1).has("token-ruled-out");
}

#[test]
fn a_file_or_host_that_cannot_be_used_is_exit_status_2() {
    let host = Host::new(1);
    host.apply("version = 2\n").exits(2).has("declaration-invalid");
    host.run(&["apply", "/nowhere"]).exits(2).has("file-missing");
    host.apply("version = 1\n[users.'a:b']\ntokens = []\n").exits(2).has("user-name-invalid");
    // Whose the line is, nobody knows.
    host.map("alice:#0\nwhat is this\n");
    host.check("version = 1\n[users.alice]\ntokens = ['#0']\n").exits(0);
    host.check("version = 1\nexclusive = true\n").exits(2).has("mapping-line-invalid");
    host.map("alice:vvcx\n");
    host.check("version = 1\n[users.alice]\ntokens = ['#0']\n").exits(2).has("mapping-line-invalid");
    fs::rename(host.file("keys"), host.beside("keys")).unwrap();
    host.map("# ours\n");
    host.apply("version = 1\n[users.alice]\ntokens = ['#0']\n").exits(2).has("store-missing");
}

#[test]
fn exclusive_asks_before_it_empties_most() {
    let host = Host::new(4);
    let mapping = "alice:#0\nbob:#1\ncarol:#2\ndave:\n";
    let declared = "version = 1\nexclusive = true\n[users.alice]\ntokens = ['#0']\n";
    host.map(mapping);
    host.check(declared).exits(1).has("declaration-removes-many").notes("--yes-remove 3");
    let path = host.declare(declared);
    for wrong in ["0", "1", "2", "4"] {
        host.run(&["apply", "--yes-remove", wrong, &path]).exits(1).has("declaration-removes-many");
    }
    assert_eq!(host.mapping(), with_ids(mapping));
    host.run(&["apply", "--dry-run", "--yes-remove", "3", &path]).exits(3);
    // It stays right in a playbook, and for an apply that was cut off.
    for _ in 0..2 {
        host.run(&["apply", "--yes-remove", "3", &path]).exits(0);
        assert_eq!(host.mapping(), with_ids("alice:#0\nbob:\ncarol:\ndave:\n"));
    }
    host.check(declared).exits(0);
    // Half of them is not more than half.
    host.map("alice:#0\nbob:#1\n");
    host.check(declared).exits(3);
    host.run(&["apply", "--yes-remove", "1", &host.declare("version = 1\n")]).exits(1);
}

#[test]
fn a_used_otp_stays_used_and_a_disabled_token_is_rejected() {
    let host = Host::new(1);
    let mut key = SoftYubiKey::numbered(0);
    let of_alice = "version = 1\n[users.alice]\ntokens = ['#0']\n";
    host.apply(of_alice).exits(0);
    let (used, next) = (key.press(), key.press());
    host.run(&["verify", "alice", &used]).exits(0);
    for state in ["disabled", "enabled"] {
        host.apply(&format!("{of_alice}[tokens.'#0']\nstate = '{state}'\n")).exits(0).says("1 change made");
        assert_eq!(host.state(&id(0)), state);
        host.run(&["verify", "alice", &used]).exits(1);
        if state == "disabled" {
            host.run(&["verify", "alice", &next]).exits(1).says("disabled");
        }
    }
    host.apply("version = 1\n[users.alice]\nstate = 'absent'\n").exits(0);
    host.apply(of_alice).exits(0);
    host.run(&["verify", "alice", &used]).exits(1);
    host.run(&["verify", "alice", &next]).exits(0);
}

/// The mapping and `enrolled` before, whether it is adopted, and both after `alice` is declared with #0 and #1, exclusively.
#[test]
fn enrolled_is_changed_only_if_it_is_adopted() {
    let host = Host::new(6);
    for (mapping, enrolled, adopt, mapping_after, enrolled_after) in [
        ("", "alice:#2\nbob:#3\n", false, "alice:#0:#1\n", "alice:#2\nbob:#3\n"),
        ("", "alice:#2\nbob:#3\n", true, "alice:#0:#1\n", "alice:\nbob:\n"),
        ("alice:#0:#4\n", "alice:#1:#2\n", false, "alice:#0\n", "alice:#1:#2\n"),
        ("alice:#0:#4\n", "alice:#1:#2\n", true, "alice:#0\n", "alice:#1\n"),
    ] {
        host.map(&format!("# ours\n{mapping}"));
        host.write("enrolled", &format!("# theirs\n{enrolled}"));
        let declared =
            format!("version = 1\nexclusive = true\nadopt = {adopt}\n[users.alice]\ntokens = ['#0', '#1']\n");
        host.check(&declared).exits(3);
        host.apply(&declared).exits(0);
        assert_eq!(host.mapping(), with_ids(&format!("# ours\n{mapping_after}")), "{declared}");
        assert_eq!(host.read("enrolled"), with_ids(&format!("# theirs\n{enrolled_after}")), "{declared}");
        host.check(&declared).exits(0);
    }
    let absent = "version = 1\n[users.alice]\nstate = 'absent'\n";
    host.apply(absent).exits(0).has("user-in-both-lists");
    assert_eq!(host.read("enrolled"), with_ids("# theirs\nalice:#1\n"));
    host.apply(&absent.replace("\n[", "\nadopt = true\n[")).exits(0);
    assert_eq!(host.read("enrolled"), "# theirs\n");
}

/// Codes are made on the host: who has a token keeps them, and nobody else.
#[test]
fn recovery_codes_stay_with_users_who_have_a_token() {
    let host = Host::new(2);
    host.map("alice:#0\n");
    host.run(&["recovery", "new", "alice"]).exits(0);
    let codes = || host.snapshot().into_keys().filter(|name| name.starts_with("keys/rec-")).count();
    let before = host.mapping();
    host.apply("version = 1\n[users.alice]\ntokens = ['#0']\n").exits(0).says("as declared");
    assert_eq!(host.mapping(), before);
    host.apply("version = 1\n[users.alice]\ntokens = ['#1']\n").exits(0);
    assert!(host.mapping().contains(":rec-") && codes() > 0, "{}", host.mapping());
    host.apply("version = 1\n[users.alice]\ntokens = []\n").exits(0);
    assert_eq!((host.mapping().as_str(), codes()), ("alice:\n", 0));
}

#[test]
fn each_user_may_have_a_mapping() {
    let host = Host::new(3);
    let config = host.read("config.toml").replace("\"authorized_yubikeys\"", "\"users/%u\"");
    host.write("config.toml", &config);
    fs::create_dir(host.file("users")).unwrap();
    host.write("users/bob", "bob:#1\nalice:#2\n");
    host.write("users/carol", "carol:#2\n");
    let declared = "version = 1\nexclusive = true\n[users.alice]\ntokens = ['#0']\n[users.carol]\n";
    host.check(declared).exits(3);
    host.apply(declared).exits(0);
    assert!(host.read("users/alice").ends_with(&with_ids("alice:#0\n")), "{}", host.read("users/alice"));
    assert_eq!(host.read("users/bob"), with_ids("bob:\nalice:#2\n"));
    assert_eq!(host.read("users/carol"), with_ids("carol:#2\n"));
    host.check(declared).exits(0);
}

/// The file that the documentation shows.
#[test]
fn the_file_of_the_page_is_one() {
    let page =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration-management.md"));
    let text = page.unwrap();
    let (_, rest) = text.split_once("```toml\n").unwrap();
    let (declared, _) = rest.split_once("```").unwrap();
    let host = Host::new(1);
    // Its keys are not here.
    host.check(declared).exits(1).has("key-missing").has("token-not-here");
}
