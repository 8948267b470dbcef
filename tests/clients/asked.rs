//! A client as a process: an OTP a line goes in, `yes` or `no` and why comes out.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest time that a client may take for an answer. Some try again by themselves if nobody answers.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Asked {
    process: Child,
    said: Receiver<String>,
    folder: TempDir,
}

impl Asked {
    /// Starts this command, with a folder for its files in `FOLDER`.
    pub(crate) fn start(mut command: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name); // it asks a server on this machine
        }
        let mut process = command
            .env("FOLDER", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (sender, said) = channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { process, said, folder }
    }

    /// Asks about an OTP: what it says, beginning with `yes` or `no`.
    pub(crate) fn ask(&mut self, otp: &str) -> String {
        writeln!(self.process.stdin.as_mut().unwrap(), "{otp}").unwrap();
        let said = self.said.recv_timeout(PATIENCE).unwrap_or_else(|why| panic!("{why}: {}", self.errors()));
        assert!(said == "yes" || said == "no" || said.starts_with("no "), "{said}: {}", self.errors());
        said
    }

    fn errors(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("stderr") + &read("log")
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        drop(self.process.stdin.take()); // it ends by itself, and what it started with it
        let begun = Instant::now();
        while self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            if begun.elapsed() > Duration::from_secs(10) {
                let _ended_already = self.process.kill();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Runs a command that has to succeed, and gives what it printed.
pub(crate) fn must(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    let [said, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{command:?}: {said}{errors}");
    said
}

/// A file of this folder of the tests.
pub(crate) fn source(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}
