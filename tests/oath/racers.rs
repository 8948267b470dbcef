//! Processes that log in again and again, and all at once when they are told.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Stdio};
use tests::place::Place;
use tests::syslog::Capture;

/// Each waits for its next login.
pub(crate) struct Racers {
    processes: Vec<(Child, BufReader<ChildStdout>)>,
    log: Capture,
    _folder: tempfile::TempDir,
}

impl Racers {
    pub(crate) fn new(place: &Place, count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Capture::new(folder.path());
        let start = |_| {
            let mut drive = place.drive("otp", "");
            let drive = drive.arg("--repeat").envs(log.envs()).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut process = drive.spawn().unwrap();
            let said = BufReader::new(process.stdout.take().unwrap());
            (process, said)
        };
        Self { processes: (0..count).map(start).collect(), log, _folder: folder }
    }

    /// A login of `user` by each process, with as many answers in turn as there are. The code of each.
    pub(crate) fn race(&mut self, user: &str, answers: &[String]) -> Vec<String> {
        let answers = answers.iter().cycle();
        for ((process, _), answer) in self.processes.iter_mut().zip(answers) {
            // In one write, so that it begins when it has all of it.
            let line = format!("{user} {answer}\n");
            process.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        }
        let code = |said: &mut BufReader<ChildStdout>| loop {
            let mut line = String::new();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "a login ended without an answer");
            if let Some(code) = line.trim_end().strip_prefix("authenticate ") {
                break code.to_owned();
            }
        };
        self.processes.iter_mut().map(|(_, said)| code(said)).collect()
    }

    /// The `code=` of each decision since the last call, in the order of the log.
    pub(crate) fn reasons(&mut self) -> Vec<String> {
        let lines = self.log.lines();
        self.log = Capture::new(self._folder.path());
        lines.iter().filter_map(|line| reason(&line.text)).collect()
    }
}

/// The `code=` of a line of the log.
pub(crate) fn reason(line: &str) -> Option<String> {
    let (_, behind) = line.split_once(" code=")?;
    behind.split(' ').next().map(str::to_owned)
}

impl Drop for Racers {
    fn drop(&mut self) {
        for (mut process, _) in self.processes.drain(..) {
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }
}
