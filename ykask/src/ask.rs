//! The round: which server to ask when, and reporting the results.
//!
//! One thread a server, and this one for what the login process says. Dead, silent and lying servers together cost at
//! most one hedge interval: then everybody is asked. Where no thread can be made, this one asks as well, one server
//! after another; nothing keeps the time meanwhile, so a server is never called silent then.

use crate::failure::Failure;
use crate::files::words;
use crate::net::Client;
use crate::progress::Progress;
use crate::talk::{Order, Orders, tell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use yubiotp::ask::{Event, FailureKind, Obstacle, Question};
use zeroize::Zeroizing;

/// How long before the deadline the last words are said, so that they arrive.
const LAST_WORDS: Duration = Duration::from_millis(30);

/// How often it looks whether it still gets to run.
const TICK: Duration = Duration::from_millis(50);

/// A tick may be so late on a busy machine.
const LATE: Duration = Duration::from_millis(20);

/// The time that it may lose altogether. A user who stops it, once or often, must not make servers look silent
/// whose replies have come.
const LOST: Duration = Duration::from_millis(400);

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
    clock: Clock,
    servers: Mutex<Servers>,
}

/// Events are written while this is held, so that none comes within another or after the end.
struct Servers {
    asked: Vec<Attempt>,
    /// Nothing more is reported.
    over: bool,
    /// When it was last seen to run.
    ticked: Instant,
    /// The time that it did not get to run, as far as it was noticed.
    lost: Duration,
    /// Reported as asked, but not asked yet for lack of a thread.
    waiting: VecDeque<(usize, Arc<Progress>)>,
    /// Why a thread could not be made, if one was missed.
    no_thread: Option<String>,
    /// This thread asks a server: nothing keeps the time.
    is_timeless: bool,
    /// A server was silent, or failed late, while nothing kept the time: that may not be its doing.
    unsure: bool,
}

impl Servers {
    /// Notes that it runs, after it wanted to wait so long.
    fn tick(&mut self, wanted: Duration) {
        let late = self.ticked.elapsed().saturating_sub(wanted);
        if late > LATE {
            self.lost = self.lost.saturating_add(late);
        }
        self.ticked = Instant::now();
    }

    /// Whether it was kept from running for longer than a busy machine does.
    fn held_up(&self) -> bool {
        self.lost.saturating_add(self.ticked.elapsed().saturating_sub(TICK)) > LOST
    }
}

/// A server that was asked.
struct Attempt {
    at: Instant,
    ended: bool,
    progress: Arc<Progress>,
}

