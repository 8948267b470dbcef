//! `ykmap status`: one thing at a time that is not as usual, by its line, its value and the exit status; users; the log; and
//! that it only looks.

use crate::desk::{Said, chmod, is_root, run};
use crate::doctor::untouched::{Picture, calls_that_change, picture};
use crate::doctor::{Host, well};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use tests::soft_app::SoftApp;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::{Server, dead};
use ykcli::time;

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The command on this host, with this verb. Its log is `auth.log`.
pub(crate) fn on(host: &Host, verb: &str) -> Command {
    let mut command = tests::scratch::command("ykmap");
    command.args([verb, "--config"]).arg(host.place.config());
    command.arg("--pam-dir").arg(host.place.confdir());
    command.arg("--sshd-config").arg(host.place.path("sshd_config"));
    command.arg("--accounts").arg(host.place.path("etc"));
    command.arg("--file").arg(host.place.path("auth.log"));
    command
}

/// A host that is well, with an empty log.
pub(crate) fn host() -> Host {
    let host = Host::new();
    host.place.write("auth.log", log_line(now(), "CRON: nothing of ours"), 0o600);
    // After every change of a key that a test makes.
    backup_made(&host, LATE);
    host
}

/// 2100-01-01, in seconds since 1970.
pub(crate) const LATE: u64 = 4_102_444_800;

/// Notes that the last backup was made then.
fn backup_made(host: &Host, unix: u64) {
    let text = format!(
        "# pam_yubiotp last backup, version 1. Made by ykmap backup; it decides nothing.\nmade: {unix}\nfile: /x/y\n"
    );
    host.place.write("last-backup", text, 0o600);
}

/// A line of the log at that time, in seconds since 1970.
pub(crate) fn log_line(unix: u64, rest: &str) -> String {
    format!("{}:00+00:00 vm {rest}\n", time::utc(unix).replace(' ', "T"))
}

fn ykmap(host: &Host, arguments: &[&str]) {
    assert!(host.place.ykmap(arguments).status.success(), "{arguments:?}");
}

fn text(host: &Host) -> Said {
    run(&mut on(host, "status"))
}

fn json(host: &Host) -> (Value, Option<i32>) {
    let said = run(on(host, "status").arg("--json"));
    (said.json(), said.code)
}

/// The codes of warnings and errors, but for those that say that the tests do not run as root.
fn codes(json: &Value) -> BTreeSet<String> {
    let bad = json["findings"].as_array().unwrap().iter().filter(|it| {
        ["warning", "error"].contains(&it["severity"].as_str().unwrap()) && it["area"] != "rights"
    });
    bad.map(|it| it["code"].as_str().unwrap().to_owned()).collect()
}

/// The rows of the summary, without the time of the run.
fn rows(said: &Said) -> Vec<String> {
    let rows = said.out.lines().skip(1).take_while(|line| line.starts_with("  "));
    rows.map(|line| line.trim().to_owned()).collect()
}

/// What differs from a host that is well.
struct Case {
    name: &'static str,
    prepare: fn(&Host),
    /// The value in the JSON.
    at: &'static str,
    is: Value,
    /// Lines of the text that a host that is well does not have.
    lines: &'static [&'static str],
    /// The codes of its warnings and errors.
    codes: &'static [&'static str],
}

fn policy(host: &Host, lines: &str) {
    let config = fs::read_to_string(host.place.config()).unwrap();
    host.place.write("config.toml", format!("{config}\n[policy]\n{lines}\n"), 0o600);
}

/// `2027-01-15T08:00Z`, so many days from now.
fn in_days(days: u64) -> String {
    format!("{}Z", time::utc(now() + days * 86_400).replace(' ', "T"))
}

