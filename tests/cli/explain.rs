//! `ykmap explain`, and what `check` and `doctor` find in a policy. That `explain` agrees with the module is tested with the
//! module, in `pam_module/explained.rs`.

use crate::desk::{Desk, run};
use serde_json::Value;
use std::fs;
use tests::built;
use tests::said::Said;
use tests::soft_yubikey::SoftYubiKey;

/// A desk where alice has a YubiKey, with this policy.
fn desk(policy: &str) -> Desk {
    let desk = Desk::with(&[&SoftYubiKey::numbered(1)]);
    let config = fs::read_to_string(desk.file("config.toml")).unwrap();
    fs::write(desk.file("config.toml"), config + policy).unwrap();
    desk
}

const POLICY: &str = r#"
[groups]
operators = ["alice", "root"]
[policy]
require = ["@operators", "daemon"]
not_before = 2031-01-15
until = 2031-03-01
exempt = [
  { who = ["@operators"], from = ["10.20.0.0/16"] },
]
methods_for = [{ who = ["daemon"], methods = ["yubikey"] }]
[service.sudo]
require = "enrolled"
"#;

/// The line of the configuration file that begins so.
fn line_of(desk: &Desk, begins: &str) -> usize {
    let config = fs::read_to_string(desk.file("config.toml")).unwrap();
    config.lines().position(|line| line.starts_with(begins)).unwrap() + 1
}

fn explained(desk: &Desk, arguments: &[&str], exit: i32) -> Value {
    desk.ykmap(&[&["--json", "explain"], arguments].concat()).exits(exit).json()
}

#[test]
fn the_rule_and_its_line() {
    let desk = desk(POLICY);
    for (arguments, exit, setting, begins, need, login) in [
        (&["alice", "--at", "2031-01-14"][..], 0, "not_before", "not_before", "if-enrolled", "asked"),
        (&["alice", "--at", "2031-02-01"], 0, "until", "until", "postponable", "asked"),
        (&["alice", "--rhost", "10.20.1.1"], 0, "exempt", "  { who = [\"@op", "exempt", "exempt"),
        (&["alice", "--rhost", "host.example.org"], 0, "not_before", "not_before", "if-enrolled", "asked"),
        (&["root", "--at", "2031-02-28T23:59Z"], 0, "until", "until", "postponable", "excused"),
        (&["root", "--at", "2031-03-01"], 1, "require", "require = [", "required", "rejected"),
        (
            &["root", "--at", "2031-03-01", "--service", "sudo"],
            0,
            "require",
            "require = \"",
            "if-enrolled",
            "excused",
        ),
        (&["bin", "--at", "2031-03-01"], 0, "require", "require = [", "if-enrolled", "excused"),
    ] {
        let json = explained(&desk, arguments, exit);
        assert_eq!(
            (&json["rule"]["setting"], &json["need"], &json["login"]),
            (&setting.into(), &need.into(), &login.into()),
            "{json:#}"
        );
        assert_eq!(json["rule"]["location"]["line"], line_of(&desk, begins), "{arguments:?}");
        assert!(json["rule"]["location"]["file"].as_str().unwrap().ends_with("/config.toml"));
    }
}

#[test]
fn the_users_groups_and_tokens() {
    let desk = desk(POLICY);
    let json = explained(&desk, &["alice"], 0);
    assert_eq!(json["groups"][0]["group"], "operators");
    assert_eq!(json["groups"][0]["location"]["line"], line_of(&desk, "operators"));
    let id = SoftYubiKey::numbered(1).public_id();
    assert_eq!(
        json["tokens"],
        serde_json::json!([{ "id": id, "method": "yubikey", "state": "enabled", "allowed": true, "usable": true }])
    );
    assert_eq!((&json["code"], &json["returns"]), (&"accepted".into(), &"PAM_SUCCESS".into()));
    desk.ykmap(&["key", "disable", &id]).exits(0);
    let json = explained(&desk, &["alice"], 1);
    assert_eq!((&json["code"], &json["tokens"][0]["usable"]), (&"token-unusable".into(), &false.into()));
}