/// Asks until there is nothing more to tell, the deadline has come, or the login process has left.
pub(crate) fn round(client: Client, urls: Vec<Zeroizing<String>>, clock: Clock, mut orders: Orders) {
    let servers = Servers {
        asked: Vec::new(),
        over: false,
        ticked: clock.began,
        lost: Duration::ZERO,
        waiting: VecDeque::new(),
        no_thread: None,
        is_timeless: false,
        unsure: false,
    };
    let round = Arc::new(Round { client, urls, clock, servers: Mutex::new(servers) });
    {
        let mut servers = round.servers();
        // Reading certificates is over by now, or somebody was slowed down.
        servers.tick(clock.deadline / 4);
        round.ask_next(&mut servers);
    }
    let mut hedged = false;
    loop {
        let time = if hedged { clock.last_words() } else { clock.hedge.min(clock.last_words()) };
        let wait = clock.until(time).min(TICK);
        let order = orders.wait(wait);
        let mut servers = round.servers();
        servers.tick(wait);
        match order {
            Order::Leave => return,
            Order::Next => round.ask_next(&mut servers),
            Order::Nothing if clock.until(clock.last_words()).is_zero() => return round.last_words(servers),
            Order::Nothing => {}
        }
        if !hedged && clock.until(clock.hedge).is_zero() {
            hedged = true;
            for _ in 0..round.urls.len() {
                round.ask_next(&mut servers);
            }
        }
        if let Some((server, progress)) = servers.waiting.pop_front() {
            servers.is_timeless = true;
            drop(servers);
            round.ask_here(server, &progress);
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
        let progress = self.client.progress();
        servers.asked.push(Attempt { at: Instant::now(), ended: false, progress: Arc::clone(&progress) });
        tell(&Event::Asked { server });
        let (round, its_progress) = (Arc::clone(self), Arc::clone(&progress));
        // It ends with the process, at the latest: nothing joins it.
        let thread = thread::Builder::new().spawn(move || {
            let reply = round.fetch(server, &its_progress, None);
            round.ended(&mut round.servers(), server, reply);
        });
        if let Err(error) = thread {
            servers.no_thread = Some(words(&error));
            servers.waiting.push_back((server, progress));
        }
    }

    /// Asks a server in this thread, and leaves time for those that nobody has asked yet.
    fn ask_here(self: &Arc<Self>, server: usize, progress: &Arc<Progress>) {
        let others = self.urls.len().saturating_sub(server);
        let left = self.clock.until(self.clock.last_words());
        let share = left / u32::try_from(others).unwrap_or(u32::MAX).max(1);
        let reply = self.fetch(server, progress, Some(share));
        let mut servers = self.servers();
        // It may look silent because this process was stopped for a while.
        servers.unsure |= matches!(reply, Err(Failure::Theirs(FailureKind::Silence, _)));
        self.ended(&mut servers, server, reply);
        servers.is_timeless = false;
        servers.ticked = Instant::now();
    }

    fn fetch(
        &self,
        server: usize,
        progress: &Arc<Progress>,
        limit: Option<Duration>,
    ) -> Result<Vec<u8>, Failure> {
        let url = self.urls.get(server).map_or("", |url| url.as_str());
        // A reply that makes this thread panic must not end in silence. It counts as that server's failure, and others
        // are asked.
        let reply = catch_unwind(AssertUnwindSafe(|| self.client.fetch(url, progress, limit)));
        let broke =
            || Failure::Theirs(FailureKind::Other, "what it said broke yubiotp-ask: report this".into());
        reply.unwrap_or_else(|_| Err(broke()))
    }

    fn ended(self: &Arc<Self>, servers: &mut Servers, server: usize, reply: Result<Vec<u8>, Failure>) {
        if servers.over {
            return;
        }
        let ms = servers.asked.get_mut(server).map_or(0, Attempt::end);
        let failed = reply.is_err();
        if failed {
            self.unless_held_up(servers);
        }
        if let (Ok(_), Some(note)) = (&reply, self.note(servers, server)) {
            tell(&Event::Note { what: note });
        }
        tell(&match reply {
            Ok(body) => Event::Reply { server, ms, body: body.into() },
            Err(Failure::Theirs(kind, why)) => Event::Failed { server, kind, ms, why },
            Err(Failure::Own(why)) => unable(servers, &why),
        });
        if failed {
            self.ask_next(servers);
        }
        if servers.asked.len() == self.urls.len() && servers.asked.iter().all(|asked| asked.ended) {
            unless_unsure(servers);
            // Nothing more to tell: the closed socket says so. Still held, so nobody is within an event.
            std::process::exit(0);
        }
    }

    /// What became of a server's addresses, if that needs to be told: some of them failed, and yet it replied.
    fn note(&self, servers: &Servers, server: usize) -> Option<String> {
        let addresses = servers.asked.get(server)?.progress.addresses()?;
        self.urls.get(server).map(|url| format!("addresses of {}: {addresses}", host(url)))
    }

    /// Reports that a server failed only if there was time to hear it, before the deadline.
    fn unless_held_up(&self, servers: &mut Servers) {
        if !servers.held_up() && !self.clock.until(self.clock.deadline).is_zero() {
            return;
        }
        if !servers.is_timeless {
            unable(servers, "it was stopped, or got no processor");
        }
        servers.unsure = true;
    }

    /// The deadline: reports the servers that are still silent.
    fn last_words(&self, mut servers: MutexGuard<'_, Servers>) {
        self.unless_held_up(&mut servers);
        unless_unsure(&mut servers);
        for (server, asked) in servers.asked.iter_mut().enumerate() {
            if !asked.ended {
                let (kind, why) = self.client.no_answer(&asked.progress);
                tell(&Event::Failed { server, kind, ms: asked.end(), why });
            }
        }
        servers.over = true;
    }
}

/// The host in a URL, as it is written there.
fn host(url: &str) -> &str {
    let authority = url.split("://").nth(1).unwrap_or_default();
    authority.split(['/', '?']).next().unwrap_or_default()
}

impl Attempt {
    /// Marks it as ended; after how many milliseconds.
    fn end(&mut self) -> u32 {
        self.ended = true;
        u32::try_from(self.at.elapsed().as_millis()).unwrap_or(u32::MAX)
    }
}

/// Does not call a server silent that could not be asked in time, or whose time nothing kept.
fn unless_unsure(servers: &mut Servers) {
    if servers.unsure || !servers.waiting.is_empty() {
        let why = servers.no_thread.take().unwrap_or_default();
        unable(servers, &format!("no thread: {why}"));
    }
}

/// The end: a lack of resources on this host must not look like servers that failed. They are still held, so no thread
/// is within an event.
fn unable(_held: &mut Servers, why: &str) -> ! {
    let why = format!("this host lacks the resources to ask: {why}");
    tell(&Event::Unable { kind: Obstacle::Limit, why });
    std::process::exit(1)
}
