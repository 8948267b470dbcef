//! The doctor's findings about a stack, compared with the real libpam for every answer of its modules.

use super::{Host, Visit};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use tests::libpam::{Code, Pam, Script};

/// What libpam made of a stack.
#[derive(Debug, Default, PartialEq, Eq)]
struct Truth {
    /// With an OTP that is accepted, somebody who was asked for it gets in.
    otp_gets_in: bool,
    /// The module is asked at all.
    asked: bool,
    /// Somebody gets in without having been asked, whatever the module would say.
    past: bool,
    /// Somebody gets in whom the module refused.
    no_is_ignored: bool,
    /// The OTP is enough, although every other module that asks rejects.
    otp_alone: bool,
    /// Everybody gets in, although every module that can reject does.
    open: bool,
}

/// The doctor's finding about it.
fn told(visit: &Visit, service: &str) -> Truth {
    let own = || {
        visit.findings.iter().filter(|it| {
            let problem = it["problem"].as_str().unwrap();
            problem.split(": ").next().is_some_and(|names| names.split(", ").any(|name| name == service))
        })
    };
    let says = |codes: &[&str]| own().any(|it| codes.contains(&it["code"].as_str().unwrap()));
    // Of the lines that let somebody in with nothing, some lead past the module, and others let everybody in.
    let by_past = |it: &&Value| it["problem"].as_str().unwrap().contains(" bypasses ");
    let open = || own().filter(|it| it["code"] == "no-question-asked");
    let asked = !says(&["never-asked"]);
    // One mistake is one finding: a line that libpam cannot read says by itself that nobody gets in.
    let misread = own().filter(|it| it["code"] == "pam-line-misread");
    let by_misread =
        misread.map(|it| it["problem"].as_str().unwrap()).any(|it| it.contains("nobody who is asked"));
    Truth {
        otp_gets_in: asked && !by_misread && !says(&["nobody-gets-in"]),
        asked,
        past: says(&["users-exempt", "otp-bypassed", "other-factor-enough"]) || open().any(|it| by_past(&it)),
        no_is_ignored: says(&["refusal-not-enforced"]),
        otp_alone: says(&["otp-enough"]),
        open: open().any(|it| !by_past(&it)),
    }
}

/// The service files of one stack; in them `OURS`, their folder `DIR` (Debian's libpam looks for an include in
/// /etc/pam.d, wherever the service file is), and modules that ask (`ASK0`, …) or look at who it is (`GATE0`, …).
type Files = BTreeMap<String, String>;

const ANSWERS: [(&str, &str); 4] = [
    ("success", "pam_permit.so"),
    ("auth_err", "pam_deny.so"),
    ("user_unknown", "pam_debug.so auth=user_unknown"),
    ("ignore", "pam_debug.so auth=ignore"),
];

/// Goes through every answer of every module, by the real libpam.
fn truth(files: &Files) -> Truth {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
    let all = files.values().cloned().collect::<String>();
    let kind = |name: &str| (0..9).filter(|n| all.contains(&format!("{name}{n}"))).collect::<Vec<u32>>();
    let (asks, gates) = (kind("ASK"), kind("GATE"));
    let others: Vec<_> =
        asks.iter().map(|n| format!("ASK{n}")).chain(gates.iter().map(|n| format!("GATE{n}"))).collect();
    let mut truth = Truth::default();
    for ours in ["success", "auth_err"] {
        for assignment in 0..4_usize.pow(others.len() as u32) {
            // A gate accepts the user or not.
            let is_gate = |index: usize| index >= asks.len();
            if (0..others.len()).any(|index| is_gate(index) && assignment / 4_usize.pow(index as u32) % 4 > 1)
            {
                continue;
            }
            let answer = |index: usize| ANSWERS[assignment / 4_usize.pow(index as u32) % 4];
            for (name, text) in files {
                let mut text = text.replace("OURS", &format!("pam_debug.so auth={ours}"));
                for (index, other) in others.iter().enumerate() {
                    text = text.replace(other, answer(index).1);
                }
                fs::write(folder.path().join(name), text.replace("DIR", folder.path().to_str().unwrap()))
                    .unwrap();
            }
            let (yes, asked) = login(folder.path(), &format!("auth={ours}"));
            let refuse =
                |range: std::ops::Range<usize>| range.into_iter().all(|index| answer(index).0 == "auth_err");
            let (asks_refuse, all_refuse) = (refuse(0..asks.len()), refuse(0..others.len()));
            if ours == "success" {
                truth.asked |= asked;
                truth.otp_gets_in |= asked && yes;
                truth.otp_alone |= asked && yes && asks_refuse;
            } else {
                truth.past |= yes && !asked;
                truth.no_is_ignored |= yes && asked;
                truth.open |= yes && all_refuse;
            }
        }
    }
    truth
}

