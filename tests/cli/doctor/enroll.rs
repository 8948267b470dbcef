//! Lines with `enroll`: the doctor's verdict about the first factor, compared with the real libpam, and who can enroll.

use super::stacks::Dice;
use super::{Host, Visit};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use tests::libpam::{Code, Pam, Script};

const ACCOUNT: &str = "account required pam_unix.so\n";
const OURS: &str = "auth required pam_yubiotp.so enroll\n";
const UNPROVEN: &str = "enroll-without-first-factor";

/// What the table says of users who are not listed.
fn unlisted(visit: &Visit, service: &str) -> Value {
    let said = visit.said.json();
    let tables = said["access"].as_array().unwrap().clone();
    let is_own = |table: &&Value| table["services"].as_array().unwrap().iter().any(|name| name == service);
    let rows = tables.iter().find(is_own).unwrap()["rows"].as_array().unwrap().clone();
    let is_unlisted =
        |row: &&Value| row["who"]["class"].as_array().unwrap().iter().any(|class| class == "not-listed");
    rows.iter().find(is_unlisted).unwrap()["with"].clone()
}

#[test]
fn a_password_that_is_proven_and_one_that_is_not() {
    let host = Host::new();
    host.place.install_enroll();
    host.service("sudo", &format!("auth requisite pam_unix.so\n{OURS}{ACCOUNT}"));
    let visit = host.doctor(&[]);
    visit.is_well();
    assert_eq!(unlisted(&visit, "sudo"), json!([["password", "enrollment"]]));
    let said = host.words(&[]).exits(super::well());
    assert!(
        said.out.contains("    not listed ") && said.out.contains("  password + enrollment\n"),
        "{said:?}"
    );

    host.service("sudo", &format!("auth required pam_unix.so\n{OURS}{ACCOUNT}"));
    let visit = host.doctor(&[]);
    let at = |line: u32| format!("{}:{line}", host.pam("sudo").display());
    visit.finds("error", "pam.d", Path::new(&at(2)), &[UNPROVEN, "requisite", &at(1)]);
    assert_eq!(unlisted(&visit, "sudo"), json!([]));
}

/// A key that sshd has accepted is a proof, if it comes first.
#[test]
fn what_sshd_proves_before() {
    let host = Host::new();
    host.service("sshd", &format!("{OURS}{ACCOUNT}"));
    let place = format!("{}:1", host.pam("sshd").display());
    let config = |methods: &str| {
        let text = format!("UsePAM yes\n{methods}");
        host.place.write("sshd_config", &text, 0o644);
        host.doctor(&[])
    };
    let visit = config("AuthenticationMethods publickey,keyboard-interactive\n");
    assert!(!visit.has(UNPROVEN), "{visit:#?}");
    assert_eq!(unlisted(&visit, "sshd"), json!([["ssh key", "enrollment"]]));
    for methods in ["", "AuthenticationMethods keyboard-interactive,publickey\n"] {
        config(methods).finds("error", "pam.d", Path::new(&place), &[UNPROVEN]);
    }
    let mixed = "AuthenticationMethods publickey,keyboard-interactive keyboard-interactive\n";
    config(mixed).finds("warning", "pam.d", Path::new(&place), &[UNPROVEN]);
    // By a Match, users come without a key.
    let some = "AuthenticationMethods publickey,keyboard-interactive\nMatch Group x\nAuthenticationMethods keyboard-interactive\n";
    config(some).finds("warning", "pam.d", Path::new(&place), &[UNPROVEN]);
    // The password of the stack is as good.
    host.service("sshd", &format!("auth requisite pam_unix.so\n{OURS}{ACCOUNT}"));
    let visit = config("");
    assert!(!visit.has(UNPROVEN), "{visit:#?}");
    let visit = config("KbdInteractiveAuthentication no\n");
    visit.finds("warning", "pam.d", &host.pam("sshd"), &["enroll-without-prompt"]);
    assert_eq!(unlisted(&visit, "sshd"), json!([["ssh key"]]), "sshd asks for nothing after it");
}