#[test]
fn a_method_that_is_not_allowed() {
    let desk = desk("[policy]\nmethods = [\"totp\"]\n[service.su]\nmethods = [\"yubikey\"]\n");
    let json = explained(&desk, &["alice"], 1);
    assert_eq!((&json["code"], &json["tokens"][0]["allowed"]), (&"method-not-allowed".into(), &false.into()));
    assert_eq!(json["methods_rule"]["location"]["line"], line_of(&desk, "methods = [\"totp"));
    let su = &json["services"][0];
    assert_eq!((&su["service"], &su["login"]), (&"su".into(), &"asked".into()));
    assert_eq!(su["methods_rule"]["table"], "[service.su]");
}

/// Without a policy, everything is as if everybody was required.
#[test]
fn without_a_policy() {
    let desk = desk("");
    let json = explained(&desk, &["alice"], 0);
    assert_eq!(
        (&json["need"], &json["login"], &json["services"]),
        (&"required".into(), &"asked".into(), &serde_json::json!([]))
    );
    assert_eq!((&json["rule"]["is_set"], &json["rule"]["location"]), (&false.into(), &Value::Null));
    let json = explained(&desk, &["bob"], 1);
    assert_eq!((&json["code"], &json["returns"]), (&"user-not-listed".into(), &"PAM_USER_UNKNOWN".into()));
}

#[test]
fn nothing_can_be_decided() {
    let desk = desk(POLICY);
    let json = explained(&desk, &["ROOT", "--at", "2031-04-01"], 2);
    assert_eq!((&json["login"], &json["returns"]), (&"fault".into(), &"PAM_AUTHINFO_UNAVAIL".into()));
    assert_eq!(json["finding"]["code"], "policy-other-spelling");
    let text = desk.ykmap(&["explain", "ROOT", "--at", "2031-04-01"]).exits(2);
    text.says("[policy-other-spelling]");
    desk.ykmap(&["explain", "alice", "--at", "tomorrow"]).exits(2).notes("2027-01-15");
    fs::write(desk.file("config.toml"), "[policy]\nrequire = \"al\"\n").unwrap();
    desk.ykmap(&["explain", "alice"]).exits(2).has("setting-invalid");
}

/// The line of a service says which configuration file counts, and `nullok`.
#[test]
fn a_service_by_its_line() {
    let desk = desk(POLICY);
    let pam_dir = desk.empty_pam_dir();
    let config = desk.file("config.toml");
    let line = format!("auth required {} config={}", built::module().display(), config.display());
    fs::write(desk.beside("pam.d/su"), format!("{line} nullok\n")).unwrap();
    fs::write(desk.beside("pam.d/login"), "auth required pam_unix.so\n").unwrap();
    let late = ["--pam-dir", &pam_dir, "--at", "2031-04-01"];
    let of =
        |service: &str, exit| explained(&desk, &[&["root", "--service", service], &late[..]].concat(), exit);
    assert_eq!((&of("su", 0)["code"], &of("su", 0)["nullok"]), (&"user-excused".into(), &true.into()));
    let said = desk.ykmap(&[&["explain", "root", "--service", "login"], &late[..]].concat()).exits(1);
    assert!(said.err.contains("[service-unknown]"), "{said:?}");
    // Without a service, those that differ are named.
    let all = explained(&desk, &[&["root"], &late[..]].concat(), 1);
    let services: Vec<_> = all["services"].as_array().unwrap().iter().map(|one| &one["service"]).collect();
    assert_eq!(services, ["su", "sudo"]);
}

#[test]
fn it_changes_nothing() {
    let desk = desk(POLICY);
    let before = desk.snapshot();
    for user in ["alice", "root", "nobody"] {
        let said = desk.ykmap(&["explain", user]).exits(0);
        assert_eq!(said.err, "", "{user}");
        for part in ["needs ", "because ", "login ", "module returns PAM_"] {
            assert!(said.out.contains(part), "{said:?}");
        }
    }
    assert_eq!(desk.snapshot(), before);
}

/// An exemption that names the user is shown where it does not hold.
#[test]
fn an_exemption_that_does_not_hold_now() {
    let desk = desk(POLICY);
    let not_now = |arguments: &[&str]| explained(&desk, arguments, 0)["not_now"].clone();
    let other_network = not_now(&["alice", "--rhost", "192.0.2.1"]);
    assert_eq!((&other_network[0]["setting"], &other_network[0]["item"]), (&"exempt".into(), &1.into()));
    assert_eq!(other_network[0]["location"]["line"], line_of(&desk, "  { who = [\"@op"));
    assert_eq!(not_now(&["alice", "--rhost", "10.20.1.1"]), serde_json::json!([]), "it holds");
    assert_eq!(not_now(&["daemon"]), serde_json::json!([]), "it names others");
    let text = desk.ykmap(&["explain", "alice", "--rhost", "192.0.2.1"]).exits(0);
    text.says("not now").says("10.20.0.0/16");
}

