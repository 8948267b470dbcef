//! One accepted login offline, `pam_start` to `pam_end`: repeated in one process, and as a whole process.

use crate::instructions::under_callgrind;
use crate::oath::{self, Oath};
use crate::offline::Offline;
use crate::page::{Aim, Limit, Section, head, row};
use crate::worker::{Worker, median};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::built;
use tests::libpam::{Code, Services};

/// The peers' figures are taken with as many users as ours.
const USERS: [u32; 2] = [10, 1_000];
/// Rounds in which everybody has their turn, and how often in each.
const ROUNDS: usize = 10;
const TIMES: usize = 30;
/// The first ones read files into memory, and load the module.
const FIRST: usize = 5;
const PROCESSES: usize = 40;

/// Somebody who logs in: the module's name, where, and how it is done next.
struct Side {
    name: String,
    confdir: std::path::PathBuf,
    press: Box<dyn FnMut() -> String>,
    repeated: Vec<Duration>,
    processes: Vec<Duration>,
    instructions: u64,
}

impl Side {
    fn new(name: String, confdir: std::path::PathBuf, press: impl FnMut() -> String + 'static) -> Self {
        let press = Box::new(press);
        Self { name, confdir, press, repeated: Vec::new(), processes: Vec::new(), instructions: 0 }
    }

    fn presses(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| (self.press)()).collect()
    }

    /// A process for one login.
    fn process(&mut self) -> Command {
        let login = (self.press)();
        let (user, answer) = login.split_once(' ').unwrap();
        let mut drive = Command::new(built::program("pam-drive"));
        drive.arg("--confdir").arg(&self.confdir).args(["--service", "otp", "--user", user, "--", answer]);
        drive.stdin(Stdio::null()).stdout(Stdio::null());
        drive
    }
}

fn sides() -> Vec<Side> {
    let folder = tempfile::tempdir().unwrap();
    let confdir = folder.path().join("pam.d");
    Services::new(&confdir).write("otp", "auth required pam_permit.so\n");
    let permit = Side::new("pam_permit".to_owned(), confdir, move || {
        let _ = &folder; // goes away with it
        "alice nothing".to_owned()
    });
    let mut sides = vec![permit];
    for users in USERS {
        let mut host = Offline::new(users, users);
        // The last of the mapping, as pam_oath's user is the last of theirs.
        let last = host.tokens() - 1;
        let confdir = host.place.confdir().to_owned();
        sides.push(Side::new(format!("ours, {users} users"), confdir, move || host.press(last)));
        let mut host = Oath::new(users);
        let confdir = host.confdir();
        let press = move || format!("{} {}", oath::USER, host.press());
        sides.push(Side::new(format!("pam_oath, {users} users"), confdir, press));
    }
    sides
}

pub(crate) fn measure(_large: u32) -> Section {
    let mut sides = sides();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bare");
    let mut bare = [("fdatasync", Vec::new()), ("dsync", Vec::new())];
    for _ in 0..ROUNDS {
        for side in &mut sides {
            let lines = side.presses(FIRST + TIMES);
            let times = Worker::logins(&side.confdir, Code::SUCCESS, &lines).run();
            side.repeated.extend(&times[FIRST..]);
        }
        for (manner, times) in &mut bare {
            times.extend(&Worker::writes(manner, &file, FIRST + TIMES).run()[FIRST..]);
        }
    }
    for run in 0..PROCESSES + 2 {
        for side in &mut sides {
            let mut process = side.process();
            let begun = Instant::now();
            let status = process.status().unwrap();
            let took = begun.elapsed();
            assert!(status.success(), "{}: a login failed", side.name);
            if run >= 2 {
                side.processes.push(took);
            }
        }
    }
    for side in &mut sides {
        side.instructions = under_callgrind(&side.process(), &[0]);
    }
    section(&sides, &bare)
}

fn section(sides: &[Side], bare: &[(&str, Vec<Duration>); 2]) -> Section {
    let million = |side: &Side| side.instructions as f64 / 1e6;
    let [fdatasync, dsync] = bare.each_ref().map(|(_, times)| median(times));
    let mut text = "## One login offline\n\nFrom `pam_start` to `pam_end`, accepted. The bare writes are of 512 bytes over a file of two \
        blocks, as our position is: `pwrite` and `fdatasync`, and `pwritev2` with `RWF_DSYNC`, which is what the module does. \
        The user is the last of the mapping, or of pam_oath's file.\n\n"
        .to_owned();
    text += &head(&[
        "",
        "again and again in one process, µs",
        "× the bare write",
        "a process of its own, ms",
        "its instructions, million",
    ]);
    for side in sides {
        let repeated = median(&side.repeated);
        text +=
            &row(&side.name, &[repeated, repeated / fdatasync, median(&side.processes) / 1e3, million(side)]);
    }
    text += &row("write and `fdatasync`", &[fdatasync, 1.0, 0.0, 0.0]);
    text += &row("write with `RWF_DSYNC`", &[dsync, dsync / fdatasync, 0.0, 0.0]);

    let [permit, ours, oath, ..] = sides else { return Section { aims: Vec::new(), text } };
    let (mine, theirs) = (median(&ours.repeated), median(&oath.repeated));
    let aims = vec![
        Aim {
            what: "an offline login, in one process, to the bare write and `fdatasync`".to_owned(),
            limit: Limit::AtMost(2.5),
            measured: mine / fdatasync,
            unit: " ×",
            bound: format!(
                "of {mine:.0} µs {dsync:.0} are the write, and {:.0} what libpam takes with pam_permit",
                median(&permit.repeated)
            ),
        },
        Aim {
            what: "the same to pam_oath".to_owned(),
            limit: Limit::AtMost(0.25),
            measured: mine / theirs,
            unit: " ×",
            bound: format!(
                "waits for the disk: ours one of {dsync:.0} µs, pam_oath's {:.1} times as long for all of it",
                theirs / dsync
            ),
        },
        Aim {
            what: "instructions of the whole process, million".to_owned(),
            limit: Limit::AtMost(1.9),
            measured: million(ours),
            unit: "",
            bound: format!("{:.2} of it are pam_permit's: process, libpam", million(&sides[0])),
        },
    ];
    Section { aims, text }
}