fn cases() -> Vec<Case> {
    use serde_json::json;
    let case = |name, prepare, at, is, lines, codes| Case { name, prepare, at, is, lines, codes };
    vec![
        case(
            "a service that does not ask",
            |host| host.service("login", "auth required pam_unix.so\naccount required pam_unix.so\n"),
            "/services/not_asking",
            json!(["login"]),
            &["login does not"],
            &[],
        ),
        case(
            "a user without a token",
            |host| list(host, "bob:\n"),
            "/users/without_token",
            json!(["bob"]),
            &[
                "2 users listed; 1 can use a token",
                "1 user is listed without a token: bob",
                "required: 2 (1 without a token)",
            ],
            &[],
        ),
        case(
            "a disabled token",
            |host| ykmap(host, &["key", "disable", &host.key.public_id()]),
            "/tokens/states/disabled",
            json!(1),
            &["1 user listed; 0 can use a token", "1 user has no token that works: alice", "1 disabled"],
            &[],
        ),
        case(
            "an unassigned token",
            |host| {
                host.place.write("log.csv", SoftYubiKey::numbered(2).traditional_log_line() + "\n", 0o600);
                ykmap(host, &["key", "import", host.place.path("log.csv").to_str().unwrap()]);
            },
            "/tokens/unassigned",
            json!(1),
            &["2 YubiKeys", "1 unassigned"],
            &[],
        ),
        case(
            "a change that waits to be kept",
            |host| {
                let path = host.place.path("changes");
                fs::create_dir(&path).unwrap();
                chmod(&path, 0o700);
                let record = json!({
                    "version": 1, "state": "waiting", "deadline": now() + 600, "since": now(), "by": "root",
                    "sshd_config": null, "files": [],
                });
                host.place.write("changes/enable-sudo", record.to_string(), 0o600);
            },
            "/changes/0/name",
            json!("enable-sudo"),
            &["enable-sudo is undone at "],
            &["change-pending"],
        ),
        case(
            "a user who enrolled",
            |host| {
                let name = SoftYubiKey::numbered(1).public_id();
                host.place.write("enrolled", format!("# x\nalice:{name}\n"), 0o644);
            },
            "/users/enrolled",
            json!(1),
            &["1 user listed, 1 of them enrolled on this host; 1 can use a token"],
            &[],
        ),
        case(
            "a worn YubiKey",
            |host| {
                let mut key = SoftYubiKey::numbered(1);
                key.set_counter(30_001);
                let otp = key.press();
                ykmap(host, &["verify", "alice", &otp]);
            },
            "/tokens/near_end",
            json!(1),
            &["1 with a usage counter near its end"],
            &["counter-near-end"],
        ),
        case(
            "few recovery codes",
            |host| {
                let codes = host.place.enrol_recovery("alice");
                for code in codes.iter().skip(1) {
                    ykmap(host, &["verify", "alice", code]);
                }
            },
            "/codes/few",
            json!(["alice"]),
            &["1 YubiKey, 1 set of recovery codes", "1 user has fewer than two recovery codes left: alice"],
            &["recovery-codes-few"],
        ),
        case(
            "too many wrong codes",
            |host| {
                host.place.enrol_app("alice", &SoftApp::numbered(1));
                let full_at = now() + 11 * 43_200;
                let text = format!(
                    "# pam_yubiotp guesses, version 1. Made by ykmap, do not edit.\nfull-at: {full_at:020}\n"
                );
                host.place.write("guesses/alice", text, 0o600);
            },
            "/codes/two_needed",
            json!(["alice"]),
            &[
                "1 YubiKey, 1 TOTP token",
                "1 user needs two successive codes, after too many wrong ones: alice",
            ],
            &["two-codes-needed"],
        ),
        case(
            "an account that nobody listed",
            |host| {
                host.place.write(
                    "etc/passwd",
                    "alice:x:1000:1000::/nowhere:/bin/sh\nroot:x:0:0::/nowhere:/bin/sh\n",
                    0o644,
                );
                host.place.write(
                    "etc/shadow",
                    "alice:$y$hash:20000::::::\nroot:$y$hash:20000::::::\n",
                    0o600,
                );
            },
            "/users/not_listed",
            json!(["root"]),
            &["1 user is not listed: root", "required: 2 (1 without a token)"],
            &["accounts-not-listed"],
        ),
        case(
            "an exemption",
            |host| policy(host, "exempt = [{ who = [\"alice\"] }]"),
            "/policy/0/exempt",
            json!({ "users": 1, "without_token": 0 }),
            &["exempt: 1"],
            &[],
        ),
        case(
            "only those who enrolled",
            |host| policy(host, "require = \"enrolled\""),
            "/policy/0/if_enrolled/users",
            json!(1),
            &["asked if enrolled: 1"],
            &[],
        ),
        case(
            "a roll-out",
            |host| policy(host, &format!("require = [\"alice\", \"root\"]\nuntil = {}", in_days(30))),
            "/roll_outs/0/missing_users",
            json!(["root"]),
            &[
                "1 user is not listed: root",
                "may postpone: 2 (1 without a token)",
                "1 of 2 have a token, missing: root",
            ],
            &[],
        ),
        case(
            "a roll-out that ends",
            |host| policy(host, &format!("require = [\"alice\", \"root\"]\nuntil = {}", in_days(6))),
            "/roll_outs/0/missing",
            json!(1),
            &[
                "1 user is not listed: root",
                "may postpone: 2 (1 without a token)",
                "1 of 2 have a token, missing: root",
            ],
            &["roll-out-ends-soon"],
        ),
        case(
            "no store key",
            |host| fs::remove_file(host.place.path("store.key")).unwrap(),
            "/tokens/known",
            json!(false),
            &["not known: the store cannot be used", "1 user listed"],
            &["store-key-missing"],
        ),
        case(
            "no backup",
            |host| fs::remove_file(host.place.path("last-backup")).unwrap(),
            "/backup/last",
            json!(null),
            &["none was made on this host"],
            &["backup-missing"],
        ),
        case(
            "a backup from before the keys",
            |host| backup_made(host, 1),
            "/backup/last/outdated",
            json!(true),
            &["1970-01-01 00:00 UTC ("],
            &["backup-outdated"],
        ),
        case(
            "no log",
            |host| fs::remove_file(host.place.path("auth.log")).unwrap(),
            "/decisions/unreadable/code",
            json!("file-missing"),
            &["not known: "],
            &[],
        ),
        case(
            "no service that asks",
            |host| fs::remove_file(host.pam("sudo")).unwrap(),
            "/services/asking",
            json!([]),
            &["no service asks for a second factor", "required: 1"],
            &[],
        ),
    ]
}

