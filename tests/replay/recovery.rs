//! `ykmap recovery new`, killed or failing at each system call that changes something. Whatever happens: the user has the
//! old codes or the new ones, no code works that was not shown, `check` names what is left, and the next command removes it.

use crate::login::place;
use crate::traced::{self, Do, Ended};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use tests::built::program;
use tests::place::Place;

struct Target {
    place: Place,
    copy: PathBuf,
    /// The codes that alice had before.
    old: Vec<String>,
    old_set: String,
}

fn codes_in(text: &str) -> Vec<String> {
    let is_code = |word: &&str| word.len() == 14 && word.match_indices('-').map(|(at, _)| at).eq([1, 6, 11]);
    text.split_whitespace().filter(is_code).map(str::to_owned).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Target {
    fn new(number: u32) -> Self {
        let (place, _) = place(number);
        let made = place.ykmap(&["recovery", "new", "alice"]);
        assert!(made.status.success(), "{made:?}");
        let copy = place.confdir().with_file_name("copy");
        let copied = Command::new("cp").arg("-a").arg(place.host()).arg(&copy).status().unwrap();
        assert!(copied.success());
        let mut target = Self { place, copy, old: codes_in(&said(&made)), old_set: String::new() };
        target.old_set = target.set();
        target
    }

    fn restore(&self) {
        fs::remove_dir_all(self.place.host()).unwrap();
        let copied = Command::new("cp").arg("-a").arg(&self.copy).arg(self.place.host()).status().unwrap();
        assert!(copied.success());
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program("ykmap"));
        command.arg("--config").arg(self.place.config()).args(["recovery", "new", "alice"]);
        command
    }

    /// The one set that the mapping lists for alice.
    fn set(&self) -> String {
        let mapping = fs::read_to_string(self.place.path("authorized_yubikeys")).unwrap();
        let line = mapping.lines().find(|line| line.starts_with("alice:")).unwrap();
        let sets: Vec<_> = line.split(':').filter(|field| field.starts_with("rec-")).collect();
        assert_eq!(sets.len(), 1, "{line}");
        sets[0].to_owned()
    }

    /// The sets whose codes are in the store, and how many each has.
    fn stored(&self) -> BTreeSet<String> {
        let names = fs::read_dir(self.place.path("keys")).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap()).filter(|name| name.starts_with("rec-"));
        names.map(|name| name.rsplit_once('-').unwrap().0.to_owned()).collect()
    }

    fn accepts(&self, code: &str) -> bool {
        said(&self.place.ykmap(&["verify", "alice", code])).starts_with("accepted: ")
    }

    /// What must hold after any attack. Whether the codes are the new ones.
    fn judge(&self, what: &str, ended: &Ended) -> bool {
        let (set, shown) = (self.set(), codes_in(&ended.said));
        let is_new = set != self.old_set;
        let (valid, others) = if is_new { (&shown, &self.old) } else { (&self.old, &shown) };
        assert_eq!(valid.len(), 4, "{what}: {ended:?}");
        let left = said(&self.place.ykmap(&["--json", "recovery", "status", "alice"]));
        assert!(left.contains("\"left\": 4"), "{what}: {left}");
        let check = said(&self.place.ykmap(&["check"]));
        let is_named = check.contains("[change-unfinished]");
        let is_clean = self.stored() == BTreeSet::from([set]);
        assert!(is_clean || is_named, "{what}: nobody's codes, and check says {check}");
        assert!(check.contains("0 errors"), "{what}: {check}");
        assert!(ended.code != Some(0) || is_new && is_clean && !is_named, "{what}: {ended:?}: {check}");
        for code in others {
            assert!(!self.accepts(code), "{what}: {code} of {ended:?}");
        }
        assert!(self.accepts(&valid[2]) && !self.accepts(&valid[2]), "{what}");
        let again = self.place.ykmap(&["recovery", "new", "alice"]);
        assert!(again.status.success(), "{what}: {again:?}");
        assert_eq!(self.stored(), BTreeSet::from([self.set()]), "{what}");
        assert!(!self.place.path("keys/.unfinished").exists(), "{what}");
        is_new
    }

    fn attack(&self, attack: Do) {
        let mut renewed = 0;
        let count = traced::each(
            &self.command(),
            attack,
            |call| traced::matters(Do::Kill, call),
            || self.restore(),
            |at, call, ended| {
                let what = format!("{attack:?} at call {at}, {}", call.number);
                assert!(attack != Do::Kill || ended.code.is_none(), "{what}: {ended:?}");
                renewed += usize::from(self.judge(&what, ended));
            },
        );
        println!("recovery new: {attack:?} at each of {count} system calls; {renewed} had the new codes");
        assert!(count > 20 && renewed > 0 && renewed < count, "{renewed} of {count}");
    }
}

#[test]
fn killed_at_each_system_call() {
    Target::new(95).attack(Do::Kill);
}

#[test]
fn failing_at_each_system_call() {
    Target::new(96).attack(Do::Fail(Errno::IO));
}