/// Whether libpam says yes to the service `s`, and whether a module said this.
fn login(confdir: &std::path::Path, said: &str) -> (bool, bool) {
    let script = Script::new(Vec::<Vec<u8>>::new());
    let seen = script.seen();
    let yes = Pam::start(confdir, "s", Some(b"root"), Box::new(script)).authenticate(0) == Code::SUCCESS;
    let asked = seen.borrow().iter().any(|prompt| prompt.text == said);
    (yes, asked)
}

/// The same files for the doctor, as a service of another name.
fn write(host: &Host, service: &str, files: &Files) {
    for (name, text) in files {
        let mut text =
            text.replace("OURS", "pam_yubiotp.so").replace("DIR", host.place.confdir().to_str().unwrap());
        for n in 0..9 {
            text = text
                .replace(&format!("ASK{n}"), "pam_unix.so")
                .replace(&format!("GATE{n}"), &format!("pam_succeed_if.so uid = {n}"));
        }
        // An included file has a name of its own.
        for other in files.keys().filter(|other| *other != "s") {
            text = text.replace(other, &format!("{service}-{other}"));
        }
        let name = if name == "s" { service.to_owned() } else { format!("{service}-{name}") };
        host.service(&name, &text);
    }
}

/// All of them in one run of the doctor.
fn compare(stacks: &[Files]) {
    let host = Host::new();
    for (number, files) in stacks.iter().enumerate() {
        write(&host, &format!("t{number}t"), files);
    }
    let visit = host.doctor(&[]);
    for (number, files) in stacks.iter().enumerate() {
        let (truth, told) = (truth(files), told(&visit, &format!("t{number}t")));
        // A user who is never asked gets no other finding.
        let told = if truth.asked || told.asked {
            told
        } else {
            Truth { past: truth.past, open: truth.open, ..told }
        };
        assert_eq!(told, truth, "what the doctor says, and what libpam does: {files:#?}");
    }
}

fn stack(lines: &str) -> Files {
    Files::from([("s".to_owned(), lines.to_owned() + "account required pam_permit.so\n")])
}