/// Adds a line to the mapping.
fn list(host: &Host, line: &str) {
    let path = host.place.path("authorized_yubikeys");
    let mapping = fs::read_to_string(&path).unwrap() + line;
    fs::write(path, mapping).unwrap();
}

#[test]
fn each_condition_has_its_line_its_value_and_its_status() {
    if !is_root() {
        return tests::skip("needs root, or every file is of the caller");
    }
    let well = host();
    let usual = rows(&text(&well).exits(0));
    for Case { name, prepare, at, is, lines, codes: expected } in cases() {
        let host = host();
        prepare(&host);
        let (json, status) = json(&host);
        assert_eq!(json.pointer(at), Some(&is), "{name}: {json:#}");
        assert_eq!(
            codes(&json),
            expected.iter().map(|code| (*code).to_owned()).collect(),
            "{name}: {json:#}"
        );
        assert_eq!(status, Some(i32::from(!expected.is_empty())), "{name}: {json:#}");
        let said = text(&host).exits(i32::from(!expected.is_empty()));
        let new: Vec<_> = rows(&said).into_iter().filter(|row| !usual.contains(row)).collect();
        for line in lines {
            assert!(new.iter().any(|row| row.contains(line)), "{name}: {line:?} is not in {new:#?}");
        }
        // What one thing changes is said once.
        let is_meant = |row: &String| lines.iter().any(|line| row.contains(line)) || is_beside(row);
        assert!(new.iter().all(is_meant), "{name}: {new:#?}");
        for code in expected {
            assert!(said.out.contains(&format!("[{code}]")), "{name}: {said:?}");
        }
    }
}

