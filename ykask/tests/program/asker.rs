//! The login process's side.

use std::io::{ErrorKind, Read as _, Write as _};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use yubiotp::ask::{Event, Events, Obstacle, Question};
use zeroize::Zeroizing;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_yubiotp-ask");

/// What no text for a log may have in it.
pub(crate) const OTP: &str = "vvccccccccbdkfefrdhtrutjduvtcjbfeuvhehdvjjlb";

/// The program at work.
pub(crate) struct Asker {
    pub(crate) child: Child,
    pub(crate) socket: UnixStream,
    events: Events,
    began: Instant,
    /// What it noted beside, which `next` leaves out.
    pub(crate) notes: Vec<String>,
}

/// A question of nothing special.
pub(crate) fn question(urls: &[String]) -> Question {
    let milliseconds = |count| NonZeroU32::new(count).unwrap();
    Question {
        deadline: milliseconds(5000),
        hedge: milliseconds(2000),
        urls: urls.iter().map(|url| Zeroizing::new(format!("{url}?id=1&otp={OTP}"))).collect(),
        ca: None,
        client_cert: None,
        client_key: None,
        client_key_passphrase_file: None,
        proxy: None,
    }
}

/// A URL where nobody listens.
pub(crate) fn refused_url(scheme: &str) -> String {
    crate::server::refusing().replace("http", scheme)
}

/// The same with other times, in milliseconds.
pub(crate) fn timed(urls: &[String], deadline: u32, hedge: u32) -> Question {
    let milliseconds = |count| NonZeroU32::new(count).unwrap();
    Question { deadline: milliseconds(deadline), hedge: milliseconds(hedge), ..question(urls) }
}

/// Starts the program on a socket, in an environment of nothing.
pub(crate) fn start() -> Asker {
    start_as(Command::new(PROGRAM).env_clear())
}

pub(crate) fn start_as(command: &mut Command) -> Asker {
    let (socket, theirs) = UnixStream::pair().unwrap();
    let input = Stdio::from(OwnedFd::from(theirs.try_clone().unwrap()));
    let output = Stdio::from(OwnedFd::from(theirs));
    let child = command.stdin(input).stdout(output).stderr(Stdio::null()).spawn().unwrap();
    // The command keeps its ends of the socket.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Asker { child, socket, events: Events::default(), began: Instant::now(), notes: Vec::new() }
}

/// Asks, and reads to the end.
pub(crate) fn ask(question: &Question) -> Vec<Event> {
    ask_as(Command::new(PROGRAM).env_clear(), question)
}

pub(crate) fn ask_as(command: &mut Command, question: &Question) -> Vec<Event> {
    let mut asker = start_as(command);
    asker.write(question);
    asker.rest()
}

/// Asks one server, and says why it failed.
pub(crate) fn why(question: &Question) -> String {
    match ask(question).as_slice() {
        [Event::Asked { server: 0 }, Event::Failed { server: 0, why, .. }] | [Event::Unable { why, .. }] => {
            why.clone()
        }
        events => panic!("{events:?}"),
    }
}

/// Asks one server, and says what kind of obstacle kept the program from that, and why.
pub(crate) fn unable(question: &Question) -> (Obstacle, String) {
    match ask(question).as_slice() {
        [Event::Unable { kind, why }] => (*kind, why.clone()),
        events => panic!("{events:?}"),
    }
}

impl Asker {
    pub(crate) fn write(&mut self, question: &Question) {
        self.began = Instant::now();
        self.socket.write_all(question.write().as_bytes()).unwrap();
    }

    /// The next event; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        loop {
            if let Some(event) = self.events.next() {
                let event = event.unwrap();
                if let Event::Note { what } = event {
                    self.notes.push(what);
                    continue;
                }
                if let Event::Failed { why, .. } | Event::Unable { why, .. } = &event {
                    assert!(!why.contains(&OTP[..20]), "{why}");
                }
                return Some(event);
            }
            let mut piece = [0; 8192];
            // It may end without having read all, which is a reset.
            let read = match self.socket.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
                read => read.unwrap(),
            };
            match read {
                0 => {
                    assert!(!self.events.is_cut_off(), "it ended within an event");
                    return None;
                }
                length => self.events.feed(&piece[..length]),
            }
        }
    }

    pub(crate) fn rest(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Since the question was written.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Waits until it has ended, for so long.
    pub(crate) fn ends_within(&mut self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
