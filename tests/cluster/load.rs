//! People who touch their YubiKeys all the time, and others who have old OTPs of theirs: at every server at once.

use crate::history::{Answer, Event};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Client, Connection, Question};

/// What longest an answer is waited for. A server gives up before.
const PATIENCE: Duration = Duration::from_millis(6500);
/// After an answer that decided nothing.
const PAUSE: Duration = Duration::from_millis(10);
/// So many OTPs of a token are kept, to be offered again.
const KEPT: usize = 64;
/// Those who ask one server.
const ASKING: usize = 4;

/// The tokens, and all that was asked about them.
pub(crate) struct Load {
    client: Client,
    tokens: Vec<Mutex<Token>>,
    began: Instant,
    history: Mutex<Vec<Event>>,
    done: AtomicBool,
    accepted: AtomicUsize,
}

struct Token {
    key: SoftYubiKey,
    /// With their positions, the newest last.
    pressed: VecDeque<(u32, String)>,
}

impl Load {
    pub(crate) fn new(client: &Client, keys: Vec<SoftYubiKey>) -> Self {
        let token = |key| Mutex::new(Token { key, pressed: VecDeque::new() });
        Self {
            client: client.clone(),
            tokens: keys.into_iter().map(token).collect(),
            began: Instant::now(),
            history: Mutex::new(Vec::new()),
            done: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
        }
    }

    /// The time of the history.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// How many were accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many OTPs were made, whatever became of them.
    pub(crate) fn pressed(&self) -> usize {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let mut positions: Vec<_> = history.iter().map(|event| (event.token, event.position)).collect();
        positions.sort_unstable();
        positions.dedup();
        positions.len()
    }

    /// Everything so far.
    pub(crate) fn history(&self) -> Vec<Event> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The public IDs, in the order of [`Event::token`].
    pub(crate) fn ids(&self) -> Vec<String> {
        self.tokens.iter().map(|token| lock(token).key.public_id()).collect()
    }

    /// All are asked all the time while `meanwhile` runs.
    pub(crate) fn run<T>(&self, servers: &[SocketAddr], meanwhile: impl FnOnce() -> T) -> T {
        /// Also where `meanwhile` panics.
        struct Ends<'a>(&'a Load);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.done.store(true, Ordering::Relaxed);
            }
        }
        self.done.store(false, Ordering::Relaxed);
        thread::scope(|scope| {
            for (server, &address) in servers.iter().enumerate() {
                for _ in 0..ASKING {
                    scope.spawn(move || self.ask_on(server, address));
                }
            }
            let _ends = Ends(self);
            meanwhile()
        })
    }

    /// Waits until so many more are accepted.
    ///
    /// # Panics
    /// Where that takes longer than so.
    pub(crate) fn wait_for(&self, more: usize, longest: Duration, what: &str) {
        let (begun, before) = (Instant::now(), self.accepted());
        while self.accepted() < before + more {
            assert!(begun.elapsed() < longest, "{what}: nobody is accepted for {longest:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn ask_on(&self, server: usize, address: SocketAddr) {
        static SEED: AtomicU64 = AtomicU64::new(1);
        let mut random = SEED.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut connection = None;
        while !self.done.load(Ordering::Relaxed) {
            let Some(open) = connection.as_mut() else {
                connection = Connection::open_within(address, PATIENCE).ok();
                if connection.is_none() {
                    thread::sleep(PAUSE);
                }
                continue;
            };
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let (token, position, otp) = self.choose(random);
            let answer = self.ask(open, server, token, position, &otp);
            if answer.is_none() {
                connection = None;
            }
            if matches!(answer, None | Some(Answer::Undecided)) {
                thread::sleep(PAUSE);
            }
        }
    }

    /// One in two is fresh; one in four is the newest that somebody else has just offered, or will; the others are old.
    fn choose(&self, random: u64) -> (usize, u32, String) {
        let [kind, token, which] =
            [random >> 8, random >> 24, random >> 40].map(|bits| usize::from((bits % 65536) as u16));
        let number = token % self.tokens.len();
        let mut token = lock(&self.tokens[number]);
        if kind % 4 < 2 || token.pressed.is_empty() {
            let (counter, session) = token.key.position();
            let position = u32::from(counter) << 8 | u32::from(session);
            let otp = token.key.press();
            token.pressed.push_back((position, otp));
            if token.pressed.len() > KEPT {
                token.pressed.pop_front();
            }
        }
        let last = token.pressed.len() - 1;
        let index = if kind % 4 == 3 { which % (last + 1) } else { last };
        let (position, otp) = token.pressed[index].clone();
        (number, position, otp)
    }

    /// `None`: there was no answer.
    fn ask(
        &self,
        connection: &mut Connection,
        server: usize,
        token: usize,
        position: u32,
        otp: &str,
    ) -> Option<Answer> {
        let question = Question::new(&self.client, otp).signed(&self.client.key);
        let begun = self.now();
        let reply = connection.ask(&question);
        let ended = self.now();
        let said = reply.ok().map(|reply| {
            // Whoever cannot decide does not repeat the question.
            let is_own = || reply.field("nonce").is_some_and(|nonce| nonce == question.value("nonce"));
            match reply.says().as_str() {
                "OK" if is_own() => Answer::Ok,
                "REPLAYED_OTP" if is_own() => Answer::Replayed,
                "BACKEND_ERROR" => Answer::Undecided,
                _ => Answer::Other(format!("{}{}", reply.head, reply.body)),
            }
        });
        let answer = said.clone().unwrap_or(Answer::Undecided);
        self.accepted.fetch_add(usize::from(answer == Answer::Ok), Ordering::Relaxed);
        let event = Event { token, position, server, begun, ended, answer };
        self.history.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        said
    }

    /// Offers to this server the highest OTPs of each token that it still has; every one was offered before. They are in
    /// the history as all others.
    ///
    /// # Panics
    /// Where the server does not answer.
    pub(crate) fn offer_again(&self, server: usize, address: SocketAddr) {
        let mut connection = Connection::open_within(address, PATIENCE).unwrap();
        for number in 0..self.tokens.len() {
            let pressed: Vec<_> = lock(&self.tokens[number]).pressed.iter().rev().take(8).cloned().collect();
            for (position, otp) in pressed {
                let answer = self.ask(&mut connection, server, number, position, &otp);
                assert!(answer.is_some(), "server {server} does not answer");
            }
        }
    }
}

fn lock(token: &Mutex<Token>) -> std::sync::MutexGuard<'_, Token> {
    token.lock().unwrap_or_else(PoisonError::into_inner)
}
