//! A module whose logins are measured, beside others in the same turns.

use crate::instructions::under_callgrind;
use crate::worker::{Worker, median};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::built;
use tests::libpam::Code;

/// Rounds in which each side has its turn, and its logins in each.
const ROUNDS: usize = 10;
pub(crate) const TIMES: usize = 30;
/// The first ones read files into memory, and load the module.
pub(crate) const FIRST: usize = 5;
const PROCESSES: usize = 40;
/// How many logins [`measure`] makes of a side at most.
pub(crate) const LOGINS: usize = ROUNDS * (FIRST + TIMES) + PROCESSES + 2 + 2;

/// One that is logged in to.
pub(crate) struct Side {
    pub name: String,
    pub confdir: PathBuf,
    /// The next login: `SERVICE USER ANSWER`.
    press: Box<dyn FnMut() -> String>,
    repeated: Vec<Duration>,
    processes: Vec<Duration>,
    instructions: u64,
    syncs: usize,
}

impl Side {
    pub(crate) fn new(name: &str, confdir: PathBuf, press: impl FnMut() -> String + 'static) -> Self {
        Self {
            name: name.to_owned(),
            confdir,
            press: Box::new(press),
            repeated: Vec::new(),
            processes: Vec::new(),
            instructions: 0,
            syncs: 0,
        }
    }

    /// pam_permit: what a login costs without a factor.
    pub(crate) fn permit() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let confdir = folder.path().join("pam.d");
        tests::libpam::Services::new(&confdir).write("otp", "auth required pam_permit.so\n");
        Self::new("pam_permit", confdir, move || {
            let _ = &folder; // goes away with it
            "otp alice nothing".to_owned()
        })
    }

    /// Microseconds of a login in a process that makes many.
    pub(crate) fn repeated(&self) -> f64 {
        median(&self.repeated)
    }

    /// Milliseconds of a process that makes one.
    pub(crate) fn process(&self) -> f64 {
        median(&self.processes) / 1e3
    }

    /// Millions of instructions of such a process.
    pub(crate) fn instructions(&self) -> f64 {
        self.instructions as f64 / 1e6
    }

    /// How often it waits for the disk.
    pub(crate) fn syncs(&self) -> f64 {
        self.syncs as f64
    }

    /// So many logins that nobody measures.
    pub(crate) fn log_in(&mut self, times: usize) {
        let lines: Vec<String> = (0..times).map(|_| (self.press)()).collect();
        Worker::logins(&self.confdir, Code::SUCCESS, &lines).run();
    }

    /// A process for the next login.
    fn next(&mut self) -> Command {
        let login = (self.press)();
        let [service, user, answer] = login.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{login}") };
        let mut drive = Command::new(built::program("pam-drive"));
        drive.arg("--confdir").arg(&self.confdir).args(["--service", service, "--user", user, "--", answer]);
        drive.stdin(Stdio::null()).stdout(Stdio::null());
        drive
    }
}

/// All figures of all sides, in turns. `between` has its turn in each round, too.
pub(crate) fn measure(sides: &mut [Side], mut between: impl FnMut()) {
    for _ in 0..ROUNDS {
        for side in &mut *sides {
            let lines: Vec<String> = (0..FIRST + TIMES).map(|_| (side.press)()).collect();
            let times = Worker::logins(&side.confdir, Code::SUCCESS, &lines).run();
            side.repeated.extend(&times[FIRST..]);
        }
        between();
    }
    for run in 0..PROCESSES + 2 {
        for side in &mut *sides {
            let mut process = side.next();
            let begun = Instant::now();
            let status = process.status().unwrap();
            let took = begun.elapsed();
            assert!(status.success(), "{}: a login failed", side.name);
            if run >= 2 {
                side.processes.push(took);
            }
        }
    }
    for side in sides {
        side.instructions = under_callgrind(&side.next(), &[0]);
        side.syncs = syncs(&side.next());
    }
}

/// How often a command waits until the disk has what it wrote.
fn syncs(command: &Command) -> usize {
    let calls = "trace=fsync,fdatasync,sync,syncfs,msync,sync_file_range,pwritev2";
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qqq", "-e", calls, "-e", "status=successful", "-e", "signal=none"]);
    let output =
        strace.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: no login under strace");
    let trace = String::from_utf8_lossy(&output.stderr);
    trace.lines().filter(|line| !line.contains("pwritev2(") || line.contains("SYNC")).count()
}
