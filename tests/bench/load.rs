//! What it takes to be loaded: a new process up to the first prompt.

use crate::instructions::under_callgrind;
use crate::machine;
use crate::oath::{self, Oath};
use crate::offline::{Offline, user};
use crate::page::{Section, head, row};
use crate::worker::{WORKER, Worker, median};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::built;
use tests::libpam::Services;
use tests::validation::{CLIENT, KEY, dead};

const TIMES: usize = 30;

struct Side {
    name: &'static str,
    confdir: PathBuf,
    user: String,
    module: PathBuf,
}

impl Side {
    fn arguments(&self) -> [&str; 3] {
        ["prompt", self.confdir.to_str().unwrap(), &self.user]
    }

    /// The same by hand, for somebody who watches it.
    fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(WORKER).args(self.arguments());
        command
    }
}

pub(crate) fn measure(_large: u32) -> Section {
    let (mut host, oath) = (Offline::new(10, 10), Oath::new(10));
    let others = tempfile::tempdir().unwrap();
    let folder = |name: &str, line: &str| {
        let folder = others.path().join(name);
        Services::new(&folder).write("otp", line);
        folder
    };
    let mapping = host.mapping();
    let (url, authfile) = (dead(), mapping.display());
    let yubico = format!(
        "auth required pam_yubico.so id={CLIENT} key={KEY} urllist={url} authfile={authfile} mode=client\n"
    );
    // Its first login has moved the module's pages into memory.
    let _ = host.press(0);
    let module = |name: &str| machine::module(name).unwrap();
    let sides = [
        Side {
            name: "pam_permit (no prompt: to its end)",
            confdir: folder("permit", "auth required pam_permit.so\n"),
            user: user(0),
            module: module("pam_permit.so"),
        },
        Side {
            name: "ours",
            confdir: host.place.confdir().to_owned(),
            user: user(0),
            module: built::module(),
        },
        Side {
            name: "pam_oath",
            confdir: oath.confdir(),
            user: oath::USER.to_owned(),
            module: module("pam_oath.so"),
        },
        Side {
            name: "pam_yubico",
            confdir: folder("yubico", &yubico),
            user: user(0),
            module: module("pam_yubico.so"),
        },
    ];
    let mut times: Vec<Vec<Duration>> = sides.iter().map(|_| Vec::new()).collect();
    let mut memory = [0.0; 4];
    for run in 0..TIMES + 2 {
        for (index, side) in sides.iter().enumerate() {
            let [took, most] = Worker::start(&side.arguments(), &[]).run()[..] else {
                panic!("{}: no figures", side.name)
            };
            if run >= 2 {
                times[index].push(took);
                memory[index] = most.as_nanos() as f64 / 1024.0;
            }
        }
    }
    let mut text = "## Loading\n\nA new process: `pam_start` to the first prompt, the module and what it needs loaded in between. \
        Instructions, memory (the peak of the resident set, shared libraries included) and shared objects are the process's, from its beginning. \
        The size is the module's own file, stripped.\n\n"
        .to_owned();
    text += &head(&["", "time, ms", "instructions, million", "shared objects", "memory, MiB", "size, KiB"]);
    for (index, side) in sides.iter().enumerate() {
        let instructions = under_callgrind(&side.command(), &[0]) as f64 / 1e6;
        let figures =
            [median(&times[index]) / 1e3, instructions, opened(side), memory[index], stripped(&side.module)];
        text += &row(side.name, &figures);
    }
    Section { aims: Vec::new(), text }
}

/// How many shared objects a process opens.
fn opened(side: &Side) -> f64 {
    let mut strace = Command::new("strace");
    let command = side.command();
    strace.args(["-f", "-qqq", "-e", "trace=openat", "-e", "status=successful"]);
    strace.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    let output = strace.output().unwrap();
    assert!(output.status.success(), "{}: no prompt under strace", side.name);
    let text = String::from_utf8_lossy(&output.stderr);
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split('"').nth(1)).collect();
    names.iter().filter(|name| name.ends_with(".so") || name.contains(".so.")).count() as f64
}

/// In KiB.
fn stripped(module: &Path) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("module.so");
    assert!(Command::new("strip").arg("-o").arg(&copy).arg(module).status().unwrap().success(), "strip");
    fs::metadata(copy).unwrap().len() as f64 / 1024.0
}
