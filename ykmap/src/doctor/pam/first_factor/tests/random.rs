//! Random stacks, with every answer of every module, in a second simulation of libpam: one that runs a tree of
//! substacks, one login at a time.

use super::verdict;
use std::fmt::Write as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Yes,
    Expired,
    No,
    Unknown,
    Ignore,
    Missing,
}

use Said::{Expired, Ignore, Missing, No, Unknown, Yes};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Ok,
    Done,
    Bad,
    Die,
    Pass,
    Reset,
    Skip(usize),
}

/// Controls, and what each does about [`Said`] in its order.
const CONTROLS: [(&str, [Act; 6]); 13] = {
    use Act::{Bad, Die, Done, Ok, Pass, Reset, Skip};
    [
        ("required", [Ok, Ok, Bad, Bad, Pass, Bad]),
        ("requisite", [Ok, Ok, Die, Die, Pass, Die]),
        ("sufficient", [Done, Done, Pass, Pass, Pass, Pass]),
        ("optional", [Ok, Ok, Pass, Pass, Pass, Pass]),
        ("[success=1 default=ignore]", [Skip(1), Pass, Pass, Pass, Pass, Pass]),
        ("[success=2 default=ignore]", [Skip(2), Pass, Pass, Pass, Pass, Pass]),
        ("[success=ok default=die]", [Ok, Die, Die, Die, Die, Die]),
        ("[success=ok new_authtok_reqd=ok default=ignore]", [Ok, Ok, Pass, Pass, Pass, Pass]),
        ("[default=1]", [Skip(1), Skip(1), Skip(1), Skip(1), Skip(1), Skip(1)]),
        ("[success=ok auth_err=reset default=bad]", [Ok, Bad, Reset, Bad, Bad, Bad]),
        ("[success=done default=die]", [Done, Die, Die, Die, Die, Die]),
        ("[success=ignore default=bad]", [Pass, Bad, Bad, Bad, Bad, Bad]),
        ("[success=ok user_unknown=ok default=die]", [Ok, Die, Die, Ok, Die, Die]),
    ]
};

/// Modules with the answers that they give.
const MODULES: [(&str, &[Said]); 9] = [
    ("pam_unix.so", &[Yes, Expired, No, Unknown, Missing]),
    ("pam_unix.so", &[Yes, Expired, No, Unknown, Missing]),
    ("pam_unix.so nullok", &[Yes, Expired, No, Unknown, Missing]),
    ("pam_sss.so ignore_unknown_user", &[Yes, Expired, No, Unknown, Ignore, Missing]),
    ("pam_access.so", &[Yes, Expired, No, Unknown, Ignore, Missing]),
    ("pam_env.so", &[Yes, Expired, No, Unknown, Ignore, Missing]),
    ("pam_oath.so", &[Yes, Expired, No, Unknown, Ignore, Missing]),
    ("pam_deny.so", &[No, Missing]),
    ("pam_permit.so", &[Yes, Missing]),
];

const OURS: &str = "pam_yubiotp.so enroll";

#[derive(Debug)]
enum Item {
    Line { number: usize, control: usize, module: &'static str },
    Substack(Vec<Item>),
}

/// One login.
#[derive(Default)]
struct Login {
    /// The result so far: none, yes so far with a status, or no.
    status: Option<Result<Said, ()>>,
    proven: bool,
    proven_unless_empty: bool,
    asked: bool,
    refused: bool,
    /// Our line was reached.
    reached: bool,
    /// It was, and nothing was proven or somebody refused.
    unsafely: bool,
}

impl Login {
    fn is_no(&self) -> bool {
        matches!(self.status, Some(Err(()) | Ok(Expired | No | Unknown | Ignore | Missing)))
    }

    /// Runs the items of one substack, or of the whole stack. Whether it ended early.
    fn run(&mut self, items: &[Item], said: &[Said]) -> bool {
        let entered = self.status;
        let mut skip = 0;
        for item in items {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let (number, control, module) = match item {
                Item::Substack(items) => {
                    self.run(items, said);
                    continue;
                }
                Item::Line { number, control, module } => (*number, *control, *module),
            };
            if module == OURS {
                self.reached = true;
                let proven = self.proven || (self.proven_unless_empty && !self.asked);
                self.unsafely |= !proven || self.refused;
            }
            let said = said[number];
            let act = CONTROLS[control].1[said as usize];
            match act {
                Act::Pass => {}
                Act::Reset => self.status = entered,
                Act::Ok | Act::Done => {
                    if matches!(self.status, None | Some(Ok(Yes))) {
                        self.status = Some(Ok(said));
                    }
                }
                Act::Bad | Act::Die => self.status = Some(Err(())),
                Act::Skip(count) => skip = count,
            }
            self.note(module, said, act);
            if act == Act::Die || (act == Act::Done && matches!(self.status, Some(Ok(_)))) {
                return true;
            }
        }
        if skip > 0 {
            self.refused |= !self.is_no();
            self.status = Some(Err(()));
        }
        false
    }