/// Where `enroll` does nothing.
#[test]
fn without_effect() {
    let proven = "auth requisite pam_unix.so\n";
    for (lines, line, code) in [
        (format!("{proven}{OURS}account required pam_yubiotp.so enroll\n{ACCOUNT}"), 3, "enroll-not-in-auth"),
        (format!("{proven}auth required pam_yubiotp.so enroll nullok\n{ACCOUNT}"), 2, "enroll-with-nullok"),
        (
            format!("{proven}auth required pam_yubiotp.so enroll use_first_pass\n{ACCOUNT}"),
            2,
            "enroll-without-prompt",
        ),
    ] {
        let host = Host::new();
        host.service("sudo", &lines);
        let place = format!("{}:{line}", host.pam("sudo").display());
        host.doctor(&[]).finds("warning", "pam.d", Path::new(&place), &[code]);
    }
}

#[test]
fn a_policy_that_requires_nobody() {
    let host = Host::new();
    host.service("sudo", &format!("auth requisite pam_unix.so\n{OURS}{ACCOUNT}"));
    let config = fs::read_to_string(host.place.config()).unwrap();
    for (policy, idle) in [
        ("", false),
        ("[policy]\nrequire = \"enrolled\"\n", true),
        ("[policy]\nrequire = \"all\"\nnot_before = 2100-01-01\n", false),
        ("[policy]\nrequire = [\"bob\"]\n", false),
        ("[policy]\nrequire = \"enrolled\"\n[service.sudo]\nrequire = \"all\"\n", false),
        ("[service.sudo]\nrequire = \"enrolled\"\n", true),
    ] {
        fs::write(host.place.config(), format!("{config}\n{policy}")).unwrap();
        let visit = host.doctor(&[]);
        assert!(!visit.has("config-invalid"), "{visit:#?}");
        assert_eq!(visit.has("enroll-without-policy"), idle, "{policy}: {visit:#?}");
    }
}

/// Accounts without a token are not kept out where they can enroll.
#[test]
fn accounts_that_can_enroll() {
    let host = Host::new();
    host.place.write(
        "etc/passwd",
        "alice:x:1000:1000::/nowhere:/bin/sh\nbob:x:1001:1001::/nowhere:/bin/sh\n",
        0o644,
    );
    host.place.write("etc/shadow", "alice:$y$hash:20000::::::\nbob:$y$hash:20000::::::\n", 0o600);
    host.doctor(&[]).finds("warning", "mapping", Path::new(""), &["accounts-not-listed", "bob"]);
    host.service("sudo", &format!("auth requisite pam_unix.so\n{OURS}{ACCOUNT}"));
    let visit = host.doctor(&[]);
    visit.finds("note", "mapping", Path::new(""), &["accounts-not-listed", "bob", "sudo"]);
    host.doctor(&["bob"]).finds("note", "user", Path::new(""), &["user-not-listed", "password + enrollment"]);
    // Excused users who get in with a key, can enroll behind it, or do neither.
    let key_first = "UsePAM yes\nAuthenticationMethods publickey,keyboard-interactive\n";
    host.place.write("sshd_config", key_first, 0o644);
    fs::remove_file(host.pam("sudo")).unwrap();
    let config = fs::read_to_string(host.place.config()).unwrap();
    let until = format!("{config}\n[policy]\nuntil = 2100-01-01\n");
    let ours = OURS.replace(" enroll", "");
    for (lines, policy, severity, words) in [
        (&ours, until.clone(), "warning", "Rejected by: sshd"),
        (&OURS.to_owned(), until.clone(), "note", "can enroll a token at a login: sshd"),
        (&ours, format!("{until}on_exempt = \"success\"\n"), "note", "without a YubiKey for now"),
    ] {
        host.service("sshd", &format!("{lines}{ACCOUNT}"));
        fs::write(host.place.config(), policy).unwrap();
        host.doctor(&[]).finds(severity, "mapping", Path::new(""), &["accounts-not-listed", "bob", words]);
    }
}

/// Stacks for the doctor and for libpam. `PASSWORD0`, … check passwords, `GATE0`, … look at who it is, `ENV` protects
/// nothing, and `INNER` is the included file.
struct Stack {
    lines: String,
    inner: String,
}

/// Stand-ins for modules, by their answer.
const ANSWERS: [&str; 5] = [
    "pam_permit.so",
    "pam_deny.so",
    "pam_debug.so auth=user_unknown",
    "/nowhere/missing.so",
    "pam_debug.so auth=ignore",
];