/// Rows that follow from others: who gets in, and the log.
fn is_beside(row: &str) -> bool {
    ["who gets in", "sudo: ", "decisions"].iter().any(|begin| row.starts_with(begin))
}

#[test]
fn all_about_a_user() {
    let mut host = host();
    let key = host.key.public_id();
    let otp = host.key.press();
    ykmap(&host, &["verify", "alice", &otp]);
    let at = now() - 3600;
    let line = |outcome: &str, user: &str, code: &str| {
        log_line(
            at,
            &format!(
                "sudo: pam_yubiotp(sudo:auth): {outcome} user={user} token={key} mode=offline service=sudo \
             rhost=none tty=/dev/pts/7 code={code} reason=\"x\""
            ),
        )
    };
    let lines = [line("accepted", "alice", "accepted"), line("refused", "bob", "other-users-token")];
    host.place.write("auth.log", lines.concat(), 0o600);
    let said = run(on(&host, "status").args(["--json", "alice", "bob"]));
    // bob is not listed, and alice is well.
    assert_eq!(said.code, Some(1), "{said:?}");
    let users = said.json()["users"].clone();
    assert_eq!(
        (&users[0]["explained"]["user"], &users[1]["explained"]["user"]),
        (&"alice".into(), &"bob".into())
    );
    let token = &users[0]["status"]["tokens"][0];
    assert_eq!(
        (&token["id"], &token["state"], &token["never_used"]),
        (&key.clone().into(), &"enabled".into(), &false.into())
    );
    assert!(token["changed"]["unix"].as_u64().unwrap() > at, "{token}");
    let login = &token["last_login"];
    assert_eq!((&login["service"], &login["tty"]), (&"sudo".into(), &"/dev/pts/7".into()));
    let decisions = &users[1]["status"]["decisions"];
    assert_eq!(
        (&decisions[0]["code"], decisions.as_array().unwrap().len()),
        (&"other-users-token".into(), 1)
    );
    let said = run(on(&host, "status").arg("alice")).exits(well());
    said.says(&format!("{key}: {} sudo on /dev/pts/7", time::utc(at))).exits(well());
    // The host counts both, and says which token was used last.
    let said = text(&host).says("in the last 24 hours: 1 accepted, 1 rejected");
    assert!(
        said.out.lines().any(|row| row.contains("alice") && row.contains("sudo on /dev/pts/7")),
        "{said:?}"
    );
    // A used token that is disabled was changed, and not used, at that time.
    ykmap(&host, &["key", "disable", &key]);
    run(on(&host, "status").arg("alice")).exits(1).says("[token-disabled]");
}

#[test]
fn a_backup_is_the_last_one() {
    let host = host();
    fs::remove_file(host.place.path("last-backup")).unwrap();
    let file = host.place.host().parent().unwrap().join("b.backup");
    ykmap(&host, &["backup", file.to_str().unwrap()]);
    let last = json(&host).0["backup"]["last"].clone();
    assert_eq!((&last["file"], &last["outdated"]), (&file.to_str().unwrap().into(), &false.into()));
    assert!(last["made"]["unix"].as_u64().unwrap().abs_diff(now()) < 60, "{last}");
    // Without a key, there is nothing to lose.
    fs::remove_file(host.place.path("last-backup")).unwrap();
    ykmap(&host, &["remove", "alice"]);
    ykmap(&host, &["key", "remove", &host.key.public_id()]);
    let json = json(&host).0;
    assert_eq!(json["backup"], serde_json::json!({ "last": null, "keys_changed": null }));
    assert!(!codes(&json).contains("backup-missing"), "{json:#}");
}

#[test]
fn servers_are_asked_on_demand() {
    let host = host();
    let server = Server::start(&[&host.key]);
    host.place.online("online-then-offline", &[server.url()], "");
    let said = text(&host).says("mode online-then-offline; not asked now (--servers asks them)");
    assert!(server.requests().is_empty(), "{said:?}");
    run(on(&host, "status").arg("--servers")).says("asked now, and they answer");
    assert_eq!(server.requests().len(), 1);
    drop(server);
    let said = run(on(&host, "status").arg("--servers")).exits(1);
    assert!(
        said.out.contains("asked now, see below") && said.out.contains("[server-unreachable]"),
        "{said:?}"
    );
}