/// Enrollment is offered only where a login has proven its first factor, by the check of a login.
#[test]
fn enrollment_that_is_offered_and_not() {
    let desk = desk("[policy]\nuntil = 2031-03-01\n[service.su]\non_exempt = \"success\"\n");
    let pam_dir = desk.empty_pam_dir();
    let module = format!("{} config={}", built::module().display(), desk.file("config.toml").display());
    for (service, first) in [("su", "requisite"), ("sudo", "required")] {
        let lines = format!("auth {first} pam_unix.so\nauth required {module} enroll\n");
        fs::write(desk.beside("pam.d").join(service), lines).unwrap();
    }
    let of = |service: &str, at: &str, exit| {
        explained(&desk, &["root", "--service", service, "--pam-dir", &pam_dir, "--at", at], exit)
    };
    let part = |json: &Value, name: &str| json[name].as_str().unwrap_or_default().to_owned();
    let all = |json: &Value| ["login", "code", "returns"].map(|name| part(json, name));
    let (early, late) = ("2031-02-01", "2031-04-01");
    assert_eq!(all(&of("su", early, 0)), ["offered", "enrollment-postponed", "PAM_SUCCESS"]);
    assert_eq!(all(&of("su", late, 0)), ["offered", "user-not-listed", "PAM_USER_UNKNOWN"]);
    // The stack goes on after a wrong password.
    assert_eq!(all(&of("sudo", early, 0)), ["excused", "user-may-postpone", "PAM_IGNORE"]);
    let sudo = of("sudo", late, 1);
    assert_eq!(all(&sudo), ["rejected", "user-not-listed", "PAM_USER_UNKNOWN"]);
    assert_eq!(sudo["enroll_finding"]["code"], "enroll-without-first-factor");
    // A user who is listed without a token is offered nothing.
    desk.ykmap(&["reset", "--yes", "alice"]).exits(0);
    let arguments = ["explain", "alice", "--service", "su", "--pam-dir", &pam_dir];
    let said = desk.ykmap(&arguments).exits(1).says("reset --enroll-again alice");
    assert!(!said.out.contains("offered"), "{said:?}");
}

/// A command that gives a user a token of a method that the policy does not allow them says so.
#[test]
fn a_new_token_that_the_policy_does_not_allow() {
    let desk = desk("[policy]\nmethods = [\"yubikey\"]\n[service.su]\nmethods = [\"totp\"]\n");
    let id = SoftYubiKey::numbered(1).public_id();
    let warned = |arguments: &[&str]| {
        let said = desk.ykmap(arguments).exits(0);
        let line = said.err.lines().find(|line| line.contains("[method-not-allowed]"));
        line.map(|line| line.to_owned()).unwrap_or_default()
    };
    assert!(warned(&["--json", "recovery", "new", "alice"]).contains("recovery code"));
    // Of one service.
    assert!(warned(&["add", "root", &id]).contains("by su "));
    let totp = warned(&["--json", "totp", "add", "--unchecked", "root"]);
    assert!(totp.contains("by services without methods of their own"), "{totp}");
    let desk = self::desk("[policy]\nmethods = [\"yubikey\"]\n");
    let said = desk.ykmap(&["add", "root", &id]).exits(0);
    assert!(!said.err.contains("method-not-allowed"), "{said:?}");
}

#[test]
fn several_users_and_names_that_nobody_has() {
    let desk = desk(POLICY);
    let pam_dir = desk.empty_pam_dir();
    let json = desk.ykmap(&["--json", "explain", "alice", "root", "--at", "2031-04-01"]).exits(1).json();
    let logins: Vec<_> = json.as_array().unwrap().iter().map(|one| &one["login"]).collect();
    assert_eq!(logins, ["asked", "rejected"]);
    assert_eq!(json[0]["at"], "2031-04-01T00:00Z");
    let said = desk.ykmap(&["explain", "alcie-of-nowhere"]).exits(0);
    assert!(said.err.contains("[user-unknown]"), "{said:?}");
    fs::write(desk.beside("pam.d/sshd"), format!("auth required {}\n", built::module().display())).unwrap();
    let said = desk.ykmap(&["explain", "root", "--service", "sshdd", "--pam-dir", &pam_dir]).exits(0);
    assert!(said.err.contains("Did you mean sshd?") && said.err.contains("[service-unknown]"), "{said:?}");
}

