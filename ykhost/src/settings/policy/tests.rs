use super::super::{PartialConfig, Settings};
use std::os::unix::fs::PermissionsExt as _;
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Location};
use yubiotp::policy::{From, Interval, Method, Methods, OnExempt, Policy, Require, Subject};

/// What a configuration file comes to, beside a file `robots`.
fn load(text: &str, robots: Option<&[u8]>) -> Result<Policy, Diagnostic> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        path
    };
    if let Some(robots) = robots {
        write("robots", robots);
    }
    let path = write("config.toml", text.as_bytes());
    Settings::load(Some(&path), PartialConfig::default())
        .map(|settings| settings.policy)
        .map_err(|fault| fault.diagnostic())
}

/// Line, code, and all of the text, of an error in `text`.
fn error(text: &str) -> (Option<usize>, Code, String) {
    let found = load(text, None).err().unwrap_or_else(|| panic!("{text}"));
    let Some(Location::File { line, .. }) = found.location else { panic!("{found:?}") };
    (line, found.code, found.text(Calls::PLAIN))
}

fn group(name: &str) -> Subject {
    Subject::Group(name.to_owned())
}

fn user(name: &str) -> Subject {
    Subject::User(name.to_owned())
}

#[test]
fn all_of_it() {
    let policy = load(
        r#"
        [groups]
        operators = ["alice", "bob", "alice"]
        robots = { file = "robots" }
        [policy]
        require = ["@operators", "carol"]
        not_before = 2027-01-15
        until = 2027-03-01T08:00:00+02:00
        exempt = [
          "backup",
          "@robots",
          { who = ["@operators"], from = ["10.20.0.0/16", "local", "::ffff:192.0.2.0/120"], until = 2027-02-01 },
        ]
        methods = ["yubikey", "totp"]
        methods_for = [{ who = ["@operators"], methods = ["yubikey", "recovery"] }]
        on_exempt = "success"
        [service.sudo]
        require = "enrolled"
        exempt = []
        [service.login]
        on_exempt = "ignore"
        require = "all"
        "#,
        Some(b"\xef\xbb\xbf# robots\n\nr2 \r\n# c3\n bb8 # since May\nEX\\c3\n"),
    )
    .unwrap();
    assert_eq!(policy.groups["operators"], ["alice", "bob", "alice"]);
    assert_eq!(policy.groups["robots"], ["r2", "bb8", "EX\\c3"]);
    let rules = &policy.general;
    assert_eq!(rules.require, Some(Require::These(vec![group("operators"), user("carol")])));
    assert_eq!((rules.not_before, rules.until), (Some(1_799_971_200), Some(1_803_880_800)));
    let [backup, robots, operators] = rules.exempt.as_deref().unwrap() else { panic!() };
    assert_eq!((backup.who.as_deref(), backup.from.as_ref()), (Some(&[user("backup")][..]), None));
    assert_eq!((robots.who.as_deref(), robots.when), (Some(&[group("robots")][..]), Interval::default()));
    assert_eq!(operators.when, Interval { not_before: None, until: Some(1_801_440_000) });
    let from = ["10.20.0.0/16", "local", "192.0.2.0/24"].map(|text| From::parse(text).unwrap());
    assert_eq!(operators.from.as_deref(), Some(&from[..]));
    assert_eq!(rules.methods, Some(Methods::of([Method::YubiKey, Method::Totp])));
    let [line] = rules.methods_for.as_deref().unwrap() else { panic!() };
    assert_eq!(
        (line.who.as_slice(), line.methods),
        (&[group("operators")][..], Methods::of([Method::YubiKey, Method::Recovery]))
    );
    assert_eq!(rules.on_exempt, Some(OnExempt::Success));
    let sudo = &policy.services["sudo"];
    assert_eq!((&sudo.require, &sudo.exempt, sudo.until), (&Some(Require::Enrolled), &Some(vec![]), None));
    let login = &policy.services["login"];
    assert_eq!((&login.require, login.on_exempt), (&Some(Require::All), Some(OnExempt::Ignore)));
}

