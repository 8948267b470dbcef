//! The doctor's table of who gets in with what, compared with the real libpam on the same auth and account lines.

use super::stacks::Dice;
use super::{Host, SUDO, Visit};
use crate::desk::chmod;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use tests::libpam::{Code, Pam, Script};

/// A user: in the mapping or not, and the answers of the two gates.
type Class = (&'static str, [bool; 2]);
/// The smallest sets of factors.
type Ways = BTreeSet<BTreeSet<String>>;

const LISTINGS: [&str; 3] = ["token", "no-token", "not-listed"];
const GROUPS: [&str; 2] = ["user ingroup one", "user ingroup two"];
const ANSWERS: [&str; 4] = ["success", "auth_err", "user_unknown", "ignore"];

fn classes() -> Vec<Class> {
    let gates = [[false, false], [true, false], [false, true], [true, true]];
    LISTINGS.into_iter().flat_map(|listing| gates.map(|gates| (listing, gates))).collect()
}

/// The lines for the doctor. In them `OURS` is the module, `PASSWORD` and `OATH` ask, `GATE0` and `GATE1` look at who
/// it is, and `ANY` may say anything.
fn for_the_doctor(lines: &str) -> String {
    lines
        .replace("OURS", "pam_yubiotp.so")
        .replace("PASSWORD", "pam_unix.so")
        .replace("OATH", "pam_oath.so")
        .replace("GATE0", "pam_succeed_if.so quiet user ingroup one")
        .replace("GATE1", "pam_succeed_if.so user notingroup two")
        .replace("ANY", "pam_nologin.so")
}

/// The table's row for each class.
fn table(visit: &Visit, service: &str) -> BTreeMap<Class, Ways> {
    let said = visit.said.json();
    let all = said["access"].as_array().unwrap().clone();
    let has = |it: &&Value| it["services"].as_array().unwrap().iter().any(|name| name == service);
    let rows =
        all.iter().find(has).unwrap_or_else(|| panic!("no table of {service}: {said}"))["rows"].clone();
    let mut found = BTreeMap::new();
    for (listing, gates) in classes() {
        let meant = |row: &&Value| {
            let who = &row["who"];
            let holds = |condition: &Value| {
                let group = GROUPS.iter().position(|group| condition["test"] == **group).unwrap();
                condition["holds"] == gates[group]
            };
            who["class"].as_array().unwrap().iter().any(|class| class == listing)
                && who["conditions"].as_array().unwrap().iter().all(holds)
        };
        let rows: Vec<_> = rows.as_array().unwrap().iter().filter(meant).collect();
        assert_eq!(rows.len(), 1, "one row for {listing} {gates:?}: {said}");
        let names = |way: &Value| -> BTreeSet<String> {
            way.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let ways = rows[0]["with"].as_array().unwrap().iter().map(names).collect();
        found.insert((listing, gates), ways);
    }
    found
}

/// Whether the auth lines, and all lines, of the service `s` say yes, and whether a module said this.
fn login(confdir: &Path, said: &str) -> (bool, bool, bool) {
    let script = Script::new(Vec::<Vec<u8>>::new());
    let seen = script.seen();
    let mut pam = Pam::start(confdir, "s", Some(b"root"), Box::new(script));
    let auth = pam.authenticate(0) == Code::SUCCESS;
    let asked = seen.borrow().iter().any(|prompt| prompt.text == said);
    let yes = auth && pam.acct_mgmt(0) == Code::SUCCESS;
    (auth, yes, asked)
}

/// Replaces each of these words by a line's module that answers so.
fn scripted(lines: &str, kind: &str, words: &[(&str, &str)]) -> String {
    let module = |answer: &str| match answer {
        "success" => "pam_permit.so".to_owned(),
        "auth_err" => "pam_deny.so".to_owned(),
        other => format!("pam_debug.so {kind}={other}"),
    };
    words.iter().fold(lines.to_owned(), |text, (word, answer)| text.replace(word, &module(answer)))
}

/// The same by the real libpam: every answer of every module, and whose answers these may be.
fn truth(auth: &str, account: &str) -> BTreeMap<Class, Ways> {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
    let path = folder.path().join("s");
    let (auth_nullok, account_nullok) = (auth.contains("nullok"), account.contains("nullok"));
    let used = |text: &str, word: &str| text.contains(word);
    let among = |used: bool, count: usize| if used { 0..count } else { 0..1 };
    let mut ways = BTreeMap::<Class, Vec<BTreeSet<String>>>::new();
    for (ours, password, oath, any, account_any, gate0, gate1) in {
        let gates = |word: &str| among(used(auth, word) || used(account, word), 2);
        let mut all = Vec::new();
        for ours in among(used(auth, "OURS"), 4) {
            for password in among(used(auth, "PASSWORD"), 4) {
                for oath in among(used(auth, "OATH"), 4) {
                    for any in among(used(auth, "ANY"), 4) {
                        for account_any in among(used(account, "ANY"), 4) {
                            for gate0 in gates("GATE0") {
                                for gate1 in gates("GATE1") {
                                    all.push((ours, password, oath, any, account_any, gate0, gate1));
                                }
                            }
                        }
                    }
                }
            }
        }
        all
    } {
        // A gate that gets a no returns auth_err; the second one asks the reverse.
        let gates = [("GATE0", ANSWERS[gate0]), ("GATE1", ANSWERS[1 - gate1])];
        let ours = ANSWERS[ours];
        let words = [
            gates.as_slice(),
            &[("PASSWORD", ANSWERS[password]), ("OATH", ANSWERS[oath]), ("ANY", ANSWERS[any])],
        ]
        .concat();
        let auth_text = scripted(auth, "auth", &words)
            .replace("OURS nullok", "OURS")
            .replace("OURS", &format!("pam_debug.so auth={ours}"));
        let account_text =
            scripted(account, "acct", &[gates.as_slice(), &[("ANY", ANSWERS[account_any])]].concat());
        let account_text = account_text.replace("OURS nullok", "OURS");
        let run = |standing: &str| {
            let text = account_text.replace("OURS", &format!("pam_debug.so acct={standing}"));
            fs::write(&path, auth_text.clone() + &text).unwrap();
            login(folder.path(), &format!("auth={ours}"))
        };
        let (authenticated, _, asked) = run("auth_err");
        if !authenticated {
            continue;
        }
        for class @ (listing, class_gates) in classes() {
            // Gates that nobody asks say nothing.
            let told = [("GATE0", gate0), ("GATE1", gate1)];
            let other = told.iter().zip(class_gates).any(|((word, told), gate)| {
                (used(auth, word) || used(account, word)) && (*told == 0) != gate
            });
            let may = match listing {
                _ if !used(auth, "OURS") => true,
                "not-listed" if auth_nullok => ours == "ignore",
                "not-listed" => ours == "user_unknown",
                "token" => ours == "success" || ours == "auth_err",
                _ => ours == "auth_err",
            };
            if other || !may {
                continue;
            }
            let standing = match listing {
                _ if asked && ours == "success" => "success",
                "not-listed" if account_nullok => "ignore",
                _ => "auth_err",
            };
            if !run(standing).1 {
                continue;
            }
            // A user without factors is rejected by every module that asks; a user with some may fail in every way.
            let shown = [
                ("password", used(auth, "PASSWORD") && ANSWERS[password] != "auth_err"),
                ("OTP", used(auth, "OURS") && ours == "success"),
                ("pam_oath", used(auth, "OATH") && ANSWERS[oath] != "auth_err"),
            ];
            let shown = shown.into_iter().filter(|(_, is)| *is).map(|(name, _)| name.to_owned()).collect();
            ways.entry(class).or_default().push(shown);
        }
    }
    let smallest = |class: &Class| -> Ways {
        let all = ways.get(class).cloned().unwrap_or_default();
        let least = |way: &&BTreeSet<String>| !all.iter().any(|other| other != *way && other.is_subset(way));
        all.iter().filter(least).cloned().collect()
    };
    classes().into_iter().map(|class| (class, smallest(&class))).collect()
}

fn compare(stacks: &[(String, String)]) {
    let host = Host::new();
    for (number, (auth, account)) in stacks.iter().enumerate() {
        host.service(&format!("t{number}t"), &(for_the_doctor(auth) + &for_the_doctor(account)));
    }
    let visit = host.doctor(&[]);
    for (number, (auth, account)) in stacks.iter().enumerate() {
        let (told, truth) = (table(&visit, &format!("t{number}t")), truth(auth, account));
        assert_eq!(told, truth, "the table, and libpam: {auth}{account}");
    }
}

#[test]
fn stacks_that_people_write() {
    let stacks = [
        ("auth required PASSWORD\nauth required OURS\n", "account required ANY\n"),
        ("auth required PASSWORD\nauth sufficient OURS\nauth required OATH\n", "account required ANY\n"),
        ("auth sufficient OURS\nauth required PASSWORD\n", "account required ANY\n"),
        ("auth required OURS nullok\n", "account required pam_permit.so\n"),
        (
            "auth required PASSWORD\nauth required OURS nullok\n",
            "account required OURS nullok\naccount required ANY\n",
        ),
        (
            "auth required PASSWORD\nauth required OURS nullok\n",
            "account required OURS\naccount required ANY\n",
        ),
        (
            "auth [success=1 default=ignore] GATE0\nauth required OURS\nauth required PASSWORD\n",
            "account required OURS\naccount required ANY\n",
        ),
        (
            "auth [success=1 default=ignore] GATE0\nauth required OURS\nauth required PASSWORD\n",
            "account [success=1 default=ignore] GATE0\naccount required OURS\naccount required ANY\n",
        ),
        (
            "auth [success=ignore default=1] GATE1\nauth required OURS\nauth required PASSWORD\n",
            "account [success=ignore default=1] GATE1\naccount required OURS\naccount required ANY\n",
        ),
        (
            "auth [success=1 default=ignore] PASSWORD\nauth requisite pam_deny.so\nauth required pam_permit.so\nauth required OURS\n",
            "account [success=1 default=ignore] ANY\naccount requisite pam_deny.so\naccount required pam_permit.so\n",
        ),
        ("auth optional OURS\nauth required PASSWORD\n", "account sufficient ANY\naccount required OURS\n"),
        ("auth sufficient GATE0\nauth required PASSWORD\nauth required OURS\n", "account required ANY\n"),
    ];
    compare(&stacks.map(|(auth, account)| (auth.to_owned(), account.to_owned())));
}

/// Random lines of one kind.
fn lines(dice: &mut Dice, kind: &str, words: &[&'static str], controls: &[&'static str]) -> String {
    let mut left = words.to_vec();
    let mut lines = String::new();
    for _ in 0..dice.roll(4) + 2 {
        let control = controls[dice.roll(controls.len() as u64) as usize];
        // Each once: another line of the same module may say something else.
        let module = match dice.roll(5) {
            0 => "pam_permit.so",
            1 => "pam_deny.so",
            _ if left.is_empty() => continue,
            _ => left.remove(dice.roll(left.len() as u64) as usize),
        };
        lines += &format!("{kind} {control} {module}\n");
    }
    lines
}

#[test]
fn stacks_that_nobody_would_write() {
    const CONTROLS: [&str; 12] = [
        "required",
        "required",
        "requisite",
        "sufficient",
        "optional",
        "[success=1 default=ignore]",
        "[success=2 default=bad]",
        "[success=ok default=1]",
        "[success=done default=die]",
        "[success=reset default=ok]",
        "[user_unknown=ignore success=ok ignore=1 default=bad]",
        "[success=bad auth_err=ok default=reset]",
    ];
    let mut dice = Dice(20_261_129);
    let mut stacks = Vec::new();
    while stacks.len() < 120 {
        let [mine, theirs] = [(); 2].map(|()| ["OURS", "OURS nullok"][dice.roll(2) as usize]);
        let third = ["OATH", "ANY", "GATE0", "GATE1"][dice.roll(4) as usize];
        let auth = lines(&mut dice, "auth", &[mine, "PASSWORD", third], &CONTROLS);
        let account = lines(&mut dice, "account", &[theirs, "GATE0", "GATE1", "ANY"], &CONTROLS);
        if auth.contains("OURS") {
            stacks.push((auth, account));
        }
    }
    compare(&stacks);
}

/// The class of users of a row: `token`, `no-token not-listed`, `everybody`, `token, unless called by root`.
pub(super) fn class(row: &Value) -> String {
    let classes: Vec<_> =
        row["who"]["class"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let classes = if classes.len() == LISTINGS.len() { "everybody".to_owned() } else { classes.join(" ") };
    row["who"]["conditions"].as_array().unwrap().iter().fold(classes, |text, condition| {
        let when = if condition["holds"] == true { "if" } else { "unless" };
        format!("{text}, {when} {}", condition["test"].as_str().unwrap())
    })
}

/// What a class can get in with.
#[track_caller]
pub(super) fn row(visit: &Visit, service: &str, condition: Option<&str>, who: &str) -> String {
    let said = visit.said.json();
    let tables = said["access"].as_array().unwrap().clone();
    let table = tables.iter().find(|it| {
        it["services"].as_array().unwrap().iter().any(|name| name == service)
            && it["match"].as_str() == condition
    });
    let rows = table.unwrap_or_else(|| panic!("no table: {said}"))["rows"].as_array().unwrap().clone();
    let row = rows.iter().find(|row| class(row) == who).unwrap_or_else(|| panic!("no {who}: {said}"));
    let way = |way: &Value| {
        way.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect::<Vec<_>>().join("+")
    };
    row["with"].as_array().unwrap().iter().map(way).collect::<Vec<_>>().join(" ")
}

const JUMP: &str = "[success=1 default=ignore] pam_succeed_if.so quiet user ingroup robots\n";
const ROBOTS: &str = "everybody, if user ingroup robots";

fn sshd(config: &str, lines: &str) -> (Host, Visit) {
    let host = Host::new();
    fs::remove_file(host.pam("sudo")).unwrap();
    host.service("sshd", lines);
    host.place.write("sshd_config", config, 0o644);
    let visit = host.doctor(&[]);
    (host, visit)
}

/// sshd's method `password` gives one answer: enough for one question, and for two of them in one field.
#[test]
fn the_method_password() {
    let methods = "UsePAM yes\nAuthenticationMethods publickey,password\n";
    let (host, visit) = sshd(methods, SUDO);
    visit.finds("error", "sshd", &host.place.path("sshd_config:2"), &["sshd-without-prompts"]);
    assert_eq!(row(&visit, "sshd", None, "everybody"), "");
    let (_, visit) = sshd(
        &format!("{methods}KbdInteractiveAuthentication no\n"),
        "auth required pam_yubiotp.so\naccount required pam_yubiotp.so\naccount required pam_unix.so\n",
    );
    visit.is_well();
    assert_eq!(row(&visit, "sshd", None, "token"), "ssh key+OTP");
    let one_field = "auth required pam_yubiotp.so\nauth required pam_unix.so use_first_pass\naccount required pam_unix.so\n";
    let (_, visit) = sshd(methods, one_field);
    visit.is_well();
    assert_eq!(row(&visit, "sshd", None, "token"), "ssh key+password+OTP");
}

/// A user who is exempt in auth lines and not in account lines is rejected; no advice ends the exemption, or moves a
/// line so that it does.
#[test]
fn exemptions() {
    let auth = format!("auth {JUMP}auth required pam_yubiotp.so\nauth required pam_unix.so\n");
    let ours = "account required pam_yubiotp.so\naccount required pam_unix.so\n";
    let (host, visit) = sshd("UsePAM yes\n", &format!("{auth}{ours}"));
    let found = visit.finds(
        "warning",
        "pam.d",
        &host.pam("sshd:1"),
        &["exempt-users-refused", "pam_succeed_if", "sshd:4", "account [success=1"],
    );
    assert!(!super::remedies(found).concat().contains("below"), "{found}");
    assert_eq!(row(&visit, "sshd", None, ROBOTS), "");
    let (_, visit) = sshd("UsePAM yes\n", &format!("{auth}account {JUMP}{ours}"));
    assert_eq!(visit.of("warning").len() + visit.of("error").len(), 0, "{visit:#?}");
    assert_eq!(row(&visit, "sshd", None, ROBOTS), "ssh key password");
    assert_eq!(row(&visit, "sshd", None, "token, unless user ingroup robots"), "password+OTP");
    // The same by sshd_config, without and with the account line's jump.
    let by_match = "UsePAM yes\nMatch Group robots\nAuthenticationMethods publickey\n";
    let (host, visit) = sshd(by_match, &(SUDO.to_owned() + "account required pam_yubiotp.so\n"));
    visit.finds(
        "warning",
        "sshd",
        &host.place.path("sshd_config:3"),
        &["exempt-users-refused", "Match Group robots"],
    );
    assert_eq!(row(&visit, "sshd", Some("Group robots"), "everybody"), "");
    let (_, visit) = sshd(by_match, &format!("{auth}account {JUMP}{ours}"));
    assert_eq!(visit.of("warning").len() + visit.of("error").len(), 0, "{visit:#?}");
    assert_eq!(row(&visit, "sshd", Some("Group robots"), "everybody"), "ssh key");
    assert_eq!(row(&visit, "sshd", None, "token"), "password+OTP");
}

/// sshd with these settings and this policy.
fn sshd_by_policy(config: &str, policy: &str, lines: &str) -> (Host, Visit) {
    let host = Host::new();
    host.place.write("sshd_config", config, 0o644);
    host.service("sshd", lines);
    let settings = fs::read_to_string(host.place.config()).unwrap();
    host.place.write("config.toml", format!("{settings}\n{policy}"), 0o600);
    let visit = host.doctor(&[]);
    assert!(!visit.has("config-invalid"), "{visit:#?}");
    (host, visit)
}

const ONLY_OURS: &str =
    "auth required pam_yubiotp.so\naccount required pam_yubiotp.so\naccount required pam_unix.so\n";

/// The verdict about a `Match` that asks only for a key, by whom the policy lets past the module. With each, the table.
#[test]
fn robots_that_the_policy_exempts() {
    let key_and_otp = "UsePAM yes\nAuthenticationMethods publickey,keyboard-interactive\n";
    let exempt = "[groups]\nrobots = [\"backup\", \"deploy\"]\n[policy]\nexempt = [{ who = [\"@robots\"], from = [\"10.20.0.0/16\"] }]\n";
    let one = "[policy]\nexempt = [\"backup\"]\n";
    let past = "[policy]\nexempt = [{ who = [\"backup\", \"deploy\"], until = 2020-01-01 }]\n";
    let excused = "[policy]\nrequire = [\"root\"]\n";
    for (policy, condition, severity, names, exempt_ways) in [
        (exempt, "User backup,deploy", None, "", Some("ssh key")),
        ("", "User backup,deploy", Some("warning"), "nobody gets in", None),
        (one, "User backup,deploy", Some("warning"), "deploy does not get in", Some("ssh key")),
        (past, "User backup,deploy", Some("warning"), "nobody gets in", None),
        (excused, "User backup,deploy", None, "", None),
        (excused, "User backup,root", Some("warning"), "root does not get in", None),
        (exempt, "Group robots", Some("note"), "unless the policy exempts them", Some("ssh key")),
        (exempt, "User back*", Some("note"), "unless the policy exempts them", Some("ssh key")),
    ] {
        let config = format!("{key_and_otp}Match {condition}\nAuthenticationMethods publickey\n");
        let (host, visit) = sshd_by_policy(&config, policy, ONLY_OURS);
        let what = format!("{policy} {condition}: {visit:#?}");
        let is_own = |it: &&Value| it["code"] == "exempt-users-refused" && it["area"] == "sshd";
        let found: Vec<_> = visit.findings.iter().filter(is_own).collect();
        assert_eq!(found.len(), usize::from(severity.is_some()), "{what}");
        if let Some(severity) = severity {
            let place = host.place.path("sshd_config:4");
            visit.finds(severity, "sshd", &place, &["exempt-users-refused", condition, names]);
        }
        let said = visit.said.json();
        let own = |it: &&Value| it["match"] == condition;
        let table = said["access"].as_array().unwrap().iter().find(own).unwrap()["rows"].clone();
        let ways = |class: &str| {
            let rows = table.as_array().unwrap().iter();
            rows.filter(|row| row["who"]["class"].as_array().unwrap().contains(&class.into()))
                .map(|row| row["with"].clone())
                .next()
        };
        let expected = exempt_ways.map(|way| serde_json::json!([[way]]));
        assert_eq!(ways("exempt"), expected, "{what}");
        assert_eq!(ways("token"), Some(serde_json::json!([])), "{what}");
    }
}

/// Users who postpone enrolling, behind an ssh key: what the doctor says of them is what its table says.
#[test]
fn who_postpones_enrolling_behind_a_key() {
    let key_and_otp = "UsePAM yes\nAuthenticationMethods publickey,keyboard-interactive\n";
    let robots = "Match User backup\nAuthenticationMethods publickey\n";
    let enroll = ONLY_OURS.replacen("pam_yubiotp.so", "pam_yubiotp.so enroll", 1);
    let policy = "[policy]\nuntil = 2100-01-01\nexempt = [\"backup\"]\n";
    let success = format!("{policy}[service.sshd]\non_exempt = \"success\"\n");
    for config in [key_and_otp.to_owned(), format!("{key_and_otp}{robots}")] {
        let (_, visit) = sshd_by_policy(&config, policy, &enroll);
        let named = ["exempt-users-refused", "postpone", "on_exempt = \"success\"", "[service.sshd]"];
        visit.finds("warning", "pam.d", Path::new(""), &named);
        assert_eq!(row(&visit, "sshd", None, "excused"), "ssh key+enrollment");
        let (_, visit) = sshd_by_policy(&config, &success, &enroll);
        assert!(!visit.has("exempt-users-refused"), "{visit:#?}");
        assert_eq!(row(&visit, "sshd", None, "excused exempt"), "ssh key");
    }
    // Without enroll, they cannot even enroll.
    let (_, visit) = sshd_by_policy(key_and_otp, policy, ONLY_OURS);
    visit.finds("warning", "pam.d", Path::new(""), &["exempt-users-refused", "excused users"]);
    assert_eq!(row(&visit, "sshd", None, "token"), "ssh key+OTP");
    // Where success would let in with nothing, it is not advised.
    let (_, visit) = sshd_by_policy("UsePAM yes\nPubkeyAuthentication no\n", policy, ONLY_OURS);
    let found = visit.finds("warning", "pam.d", Path::new(""), &["exempt-users-refused", "excused users"]);
    assert!(!super::remedies(found).concat().contains("on_exempt"), "{found}");
    // Behind a password, they get in with it.
    let password = "auth requisite pam_unix.so\n".to_owned() + &enroll;
    let (_, visit) = sshd_by_policy("UsePAM yes\nPubkeyAuthentication no\n", policy, &password);
    assert!(!visit.has("exempt-users-refused"), "{visit:#?}");
    assert_eq!(row(&visit, "sshd", None, "excused exempt"), "password");
}

/// `nullok` says neither yes nor no.
#[test]
fn excused_and_nobody_says_yes() {
    let key_first = "UsePAM yes\nAuthenticationMethods publickey,keyboard-interactive\n";
    let lines = "auth required pam_yubiotp.so nullok\naccount required pam_unix.so\n";
    let (host, visit) = sshd(key_first, lines);
    visit.finds("warning", "pam.d", &host.pam("sshd:1"), &["nullok-without-effect"]);
    assert_eq!(row(&visit, "sshd", None, "no-token not-listed"), "");
    // With a line that does: only where sshd asks for a key before.
    let lines = "auth required pam_yubiotp.so nullok\nauth required pam_permit.so\naccount required pam_yubiotp.so nullok\naccount required pam_unix.so\n";
    let (_, visit) = sshd(key_first, lines);
    assert_eq!(visit.of("warning").len() + visit.of("error").len(), 0, "{visit:#?}");
    assert_eq!(row(&visit, "sshd", None, "not-listed"), "ssh key");
    assert_eq!(row(&visit, "sshd", None, "token"), "ssh key+OTP");
    let (host, visit) = sshd("UsePAM yes\n", lines);
    visit.finds("error", "pam.d", &host.pam("sshd:1"), &["no-question-asked"]);
    // A script that asks sshd whether there was a key.
    let script = "[case $SSH_AUTH_INFO_0 in \"publickey \"*) exit 0;; esac; exit 1]";
    let lines = lines.replace("pam_permit.so", &format!("pam_exec.so quiet /bin/sh -c {script}"));
    for config in [key_first, "UsePAM yes\n"] {
        let (_, visit) = sshd(config, &lines);
        assert_eq!(visit.of("warning").len() + visit.of("error").len(), 0, "{visit:#?}");
        assert_eq!(row(&visit, "sshd", None, "not-listed"), "ssh key", "{config}");
    }
}

/// Another module is enough in place of ours: a user without a token is not rejected.
#[test]
fn a_fallback() {
    let host = Host::new();
    let lines = "auth required pam_unix.so\nauth sufficient pam_yubiotp.so\nauth required pam_oath.so\naccount required pam_unix.so\n";
    host.service("sudo", lines);
    let visit = host.doctor(&["bob"]);
    assert_eq!(visit.of("warning").len() + visit.of("error").len(), 0, "{visit:#?}");
    visit.finds("note", "pam.d", &host.pam("sudo:2"), &["other-factor-enough"]);
    visit.finds("note", "user", Path::new(""), &["user-not-listed"]);
    assert_eq!(row(&visit, "sudo", None, "token"), "password+OTP password+pam_oath");
    // In front of ours, too.
    host.service(
        "sudo",
        "auth required pam_unix.so\nauth sufficient pam_oath.so\nauth required pam_yubiotp.so\naccount required pam_unix.so\n",
    );
    let visit = host.doctor(&[]);
    assert_eq!(visit.of("warning").len() + visit.of("error").len(), 0, "{visit:#?}");
}

/// A fallback that the account line refuses.
#[test]
fn a_fallback_that_is_refused() {
    let host = Host::new();
    host.service(
        "sudo",
        "auth required pam_unix.so\nauth sufficient pam_yubiotp.so\nauth required pam_oath.so\naccount required pam_yubiotp.so\n",
    );
    let visit = host.doctor(&[]);
    visit.finds("warning", "pam.d", &host.pam("sudo:2"), &["refusal-not-enforced", "sudo:4"]);
    assert_eq!(row(&visit, "sudo", None, "token"), "password+OTP");
}

/// A line that exempts some users: what refuses the others is no refusal of everybody.
#[test]
fn users_whom_a_line_may_skip() {
    let host = Host::new();
    let lines = format!("auth sufficient pam_rootok.so\n{SUDO}");
    host.service("sudo", &lines);
    let visit = host.doctor(&["bob"]);
    visit.finds("note", "user", Path::new(""), &["user-not-listed", "sudo:3 rejects"]);
}

/// The table as people see it.
#[test]
fn in_words() {
    let host = Host::new();
    let said = host.words(&[]);
    let table = "who gets in, and with what\n  sudo\n    has a usable token              password + OTP\n    no usable token, or not listed  no way in\n";
    assert!(said.out.contains(table), "{said:?}");
    // What deliberate gates ask is a heading, and fits 80 columns.
    let jump = "[success=1 default=ignore] pam_access.so accessfile=/etc/yubiotp/exempt-access.conf\n";
    host.service(
        "sudo",
        &format!(
            "auth required pam_unix.so\nauth {jump}{}",
            SUDO.replacen("auth required pam_unix.so\n", "", 1)
        ),
    );
    let said = host.words(&[]);
    let table = "  sudo\n    unless pam_access accessfile=/etc/yubiotp/exempt-access.conf:\n      has a usable token              password + OTP\n      no usable token, or not listed  no way in\n    if pam_access accessfile=/etc/yubiotp/exempt-access.conf:\n      everybody                       password\n";
    assert!(said.out.contains(table), "{said:?}");
}

/// A method that sshd does not have, or that is off, is named.
#[test]
fn methods_that_cannot_be_used() {
    for (config, words) in [
        ("AuthenticationMethods publickey,keyboard-interactve\n", ["nobody-gets-in", "keyboard-interactve"]),
        (
            "KbdInteractiveAuthentication no\nAuthenticationMethods publickey,keyboard-interactive\n",
            ["nobody-gets-in", "keyboard-interactive"],
        ),
    ] {
        let (host, visit) = sshd(&format!("UsePAM yes\n{config}"), SUDO);
        visit.finds("error", "sshd", &host.place.path("sshd_config"), &words);
    }
}

/// What the settings of a line name cannot be used, or the module: nobody gets in by its yes.
#[test]
fn a_login_that_ends_in_a_fault_is_no_way_in() {
    let ways = |names: &[&[&str]]| -> Ways {
        names.iter().map(|way| way.iter().map(|name| (*name).to_owned()).collect()).collect()
    };
    let (closed, password, both) = (ways(&[]), ways(&[&["password"]]), ways(&[&["OTP", "password"]]));
    let everybody: &[fn(&Host)] = &[
        |host| fs::remove_file(host.place.path("pam_yubiotp.so")).unwrap(),
        |host| fs::write(host.place.path("pam_yubiotp.so"), "no library").unwrap(),
        |host| host.place.write("config.toml", "lock_wiat = 3\n", 0o644),
        |host| host.place.write("config.toml", "mode = \"online\"\n", 0o644),
        |host| fs::remove_file(host.place.path("authorized_yubikeys")).unwrap(),
        |host| host.place.write("authorized_yubikeys", "", 0o644),
        |host| chmod(&host.place.path("authorized_yubikeys"), 0o666),
    ];
    let listed: &[fn(&Host)] = &[
        |host| fs::remove_dir_all(host.place.path("keys")).unwrap(),
        |host| fs::remove_dir_all(host.place.path("positions")).unwrap(),
        |host| fs::remove_file(host.place.path("store.key")).unwrap(),
        |host| chmod(&host.place.path("store.key"), 0o644),
        |host| chmod(&host.place.path("keys"), 0o777),
    ];
    let cases = everybody.iter().map(|spoil| (spoil, false)).chain(listed.iter().map(|spoil| (spoil, true)));
    for (at, (spoil, excuses)) in cases.enumerate() {
        let host = Host::new();
        host.service("su", &SUDO.replace("pam_yubiotp.so", "pam_yubiotp.so nullok"));
        host.service("login", &SUDO.replace("required pam_unix.so\nauth", "sufficient pam_unix.so\nauth"));
        let before = table(&host.doctor(&[]), "su");
        assert_eq!((&before[&NOBODY[0]], &before[&NOBODY[2]]), (&both, &password));
        spoil(&host);
        let visit = host.doctor(&["alice"]);
        for (service, open, unlisted) in
            [("sudo", &closed, false), ("su", &closed, excuses), ("login", &password, true)]
        {
            let found = table(&visit, service);
            assert_eq!(&found[&NOBODY[0]], open, "{at}: {service}: {visit:#?}");
            let expected = if unlisted { &password } else { &closed };
            assert_eq!(&found[&NOBODY[2]], expected, "{at}: {service}: {visit:#?}");
        }
    }
}

/// The classes of users whom no gate matches, in the order of [`LISTINGS`].
const NOBODY: [Class; 3] = [("token", [false; 2]), ("no-token", [false; 2]), ("not-listed", [false; 2])];
