//! A readable record of the changes to a host and their results: on the test's output as it happens, and in a file.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Lines of a command's output that are shown.
const SHOWN: usize = 14;

/// One test's story.
pub(crate) struct Story {
    name: &'static str,
    lines: Mutex<String>,
    begun: Instant,
}

impl Story {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, lines: Mutex::new(format!("==== {name} ====\n")), begun: Instant::now() }
    }

    /// What begins now.
    pub(crate) fn step(&self, what: &str) {
        self.tell(&format!("\n-- {what} ({:.0} s)", self.begun.elapsed().as_secs_f32()));
    }

    /// The command, and its output.
    pub(crate) fn did(&self, what: &str, said: &str) {
        self.tell(what);
        // text before a carriage return was overwritten
        let shown = |line: &'_ str| line.trim_end().rsplit('\r').next().unwrap_or_default().to_owned();
        let mut lines = said.lines().map(shown).filter(|line| !line.is_empty());
        for line in lines.by_ref().take(SHOWN) {
            let line: String = line.chars().take(150).collect();
            self.tell(&format!("    {line}"));
        }
        match lines.count() {
            0 => {}
            more => self.tell(&format!("    ... {more} lines more")),
        }
    }

    pub(crate) fn tell(&self, text: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for line in text.lines() {
            println!("{}| {line}", self.name); // tests run side by side
            lines.push_str(line);
            lines.push('\n');
        }
    }
}

/// Each run's file begins anew; stories follow one another, whole.
impl Drop for Story {
    fn drop(&mut self) {
        static FILE: Mutex<Option<File>> = Mutex::new(None);
        let mut file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
        let file = file.get_or_insert_with(|| {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("life.txt");
            let _none = fs::remove_file(&path);
            OpenOptions::new().create(true).append(true).open(path).unwrap()
        });
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(lines.as_bytes()).unwrap();
        file.write_all(b"\n").unwrap();
    }
}