    /// What a line's answer means for the first factor.
    fn note(&mut self, module: &str, said: Said, act: Act) {
        let password = module.starts_with("pam_unix") || module.starts_with("pam_sss");
        let yes = matches!(said, Yes | Expired);
        match (password, yes) {
            (true, true) if module.contains("nullok") => self.proven_unless_empty = true,
            (true, true) => self.proven = true,
            (true, false) => self.asked = true,
            (false, _) => self.asked |= module.starts_with("pam_oath") || module == OURS,
        }
        let no = matches!(act, Act::Bad | Act::Die) || (matches!(act, Act::Ok | Act::Done) && !yes);
        self.refused |= no && module != "pam_env.so" && module != "pam_permit.so";
        self.refused &= self.is_no();
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// A stack of these many lines from `number` on, and the answers of each.
fn stack(dice: &mut Dice, lines: usize, depth: usize, answers: &mut Vec<&'static [Said]>) -> Vec<Item> {
    let mut items = Vec::new();
    for _ in 0..lines {
        if depth > 0 && dice.roll(6) == 0 {
            let lines = 1 + dice.roll(2);
            items.push(Item::Substack(stack(dice, lines, depth - 1, answers)));
            continue;
        }
        let (module, own) = MODULES[dice.roll(MODULES.len())];
        // Of the controls, the usual ones come up most.
        let control = if dice.roll(2) == 0 { dice.roll(6) } else { dice.roll(CONTROLS.len()) };
        items.push(Item::Line { number: answers.len(), control, module });
        answers.push(own);
    }
    items
}

/// Writes the stack as files, those of substacks behind it.
fn write(items: &[Item], files: &mut Vec<String>) -> String {
    let mut text = String::new();
    for item in items {
        match item {
            Item::Line { control, module, .. } => {
                writeln!(text, "auth {} {module}", CONTROLS[*control].0).unwrap();
            }
            Item::Substack(items) => {
                let own = write(items, files);
                writeln!(text, "auth substack sub{}", files.len()).unwrap();
                files.push(own);
            }
        }
    }
    text
}

/// Whether some login reaches our line, and none unsafely.
fn is_proven(items: &[Item], answers: &[&[Said]]) -> bool {
    let mut reached = false;
    let mut turn = vec![0; answers.len()];
    loop {
        let said: Vec<_> = turn.iter().zip(answers).map(|(at, own)| own[*at]).collect();
        let mut login = Login::default();
        login.run(items, &said);
        reached |= login.reached;
        if login.unsafely {
            return false;
        }
        let Some(at) = (0..turn.len()).find(|at| turn[*at] + 1 < answers[*at].len()) else { return reached };
        turn[at] += 1;
        turn[..at].fill(0);
    }
}

#[test]
fn random_stacks_have_the_verdict_of_every_login_through_them() {
    let mut dice = Dice(17);
    let mut counts = [0; 2];
    for _ in 0..1500 {
        let mut answers = Vec::new();
        let lines = 1 + dice.roll(4);
        let mut items = stack(&mut dice, lines, 2, &mut answers);
        let ours = |answers: &mut Vec<&'static [Said]>, control| {
            let number = answers.len();
            answers.push(&[Yes, No, Unknown, Ignore]);
            Item::Line { number, control, module: OURS }
        };
        if dice.roll(8) == 0 {
            let at = dice.roll(items.len() + 1);
            items.insert(at, ours(&mut answers, 1));
        }
        items.push(ours(&mut answers, 0));
        let mut files = Vec::new();
        let mut text = write(&items, &mut files);
        for (number, file) in files.iter().enumerate() {
            write!(text, "== sub{number}\n{file}").unwrap();
        }
        let expected = is_proven(&items, &answers);
        assert_eq!(verdict(&text).is_ok(), expected, "{text}{:?}", verdict(&text));
        counts[usize::from(expected)] += 1;
    }
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}