#[test]
fn stacks_that_people_write() {
    let debian = "auth [success=1 default=ignore] ASK0 nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n";
    let fedora = "auth sufficient ASK0\nauth required pam_deny.so\n";
    let with = |lines: &str, included: &str| {
        let mut files = stack(lines);
        files.insert("inner".to_owned(), included.to_owned());
        files
    };
    let stacks = [
        stack("auth required ASK0\nauth required OURS\n"),
        stack("auth required OURS\n"),
        stack("auth sufficient OURS\nauth required ASK0\n"),
        stack("auth sufficient ASK0\nauth required OURS\n"),
        stack("auth optional OURS\nauth required ASK0\n"),
        stack("auth optional OURS\n"),
        stack("auth required pam_permit.so\nauth optional OURS\n"),
        stack("auth sufficient GATE0\nauth required ASK0\nauth required OURS\n"),
        stack("auth [success=1 default=ignore] GATE0\nauth required OURS\nauth required ASK0\n"),
        stack("auth [success=ignore default=1] GATE0\nauth required OURS\nauth required ASK0\n"),
        stack("auth [success=2 default=ignore] GATE0\nauth required OURS\n"),
        stack("auth requisite pam_deny.so\nauth required OURS\n"),
        stack("auth required pam_deny.so\nauth required OURS\n"),
        stack("auth required ASK0\nauth sufficient pam_permit.so\nauth required OURS\n"),
        stack("auth requird ASK0\nauth required OURS\n"),
        stack("auth required OURS\nauth [success=reset default=ignore] GATE0\nauth required ASK0\n"),
        stack("auth [default=ignore] OURS\nauth required ASK0\n"),
        stack("-auth required OURS\nAUTH Required \\\n  ASK0 # twice\n"),
        stack("nonsense optional pam_permit.so\nauth required OURS\n"),
        with("auth include DIR/inner\nauth required OURS\n", debian),
        with("auth substack DIR/inner\nauth required OURS\n", debian),
        with("@include DIR/inner\nauth required OURS\n", debian),
        with("auth include DIR/inner\nauth required OURS\n", fedora),
        with("auth substack DIR/inner\nauth required OURS\n", fedora),
        with(
            "auth required ASK1\nauth substack DIR/inner\n",
            "auth sufficient OURS\nauth required pam_deny.so\n",
        ),
        with(
            "auth [success=1 default=ignore] GATE0\nauth substack DIR/inner\nauth required ASK0\n",
            "auth required OURS\n",
        ),
        with(
            "auth [success=1 default=ignore] GATE0\nauth include DIR/inner\nauth required ASK0\n",
            "auth required ASK1\nauth required OURS\n",
        ),
        with("auth include missing\nauth required OURS\n", ""),
    ];
    compare(&stacks);
}

/// A generator of our own, so that a stack that fails can be had again.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn line(&mut self, others: &mut u32) -> String {
        const CONTROLS: [&str; 14] = [
            "required",
            "required",
            "requisite",
            "sufficient",
            "sufficient",
            "optional",
            "[success=1 default=ignore]",
            "[success=2 default=bad]",
            "[success=ok default=1]",
            "[success=done default=die]",
            "[success=reset default=ok]",
            "[default=done]",
            "[user_unknown=ignore success=ok ignore=1 default=bad]",
            "[success=bad auth_err=ok default=reset]",
        ];
        let control = CONTROLS[self.roll(14) as usize];
        let module = match self.roll(6) {
            0 => "pam_deny.so".to_owned(),
            1 => "pam_permit.so".to_owned(),
            kind if *others < 2 => {
                *others += 1;
                format!("{}{others}", if kind % 2 == 0 { "ASK" } else { "GATE" })
            }
            _ => "OURS".to_owned(),
        };
        format!("auth {control} {module}\n")
    }
}

#[test]
fn stacks_that_nobody_would_write() {
    const STACKS: usize = 200;
    let mut dice = Dice(20_261_122);
    let mut stacks = Vec::new();
    while stacks.len() < STACKS {
        let (mut others, mut lines, mut inner) = (0, String::new(), String::new());
        for _ in 0..=dice.roll(3) {
            lines += &dice.line(&mut others);
        }
        let nested = dice.roll(2) == 0;
        if nested {
            for _ in 0..=dice.roll(2) {
                inner += &dice.line(&mut others);
            }
            writeln!(lines, "auth {} DIR/inner", ["include", "substack"][dice.roll(2) as usize]).unwrap();
        }
        for _ in 0..=dice.roll(2) {
            lines += &dice.line(&mut others);
        }
        if !(lines.clone() + &inner).contains("OURS") {
            continue;
        }
        let mut files = stack(&lines);
        if nested {
            files.insert("inner".to_owned(), inner);
        }
        stacks.push(files);
    }
    compare(&stacks);
}