/// The codes of the policy that a report has, each with its severity.
fn of_policy(said: &Said) -> Vec<(String, String)> {
    let json = said.json();
    let findings = json["findings"].as_array().unwrap().iter();
    let own = |code: &str| {
        code.starts_with("policy-") || code.starts_with("exempt-") || code == "nullok-overrides-policy"
    };
    let mut found: Vec<_> = findings
        .filter(|it| own(it["code"].as_str().unwrap()))
        .map(|it| (it["code"].as_str().unwrap().to_owned(), it["severity"].as_str().unwrap().to_owned()))
        .collect();
    found.sort();
    found
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(code, severity)| ((*code).to_owned(), (*severity).to_owned())).collect()
}

#[test]
fn check_finds_what_does_nothing() {
    let desk = desk(
        "[groups]\nnone = { file = \"none\" }\nidle = [\"root\"]\nops = [\"nobody-of-this-name\", \"alice\"]\n\
         [policy]\nrequire = [\"@ops\", \"@none\", \"root\"]\nuntil = 2020-01-01\n\
         exempt = [\"root\", { who = [\"daemon\"], until = 2020-01-01 }]\nmethods = [\"hotp\"]\n",
    );
    fs::write(desk.file("none"), "# nobody yet\n").unwrap();
    let said = desk.ykmap(&["--json", "check"]).exits(1);
    assert_eq!(
        of_policy(&said),
        pairs(&[
            ("policy-date-past", "note"),
            ("policy-date-past", "note"),
            ("policy-group-empty", "warning"),
            ("policy-group-unused", "note"),
            ("policy-locks-out", "error"),
            ("policy-rule-idle", "warning"),
            ("policy-user-unknown", "warning"),
        ])
    );
    // A finding has the line of its rule.
    let json = said.json();
    let of = |code: &str| {
        json["findings"].as_array().unwrap().iter().find(|it| it["code"] == code).unwrap().clone()
    };
    assert_eq!(of("policy-user-unknown")["location"]["line"], line_of(&desk, "ops ="));
    assert_eq!(of("policy-rule-idle")["location"]["line"], line_of(&desk, "require ="));
    assert_eq!(of("policy-locks-out")["location"]["user"], "alice");
}

#[test]
fn check_finds_nothing_in_a_policy_that_is_in_order() {
    let desk = desk(POLICY);
    assert_eq!(of_policy(&desk.ykmap(&["--json", "check"]).exits(0)), []);
}

/// A host with these lines in pam.d, as the doctor sees it.
fn doctor(desk: &Desk, services: &[(&str, &str)], users: &[&str]) -> Said {
    let pam_dir = desk.empty_pam_dir();
    let module = format!("{} config={}", built::module().display(), desk.file("config.toml").display());
    for (service, lines) in services {
        fs::write(desk.beside("pam.d").join(service), lines.replace("pam_yubiotp.so", &module)).unwrap();
    }
    let sshd = desk.write_beside(
        "sshd_config",
        b"UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\nPubkeyAuthentication no\n",
    );
    let sshd = sshd.display().to_string();
    let mut command = desk.command();
    command
        .args(["--json", "doctor", "--no-servers", "--pam-dir", &pam_dir, "--sshd-config", &sshd])
        .args(users);
    run(&mut command)
}

const PASSWORD_FIRST: &str = "auth requisite pam_unix.so\nauth required pam_yubiotp.so\naccount required pam_unix.so\naccount required pam_yubiotp.so\n";