#[test]
fn a_server_that_logins_ask_last_is_named() {
    if !is_root() {
        return tests::skip("needs root, or every file is of the caller");
    }
    let mut host = host();
    let (gone, server) = (dead(), Server::start(&[&host.key]));
    host.place.online("online", &[gone.clone(), server.url()], "");
    assert_eq!(codes(&json(&host).0), BTreeSet::new());
    let otp = host.key.press();
    ykmap(&host, &["verify", "alice", &otp]);
    let (said, status) = json(&host);
    assert_eq!(codes(&said), ["server-asked-last".to_owned()].into());
    assert_eq!(status, Some(1));
    let last = said.pointer("/servers/asked_last").unwrap().as_array().unwrap();
    assert_eq!(last.len(), 1, "{last:?}");
    assert!(last[0]["url"].as_str().unwrap().starts_with(&gone), "{last:?}");
    let at = |name: &str| last[0][name]["unix"].as_u64().unwrap();
    assert!(at("since").abs_diff(now()) < 60 && at("until") == at("since") + 30, "{last:?}");
    text(&host).exits(1).says("[server-asked-last]");
    let metrics = run(&mut on(&host, "metrics")).exits(0).out;
    let sample = |url: &str| format!("yubiotp_server_asked_last{{server=\"{url}/wsapi/2.0/verify\"}}");
    assert!(metrics.contains(&format!("{} 1\n", sample(&gone))), "{metrics}");
    assert!(metrics.contains(&format!("{} 0\n", sample(&server.base()))), "{metrics}");
    let since = format!(
        "yubiotp_server_failed_timestamp_seconds{{server=\"{gone}/wsapi/2.0/verify\"}} {}\n",
        at("since")
    );
    assert!(metrics.contains(&since), "{metrics}");
}

#[test]
fn it_says_what_it_cannot_use() {
    let host = host();
    host.place.write("config.toml", "[polcy]\n", 0o644);
    let said = text(&host).exits(2);
    assert!(said.err.contains("[setting-unknown]") && said.out.is_empty(), "{said:?}");
    if !is_root() {
        return;
    }
    let host = self::host();
    let ykmap = host.shown_to_others();
    chmod(&host.place.path("auth.log"), 0o644);
    for verb in ["status", "metrics"] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=12345", "--regid=12345", "--clear-groups", "--"]).arg(&ykmap);
        let said = run(command.args(on(&host, verb).get_args()).current_dir("/")).exits(2);
        assert!(said.out.contains("[not-root]") || said.err.contains("[not-root]"), "{said:?}");
        assert!(!said.out.contains("healthy") && !said.out.contains("yubiotp_users"), "{said:?}");
    }
}

/// Nothing is written, made or locked, and no login waits for it.
#[test]
fn it_only_looks() {
    let mut host = host();
    let otp = host.key.press();
    ykmap(&host, &["verify", "alice", &otp]);
    host.place.enrol_app("alice", &SoftApp::numbered(1));
    for folder in ["", "keys", "positions", "guesses"] {
        let _ = fs::remove_file(host.place.path(folder).join(".yubiotp.lock"));
    }
    let root = host.place.host();
    let (mut before, mut after) = (Picture::new(), Picture::new());
    picture(root.parent().unwrap(), &mut before);
    for arguments in [&["status"][..], &["status", "--all"], &["status", "alice"], &["metrics"]] {
        let (verb, rest) = arguments.split_first().unwrap();
        let said = run(on(&host, verb).args(rest));
        assert!(said.code == Some(0) || !is_root(), "{said:?}");
    }
    picture(root.parent().unwrap(), &mut after);
    assert_eq!(before, after);
    if Command::new("strace").arg("-V").output().is_err() {
        return tests::skip("needs strace");
    }
    assert_eq!(calls_that_change(&on(&host, "status"), &host.place.path("strace")), Vec::<String>::new());
}