/// Whether the last line is reached by some login of the real libpam, and by none whose passwords are all wrong or that
/// another line has refused.
fn is_safe(stack: &Stack) -> bool {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
    let all = format!("{}{}", stack.lines, stack.inner);
    let words = |name: &str| {
        (0..4).map(|n| format!("{name}{n}")).filter(|word| all.contains(word.as_str())).collect::<Vec<_>>()
    };
    let (passwords, gates) = (words("PASSWORD"), words("GATE"));
    let others: Vec<_> = passwords.iter().chain(&gates).collect();
    let mut reached = false;
    for assignment in 0..ANSWERS.len().pow(others.len() as u32) {
        let answer = |at: usize| assignment / ANSWERS.len().pow(at as u32) % ANSWERS.len();
        // A module that checks passwords never says ignore.
        if (0..passwords.len()).any(|at| answer(at) == 4) {
            continue;
        }
        let file = |text: &str| {
            let text = others
                .iter()
                .enumerate()
                .fold(text.to_owned(), |text, (at, word)| text.replace(word.as_str(), ANSWERS[answer(at)]));
            text.replace("ENV", "pam_permit.so")
                .replace("INNER", folder.path().join("inner").to_str().unwrap())
                .replace("pam_yubiotp.so enroll", "pam_debug.so auth=success")
        };
        fs::write(folder.path().join("s"), file(&stack.lines)).unwrap();
        fs::write(folder.path().join("inner"), file(&stack.inner)).unwrap();
        let script = Script::new(Vec::<Vec<u8>>::new());
        let seen = script.seen();
        let code = Pam::start(folder.path(), "s", Some(b"root"), Box::new(script)).authenticate(0);
        if seen.borrow().iter().any(|prompt| prompt.text == "auth=success") {
            reached = true;
            let all_wrong = (0..passwords.len()).all(|at| answer(at) != 0);
            if all_wrong || code != Code::SUCCESS {
                return false;
            }
        }
    }
    reached
}

/// Compares the doctor's verdict with that of libpam. Gives how many were safe.
fn compare(stacks: &[Stack]) -> usize {
    let host = Host::new();
    for (number, stack) in stacks.iter().enumerate() {
        let text = |text: &str| {
            let inner = host.pam(&format!("inner{number}"));
            let text = text.replace("INNER", inner.to_str().unwrap()).replace("ENV", "pam_env.so");
            (0..4).fold(text, |text, n| {
                text.replace(&format!("PASSWORD{n}"), "pam_unix.so")
                    .replace(&format!("GATE{n}"), "pam_shells.so")
            })
        };
        host.service(&format!("t{number}t"), &(text(&stack.lines) + ACCOUNT));
        host.service(&format!("inner{number}"), &text(&stack.inner));
    }
    let visit = host.doctor(&[]);
    let mut safe = 0;
    for (number, stack) in stacks.iter().enumerate() {
        let service = format!("t{number}t");
        let own = |it: &&Value| {
            let names = it["problem"].as_str().unwrap().split(": ").next().unwrap();
            names.split(", ").any(|name| name == service)
        };
        let bad =
            visit.findings.iter().filter(own).any(|it| it["code"] == UNPROVEN || it["code"] == "never-asked");
        let truth = is_safe(stack);
        assert_eq!(!bad, truth, "{}\ninner:\n{}", stack.lines, stack.inner);
        safe += usize::from(truth);
    }
    safe
}

