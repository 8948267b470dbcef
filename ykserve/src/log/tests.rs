//! A log that cannot be written.

use super::*;
use crate::settings::LogTo;
use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc;

struct Number(u64);

impl LogEvent for Number {
    fn written(&self, format: LogFormat, at: i64) -> (LogLevel, LogLine) {
        let mut line = LogLine::new(format, at, LogLevel::Info, "number");
        line.number("is", self.0);
        (LogLevel::Info, line)
    }
}

/// A log that hangs, until it is let go.
struct Hangs {
    begun: mpsc::Sender<()>,
    let_go: Receiver<()>,
    lines: Arc<Mutex<Vec<u8>>>,
}

impl Write for Hangs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.begun.send(());
        let _ = self.let_go.recv();
        self.lines.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Nobody waits for a log that hangs, and what is lost is said.
#[test]
fn lost_lines_are_counted() {
    const LOST: u64 = 100;
    let (begun, begins) = mpsc::channel();
    let (let_go, hangs) = mpsc::channel();
    let lines = Arc::new(Mutex::default());
    let sink = Sink::Lines(Box::new(Hangs { begun, let_go: hangs, lines: Arc::clone(&lines) }));
    let config = LogConfig { format: LogFormat::Logfmt, to: LogTo::Stdout, required: false };
    let counter = Counter::default();
    let daemon = Daemon { name: "test", version: "0" };
    let log = Log::start(daemon, config, sink, counter.clone()).unwrap();
    log.tell(Number(0));
    begins.recv().unwrap();
    let queued = u64::try_from(QUEUE).unwrap();
    for number in 1..=queued + LOST {
        log.tell(Number(number));
    }
    assert_eq!(counter.get(), LOST);
    assert_eq!(log.fault().map(|fault| fault.code), Some(Code::LogNotWritten));
    drop(let_go);
    log.flush(Duration::from_secs(30));
    assert!(log.fault().is_none());
    let text = String::from_utf8(std::mem::take(&mut *lines.lock().unwrap())).unwrap();
    let numbers: Vec<u64> =
        text.lines().filter_map(|line| line.split_once(" event=number is=")?.1.parse().ok()).collect();
    assert!(numbers.iter().copied().eq(0..=queued), "each line once, in their order");
    let said: Vec<_> = text.lines().filter(|line| line.contains(" event=log ")).collect();
    let [said] = said[..] else { panic!("{said:?}") };
    assert!(
        said.contains(&format!("level=error event=log lost={LOST} code=log-lines-lost reason=")),
        "{said}"
    );
}
