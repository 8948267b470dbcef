//! The round: whom to ask when, and telling what came of it.
//!
//! One thread a server, and this one for what the login process says. Dead, silent and lying servers together cost at
//! most one hedge interval: then everybody is asked.

use crate::net::Client;
use crate::talk::{Order, Orders, tell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use yubiotp::ask::{Event, Question};
use zeroize::Zeroizing;

/// How long before the deadline the last words are said, so that they arrive.
const LAST_WORDS: Duration = Duration::from_millis(30);

/// The times of a question.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    deadline: Duration,
    hedge: Duration,
}

impl Clock {
    /// Runs from now.
    pub(crate) fn start(question: &Question) -> Self {
        let milliseconds = |count: std::num::NonZeroU32| Duration::from_millis(u64::from(count.get()));
        Self {
            began: Instant::now(),
            deadline: milliseconds(question.deadline),
            hedge: milliseconds(question.hedge),
        }
    }

    /// How long all of it may take.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// When the last words are said.
    fn last_words(&self) -> Duration {
        self.deadline.saturating_sub(LAST_WORDS.min(self.deadline / 10))
    }

    fn until(&self, time: Duration) -> Duration {
        time.saturating_sub(self.began.elapsed())
    }
}

struct Round {
    client: Client,
    urls: Vec<Zeroizing<String>>,
    servers: Mutex<Servers>,
}

/// Events are told while this is held, so that none comes within another or after the end.
#[derive(Default)]
struct Servers {
    /// When each that was asked was asked.
    asked: Vec<Instant>,
    /// Which of those have ended.
    ended: Vec<bool>,
    /// Nothing is told any more.
    over: bool,
}

/// Asks until there is nothing more to tell, the deadline has come, or the login process has left.
pub(crate) fn round(client: Client, urls: Vec<Zeroizing<String>>, clock: Clock, mut orders: Orders) {
    let round = Arc::new(Round { client, urls, servers: Mutex::default() });
    round.ask_next(&mut round.servers());
    // From when the first was asked.
    let hedge = clock.began.elapsed().saturating_add(clock.hedge);
    let mut hedged = false;
    loop {
        let time = if hedged { clock.last_words() } else { hedge.min(clock.last_words()) };
        match orders.wait(clock.until(time)) {
            Order::Leave => return,
            Order::Next => round.ask_next(&mut round.servers()),
            Order::Nothing if clock.until(clock.last_words()).is_zero() => return round.last_words(),
            Order::Nothing => {}
        }
        if !hedged && clock.until(hedge).is_zero() {
            hedged = true;
            let mut servers = round.servers();
            for _ in 0..round.urls.len() {
                round.ask_next(&mut servers);
            }
        }
    }
}

impl Round {
    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the first server that was not asked yet, if there is one.
    fn ask_next(self: &Arc<Self>, servers: &mut Servers) {
        let server = servers.asked.len();
        if server >= self.urls.len() {
            return;
        }
        servers.asked.push(Instant::now());
        servers.ended.push(false);
        tell(&Event::Asked { server });
        let round = Arc::clone(self);
        // It ends with the process, at the latest: nothing joins it.
        let thread = thread::Builder::new().spawn(move || {
            // What came from the network may not end in silence.
            let reply = catch_unwind(AssertUnwindSafe(|| round.fetch(server)));
            round.end(server, reply.unwrap_or_else(|_| Err("a fault of yubiotp-ask's own".into())));
        });
        if let Err(error) = thread {
            self.ended(servers, server, Err(format!("no thread to ask it with: {error}")));
        }
    }

    fn fetch(&self, server: usize) -> Result<Vec<u8>, String> {
        self.client.fetch(self.urls.get(server).map_or("", |url| url.as_str()))
    }

    fn end(self: &Arc<Self>, server: usize, reply: Result<Vec<u8>, String>) {
        self.ended(&mut self.servers(), server, reply);
    }

    fn ended(self: &Arc<Self>, servers: &mut Servers, server: usize, reply: Result<Vec<u8>, String>) {
        if servers.over {
            return;
        }
        let ms = servers.end(server);
        let failed = reply.is_err();
        tell(&match reply {
            Ok(body) => Event::Reply { server, ms, body },
            Err(why) => Event::Failed { server, ms, why },
        });
        if failed {
            self.ask_next(servers);
        }
        if servers.ended.len() == self.urls.len() && servers.ended.iter().all(|ended| *ended) {
            // Nothing more to tell: the closed socket says so. Still held, so nobody is within an event.
            std::process::exit(0);
        }
    }

    /// The deadline: says who is silent still.
    fn last_words(&self) {
        let mut servers = self.servers();
        for server in 0..servers.asked.len() {
            if servers.ended.get(server) == Some(&false) {
                let ms = servers.end(server);
                tell(&Event::Failed { server, ms, why: "no answer".into() });
            }
        }
        servers.over = true;
    }
}

impl Servers {
    /// Marks one as ended; after how many milliseconds.
    fn end(&mut self, server: usize) -> u32 {
        if let Some(ended) = self.ended.get_mut(server) {
            *ended = true;
        }
        let asked = self.asked.get(server);
        asked.map_or(0, |asked| u32::try_from(asked.elapsed().as_millis()).unwrap_or(u32::MAX))
    }
}