#[test]
fn the_real_libpam_agrees_about_stacks_that_people_write() {
    let debian = "auth [success=1 default=ignore] PASSWORD0\nauth requisite pam_deny.so\nauth required pam_permit.so\n";
    let sssd = "auth [success=2 default=ignore] PASSWORD0\nauth [success=1 default=ignore] PASSWORD1\n\
                auth requisite pam_deny.so\nauth required pam_permit.so\n";
    let fedora = "auth required ENV\nauth sufficient PASSWORD0\nauth required pam_deny.so\n";
    let arch = "auth requisite GATE0\nauth [success=1 default=bad] PASSWORD0\nauth [default=die] GATE1\n\
                auth optional pam_permit.so\nauth required ENV\n";
    let stack = |lines: &str, inner: &str| Stack { lines: format!("{lines}{OURS}"), inner: inner.to_owned() };
    let safe = [
        stack("auth requisite PASSWORD0\n", ""),
        stack("-auth requisite PASSWORD0\n", ""),
        stack("auth [success=ok default=die] PASSWORD0\n", ""),
        stack("auth [success=ok new_authtok_reqd=ok ignore=ignore default=die] PASSWORD0\n", ""),
        stack("auth requisite GATE0\nauth requisite PASSWORD0\n", ""),
        stack("auth sufficient GATE0\nauth requisite PASSWORD0\nauth required ENV\n", ""),
        stack("auth optional PASSWORD0\nauth requisite PASSWORD1\n", ""),
        stack("@include INNER\n", debian),
        stack("auth include INNER\n", debian),
        stack("auth include INNER\n", sssd),
        stack("auth include INNER\n", arch),
        stack("auth requisite PASSWORD0\nauth substack INNER\n", "auth optional GATE0\n"),
    ];
    assert_eq!(compare(&safe), safe.len());
    let unsafe_ones = [
        stack("", ""),
        stack("auth required PASSWORD0\n", ""),
        stack("auth sufficient PASSWORD0\n", ""),
        stack("auth optional PASSWORD0\n", ""),
        stack("-auth sufficient PASSWORD0\n", ""),
        stack("auth [success=ok default=ignore] PASSWORD0\n", ""),
        stack("auth [success=ok module_unknown=ignore default=die] PASSWORD0\n", ""),
        stack("auth [success=1 default=ignore] GATE0\nauth requisite PASSWORD0\n", ""),
        stack("auth required GATE0\nauth requisite PASSWORD0\n", ""),
        stack("auth required GATE0\nauth sufficient PASSWORD0\n", ""),
        stack("auth [success=1 default=ignore] PASSWORD0\nauth required pam_deny.so\n", ""),
        stack("auth substack INNER\n", debian),
        stack("auth substack INNER\n", fedora),
        stack("auth include INNER\n", fedora),
        stack("auth substack INNER\n", "auth requisite PASSWORD0\n"),
        stack("auth requird PASSWORD0\n", ""),
    ];
    assert_eq!(compare(&unsafe_ones), 0);
}

#[test]
fn the_real_libpam_agrees_about_stacks_that_nobody_would_write() {
    const CONTROLS: [&str; 12] = [
        "required",
        "requisite",
        "requisite",
        "sufficient",
        "optional",
        "[success=1 default=ignore]",
        "[success=1 default=die]",
        "[success=ok default=1]",
        "[success=ok default=die]",
        "[success=done default=die]",
        "[success=ok user_unknown=reset default=bad]",
        "[success=ok user_unknown=ok default=die]",
    ];
    let mut dice = Dice(20_261_130);
    let mut stacks = Vec::new();
    for _ in 0..150 {
        let (mut passwords, mut gates) = (0, 0);
        let mut lines = |dice: &mut Dice, count: u64| {
            let mut text = String::new();
            for _ in 0..count {
                let mut control = CONTROLS[dice.roll(12) as usize];
                let module = match dice.roll(7) {
                    0 => "pam_deny.so".to_owned(),
                    1 => "pam_permit.so".to_owned(),
                    2 if gates < 2 => {
                        gates += 1;
                        format!("GATE{}", gates - 1)
                    }
                    _ if passwords < 2 => {
                        passwords += 1;
                        format!("PASSWORD{}", passwords - 1)
                    }
                    _ => {
                        // For libpam it always says yes.
                        control = "required";
                        "ENV".to_owned()
                    }
                };
                writeln!(text, "auth {control} {module}").unwrap();
            }
            text
        };
        let count = 1 + dice.roll(3);
        let mut text = lines(&mut dice, count);
        let mut inner = String::new();
        if dice.roll(2) == 0 {
            let count = 1 + dice.roll(2);
            inner = lines(&mut dice, count);
            writeln!(text, "auth {} INNER", ["include", "substack"][dice.roll(2) as usize]).unwrap();
        }
        stacks.push(Stack { lines: format!("{text}{OURS}"), inner });
    }
    let safe = compare(&stacks);
    assert!((10..140).contains(&safe), "{safe}");
}
