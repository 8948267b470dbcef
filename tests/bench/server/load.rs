//! The load: one thread, sockets that do not block, and epoll, for it shares the processors with what it measures. A
//! connection asks again when its answer came (a closed loop); all questions are in memory before the clock starts.

use crate::requests::Requests;
use memchr::memmem;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// One answer in so many is kept, to check its signature when the clock has stopped.
const SAMPLE: u64 = 97;
/// Nobody takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server that is asked, and how.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub address: SocketAddr,
    pub connections: usize,
    /// Before anything is counted.
    pub warm: Duration,
    pub time: Duration,
    /// A connection for each question, which the server closes: HTTP/1.0.
    pub closing: bool,
    /// Questions may be asked again: of a server that says hello to each.
    pub again: bool,
}

/// What came of it.
pub(crate) struct Loaded {
    /// OK, while it was counted.
    pub ok: u64,
    /// Every other answer, from first to last.
    pub others: BTreeMap<String, u64>,
    /// Of the counted ones, sorted, in nanoseconds.
    latencies: Vec<u32>,
    /// How long it was counted.
    pub took: Duration,
    /// Processor time of this thread, while it was counted.
    pub own: Duration,
    /// Which question, and its answer's body.
    pub samples: Vec<(usize, Vec<u8>)>,
}

impl Loaded {
    /// OK a second.
    pub(crate) fn rate(&self) -> f64 {
        self.ok as f64 / self.took.as_secs_f64()
    }

    /// In milliseconds; 1 is the longest.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let index = ((last as f64) * part).round() as usize;
        self.latencies.get(index).map_or(0.0, |nanoseconds| f64::from(*nanoseconds) / 1e6)
    }
}

struct Connection {
    stream: TcpStream,
    /// How many of its questions it has asked.
    asked: usize,
    question: usize,
    since: Instant,
    heard: Vec<u8>,
    waits: bool,
}

/// Runs it. `edge` is called when counting begins, and when it ends.
pub(crate) fn run(load: Load, requests: &Requests, mut edge: impl FnMut()) -> Loaded {
    let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let mut running = Running {
        load,
        requests,
        epoll,
        counting: None,
        sending: true,
        waiting: 0,
        answers: 0,
        loaded: Loaded {
            ok: 0,
            others: BTreeMap::new(),
            latencies: Vec::with_capacity(requests.len()),
            took: Duration::ZERO,
            own: Duration::ZERO,
            samples: Vec::new(),
        },
    };
    let mut connections: Vec<Connection> =
        (0..load.connections).map(|number| running.connection(number)).collect();
    let begun = Instant::now();
    for (number, connection) in connections.iter_mut().enumerate() {
        running.ask(number, connection);
    }
    let mut own = Duration::ZERO;
    let mut events = Vec::with_capacity(load.connections);
    while running.waiting > 0 {
        let timeout = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        epoll::wait(&running.epoll, spare_capacity(&mut events), Some(&timeout)).unwrap();
        for event in events.drain(..) {
            let number = usize::try_from(event.data.u64()).unwrap();
            running.hear(number, &mut connections[number]);
        }
        let now = Instant::now();
        match running.counting {
            None if running.sending && now - begun >= load.warm => {
                edge();
                own = processor_time();
                running.counting = Some(Instant::now());
            }
            Some(since) if !running.sending || now - since >= load.time => {
                running.loaded.took = now - since;
                running.loaded.own = processor_time() - own;
                edge();
                running.counting = None;
                running.sending = false;
            }
            _ => {}
        }
        assert!(now - begun < load.warm + load.time + PATIENCE, "{} answers never came", running.waiting);
    }
    running.loaded.latencies.sort_unstable();
    running.loaded
}

struct Running<'a> {
    load: Load,
    requests: &'a Requests,
    epoll: OwnedFd,
    /// Since when.
    counting: Option<Instant>,
    sending: bool,
    waiting: usize,
    answers: u64,
    loaded: Loaded,
}

impl Running<'_> {
    fn connect(&self, number: usize) -> TcpStream {
        let stream = TcpStream::connect(self.load.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        epoll::add(&self.epoll, &stream, EventData::new_u64(number as u64), EventFlags::IN).unwrap();
        stream
    }

    fn connection(&self, number: usize) -> Connection {
        let heard = Vec::with_capacity(4096);
        Connection {
            stream: self.connect(number),
            asked: 0,
            question: 0,
            since: Instant::now(),
            heard,
            waits: false,
        }
    }

    /// Its next question. Each connection has tokens of its own, so that theirs come in the order of their positions.
    fn ask(&mut self, number: usize, connection: &mut Connection) {
        let mut question = connection.asked * self.load.connections + number;
        if self.load.again {
            question %= self.requests.len();
        }
        let Some(request) = self.requests.get(question).filter(|_| self.sending) else {
            // One has no more: all stop, for a connection less would be another load.
            self.sending = false;
            return;
        };
        connection.asked += 1;
        connection.question = question;
        connection.since = Instant::now();
        connection.heard.clear();
        connection.waits = true;
        self.waiting += 1;
        // A few hundred bytes always fit into the socket's buffer.
        connection.stream.write_all(request).unwrap();
    }

    fn hear(&mut self, number: usize, connection: &mut Connection) {
        let mut piece = [0; 4096];
        let ended = match connection.stream.read(&mut piece) {
            Ok(0) => true,
            Ok(length) => {
                connection.heard.extend_from_slice(&piece[..length]);
                false
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => true,
        };
        if !ended && (self.load.closing || !is_whole(&connection.heard)) {
            return;
        }
        if connection.waits {
            let took = connection.since.elapsed();
            connection.waits = false;
            self.waiting -= 1;
            self.count(connection, took);
        }
        if ended {
            connection.stream = self.connect(number);
        }
        self.ask(number, connection);
    }

    fn count(&mut self, connection: &Connection, took: Duration) {
        self.answers += 1;
        let (head, body) = split(&connection.heard).unwrap_or((&connection.heard, b""));
        let good = head.get(8..13) == Some(b" 200 ")
            && body.ends_with(if self.load.closing { b"status=OK\r\n" } else { b"status=OK\r\n\r\n" });
        // Of which question it is the answer.
        let echoed = self.load.again || memmem::find(body, self.requests.otp(connection.question)).is_some();
        if !(good && echoed) {
            let name = if good { "OK to the question of another".to_owned() } else { name(head, body) };
            *self.loaded.others.entry(name).or_default() += 1;
            return;
        }
        if self.counting.is_some() {
            self.loaded.ok += 1;
            self.loaded.latencies.push(took.as_nanos().try_into().unwrap_or(u32::MAX));
        }
        if self.answers.is_multiple_of(SAMPLE) && !self.load.again {
            self.loaded.samples.push((connection.question, body.to_vec()));
        }
    }
}

/// Head and body.
fn split(heard: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memmem::find(heard, b"\r\n\r\n")?;
    Some((&heard[..end], &heard[end + 4..]))
}

fn is_whole(heard: &[u8]) -> bool {
    let Some((head, body)) = split(heard) else { return false };
    let length = memmem::find(head, b"content-length: ").map(|at| {
        let digits = head[at + 16..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
    });
    length.is_some_and(|length| body.len() >= length)
}

/// What another answer is counted as.
fn name(head: &[u8], body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    let status = body.lines().find_map(|line| line.strip_prefix("status="));
    let first = String::from_utf8_lossy(head).lines().next().unwrap_or("no answer").to_owned();
    status.map_or(first.clone(), |status| format!("{status} ({first})"))
}

/// Of this thread.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}