#[test]
fn without_the_tables_it_is_the_usual_policy() {
    assert_eq!(load("tries = 2\n", None).unwrap(), Policy::default());
    assert_eq!(load("[policy]\n[groups]\n", None).unwrap(), Policy::default());
}

#[test]
fn errors_name_the_line_and_what_to_change() {
    let groups = "[groups]\noperators = [\"alice\"]\n";
    for (text, line, code, says) in [
        ("[policy]\nrequire = [\"@operatros\"]", 4, Code::SettingInvalid, &["operatros", "@operators"][..]),
        ("[policy]\nrequire = [\"@staff\"]", 4, Code::SettingInvalid, &["staff", "[groups]"]),
        ("[policy]\nrequire = [\"operators\"]", 4, Code::SettingInvalid, &["is a group", "@operators"]),
        ("[policy]\nrequire = [\n\"alice\",\n\"operators\"]", 6, Code::SettingInvalid, &["@operators"]),
        ("[policy]\nrequire = []", 4, Code::SettingInvalid, &["require", "empty"]),
        ("[policy]\nrequire = \"everybody\"", 4, Code::SettingInvalid, &["\"all\""]),
        ("[policy]\nrequire = \"enroled\"", 4, Code::SettingInvalid, &["Write \"enrolled\""]),
        ("[policy]\nrequire = \"@operators\"", 4, Code::SettingInvalid, &["[\"@operators\"]"]),
        ("[policy]\nrequire = true", 4, Code::SettingInvalid, &["require"]),
        ("[policy]\nrequire = [1]", 4, Code::SettingInvalid, &["text in quotes"]),
        ("[policy]\nrequire = [\"\"]", 4, Code::SettingInvalid, &["empty"]),
        ("[policy]\nrequire = [\" alice\"]", 4, Code::SettingInvalid, &["\" alice\""]),
        ("[policy]\nrequier = \"all\"", 4, Code::SettingUnknown, &["requier", "Write require"]),
        ("[policy]\nzzz = 1", 4, Code::SettingUnknown, &["on_exempt"]),
        ("[policy]\ntries = 1", 4, Code::SettingMisplaced, &["above"]),
        ("[service.sudo]\nwindow = 1", 4, Code::SettingMisplaced, &["[codes]"]),
        ("[policy]\nmethods = []", 4, Code::SettingInvalid, &["methods"]),
        ("[policy]\nmethods = \"totp\"", 4, Code::SettingInvalid, &["list"]),
        ("[policy]\nmethods = [\"top\"]", 4, Code::SettingInvalid, &["Write \"totp\""]),
        ("[policy]\nmethods = [\"fido\"]", 4, Code::SettingInvalid, &["recovery"]),
        ("[policy]\nmethods_for = [{ who = [\"alice\"] }]", 4, Code::SettingInvalid, &["methods_for"]),
        (
            "[policy]\nmethods_for = [{ who = [\"@x\"], methods = [\"totp\"] }]",
            4,
            Code::SettingInvalid,
            &["x"],
        ),
        ("[policy]\non_exempt = \"accept\"", 4, Code::SettingInvalid, &["\"success\""]),
        ("[policy]\nexempt = [{ until = 2027-01-01 }]", 4, Code::SettingInvalid, &["who", "from"]),
        ("[policy]\nexempt = [{ form = [\"local\"] }]", 4, Code::SettingUnknown, &["who, from"]),
        ("[policy]\nexempt = [{ from = [] }]", 4, Code::SettingInvalid, &["from"]),
        ("[policy]\nexempt = \"alice\"", 4, Code::SettingInvalid, &["list"]),
        ("[policy]\nexempt = [3]", 4, Code::SettingInvalid, &["exempt"]),
        ("[policy]\nexempt = [{ from = [\"10.1.2.0/16\"] }]", 4, Code::SettingInvalid, &["10.1.0.0/16"]),
        (
            "[policy]\nexempt = [\n{ from = [\n\"host.example.org\"] }]",
            6,
            Code::SettingInvalid,
            &["name", "10.1.0.0/16"],
        ),
        ("[policy]\nnot_before = \"2027-01-01\"", 4, Code::SettingInvalid, &["without quotes"]),
        ("[policy]\nnot_before = 08:00:00", 4, Code::SettingInvalid, &["not_before", "2027-01-15"]),
        ("[policy]\nnot_before = 20270115", 4, Code::SettingInvalid, &["not_before"]),
        ("[policy]\nnot_before = 2027-02-01\nuntil = 2027-01-01", 5, Code::SettingsConflict, &["until"]),
        (
            "[policy]\nuntil = 2027-02-01\n[service.su]\nnot_before = 2027-03-01",
            6,
            Code::SettingsConflict,
            &["until"],
        ),
        (
            "[policy]\nexempt = [{ who = [\"alice\"],\nnot_before = 2027-01-01, until = 2027-01-01 }]",
            5,
            Code::SettingsConflict,
            &["until"],
        ),
        ("[service.Sudo]\nrequire = \"all\"", 3, Code::SettingInvalid, &["[service.sudo]"]),
        ("[service]\nrequire = \"all\"", 4, Code::SettingInvalid, &["[service.sudo]"]),
        ("[service]\nsudo = \"all\"", 4, Code::SettingInvalid, &["sudo must be a table"]),
    ] {
        let (at, found, all) = error(&format!("{groups}{text}\n"));
        assert_eq!((at, found), (Some(line), code), "{text}: {all}");
        for words in says {
            assert!(all.contains(words), "{text}: {words}: {all}");
        }
    }
    for (text, line, code, says) in [
        ("policy = 3", 1, Code::SettingInvalid, "policy must be a table"),
        ("service = 3", 1, Code::SettingInvalid, "service must be a table"),
        ("groups = 3", 1, Code::SettingInvalid, "groups must be a table"),
        ("require = \"all\"", 1, Code::SettingMisplaced, "below the line [policy]"),
        ("[codes]\nrequire = \"all\"", 2, Code::SettingMisplaced, "below the line [policy]"),
        ("[polcy]", 1, Code::SettingUnknown, "Write [policy]"),
        ("[groups]\nx = []", 2, Code::SettingInvalid, "empty"),
        ("[groups]\nx = \"alice\"", 2, Code::SettingInvalid, "list of users"),
        ("[groups]\nx = {}", 2, Code::SettingInvalid, "list of users"),
        ("[groups]\nx = { path = \"/x\" }", 2, Code::SettingUnknown, "file"),
        ("[groups]\nx = { file = 1 }", 2, Code::SettingInvalid, "text in quotes"),
        ("[groups]\nx = [\"@y\"]", 2, Code::SettingInvalid, "has only users"),
        ("[groups]\n\"@x\" = [\"y\"]", 2, Code::SettingInvalid, "without @"),
        ("[groups]\nx = [\"a:b\"]", 2, Code::SettingInvalid, "a:b"),
        ("[policy]\nuntil = 2027-02-30", 2, Code::SettingInvalid, ""),
    ] {
        let (at, found, all) = error(text);
        assert_eq!((at, found), (Some(line), code), "{text}: {all}");
        assert!(all.contains(says), "{text}: {all}");
    }
}

/// A file that cannot be used refuses everybody, and says of which group it is.
#[test]
fn the_file_of_a_group() {
    let text = "[groups]\nrobots = { file = \"robots\" }\n";
    let found = load(text, None).err().unwrap();
    assert_eq!(found.code, Code::FileMissing);
    assert!(found.to_string().contains("robots: ") && found.problem.contains("users of robots"), "{found}");
    for (contents, line) in [
        (&b""[..], None),
        (b"alice\nbob:x\n", Some(2)),
        (b"@operators\n", Some(1)),
        (b"a\n\n\xff\n", Some(3)),
        (b"a\x1bb\n", Some(1)),
        (b"alice bob\n", Some(1)),
    ] {
        let found = load(text, Some(contents)).err().unwrap();
        let Some(Location::File { line: at, path, .. }) = &found.location else { panic!("{found:?}") };
        assert_eq!((*at, found.code), (line, Code::SettingInvalid), "{found}");
        assert!(path.ends_with("/robots"));
    }
    assert_eq!(load(text, Some(b"# nobody now\n")).unwrap().groups["robots"], [""; 0]);
}