#[test]
fn the_doctor_holds_the_policy_against_pam_d() {
    let desk = desk(
        "[policy]\nexempt = [{ who = [\"alice\"], from = [\"10.0.0.0/8\"] }, \"root\"]\non_exempt = \"success\"\n\
         [service.cups]\nrequire = \"enrolled\"\n[service.login]\nrequire = \"enrolled\"\n",
    );
    let alone = "auth required pam_yubiotp.so\naccount required pam_unix.so\n";
    let services = [
        ("sudo", PASSWORD_FIRST),
        ("su", &*PASSWORD_FIRST.replace("pam_yubiotp.so", "pam_yubiotp.so nullok")),
        ("kiosk", alone),
        ("login", "auth required pam_unix.so\n"),
    ];
    let said = doctor(&desk, &services, &[]);
    assert_eq!(
        of_policy(&said),
        pairs(&[
            ("exempt-enough", "error"),             // kiosk
            ("nullok-overrides-policy", "warning"), // the auth line of su
            ("nullok-overrides-policy", "warning"), // its account line
            ("policy-from-idle", "note"),           // sudo and su
            ("policy-service-unasked", "warning"),  // cups
            ("policy-service-unasked", "warning"),  // login
        ]),
        "{said:?}"
    );
    // Behind the password, PAM_IGNORE and PAM_SUCCESS come to the same.
    let desk = self::desk("[policy]\nexempt = [\"root\"]\n");
    assert_eq!(of_policy(&doctor(&desk, &[("sudo", PASSWORD_FIRST)], &[])), []);
    // Nothing else says yes.
    let said = doctor(&desk, &[("sudo", alone)], &[]);
    assert_eq!(of_policy(&said), pairs(&[("exempt-users-refused", "warning")]), "{said:?}");
}

/// Who gets in, by class: the ways.
fn ways(said: &Said, service: &str) -> Vec<(String, String)> {
    let json = said.json();
    let of = |it: &&Value| it["services"].as_array().unwrap().contains(&service.into());
    let table = json["access"].as_array().unwrap().iter().find(of).unwrap().clone();
    let rows = table["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["who"]["class"].to_string(), row["with"].to_string())).collect()
}

#[test]
fn who_gets_in_by_the_policy() {
    let desk = desk(
        "[groups]\nrobots = [\"bin\"]\n[policy]\nrequire = [\"root\"]\nexempt = [\"@robots\"]\n[service.sshd]\nrequire = \"enrolled\"\n",
    );
    let services = [("sudo", PASSWORD_FIRST), ("sshd", PASSWORD_FIRST)];
    let said = doctor(&desk, &services, &[]);
    let way = |class: &str, with: &str| (class.to_owned(), with.to_owned());
    assert_eq!(
        ways(&said, "sudo"),
        [
            way(r#"["token"]"#, r#"[["password","OTP"]]"#),
            way(r#"["no-token","not-listed"]"#, "[]"),
            way(r#"["excused","exempt"]"#, r#"[["password"]]"#),
        ]
    );
    assert_eq!(
        ways(&said, "sshd"),
        [
            way(r#"["token"]"#, r#"[["password","OTP"]]"#),
            way(r#"["no-token"]"#, "[]"),
            way(r#"["excused","exempt"]"#, r#"[["password"]]"#),
        ]
    );
}

#[test]
fn the_doctor_says_of_a_user_what_explain_says() {
    let desk = desk(
        "[groups]\nrobots = [\"bin\"]\n[policy]\nrequire = [\"root\"]\nexempt = [\"@robots\"]\nmethods = [\"totp\"]\n\
         [service.sshd]\nrequire = \"enrolled\"\nmethods = [\"yubikey\"]\n",
    );
    let services = [("sudo", PASSWORD_FIRST), ("sshd", PASSWORD_FIRST)];
    let said = doctor(&desk, &services, &["alice", "bin", "daemon", "root"]);
    let json = said.json();
    let found: Vec<_> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["area"] == "user" && it["severity"] != "ok")
        .map(|it| {
            let part = |name: &str| it[name].as_str().unwrap().to_owned();
            format!("{} {} {}", it["location"]["user"].as_str().unwrap(), part("severity"), part("code"))
        })
        .collect();
    let mut found = found;
    found.sort();
    assert_eq!(
        found,
        [
            "alice error method-not-allowed", // by sudo
            "bin note user-exempt",
            "daemon note user-not-required", // by sudo
            "daemon note user-not-required", // by sshd, by another rule
            "root error user-not-listed",    // by sudo
            "root note user-not-required",   // by sshd
        ],
        "{json:#}"
    );
}
