//! Clients that touch fresh OTPs as fast as they are answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Client, Connection, Question};

/// One OTP, and what became of it.
#[derive(Debug)]
pub(crate) struct Pressed {
    pub(crate) otp: String,
    /// What was answered; `Err` where the connection broke.
    pub(crate) said: Result<String, String>,
    /// When the answer was there, or it was clear that none would come.
    pub(crate) at: Instant,
    pub(crate) took: Duration,
}

impl Pressed {
    pub(crate) fn is_ok(&self) -> bool {
        self.said.as_deref() == Ok("OK")
    }
}

/// How far those who touch have come.
#[derive(Default)]
pub(crate) struct Progress {
    done: AtomicBool,
    accepted: AtomicUsize,
}

impl Progress {
    /// Waits until so many more were accepted.
    pub(crate) fn wait_for(&self, more: usize) {
        let (begun, before) = (Instant::now(), self.accepted.load(Ordering::Relaxed));
        while self.accepted.load(Ordering::Relaxed) < before + more {
            assert!(begun.elapsed() < Duration::from_secs(20), "no {more} more are accepted");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Each client has so many of the keys, and touches them in turn, while `meanwhile` runs: each OTP once. A connection
/// that broke is opened again. What became of each OTP, in order, client by client.
pub(crate) fn press(
    address: SocketAddr,
    client: &Client,
    clients: &mut [Vec<SoftYubiKey>],
    meanwhile: impl FnOnce(&Progress),
) -> Vec<Vec<Pressed>> {
    /// Also where `meanwhile` panics.
    struct Ends<'a>(&'a Progress);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.done.store(true, Ordering::Relaxed);
        }
    }
    let progress = Progress::default();
    thread::scope(|scope| {
        let ends = Ends(&progress);
        let pressing: Vec<_> = clients
            .iter_mut()
            .map(|keys| scope.spawn(|| press_in_turn(address, client, keys, &progress)))
            .collect();
        meanwhile(&progress);
        drop(ends);
        pressing.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn press_in_turn(
    address: SocketAddr,
    client: &Client,
    keys: &mut [SoftYubiKey],
    progress: &Progress,
) -> Vec<Pressed> {
    let mut connection = None;
    let mut pressed = Vec::new();
    let mut number = 0;
    while !progress.done.load(Ordering::Relaxed) {
        if connection.is_none() {
            connection = Connection::open(address).ok();
        }
        let Some(open) = connection.as_mut() else {
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        let count = keys.len();
        let otp = keys[number % count].press();
        number += 1;
        let begun = Instant::now();
        let said = open.ask(&Question::new(client, &otp).signed(&client.key));
        let said = said.map(|reply| reply.says()).map_err(|error| error.to_string());
        if said.is_err() {
            connection = None;
        }
        let one = Pressed { otp, said, at: Instant::now(), took: begun.elapsed() };
        progress.accepted.fetch_add(usize::from(one.is_ok()), Ordering::Relaxed);
        pressed.push(one);
    }
    pressed
}

/// Each of these OTPs has been accepted: it is refused, for ever.
#[track_caller]
pub(crate) fn assert_used(address: SocketAddr, client: &Client, otps: &[String], what: &str) {
    let mut connection = Connection::open(address).unwrap();
    for otp in otps {
        let said = connection.ask(&Question::new(client, otp)).unwrap().says();
        assert_eq!(said, "REPLAYED_OTP", "{what}: an OTP that got OK before");
    }
}

/// The keys with these numbers, dealt out.
pub(crate) fn deal(
    site: &tests::ykvald::Site,
    numbers: std::ops::Range<u32>,
    clients: usize,
) -> Vec<Vec<SoftYubiKey>> {
    let mut dealt = vec![Vec::new(); clients];
    for (number, key) in site.keys(numbers).into_iter().enumerate() {
        dealt[number % clients].push(key);
    }
    dealt
}
