//! A process that does one thing again and again, and says how long each took: this program, started anew. Several can
//! be let go at once.

use rustix::fs::fdatasync;
use rustix::io::{ReadWriteFlags, pwrite, pwritev2};
use std::env;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, IoSlice, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use tests::libpam::{Code, Conversation, Pam, Prompt, Reply, Script};

/// The first argument of a worker.
pub(crate) const WORKER: &str = "worker";

/// As much as a slot of ours has, where a slot of ours is.
const WRITE: usize = 512;
const BLOCK: u64 = 4096;
/// As much as the module reads at a time.
const CHUNK: usize = 128 << 10;

/// A worker that waits to be let go.
pub(crate) struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one, tells it what it needs to know, and waits until it is ready.
    pub(crate) fn start(arguments: &[&str], lines: &[String]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        let mut child =
            command.arg(WORKER).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        for line in lines {
            writeln!(input, "{line}").unwrap();
        }
        writeln!(input).unwrap();
        let mut worker = Self { child, input, output };
        assert_eq!(worker.line(), "ready", "{arguments:?}");
        worker
    }

    /// Logins of `SERVICE USER ANSWER` each, which must come to `code`.
    pub(crate) fn logins(confdir: &Path, code: Code, lines: &[String]) -> Self {
        Self::start(&["logins", confdir.to_str().unwrap(), &code.0.to_string()], lines)
    }

    /// Durable writes of a slot's size, in the manner that is named.
    pub(crate) fn writes(manner: &str, file: &Path, times: usize) -> Self {
        Self::start(&[manner, file.to_str().unwrap(), &times.to_string()], &[])
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn go(&mut self) {
        writeln!(self.input, "go").unwrap();
    }

    /// How long each took, once it is done.
    pub(crate) fn times(mut self) -> Vec<Duration> {
        let line = self.line();
        assert!(self.child.wait().unwrap().success(), "a worker failed");
        line.split_whitespace().map(|nanos| Duration::from_nanos(nanos.parse().unwrap())).collect()
    }

    /// All of it.
    pub(crate) fn run(mut self) -> Vec<Duration> {
        self.go();
        self.times()
    }
}

/// The middle one, in microseconds.
pub(crate) fn median(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2].as_secs_f64() * 1e6
}

/// The work of a worker.
pub(crate) fn work(arguments: &[String]) {
    let mut lines = std::io::stdin().lines();
    let told: Vec<String> = lines.by_ref().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let times: usize = arguments.last().and_then(|times| times.parse().ok()).unwrap_or(0);
    let mut ready = || {
        println!("ready");
        // Under callgrind and strace nobody says when.
        let _ = lines.next();
    };
    let path = Path::new(arguments[1]);
    let took: Vec<Duration> = match arguments[0] {
        "logins" => {
            let expected = Code(arguments[2].parse().unwrap());
            ready();
            told.iter().map(|line| login(path, line, expected)).collect()
        }
        "prompt" => {
            ready();
            vec![prompted(path, arguments[2])]
        }
        manner @ ("fdatasync" | "dsync") => {
            let file = durable(path);
            ready();
            (0..times).map(|count| write(&file, manner, count as u64 % 2 * BLOCK)).collect()
        }
        "memchr" => {
            ready();
            (0..times).map(|_| pass(path)).collect()
        }
        other => panic!("{other}: nothing that a worker does"),
    };
    let took: Vec<String> = took.iter().map(|time| time.as_nanos().to_string()).collect();
    println!("{}", took.join(" "));
}

/// From `pam_start` to `pam_end`.
fn login(confdir: &Path, line: &str, expected: Code) -> Duration {
    let [service, user, answer] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    let begun = Instant::now();
    let mut pam = Pam::start(confdir, service, Some(user.as_bytes()), Box::new(Script::new([answer])));
    let code = pam.authenticate(0);
    drop(pam);
    let took = begun.elapsed();
    assert_eq!(code, expected, "{user}");
    took
}

/// Ends the process at the first prompt, and says how long it took until then, and the most memory it had.
struct AtPrompt(Instant);

impl Conversation for AtPrompt {
    fn answer(&mut self, _: &[Prompt]) -> Reply {
        said(self.0);
        std::process::exit(0)
    }
}

fn said(since: Instant) {
    let took = since.elapsed().as_nanos();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    println!("{took} {}", memory.unwrap());
}

/// A new process up to the first prompt, or to the end where there is none.
fn prompted(confdir: &Path, user: &str) -> Duration {
    let since = Instant::now();
    let mut pam = Pam::start(confdir, "otp", Some(user.as_bytes()), Box::new(AtPrompt(since)));
    pam.authenticate(0);
    said(since);
    std::process::exit(0)
}

/// A file like that of a position, with its blocks on the disk.
fn durable(path: &Path) -> File {
    fs::write(path, [b'x'; 2 * BLOCK as usize]).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.sync_all().unwrap();
    file
}

fn write(file: &File, manner: &str, offset: u64) -> Duration {
    let text = [b'y'; WRITE];
    let begun = Instant::now();
    if manner == "dsync" {
        pwritev2(file, &[IoSlice::new(&text)], offset, ReadWriteFlags::DSYNC).unwrap();
    } else {
        pwrite(file, &text, offset).unwrap();
        fdatasync(file).unwrap();
    }
    begun.elapsed()
}

/// Looks at every byte of a file, as fast as that can be done: for one that is not there.
fn pass(path: &Path) -> Duration {
    let mut buffer = vec![0; CHUNK];
    let begun = Instant::now();
    let mut file = File::open(path).unwrap();
    loop {
        let count = file.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        assert_eq!(black_box(memchr::memchr(0, black_box(&buffer[..count]))), None);
    }
    begun.elapsed()
}
